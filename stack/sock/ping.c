/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets of ICMP echo (SOCK_DGRAM with IPPROTO_ICMP or IPPROTO_ICMPV6, icmp(7)): requests go out
 * with the socket's identifier, its "port", and the answers to them come in. */
#include "stack/sock/dgram.h"

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

/* lwIP's raw PCB is for sending alone. */
static int
ping_open(struct uvs_sock *s)
{
	bool v6 = s->domain == AF_INET6;

	s->raw.pcb = raw_new_ip_type(v6 ? IPADDR_TYPE_V6 : IPADDR_TYPE_V4, (u8_t)s->protocol);
	if (s->raw.pcb == NULL)
		return -ENOBUFS;
	IP_SET_TYPE(&s->local.ip, v6 ? IPADDR_TYPE_V6 : IPADDR_TYPE_V4);
	s->opt.reuseaddr = 1; /* as in the kernel: several may have the same identifier */
	return 0;
}

static void
ping_apply(struct uvs_sock *s)
{
	if (s->opt.broadcast)
		ip_set_option(s->raw.pcb, SOF_BROADCAST);
	else
		ip_reset_option(s->raw.pcb, SOF_BROADCAST);
}

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
		r = uvs_addr_source(&s->local.ip, &a->ip, &n, &from);
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
	s->raw.connected = false;
	s->remote.port = 0;
	s->err = 0;
	uvs_publish(s, 0);
	return 0;
}

static bool
ping_has_peer(const struct uvs_sock *s)
{
	return s->raw.connected;
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
	struct raw_pcb *pcb = s->raw.pcb;
	int r = complete(s, p);
	uint8_t df;
	err_t err;

	if (r < 0)
		return r;
	pcb->tos = uvs_dest_tos(s, d);
	pcb->ttl = uvs_dest_ttl(s, d);
	pcb->mcast_ttl = pcb->ttl;
	df = uvs_df_begin(s, d);
	err = raw_sendto_if_src(pcb, p, &d->to.ip, d->netif, &d->from);
	uvs_df_end(df);
	return err == ERR_MEM ? uvs_dgram_starve(s) : uvs_errno(err);
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
	struct pbuf *p;
	int r = flags & MSG_OOB ? -EOPNOTSUPP : ping_dest(s, msg, len, &d);

	if (r < 0)
		return r;
	p = uvs_dgram_gather(msg, 0, len);
	if (p == NULL)
		return uvs_dgram_starve(s);
	r = transmit(s, p, &d);
	pbuf_free(p);
	return r < 0 ? r : (ssize_t)len;
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
	if (s->raw.pcb != NULL)
		raw_remove(s->raw.pcb);
	s->raw.pcb = NULL;
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
	.open = ping_open,
	.bind = ping_bind_to,
	.listen = uvs_dgram_no_listen,
	.connect = ping_connect_to,
	.disconnect = ping_disconnect_peer,
	.accept = uvs_dgram_no_accept,
	.recv = uvs_dgram_recv,
	.send = ping_send_msg,
	.send_packet = ping_send_packet,
	.shutdown = uvs_dgram_shutdown,
	.has_peer = ping_has_peer,
	.level = uvs_dgram_level,
	.unread = uvs_dgram_unread,
	.unsent = uvs_dgram_unsent,
	.apply = ping_apply,
	.close = ping_close,
};
