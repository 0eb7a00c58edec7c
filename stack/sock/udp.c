/* SPDX-License-Identifier: BSD-3-Clause
 *
 * UDP sockets over lwIP's raw API. A datagram's addresses stand in the note of its pbuf: receiving
 * allocates nothing; sending copies once into an mbuf. */
#include "stack/core/share.h"
#include "stack/sock/sock_priv.h"
#include "stack/sock/stack.h"

#include <net/if.h>
#include <stdlib.h>
#include <sys/param.h>

/* lwIP keeps a packet's length, headers included, in 16 bits. */
#define MAX_DATAGRAM4 (65535u - 20 - 8)
#define MAX_DATAGRAM6 (65535u - 40 - 8)

static struct uvs_ports *
ports(const struct uvs_sock *s)
{
	return &uvs_tables(s->in)->udp;
}

/* ---------------------------------------------------------------------------------------- level */

/* datagram_poll() of the kernel. */
static uint32_t
udp_level(struct uvs_sock *s)
{
	uint32_t level = 0;

	if (s->err != 0)
		level |= EPOLLERR;
	if (s->shut_rd)
		level |= EPOLLIN | EPOLLRDHUP;
	if (s->shut_rd && s->shut_wr)
		level |= EPOLLHUP;
	if (s->udp.rx.head != NULL)
		level |= EPOLLIN;
	if (s->starved.prev == NULL)
		level |= EPOLLOUT;
	return level;
}

static void
on_fed(struct uvs_starved *starved)
{
	uvs_publish((struct uvs_sock *)((char *)starved - offsetof(struct uvs_sock, starved)),
		    EPOLLOUT);
}

/* -------------------------------------------------------------------------------------- receive */

static void
on_recv(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *addr, u16_t port)
{
	struct uvs_sock *s = arg;
	struct uvs_packet_note *note;

	(void)pcb;
	if (s->udp.rx.charge >= (uint32_t)s->opt.rcvbuf) {
		s->in->stats.udp_rcvbuf_full++;
		pbuf_free(p);
		return;
	}
	if (s->udp.rx.bytes > 0 && unlikely(uvs_mem_full(&s->in->mem))) {
		s->in->stats.udp_no_memory++;
		pbuf_free(p);
		return;
	}
	note = uvs_pbuf_note(&s->in->mem, p);
	note->src = *addr;
	note->sport = port;
	note->dst = *ip_current_dest_addr();
	note->if_idx = netif_get_index(ip_current_input_netif());
	note->tos =
		ip_current_is_v6() ? IP6H_TC(ip6_current_header()) : IPH_TOS(ip4_current_header());
	note->ttl = ip_current_is_v6() ? IP6H_HOPLIM(ip6_current_header())
				       : IPH_TTL(ip4_current_header());
	uvs_queue_put(s->in, &s->udp.rx, uvs_pbuf_unpin(&s->in->mem, p));
	uvs_publish(s, EPOLLIN);
}

static void
udp_apply(struct uvs_sock *s)
{
	struct udp_pcb *pcb = s->udp.pcb;

	if (s->use != NULL) {
		s->use->reuseaddr = s->opt.reuseaddr != 0;
		s->use->reuseport = s->opt.reuseport != 0;
	}
	if (pcb == NULL)
		return;
	if (s->opt.broadcast)
		ip_set_option(pcb, SOF_BROADCAST);
	else
		ip_reset_option(pcb, SOF_BROADCAST);
	/* Who may share a port is decided by the port table; lwIP copies to all who do. */
	ip_set_option(pcb, SOF_REUSEADDR);
	if (s->domain == AF_INET6 ? s->opt.v6_mcast_loop : s->opt.mcast_loop)
		udp_set_flags(pcb, UDP_FLAGS_MULTICAST_LOOP);
	else
		udp_clear_flags(pcb, UDP_FLAGS_MULTICAST_LOOP);
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

/* The port table has decided; lwIP's own udp_bind() would walk its list to decide again. */
static void
register_bound(struct uvs_sock *s)
{
	struct udp_pcb *pcb = s->udp.pcb;

	ip_addr_set(&pcb->local_ip, &s->local.ip);
	pcb->local_port = s->local.port;
	pcb->next = udp_pcbs;
	udp_pcbs = pcb;
}

static int
udp_bind_to(struct uvs_sock *s, const struct uvs_addr *a)
{
	int r = udp_new_pcb(s);

	if (r == 0)
		r = uvs_sock_bind_port(s, ports(s), a);
	if (r == 0)
		r = uvs_ports_open(ports(s), s->use);
	if (r == 0)
		register_bound(s);
	return r;
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
	s->remote = s->use->remote = *to;
	if (uvs_addr_is_any(&s->local.ip)) {
		s->local.ip = s->use->local.ip = from->ip;
		ip_addr_set(&pcb->local_ip, &from->ip);
	}
	ip_addr_set(&pcb->remote_ip, &to->ip);
	pcb->remote_port = to->port;
	pcb->flags |= UDP_FLAGS_CONNECTED;
	uvs_share_connected(s->in, pcb);
	uvs_ports_shut(ports(s), s->use);
}

static int
udp_no_listen(struct uvs_sock *s, int backlog)
{
	(void)s;
	(void)backlog;
	return -EOPNOTSUPP;
}

static int
udp_no_accept(struct uvs_sock *s, struct uvs_sock **out)
{
	(void)s;
	(void)out;
	return -EOPNOTSUPP;
}

static bool
is_broadcast(const struct uvs_sock *s, const ip_addr_t *ip)
{
	return IP_IS_V4(ip) && ip4_addr_isbroadcast(ip_2_ip4(ip), &s->in->netif);
}

static int
udp_connect_to(struct uvs_sock *s, const struct uvs_addr *a)
{
	struct uvs_addr to = *a, from = {.port = 0};
	struct netif *n;
	int r;

	if (uvs_addr_is_any(&to.ip))
		to.ip = uvs_addr_self(s->domain, s->opt.v6only);
	if (is_broadcast(s, &to.ip) && !s->opt.broadcast)
		return -EACCES;
	r = uvs_addr_source(&s->local.ip, &to.ip, &n, &from.ip);
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
		s->use->remote.port = 0;
		uvs_ports_open(ports(s), s->use);
	}
	uvs_publish(s, 0);
	return 0;
}

static bool
udp_has_peer(const struct uvs_sock *s)
{
	return s->remote.port != 0;
}

/* ----------------------------------------------------------------------------------------- control
 */

static void
put_cmsg(struct msghdr *msg, size_t *used, int level, int type, const void *data, size_t len)
{
	struct cmsghdr *c = (struct cmsghdr *)(void *)((char *)msg->msg_control + *used);
	size_t room = msg->msg_controllen - *used;

	if (msg->msg_control == NULL || room < CMSG_LEN(len)) {
		msg->msg_flags |= MSG_CTRUNC;
		return;
	}
	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	*used += MIN(room, CMSG_SPACE(len));
}

static void
put_pktinfo(const struct uvs_sock *s, struct msghdr *msg, size_t *used,
	    const struct uvs_packet_note *note)
{
	struct uvs_addr dst = {.ip = note->dst};

	if (s->opt.pktinfo && IP_IS_V4_VAL(note->dst)) {
		struct in_pktinfo info = {.ipi_ifindex = note->if_idx};

		info.ipi_addr.s_addr = info.ipi_spec_dst.s_addr = ip_2_ip4(&note->dst)->addr;
		put_cmsg(msg, used, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	}
	if (s->opt.v6_pktinfo && s->domain == AF_INET6) {
		struct in6_pktinfo info = {.ipi6_ifindex = note->if_idx};
		struct sockaddr_in6 addr;
		socklen_t len = sizeof(addr);

		uvs_addr_to(&dst, AF_INET6, (struct sockaddr *)&addr, &len);
		info.ipi6_addr = addr.sin6_addr;
		put_cmsg(msg, used, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
	}
}

static void
put_control(const struct uvs_sock *s, struct msghdr *msg, const struct uvs_packet_note *note)
{
	size_t used = 0;
	int ttl = note->ttl, tos = note->tos;

	put_pktinfo(s, msg, &used, note);
	if (IP_IS_V4_VAL(note->dst)) {
		if (s->opt.recvttl)
			put_cmsg(msg, &used, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl));
		if (s->opt.recvtos)
			put_cmsg(msg, &used, IPPROTO_IP, IP_TOS, &note->tos, sizeof(note->tos));
	} else {
		if (s->opt.v6_recvhops)
			put_cmsg(msg, &used, IPPROTO_IPV6, IPV6_HOPLIMIT, &ttl, sizeof(ttl));
		if (s->opt.v6_recvtclass)
			put_cmsg(msg, &used, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
	}
	msg->msg_controllen = used;
}

/* ------------------------------------------------------------------------------------------ recv
 */

static ssize_t
nothing_to_read(struct uvs_sock *s)
{
	int err = uvs_sock_take_error(s);

	if (err < 0)
		return err;
	return s->shut_rd ? 0 : -EAGAIN;
}

static ssize_t
udp_recv_msg(struct uvs_sock *s, struct msghdr *msg, int flags)
{
	struct pbuf *p = s->udp.rx.head;
	struct uvs_packet_note *note;
	size_t n, whole;

	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	if (flags & MSG_ERRQUEUE)
		return -EAGAIN;
	/* An error comes before data, as the kernel reports it. */
	if (s->err != 0 || p == NULL)
		return nothing_to_read(s);
	note = uvs_pbuf_note(&s->in->mem, p);
	whole = p->tot_len;
	n = uvs_pbuf_to_iov(p, msg->msg_iov, msg->msg_iovlen);
	msg->msg_flags = n < whole ? MSG_TRUNC : 0;
	if (msg->msg_name != NULL) {
		struct uvs_addr from = {note->src, note->sport};

		uvs_addr_to(&from, s->domain, msg->msg_name, &msg->msg_namelen);
	}
	put_control(s, msg, note);
	if (!(flags & MSG_PEEK)) {
		pbuf_free(uvs_queue_take(s->in, &s->udp.rx));
		uvs_publish(s, 0);
	}
	return (ssize_t)(flags & MSG_TRUNC ? whole : n);
}

/* ------------------------------------------------------------------------------------------ send
 */

/* Where a datagram goes, and how; what its control messages say goes before the socket's options.
 */
struct destination {
	struct uvs_addr to;
	struct netif *netif;
	ip_addr_t from;
	int tos, ttl; /* -1: the socket's */
};

static bool
is_cmsg(const struct cmsghdr *c, int level, int type, size_t len)
{
	return c->cmsg_level == level && c->cmsg_type == type && c->cmsg_len >= CMSG_LEN(len);
}

static int
take_number(const struct cmsghdr *c, int *out)
{
	int v;

	memcpy(&v, CMSG_DATA(c), sizeof(v));
	if (v < -1 || v > 255)
		return -EINVAL;
	*out = v;
	return 0;
}

/* The source; -EADDRNOTAVAIL (IPv4: -EINVAL) if it is none of this host's. */
static int
take_pktinfo4(const struct cmsghdr *c, struct destination *d)
{
	struct in_pktinfo info;

	memcpy(&info, CMSG_DATA(c), sizeof(info));
	if (info.ipi_spec_dst.s_addr == 0)
		return 0;
	d->from = (ip_addr_t)IPADDR4_INIT(info.ipi_spec_dst.s_addr);
	return uvs_addr_is_local(&d->from) ? 0 : -EINVAL;
}

static int
take_pktinfo6(const struct cmsghdr *c, struct destination *d)
{
	struct in6_pktinfo info;
	struct sockaddr_in6 a = {.sin6_family = AF_INET6};
	struct uvs_addr from;
	int r;

	memcpy(&info, CMSG_DATA(c), sizeof(info));
	a.sin6_addr = info.ipi6_addr;
	a.sin6_scope_id = info.ipi6_ifindex;
	if (IN6_IS_ADDR_UNSPECIFIED(&info.ipi6_addr))
		return 0;
	r = uvs_addr_from(&from, AF_INET6, true, (struct sockaddr *)&a, sizeof(a));
	if (r < 0)
		return r;
	d->from = from.ip;
	return uvs_addr_is_local(&d->from) ? 0 : -EINVAL;
}

static int
read_control(const struct uvs_sock *s, const struct msghdr *msg, struct destination *d)
{
	/* CMSG_NXTHDR wants a non-const msghdr. */
	struct msghdr copy = *msg;
	int r = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(&copy); c != NULL && r == 0;
	     c = CMSG_NXTHDR(&copy, c)) {
		if (is_cmsg(c, IPPROTO_IP, IP_PKTINFO, sizeof(struct in_pktinfo)))
			r = take_pktinfo4(c, d);
		else if (is_cmsg(c, IPPROTO_IPV6, IPV6_PKTINFO, sizeof(struct in6_pktinfo)))
			r = take_pktinfo6(c, d);
		else if (is_cmsg(c, IPPROTO_IP, IP_TOS, sizeof(int)) ||
			 is_cmsg(c, IPPROTO_IPV6, IPV6_TCLASS, sizeof(int)))
			r = take_number(c, &d->tos);
		else if (is_cmsg(c, IPPROTO_IP, IP_TTL, sizeof(int)) ||
			 is_cmsg(c, IPPROTO_IPV6, IPV6_HOPLIMIT, sizeof(int)))
			r = take_number(c, &d->ttl);
		else if (c->cmsg_level == SOL_SOCKET && s->domain == AF_INET)
			r = -EINVAL;
	}
	return r;
}

static int
find_destination(struct uvs_sock *s, const struct msghdr *msg, struct destination *d)
{
	int r;

	d->from = s->local.ip;
	d->tos = d->ttl = -1;
	if (msg->msg_name != NULL && msg->msg_namelen != 0) {
		r = uvs_addr_from(&d->to, s->domain, s->opt.v6only, msg->msg_name,
				  msg->msg_namelen);
		if (r < 0)
			return r;
		if (d->to.port == 0)
			return -EINVAL;
	} else if (udp_has_peer(s)) {
		d->to = s->remote;
	} else {
		return -EDESTADDRREQ;
	}
	if (is_broadcast(s, &d->to.ip) && !s->opt.broadcast)
		return -EACCES;
	if (msg->msg_controllen != 0 && msg->msg_control != NULL) {
		r = read_control(s, msg, d);
		if (r < 0)
			return r;
	}
	return uvs_addr_source(&d->from, &d->to.ip, &d->netif, &d->from);
}

static int
starve(struct uvs_sock *s)
{
	s->starved.fed = on_fed;
	uvs_starve(s->in, &s->starved);
	uvs_publish(s, 0);
	return -EAGAIN;
}

static struct pbuf *
gather(const struct msghdr *msg, size_t len)
{
	struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, (u16_t)len, PBUF_RAM);
	char *to;

	if (p == NULL)
		return NULL;
	to = p->payload;
	for (size_t i = 0; i < msg->msg_iovlen; i++) {
		memcpy(to, msg->msg_iov[i].iov_base, msg->msg_iov[i].iov_len);
		to += msg->msg_iov[i].iov_len;
	}
	return p;
}

static err_t
transmit(struct uvs_sock *s, struct pbuf *p, const struct destination *d)
{
	struct udp_pcb *pcb = s->udp.pcb;

	pcb->tos = d->tos < 0 ? uvs_opts_tos(&s->opt, &d->to.ip) : (u8_t)d->tos;
	pcb->ttl = d->ttl < 0 ? uvs_opts_ttl(&s->opt, &d->to.ip) : (u8_t)d->ttl;
	pcb->mcast_ttl = pcb->ttl;
	return udp_sendto_if_src(pcb, p, &d->to.ip, d->to.port, d->netif, &d->from);
}

static ssize_t
udp_send_msg(struct uvs_sock *s, const struct msghdr *msg, int flags)
{
	size_t len = uvs_iov_len(msg->msg_iov, msg->msg_iovlen);
	struct destination d;
	struct pbuf *p;
	err_t err;
	int r;

	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	if (len > MAX_DATAGRAM4)
		return -EMSGSIZE;
	r = uvs_sock_take_error(s);
	if (r == 0 && s->shut_wr)
		r = -EPIPE;
	if (r == 0)
		r = find_destination(s, msg, &d);
	if (r == 0)
		r = autobind(s, 0);
	if (r == 0 && IP_IS_V6_VAL(d.to.ip) && len > MAX_DATAGRAM6)
		r = -EMSGSIZE;
	if (r < 0)
		return r;
	p = gather(msg, len);
	if (p == NULL)
		return starve(s);
	err = transmit(s, p, &d);
	pbuf_free(p);
	if (err == ERR_MEM)
		return starve(s);
	return err == ERR_OK ? (ssize_t)len : uvs_errno(err);
}

int
uvs_udp_send_pbuf(struct uvs_sock *s, struct pbuf *p, const struct msghdr *to)
{
	struct destination d;
	err_t err;
	int r = uvs_sock_take_error(s);

	if (r == 0 && s->shut_wr)
		r = -EPIPE;
	if (r == 0)
		r = find_destination(s, to, &d);
	if (r == 0)
		r = autobind(s, 0);
	if (r < 0)
		return r;
	err = transmit(s, p, &d);
	return err == ERR_MEM ? starve(s) : uvs_errno(err);
}

/* ------------------------------------------------------------------------------- shutdown, close
 */

static int
udp_shutdown_how(struct uvs_sock *s, int how)
{
	s->shut_rd |= how != SHUT_WR;
	s->shut_wr |= how != SHUT_RD;
	uvs_publish(s, UVS_STATE_CHANGED);
	return udp_has_peer(s) ? 0 : -ENOTCONN;
}

static void
udp_close(struct uvs_sock *s)
{
	if (s->udp.pcb != NULL) {
		uvs_share_disconnected(s->in, s->udp.pcb);
		udp_remove(s->udp.pcb);
	}
	s->udp.pcb = NULL;
	if (s->use != NULL) {
		uvs_ports_remove(s->use);
		free(s->use);
		s->use = NULL;
	}
	uvs_queue_drop(s->in, &s->udp.rx);
}

static uint32_t
udp_unread(const struct uvs_sock *s, bool datagram)
{
	return datagram && s->udp.rx.head != NULL ? s->udp.rx.head->tot_len : 0;
}

static uint32_t
udp_unsent(const struct uvs_sock *s)
{
	(void)s;
	return 0;
}

/* ----------------------------------------------------------------------------------- ICMP errors
 */

/* Only a connected socket can know whom the error is about (RFC 1122, 4.1.3.3). */
void
uvs_udp_unreachable(struct uvs_instance *in, const struct uvs_addr *local,
		    const struct uvs_addr *remote, int err)
{
	struct uvs_ports *p = &uvs_tables(in)->udp;

	for (struct uvs_port_use *u = p->bucket[local->port % UVS_PORT_BUCKETS]; u != NULL;
	     u = u->next) {
		if (u->local.port == local->port && u->remote.port == remote->port &&
		    ip_addr_cmp(&u->remote.ip, &remote->ip) && u->owner != NULL) {
			uvs_sock_fail(u->owner, err);
			return;
		}
	}
}

const struct uvs_proto uvs_proto_udp = {
	.bind = udp_bind_to,
	.listen = udp_no_listen,
	.connect = udp_connect_to,
	.disconnect = udp_disconnect_peer,
	.accept = udp_no_accept,
	.recv = udp_recv_msg,
	.send = udp_send_msg,
	.shutdown = udp_shutdown_how,
	.has_peer = udp_has_peer,
	.level = udp_level,
	.unread = udp_unread,
	.unsent = udp_unsent,
	.apply = udp_apply,
	.close = udp_close,
};
