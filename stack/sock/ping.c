/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets of ICMP echo (SOCK_DGRAM with IPPROTO_ICMP or IPPROTO_ICMPV6, icmp(7)): requests go out
 * with the socket's identifier, its "port", and the answers to them come in. */
#include "stack/sock/rawpcb.h"

#include <stdlib.h>
#include <sys/param.h>

#include "lwip/icmp.h"
#include "lwip/inet_chksum.h"
#include "lwip/prot/icmp.h"
#include "lwip/prot/icmp6.h"

static struct uvs_ports *
idents(const struct uvs_sock *s)
{
	return &uvs_tables(s->in)->ping[s->domain == AF_INET6];
}

/* ------------------------------------------------------------------------------ open, bind,
 * connect
 */

static int
ping_bind_to(struct uvs_sock *s, const struct uvs_addr *a)
{
	return uvs_sock_bind_port(s, idents(s), a);
}

static int
autobind(struct uvs_sock *s)
{
	struct uvs_addr any = {.ip = s->local.ip};

	return s->use != NULL ? 0 : ping_bind_to(s, &any);
}

static int
ping_connect_to(struct uvs_sock *s, const struct uvs_addr *a)
{
	struct netif *n;
	ip_addr_t from;
	int r;

	if (uvs_dgram_is_broadcast(s, &a->ip) && !s->opt.broadcast)
		return -EACCES;
	r = autobind(s);
	if (r == 0)
		r = uvs_addr_source(s->opt.device, &s->local.ip, &a->ip, &n, &from);
	if (r < 0)
		return r;
	s->remote = *a;
	s->raw.connected = true;
	s->local.ip = s->use->local.ip = from;
	return 0;
}

static int
ping_disconnect_peer(struct uvs_sock *s)
{
	uvs_rawpcb_forget_peer(s);
	return 0;
}

/* ------------------------------------------------------------------------------------------ send
 */

/* A request, and nothing else, with the socket's identifier. */
static int
complete(struct uvs_sock *s, struct pbuf *p)
{
	struct icmp_echo_hdr *echo = p->payload;
	bool v6 = s->domain == AF_INET6;

	if (p->len < sizeof(*echo) || echo->code != 0 ||
	    echo->type != (v6 ? ICMP6_TYPE_EREQ : ICMP_ECHO))
		return -EINVAL;
	echo->id = lwip_htons(s->local.port);
	echo->chksum = 0;
	if (!v6)
		echo->chksum = inet_chksum_pbuf(p);
	s->raw.pcb->chksum_reqd = v6;
	s->raw.pcb->chksum_offset = offsetof(struct icmp_echo_hdr, chksum);
	return 0;
}

static int
transmit(struct uvs_sock *s, struct pbuf *p, const struct uvs_dest *d)
{
	int r = complete(s, p);

	if (r < 0)
		return r;
	uvs_rawpcb_mark(s, d);
	return uvs_rawpcb_send(s, p, d);
}

static int
ping_dest(struct uvs_sock *s, const struct msghdr *msg, size_t len, struct uvs_dest *d)
{
	size_t header = s->domain == AF_INET6 ? UVS_IP6_HEADER : UVS_IP4_HEADER;
	int r;

	if (len > UVS_PACKET_MAX - header)
		return -EMSGSIZE;
	if (len < UVS_ICMP_HEADER)
		return -EINVAL;
	r = uvs_dgram_dest(s, msg, d);
	if (r == 0)
		r = uvs_dgram_fits(s, d, len + header);
	return r == 0 ? autobind(s) : r;
}

static ssize_t
ping_send_msg(struct uvs_sock *s, const struct msghdr *msg, int flags)
{
	size_t len = uvs_iov_len(msg->msg_iov, msg->msg_iovlen);
	struct uvs_dest d;
	int r = flags & MSG_OOB ? -EOPNOTSUPP : ping_dest(s, msg, len, &d);

	return r < 0 ? r : uvs_rawpcb_send_msg(s, msg, len, &d, transmit);
}

static int
ping_send_packet(struct uvs_sock *s, struct pbuf *p, const struct msghdr *to)
{
	struct uvs_dest d;
	int r = ping_dest(s, to, p->tot_len, &d);

	return r < 0 ? r : transmit(s, p, &d);
}

static void
ping_close(struct uvs_sock *s)
{
	uvs_rawpcb_close(s);
	if (s->use != NULL) {
		uvs_ports_remove(s->use);
		free(s->use);
		s->use = NULL;
	}
	uvs_dgram_close(s);
}

/* -------------------------------------------------------------------------- answers and errors */

static struct uvs_sock *
owner(struct uvs_instance *in, const ip_addr_t *local, uint16_t id)
{
	const struct uvs_addr l = {*local, id}, nobody = {0};
	struct uvs_port_use *u =
		uvs_ports_find(&uvs_tables(in)->ping[IP_IS_V6(local)], &l, &nobody);

	return u != NULL ? u->owner : NULL;
}

void
uvs_ping_answer(struct uvs_instance *in, const struct pbuf *p, size_t off)
{
	struct icmp_echo_hdr echo;
	struct uvs_sock *s;
	struct pbuf *copy;

	if (pbuf_copy_partial(p, &echo, sizeof(echo), (u16_t)off) < sizeof(echo))
		return;
	s = owner(in, ip_current_dest_addr(), lwip_ntohs(echo.id));
	if (s == NULL || !uvs_dgram_room(s) ||
	    (s->raw.connected && !ip_addr_cmp(&s->remote.ip, ip_current_src_addr())))
		return;
	copy = pbuf_clone(PBUF_RAW, PBUF_RAM, (struct pbuf *)(uintptr_t)p);
	if (copy == NULL) {
		uvs_inst_lost(in, UVS_LOST_UDP_NO_MEMORY, in->rx_frame);
		return;
	}
	pbuf_remove_header(copy, off);
	uvs_dgram_put(s, copy, 0);
}

void
uvs_ping_error(struct uvs_instance *in, const struct uvs_icmp_error *e)
{
	struct icmp_echo_hdr echo;
	struct uvs_sock *s;

	if (e->len < sizeof(echo))
		return;
	memcpy(&echo, e->quoted, sizeof(echo));
	if (echo.type != (IP_IS_V6_VAL(e->local.ip) ? ICMP6_TYPE_EREQ : ICMP_ECHO))
		return;
	s = owner(in, &e->local.ip, lwip_ntohs(echo.id));
	if (s != NULL)
		uvs_error_report(s, e, 0);
}

const struct uvs_proto uvs_proto_ping = {
	.open = uvs_rawpcb_open, /* lwIP's PCB is for sending alone */
	.bind = ping_bind_to,
	.listen = uvs_dgram_no_listen,
	.connect = ping_connect_to,
	.disconnect = ping_disconnect_peer,
	.accept = uvs_dgram_no_accept,
	.recv = uvs_dgram_recv,
	.send = ping_send_msg,
	.send_packet = ping_send_packet,
	.shutdown = uvs_dgram_shutdown,
	.has_peer = uvs_rawpcb_has_peer,
	.level = uvs_dgram_level,
	.unread = uvs_dgram_unread,
	.unsent = uvs_dgram_unsent,
	.apply = uvs_rawpcb_apply,
	.close = ping_close,
};
