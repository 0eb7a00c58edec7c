/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A double of the socket layer (stack/sock/sock.h) for tests of stack/posix: its sockets are
 * non-blocking kernel sockets of another network namespace, or of this one. So whatever differs
 * between a program on the kernel and on this double is the doing of stack/posix.
 *
 * Environment:
 *   UVF_NETNS   path of the network namespace in which "the stack" lives; without it, ours
 *   UVF_STACK   comma-separated IPv4 prefixes "a.b.c.d/len" that are the stack's
 *               (default 127.0.0.0/8); ::1 is the stack's if 127.0.0.1 is
 *   UVF_ANY     "both" (default with UVF_NETNS), "stack" (default without) or "kernel"
 *
 * Events come from two edge-triggered epoll instances, one for each direction, so that a watch
 * hears exactly what the kernel would have told an edge-triggered watcher. Whoever waits or calls
 * uvs_progress() drives them.
 */
#include "stack/core/family.h"
#include "stack/core/log.h"
#include "stack/core/nap.h"
#include "stack/core/sys.h"
#include "stack/posix/real.h"
#include "stack/sock/sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#define IN_EVENTS  (EPOLLIN | EPOLLRDHUP | EPOLLPRI)
#define OUT_EVENTS EPOLLOUT
#define MAX_PREFIX 8

struct uvs_sock {
	_Atomic uint32_t refs;
	_Atomic uint32_t seq;
	int fd;
	int domain, type;
	bool listening;
	bool connecting;
	struct uvs_watch *watches;
	struct uvs_sock *next, **prev;
};

struct uvs_waiter {
	int evfd;
	atomic_bool woken;
};

static pthread_mutex_t instance; /* recursive: the lock of the one instance */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct uvs_sock *socks;
static int ep_in = -1, ep_out = -1, netns = -1, home = -1;
static atomic_bool running, forgotten;
static uint32_t generation = 1;
static struct {
	uint32_t net, mask;
} prefixes[MAX_PREFIX];
static unsigned int nb_prefixes;
static enum uvs_route any_route;

/* --------------------------------------------------------------------------------- life cycle */

static void
read_prefixes(void)
{
	const char *env = getenv("UVF_STACK");
	char buf[256], *p, *save;

	snprintf(buf, sizeof(buf), "%s", env ? env : "127.0.0.0/8");
	for (p = strtok_r(buf, ",", &save); p && nb_prefixes < MAX_PREFIX;
	     p = strtok_r(NULL, ",", &save)) {
		char *slash = strchr(p, '/');
		int len = slash ? atoi(slash + 1) : 32;
		struct in_addr a;

		if (slash)
			*slash = 0;
		if (inet_pton(AF_INET, p, &a) != 1)
			continue;
		prefixes[nb_prefixes].mask = len ? ~0u << (32 - len) : 0;
		prefixes[nb_prefixes].net = ntohl(a.s_addr) & prefixes[nb_prefixes].mask;
		nb_prefixes++;
	}
}

static void
setup(void)
{
	const char *any = getenv("UVF_ANY"), *ns = getenv("UVF_NETNS");
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&instance, &attr);
	read_prefixes();
	if (!any)
		any = ns ? "both" : "stack";
	any_route = !strcmp(any, "both")    ? UVS_ROUTE_ANY
		    : !strcmp(any, "stack") ? UVS_ROUTE_STACK
					    : UVS_ROUTE_KERNEL;
}

bool
uvs_stack_has_interface(const char *name, size_t len)
{
	(void)name;
	(void)len;
	return false;
}

int
uvs_stack_start(void)
{
	const char *ns = getenv("UVF_NETNS");

	pthread_once(&once, setup);
	pthread_mutex_lock(&instance);
	if (!running) {
		ep_in = epoll_create1(EPOLL_CLOEXEC);
		ep_out = epoll_create1(EPOLL_CLOEXEC);
		if (ns) {
			netns = open(ns, O_RDONLY | O_CLOEXEC);
			home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
		}
		running = true;
		forgotten = false;
	}
	pthread_mutex_unlock(&instance);
	return 0;
}

bool
uvs_stack_running(void)
{
	return running;
}

void
uvs_stack_stop(void)
{
	running = false;
}

void
uvs_stack_forget(void)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&instance, &attr);
	running = false;
	socks = NULL;
	generation++;
}

void
uvs_log(enum uvs_conf_log level, const char *fmt, ...)
{
	va_list ap;

	(void)level;
	va_start(ap, fmt);
	R(vdprintf)(STDERR_FILENO, fmt, ap);
	va_end(ap);
	if (R(write)(STDERR_FILENO, "\n", 1) < 0)
		return;
}

/* ------------------------------------------------------------------------------------- routes */

static enum uvs_route
route(const struct sockaddr *addr)
{
	const struct sockaddr_in6 *a6 = (const struct sockaddr_in6 *)addr;
	uint32_t ip;
	unsigned int i;

	pthread_once(&once, setup);
	if (addr->sa_family == AF_INET6) {
		if (IN6_IS_ADDR_UNSPECIFIED(&a6->sin6_addr))
			return any_route;
		if (IN6_IS_ADDR_LOOPBACK(&a6->sin6_addr))
			ip = INADDR_LOOPBACK;
		else if (IN6_IS_ADDR_V4MAPPED(&a6->sin6_addr))
			ip = ntohl(a6->sin6_addr.s6_addr32[3]);
		else
			return UVS_ROUTE_KERNEL;
	} else {
		ip = ntohl(((const struct sockaddr_in *)addr)->sin_addr.s_addr);
	}
	if (ip == 0)
		return any_route;
	for (i = 0; i < nb_prefixes; i++)
		if ((ip & prefixes[i].mask) == prefixes[i].net)
			return UVS_ROUTE_STACK;
	return UVS_ROUTE_KERNEL;
}

enum uvs_route
uvs_route_local(const struct sockaddr *addr, socklen_t len)
{
	(void)len;
	return route(addr);
}

enum uvs_route
uvs_route_remote(const struct sockaddr *addr, socklen_t len)
{
	enum uvs_route r = route(addr);

	(void)len;
	return r == UVS_ROUTE_ANY ? UVS_ROUTE_KERNEL : r;
}

/* ------------------------------------------------------------------------------------ sockets */

static long
neg(long r)
{
	return r < 0 ? -errno : r;
}

static struct uvs_sock *
wrap(int fd, int domain, int type)
{
	struct uvs_sock *s = calloc(1, sizeof(*s));
	struct epoll_event ev = {.data.ptr = s};

	s->refs = 1;
	s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0); /* from inside: moved up and guarded */
	close(fd);
	s->domain = domain;
	s->type = type;
	pthread_mutex_lock(&instance);
	s->next = socks;
	s->prev = &socks;
	if (socks)
		socks->prev = &s->next;
	socks = s;
	ev.events = IN_EVENTS | EPOLLET;
	epoll_ctl(ep_in, EPOLL_CTL_ADD, s->fd, &ev);
	ev.events = OUT_EVENTS | EPOLLET;
	epoll_ctl(ep_out, EPOLL_CTL_ADD, s->fd, &ev);
	pthread_mutex_unlock(&instance);
	return s;
}

int
uvs_sock_new(int domain, int type, int protocol, struct uvs_sock **out)
{
	int fd;

	if (netns >= 0)
		setns(netns, CLONE_NEWNET);
	fd = socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
	if (netns >= 0)
		setns(home, CLONE_NEWNET);
	if (fd < 0)
		return -errno;
	*out = wrap(fd, domain, type);
	return 0;
}

struct uvs_sock *
uvs_sock_get(struct uvs_sock *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void
uvs_sock_put(struct uvs_sock *s)
{
	if (atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	if (s->prev && running) {
		pthread_mutex_lock(&instance);
		epoll_ctl(ep_in, EPOLL_CTL_DEL, s->fd, NULL);
		epoll_ctl(ep_out, EPOLL_CTL_DEL, s->fd, NULL);
		*s->prev = s->next;
		if (s->next)
			s->next->prev = s->prev;
		pthread_mutex_unlock(&instance);
		close(s->fd);
	}
	free(s);
}

int
uvs_sock_bind(struct uvs_sock *s, const struct sockaddr *addr, socklen_t len)
{
	return (int)neg(bind(s->fd, addr, len));
}

int
uvs_sock_listen(struct uvs_sock *s, int backlog)
{
	int r = (int)neg(listen(s->fd, backlog));

	s->listening = s->listening || r == 0;
	return r;
}

int
uvs_sock_connect(struct uvs_sock *s, const struct sockaddr *addr, socklen_t len)
{
	return (int)neg(connect(s->fd, addr, len));
}

int
uvs_sock_accept(struct uvs_sock *s, struct uvs_sock **out, struct sockaddr *addr, socklen_t *len)
{
	int fd = accept4(s->fd, addr, len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return -errno;
	*out = wrap(fd, s->domain, s->type);
	return 0;
}

ssize_t
uvs_sock_recvmsg(struct uvs_sock *s, struct msghdr *msg, int flags)
{
	return neg(recvmsg(s->fd, msg, flags | MSG_DONTWAIT));
}

ssize_t
uvs_sock_sendmsg(struct uvs_sock *s, const struct msghdr *msg, int flags)
{
	return neg(sendmsg(s->fd, msg, flags | MSG_DONTWAIT | MSG_NOSIGNAL));
}

int
uvs_sock_recvmmsg(struct uvs_sock *s, struct mmsghdr *v, unsigned int n, int flags)
{
	return (int)neg(recvmmsg(s->fd, v, n, flags | MSG_DONTWAIT, NULL));
}

int
uvs_sock_sendmmsg(struct uvs_sock *s, struct mmsghdr *v, unsigned int n, int flags)
{
	return (int)neg(sendmmsg(s->fd, v, n, flags | MSG_DONTWAIT | MSG_NOSIGNAL));
}

int
uvs_sock_shutdown(struct uvs_sock *s, int how)
{
	return (int)neg(shutdown(s->fd, how));
}

int
uvs_sock_getsockname(struct uvs_sock *s, struct sockaddr *addr, socklen_t *len)
{
	return (int)neg(getsockname(s->fd, addr, len));
}

int
uvs_sock_getpeername(struct uvs_sock *s, struct sockaddr *addr, socklen_t *len)
{
	return (int)neg(getpeername(s->fd, addr, len));
}

int
uvs_sock_getsockopt(struct uvs_sock *s, int level, int name, void *val, socklen_t *len)
{
	return (int)neg(getsockopt(s->fd, level, name, val, len));
}

int
uvs_sock_setsockopt(struct uvs_sock *s, int level, int name, const void *val, socklen_t len)
{
	return (int)neg(setsockopt(s->fd, level, name, val, len));
}

int
uvs_sock_ioctl(struct uvs_sock *s, unsigned long req, void *arg)
{
	if (req != FIONREAD && req != SIOCOUTQ && req != SIOCATMARK)
		return -ENOTTY;
	return (int)neg(ioctl(s->fd, req, arg));
}

uint64_t
uvs_sock_timeout(struct uvs_sock *s, short dir)
{
	struct timeval tv = {0};
	socklen_t len = sizeof(tv);

	getsockopt(s->fd, SOL_SOCKET, dir == POLLIN ? SO_RCVTIMEO : SO_SNDTIMEO, &tv, &len);
	return (uint64_t)tv.tv_sec * 1000000000u + (uint64_t)tv.tv_usec * 1000u;
}

int
uvs_sock_domain(const struct uvs_sock *s)
{
	return s->domain;
}

int
uvs_sock_type(const struct uvs_sock *s)
{
	return s->type;
}

bool
uvs_sock_listening(const struct uvs_sock *s)
{
	return s->listening;
}

/* ------------------------------------------------------------------------------------- events */

uint32_t
uvs_sock_events(const struct uvs_sock *s)
{
	struct pollfd p = {.fd = s->fd, .events = POLLIN | POLLOUT | POLLPRI | POLLRDHUP};

	uvs_sys_ppoll(&p, 1, &(struct timespec){0}, NULL);
	return (uint16_t)p.revents;
}

uint32_t
uvs_sock_seq(const struct uvs_sock *s)
{
	return s->seq;
}

void
uvs_watch_add(struct uvs_sock *s, struct uvs_watch *w)
{
	pthread_mutex_lock(&instance);
	w->sock = s;
	w->next = s->watches;
	w->prev = &s->watches;
	if (w->next)
		w->next->prev = &w->next;
	s->watches = w;
	pthread_mutex_unlock(&instance);
}

void
uvs_watch_del(struct uvs_watch *w)
{
	pthread_mutex_lock(&instance);
	*w->prev = w->next;
	if (w->next)
		w->next->prev = w->prev;
	pthread_mutex_unlock(&instance);
}

static int
take(int ep, uint32_t mask)
{
	struct epoll_event ev[64];
	int i, n = (int)uvs_syscall5(SYS_epoll_wait, ep, (long)ev, 64, 0, 0);

	for (i = 0; i < n; i++) {
		struct uvs_sock *s = ev[i].data.ptr;
		struct uvs_watch *w, *next;

		s->seq++;
		for (w = s->watches; w; w = next) {
			next = w->next;
			w->fire(w, ev[i].events & (mask | EPOLLERR | EPOLLHUP));
		}
	}
	return n;
}

void
uvs_progress(void)
{
	if (!running || pthread_mutex_trylock(&instance) != 0)
		return;
	take(ep_in, IN_EVENTS);
	take(ep_out, OUT_EVENTS);
	pthread_mutex_unlock(&instance);
}

/* ------------------------------------------------------------------------------------ waiting */

static __thread struct uvs_waiter *self __attribute__((tls_model("initial-exec")));
static __thread uint32_t self_generation __attribute__((tls_model("initial-exec")));

struct uvs_waiter *
uvs_waiter_self(void)
{
	if (!self || self_generation != generation) {
		self = calloc(1, sizeof(*self));
		self->evfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		self_generation = generation;
	}
	return self;
}

void
uvs_waiter_wake(struct uvs_waiter *w)
{
	uint64_t one = 1;

	if (!atomic_exchange(&w->woken, true))
		uvs_sys_write(w->evfd, &one, sizeof(one));
}

static bool
consume(struct uvs_waiter *w)
{
	uint64_t n;

	if (!atomic_load(&w->woken))
		return false;
	uvs_sys_read(w->evfd, &n, sizeof(n));
	atomic_store(&w->woken, false);
	return true;
}

static uint64_t
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int
sleep_on(struct uvs_waiter *w, struct uvs_kwait *k, uint64_t deadline)
{
	unsigned int n = k ? k->nfds : 0, i;
	struct pollfd fds[n + 3];
	struct timespec ts, *tsp = NULL;
	uint64_t t = now();
	int r;

	for (i = 0; i < n; i++)
		fds[i] = k->fds[i];
	fds[n] = (struct pollfd){.fd = w->evfd, .events = POLLIN};
	fds[n + 1] = (struct pollfd){.fd = running ? ep_in : -1, .events = POLLIN};
	fds[n + 2] = (struct pollfd){.fd = running ? ep_out : -1, .events = POLLIN};
	if (deadline != UINT64_MAX) {
		uint64_t left = deadline > t ? deadline - t : 0;

		ts.tv_sec = (time_t)(left / 1000000000u);
		ts.tv_nsec = (long)(left % 1000000000u);
		tsp = &ts;
	}
	r = uvs_sys_ppoll(fds, n + 3, tsp, k ? k->sigmask : NULL);
	if (r < 0)
		return r;
	for (i = 0, r = 0; i < n; i++) {
		k->fds[i].revents = fds[i].revents;
		r |= fds[i].revents ? 2 : 0;
	}
	return r;
}

/* This one's waiting is always ppoll(), which hears of handlers by itself. */
void
uvs_wait_interrupt(void)
{
}

int
uvs_wait(struct uvs_waiter *w, struct uvs_kwait *k, uint64_t deadline)
{
	int r = 0;

	for (;;) {
		uvs_progress();
		if (consume(w))
			return 1;
		r = sleep_on(w, k, deadline);
		if (r != 0)
			return r;
		uvs_progress();
		if (consume(w))
			return 1;
		if (deadline != UINT64_MAX && now() >= deadline)
			return 0;
	}
}

/* Its time is the kernel's. */
void
uvs_stack_watch_clock(void)
{
}

void
uvs_stack_join_clock(void)
{
}

void
uvs_family_prepare(void)
{
}

void
uvs_family_join(void)
{
}

void
uvs_family_leave(void)
{
}

void
uvs_nap_begin(struct uvs_nap *n, uint64_t until)
{
	(void)n;
	(void)until;
}

bool
uvs_nap_end(struct uvs_nap *n)
{
	(void)n;
	return false;
}
