/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Kernel or stack? A socket is undecided until its first address: bind, connect, listen or sendto.
 *
 *   UNDECIDED --- kernel's address ---> KERNEL  a kernel socket made now takes over the numbers
 *       |  \----- stack's address ----> STACK   the placeholder stays
 *       \-------- ANY ----------------> BOTH    one of each, on the same port
 *        \------- SOCK_RAW -----------> BOTH    from the start: it hears without an address
 *   BOTH -------- connect ------------> the side of the peer
 *
 * Options given before are remembered and replayed. The common switches are only remembered; for
 * every other one a kernel socket (the oracle) is asked, so that the answer is the kernel's, and it
 * becomes the kernel half if there will be one.
 */
#include "stack/posix/posix.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#define PORT_TRIES 32

static const struct {
	int level, name;
} switches[] = {
	{SOL_SOCKET, SO_REUSEADDR},
	{SOL_SOCKET, SO_REUSEPORT},
	{SOL_SOCKET, SO_KEEPALIVE},
	{IPPROTO_TCP, TCP_NODELAY},
};

/* ------------------------------------------------------------------------------ remembered options
 */

static bool
is_switch(const struct uvp_file *f, int level, int name)
{
	size_t i;

	if (level == IPPROTO_TCP && f->type != SOCK_STREAM)
		return false;
	for (i = 0; i < sizeof(switches) / sizeof(switches[0]); i++)
		if (switches[i].level == level && switches[i].name == name)
			return true;
	return false;
}

/* Memberships add up; everything else replaces what was set before. */
static bool
adds_up(int level, int name)
{
	if (level != IPPROTO_IP && level != IPPROTO_IPV6)
		return false;
	if (name >= MCAST_JOIN_GROUP && name <= MCAST_LEAVE_SOURCE_GROUP)
		return true;
	if (level == IPPROTO_IPV6)
		return name == IPV6_JOIN_GROUP || name == IPV6_LEAVE_GROUP;
	return name >= IP_ADD_MEMBERSHIP && name <= IP_DROP_SOURCE_MEMBERSHIP;
}

/* To an interface of the stack's: that decides. */
static bool
to_device(int level, int name, const void *val, socklen_t len)
{
	return level == SOL_SOCKET && name == SO_BINDTODEVICE && val &&
	       uvs_stack_has_interface(val, len);
}

/* An interface that the kernel does not have may be the stack's. */
static bool
of_another_side(int level, int name, int r)
{
	return (r == -ENODEV && adds_up(level, name)) ||
	       (r == -EADDRNOTAVAIL && level == IPPROTO_IP && name == IP_MULTICAST_IF);
}

static struct uvp_opt **
opt_find(struct uvp_file *f, int level, int name)
{
	struct uvp_opt **o;

	for (o = &f->opts; *o; o = &(*o)->next)
		if ((*o)->level == level && (*o)->name == name)
			break;
	return o;
}

static int
opt_remember(struct uvp_file *f, int level, int name, const void *val, socklen_t len)
{
	struct uvp_opt *o = malloc(sizeof(*o) + len), **at;

	if (!o)
		return -ENOMEM;
	o->level = level;
	o->name = name;
	o->len = len;
	memcpy(o->val, val, len);
	at = opt_find(f, level, name);
	if (*at && !adds_up(level, name)) {
		struct uvp_opt *old = *at;

		*at = old->next;
		free(old);
	}
	for (at = &f->opts; *at; at = &(*at)->next)
		;
	o->next = NULL;
	*at = o;
	return 0;
}

void
uvp_opts_free(struct uvp_file *f)
{
	struct uvp_opt *o;

	while ((o = f->opts)) {
		f->opts = o->next;
		free(o);
	}
}

static void
replay_kernel(const struct uvp_file *f, int kfd)
{
	const struct uvp_opt *o;

	for (o = f->opts; o; o = o->next)
		R(setsockopt)(kfd, o->level, o->name, o->val, o->len);
}

static void
replay_stack(const struct uvp_file *f, struct uvs_sock *s)
{
	const struct uvp_opt *o;

	for (o = f->opts; o; o = o->next) {
		int r = UVP_IN(uvs_sock_setsockopt(s, o->level, o->name, o->val, o->len));

		if (r < 0)
			uvp_log_once("socket option %d/%d, set before the socket's address was "
				     "known, is refused by the stack (%s) and has no effect",
				     o->level, o->name, strerrordesc_np(-r));
	}
}

/* Under f->lock. */
static int
oracle_locked(struct uvp_file *f)
{
	int fd;

	if (f->oracle >= 0)
		return f->oracle;
	fd = R(socket)(f->domain, f->type | SOCK_CLOEXEC, f->protocol);
	if (fd < 0)
		return -errno;
	f->oracle = uvs_fd_adopt(fd);
	replay_kernel(f, f->oracle);
	return f->oracle;
}

int
uvp_oracle(struct uvp_file *f)
{
	int fd;

	pthread_mutex_lock(&f->lock);
	fd = oracle_locked(f);
	pthread_mutex_unlock(&f->lock);
	return fd;
}

static void
oracle_drop(struct uvp_file *f)
{
	if (f->oracle >= 0)
		uvs_fd_close(f->oracle);
	f->oracle = -1;
}

static int
undecided_set(struct uvp_file *f, int level, int name, const void *val, socklen_t len)
{
	int fd, r = 0;

	if (to_device(level, name, val, len))
		return opt_remember(f, level, name, val, len);
	if (f->oracle >= 0 || len < sizeof(int) || !val || !is_switch(f, level, name)) {
		fd = oracle_locked(f);
		if (fd < 0)
			return fd;
		r = (int)uvp_neg(R(setsockopt)(fd, level, name, val, len));
		if (of_another_side(level, name, r))
			r = 0;
	}
	return r < 0 || !val ? r : opt_remember(f, level, name, val, len);
}

int
uvp_opt_set(struct uvp_file *f, int fd, int level, int name, const void *val, socklen_t len)
{
	int r, k;

	if (uvp_state(f) == UVP_UNDECIDED) {
		pthread_mutex_lock(&f->lock);
		if (uvp_state(f) == UVP_UNDECIDED) {
			r = undecided_set(f, level, name, val, len);
			pthread_mutex_unlock(&f->lock);
			return r == 0 && to_device(level, name, val, len) ? uvp_to_stack(f) : r;
		}
		pthread_mutex_unlock(&f->lock);
	}
	if (uvp_state(f) == UVP_KERNEL)
		return (int)uvp_neg(R(setsockopt)(fd, level, name, val, len));
	r = UVP_IN(uvs_sock_setsockopt(f->sock, level, name, val, len));
	if (r == 0 && to_device(level, name, val, len))
		return uvp_to_stack(f);
	if (uvp_state(f) == UVP_BOTH) {
		k = (int)uvp_neg(R(setsockopt)(fd, level, name, val, len));
		r = r == -ENOPROTOOPT || (r == -ENODEV && k == 0) ? k : r;
	}
	return r;
}

/* The placeholder is a fresh socket: it knows the defaults. Once something was set, ask the oracle.
 */
int
uvp_opt_get(struct uvp_file *f, int fd, int level, int name, void *val, socklen_t *len)
{
	int r;

	if (uvp_state(f) == UVP_UNDECIDED) {
		pthread_mutex_lock(&f->lock);
		r = f->opts || f->oracle >= 0 ? oracle_locked(f) : fd;
		if (r >= 0)
			r = (int)uvp_neg(R(getsockopt)(r, level, name, val, len));
		pthread_mutex_unlock(&f->lock);
		return r;
	}
	if (uvp_state(f) == UVP_KERNEL)
		return (int)uvp_neg(R(getsockopt)(fd, level, name, val, len));
	return UVP_IN(uvs_sock_getsockopt(f->sock, level, name, val, len));
}

/* --------------------------------------------------------------------------------- transitions */

static int
stack_half(struct uvp_file *f, struct uvs_sock **out)
{
	int r = UVP_IN(uvs_stack_start());

	if (r < 0)
		return r;
	r = UVP_IN(uvs_sock_new(f->domain, f->type, f->protocol, out));
	if (r == 0)
		replay_stack(f, *out);
	return r;
}

static void
publish_stack(struct uvp_file *f, struct uvs_sock *s, enum uvp_state state)
{
	f->sock = s;
	f->epoch = atomic_load(&uvp_epoch);
	atomic_store_explicit(&f->state, state, memory_order_release);
}

int
uvp_to_stack(struct uvp_file *f)
{
	struct uvs_sock *s;
	int r = 0;

	pthread_mutex_lock(&f->lock);
	switch (uvp_state(f)) {
	case UVP_UNDECIDED:
		r = stack_half(f, &s);
		if (r == 0) {
			oracle_drop(f);
			publish_stack(f, s, UVP_STACK);
		}
		break;
	case UVP_BOTH:
		r = uvp_template(f->domain, f->type);
		if (r >= 0)
			r = uvp_replace_kernel(f, r);
		if (r == 0)
			atomic_store_explicit(&f->state, UVP_STACK, memory_order_release);
		break;
	default:
		break;
	}
	if (r == 0)
		uvp_epoll_decided(f);
	pthread_mutex_unlock(&f->lock);
	return r;
}

/* Under f->lock: what the kernel half of an undecided file will be. */
static int
kernel_half(struct uvp_file *f)
{
	int fd = oracle_locked(f);

	if (fd >= 0)
		f->oracle = -1;
	return fd;
}

static void
kernel_status(const struct uvp_file *f, int fd)
{
	R(fcntl)(fd, F_SETFL, O_RDWR | atomic_load(&f->flags));
}

static int
to_kernel_locked(struct uvp_file *f)
{
	int kfd, fd;

	switch (uvp_state(f)) {
	case UVP_UNDECIDED:
		kfd = kernel_half(f);
		if (kfd < 0)
			return kfd;
		kernel_status(f, kfd);
		atomic_store_explicit(&f->state, UVP_KERNEL, memory_order_release);
		return uvp_hand_to_kernel(f, kfd);
	case UVP_BOTH:
		fd = uvp_any_number(f);
		if (fd >= 0)
			kernel_status(f, fd);
		atomic_store_explicit(&f->state, UVP_KERNEL, memory_order_release);
		return uvp_hand_to_kernel(f, -1);
	default:
		return 0;
	}
}

int
uvp_to_kernel(struct uvp_file *f)
{
	int r;

	pthread_mutex_lock(&f->lock);
	r = to_kernel_locked(f);
	pthread_mutex_unlock(&f->lock);
	return r;
}

static bool
port_left_open(const struct sockaddr *addr)
{
	if (addr->sa_family == AF_INET6)
		return ((const struct sockaddr_in6 *)addr)->sin6_port == 0;
	return ((const struct sockaddr_in *)addr)->sin_port == 0;
}

/* A port that the kernel chose has to be nobody's here, not even a connection's in TIME_WAIT, which
 * SO_REUSEADDR would allow: the socket may be connected to the same peer next. */
static int
bind_chosen(struct uvs_sock *s, const struct sockaddr *addr, socklen_t len)
{
	int reuse = 0, off = 0, r;
	socklen_t n = sizeof(reuse);

	UVP_IN(uvs_sock_getsockopt(s, SOL_SOCKET, SO_REUSEADDR, &reuse, &n));
	UVP_IN(uvs_sock_setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &off, sizeof(off)));
	r = UVP_IN(uvs_sock_bind(s, addr, len));
	UVP_IN(uvs_sock_setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse)));
	return r;
}

/* Bind both halves to one port. The kernel chooses it when it is left open; at the last try one
 * that may be shared has to do. */
static int
bind_pair(int kfd, struct uvs_sock *s, const struct sockaddr *addr, socklen_t len, bool last)
{
	struct sockaddr_storage ss;
	socklen_t sslen = sizeof(ss);

	if (R(bind)(kfd, addr, len) < 0)
		return -errno;
	if (R(getsockname)(kfd, (struct sockaddr *)&ss, &sslen) < 0)
		return -errno;
	if (port_left_open(addr) && !last)
		return bind_chosen(s, (struct sockaddr *)&ss, sslen);
	return UVP_IN(uvs_sock_bind(s, (struct sockaddr *)&ss, sslen));
}

/* Under f->lock, state UNDECIDED. */
static int
to_both_locked(struct uvp_file *f, const struct sockaddr *addr, socklen_t len)
{
	struct uvs_sock *s = NULL;
	int kfd, r, tries = port_left_open(addr) ? PORT_TRIES : 1;

	do {
		kfd = oracle_locked(f);
		if (kfd < 0)
			return kfd;
		r = stack_half(f, &s);
		if (r == -EAFNOSUPPORT)
			break;
		if (r < 0)
			return r;
		r = bind_pair(kfd, s, addr, len, tries == 1);
		if (r == 0)
			break;
		UVP_IN_VOID(uvs_sock_put(s));
		oracle_drop(f);
	} while (r == -EADDRINUSE && --tries > 0);
	if (r == -EAFNOSUPPORT) {
		uvp_log_once("the stack has no address family %d: such sockets listen in the "
			     "kernel only",
			     f->domain);
		r = to_kernel_locked(f);
		return r < 0 ? r : 1;
	}
	if (r < 0)
		return r;
	f->oracle = -1;
	R(fcntl)(kfd, F_SETFL, O_RDWR | O_NONBLOCK);
	r = uvp_replace_kernel(f, kfd);
	uvs_fd_close(kfd);
	if (r < 0) {
		UVP_IN_VOID(uvs_sock_put(s));
		return r;
	}
	publish_stack(f, s, UVP_BOTH);
	return 0;
}

/* 0: both halves are bound. 1: it went to the kernel, unbound. */
int
uvp_to_both(struct uvp_file *f, const struct sockaddr *addr, socklen_t len)
{
	int r = 0;

	pthread_mutex_lock(&f->lock);
	if (uvp_state(f) == UVP_UNDECIDED)
		r = to_both_locked(f, addr, len);
	else
		r = -EINVAL;
	if (r == 0)
		uvp_epoll_decided(f);
	pthread_mutex_unlock(&f->lock);
	return r;
}
