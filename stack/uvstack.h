/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvstack.h - the native interface of libuvstack.so: sockets of the stack without descriptors,
 * buffers instead of copies, many at a time. docs/native.md has the page with an example.
 *
 * A program is linked with -luvstack and finds its configuration as any other does, in the file
 * that UVS_CONFIG names (uvrun sets it). POSIX calls go on as before in the same process, and on
 * the same sockets: uvstack_of() is the socket behind a descriptor.
 *
 * Nothing here blocks but uvstack_poll_wait(). Errors are negative numbers of errno.h; those of the
 * socket calls are the kernel's. -EAGAIN: not now, wait for the event. Everything may be called
 * from any thread; calls about one socket are done one after the other. Not from signal handlers.
 *
 * Buffers. A segment is a piece of memory and the buffer it lies in:
 *
 *   uvstack_get ---> yours ---uvstack_send---> the stack's (sent, kept until acknowledged, freed)
 *   uvstack_recv --> yours ---uvstack_put----> the stack's
 *
 * What is yours stays until you give it back, and comes out of the host's packet buffers (`mbufs`
 * in the configuration): a program that keeps many should watch uvstack_memory(). The bytes of a
 * received segment are yours to change.
 *
 * Costs. get, put, send and recv enter the stack once, however many segments they are given. A
 * stream's segments leave as they are: what you wrote into a buffer is what the port reads. A
 * received segment that is sent leaves in its place, too, unless it is longer than this
 * connection's packets, its start was cut off, or packet buffers are short: then it is copied once.
 */
#ifndef UVSTACK_H
#define UVSTACK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uvstack_sock;
struct uvstack_poll;

struct uvstack_seg {
	void *data;
	uint32_t len; /* bytes of data; after uvstack_get() as many as fit */
	uint32_t flags;
	void *buf; /* the buffer; not to be touched */
};

/* In uvstack_seg.flags after uvstack_recv(): the datagram goes on in the next segment. */
#define UVSTACK_MORE 1u

/* ------------------------------------------------------------------------------------- sockets */

/* AF_INET or AF_INET6; SOCK_STREAM or SOCK_DGRAM. One reference. */
int uvstack_socket(int domain, int type, struct uvstack_sock **out);

/* The socket behind a descriptor, a reference of its own: closing one does not close the other.
 * -EBADF: not a socket of the stack; -ENOTCONN: not yet, it has no address that would tell whose.
 */
int uvstack_of(int fd, struct uvstack_sock **out);

/* The last reference closes, as close(2) does. */
void uvstack_close(struct uvstack_sock *s);

/* As the calls of these names; connect() says -EINPROGRESS, then EPOLLOUT says that it is over and
 * SO_ERROR how. accept: addr and len may be NULL. */
int uvstack_bind(struct uvstack_sock *s, const struct sockaddr *addr, socklen_t len);
int uvstack_listen(struct uvstack_sock *s, int backlog);
int uvstack_connect(struct uvstack_sock *s, const struct sockaddr *addr, socklen_t len);
int uvstack_accept(struct uvstack_sock *s, struct uvstack_sock **out, struct sockaddr *addr,
		   socklen_t *len);
int uvstack_shutdown(struct uvstack_sock *s, int how);
int uvstack_getsockname(struct uvstack_sock *s, struct sockaddr *addr, socklen_t *len);
int uvstack_getpeername(struct uvstack_sock *s, struct sockaddr *addr, socklen_t *len);
int uvstack_getsockopt(struct uvstack_sock *s, int level, int name, void *val, socklen_t *len);
int uvstack_setsockopt(struct uvstack_sock *s, int level, int name, const void *val, socklen_t len);

/* EPOLLIN, EPOLLOUT, ... as epoll would say now. One load. */
uint32_t uvstack_events(const struct uvstack_sock *s);

/* ------------------------------------------------------------------------------------- buffers */

/* n empty buffers for sending on s, or none. Each holds what fits into one packet of this socket.
 * 0; -ENOBUFS: fewer than n are free; -ENOTCONN: a stream that is not connected. */
int uvstack_get(struct uvstack_sock *s, struct uvstack_seg *seg, unsigned int n);

/* Give back what was got or received on s, sent or not wanted. */
void uvstack_put(struct uvstack_sock *s, struct uvstack_seg *seg, unsigned int n);

/* Send n segments, each with the len bytes at data that are to go. Those taken are the stack's.
 *
 * A stream takes all of them or none: n, or -EAGAIN with nothing done, and EPOLLOUT comes when all
 * of them fit (-EMSGSIZE: more than half of SO_SNDBUF, they never will); -ENOMEM: the heap was at
 * its end, the connection is reset, the segments are gone. A datagram socket sends each as a
 * datagram, to the address given or (NULL) to its peer; it returns how many were taken, or the
 * reason why the first was not. data may only be moved in segments that were received.
 * UVSTACK_HOLD: a stream keeps them back until the next send without it, or uvstack_flush().
 * UVSTACK_SOON: the packets may wait for the next uvstack_poll_wait(), or any call that sends
 * without it, on whatever socket, and leave together; whoever comes to neither has them sent after
 * 20 ms. */
int uvstack_send(struct uvstack_sock *s, const struct uvstack_seg *seg, unsigned int n,
		 const struct sockaddr *to, socklen_t len, int flags);
#define UVSTACK_HOLD 1
#define UVSTACK_SOON 2
int uvstack_flush(struct uvstack_sock *s);

/* Take up to n segments off the socket. The number; 0: end of stream; -EAGAIN. The window opens as
 * they are taken. A datagram comes whole, or stays if it has more than n segments (-EMSGSIZE). */
int uvstack_recv(struct uvstack_sock *s, struct uvstack_seg *seg, unsigned int n);

/* Who sent the datagram that begins with this segment. */
int uvstack_from(struct uvstack_sock *s, const struct uvstack_seg *seg, struct sockaddr *addr,
		 socklen_t *len);

/* How the packet buffers of the socket's host stand. LOW: give back what can be spared. OUT:
 * uvstack_get() fails, what is left is for receiving. A change is told by uvstack_poll_wait(). */
enum uvstack_memory { UVSTACK_PLENTY, UVSTACK_LOW, UVSTACK_OUT };
enum uvstack_memory uvstack_memory(struct uvstack_sock *s);

/* --------------------------------------------------------------------------- who is ready
 * Level-triggered, as epoll, and told densely: no descriptor, no look-up, an array of your own
 * cookies. A poll is used by one thread at a time. */

struct uvstack_ready {
	void *cookie;
	uint32_t events; /* of those asked for, and EPOLLERR, EPOLLHUP */
};

int uvstack_poll_new(struct uvstack_poll **out);
/* Sockets that are still in it must not be closed before they are taken out. */
void uvstack_poll_free(struct uvstack_poll *p);

/* Takes a reference of the socket until uvstack_poll_del(). -EEXIST: it is in already. */
int uvstack_poll_add(struct uvstack_poll *p, struct uvstack_sock *s, uint32_t events, void *cookie);
int uvstack_poll_mod(struct uvstack_poll *p, struct uvstack_sock *s, uint32_t events);
int uvstack_poll_del(struct uvstack_poll *p, struct uvstack_sock *s);

/* Up to n sockets that are ready; waits for the first one, timeout in ms (-1: for ever, 0: not at
 * all). 0: time is over; -EINTR: a signal handler ran. Who is left out comes first the next time. A
 * first entry with the cookie UVSTACK_MEMORY says in `events` how memory stands, if that has
 * changed since it was last told. */
int uvstack_poll_wait(struct uvstack_poll *p, struct uvstack_ready *ready, unsigned int n,
		      int timeout_ms);
extern const char uvstack_memory_cookie;
#define UVSTACK_MEMORY ((void *)(uintptr_t)&uvstack_memory_cookie)

#ifdef __cplusplus
}
#endif

#endif /* UVSTACK_H */
