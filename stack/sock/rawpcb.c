/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/sock/rawpcb.h"

int
uvs_rawpcb_open(struct uvs_sock *s)
{
	uint8_t type = s->domain == AF_INET6 ? IPADDR_TYPE_V6 : IPADDR_TYPE_V4;

	s->raw.pcb = raw_new_ip_type(type, (u8_t)s->protocol);
	if (s->raw.pcb == NULL)
		return -ENOBUFS;
	IP_SET_TYPE(&s->local.ip, type);
	s->opt.reuseaddr =
		1; /* as in the kernel: several may have the same protocol or identifier */
	return 0;
}

void
uvs_rawpcb_close(struct uvs_sock *s)
{
	if (s->raw.pcb != NULL)
		raw_remove(s->raw.pcb);
	s->raw.pcb = NULL;
}

void
uvs_rawpcb_apply(struct uvs_sock *s)
{
	s->raw.pcb->netif_idx = (u8_t)s->opt.device;
	if (s->opt.broadcast)
		ip_set_option(s->raw.pcb, SOF_BROADCAST);
	else
		ip_reset_option(s->raw.pcb, SOF_BROADCAST);
}

bool
uvs_rawpcb_has_peer(const struct uvs_sock *s)
{
	return s->raw.connected;
}

void
uvs_rawpcb_forget_peer(struct uvs_sock *s)
{
	s->raw.connected = false;
	s->remote.port = 0;
	s->err = 0;
	uvs_publish(s, 0);
}

void
uvs_rawpcb_mark(struct uvs_sock *s, const struct uvs_dest *d)
{
	struct raw_pcb *pcb = s->raw.pcb;

	pcb->tos = uvs_dest_tos(s, d);
	pcb->ttl = uvs_dest_ttl(s, d);
	pcb->mcast_ttl = pcb->ttl;
}

int
uvs_rawpcb_send(struct uvs_sock *s, struct pbuf *p, const struct uvs_dest *d)
{
	uint8_t df = uvs_df_begin(s, d);
	err_t err = raw_sendto_if_src(s->raw.pcb, p, &d->to.ip, d->netif, &d->from);

	uvs_df_end(df);
	return err == ERR_MEM ? uvs_dgram_starve(s) : uvs_errno(err);
}

ssize_t
uvs_rawpcb_send_msg(struct uvs_sock *s, const struct msghdr *msg, size_t len,
		    const struct uvs_dest *d,
		    int (*send)(struct uvs_sock *s, struct pbuf *p, const struct uvs_dest *d))
{
	struct pbuf *p = uvs_dgram_gather(msg, 0, len);
	int r;

	if (p == NULL)
		return uvs_dgram_starve(s);
	r = send(s, p, d);
	pbuf_free(p);
	return r < 0 ? r : (ssize_t)len;
}
