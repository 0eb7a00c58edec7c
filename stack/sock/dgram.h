/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/sock/dgram.h - what sockets of datagrams have in common, be they UDP, raw IP or ICMP echo:
 * the queue of what came, the queue of errors (MSG_ERRQUEUE), control messages both ways, and where
 * a datagram goes. Everything under the instance.
 */
#ifndef STACK_SOCK_DGRAM_H
#define STACK_SOCK_DGRAM_H

#include "stack/sock/sock_priv.h"

#include <linux/errqueue.h>

/* lwIP keeps a packet's length, headers included, in 16 bits. */
#define UVS_PACKET_MAX  65535u
#define UVS_IP4_HEADER  20u
#define UVS_IP6_HEADER  40u
#define UVS_ICMP_HEADER 8u

/* ------------------------------------------------------------------------------------- receiving
 */

/* datagram_poll() of the kernel. */
uint32_t uvs_dgram_level(struct uvs_sock *s);

/* Is there room for another one? If not it is counted. */
bool uvs_dgram_room(struct uvs_sock *s);

/* What the control messages may ask for, of the packet that is being received. */
void uvs_dgram_note(const struct uvs_sock *s, struct uvs_packet_note *note, uint16_t port);

/* A packet for the reader; taken over. */
void uvs_dgram_put(struct uvs_sock *s, struct pbuf *p, uint16_t port);

ssize_t uvs_dgram_recv(struct uvs_sock *s, struct msghdr *msg, int flags);
uint32_t uvs_dgram_unread(const struct uvs_sock *s, bool datagram);
uint32_t uvs_dgram_unsent(const struct uvs_sock *s);

/* --------------------------------------------------------------------------------------- sending
 */

/* Where a datagram goes, and how; what its control messages say goes before the socket's options.
 */
struct uvs_dest {
	struct uvs_addr to;
	int device; /* index of the interface to send by; 0: any */
	struct netif *netif;
	ip_addr_t from;
	int tos, ttl;     /* -1: the socket's */
	uint32_t segment; /* bytes of each datagram (UDP_SEGMENT); 0: all in one */
};

/* What every send begins with: an error that waits to be told, shutdown, the address, the control
 * messages. 0 or a negative errno. */
int uvs_dgram_dest(struct uvs_sock *s, const struct msghdr *msg, struct uvs_dest *d);

/* May a packet of so many bytes, IP header included, go there as it is (IP_MTU_DISCOVER)? 0 or
 * -EMSGSIZE, which the error queue hears of as well. */
int uvs_dgram_fits(struct uvs_sock *s, const struct uvs_dest *d, size_t packet);

/* len bytes from off on, with room for all headers before them. NULL: no memory. */
struct pbuf *uvs_dgram_gather(const struct msghdr *msg, size_t off, size_t len);

/* There were no mbufs: EPOLLOUT when there are. -EAGAIN. */
int uvs_dgram_starve(struct uvs_sock *s);

uint8_t uvs_dest_tos(const struct uvs_sock *s, const struct uvs_dest *d);
uint8_t uvs_dest_ttl(const struct uvs_sock *s, const struct uvs_dest *d);

/* Around what calls lwIP to send: "don't fragment" as the socket wants it. */
uint8_t uvs_df_begin(const struct uvs_sock *s, const struct uvs_dest *d);
void uvs_df_end(uint8_t before);

int uvs_dgram_shutdown(struct uvs_sock *s, int how);
int uvs_dgram_no_listen(struct uvs_sock *s, int backlog);
int uvs_dgram_no_accept(struct uvs_sock *s, struct uvs_sock **out);
bool uvs_dgram_is_broadcast(const struct uvs_sock *s, const ip_addr_t *ip);

/* Drop what is queued. */
void uvs_dgram_close(struct uvs_sock *s);

/* ------------------------------------------------------------- control messages: control.c */

/* A row of control messages in the making; begun with used = 0, ended by uvs_control_end(). */
struct uvs_control {
	struct msghdr *msg;
	size_t used;
	bool of_error; /* the packet is an ICMP message: nobody answers it */
};
void uvs_control_put(struct uvs_control *c, int level, int type, const void *data, size_t len);
/* All that the socket has asked for about a packet. */
void uvs_control_note(struct uvs_control *c, const struct uvs_sock *s,
		      const struct uvs_packet_note *note);
void uvs_control_end(const struct uvs_control *c);

/* What the sender says with a datagram. 0 or -EINVAL. */
int uvs_control_read(const struct uvs_sock *s, const struct msghdr *msg, struct uvs_dest *d);

/* ----------------------------------------------------------------- error queue: errqueue.c */

/* What an ICMP message tells about a datagram of ours. */
struct uvs_icmp_error {
	uint8_t origin; /* SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6 */
	uint8_t type, code;
	int err;       /* what it means to a socket */
	bool hard;     /* to one that asked for no error queue, too */
	uint32_t info; /* MTU of "too big", place of "parameter problem" */
	uint8_t proto;
	struct uvs_addr local, remote; /* of the datagram */
	const uint8_t *quoted;         /* from its transport header on */
	size_t len;
	size_t header; /* bytes of the quoted IP header, right before */
};

/* Queue it if the socket wants to have it (IP_RECVERR), keep it for the next call if it is hard and
 * the socket is connected; the payload it is shown with begins `skip` bytes into what was quoted.
 * While the message is being received. */
void uvs_error_report(struct uvs_sock *s, const struct uvs_icmp_error *e, ptrdiff_t skip);

/* The host itself refuses: for the error queue only. */
void uvs_error_local(struct uvs_sock *s, int err, uint32_t info, const struct uvs_addr *to);

/* recvmsg(MSG_ERRQUEUE) */
ssize_t uvs_error_recv(struct uvs_sock *s, struct msghdr *msg);

void uvs_error_drop_all(struct uvs_sock *s);

/* -------------------------------------------------------------------- groups: mcast.c */

/* Joining, leaving, sources: options of memberships. */
bool uvs_mcast_option(int level, int name);
int uvs_mcast_set(struct uvs_sock *s, int level, int name, const void *val, socklen_t len);

/* Does the socket want what came from source for group by n? Always, if group is none. */
bool uvs_mcast_wants(struct uvs_sock *s, const ip_addr_t *group, const ip_addr_t *source,
		     struct netif *n);

/* Leave all groups. */
void uvs_mcast_close(struct uvs_sock *s);

#endif /* STACK_SOCK_DGRAM_H */
