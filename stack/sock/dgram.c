/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets of datagrams. A datagram's addresses stand in the note of its pbuf: receiving allocates
 * nothing; sending copies once into an mbuf. */
#include "stack/sock/dgram.h"
#include "stack/sock/stack.h"

#include <sys/param.h>
#include <time.h>

/* ---------------------------------------------------------------------------------------- level */

uint32_t
uvs_dgram_level(struct uvs_sock *s)
{
	uint32_t level = 0;

	if (s->err != 0 || s->dgram.errors != NULL)
		level |= EPOLLERR;
	if (s->shut_rd)
		level |= EPOLLIN | EPOLLRDHUP;
	if (s->shut_rd && s->shut_wr)
		level |= EPOLLHUP;
	if (s->dgram.rx.head != NULL)
		level |= EPOLLIN;
	if (s->starved.prev == NULL)
		level |= EPOLLOUT;
	return level;
}

/* -------------------------------------------------------------------------------------- receive */

bool
uvs_dgram_room(struct uvs_sock *s)
{
	if (s->dgram.rx.charge + s->dgram.error_charge >= (uint32_t)s->opt.rcvbuf) {
		uvs_inst_lost(s->in, UVS_LOST_UDP_RCVBUF_FULL, s->in->rx_frame);
		return false;
	}
	if (s->dgram.rx.bytes > 0 && unlikely(uvs_mem_full(&s->in->mem))) {
		uvs_inst_lost(s->in, UVS_LOST_UDP_NO_MEMORY, s->in->rx_frame);
		return false;
	}
	return true;
}

static uint64_t
wall_clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void
uvs_dgram_note(const struct uvs_sock *s, struct uvs_packet_note *note, uint16_t port)
{
	bool v6 = ip_current_is_v6();

	note->src = *ip_current_src_addr();
	note->sport = port;
	note->dst = *ip_current_dest_addr();
	note->if_idx = netif_get_index(ip_current_input_netif());
	note->tos = v6 ? IP6H_TC(ip6_current_header()) : IPH_TOS(ip4_current_header());
	note->ttl = v6 ? IP6H_HOPLIM(ip6_current_header()) : IPH_TTL(ip4_current_header());
	note->when_ns = s->opt.timestamp != UVS_STAMP_NONE ? wall_clock_ns() : 0;
	note->segment = 0;
}

void
uvs_dgram_put(struct uvs_sock *s, struct pbuf *p, uint16_t port)
{
	uvs_dgram_note(s, uvs_pbuf_note(&s->in->mem, p), port);
	uvs_queue_put(s->in, &s->dgram.rx, uvs_pbuf_unpin(&s->in->mem, p));
	uvs_publish(s, EPOLLIN);
}

static ssize_t
nothing_to_read(struct uvs_sock *s)
{
	int err = uvs_sock_take_error(s);

	if (err < 0)
		return err;
	return s->shut_rd ? 0 : -EAGAIN;
}

ssize_t
uvs_dgram_recv(struct uvs_sock *s, struct msghdr *msg, int flags)
{
	struct pbuf *p = s->dgram.rx.head;
	struct uvs_control control = {.msg = msg};
	struct uvs_packet_note *note;
	size_t n, whole;

	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	if (flags & MSG_ERRQUEUE)
		return uvs_error_recv(s, msg);
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
	uvs_control_note(&control, s, note);
	uvs_control_end(&control);
	if (!(flags & MSG_PEEK)) {
		pbuf_free(uvs_queue_take(s->in, &s->dgram.rx));
		uvs_publish(s, 0);
	}
	return (ssize_t)(flags & MSG_TRUNC ? whole : n);
}

uint32_t
uvs_dgram_unread(const struct uvs_sock *s, bool datagram)
{
	return datagram && s->dgram.rx.head != NULL ? s->dgram.rx.head->tot_len : 0;
}

uint32_t
uvs_dgram_unsent(const struct uvs_sock *s)
{
	(void)s;
	return 0;
}

/* ------------------------------------------------------------------------------------------ send
 */

bool
uvs_dgram_is_broadcast(const struct uvs_sock *s, const ip_addr_t *ip)
{
	return IP_IS_V4(ip) && ip4_addr_isbroadcast(ip_2_ip4(ip), &s->in->netif);
}

static int
named(const struct uvs_sock *s, const struct msghdr *msg, struct uvs_addr *to)
{
	if (msg->msg_name != NULL && msg->msg_namelen != 0)
		return uvs_addr_from(to, s->domain, s->opt.v6only, msg->msg_name, msg->msg_namelen);
	if (!s->proto->has_peer(s))
		return -EDESTADDRREQ;
	*to = s->remote;
	return 0;
}

int
uvs_dgram_dest(struct uvs_sock *s, const struct msghdr *msg, struct uvs_dest *d)
{
	int r = uvs_sock_take_error(s);

	*d = (struct uvs_dest){.device = s->opt.device, .from = s->local.ip, .tos = -1, .ttl = -1};
	d->segment = (uint32_t)s->opt.segment;
	if (r == 0 && s->shut_wr)
		r = -EPIPE;
	if (r == 0)
		r = named(s, msg, &d->to);
	if (r == 0 && uvs_dgram_is_broadcast(s, &d->to.ip) && !s->opt.broadcast)
		r = -EACCES;
	if (r == 0 && msg->msg_controllen != 0 && msg->msg_control != NULL)
		r = uvs_control_read(s, msg, d);
	return r < 0 ? r : uvs_addr_source(d->device, &d->from, &d->to.ip, &d->netif, &d->from);
}

static int
discovery(const struct uvs_sock *s, const struct uvs_dest *d)
{
	return IP_IS_V6_VAL(d->to.ip) ? s->opt.v6_mtu_discover : s->opt.mtu_discover;
}

int
uvs_dgram_fits(struct uvs_sock *s, const struct uvs_dest *d, size_t packet)
{
	int how = discovery(s, d);
	size_t most;

	if (how != IP_PMTUDISC_DO && how != IP_PMTUDISC_PROBE && how != IP_PMTUDISC_INTERFACE)
		return 0;
	most = how == IP_PMTUDISC_DO ? uvs_addr_mtu(d->netif, &d->to.ip) : d->netif->mtu;
	if (packet <= most)
		return 0;
	uvs_error_local(s, EMSGSIZE, (uint32_t)most, &d->to);
	return -EMSGSIZE;
}

uint8_t
uvs_df_begin(const struct uvs_sock *s, const struct uvs_dest *d)
{
	static const uint8_t df[] = {
		[IP_PMTUDISC_DONT] = UVL_DF_NEVER,      [IP_PMTUDISC_WANT] = UVL_DF_IF_IT_FITS,
		[IP_PMTUDISC_DO] = UVL_DF_ALWAYS,       [IP_PMTUDISC_PROBE] = UVL_DF_ALWAYS,
		[IP_PMTUDISC_INTERFACE] = UVL_DF_NEVER, [IP_PMTUDISC_OMIT] = UVL_DF_NEVER,
	};
	uint8_t before = uvl_self->ip4_df_;

	uvl_self->ip4_df_ = df[discovery(s, d)];
	return before;
}

void
uvs_df_end(uint8_t before)
{
	uvl_self->ip4_df_ = before;
}

uint8_t
uvs_dest_tos(const struct uvs_sock *s, const struct uvs_dest *d)
{
	return d->tos < 0 ? uvs_opts_tos(&s->opt, &d->to.ip) : (uint8_t)d->tos;
}

uint8_t
uvs_dest_ttl(const struct uvs_sock *s, const struct uvs_dest *d)
{
	return d->ttl < 0 ? uvs_opts_ttl(&s->opt, &d->to.ip) : (uint8_t)d->ttl;
}

static void
on_fed(struct uvs_starved *starved)
{
	uvs_publish((struct uvs_sock *)((char *)starved - offsetof(struct uvs_sock, starved)),
		    EPOLLOUT);
}

int
uvs_dgram_starve(struct uvs_sock *s)
{
	s->starved.fed = on_fed;
	uvs_starve(s->in, &s->starved);
	uvs_publish(s, 0);
	return -EAGAIN;
}

struct pbuf *
uvs_dgram_gather(const struct msghdr *msg, size_t off, size_t len)
{
	struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, (u16_t)len, PBUF_RAM);
	char *to;

	if (p == NULL)
		return NULL;
	to = p->payload;
	for (size_t i = 0; i < msg->msg_iovlen && len > 0; i++) {
		const struct iovec *v = &msg->msg_iov[i];
		size_t n;

		if (off >= v->iov_len) {
			off -= v->iov_len;
			continue;
		}
		n = MIN(v->iov_len - off, len);
		memcpy(to, (const char *)v->iov_base + off, n);
		to += n;
		len -= n;
		off = 0;
	}
	return p;
}

/* ------------------------------------------------------------------------------- shutdown, close
 */

int
uvs_dgram_shutdown(struct uvs_sock *s, int how)
{
	s->shut_rd |= how != SHUT_WR;
	s->shut_wr |= how != SHUT_RD;
	uvs_publish(s, UVS_STATE_CHANGED);
	return s->proto->has_peer(s) ? 0 : -ENOTCONN;
}

int
uvs_dgram_no_listen(struct uvs_sock *s, int backlog)
{
	(void)s;
	(void)backlog;
	return -EOPNOTSUPP;
}

int
uvs_dgram_no_accept(struct uvs_sock *s, struct uvs_sock **out)
{
	(void)s;
	(void)out;
	return -EOPNOTSUPP;
}

void
uvs_dgram_close(struct uvs_sock *s)
{
	uvs_mcast_close(s);
	uvs_queue_drop(s->in, &s->dgram.rx);
	uvs_error_drop_all(s);
}
