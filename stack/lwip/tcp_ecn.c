/* SPDX-License-Identifier: BSD-3-Clause */
/* Explicit congestion notification, RFC 3168: routers mark instead of dropping. See uvl_tcp.h. */
#include "uvl.h"

#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"
#include "lwip/tcp.h"

/* The field of the IP header. */
#define ECT0 2u
#define CE   3u
#define ECN  3u

#define BOTH (TCP_ECE | TCP_CWR)

static unsigned int
header_flags(void)
{
	return lwip_ntohs(uvl_self->tcpin_hdr_->_hdrlen_rsvd_flags);
}

static bool
is_marked(void)
{
	unsigned int tos =
		ip_current_is_v6() ? IP6H_TC(ip6_current_header()) : IPH_TOS(ip4_current_header());

	return (tos & ECN) == CE;
}

/* ---- what the peer says -----------------------------------------------------------------------*/

void
uvl_ecn_asked(struct tcp_pcb *pcb)
{
	if (uvl_self->tcp_ecn != UVL_ECN_NEVER && (header_flags() & BOTH) == BOTH)
		pcb->rec.ecn |= UVL_ECN_OK;
}

void
uvl_ecn_heard(struct tcp_pcb *pcb)
{
	unsigned int flags = header_flags();
	u8_t *ecn = &pcb->rec.ecn;

	if (pcb->state == SYN_SENT) {
		/* Both: somebody on the way sends back what he sees. */
		if ((*ecn & UVL_ECN_ASKED) && (flags & TCP_ACK) && (flags & BOTH) == TCP_ECE)
			*ecn |= UVL_ECN_OK;
		return;
	}
	if ((*ecn & UVL_ECN_OK) == 0)
		return;
	if (flags & TCP_CWR)
		*ecn &= (u8_t)~UVL_ECN_ECHO;
	if (!is_marked())
		return;
	if ((*ecn & UVL_ECN_ECHO) == 0)
		tcp_ack_now(pcb);
	*ecn |= UVL_ECN_ECHO | UVL_ECN_SEEN;
}

/* Once per window of data: what is told now may be about packets sent before the last reduction. */
bool
uvl_ecn_congested(struct tcp_pcb *pcb, u32_t ackno)
{
	struct uvl_tcp_rec *r = &pcb->rec;

	if ((r->ecn & UVL_ECN_OK) == 0)
		return false;
	if ((r->ecn & UVL_ECN_REDUCED) && TCP_SEQ_GT(ackno, r->ecn_until))
		r->ecn &= (u8_t)~UVL_ECN_REDUCED;
	if ((header_flags() & TCP_ECE) == 0 || (r->ecn & UVL_ECN_REDUCED))
		return false;
	r->ecn |= UVL_ECN_REDUCED | UVL_ECN_CWR;
	r->ecn_until = pcb->snd_nxt;
	return r->state == UVL_TCP_OPEN; /* else it has been reduced */
}

/* ---- what we say ------------------------------------------------------------------------------*/

/* A SYN that got no answer goes again without: somebody on the way may drop what asks (6.1.1.1). */
static u16_t
of_syn(struct tcp_pcb *pcb, bool again)
{
	if (pcb->state == SYN_RCVD)
		return (pcb->rec.ecn & UVL_ECN_OK) ? TCP_ECE : 0;
	if (again || uvl_self->tcp_ecn != UVL_ECN_ALWAYS)
		return 0;
	pcb->rec.ecn |= UVL_ECN_ASKED;
	return BOTH;
}

/* New data alone is capable, and tells that the window has shrunk (6.1.2, 6.1.5). */
static u16_t
of_segment(struct tcp_pcb *pcb, bool fresh)
{
	u8_t *ecn = &pcb->rec.ecn;
	u16_t flags = (*ecn & UVL_ECN_ECHO) ? TCP_ECE : 0;

	if (fresh && (*ecn & UVL_ECN_CWR)) {
		*ecn &= (u8_t)~UVL_ECN_CWR;
		flags |= TCP_CWR;
	}
	return flags;
}

u8_t
uvl_ecn_segment(struct tcp_pcb *pcb, struct tcp_seg *seg, bool again)
{
	bool ok = pcb->rec.ecn & UVL_ECN_OK, fresh = seg->len > 0 && !again;
	u16_t flags = 0;

	if (TCPH_FLAGS(seg->tcphdr) & TCP_SYN)
		flags = of_syn(pcb, again);
	else if (ok)
		flags = of_segment(pcb, fresh);
	TCPH_UNSET_FLAG(seg->tcphdr, BOTH);
	TCPH_SET_FLAG(seg->tcphdr, flags);
	return (u8_t)((pcb->tos & ~ECN) | (ok && fresh ? ECT0 : 0));
}
