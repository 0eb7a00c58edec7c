/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Raw sockets: raw(7), and RFC 3542 for IPv6. A copy of every packet of the protocol that is for
 * this host goes to each of them, before the protocol itself sees it. */
#include "stack/sock/rawpcb.h"

#include <linux/icmpv6.h>
#include <netinet/ip_icmp.h>

#include "lwip/inet_chksum.h"
#include "lwip/prot/ip4.h"

/* -------------------------------------------------------------------------------------- receive */

/* ICMP_FILTER and ICMP6_FILTER say which types are not wanted. */
static bool
filtered(const struct uvs_sock *s, struct pbuf *p, size_t header)
{
	uint8_t type = pbuf_get_at(p, (u16_t)header);

	if (s->protocol == IPPROTO_ICMP && s->domain == AF_INET)
		return type < 32 && (s->opt.icmp_filter[0] >> type & 1) != 0;
	if (s->protocol == IPPROTO_ICMPV6)
		return (s->opt.icmp_filter[type / 32] >> type % 32 & 1) != 0;
	return false;
}

/* What the host sends to itself has no sum: that was left to a NIC. */
static void
sum_header(struct pbuf *p, size_t header)
{
	struct ip_hdr *ip = p->payload;

	if (IPH_CHKSUM(ip) == 0)
		IPH_CHKSUM_SET(ip, inet_chksum(ip, (u16_t)header));
}

/* IPv4 sockets see the IP header. */
static u8_t
on_raw(void *arg, struct raw_pcb *pcb, struct pbuf *p, const ip_addr_t *addr)
{
	struct uvs_sock *s = arg;
	size_t header = ip_current_header_tot_len();
	struct pbuf *copy;

	(void)pcb;
	(void)addr;
	if (filtered(s, p, header) || !uvs_dgram_room(s))
		return 0;
	copy = pbuf_clone(PBUF_RAW, PBUF_RAM, p);
	if (copy == NULL) {
		uvs_inst_lost(s->in, UVS_LOST_UDP_NO_MEMORY, s->in->rx_frame);
		return 0;
	}
	if (s->domain == AF_INET6)
		pbuf_remove_header(copy, header);
	else
		sum_header(copy, header);
	uvs_dgram_put(s, copy, 0);
	return 0; /* not eaten */
}

/* ----------------------------------------------------------------------------- open, bind, connect
 */

static void
raw_apply(struct uvs_sock *s)
{
	uvs_rawpcb_apply(s);
	if (s->domain == AF_INET6 ? s->opt.v6_mcast_loop : s->opt.mcast_loop)
		raw_set_flags(s->raw.pcb, RAW_FLAGS_MULTICAST_LOOP);
	else
		raw_clear_flags(s->raw.pcb, RAW_FLAGS_MULTICAST_LOOP);
}

/* Hears from now on. IPPROTO_RAW is for sending only. */
static int
raw_open(struct uvs_sock *s)
{
	int r = uvs_rawpcb_open(s);

	if (r < 0)
		return r;
	s->local.port = (uint16_t)s->protocol; /* as getsockname() of the kernel's shows it */
	if (s->protocol == IPPROTO_RAW)
		s->opt.hdrincl = 1;
	else
		raw_recv(s->raw.pcb, on_raw, s);
	if (s->protocol == IPPROTO_ICMPV6)
		s->opt.checksum = 2; /* RFC 3542, 3.1 */
	raw_apply(s);
	return 0;
}

static int
raw_bind_to(struct uvs_sock *s, const struct uvs_addr *a)
{
	if (uvs_addr_is_any(&a->ip))
		ip_addr_set_any(s->domain == AF_INET6, &s->local.ip);
	else
		s->local.ip = a->ip;
	raw_bind(s->raw.pcb, &s->local.ip);
	return 0;
}

static int
raw_connect_to(struct uvs_sock *s, const struct uvs_addr *a)
{
	struct uvs_addr to = *a;
	struct netif *n;
	ip_addr_t from;
	int r;

	if (uvs_addr_is_any(&to.ip))
		to.ip = uvs_addr_self(s->domain, true);
	if (uvs_dgram_is_broadcast(s, &to.ip) && !s->opt.broadcast)
		return -EACCES;
	r = uvs_addr_source(s->opt.device, &s->local.ip, &to.ip, &n, &from);
	if (r < 0)
		return r;
	s->remote = to;
	s->raw.connected = true;
	s->local.ip = from;
	raw_bind(s->raw.pcb, &from);
	raw_connect(s->raw.pcb, &to.ip);
	return 0;
}

static int
raw_disconnect_peer(struct uvs_sock *s)
{
	raw_disconnect(s->raw.pcb);
	uvs_rawpcb_forget_peer(s);
	return 0;
}

/* ------------------------------------------------------------------------------------------ send
 */

/* The kernel fills in what it knows better: length and sum always, source and identification if
 * they were left out. */
static int
complete_header(struct pbuf *p, const struct uvs_dest *d)
{
	struct ip_hdr *ip = p->payload;
	size_t header;

	if (p->len < sizeof(*ip))
		return -EINVAL;
	header = IPH_HL_BYTES(ip);
	if (header < sizeof(*ip) || header > p->len)
		return -EINVAL;
	IPH_LEN_SET(ip, lwip_htons(p->tot_len));
	if (ip->src.addr == 0)
		ip->src.addr = ip_2_ip4(&d->from)->addr;
	if (IPH_ID(ip) == 0)
		IPH_ID_SET(ip, lwip_htons(uvl_ip_id(ip_2_ip4(&d->to.ip))));
	IPH_CHKSUM_SET(ip, 0);
	IPH_CHKSUM_SET(ip, inet_chksum(ip, (u16_t)header));
	return 0;
}

/* IPV6_CHECKSUM: where the sum goes, which lwIP fills in. */
static int
prepare_sum(struct uvs_sock *s, struct pbuf *p)
{
	uint16_t zero = 0;

	s->raw.pcb->chksum_reqd = s->opt.checksum >= 0;
	if (s->opt.checksum < 0)
		return 0;
	s->raw.pcb->chksum_offset = (u16_t)s->opt.checksum;
	return pbuf_take_at(p, &zero, sizeof(zero), (u16_t)s->opt.checksum) == ERR_OK ? 0 : -EINVAL;
}

static int
prepare(struct uvs_sock *s, struct pbuf *p, const struct uvs_dest *d)
{
	struct raw_pcb *pcb = s->raw.pcb;

	p->flags |= UVS_PBUF_SUMMED; /* whatever it is, it is sent as it was given */
	uvs_rawpcb_mark(s, d);
	if (!s->opt.hdrincl) {
		raw_clear_flags(pcb, RAW_FLAGS_HDRINCL);
		return s->domain == AF_INET6 ? prepare_sum(s, p) : 0;
	}
	raw_set_flags(pcb, RAW_FLAGS_HDRINCL);
	if (s->domain == AF_INET6)
		return p->len < IP6_HLEN ? -EINVAL : 0;
	return complete_header(p, d);
}

static int
check_size(struct uvs_sock *s, const struct uvs_dest *d, size_t len)
{
	size_t header = s->domain == AF_INET6 ? UVS_IP6_HEADER : UVS_IP4_HEADER;

	if (!s->opt.hdrincl)
		return len > UVS_PACKET_MAX - header ? -EMSGSIZE
						     : uvs_dgram_fits(s, d, len + header);
	if (len <= d->netif->mtu) /* the application's packets are not cut up */
		return 0;
	uvs_error_local(s, EMSGSIZE, d->netif->mtu, &d->to);
	return -EMSGSIZE;
}

static int
transmit(struct uvs_sock *s, struct pbuf *p, const struct uvs_dest *d)
{
	int r = prepare(s, p, d);

	return r < 0 ? r : uvs_rawpcb_send(s, p, d);
}

static ssize_t
raw_send_msg(struct uvs_sock *s, const struct msghdr *msg, int flags)
{
	size_t len = uvs_iov_len(msg->msg_iov, msg->msg_iovlen);
	struct uvs_dest d;
	int r;

	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	if (len > UVS_PACKET_MAX)
		return -EMSGSIZE;
	r = uvs_dgram_dest(s, msg, &d);
	if (r == 0)
		r = check_size(s, &d, len);
	return r < 0 ? r : uvs_rawpcb_send_msg(s, msg, len, &d, transmit);
}

static int
raw_send_packet(struct uvs_sock *s, struct pbuf *p, const struct msghdr *to)
{
	struct uvs_dest d;
	int r = uvs_dgram_dest(s, to, &d);

	if (r == 0)
		r = check_size(s, &d, p->tot_len);
	return r < 0 ? r : transmit(s, p, &d);
}

static void
raw_close(struct uvs_sock *s)
{
	uvs_rawpcb_close(s);
	uvs_dgram_close(s);
}

/* ----------------------------------------------------------------------------------- ICMP errors
 */

static bool
concerns(const struct raw_pcb *pcb, const struct uvs_icmp_error *e)
{
	return pcb->recv == on_raw && pcb->protocol == e->proto &&
	       IP_GET_TYPE(&pcb->local_ip) == IP_GET_TYPE(&e->local.ip) &&
	       (ip_addr_isany(&pcb->local_ip) || ip_addr_cmp(&pcb->local_ip, &e->local.ip)) &&
	       (!(pcb->flags & RAW_FLAGS_CONNECTED) || ip_addr_cmp(&pcb->remote_ip, &e->remote.ip));
}

void
uvs_raw_error(const struct uvs_icmp_error *e)
{
	for (struct raw_pcb *pcb = uvl_self->raw_pcbs_; pcb != NULL; pcb = pcb->next) {
		struct uvs_sock *s = pcb->recv_arg;

		if (concerns(pcb, e))
			uvs_error_report(s, e, s->opt.hdrincl ? -(ptrdiff_t)e->header : 0);
	}
}

const struct uvs_proto uvs_proto_raw = {
	.open = raw_open,
	.bind = raw_bind_to,
	.listen = uvs_dgram_no_listen,
	.connect = raw_connect_to,
	.disconnect = raw_disconnect_peer,
	.accept = uvs_dgram_no_accept,
	.recv = uvs_dgram_recv,
	.send = raw_send_msg,
	.send_packet = raw_send_packet,
	.shutdown = uvs_dgram_shutdown,
	.has_peer = uvs_rawpcb_has_peer,
	.level = uvs_dgram_level,
	.unread = uvs_dgram_unread,
	.unsent = uvs_dgram_unsent,
	.apply = raw_apply,
	.close = raw_close,
};
