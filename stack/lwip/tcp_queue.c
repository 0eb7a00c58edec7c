/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Data that is queued where it lies: what tcp_write() does after it has copied, for a packet that
 * the caller has made. RFC 793, 3.9, SEND. */
#include "uvl.h"

#include <string.h>

#include "lwip/memp.h"
#include "lwip/priv/tcp_priv.h"

static u8_t
option_flags(const struct tcp_pcb *pcb)
{
#if LWIP_TCP_TIMESTAMPS
	if (pcb->flags & TF_TIMESTAMP)
		return TF_SEG_OPTS_TS;
#endif
	(void)pcb;
	return 0;
}

u16_t
uvl_tcp_room(const struct tcp_pcb *pcb)
{
	u8_t optlen = LWIP_TCP_OPT_LENGTH(option_flags(pcb)); /* a sum without parentheses */

	return (u16_t)(pcb->mss - optlen);
}

static void
build_header(const struct tcp_pcb *pcb, struct tcp_seg *seg, u8_t optlen)
{
	seg->tcphdr = seg->p->payload;
	seg->tcphdr->src = lwip_htons(pcb->local_port);
	seg->tcphdr->dest = lwip_htons(pcb->remote_port);
	seg->tcphdr->seqno = lwip_htonl(pcb->snd_lbb);
	/* ackno, wnd and chksum are set in tcp_output() */
	TCPH_HDRLEN_FLAGS_SET(seg->tcphdr, (5 + optlen / 4), TCP_PSH);
	seg->tcphdr->urgp = 0;
}

err_t
uvl_tcp_queue(struct tcp_pcb *pcb, struct pbuf *p)
{
	u8_t flags = option_flags(pcb), optlen = LWIP_TCP_OPT_LENGTH(flags);
	u16_t len = p->tot_len;
	struct tcp_seg *seg, *last;

	if (len > pcb->snd_buf || pcb->snd_queuelen >= TCP_SND_QUEUELEN)
		return ERR_MEM;
	seg = memp_malloc(MEMP_TCP_SEG);
	if (seg == NULL)
		return ERR_MEM;
	if (pbuf_add_header(p, (size_t)TCP_HLEN + optlen) != 0) {
		memp_free(MEMP_TCP_SEG, seg);
		return ERR_BUF;
	}
	memset(seg, 0, sizeof(*seg));
	seg->p = p;
	seg->len = len;
	seg->flags = flags;
	build_header(pcb, seg, optlen);
	last = uvl_seg_last(pcb->unsent, &pcb->unsent_end);
	if (last == NULL)
		pcb->unsent = seg;
	else
		last->next = seg;
	pcb->unsent_oversize = 0;
	pcb->snd_lbb += len;
	pcb->snd_buf = (tcpwnd_size_t)(pcb->snd_buf - len);
	pcb->snd_queuelen = (u16_t)(pcb->snd_queuelen + pbuf_clen(p));
	return ERR_OK;
}
