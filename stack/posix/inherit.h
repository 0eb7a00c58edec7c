/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/posix/inherit.h - sockets of the stack in fork()ed children.
 *
 * The stack lives in one process. What a child inherits of it is served by that process:
 *
 *   parent (the stack is here)                               child
 *   estate: references to all its sockets <-- SEQPACKET --> uplink: "give me socket n",
 *        |                                                   "I have closed socket n"
 *   server thread                                             |
 *     stream:   uvs_sock <= copies both ways => AF_UNIX pair - the number itself: a kernel socket
 *     listener: accepts => a stream each => SEQPACKET pair - the number: accept() receives from it
 *
 * A child asks when it first uses an inherited socket; one that only closes them, or execs, costs
 * the references. From then on the number is a kernel descriptor like any other: reads, writes,
 * poll, epoll, dup, further forks, exec and SCM_RIGHTS are the kernel's, none of them comes by
 * here. What tells it from an AF_UNIX socket is in its names: both ends are bound to abstract
 * names that hold the TCP addresses, so that getsockname(), getpeername() and accept() know them
 * in whatever process they are asked.
 *
 *   estate     made in fork() with one reference to every socket of the stack that has a number;
 *              gone with the child's last use: its uplink is close-on-exec and ends with it. So a
 *              socket closes when the last process that has it closes it, as in the kernel
 *   fork in a child: first everything inherited is asked for, so that the grandchild finds kernel
 *              descriptors and needs nobody
 *   the parent exits: not while children use what it serves (said in the log); if it is killed,
 *              their connections end, as the stack's do
 *
 * Datagram sockets and sockets neither connected nor listening are not passed on: EBADF.
 *
 * Threads: the server thread owns streams, listeners and estates. Others reach it through two
 * stacks that they push on (atomic): estates by fork(), members whose watch has fired. The uplink
 * is used under its lock, a request and its answer at a time. What a child asks for is checked: it
 * gets what is in its estate, nothing else; a child that dies between any two messages leaves an
 * end of file.
 */
#ifndef STACK_POSIX_INHERIT_H
#define STACK_POSIX_INHERIT_H

#include "stack/posix/posix.h"

enum uvp_heir_op {
	UVP_HEIR_TAKE,    /* id: file. The answer comes with a descriptor. A listener that is the
			     kernel's as well comes with its kernel half */
	UVP_HEIR_RELEASE, /* id: file. No answer */
	UVP_HEIR_SETOPT,  /* id: stream. level, name, val[len] */
	UVP_HEIR_GETOPT,  /* id: stream. level, name, len; the answer has val[len] */
};

struct uvp_heir_msg {
	uint32_t op;
	int32_t result; /* of an answer: 0 or -errno */
	uint64_t id;
	int32_t level, name;
	uint32_t len;
	uint8_t val[64];
};

/* What a listener's pair carries, with the descriptor of the connection. */
struct uvp_heir_conn {
	struct sockaddr_storage peer;
	socklen_t len;
};

/* ------------------------------------------------------------------------ names of passed sockets
 */

enum uvp_passed { UVP_PASSED_STREAM = 's', UVP_PASSED_LISTENER = 'l' };

struct uvp_passed_name {
	uint8_t kind; /* enum uvp_passed */
	uint8_t far;  /* the server's end: the peer's address */
	socklen_t len;
	uint64_t id;
	struct sockaddr_storage addr;
};

/* Give one end of a pair its name. 0 or -errno. */
int uvp_passed_bind(int fd, const struct uvp_passed_name *n);
/* The name of a kernel descriptor (peer: of its other end), if it is such a socket. */
bool uvp_passed_name(int fd, bool peer, struct uvp_passed_name *n);

/* ------------------------------------------------------------------------------------- the child
 */

/* True in a child whose parent has a stack: poll and select have to look. */
extern bool uvp_heir;

/* An inherited file is wanted (uvp_dead). -UVP_AGAIN: its number is the kernel's now,
 * start over; -EBADF: there is no having it. Without file.lock. */
int uvp_inherit(struct uvp_file *f);
/* The last reference of an inherited file nobody wanted. */
void uvp_inherit_closed(const struct uvp_file *f);
/* Before exec: what the next image will find open, it shall find working. */
void uvp_inherit_exec(void);

/* For numbers that are the kernel's: C convention, errno as the C library left it in case of doubt.
 */
int uvp_passed_accept(int fd, struct sockaddr *addr, socklen_t *len, int flags);
int uvp_passed_getname(int fd, bool peer, struct sockaddr *addr, socklen_t *len, int r);
int uvp_passed_getsockopt(int fd, int level, int name, void *val, socklen_t *len, int r);
int uvp_passed_setsockopt(int fd, int level, int name, const void *val, socklen_t len, int r);

/* ------------------------------------------------------------------------------------- fork() */

void uvp_inherit_prepare(void);  /* before the table is locked */
void uvp_inherit_snapshot(void); /* under table_lock: the estate */
void uvp_inherit_parent(void);
void uvp_inherit_child(void);

/* inherit_child.c, inherit_server.c */
void uvp_uplink_prepare(void);
void uvp_uplink_parent(void);
void uvp_uplink_child(int fd); /* -1: nothing to inherit */
void uvp_server_forget(void);  /* in the child: the thread is the parent's */

struct uvp_bequest {
	uint64_t id;
	struct uvs_sock *sock; /* a reference; NULL: released */
};

struct uvp_estate {
	struct uvp_estate *next;
	int fd; /* the parent's end */
	size_t n;
	struct uvp_bequest of[]; /* by id */
};

/* The server thread takes it over; it is made if there is none. */
void uvp_server_add(struct uvp_estate *e);
/* From exit(): returns when no child uses anything any more. */
void uvp_server_finish(void);

#endif /* STACK_POSIX_INHERIT_H */
