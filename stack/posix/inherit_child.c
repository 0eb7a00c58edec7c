/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A child's side of inherit.h: asking for what it inherited, and the calls that are not an AF_UNIX
 * socket's on what it was given.
 */
#include "stack/posix/inherit.h"

#include <netinet/in.h>
#include <sys/un.h>

bool uvp_heir;

static struct {
	pthread_mutex_t lock; /* one request at a time; held over fork() */
	int fd;               /* -1: no parent with a stack */
	uint32_t epoch;       /* of the files that can be asked for: the parent's */
} uplink = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

/* -------------------------------------------------------------------------------- descriptors */

union fd_control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(sizeof(int))];
};

static int
fd_of(struct msghdr *m)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(m);
	int fd;

	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
	    c->cmsg_len != CMSG_LEN(sizeof(int)))
		return -1;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

/* ------------------------------------------------------------------------------------- requests */

static int
send_request(const struct uvp_heir_msg *m, int with_fd)
{
	union fd_control control;
	struct iovec iov = {(void *)m, sizeof(*m)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t r;

	if (with_fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		CMSG_FIRSTHDR(&msg)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&msg)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&msg)->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), &with_fd, sizeof(int));
	}
	do
		r = uvs_syscall5(SYS_sendmsg, uplink.fd, (long)&msg, MSG_NOSIGNAL, 0, 0);
	while (r == -EINTR);
	return r < 0 ? (int)r : 0;
}

/* Under uplink.lock. A descriptor that comes along is *fd. -EPIPE: the parent is gone. */
static int
ask(struct uvp_heir_msg *m, int with_fd, int *fd)
{
	union fd_control control;
	struct iovec iov = {m, sizeof(*m)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	ssize_t r;
	int got;

	if (uplink.fd < 0)
		return -EPIPE;
	r = send_request(m, with_fd);
	if (r < 0)
		return -EPIPE;
	do
		r = uvs_syscall5(SYS_recvmsg, uplink.fd, (long)&msg, MSG_CMSG_CLOEXEC, 0, 0);
	while (r == -EINTR);
	if (r != sizeof(*m))
		return -EPIPE;
	got = fd_of(&msg);
	if (fd)
		*fd = got;
	else if (got >= 0)
		uvs_sys_close(got);
	return m->result;
}

/* ------------------------------------------------------------------------------------- taking */

/* All numbers of f become the kernel socket `fd`. Under f->lock. What the parent watched it with is
 * the parent's. */
static int
become(struct uvp_file *f, int fd)
{
	uvp_epoll_socket_gone(f);
	R(fcntl)(fd, F_SETFL, O_RDWR | atomic_load(&f->flags));
	atomic_store_explicit(&f->state, UVP_KERNEL, memory_order_release);
	return uvp_hand_to_kernel(f, uvs_fd_adopt(fd));
}

static int
take(struct uvp_file *f)
{
	struct uvp_heir_msg m = {.op = UVP_HEIR_TAKE, .id = f->ino};
	int r, fd = -1, half = uvp_state(f) == UVP_BOTH ? uvp_any_number(f) : -1;

	pthread_mutex_lock(&uplink.lock);
	r = f->epoch == uplink.epoch ? ask(&m, half, &fd) : -EBADF;
	pthread_mutex_unlock(&uplink.lock);
	if (r < 0)
		return r;
	return fd < 0 ? -EBADF : become(f, fd);
}

/* -UVP_AGAIN, -EBADF. */
static int
inherit_locked(struct uvp_file *f)
{
	int r;

	if (!uvp_dead(f) || uvp_state(f) == UVP_KERNEL)
		return -UVP_AGAIN; /* another thread was faster */
	r = take(f);
	return r < 0 ? -EBADF : -UVP_AGAIN;
}

int
uvp_inherit(struct uvp_file *f)
{
	int r;

	if (!uvp_heir)
		return -EBADF;
	uvp_self.depth++;
	pthread_mutex_lock(&f->lock);
	r = inherit_locked(f);
	pthread_mutex_unlock(&f->lock);
	uvp_leave();
	return r;
}

void
uvp_inherit_closed(const struct uvp_file *f)
{
	struct uvp_heir_msg m = {.op = UVP_HEIR_RELEASE, .id = f->ino};

	if (!uvp_heir)
		return;
	pthread_mutex_lock(&uplink.lock);
	if (uplink.fd >= 0 && f->epoch == uplink.epoch)
		send_request(&m, -1);
	pthread_mutex_unlock(&uplink.lock);
}

/* Those that `wanted` says. */
static void
take_all(bool (*wanted)(int fd))
{
	int fd, top = uvp_heir ? uvp_highest_number() : -1;

	for (fd = 0; fd <= top; fd++) {
		struct uvp_file *f = uvp_get(fd);

		if (!f)
			continue;
		if (f->kind == UVP_SOCKET && uvp_dead(f) && wanted(fd))
			uvp_inherit(f);
		uvp_put(f);
	}
}

static bool
survives_exec(int fd)
{
	int flags = R(fcntl)(fd, F_GETFD);

	return flags >= 0 && !(flags & FD_CLOEXEC);
}

void
uvp_inherit_exec(void)
{
	take_all(survives_exec);
}

static bool
any(int fd)
{
	(void)fd;
	return true;
}

void
uvp_uplink_prepare(void)
{
	take_all(any);
	pthread_mutex_lock(&uplink.lock);
}

void
uvp_uplink_parent(void)
{
	pthread_mutex_unlock(&uplink.lock);
}

void
uvp_uplink_child(int fd)
{
	if (uplink.fd >= 0)
		uvs_fd_close(uplink.fd);
	pthread_mutex_init(&uplink.lock, NULL);
	uplink.fd = fd;
	uplink.epoch = atomic_load(&uvp_epoch) - 1;
	uvp_heir = fd >= 0;
}

/* ---------------------------------------------------------------------- calls on what was given */

static int
put_addr(const struct sockaddr_storage *ss, socklen_t has, struct sockaddr *addr, socklen_t *len)
{
	if (!addr || !len)
		return 0;
	memcpy(addr, ss, *len < has ? *len : has);
	*len = has;
	return 0;
}

int
uvp_passed_getname(int fd, bool peer, struct sockaddr *addr, socklen_t *len, int r)
{
	struct uvp_passed_name n;

	if (uvp_likely(r < 0 || !len || *len < sizeof(sa_family_t) || addr->sa_family != AF_UNIX))
		return r;
	if (!uvp_passed_name(fd, peer, &n))
		return r;
	return put_addr(&n.addr, n.len, addr, len);
}

/* A message of a listener's pair is a connection. */
int
uvp_passed_accept(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	struct uvp_passed_name name;
	struct uvp_heir_conn c;
	union fd_control control;
	struct iovec iov = {&c, sizeof(c)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	ssize_t r;
	int got;

	if (!uvp_passed_name(fd, false, &name) || name.kind != UVP_PASSED_LISTENER)
		return -1; /* with the errno of the kernel's accept() */
	if (flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC))
		return (int)uvp_ret(-EINVAL);
	r = R(recvmsg)(fd, &msg, flags & SOCK_CLOEXEC ? MSG_CMSG_CLOEXEC : 0);
	if (r < 0)
		return -1;
	got = fd_of(&msg);
	if (r != sizeof(c) || c.len > sizeof(c.peer) || got < 0)
		return (int)uvp_ret(msg.msg_flags & MSG_CTRUNC ? -EMFILE : -EINVAL);
	if (flags & SOCK_NONBLOCK)
		R(fcntl)(got, F_SETFL, O_RDWR | O_NONBLOCK);
	put_addr(&c.peer, c.len, addr, len);
	return uvp_opened(got);
}

static int
option_of_parent(uint32_t op, const struct uvp_passed_name *n, struct uvp_heir_msg *m)
{
	int r;

	m->op = op;
	m->id = n->id;
	pthread_mutex_lock(&uplink.lock);
	r = ask(m, -1, NULL);
	pthread_mutex_unlock(&uplink.lock);
	return r == -EPIPE ? -ENOPROTOOPT : r;
}

/* Is it worth a look whether this is a socket that was passed on? For the options of TCP and IP
 * the kernel says so itself. */
static bool
option_odd(int level, int name, int r)
{
	if (level != SOL_SOCKET)
		return r < 0 && errno == EOPNOTSUPP;
	return name == SO_DOMAIN || name == SO_PROTOCOL || name == SO_ACCEPTCONN ||
	       (uvp_heir && (name == SO_KEEPALIVE || name == SO_LINGER));
}

/* Those of the socket's kind, for which nobody has to be asked. -ENOENT: another one. */
static int
option_of_kind(const struct uvp_passed_name *n, int level, int name)
{
	if (level != SOL_SOCKET)
		return -ENOENT;
	switch (name) {
	case SO_ACCEPTCONN:
		return n->kind == UVP_PASSED_LISTENER;
	case SO_DOMAIN:
		return n->addr.ss_family;
	case SO_PROTOCOL:
		return IPPROTO_TCP;
	default:
		return -ENOENT;
	}
}

static int
put_option(const void *from, socklen_t has, void *val, socklen_t *len)
{
	if (*len > has)
		*len = has;
	memcpy(val, from, *len);
	return 0;
}

int
uvp_passed_getsockopt(int fd, int level, int name, void *val, socklen_t *len, int r)
{
	struct uvp_heir_msg m = {.level = level, .name = name};
	struct uvp_passed_name n;
	int value;

	if (uvp_likely(!option_odd(level, name, r)) || !uvp_passed_name(fd, false, &n))
		return r;
	value = option_of_kind(&n, level, name);
	if (value >= 0)
		return put_option(&value, sizeof(value), val, len);
	m.len = *len < sizeof(m.val) ? *len : sizeof(m.val);
	r = option_of_parent(UVP_HEIR_GETOPT, &n, &m);
	return r < 0 || m.len > sizeof(m.val) ? (int)uvp_ret(r)
					      : put_option(m.val, m.len, val, len);
}

int
uvp_passed_setsockopt(int fd, int level, int name, const void *val, socklen_t len, int r)
{
	struct uvp_heir_msg m = {.level = level, .name = name, .len = len};
	struct uvp_passed_name n;

	if (uvp_likely(!option_odd(level, name, r)) || len > sizeof(m.val) || !val ||
	    !uvp_passed_name(fd, false, &n))
		return r;
	memcpy(m.val, val, len);
	return (int)uvp_ret(option_of_parent(UVP_HEIR_SETOPT, &n, &m));
}
