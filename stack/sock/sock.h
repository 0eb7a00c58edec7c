/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/sock/sock.h - stack sockets: the line between stack/posix (descriptors, blocking, poll,
 * routing to kernel or stack) and the protocol side (sockets over lwIP, stack instances).
 *
 * Layers
 * ------
 *   posix/   symbols, fd table, blocking, poll/select/epoll, fork; knows nothing of lwIP
 *   sock/    this: socket objects, never block, never touch a descriptor
 *   model    how a call reaches the instance that owns the socket: struct uvs_model (core/model.h)
 *              shared    the calling thread takes the instance's lock and runs the call itself;
 *                        whoever waits drives the stack
 *              separate  the call is handed to the stack thread through a ring
 *   core/    the instance: one lwIP (struct uvl), its ethdev queues, its loop, its pool
 *
 * A process may have several instances. A socket is one's, from uvs_sock_new() or uvs_sock_accept()
 * on; a listening one has members on all of them, and what it accepts lives where it arrived.
 *
 * Nothing here blocks. What cannot be done now returns -EAGAIN; the caller waits with a watch and
 * uvs_wait(). All functions return a negative errno for failure. All are safe from any thread of
 * the process; calls on the same socket from several threads are serialised by its instance.
 *
 * Ownership: uvs_sock_new() and uvs_sock_accept() return one reference; uvs_sock_get/put count
 * them. The last put closes (FIN or RST by SO_LINGER and unread data, as the kernel does); the
 * protocol part lives on inside the instance until it is done.
 */
#ifndef STACK_SOCK_SOCK_H
#define STACK_SOCK_SOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

struct uvs_sock;

/* --------------------------------------------------------------------------------- life cycle */

/* Bring the stack of this process up (EAL, port, instances) as the configuration says. Called by
 * the first operation that needs packets, never from a constructor; idempotent, thread-safe. The
 * calling thread's affinity, signal mask and errno are as before. 0 or a negative errno, with the
 * reason logged once. */
int uvs_stack_start(void);

/* Is it the name of an interface of the stack's, by the configuration? len: of name, which need not
 * end. Starts nothing. */
bool uvs_stack_has_interface(const char *name, size_t len);

/* True once uvs_stack_start() has succeeded. */
bool uvs_stack_running(void);

/* The same for who only waits, so that the fabric's clock knows until when. Not if another process
 * of this configuration has the port: a second one could not have it, and goes on without. */
void uvs_stack_join_clock(void);

/* Have the stack's clock be the one of the fabric that the configuration names, if it names one and
 * app_clock lets it, before there is a port. Once, from the constructor. */
void uvs_stack_watch_clock(void);

/* Orderly end, from exit(): linger bounded by the configuration, then close the port. */
void uvs_stack_stop(void);

/* In the child after fork(): forget port, instances and sockets without touching the wire. Every
 * uvs_sock of the parent is dead in the child: operations return -EBADF; put only frees. */
void uvs_stack_forget(void);

/* Where an address belongs. ANY: 0.0.0.0 or :: (listen on both). Pure; does not start the stack. */
enum uvs_route { UVS_ROUTE_KERNEL, UVS_ROUTE_STACK, UVS_ROUTE_ANY };
enum uvs_route uvs_route_local(const struct sockaddr *addr, socklen_t len);  /* bind */
enum uvs_route uvs_route_remote(const struct sockaddr *addr, socklen_t len); /* connect, sendto */

/* --------------------------------------------------------------------------------- operations
 * Semantics, returns and errno are those of the kernel's non-blocking sockets (socket(7), tcp(7),
 * udp(7), ip(7)), so that stack/posix passes them through. MSG_DONTWAIT is implied. */

int uvs_sock_new(int domain, int type, int protocol, struct uvs_sock **out);
struct uvs_sock *uvs_sock_get(struct uvs_sock *s);
void uvs_sock_put(struct uvs_sock *s);

int uvs_sock_bind(struct uvs_sock *s, const struct sockaddr *addr, socklen_t len);
int uvs_sock_listen(struct uvs_sock *s, int backlog);
int uvs_sock_connect(struct uvs_sock *s, const struct sockaddr *addr, socklen_t len);
/* addr/len may be NULL. */
int uvs_sock_accept(struct uvs_sock *s, struct uvs_sock **out, struct sockaddr *addr,
		    socklen_t *len);
/* MSG_PEEK, MSG_TRUNC honoured; MSG_WAITALL is the caller's loop. msg_name, msg_control (IP_PKTINFO
 * ...) and msg_flags are filled. 0: end of stream. */
ssize_t uvs_sock_recvmsg(struct uvs_sock *s, struct msghdr *msg, int flags);
/* A stream takes as much as fits (> 0) or -EAGAIN; a datagram all or nothing. -EPIPE without a
 * signal: raising SIGPIPE is the caller's. MSG_MORE honoured. */
ssize_t uvs_sock_sendmsg(struct uvs_sock *s, const struct msghdr *msg, int flags);
/* Datagrams: up to n of them in one go, as many as there are or fit now; msg_len of each is set.
 * Their number, or the errno of the first; one that comes later is told by the next call. */
int uvs_sock_recvmmsg(struct uvs_sock *s, struct mmsghdr *v, unsigned int n, int flags);
int uvs_sock_sendmmsg(struct uvs_sock *s, struct mmsghdr *v, unsigned int n, int flags);
int uvs_sock_shutdown(struct uvs_sock *s, int how);
int uvs_sock_getsockname(struct uvs_sock *s, struct sockaddr *addr, socklen_t *len);
int uvs_sock_getpeername(struct uvs_sock *s, struct sockaddr *addr, socklen_t *len);
/* SO_RCVTIMEO/SO_SNDTIMEO are stored here and used by the caller (uvs_sock_timeout). */
int uvs_sock_getsockopt(struct uvs_sock *s, int level, int name, void *val, socklen_t *len);
int uvs_sock_setsockopt(struct uvs_sock *s, int level, int name, const void *val, socklen_t len);
/* FIONREAD, SIOCOUTQ, SIOCATMARK, SIOCGIF*; -ENOTTY for what it does not know. */
int uvs_sock_ioctl(struct uvs_sock *s, unsigned long req, void *arg);
/* ns; 0: none. POLLIN: SO_RCVTIMEO, POLLOUT: SO_SNDTIMEO. */
uint64_t uvs_sock_timeout(struct uvs_sock *s, short dir);
int uvs_sock_domain(const struct uvs_sock *s);
int uvs_sock_type(const struct uvs_sock *s);
bool uvs_sock_listening(const struct uvs_sock *s);

/* ------------------------------------------------------------------------------------- events */

/* The level: EPOLLIN | OUT | RDHUP | HUP | ERR | PRI as the kernel would report now. One atomic
 * load, any thread, no lock: the instance publishes it on every change. */
uint32_t uvs_sock_events(const struct uvs_sock *s);

/* Grows with every event that an edge-triggered watcher must hear of (a segment arrived, space was
 * freed, a connection came), also when the level did not change. One atomic load. */
uint32_t uvs_sock_seq(const struct uvs_sock *s);

/* A watch hears of every change: `events` is what happened, also where the level stays (EPOLLIN
 * with every arrival), or all bits when everybody should look again. `fire` runs on whichever
 * thread drives the instance, with the instance held: it must be short, must not block, and must
 * not call uvs_sock_* but events/seq. The watch is the caller's memory; after uvs_watch_del()
 * returns, fire neither runs nor will. Adding does not fire: look at the level after adding. */
struct uvs_watch {
	void (*fire)(struct uvs_watch *w, uint32_t events);
	struct uvs_sock *sock;          /* set by add */
	struct uvs_watch *next, **prev; /* list of the socket; under the instance */
};
void uvs_watch_add(struct uvs_sock *s, struct uvs_watch *w);
void uvs_watch_del(struct uvs_watch *w);

/* ------------------------------------------------------------------------------------ waiting
 * One primitive for blocking calls, poll, select and epoll_wait. A waiter is one per thread,
 * created on first use (uvs_waiter_self), with an eventfd that others ring only while it sleeps. */

struct uvs_waiter;
struct uvs_waiter *uvs_waiter_self(void);
/* Wake the waiter: sets its flag; rings its eventfd only if it sleeps. Any thread; from `fire`. */
void uvs_waiter_wake(struct uvs_waiter *w);

struct uvs_kwait {
	struct pollfd
		*fds; /* kernel descriptors to wait for as well; revents filled. May be NULL */
	unsigned int nfds;
	const sigset_t *sigmask; /* of ppoll/epoll_pwait; NULL: leave */
};

/* Drive the stack once without waiting (packets, timers, transmit): what a non-blocking call does
 * before it answers "nothing". Cheap when there is nothing; skipped if another thread drives. */
void uvs_progress(void);

/* Wait until the waiter is woken, a kernel descriptor is ready, the deadline passes (ns of
 * the stack's clock, core/clock.h; UINT64_MAX: none; 0: do not wait) or a signal handler ran.
 * Shared model: drives the stack meanwhile - polls for a while as the poll policy says, then sleeps
 * on the port's RX interrupts and the kernel descriptors together, capped by the next timer.
 * Returns 1 woken, 2 kernel descriptors ready (1 and 2 may be or-ed), 0 deadline, -EINTR.
 * The wake flag is consumed. No wake-up between the caller's last look and this call is lost:
 * uvs_waiter_wake() on a waiter that does not sleep yet makes the next uvs_wait() return at once.
 */
int uvs_wait(struct uvs_waiter *w, struct uvs_kwait *k, uint64_t deadline_ns);

/* stack/posix holds signal handlers back while their thread is inside, and with them the EINTR that
 * would end a wait. It tells of each one that it holds back: the uvs_wait() this thread is in
 * returns -EINTR. Only from a handler on the thread itself; async-signal-safe; without effect
 * outside uvs_wait(). */
void uvs_wait_interrupt(void);

#endif /* STACK_SOCK_SOCK_H */
