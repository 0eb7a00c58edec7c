/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Socket options by one table. A row's value is an int in struct uvs_opts unless it has functions
 * of its own. What is not in the table is -ENOPROTOOPT. Options that are stored and have no effect
 * are marked so: refusing them would break programs that set them for speed only. */
#include "stack/sock/dgram.h"
#include "stack/sock/stack.h"

#include "stack/core/clock.h"

#include <asm-generic/socket.h>
#include <limits.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stdlib.h>
#include <sys/param.h>
#include <sys/time.h>

enum {
	TCP_ONLY = 1,
	UDP_ONLY = 2,
	RAW_ONLY = 4,
	NO_STREAM = 8,
	READ_ONLY = 16,
	FLAG = 32 /* stored as 0 or 1 */
};

struct opt {
	int level, name;
	unsigned int kind;
	size_t offset;
	int min, max;
	int (*get)(struct uvs_sock *s, void *val, socklen_t *len);
	int (*set)(struct uvs_sock *s, const void *val, socklen_t len);
};

/* --------------------------------------------------------------------------------------- values */

/* As the kernel: an int, cut to the room there is. */
static int
put_int(int v, void *val, socklen_t *len)
{
	if (*len < sizeof(v)) {
		/* Little-endian: the low byte is the value of small options. */
		memcpy(val, &v, *len);
		return 0;
	}
	memcpy(val, &v, sizeof(v));
	*len = sizeof(v);
	return 0;
}

static int
take_int(const void *val, socklen_t len, int *out)
{
	if (len < (socklen_t)sizeof(*out))
		return -EINVAL;
	memcpy(out, val, sizeof(*out));
	return 0;
}

/* IP-level options are also taken as a byte. */
static int
take_ip_int(const void *val, socklen_t len, int *out)
{
	if (len >= (socklen_t)sizeof(*out))
		return take_int(val, len, out);
	if (len < 1)
		return -EINVAL;
	*out = *(const unsigned char *)val;
	return 0;
}

static int
put_bytes(const void *from, size_t size, void *val, socklen_t *len)
{
	*len = (socklen_t)MIN((size_t)*len, size);
	memcpy(val, from, *len);
	return 0;
}

/* ---------------------------------------------------------------------------- options with a mind
 */

static int
get_error(struct uvs_sock *s, void *val, socklen_t *len)
{
	return put_int(-uvs_sock_take_error(s), val, len);
}

static int
get_type(struct uvs_sock *s, void *val, socklen_t *len)
{
	return put_int(s->type, val, len);
}

static int
get_domain(struct uvs_sock *s, void *val, socklen_t *len)
{
	return put_int(s->domain, val, len);
}

static int
get_protocol(struct uvs_sock *s, void *val, socklen_t *len)
{
	return put_int(s->protocol, val, len);
}

static int
get_acceptconn(struct uvs_sock *s, void *val, socklen_t *len)
{
	return put_int(s->listening, val, len);
}

static int
get_linger(struct uvs_sock *s, void *val, socklen_t *len)
{
	return put_bytes(&s->opt.linger, sizeof(s->opt.linger), val, len);
}

static int
set_linger(struct uvs_sock *s, const void *val, socklen_t len)
{
	struct linger l;

	if (len < (socklen_t)sizeof(l))
		return -EINVAL;
	memcpy(&l, val, sizeof(l));
	s->opt.linger.l_onoff = l.l_onoff != 0;
	if (l.l_onoff) /* the time stays when it is switched off */
		s->opt.linger.l_linger = l.l_linger;
	return 0;
}

/* SO_RCVBUF and SO_SNDBUF: the kernel doubles what it is told, for its bookkeeping, and says so. */
static int
set_buffer(int *buf, const void *val, socklen_t len, int least, int most)
{
	int v, r = take_int(val, len, &v);

	if (r < 0)
		return r;
	v = MIN(v < 0 ? most : v, most);
	__atomic_store_n(buf, MAX(v * 2, least), __ATOMIC_RELAXED);
	return 0;
}

static int
most_buffer(const struct uvs_sock *s)
{
	return s->type == SOCK_STREAM ? (int)TCP_WND : 16 << 20;
}

static int
set_rcvbuf(struct uvs_sock *s, const void *val, socklen_t len)
{
	return set_buffer(&s->opt.rcvbuf, val, len, 2304, most_buffer(s));
}

static int
set_sndbuf(struct uvs_sock *s, const void *val, socklen_t len)
{
	s->opt.sndbuf_chosen = true;
	return set_buffer(&s->opt.sndbuf, val, len, 4608, most_buffer(s));
}

static int
get_timeo(uint64_t ns, void *val, socklen_t *len)
{
	struct timeval tv = {.tv_sec = (time_t)(ns / UVS_NS_PER_S),
			     .tv_usec = (suseconds_t)(ns % UVS_NS_PER_S / UVS_NS_PER_US)};

	return put_bytes(&tv, sizeof(tv), val, len);
}

static int
set_timeo(uint64_t *ns, const void *val, socklen_t len)
{
	struct timeval tv;
	uint64_t v;

	if (len < (socklen_t)sizeof(tv))
		return -EINVAL;
	memcpy(&tv, val, sizeof(tv));
	if (tv.tv_usec < 0 || tv.tv_usec >= 1000000)
		return -EDOM;
	if (tv.tv_sec < 0)
		v = 1; /* as the kernel: do not wait at all */
	else if (tv.tv_sec > INT_MAX)
		v = 0;
	else
		v = (uint64_t)tv.tv_sec * UVS_NS_PER_S + (uint64_t)tv.tv_usec * UVS_NS_PER_US;
	__atomic_store_n(ns, v, __ATOMIC_RELAXED);
	return 0;
}

static int
get_rcvtimeo(struct uvs_sock *s, void *val, socklen_t *len)
{
	return get_timeo(s->opt.rcvtimeo, val, len);
}

static int
set_rcvtimeo(struct uvs_sock *s, const void *val, socklen_t len)
{
	return set_timeo(&s->opt.rcvtimeo, val, len);
}

static int
get_sndtimeo(struct uvs_sock *s, void *val, socklen_t *len)
{
	return get_timeo(s->opt.sndtimeo, val, len);
}

static int
set_sndtimeo(struct uvs_sock *s, const void *val, socklen_t len)
{
	return set_timeo(&s->opt.sndtimeo, val, len);
}

static int
get_maxseg(struct uvs_sock *s, void *val, socklen_t *len)
{
	int mss = s->opt.maxseg != 0 ? s->opt.maxseg : 536;

	if (s->tcp.pcb != NULL && s->tcp.state == UVS_TCP_OPEN)
		mss = s->tcp.pcb->mss;
	return put_int(mss, val, len);
}

static uint8_t
info_state(const struct uvs_sock *s)
{
	/* lwIP's enum tcp_state as Linux numbers them. */
	static const uint8_t linux_state[] = {7, 10, 2, 3, 1, 4, 5, 8, 11, 9, 6};

	if (s->tcp.state == UVS_TCP_LISTEN)
		return 10;
	return s->tcp.pcb != NULL ? linux_state[s->tcp.pcb->state] : 7;
}

static uint32_t
segments(const struct tcp_pcb *pcb, uint32_t bytes)
{
	uint32_t mss = MAX(pcb->mss, (u16_t)1);

	return (bytes + mss - 1) / mss;
}

/* What the kernel tells of loss, time and rate. */
static void
info_of_recovery(const struct tcp_pcb *pcb, struct tcp_info *i)
{
	static const uint8_t ca_states[] = {
		[UVL_TCP_OPEN] = 0, [UVL_TCP_REPAIR] = 3, [UVL_TCP_TIMEDOUT] = 4};
	const struct uvl_tcp_rec *r = &pcb->rec;

	i->tcpi_ca_state = r->state == UVL_TCP_OPEN && r->sacked != 0 ? 1 : ca_states[r->state];
	i->tcpi_backoff = pcb->nrtx;
	i->tcpi_rtt = r->srtt / 8;
	i->tcpi_rttvar = r->rttvar / 4;
	i->tcpi_min_rtt = r->min_rtt;
	i->tcpi_sacked = segments(pcb, r->sacked);
	i->tcpi_lost = segments(pcb, r->lost);
	i->tcpi_retrans = segments(pcb, r->retrans);
	i->tcpi_total_retrans = r->retrans_segs;
	i->tcpi_delivery_rate = r->rate;
	i->tcpi_reordering = 3;
	if (pcb->flags & TF_TIMESTAMP)
		i->tcpi_options |= TCPI_OPT_TIMESTAMPS;
	if (r->ecn & UVL_ECN_OK)
		i->tcpi_options |= TCPI_OPT_ECN;
	if (r->ecn & UVL_ECN_SEEN)
		i->tcpi_options |= TCPI_OPT_ECN_SEEN;
}

static void
info_of_pcb(const struct tcp_pcb *pcb, struct tcp_info *i)
{
	i->tcpi_rto = (uint32_t)pcb->rto * TCP_SLOW_INTERVAL * 1000;
	info_of_recovery(pcb, i);
	i->tcpi_snd_mss = i->tcpi_advmss = pcb->mss;
	i->tcpi_rcv_mss = pcb->mss;
	i->tcpi_pmtu = pcb->mss + 40u;
	i->tcpi_snd_cwnd = pcb->cwnd / MAX(pcb->mss, (u16_t)1);
	i->tcpi_snd_ssthresh = pcb->ssthresh / MAX(pcb->mss, (u16_t)1);
	i->tcpi_rcv_space = pcb->rcv_wnd;
	i->tcpi_retransmits = pcb->nrtx;
	i->tcpi_unacked = segments(pcb, pcb->snd_nxt - pcb->lastack);
	i->tcpi_notsent_bytes = pcb->snd_lbb - pcb->snd_nxt;
	i->tcpi_snd_wnd = pcb->snd_wnd;
	if (pcb->flags & TF_WND_SCALE) {
		i->tcpi_options |= TCPI_OPT_WSCALE;
		i->tcpi_snd_wscale = pcb->snd_scale & 0xf;
		i->tcpi_rcv_wscale = pcb->rcv_scale & 0xf;
	}
	if (pcb->flags & TF_SACK)
		i->tcpi_options |= TCPI_OPT_SACK;
}

static int
get_info(struct uvs_sock *s, void *val, socklen_t *len)
{
	struct tcp_info i = {.tcpi_state = info_state(s)};

	if (s->tcp.state == UVS_TCP_LISTEN) {
		i.tcpi_unacked = s->tcp.accept_n;
		i.tcpi_sacked = s->tcp.backlog;
	} else if (s->tcp.pcb != NULL) {
		info_of_pcb(s->tcp.pcb, &i);
	}
	return put_bytes(&i, sizeof(i), val, len);
}

/* Linux keeps seconds as a number of timeouts of the SYN-ACK: 1, 3, 7, 15... s. */
static int
seconds_to_timeouts(int seconds)
{
	int n = 0, timeout = 1, period = 0;

	while (period < seconds && n < 255) {
		period += timeout;
		timeout = MIN(timeout * 2, UVL_TCP_RTO_MAX / 1000);
		n++;
	}
	return n;
}

static int
timeouts_to_seconds(int n)
{
	int timeout = 1, period = 0;

	for (; n > 0; n--) {
		period += timeout;
		timeout = MIN(timeout * 2, UVL_TCP_RTO_MAX / 1000);
	}
	return period;
}

static int
get_defer_accept(struct uvs_sock *s, void *val, socklen_t *len)
{
	return put_int(timeouts_to_seconds(s->opt.defer_accept), val, len);
}

static int
set_defer_accept(struct uvs_sock *s, const void *val, socklen_t len)
{
	int v, r = take_int(val, len, &v);

	if (r == 0)
		s->opt.defer_accept = seconds_to_timeouts(v);
	return r;
}

/* As with net.ipv4.tcp_fastopen = 0: a server may ask for it, and connections open as ever. */
static int
set_fastopen(struct uvs_sock *s, const void *val, socklen_t len)
{
	int v, r = take_int(val, len, &v);

	if (r < 0)
		return r;
	if (v < 0 || (s->tcp.state != UVS_TCP_CLOSED && s->tcp.state != UVS_TCP_LISTEN))
		return -EINVAL;
	s->opt.fastopen = v;
	return 0;
}

static int
set_fastopen_connect(struct uvs_sock *s, const void *val, socklen_t len)
{
	int v, r = take_int(val, len, &v);

	(void)s;
	if (r < 0)
		return r;
	return v < 0 || v > 1 ? -EINVAL : -EOPNOTSUPP;
}

static int
get_congestion(struct uvs_sock *s, void *val, socklen_t *len)
{
	return put_bytes(s->opt.congestion->name, sizeof(s->opt.congestion->name), val, len);
}

static int
set_congestion(struct uvs_sock *s, const void *val, socklen_t len)
{
	char name[sizeof(s->opt.congestion->name)] = "";
	const struct uvl_tcp_cc *cc;

	if (len < 1)
		return -EINVAL;
	memcpy(name, val, MIN((size_t)len, sizeof(name) - 1));
	cc = uvl_tcp_cc_find(name);
	if (cc == NULL)
		return -ENOENT;
	s->opt.congestion = cc;
	return 0;
}

static int
set_v6only(struct uvs_sock *s, const void *val, socklen_t len)
{
	int v, r = take_int(val, len, &v);

	if (r < 0)
		return r;
	if (s->use != NULL)
		return -EINVAL;
	s->opt.v6only = v != 0;
	return 0;
}

static int
get_v6only(struct uvs_sock *s, void *val, socklen_t *len)
{
	return put_int(s->opt.v6only, val, len);
}

/* -1: the default. */
static int
set_ttl(struct uvs_sock *s, const void *val, socklen_t len)
{
	int v, r = take_ip_int(val, len, &v);

	if (r < 0)
		return r;
	if (v != -1 && (v < 1 || v > 255))
		return -EINVAL;
	s->opt.ttl = v == -1 ? 64 : v;
	return 0;
}

static int
get_ttl(struct uvs_sock *s, void *val, socklen_t *len)
{
	return put_int(s->opt.ttl, val, len);
}

static int
get_stamp(const struct uvs_sock *s, enum uvs_stamp kind, void *val, socklen_t *len)
{
	return put_int(s->opt.timestamp == (int)kind, val, len);
}

/* The one or the other. */
static int
set_stamp(struct uvs_sock *s, enum uvs_stamp kind, const void *val, socklen_t len)
{
	int v, r = take_int(val, len, &v);

	if (r == 0)
		s->opt.timestamp = v != 0 ? (int)kind : UVS_STAMP_NONE;
	return r;
}

static int
get_timestamp(struct uvs_sock *s, void *val, socklen_t *len)
{
	return get_stamp(s, UVS_STAMP_US, val, len);
}

static int
set_timestamp(struct uvs_sock *s, const void *val, socklen_t len)
{
	return set_stamp(s, UVS_STAMP_US, val, len);
}

static int
get_timestampns(struct uvs_sock *s, void *val, socklen_t *len)
{
	return get_stamp(s, UVS_STAMP_NS, val, len);
}

static int
set_timestampns(struct uvs_sock *s, const void *val, socklen_t len)
{
	return set_stamp(s, UVS_STAMP_NS, val, len);
}

/* -1: none; an even place, from the transport header on. */
static int
set_checksum(struct uvs_sock *s, const void *val, socklen_t len)
{
	int v, r = take_int(val, len, &v);

	if (r < 0)
		return r;
	if (s->domain != AF_INET6)
		return -ENOPROTOOPT;
	if (v > 0 && (v & 1) != 0)
		return -EINVAL;
	if (s->protocol == IPPROTO_ICMPV6)
		return v == 2 ? 0 : -EINVAL; /* always there */
	s->opt.checksum = MAX(v, -1);
	return 0;
}

static size_t
filter_size(const struct uvs_sock *s)
{
	if (s->protocol == IPPROTO_ICMPV6)
		return sizeof(s->opt.icmp_filter);
	return s->protocol == IPPROTO_ICMP ? sizeof(s->opt.icmp_filter[0]) : 0;
}

static int
get_icmp_filter(struct uvs_sock *s, void *val, socklen_t *len)
{
	size_t size = filter_size(s);

	return size == 0 ? -EOPNOTSUPP : put_bytes(s->opt.icmp_filter, size, val, len);
}

static int
set_icmp_filter(struct uvs_sock *s, const void *val, socklen_t len)
{
	size_t size = filter_size(s);

	if (size == 0)
		return -EOPNOTSUPP;
	memcpy(s->opt.icmp_filter, val, MIN((size_t)len, size));
	return 0;
}

/* Of the way to the peer. */
static int
get_mtu(struct uvs_sock *s, void *val, socklen_t *len)
{
	struct netif *n;
	ip_addr_t from;
	int r;

	if (!s->proto->has_peer(s))
		return -ENOTCONN;
	r = uvs_addr_source(s->opt.device, &s->local.ip, &s->remote.ip, &n, &from);
	return r < 0 ? r : put_int(uvs_addr_mtu(n, &s->remote.ip), val, len);
}

static int
get_mcast_if(struct uvs_sock *s, void *val, socklen_t *len)
{
	return put_bytes(&s->opt.mcast_if, sizeof(s->opt.mcast_if), val, len);
}

static int
get_device(struct uvs_sock *s, void *val, socklen_t *len)
{
	const struct netif *n = uvs_addr_interface(s->opt.device);
	char name[IFNAMSIZ] = "";

	if (n == NULL) {
		*len = 0;
		return 0;
	}
	if (*len < IFNAMSIZ)
		return -EINVAL;
	uvs_addr_interface_name(n, name);
	return put_bytes(name, strlen(name) + 1, val, len);
}

/* No name: any interface again. */
static int
set_device(struct uvs_sock *s, const void *val, socklen_t len)
{
	char name[IFNAMSIZ] = "";
	struct netif *n;

	memcpy(name, val, MIN((size_t)len, sizeof(name) - 1));
	n = uvs_addr_interface_named(name);
	if (n == NULL && name[0] != '\0')
		return -ENODEV;
	s->opt.device = n != NULL ? netif_get_index(n) : 0;
	return 0;
}

/* There is one way out: it must be that. */
static int
set_mcast_if(struct uvs_sock *s, const void *val, socklen_t len)
{
	struct ip_mreqn m = {.imr_ifindex = 0};
	ip_addr_t ip;

	if (len >= (socklen_t)sizeof(struct ip_mreq))
		memcpy(&m, val, MIN((size_t)len, sizeof(m)));
	else if (len >= (socklen_t)sizeof(m.imr_address))
		memcpy(&m.imr_address, val, sizeof(m.imr_address));
	else
		return -EINVAL;
	ip = (ip_addr_t)IPADDR4_INIT(m.imr_address.s_addr);
	if (m.imr_ifindex != 0 ? m.imr_ifindex != UVS_IFINDEX_PORT : !uvs_addr_is_local(&ip))
		return -EADDRNOTAVAIL;
	s->opt.mcast_if = m.imr_address;
	return 0;
}

static int
set_v6_mcast_if(struct uvs_sock *s, const void *val, socklen_t len)
{
	int v, r = take_int(val, len, &v);

	if (r < 0)
		return r;
	if (v != 0 && v != UVS_IFINDEX_PORT)
		return -ENODEV;
	s->opt.v6_mcast_if = v;
	return 0;
}

/* --------------------------------------------------------------------------------------- the table
 */

#define V(member) offsetof(struct uvs_opts, member)

/* clang-format off */
static const struct opt table[] = {
	{SOL_SOCKET, SO_REUSEADDR, FLAG, V(reuseaddr), INT_MIN, INT_MAX, NULL, NULL},
	{SOL_SOCKET, SO_REUSEPORT, FLAG, V(reuseport), INT_MIN, INT_MAX, NULL, NULL},
	{SOL_SOCKET, SO_KEEPALIVE, FLAG, V(keepalive), INT_MIN, INT_MAX, NULL, NULL},
	{SOL_SOCKET, SO_BROADCAST, FLAG, V(broadcast), INT_MIN, INT_MAX, NULL, NULL},
	{SOL_SOCKET, SO_OOBINLINE, FLAG, V(oobinline), INT_MIN, INT_MAX, NULL, NULL},
	{SOL_SOCKET, SO_DONTROUTE, FLAG, V(dontroute), INT_MIN, INT_MAX, NULL, NULL}, /* no effect */
	{SOL_SOCKET, SO_PRIORITY, 0, V(priority), 0, 6, NULL, NULL},		       /* no effect */
	{SOL_SOCKET, SO_RCVLOWAT, 0, V(rcvlowat), INT_MIN, INT_MAX, NULL, NULL},
	{SOL_SOCKET, SO_BUSY_POLL, 0, V(busy_poll), 0, INT_MAX, NULL, NULL},	       /* no effect */
	{SOL_SOCKET, SO_BINDTODEVICE, 0, 0, 0, 0, get_device, set_device},
	{SOL_SOCKET, SO_ERROR, READ_ONLY, 0, 0, 0, get_error, NULL},
	{SOL_SOCKET, SO_TYPE, READ_ONLY, 0, 0, 0, get_type, NULL},
	{SOL_SOCKET, SO_DOMAIN, READ_ONLY, 0, 0, 0, get_domain, NULL},
	{SOL_SOCKET, SO_PROTOCOL, READ_ONLY, 0, 0, 0, get_protocol, NULL},
	{SOL_SOCKET, SO_ACCEPTCONN, READ_ONLY, 0, 0, 0, get_acceptconn, NULL},
	{SOL_SOCKET, SO_LINGER, 0, 0, 0, 0, get_linger, set_linger},
	{SOL_SOCKET, SO_RCVBUF, 0, V(rcvbuf), 0, 0, NULL, set_rcvbuf},
	{SOL_SOCKET, SO_SNDBUF, 0, V(sndbuf), 0, 0, NULL, set_sndbuf},
	{SOL_SOCKET, SO_RCVTIMEO, 0, 0, 0, 0, get_rcvtimeo, set_rcvtimeo},
	{SOL_SOCKET, SO_SNDTIMEO, 0, 0, 0, 0, get_sndtimeo, set_sndtimeo},

	{SOL_SOCKET, SO_TIMESTAMP, 0, 0, 0, 0, get_timestamp, set_timestamp},
	{SOL_SOCKET, SO_TIMESTAMPNS, 0, 0, 0, 0, get_timestampns, set_timestampns},

	{IPPROTO_IP, IP_TOS, 0, V(tos), 0, 255, NULL, NULL},
	{IPPROTO_IP, IP_TTL, 0, V(ttl), 0, 0, get_ttl, set_ttl},
	{IPPROTO_IP, IP_MULTICAST_TTL, 0, V(mcast_ttl), 0, 255, NULL, NULL},
	{IPPROTO_IP, IP_MULTICAST_LOOP, FLAG, V(mcast_loop), INT_MIN, INT_MAX, NULL, NULL},
	{IPPROTO_IP, IP_PKTINFO, FLAG, V(pktinfo), INT_MIN, INT_MAX, NULL, NULL},
	{IPPROTO_IP, IP_RECVTOS, FLAG, V(recvtos), INT_MIN, INT_MAX, NULL, NULL},
	{IPPROTO_IP, IP_RECVTTL, FLAG, V(recvttl), INT_MIN, INT_MAX, NULL, NULL},
	{IPPROTO_IP, IP_MTU_DISCOVER, 0, V(mtu_discover), 0, 5, NULL, NULL},
	{IPPROTO_IP, IP_MTU, READ_ONLY, 0, 0, 0, get_mtu, NULL},
	{IPPROTO_IP, IP_RECVERR, FLAG, V(recverr), INT_MIN, INT_MAX, NULL, NULL},
	{IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, FLAG, V(bind_no_port), INT_MIN, INT_MAX, NULL, NULL},
	{IPPROTO_IP, IP_MULTICAST_ALL, NO_STREAM, V(mcast_all), 0, 1, NULL, NULL},
	{IPPROTO_IP, IP_MULTICAST_IF, NO_STREAM, 0, 0, 0, get_mcast_if, set_mcast_if},

	{IPPROTO_IPV6, IPV6_V6ONLY, 0, V(v6only), 0, 0, get_v6only, set_v6only},
	{IPPROTO_IPV6, IPV6_RECVPKTINFO, FLAG, V(v6_pktinfo), INT_MIN, INT_MAX, NULL, NULL},
	{IPPROTO_IPV6, IPV6_UNICAST_HOPS, 0, V(v6_hops), -1, 255, NULL, NULL},
	{IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 0, V(v6_mcast_hops), -1, 255, NULL, NULL},
	{IPPROTO_IPV6, IPV6_MULTICAST_LOOP, FLAG, V(v6_mcast_loop), 0, 1, NULL, NULL},
	{IPPROTO_IPV6, IPV6_MULTICAST_ALL, NO_STREAM, V(v6_mcast_all), 0, 1, NULL, NULL},
	{IPPROTO_IPV6, IPV6_MULTICAST_IF, NO_STREAM, V(v6_mcast_if), 0, 0, NULL, set_v6_mcast_if},
	{IPPROTO_IPV6, IPV6_TCLASS, 0, V(v6_tclass), -1, 255, NULL, NULL},
	{IPPROTO_IPV6, IPV6_RECVTCLASS, FLAG, V(v6_recvtclass), INT_MIN, INT_MAX, NULL, NULL},
	{IPPROTO_IPV6, IPV6_RECVHOPLIMIT, FLAG, V(v6_recvhops), INT_MIN, INT_MAX, NULL, NULL},
	{IPPROTO_IPV6, IPV6_2292HOPLIMIT, FLAG, V(v6_old_recvhops), INT_MIN, INT_MAX, NULL, NULL},
	{IPPROTO_IPV6, IPV6_2292PKTINFO, FLAG, V(v6_old_pktinfo), INT_MIN, INT_MAX, NULL, NULL},
	{IPPROTO_IPV6, IPV6_RECVERR, FLAG, V(v6_recverr), INT_MIN, INT_MAX, NULL, NULL},
	{IPPROTO_IPV6, IPV6_MTU_DISCOVER, 0, V(v6_mtu_discover), 0, 5, NULL, NULL},
	{IPPROTO_IPV6, IPV6_MTU, READ_ONLY, 0, 0, 0, get_mtu, NULL},

	{IPPROTO_IP, IP_HDRINCL, RAW_ONLY | FLAG, V(hdrincl), INT_MIN, INT_MAX, NULL, NULL},
	{IPPROTO_IP, IP_RECVOPTS, FLAG, V(recvopts), INT_MIN, INT_MAX, NULL, NULL},    /* no effect */
	{IPPROTO_IP, IP_RETOPTS, FLAG, V(retopts), INT_MIN, INT_MAX, NULL, NULL},      /* no effect */
	{IPPROTO_IPV6, IPV6_CHECKSUM, RAW_ONLY, V(checksum), 0, 0, NULL, set_checksum},
	{IPPROTO_RAW, IPV6_CHECKSUM, RAW_ONLY, V(checksum), 0, 0, NULL, set_checksum},
	{IPPROTO_RAW, ICMP_FILTER, RAW_ONLY, 0, 0, 0, get_icmp_filter, set_icmp_filter},
	{IPPROTO_ICMPV6, ICMPV6_FILTER, RAW_ONLY, 0, 0, 0, get_icmp_filter, set_icmp_filter},

	{IPPROTO_TCP, TCP_NODELAY, TCP_ONLY | FLAG, V(nodelay), INT_MIN, INT_MAX, NULL, NULL},
	{IPPROTO_TCP, TCP_CORK, TCP_ONLY | FLAG, V(cork), INT_MIN, INT_MAX, NULL, NULL},
	{IPPROTO_TCP, TCP_QUICKACK, TCP_ONLY | FLAG, V(quickack), INT_MIN, INT_MAX, NULL, NULL},
	{IPPROTO_TCP, TCP_MAXSEG, TCP_ONLY, V(maxseg), 88, 32767, get_maxseg, NULL},
	{IPPROTO_TCP, TCP_KEEPIDLE, TCP_ONLY, V(keepidle), 1, 32767, NULL, NULL},
	{IPPROTO_TCP, TCP_KEEPINTVL, TCP_ONLY, V(keepintvl), 1, 32767, NULL, NULL},
	{IPPROTO_TCP, TCP_KEEPCNT, TCP_ONLY, V(keepcnt), 1, 127, NULL, NULL},
	{IPPROTO_TCP, TCP_USER_TIMEOUT, TCP_ONLY, V(user_timeout), 0, INT_MAX, NULL, NULL},
	{IPPROTO_TCP, TCP_DEFER_ACCEPT, TCP_ONLY, 0, 0, 0, get_defer_accept, set_defer_accept},
	{IPPROTO_TCP, TCP_LINGER2, TCP_ONLY, V(linger2), -1, 120, NULL, NULL},	       /* no effect */
	{IPPROTO_TCP, TCP_SYNCNT, TCP_ONLY, V(syncnt), 1, 127, NULL, NULL},
	{IPPROTO_TCP, TCP_WINDOW_CLAMP, TCP_ONLY, V(window_clamp), 0, INT_MAX, NULL, NULL}, /* none */
	{IPPROTO_TCP, TCP_NOTSENT_LOWAT, TCP_ONLY, V(notsent_lowat), INT_MIN, INT_MAX, NULL, NULL},
	{IPPROTO_TCP, TCP_FASTOPEN, TCP_ONLY, V(fastopen), 0, 0, NULL, set_fastopen},  /* no effect */
	{IPPROTO_TCP, TCP_FASTOPEN_CONNECT, TCP_ONLY, V(fastopen_connect), 0, 0, NULL,
	 set_fastopen_connect},
	{IPPROTO_TCP, TCP_INFO, TCP_ONLY | READ_ONLY, 0, 0, 0, get_info, NULL},
	{IPPROTO_TCP, TCP_CONGESTION, TCP_ONLY, 0, 0, 0, get_congestion, set_congestion},

	{IPPROTO_UDP, UDP_CORK, UDP_ONLY | FLAG, V(udp_cork), INT_MIN, INT_MAX, NULL, NULL},
	{IPPROTO_UDP, UDP_SEGMENT, UDP_ONLY, V(segment), 0, UINT16_MAX, NULL, NULL},
	{IPPROTO_UDP, UDP_GRO, UDP_ONLY | FLAG, V(gro), INT_MIN, INT_MAX, NULL, NULL},
};
/* clang-format on */

/* ---------------------------------------------------------------------------------------- get, set
 */

/* Kinds that a socket does not have. */
static unsigned int
not_for(const struct uvs_sock *s)
{
	if (s->proto == &uvs_proto_tcp)
		return UDP_ONLY | RAW_ONLY | NO_STREAM;
	if (s->proto == &uvs_proto_udp)
		return TCP_ONLY | RAW_ONLY;
	return TCP_ONLY | UDP_ONLY | (s->type == SOCK_RAW ? 0 : RAW_ONLY);
}

static const struct opt *
find(const struct uvs_sock *s, int level, int name)
{
	unsigned int wrong = not_for(s);

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].level == level && table[i].name == name)
			return table[i].kind & wrong ? NULL : &table[i];
	return NULL;
}

static int *
value(struct uvs_sock *s, const struct opt *o)
{
	return (int *)(void *)((char *)&s->opt + o->offset);
}

/* The kernel's answer to a level that a socket does not have. */
static int
unknown(const struct uvs_sock *s, int level)
{
	if (level == IPPROTO_TCP && s->proto == &uvs_proto_udp)
		return -EOPNOTSUPP;
	if (level == IPPROTO_IPV6 && s->domain == AF_INET)
		return -EOPNOTSUPP;
	return -ENOPROTOOPT;
}

/* getsockopt() tells a level that nobody has from an option that a level does not have. */
static bool
has_level(int level)
{
	return level == SOL_SOCKET || level == IPPROTO_IP || level == IPPROTO_IPV6 ||
	       level == IPPROTO_TCP || level == IPPROTO_UDP || level == IPPROTO_RAW ||
	       level == IPPROTO_ICMPV6;
}

int
uvs_opts_get(struct uvs_sock *s, int level, int name, void *val, socklen_t *len)
{
	const struct opt *o = find(s, level, name);

	if (o == NULL || (level == IPPROTO_IPV6 && s->domain == AF_INET))
		return has_level(level) ? unknown(s, level) : -EOPNOTSUPP;
	if ((int)*len < 0)
		return -EINVAL;
	if (o->get != NULL)
		return o->get(s, val, len);
	if (o->set != NULL && o->offset == 0)
		return -ENOPROTOOPT; /* write-only */
	return put_int(*value(s, o), val, len);
}

int
uvs_opts_set(struct uvs_sock *s, int level, int name, const void *val, socklen_t len)
{
	const struct opt *o = find(s, level, name);
	int v, r;

	if (s->type != SOCK_STREAM && uvs_mcast_option(level, name) &&
	    (level == IPPROTO_IP || s->domain == AF_INET6))
		return uvs_mcast_set(s, level, name, val, len);
	if (o == NULL || (level == IPPROTO_IPV6 && s->domain == AF_INET))
		return unknown(s, level);
	if (o->kind & READ_ONLY)
		return -ENOPROTOOPT;
	if (o->set != NULL)
		return o->set(s, val, len);
	r = level == IPPROTO_IP ? take_ip_int(val, len, &v) : take_int(val, len, &v);
	if (r < 0)
		return r;
	if (v < o->min || v > o->max)
		return -EINVAL;
	*value(s, o) = o->kind & FLAG ? v != 0 : v;
	return 0;
}

#define DEFAULT_HOPS 64

static int
or_default(int v, int def)
{
	return v < 0 ? def : v;
}

uint8_t
uvs_opts_tos(const struct uvs_opts *o, const ip_addr_t *to)
{
	return (uint8_t)(IP_IS_V6(to) ? or_default(o->v6_tclass, 0) : o->tos);
}

void
uvs_opts_no_ecn(struct uvs_opts *o)
{
	o->tos &= ~3;
	if (o->v6_tclass > 0)
		o->v6_tclass &= ~3;
}

uint8_t
uvs_opts_ttl(const struct uvs_opts *o, const ip_addr_t *to)
{
	if (!IP_IS_V6(to))
		return (uint8_t)(ip_addr_ismulticast(to) ? o->mcast_ttl : o->ttl);
	return (uint8_t)(ip6_addr_ismulticast(ip_2_ip6(to)) ? or_default(o->v6_mcast_hops, 1)
							    : or_default(o->v6_hops, DEFAULT_HOPS));
}

void
uvs_opts_init(struct uvs_opts *o, const struct uvs_conf *c, int type)
{
	*o = (struct uvs_opts){
		.sndbuf = (int)(type == SOCK_STREAM ? c->tcp_sndbuf * 2 : c->udp_sndbuf),
		.rcvbuf = (int)(type == SOCK_STREAM ? c->tcp_rcvbuf * 2 : c->udp_rcvbuf),
		.congestion = uvl_tcp_cc_find(c->tcp_congestion == UVS_CONGESTION_RENO ? "reno"
										       : "cubic"),
		.rcvlowat = 1,
		.checksum = -1,
		.ttl = 64,
		.mcast_ttl = 1,
		.mcast_loop = 1,
		.mcast_all = 1,
		.v6_mcast_all = 1,
		.v6_hops = 64,
		.v6_mcast_hops = 1,
		.v6_mcast_loop = 1,
		.quickack = 1,
		.keepidle = 7200,
		.keepintvl = 75,
		.keepcnt = 9,
		.syncnt = 6,
		.linger2 = 60,
		.mtu_discover = IP_PMTUDISC_WANT,
		.v6_mtu_discover = IPV6_PMTUDISC_WANT,
	};
}
