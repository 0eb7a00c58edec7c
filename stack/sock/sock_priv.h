/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/sock/sock_priv.h - the inside of a socket.
 *
 * Words that any thread reads without the instance (atomic, written under it): events, seq, refs,
 * listening; spread. Constant after creation: in, proto, domain, type, protocol, epoch. Everything
 * else is under the instance: read and written only by functions that the model runs in its
 * context.
 *
 * A socket has its lwIP PCB only from bind, connect or the first datagram on: socket() alone needs
 * no stack. When the last reference goes, the socket goes at once; a TCP PCB that still has to send
 * or to wait lives on inside lwIP with no socket behind it.
 */
#ifndef STACK_SOCK_SOCK_PRIV_H
#define STACK_SOCK_SOCK_PRIV_H

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "stack/core/model.h"
#include "stack/sock/addr.h"
#include "stack/sock/opts.h"
#include "stack/sock/ports.h"
#include "stack/sock/sock.h"

/* Packets waiting to be read, linked through their notes. */
struct uvs_pbuf_queue {
	struct pbuf *head, *tail;
	uint32_t bytes;  /* payload not yet read */
	uint32_t charge; /* counted against SO_RCVBUF */
	uint64_t since;  /* latency.h: when the first came since the last read; 0: unknown */
};

enum uvs_tcp_state { UVS_TCP_CLOSED, UVS_TCP_LISTEN, UVS_TCP_SYN_SENT, UVS_TCP_OPEN };

struct uvs_tcp {
	struct tcp_pcb *pcb; /* in LISTEN a struct tcp_pcb_listen; of the group's leader only */
	enum uvs_tcp_state state;
	bool fin;        /* the peer's FIN arrived */
	bool connecting; /* connect() has not reported its result yet */
	bool want_out;   /* a send found no room, or the level said so: the next room is an edge */

	uint32_t chain; /* bytes that were refused as a whole: room for them is EPOLLOUT. 0: none */

	struct uvs_pbuf_queue rx;

	/* listening: connections not yet accepted, oldest first */
	struct uvs_sock *accept_head, **accept_tail;
	uint32_t accept_n, backlog;
	/* waiting in such a queue: */
	struct uvs_sock *accept_next, *listener;

	/* SO_REUSEPORT listeners of one address share the leader's PCB: a ring of sockets. */
	struct uvs_sock *group_next;
};

struct uvs_error;
struct uvs_membership;
struct uvs_cork;
struct uvs_icmp_error;

/* What sockets of datagrams have in common (dgram.h). */
struct uvs_dgram {
	struct uvs_pbuf_queue rx;
	struct uvs_error *errors; /* MSG_ERRQUEUE, oldest first */
	uint32_t error_charge;    /* counted against SO_RCVBUF */
	struct uvs_membership *groups;
};

/* Raw sockets and those of ICMP echo. */
struct uvs_raw {
	struct raw_pcb *pcb;
	bool connected;
};

struct uvs_udp {
	struct udp_pcb *pcb;
	struct uvs_cork *cork; /* MSG_MORE: the datagram so far; NULL: none */
};

struct uvs_proto;

struct uvs_sock {
	uint32_t events, seq, refs; /* atomic */
	bool listening;             /* atomic */

	struct uvs_instance *in;
	const struct uvs_proto *proto;
	uint32_t epoch;
	int domain, type, protocol;

	struct uvs_spread *spread; /* of a face; atomic, set once. NULL: of other sockets */
	struct uvs_member *member; /* constant. NULL: it is none */

	struct uvs_watch *watches;
	struct uvs_opts opt;
	int err; /* SO_ERROR: positive errno, reported once */
	bool shut_rd, shut_wr;

	struct uvs_addr local, remote;
	struct uvs_port_use *use; /* NULL: not bound */

	struct uvs_starved starved;   /* waiting for mbufs */
	struct uvs_deferred deferred; /* the last put, from where the instance cannot be entered */
	union {
		struct uvs_tcp tcp;
		struct {
			struct uvs_dgram dgram;
			union {
				struct uvs_udp udp;
				struct uvs_raw raw;
			};
		};
	};
};

_Static_assert(sizeof(struct uvs_sock) <= UVS_SOCK_SIZE, "all of it is fetched ahead");

/* What the protocols differ in. All under the instance; the first four need not care about address
 * conversion. */
struct uvs_proto {
	/* The socket has been made and the stack runs: it hears from now on. NULL: it does so only
	 * when it has an address, and needs no stack before. */
	int (*open)(struct uvs_sock *s);
	int (*bind)(struct uvs_sock *s, const struct uvs_addr *a);
	int (*listen)(struct uvs_sock *s, int backlog);
	int (*connect)(struct uvs_sock *s, const struct uvs_addr *a);
	int (*disconnect)(struct uvs_sock *s); /* connect() to AF_UNSPEC */
	int (*accept)(struct uvs_sock *s, struct uvs_sock **out);
	ssize_t (*recv)(struct uvs_sock *s, struct msghdr *msg, int flags);
	ssize_t (*send)(struct uvs_sock *s, const struct msghdr *msg, int flags);
	/* Datagrams: one that is made already; p stays the caller's. 0 or -errno. */
	int (*send_packet)(struct uvs_sock *s, struct pbuf *p, const struct msghdr *to);
	int (*shutdown)(struct uvs_sock *s, int how);
	bool (*has_peer)(const struct uvs_sock *s);
	uint32_t (*level)(struct uvs_sock *s);
	uint32_t (*unread)(const struct uvs_sock *s, bool datagram); /* FIONREAD */
	uint32_t (*unsent)(const struct uvs_sock *s);                /* SIOCOUTQ */
	/* An option was set: pass it on to the PCB, if there is one. */
	void (*apply)(struct uvs_sock *s);
	/* The last reference is gone: leave the wire in order, detach from lwIP. */
	void (*close)(struct uvs_sock *s);
};

extern const struct uvs_proto uvs_proto_tcp, uvs_proto_udp, uvs_proto_raw, uvs_proto_ping;

/* Of all instances of a process. */
struct uvs_sock_ports {
	struct uvs_port_table tcp, udp;
	struct uvs_port_table ping[2]; /* identifiers of ICMP and of ICMPv6 echo */
};

/* Per instance: uvs_instance.sock. */
struct uvs_sock_tables {
	struct uvs_ports tcp, udp;
	struct uvs_ports ping[2];
	struct uvs_sock_ports *own; /* nobody else's: freed with it; NULL */
	struct raw_pcb *icmp;
	struct uvs_mcast_group *groups; /* mcast.c */
};

struct uvs_sock_tables *uvs_tables(struct uvs_instance *in);

/* The process's model. */
extern const struct uvs_model *uvs_model;

/* A socket on a given instance: what uvs_sock_new() does on the process's one. */
int uvs_sock_new_on(struct uvs_instance *in, int domain, int type, int protocol,
		    struct uvs_sock **out);

/* Under the instance. A connection that arrived: like its listener. NULL: no memory. */
struct uvs_sock *uvs_sock_child(struct uvs_sock *listener);

/* A call whose argument is about to go: it must not stay undone, so it waits for as long as the
 * stack's thread does not answer. */
void uvs_call_surely(struct uvs_instance *in, uvs_call_fn fn, void *arg);

/* Under the instance: what the last put does, but for the memory. */
void uvs_sock_close(struct uvs_sock *s);

/* spread.c: a process with several stacks listens on all of them.
 *
 * The socket that the application has is the face. listen() gives it a member on each other stack,
 * a listening socket without a descriptor, bound to the same address; what arrives at a stack is
 * taken by its member, waits in that one's queue, and stays there. accept() asks them in turn; the
 * level is that of all of them together. Watches know the face only: a member with news nudges it,
 * which is work deferred to the face's instance.
 *
 *   word          writer                               reader
 *   face          the face's instance; NULL once it    there, by nudges
 *                 has closed
 *   turn          whoever accepts, relaxed             the same
 *   member.nudge  IDLE -> QUEUED -> IDLE: its          both
 *                 instance, the face's; -> CLOSED: its
 *                 instance
 *   refs          atomic: the face's, and a member's until it is closed and no nudge of it is
 * queued; the last one frees the spread
 *
 * After fork() all of it is the parent's, and the child only frees it. */
struct uvs_member {
	struct uvs_sock *sock; /* NULL: not made */
	struct uvs_spread *spread;
	uint32_t nudge; /* atomic */
	struct uvs_deferred news, closing;
};

struct uvs_spread {
	uint32_t refs;
	uint32_t turn;
	struct uvs_sock *face;
	struct uvs_instance *in; /* the face's; constant */
	unsigned int n;          /* members, constant */
	struct uvs_member member[];
};

/* Members for s, which listens, on the other stacks, if there are any; bound where it is. 0 or a
 * negative errno. */
int uvs_spread_over(struct uvs_sock *s);
/* A call on each member, *target being its socket; without effect on other sockets. The first
 * error. */
long uvs_spread_call(struct uvs_sock *s, uvs_call_fn fn, void *arg, struct uvs_sock **target);
/* How many sockets listen for s, itself included; and one that has connections waiting, another one
 * each time, or NULL. */
unsigned int uvs_spread_width(const struct uvs_sock *s);
struct uvs_sock *uvs_spread_ready(struct uvs_sock *s);
/* Levels of the members together; sum of what they tell uvs_sock_seq(). */
uint32_t uvs_spread_events(const struct uvs_spread *spread);
uint32_t uvs_spread_seq(const struct uvs_spread *spread);
/* Under a member's instance: it has news. */
void uvs_spread_nudge(struct uvs_member *m);
/* The last put of the face: close its members, before it closes under its own instance. */
void uvs_spread_close(struct uvs_spread *spread);
void uvs_spread_face_closes(struct uvs_spread *spread);
/* In a forked child. */
void uvs_spread_forget(struct uvs_spread *spread);

/* Under the instance. Recompute the level, and tell the watches what happened (EPOLLIN: something
 * came; EPOLLOUT: there is room) also where the level stays as it was, and which bits have risen.
 * An edge-triggered watcher of the other direction hears nothing of it. */
#define UVS_STATE_CHANGED (~0u) /* everybody looks again, as in the kernel */
void uvs_publish(struct uvs_sock *s, uint32_t what);

/* Under the instance. Note an error for SO_ERROR and tell. */
void uvs_sock_fail(struct uvs_sock *s, int err);
/* Fetch and clear it; 0 or a negative errno. */
int uvs_sock_take_error(struct uvs_sock *s);

/* lwIP's error as a negative errno. */
int uvs_errno(err_t err);

/* Local address of a use and of the socket; the port table. */
int uvs_sock_bind_port(struct uvs_sock *s, struct uvs_ports *ports, const struct uvs_addr *a);

/* queue.c: packets waiting to be read */
void uvs_queue_put(struct uvs_instance *in, struct uvs_pbuf_queue *q, struct pbuf *p);
/* The first packet whole; NULL. */
struct pbuf *uvs_queue_take(struct uvs_instance *in, struct uvs_pbuf_queue *q);
/* Datagrams: make it part of the last packet, which is there. */
void uvs_queue_merge(struct uvs_instance *in, struct uvs_pbuf_queue *q, struct pbuf *p);
/* A byte stream: append, joining small pieces. */
void uvs_queue_append(struct uvs_instance *in, struct uvs_pbuf_queue *q, struct pbuf *p);
/* Copy up to the iovec's length from the start; unless peek, free what was read. iov NULL: discard.
 */
size_t uvs_queue_read(struct uvs_instance *in, struct uvs_pbuf_queue *q, const struct iovec *iov,
		      size_t iovlen, size_t len, bool peek);
/* A stream: the first pbuf, out of its chain, the caller's from here. There is one. */
struct pbuf *uvs_queue_detach(struct uvs_instance *in, struct uvs_pbuf_queue *q);
void uvs_queue_drop(struct uvs_instance *in, struct uvs_pbuf_queue *q);
size_t uvs_iov_len(const struct iovec *iov, size_t iovlen);
/* Copy a packet to an iovec from its start; the number of bytes. */
size_t uvs_pbuf_to_iov(const struct pbuf *p, const struct iovec *iov, size_t iovlen);

/* tcp.c: close every connection, as if its socket had been */
void uvs_tcp_close_all(struct uvs_instance *in);

/* tcp.c, for native.c; the connection is open. 0: there is room for so many bytes in so many
 * segments. -EAGAIN: EPOLLOUT will tell when. -EMSGSIZE: there never will be. */
int uvs_tcp_reserve(struct uvs_sock *s, size_t bytes, size_t segments);
/* There were no mbufs: EPOLLOUT when there are. */
void uvs_tcp_starve(struct uvs_sock *s);
/* Segments were queued: send what may go now, unless they are held back. */
void uvs_tcp_push(struct uvs_sock *s, bool now);
/* Bytes were taken off the receive queue. */
void uvs_tcp_taken(struct uvs_sock *s, size_t bytes);

/* icmp.c */
int uvs_icmp_start(struct uvs_instance *in);
/* udp.c: an ICMP error about a datagram of UDP; the ports are filled in. */
void uvs_udp_error(struct uvs_instance *in, struct uvs_icmp_error *e);
/* tcp.c: likewise, about a segment */
void uvs_tcp_error(const struct uvs_icmp_error *e);
/* raw.c, ping.c: likewise, and what is an answer, from off on */
void uvs_raw_error(const struct uvs_icmp_error *e);
void uvs_ping_error(struct uvs_instance *in, const struct uvs_icmp_error *e);
void uvs_ping_answer(struct uvs_instance *in, const struct pbuf *p, size_t off);

#endif /* STACK_SOCK_SOCK_PRIV_H */
