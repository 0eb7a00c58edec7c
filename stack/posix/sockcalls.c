/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Making, naming and configuring sockets. Every function has the same shape: not the stack's
 * number, to the kernel at once; otherwise a result or -errno from the file, into the C convention.
 */
#include "stack/posix/inherit.h"

#include <netinet/in.h>

#define TYPE_FLAGS (SOCK_NONBLOCK | SOCK_CLOEXEC)

/* ---------------------------------------------------------------------------------- socket() */

static bool
echo(int domain, int type, int protocol)
{
	return type == SOCK_DGRAM &&
	       protocol == (domain == AF_INET6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
}

static bool
ours(int domain, int type, int protocol)
{
	int base = type & ~TYPE_FLAGS;

	if (uvp_table_size == 0 || uvp_inside() || (domain != AF_INET && domain != AF_INET6))
		return false;
	switch (base) {
	case SOCK_STREAM:
		return protocol == 0 || protocol == IPPROTO_TCP;
	case SOCK_DGRAM:
		return protocol == 0 || protocol == IPPROTO_UDP || echo(domain, base, protocol);
	default:
		return base == SOCK_RAW;
	}
}

static socklen_t
any_name(int domain, struct sockaddr_storage *any)
{
	*any = (struct sockaddr_storage){.ss_family = (sa_family_t)domain};
	return domain == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

/* Who may have a raw socket, or one of ICMP echo, is for the kernel to say. */
static int
allow(struct uvp_file *f)
{
	struct sockaddr_storage any;
	int r = 0;

	if (f->type == SOCK_RAW || echo(f->domain, f->type, f->protocol))
		r = uvp_oracle(f);
	if (r >= 0 && f->type == SOCK_RAW)
		r = uvp_to_both(f, (struct sockaddr *)&any, any_name(f->domain, &any));
	return r < 0 ? r : 0;
}

static int
socket_new(int domain, int type, int protocol)
{
	struct uvp_file *f = uvp_file_new(UVP_SOCKET);
	int fd, r;

	if (!f)
		return -ENOMEM;
	f->domain = domain;
	f->type = type & ~TYPE_FLAGS;
	f->protocol = protocol;
	atomic_store(&f->flags, type & SOCK_NONBLOCK ? O_NONBLOCK : 0);
	fd = uvp_number_new(domain, f->type, type & SOCK_CLOEXEC);
	if (fd < 0) {
		uvp_put(f);
		return fd;
	}
	uvp_get_unless_gone(f);
	uvp_install(fd, f);
	r = allow(f);
	uvp_put(f);
	if (r < 0)
		uvp_close(fd);
	return r < 0 ? r : fd;
}

UVP_EXPORT int
socket(int domain, int type, int protocol)
{
	if (!ours(domain, type, protocol))
		return uvp_opened(R(socket)(domain, type, protocol));
	return (int)uvp_ret(socket_new(domain, type, protocol));
}

UVP_EXPORT int
socketpair(int domain, int type, int protocol, int sv[2])
{
	int r = R(socketpair)(domain, type, protocol, sv);

	if (r == 0) {
		sv[0] = uvp_opened(sv[0]);
		sv[1] = uvp_opened(sv[1]);
	}
	return r;
}

/* -------------------------------------------------------------------------------- bind, listen */

/* An address that cannot be routed by what it says: the kernel's answer is the answer. */
static bool
addr_odd(const struct uvp_file *f, const struct sockaddr *addr, socklen_t len)
{
	socklen_t need = f->domain == AF_INET6 ? offsetof(struct sockaddr_in6, sin6_scope_id)
					       : sizeof(struct sockaddr_in);

	return !addr || len < need || len > sizeof(struct sockaddr_storage) ||
	       addr->sa_family != f->domain;
}

static int
bind_undecided(struct uvp_file *f, const struct sockaddr *addr, socklen_t len)
{
	enum uvs_route route = UVS_ROUTE_KERNEL;
	int r;

	if (addr_odd(f, addr, len)) {
		r = uvp_oracle(f);
		if (r < 0)
			return r;
		if (R(bind)(r, addr, len) < 0)
			return -errno;
		return uvp_to_kernel(f);
	}
	route = UVP_IN(uvs_route_local(addr, len));
	if (route == UVS_ROUTE_ANY) {
		r = uvp_to_both(f, addr, len);
		if (r <= 0)
			return r;
	}
	r = route == UVS_ROUTE_STACK ? uvp_to_stack(f) : uvp_to_kernel(f);
	if (r < 0)
		return r;
	return route == UVS_ROUTE_STACK ? UVP_IN(uvs_sock_bind(f->sock, addr, len)) : -UVP_AGAIN;
}

/* It has been open to both sides so far. */
static int
bind_raw(struct uvp_file *f, const struct sockaddr *addr, socklen_t len)
{
	enum uvs_route route;
	int r;

	if (addr_odd(f, addr, len))
		return -EINVAL;
	route = UVP_IN(uvs_route_local(addr, len));
	if (route == UVS_ROUTE_ANY)
		return 0;
	r = route == UVS_ROUTE_STACK ? uvp_to_stack(f) : uvp_to_kernel(f);
	if (r < 0)
		return r;
	return route == UVS_ROUTE_STACK ? UVP_IN(uvs_sock_bind(f->sock, addr, len)) : -UVP_AGAIN;
}

static int
file_bind(struct uvp_file *f, const struct sockaddr *addr, socklen_t len)
{
	if (f->kind != UVP_SOCKET)
		return -ENOTSOCK;
	if (uvp_dead(f))
		return uvp_inherit(f);
	switch (uvp_state(f)) {
	case UVP_UNDECIDED:
		return bind_undecided(f, addr, len);
	case UVP_STACK:
		return UVP_IN(uvs_sock_bind(f->sock, addr, len));
	case UVP_BOTH:
		return f->type == SOCK_RAW ? bind_raw(f, addr, len) : -EINVAL;
	default:
		return -UVP_AGAIN;
	}
}

UVP_EXPORT int
bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	UVP_ON(fd, R(bind)(fd, addr, len), file_bind(f, addr, len));
}

/* listen() without bind(): ANY, a port of the system's choice. */
static int
bind_any(struct uvp_file *f)
{
	struct sockaddr_storage any;

	return bind_undecided(f, (struct sockaddr *)&any, any_name(f->domain, &any));
}

static int
file_listen(struct uvp_file *f, int fd, int backlog)
{
	int r;

	if (f->kind != UVP_SOCKET)
		return -ENOTSOCK;
	if (uvp_dead(f))
		return uvp_inherit(f);
	if (f->type != SOCK_STREAM)
		return -EOPNOTSUPP;
	if (uvp_state(f) == UVP_UNDECIDED) {
		r = bind_any(f);
		if (r < 0)
			return r;
	}
	if (uvp_state(f) == UVP_KERNEL)
		return -UVP_AGAIN;
	r = UVP_IN(uvs_sock_listen(f->sock, backlog));
	if (r == 0 && uvp_state(f) == UVP_BOTH)
		r = (int)uvp_neg(R(listen)(fd, backlog));
	if (r == 0)
		atomic_store(&f->listening, true);
	return r;
}

UVP_EXPORT int
listen(int fd, int backlog)
{
	UVP_ON(fd, R(listen)(fd, backlog), file_listen(f, fd, backlog));
}

/* ------------------------------------------------------------------------------------- connect */

struct connect_arg {
	const struct sockaddr *addr;
	socklen_t len;
	bool again;
};

/* The first call starts the handshake; the later ones ask how it went. */
static ssize_t
op_connect(struct uvp_file *f, void *arg)
{
	struct connect_arg *a = arg;
	int r = UVP_IN(uvs_sock_connect(f->sock, a->addr, a->len));

	if (a->again && r == -EISCONN)
		r = 0;
	if (r != -EINPROGRESS && r != -EALREADY)
		return r;
	a->again = true;
	return -EAGAIN;
}

static int
connect_stack(struct uvp_file *f, const struct sockaddr *addr, socklen_t len)
{
	struct connect_arg a = {.addr = addr, .len = len};
	int r;

	if (uvp_nonblock(f) || f->type != SOCK_STREAM)
		return UVP_IN(uvs_sock_connect(f->sock, addr, len));
	r = (int)uvp_run(f, false, POLLOUT, -1, op_connect, &a);
	return r == -EAGAIN ? -EINPROGRESS : r; /* SO_SNDTIMEO ran out */
}

static int
connect_route(struct uvp_file *f, const struct sockaddr *addr, socklen_t len)
{
	int r;

	if (addr && len >= sizeof(sa_family_t) && addr->sa_family == AF_UNSPEC)
		return 0; /* nothing to dissolve */
	if (addr_odd(f, addr, len)) {
		r = uvp_oracle(f);
		if (r < 0)
			return r;
		if (R(connect)(r, addr, len) < 0 && errno != EINPROGRESS)
			return -errno;
		return uvp_to_kernel(f);
	}
	if (UVP_IN(uvs_route_remote(addr, len)) != UVS_ROUTE_STACK) {
		r = uvp_to_kernel(f);
		return r < 0 ? r : -UVP_AGAIN;
	}
	r = uvp_to_stack(f);
	return r < 0 ? r : connect_stack(f, addr, len);
}

static int
file_connect(struct uvp_file *f, const struct sockaddr *addr, socklen_t len)
{
	if (f->kind != UVP_SOCKET)
		return -ENOTSOCK;
	if (uvp_dead(f))
		return uvp_inherit(f);
	switch (uvp_state(f)) {
	case UVP_BOTH:
		if (atomic_load(&f->listening))
			return -EISCONN;
		return connect_route(f, addr, len);
	case UVP_UNDECIDED:
		return connect_route(f, addr, len);
	case UVP_STACK:
		return connect_stack(f, addr, len);
	default:
		return -UVP_AGAIN;
	}
}

UVP_EXPORT int
connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	UVP_ON(fd, R(connect)(fd, addr, len), file_connect(f, addr, len));
}

/* -------------------------------------------------------------------------------------- accept */

struct accept_arg {
	struct sockaddr *addr;
	socklen_t *len;
	int fd, flags;
	int number; /* made before the connection is taken: no connection is lost to EMFILE */
	int result; /* kernel half: the number it gave */
	struct uvs_sock *sock;
};

static ssize_t
accept_kernel(struct accept_arg *a)
{
	int r = (int)uvs_syscall5(SYS_accept4, a->fd, (long)a->addr, (long)a->len, a->flags, 0);

	if (r < 0)
		return r;
	uvp_opened_app(r);
	a->result = r;
	return 0;
}

static ssize_t
accept_stack(struct uvp_file *f, struct accept_arg *a)
{
	if (uvs_sock_listening(f->sock) && !uvs_sock_events(f->sock))
		return -EAGAIN;
	if (a->number < 0)
		a->number = uvp_number_new(f->domain, f->type, a->flags & SOCK_CLOEXEC);
	if (a->number < 0)
		return a->number;
	return UVP_IN(uvs_sock_accept(f->sock, &a->sock, a->addr, a->len));
}

static ssize_t
op_accept(struct uvp_file *f, void *arg)
{
	struct accept_arg *a = arg;
	bool both = uvp_state(f) == UVP_BOTH;
	bool kernel_first = both && atomic_exchange(&f->kernel_first, false);
	ssize_t r;

	if (kernel_first) {
		r = accept_kernel(a);
		if (r != -EAGAIN)
			return r;
	}
	r = accept_stack(f, a);
	if (both && r == 0)
		atomic_store(&f->kernel_first, true);
	if (both && !kernel_first && r == -EAGAIN)
		r = accept_kernel(a);
	return r;
}

static int
accept_install(struct uvp_file *listener, struct accept_arg *a)
{
	struct uvp_file *f = uvp_file_new(UVP_SOCKET);
	int fd = a->number;

	if (!f) {
		UVP_IN_VOID(uvs_sock_put(a->sock));
		return -ENOMEM;
	}
	f->domain = listener->domain;
	f->type = listener->type;
	f->protocol = listener->protocol;
	f->accepted = true;
	f->sock = a->sock;
	atomic_store(&f->flags, a->flags & SOCK_NONBLOCK ? O_NONBLOCK : 0);
	atomic_store_explicit(&f->state, UVP_STACK, memory_order_release);
	a->number = -1;
	uvp_install(fd, f);
	return fd;
}

int
uvp_accept(struct uvp_file *f, int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	struct accept_arg a = {
		.addr = addr, .len = len, .fd = fd, .flags = flags, .number = -1, .result = -1};
	enum uvp_state state = uvp_state(f);
	int r;

	if (f->kind != UVP_SOCKET)
		return -ENOTSOCK;
	if (flags & ~TYPE_FLAGS)
		return -EINVAL;
	if (uvp_dead(f))
		return uvp_inherit(f);
	if (state == UVP_KERNEL)
		return -UVP_AGAIN;
	if (f->type != SOCK_STREAM)
		return -EOPNOTSUPP;
	if (state == UVP_UNDECIDED)
		return -EINVAL;
	r = (int)uvp_run(f, uvp_nonblock(f), POLLIN, state == UVP_BOTH ? fd : -1, op_accept, &a);
	if (r == 0)
		r = a.sock ? accept_install(f, &a) : a.result;
	if (a.number >= 0)
		uvs_sys_close(a.number);
	return r;
}

/* On a kernel descriptor, which may be a listener that was passed on. */
static int
accept_real(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	int r = uvp_opened(R(accept4)(fd, addr, len, flags));

	if (uvp_unlikely(r < 0 && errno == EINVAL))
		r = uvp_passed_accept(fd, addr, len, flags);
	return r;
}

UVP_EXPORT int
accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	UVP_ON(fd, accept_real(fd, addr, len, flags), uvp_accept(f, fd, addr, len, flags));
}

UVP_EXPORT int
accept(int fd, struct sockaddr *addr, socklen_t *len)
{
	UVP_ON(fd, accept_real(fd, addr, len, 0), uvp_accept(f, fd, addr, len, 0));
}

/* --------------------------------------------------------------------------- names and options */

/* Does the number itself know the answer? Undecided and kernel sockets, and the bound kernel half.
 */
static bool
kernel_knows(const struct uvp_file *f)
{
	return uvp_state(f) != UVP_STACK;
}

static int
file_getsockname(struct uvp_file *f, int fd, struct sockaddr *addr, socklen_t *len)
{
	if (f->kind != UVP_SOCKET || kernel_knows(f))
		return (int)uvp_neg(R(getsockname)(fd, addr, len));
	return uvp_dead(f) ? uvp_inherit(f) : UVP_IN(uvs_sock_getsockname(f->sock, addr, len));
}

UVP_EXPORT int
getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
	UVP_ON(fd, uvp_passed_getname(fd, false, addr, len, R(getsockname)(fd, addr, len)),
	       file_getsockname(f, fd, addr, len));
}

static int
file_getpeername(struct uvp_file *f, int fd, struct sockaddr *addr, socklen_t *len)
{
	if (f->kind != UVP_SOCKET || kernel_knows(f))
		return (int)uvp_neg(R(getpeername)(fd, addr, len));
	return uvp_dead(f) ? uvp_inherit(f) : UVP_IN(uvs_sock_getpeername(f->sock, addr, len));
}

UVP_EXPORT int
getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
	UVP_ON(fd, uvp_passed_getname(fd, true, addr, len, R(getpeername)(fd, addr, len)),
	       file_getpeername(f, fd, addr, len));
}

static bool
usable(struct uvp_file *f, int *err)
{
	*err = f->kind != UVP_SOCKET ? -ENOTSOCK : uvp_dead(f) ? uvp_inherit(f) : 0;
	return *err == 0;
}

static int
file_getsockopt(struct uvp_file *f, int fd, int level, int name, void *val, socklen_t *len)
{
	int err;

	return usable(f, &err) ? uvp_opt_get(f, fd, level, name, val, len) : err;
}

static int
file_setsockopt(struct uvp_file *f, int fd, int level, int name, const void *val, socklen_t len)
{
	int err;

	return usable(f, &err) ? uvp_opt_set(f, fd, level, name, val, len) : err;
}

UVP_EXPORT int
getsockopt(int fd, int level, int name, void *val, socklen_t *len)
{
	UVP_ON(fd,
	       uvp_passed_getsockopt(fd, level, name, val, len,
				     R(getsockopt)(fd, level, name, val, len)),
	       file_getsockopt(f, fd, level, name, val, len));
}

UVP_EXPORT int
setsockopt(int fd, int level, int name, const void *val, socklen_t len)
{
	UVP_ON(fd,
	       uvp_passed_setsockopt(fd, level, name, val, len,
				     R(setsockopt)(fd, level, name, val, len)),
	       file_setsockopt(f, fd, level, name, val, len));
}

/* ------------------------------------------------------------------------------------ shutdown */

static int
file_shutdown(struct uvp_file *f, int fd, int how)
{
	int r;

	if (f->kind != UVP_SOCKET)
		return -ENOTSOCK;
	if (uvp_dead(f))
		return uvp_inherit(f);
	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	switch (uvp_state(f)) {
	case UVP_UNDECIDED:
		return -ENOTCONN;
	case UVP_STACK:
		return UVP_IN(uvs_sock_shutdown(f->sock, how));
	case UVP_BOTH:
		r = (int)uvp_neg(R(shutdown)(fd, how));
		UVP_IN(uvs_sock_shutdown(f->sock, how));
		return r;
	default:
		return -UVP_AGAIN;
	}
}

UVP_EXPORT int
shutdown(int fd, int how)
{
	UVP_ON(fd, R(shutdown)(fd, how), file_shutdown(f, fd, how));
}

static int
file_sockatmark(struct uvp_file *f, int fd)
{
	int mark = 0, r;

	if (f->kind != UVP_SOCKET)
		return -ENOTTY;
	if (uvp_dead(f))
		return uvp_inherit(f);
	if (uvp_state(f) == UVP_UNDECIDED || uvp_state(f) == UVP_KERNEL)
		return (int)uvp_neg(R(sockatmark)(fd));
	r = UVP_IN(uvs_sock_ioctl(f->sock, SIOCATMARK, &mark));
	return r < 0 ? r : mark;
}

UVP_EXPORT int
sockatmark(int fd)
{
	UVP_ON(fd, R(sockatmark)(fd), file_sockatmark(f, fd));
}
