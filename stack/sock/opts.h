/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/sock/opts.h - socket options: one table of what is known, one struct of values.
 */
#ifndef STACK_SOCK_OPTS_H
#define STACK_SOCK_OPTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "stack/lwip/uvl.h"

struct uvs_sock;
struct uvs_conf;
struct uvl_tcp_cc;

/* SO_TIMESTAMP, SO_TIMESTAMPNS: with what is received comes when. */
enum uvs_stamp { UVS_STAMP_NONE, UVS_STAMP_US, UVS_STAMP_NS };

/* Values as getsockopt() returns them. Booleans are int 0 or 1: one type for the table. */
struct uvs_opts {
	int reuseaddr, reuseport, keepalive, broadcast, oobinline, dontroute, priority, mark;
	int sndbuf, rcvbuf, rcvlowat, timestamp, busy_poll, incoming_cpu, rxq_ovfl;
	struct linger linger;
	uint64_t rcvtimeo, sndtimeo; /* ns */

	int tos, ttl, mcast_ttl, mcast_loop, pktinfo, recvtos, recvttl, recvopts, retopts,
		mtu_discover, recverr, mcast_all;
	int bind_no_port, freebind, transparent;
	int v6only, v6_pktinfo, v6_hops, v6_mcast_hops, v6_mcast_loop, v6_tclass, v6_recvtclass,
		v6_recvhops, v6_old_recvhops, v6_old_pktinfo, v6_recverr, v6_mtu_discover,
		v6_mcast_all, v6_mcast_if;

	int nodelay, cork, quickack, maxseg, keepidle, keepintvl, keepcnt, user_timeout;
	int defer_accept, linger2, syncnt, window_clamp, notsent_lowat, fastopen, fastopen_connect;
	int udp_cork, segment, gro;
	int hdrincl, checksum;   /* raw; -1: no sum */
	uint32_t icmp_filter[8]; /* raw ICMP, ICMPv6: a bit for each type that is not wanted */
	const struct uvl_tcp_cc *congestion;
	struct in_addr mcast_if;
	int device;         /* index; 0: none (SO_BINDTODEVICE) */
	bool sndbuf_chosen; /* by SO_SNDBUF: it does not grow with the window */
};

void uvs_opts_init(struct uvs_opts *o, const struct uvs_conf *c, int type);

/* Type of service or traffic class, time to live or hop limit, of what goes to `to`. */
uint8_t uvs_opts_tos(const struct uvs_opts *o, const ip_addr_t *to);
/* The two bits of both that TCP uses itself. */
void uvs_opts_no_ecn(struct uvs_opts *o);
uint8_t uvs_opts_ttl(const struct uvs_opts *o, const ip_addr_t *to);

/* Under the instance. */
int uvs_opts_get(struct uvs_sock *s, int level, int name, void *val, socklen_t *len);
int uvs_opts_set(struct uvs_sock *s, int level, int name, const void *val, socklen_t len);

#endif /* STACK_SOCK_OPTS_H */
