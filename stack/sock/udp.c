/* SPDX-License-Identifier: BSD-3-Clause
 *
 * UDP sockets over lwIP's raw API: which socket a datagram is for, segments (UDP_SEGMENT, UDP_GRO)
 * and datagrams in several pieces (MSG_MORE, UDP_CORK). */
#include "stack/core/share.h"
#include "stack/sock/dgram.h"

#include <linux/udp.h>
#include <stdlib.h>
#include <sys/param.h>

#define MAX_DATAGRAM4 (UVS_PACKET_MAX - UVS_IP4_HEADER - UDP_HLEN)

/* UDP_SEGMENT and UDP_GRO: datagrams in one call (Linux: UDP_MAX_SEGMENTS). */
#define MAX_SEGMENTS 64

/* A datagram that is not complete yet. */
struct uvs_cork {
	struct uvs_dest dest;
	size_t len;
	char data[MAX_DATAGRAM4];
};

static struct uvs_ports *
ports(const struct uvs_sock *s)
{
	return &uvs_tables(s->in)->udp;
}

/* -------------------------------------------------------------------------------------- receive */

/* One of the same flow, and as long as those before it: the reader gets them together. A shorter
 * one ends the row, as in the kernel. */
static bool
joins(const struct uvs_packet_note *note, const struct pbuf *row, const struct pbuf *p,
      const struct uvs_packet_note *row_note)
{
	return row_note->segment != 0 && row_note->extra + 1 < MAX_SEGMENTS && p->tot_len != 0 &&
	       p->tot_len <= row_note->segment && row->tot_len % row_note->segment == 0 &&
	       row->tot_len + p->tot_len <= MAX_DATAGRAM4 && note->sport == row_note->sport &&
	       note->tos == row_note->tos && note->ttl == row_note->ttl &&
	       ip_addr_cmp(&note->src, &row_note->src) && ip_addr_cmp(&note->dst, &row_note->dst);
}

static void
put_in_row(struct uvs_sock *s, struct pbuf *p, uint16_t port)
{
	struct uvs_packet_note *note = uvs_pbuf_note(&s->in->mem, p);
	struct pbuf *row = s->dgram.rx.tail;

	uvs_dgram_note(s, note, port);
	if (s->dgram.rx.head != NULL && joins(note, row, p, uvs_pbuf_note(&s->in->mem, row))) {
		uvs_queue_merge(s->in, &s->dgram.rx, uvs_pbuf_unpin(&s->in->mem, p));
	} else {
		note->segment = p->tot_len;
		uvs_queue_put(s->in, &s->dgram.rx, uvs_pbuf_unpin(&s->in->mem, p));
	}
	uvs_publish(s, EPOLLIN);
}

static void
deliver(struct uvs_sock *s, struct pbuf *p, uint16_t port)
{
	if (!uvs_dgram_room(s))
		pbuf_free(p);
	else if (s->opt.gro)
		put_in_row(s, p, port);
	else
		uvs_dgram_put(s, p, port);
}

static bool
wants(struct uvs_sock *s)
{
	return uvs_mcast_wants(s, ip_current_dest_addr(), ip_current_src_addr(),
			       ip_current_input_netif());
}

/* What is sent to many goes to each socket that could have it. */
static void
deliver_to_others(const struct uvs_sock *s, const struct pbuf *p, uint16_t port)
{
	const struct uvs_addr local = {*ip_current_dest_addr(), s->local.port};
	const struct uvs_addr remote = {*ip_current_src_addr(), port};
	struct uvs_port_use *u = NULL;

	while ((u = uvs_ports_next(ports(s), u, &local, &remote)) != NULL) {
		struct pbuf *copy;

		if (u->owner == s || !wants(u->owner))
			continue;
		copy = pbuf_clone(PBUF_RAW, PBUF_RAM, (struct pbuf *)(uintptr_t)p);
		if (copy == NULL)
			uvs_inst_lost(s->in, UVS_LOST_UDP_NO_MEMORY, s->in->rx_frame);
		else
			deliver(u->owner, copy, port);
	}
}

static void
on_recv(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *addr, u16_t port)
{
	(void)pcb;
	(void)addr;
	if (ip_addr_ismulticast(ip_current_dest_addr()) ||
	    ip_addr_isbroadcast(ip_current_dest_addr(), ip_current_netif()))
		deliver_to_others(arg, p, port);
	if (likely(wants(arg)))
		deliver(arg, p, port);
	else
		pbuf_free(p);
}

struct udp_pcb *
uvl_udp_find(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote, u16_t remote_port)
{
	const struct uvs_addr l = {*local, local_port}, r = {*remote, remote_port};
	struct uvs_sock_tables *t = uvs_tables(uvs_self);
	struct uvs_port_use *u = t != NULL ? uvs_ports_find(&t->udp, &l, &r) : NULL;

	const struct uvs_sock *s = u != NULL ? u->owner : NULL;

	if (s == NULL ||
	    (s->opt.device != 0 && s->opt.device != netif_get_index(ip_current_input_netif())))
		return NULL;
	return s->udp.pcb;
}

static void flush_cork(struct uvs_sock *s);

static void
udp_apply(struct uvs_sock *s)
{
	struct udp_pcb *pcb = s->udp.pcb;

	if (s->use != NULL)
		uvs_ports_share(s->use, s->opt.reuseaddr != 0, s->opt.reuseport != 0);
	if (pcb == NULL)
		return;
	pcb->netif_idx = (u8_t)s->opt.device;
	if (s->opt.broadcast)
		ip_set_option(pcb, SOF_BROADCAST);
	else
		ip_reset_option(pcb, SOF_BROADCAST);
	if (s->domain == AF_INET6 ? s->opt.v6_mcast_loop : s->opt.mcast_loop)
		udp_set_flags(pcb, UDP_FLAGS_MULTICAST_LOOP);
	else
		udp_clear_flags(pcb, UDP_FLAGS_MULTICAST_LOOP);
	if (!s->opt.udp_cork && s->udp.cork != NULL)
		flush_cork(s);
}

/* ----------------------------------------------------------------------------------- bind, connect
 */

static int
udp_new_pcb(struct uvs_sock *s)
{
	if (s->udp.pcb != NULL)
		return 0;
	s->udp.pcb = udp_new_ip_type(s->domain == AF_INET ? IPADDR_TYPE_V4
				     : s->opt.v6only      ? IPADDR_TYPE_V6
							  : IPADDR_TYPE_ANY);
	if (s->udp.pcb == NULL)
		return -ENOBUFS;
	udp_recv(s->udp.pcb, on_recv, s);
	udp_apply(s);
	return 0;
}

/* The port table finds it (uvl_udp_find): it is in no list of lwIP's. */
static int
udp_bind_to(struct uvs_sock *s, const struct uvs_addr *a)
{
	int r = udp_new_pcb(s);

	if (r == 0)
		r = uvs_sock_bind_port(s, ports(s), a);
	if (r == 0)
		r = uvs_ports_open(s->use);
	if (r < 0)
		return r;
	ip_addr_set(&s->udp.pcb->local_ip, &s->local.ip);
	s->udp.pcb->local_port = s->local.port;
	return 0;
}

static int
autobind(struct uvs_sock *s, uint16_t port)
{
	struct uvs_addr any = {.port = port};

	if (s->use != NULL)
		return 0;
	any.ip =
		s->domain == AF_INET ? (ip_addr_t)IPADDR4_INIT(0) : (ip_addr_t)IPADDR_ANY_TYPE_INIT;
	return udp_bind_to(s, &any);
}

/* Bound by connecting: any port will do, so one whose answers come to this process, if it is still
 * free when it is taken. */
static int
autobind_towards(struct uvs_sock *s, const struct uvs_addr *from, const struct uvs_addr *to)
{
	struct uvs_port_use u = {.local = *from, .remote = *to};
	uint16_t port = s->use == NULL ? uvs_ports_home(ports(s), &u) : 0;

	if (port != 0 && autobind(s, port) == 0)
		return 0;
	return autobind(s, 0);
}

static void
set_peer(struct uvs_sock *s, const struct uvs_addr *from, const struct uvs_addr *to)
{
	struct udp_pcb *pcb = s->udp.pcb;

	uvs_share_disconnected(s->in, pcb);
	s->remote = *to;
	uvs_ports_connect(s->use, to);
	if (uvs_addr_is_any(&s->local.ip)) {
		s->local.ip = from->ip;
		uvs_ports_locate(s->use, &from->ip);
		ip_addr_set(&pcb->local_ip, &from->ip);
	}
	ip_addr_set(&pcb->remote_ip, &to->ip);
	pcb->remote_port = to->port;
	pcb->flags |= UDP_FLAGS_CONNECTED;
	uvs_share_connected(s->in, pcb);
	uvs_ports_shut(s->use);
}

static int
udp_connect_to(struct uvs_sock *s, const struct uvs_addr *a)
{
	struct uvs_addr to = *a, from = {.port = 0};
	struct netif *n;
	int r;

	if (uvs_addr_is_any(&to.ip))
		to.ip = uvs_addr_self(s->domain, s->opt.v6only);
	if (uvs_dgram_is_broadcast(s, &to.ip) && !s->opt.broadcast)
		return -EACCES;
	r = uvs_addr_source(s->opt.device, &s->local.ip, &to.ip, &n, &from.ip);
	if (r == 0)
		r = autobind_towards(s, &from, &to);
	if (r == 0)
		set_peer(s, &from, &to);
	return r;
}

static int
udp_disconnect_peer(struct uvs_sock *s)
{
	s->remote.port = 0;
	s->err = 0;
	if (s->udp.pcb != NULL) {
		uvs_share_disconnected(s->in, s->udp.pcb);
		udp_disconnect(s->udp.pcb);
	}
	if (s->use != NULL) {
		uvs_ports_disconnect(s->use);
		uvs_ports_open(s->use);
	}
	uvs_publish(s, 0);
	return 0;
}

static bool
udp_has_peer(const struct uvs_sock *s)
{
	return s->remote.port != 0;
}

/* ------------------------------------------------------------------------------------------ send
 */

static size_t
header(const struct uvs_dest *d)
{
	return (IP_IS_V6_VAL(d->to.ip) ? UVS_IP6_HEADER : UVS_IP4_HEADER) + UDP_HLEN;
}

/* All that can be wrong with a datagram of so many bytes. */
static int
check_size(struct uvs_sock *s, const struct uvs_dest *d, size_t len)
{
	if (len > UVS_PACKET_MAX - header(d)) {
		uvs_error_local(s, EMSGSIZE, uvs_addr_mtu(d->netif, &d->to.ip), &d->to);
		return -EMSGSIZE;
	}
	if (d->segment == 0 || len <= d->segment)
		return uvs_dgram_fits(s, d, len + header(d));
	if (len > (size_t)d->segment * MAX_SEGMENTS)
		return -EINVAL;
	/* Segments are not cut up further. */
	return d->segment + header(d) > uvs_addr_mtu(d->netif, &d->to.ip) ? -EMSGSIZE : 0;
}

static err_t
transmit(struct uvs_sock *s, struct pbuf *p, const struct uvs_dest *d)
{
	struct udp_pcb *pcb = s->udp.pcb;
	uint8_t df = uvs_df_begin(s, d);
	err_t err;

	pcb->tos = uvs_dest_tos(s, d);
	pcb->ttl = uvs_dest_ttl(s, d);
	pcb->mcast_ttl = pcb->ttl;
	err = udp_sendto_if_src(pcb, p, &d->to.ip, d->to.port, d->netif, &d->from);
	uvs_df_end(df);
	return err;
}

static ssize_t
send_one(struct uvs_sock *s, const struct msghdr *msg, size_t len, const struct uvs_dest *d)
{
	struct pbuf *p = uvs_dgram_gather(msg, 0, len);
	err_t err;

	if (p == NULL)
		return uvs_dgram_starve(s);
	err = transmit(s, p, d);
	pbuf_free(p);
	if (err == ERR_MEM)
		return uvs_dgram_starve(s);
	return err == ERR_OK ? (ssize_t)len : uvs_errno(err);
}

static void
free_segments(struct pbuf *seg[], size_t n)
{
	for (size_t i = 0; i < n; i++)
		pbuf_free(seg[i]);
}

/* There are buffers for all of them, or nothing is sent. */
static ssize_t
send_segments(struct uvs_sock *s, const struct msghdr *msg, size_t len, const struct uvs_dest *d)
{
	struct pbuf *seg[MAX_SEGMENTS];
	err_t err = ERR_OK;
	size_t n = 0;

	for (size_t off = 0; off < len; off += d->segment) {
		seg[n] = uvs_dgram_gather(msg, off, MIN(len - off, (size_t)d->segment));
		if (seg[n] == NULL) {
			free_segments(seg, n);
			return uvs_dgram_starve(s);
		}
		n++;
	}
	for (size_t i = 0; i < n && err == ERR_OK; i++)
		err = transmit(s, seg[i], d);
	free_segments(seg, n);
	return err == ERR_OK ? (ssize_t)len : uvs_errno(err);
}

static ssize_t
send_whole(struct uvs_sock *s, const struct msghdr *msg, size_t len, const struct uvs_dest *d)
{
	int r = check_size(s, d, len);

	if (r < 0)
		return r;
	return d->segment != 0 && len > d->segment ? send_segments(s, msg, len, d)
						   : send_one(s, msg, len, d);
}

static int
udp_dest(struct uvs_sock *s, const struct msghdr *msg, struct uvs_dest *d)
{
	int r = uvs_dgram_dest(s, msg, d);

	if (r == 0 && d->to.port == 0)
		r = -EINVAL;
	return r == 0 ? autobind(s, 0) : r;
}

/* ------------------------------------------------------------------------------ in several pieces
 */

static void
drop_cork(struct uvs_sock *s)
{
	free(s->udp.cork);
	s->udp.cork = NULL;
}

static ssize_t
send_cork(struct uvs_sock *s)
{
	struct uvs_cork *c = s->udp.cork;
	struct iovec iov = {c->data, c->len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t r = send_whole(s, &msg, c->len, &c->dest);

	if (r == -EAGAIN)
		return r; /* it is kept for the next try */
	drop_cork(s);
	return r;
}

/* By the option, where nobody can be told. */
static void
flush_cork(struct uvs_sock *s)
{
	if (send_cork(s) == -EAGAIN)
		drop_cork(s);
}

static int
begin_cork(struct uvs_sock *s, const struct msghdr *msg)
{
	struct uvs_cork *c = malloc(sizeof(*c));
	int r;

	if (c == NULL)
		return -ENOBUFS;
	r = udp_dest(s, msg, &c->dest);
	if (r < 0) {
		free(c);
		return r;
	}
	c->len = 0;
	s->udp.cork = c;
	return 0;
}

/* The first piece says where it goes. */
static ssize_t
send_piece(struct uvs_sock *s, const struct msghdr *msg, size_t len, bool more)
{
	int r = s->udp.cork == NULL ? begin_cork(s, msg) : 0;
	struct uvs_cork *c = s->udp.cork;
	ssize_t sent;

	if (r < 0)
		return r;
	if (len > UVS_PACKET_MAX - header(&c->dest) - c->len) {
		drop_cork(s);
		return -EMSGSIZE;
	}
	for (size_t i = 0; i < msg->msg_iovlen; i++) {
		memcpy(c->data + c->len, msg->msg_iov[i].iov_base, msg->msg_iov[i].iov_len);
		c->len += msg->msg_iov[i].iov_len;
	}
	if (more)
		return (ssize_t)len;
	sent = send_cork(s);
	if (sent == -EAGAIN)
		c->len -= len;
	return sent < 0 ? sent : (ssize_t)len;
}

static ssize_t
udp_send_msg(struct uvs_sock *s, const struct msghdr *msg, int flags)
{
	size_t len = uvs_iov_len(msg->msg_iov, msg->msg_iovlen);
	bool more = (flags & MSG_MORE) || s->opt.udp_cork;
	struct uvs_dest d;
	int r;

	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	if (len > UVS_PACKET_MAX && s->domain == AF_INET)
		return -EMSGSIZE; /* without a word in the error queue, as the kernel */
	if (more || s->udp.cork != NULL)
		return send_piece(s, msg, len, more);
	r = udp_dest(s, msg, &d);
	return r < 0 ? r : send_whole(s, msg, len, &d);
}

static int
udp_send_packet(struct uvs_sock *s, struct pbuf *p, const struct msghdr *to)
{
	struct uvs_dest d;
	err_t err;
	int r = udp_dest(s, to, &d);

	if (r == 0)
		r = uvs_dgram_fits(s, &d, p->tot_len + header(&d));
	if (r < 0)
		return r;
	err = transmit(s, p, &d);
	return err == ERR_MEM ? uvs_dgram_starve(s) : uvs_errno(err);
}

static void
udp_close(struct uvs_sock *s)
{
	if (s->udp.pcb != NULL) {
		uvs_share_disconnected(s->in, s->udp.pcb);
		udp_remove(s->udp.pcb);
	}
	s->udp.pcb = NULL;
	drop_cork(s);
	if (s->use != NULL) {
		uvs_ports_remove(s->use);
		free(s->use);
		s->use = NULL;
	}
	uvs_dgram_close(s);
}

/* ----------------------------------------------------------------------------------- ICMP errors
 */

void
uvs_udp_error(struct uvs_instance *in, struct uvs_icmp_error *e)
{
	struct uvs_port_use *u;
	struct udp_hdr udp;

	if (e->len < sizeof(udp))
		return;
	memcpy(&udp, e->quoted, sizeof(udp));
	e->local.port = ntohs(udp.src);
	e->remote.port = ntohs(udp.dest);
	u = uvs_ports_find(&uvs_tables(in)->udp, &e->local, &e->remote);
	if (u != NULL)
		uvs_error_report(u->owner, e, sizeof(udp));
}

const struct uvs_proto uvs_proto_udp = {
	.bind = udp_bind_to,
	.listen = uvs_dgram_no_listen,
	.connect = udp_connect_to,
	.disconnect = udp_disconnect_peer,
	.accept = uvs_dgram_no_accept,
	.recv = uvs_dgram_recv,
	.send = udp_send_msg,
	.send_packet = udp_send_packet,
	.shutdown = uvs_dgram_shutdown,
	.has_peer = udp_has_peer,
	.level = uvs_dgram_level,
	.unread = uvs_dgram_unread,
	.unsent = uvs_dgram_unsent,
	.apply = udp_apply,
	.close = udp_close,
};
