/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Moving data. All the calls come down to uvp_recvmsg() and uvp_sendmsg() on a file.
 */
#include "stack/posix/inherit.h"

#include <netinet/in.h>

#define COPY_CHUNK 65536

static const struct timespec zero;

/* ------------------------------------------------------------------------------------ receiving */

struct recv_arg {
	struct msghdr *msg;
	int fd, flags;
	size_t want; /* MSG_WAITALL on a stream: not before so many, or the end */
	size_t got;
	struct iovec *iov; /* what is left to fill */
	size_t iovcnt;
};

static size_t
iov_total(const struct iovec *iov, size_t n)
{
	size_t i, total = 0;

	for (i = 0; i < n; i++)
		total += iov[i].iov_len;
	return total;
}

static void
iov_advance(struct iovec **iov, size_t *n, size_t by)
{
	while (*n > 0 && by >= (*iov)->iov_len) {
		by -= (*iov)->iov_len;
		(*iov)++;
		(*n)--;
	}
	if (*n > 0) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + by;
		(*iov)->iov_len -= by;
	}
}

static ssize_t
recv_kernel_half(struct recv_arg *a)
{
	return uvs_syscall5(SYS_recvmsg, a->fd, (long)a->msg, a->flags | MSG_DONTWAIT, 0, 0);
}

static ssize_t
op_recv(struct uvp_file *f, void *arg)
{
	struct recv_arg *a = arg;
	struct msghdr saved = *a->msg;
	bool both = uvp_state(f) == UVP_BOTH && f->type != SOCK_STREAM;
	bool kernel_first = both && atomic_exchange(&f->kernel_first, false);
	ssize_t r;

	if (kernel_first) {
		r = recv_kernel_half(a);
		if (r != -EAGAIN)
			return r;
		*a->msg = saved;
	}
	r = UVP_IN(uvs_sock_recvmsg(f->sock, a->msg, a->flags));
	if (!both || r != -EAGAIN) {
		if (both)
			atomic_store(&f->kernel_first, true);
		return r;
	}
	*a->msg = saved;
	return kernel_first ? r : recv_kernel_half(a);
}

/* MSG_WAITALL on a stream: keeps what came, goes on waiting for the rest. */
static ssize_t
op_recv_all(struct uvp_file *f, void *arg)
{
	struct recv_arg *a = arg;
	struct msghdr part;
	ssize_t r;

	for (;;) {
		part = *a->msg;
		part.msg_iov = a->iov;
		part.msg_iovlen = a->iovcnt;
		r = UVP_IN(uvs_sock_recvmsg(f->sock, &part, a->flags));
		if (r <= 0)
			break;
		a->got += (size_t)r;
		a->msg->msg_namelen = part.msg_namelen;
		a->msg->msg_flags = part.msg_flags;
		iov_advance(&a->iov, &a->iovcnt, (size_t)r);
		if (a->got >= a->want)
			return (ssize_t)a->got;
	}
	if (r == -EAGAIN)
		return r;
	return a->got > 0 ? (ssize_t)a->got : r;
}

/* MSG_PEEK with MSG_WAITALL: look, take nothing, until all of it is there or no more will come. */
static ssize_t
op_peek_all(struct uvp_file *f, void *arg)
{
	struct recv_arg *a = arg;
	struct msghdr part = *a->msg;
	ssize_t r = UVP_IN(uvs_sock_recvmsg(f->sock, &part, a->flags));

	if (r > 0 && (size_t)r < a->want &&
	    !(uvs_sock_events(f->sock) & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))) {
		a->got = (size_t)r;
		return -EAGAIN;
	}
	a->msg->msg_namelen = part.msg_namelen;
	a->msg->msg_flags = part.msg_flags;
	return r;
}

static ssize_t
recv_waitall(struct uvp_file *f, struct recv_arg *a)
{
	struct iovec local[8], *copy = local;
	size_t n = a->msg->msg_iovlen;
	ssize_t r;

	a->want = iov_total(a->msg->msg_iov, n);
	if (n > sizeof(local) / sizeof(local[0])) {
		copy = malloc(n * sizeof(*copy));
		if (!copy)
			return -ENOMEM;
	}
	memcpy(copy, a->msg->msg_iov, n * sizeof(*copy));
	a->iov = copy;
	a->iovcnt = n;
	r = uvp_run(f, false, POLLIN, -1, a->flags & MSG_PEEK ? op_peek_all : op_recv_all, a);
	/* A timeout or a signal: what is there already is the answer. */
	if (r < 0 && a->got > 0)
		r = (ssize_t)a->got;
	if (copy != local)
		free(copy);
	return r;
}

/* Never bound: nothing will come, unless another thread gives it an address meanwhile, for which we
 * look now and then. */
#define LOOK_NS 50000000u

static ssize_t
recv_undecided(struct uvp_file *f, int fd, bool nonblock)
{
	struct timeval tv = {0};
	socklen_t len = sizeof(tv);
	uint64_t end = UVP_FOREVER, now;
	int r;

	if (f->type == SOCK_STREAM)
		return -ENOTCONN;
	if (nonblock)
		return -EAGAIN;
	uvp_opt_get(f, fd, SOL_SOCKET, SO_RCVTIMEO, &tv, &len);
	if (tv.tv_sec != 0 || tv.tv_usec != 0)
		end = uvp_now() + (uint64_t)tv.tv_sec * 1000000000u + (uint64_t)tv.tv_usec * 1000u;
	while (uvp_state(f) == UVP_UNDECIDED) {
		now = uvp_now();
		if (now >= end)
			return -EAGAIN;
		r = uvp_poll(NULL, 0, now + (end - now < LOOK_NS ? end - now : LOOK_NS), NULL);
		if (r == -EINTR && end == UVP_FOREVER)
			r = uvp_sig_interrupted();
		if (r < 0)
			return r;
	}
	return -UVP_AGAIN;
}

ssize_t
uvp_recvmsg(struct uvp_file *f, int fd, struct msghdr *msg, int flags)
{
	bool nonblock = uvp_nonblock(f) || (flags & (MSG_DONTWAIT | MSG_ERRQUEUE));
	struct recv_arg a = {.msg = msg, .fd = fd, .flags = flags & ~(MSG_DONTWAIT | MSG_WAITALL)};
	enum uvp_state state = uvp_state(f);

	if (f->kind != UVP_SOCKET)
		return -ENOTSOCK;
	if (uvp_dead(f))
		return uvp_inherit(f);
	if (state == UVP_UNDECIDED)
		return recv_undecided(f, fd, nonblock);
	if (state == UVP_KERNEL)
		return -UVP_AGAIN;
	if ((flags & MSG_WAITALL) && f->type == SOCK_STREAM && !nonblock)
		return recv_waitall(f, &a);
	return uvp_run(f, nonblock, POLLIN, state == UVP_BOTH && f->type != SOCK_STREAM ? fd : -1,
		       op_recv, &a);
}

/* -------------------------------------------------------------------------------------- sending */

struct send_arg {
	const struct msghdr *msg;
	int flags;
	size_t sent;
	struct iovec *iov;
	size_t iovcnt;
};

static ssize_t
op_send(struct uvp_file *f, void *arg)
{
	struct send_arg *a = arg;

	return UVP_IN(uvs_sock_sendmsg(f->sock, a->msg, a->flags));
}

/* A blocking send on a stream returns when everything is taken. */
static ssize_t
op_send_all(struct uvp_file *f, void *arg)
{
	struct send_arg *a = arg;
	struct msghdr part = *a->msg;
	ssize_t r;

	for (;;) {
		part.msg_iov = a->iov;
		part.msg_iovlen = a->iovcnt;
		r = UVP_IN(uvs_sock_sendmsg(f->sock, &part, a->flags));
		if (r < 0)
			return r;
		a->sent += (size_t)r;
		iov_advance(&a->iov, &a->iovcnt, (size_t)r);
		if (a->iovcnt == 0)
			return (ssize_t)a->sent;
		if (r == 0)
			return -EAGAIN;
		part.msg_control = NULL;
		part.msg_controllen = 0;
	}
}

static ssize_t
send_stream(struct uvp_file *f, struct send_arg *a)
{
	struct iovec local[8], *copy = local;
	size_t n = a->msg->msg_iovlen;
	ssize_t r = op_send(f, a);

	if (r < 0 && r != -EAGAIN)
		return r;
	if (r >= 0 && (size_t)r >= iov_total(a->msg->msg_iov, n))
		return r;
	if (n > sizeof(local) / sizeof(local[0])) {
		copy = malloc(n * sizeof(*copy));
		if (!copy)
			return r > 0 ? r : -ENOMEM;
	}
	memcpy(copy, a->msg->msg_iov, n * sizeof(*copy));
	a->iov = copy;
	a->iovcnt = n;
	if (r > 0) {
		a->sent = (size_t)r;
		iov_advance(&a->iov, &a->iovcnt, (size_t)r);
	}
	r = uvp_run(f, false, POLLOUT, -1, op_send_all, a);
	if (r < 0 && a->sent > 0)
		r = (ssize_t)a->sent;
	if (copy != local)
		free(copy);
	return r;
}

static bool
to_kernel_side(const struct msghdr *msg)
{
	return UVP_IN(uvs_route_remote(msg->msg_name, msg->msg_namelen)) != UVS_ROUTE_STACK;
}

static ssize_t
send_undecided(struct uvp_file *f, int fd, const struct msghdr *msg, int flags)
{
	int r;

	if (f->type == SOCK_STREAM && !(flags & MSG_FASTOPEN))
		return -EPIPE;
	if (!msg->msg_name)
		return f->type == SOCK_STREAM ? -EINVAL : -EDESTADDRREQ;
	if (to_kernel_side(msg)) {
		r = uvp_to_kernel(f);
		return r < 0 ? r : -UVP_AGAIN;
	}
	if (f->type == SOCK_STREAM)
		return -EOPNOTSUPP;
	r = uvp_to_stack(f);
	return r < 0 ? r : uvp_sendmsg(f, fd, msg, flags);
}

static ssize_t
send_both(struct uvp_file *f, int fd, const struct msghdr *msg, int flags)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	struct send_arg a = {.msg = msg, .flags = flags & ~MSG_DONTWAIT};
	bool nonblock = uvp_nonblock(f) || (flags & MSG_DONTWAIT);
	ssize_t r;

	if (f->type == SOCK_STREAM)
		return -EPIPE;
	if (!msg->msg_name)
		return -EDESTADDRREQ;
	if (!to_kernel_side(msg))
		return uvp_run(f, nonblock, POLLOUT, -1, op_send, &a);
	for (;;) {
		r = uvs_syscall5(SYS_sendmsg, fd, (long)msg, flags | MSG_DONTWAIT, 0, 0);
		if (r != -EAGAIN || nonblock)
			return r;
		r = uvp_poll(&p, 1, UVP_FOREVER, NULL);
		if (r < 0)
			return r;
	}
}

static ssize_t
send_stack(struct uvp_file *f, const struct msghdr *msg, int flags)
{
	bool nonblock = uvp_nonblock(f) || (flags & MSG_DONTWAIT);
	struct send_arg a = {.msg = msg, .flags = flags & ~(MSG_DONTWAIT | MSG_NOSIGNAL)};

	if (f->type == SOCK_STREAM && !nonblock)
		return send_stream(f, &a);
	return uvp_run(f, nonblock, POLLOUT, -1, op_send, &a);
}

ssize_t
uvp_sendmsg(struct uvp_file *f, int fd, const struct msghdr *msg, int flags)
{
	ssize_t r;

	if (f->kind != UVP_SOCKET)
		return -ENOTSOCK;
	if (uvp_dead(f))
		return uvp_inherit(f);
	switch (uvp_state(f)) {
	case UVP_UNDECIDED:
		r = send_undecided(f, fd, msg, flags);
		break;
	case UVP_STACK:
		r = send_stack(f, msg, flags);
		break;
	case UVP_BOTH:
		r = send_both(f, fd, msg, flags);
		break;
	default:
		return -UVP_AGAIN;
	}
	if (r == -EPIPE && f->type == SOCK_STREAM && !(flags & MSG_NOSIGNAL))
		pthread_kill(pthread_self(), SIGPIPE);
	return r;
}

/* ----------------------------------------------------------------------------- read, recv, ... */

static ssize_t
file_recv(struct uvp_file *f, int fd, void *buf, size_t n, int flags)
{
	struct iovec iov = {.iov_base = buf, .iov_len = n};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	return uvp_recvmsg(f, fd, &msg, flags);
}

static ssize_t
file_send(struct uvp_file *f, int fd, const void *buf, size_t n, int flags)
{
	struct iovec iov = {.iov_base = (void *)buf, .iov_len = n};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	return uvp_sendmsg(f, fd, &msg, flags);
}

/* read() and write() differ from recv() and send(): on an epoll descriptor, and of nothing. */
static ssize_t
file_read(struct uvp_file *f, int fd, void *buf, size_t n)
{
	if (f->kind != UVP_SOCKET)
		return -EINVAL;
	return n > 0 || uvp_dead(f) ? file_recv(f, fd, buf, n, 0) : 0;
}

static ssize_t
file_write(struct uvp_file *f, int fd, const void *buf, size_t n)
{
	return f->kind == UVP_SOCKET ? file_send(f, fd, buf, n, 0) : -EINVAL;
}

UVP_EXPORT ssize_t
read(int fd, void *buf, size_t n)
{
	UVP_ON(fd, R(read)(fd, buf, n), file_read(f, fd, buf, n));
}

UVP_EXPORT ssize_t
write(int fd, const void *buf, size_t n)
{
	UVP_ON(fd, R(write)(fd, buf, n), file_write(f, fd, buf, n));
}

static ssize_t
file_readv(struct uvp_file *f, int fd, const struct iovec *iov, int cnt)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)cnt};

	if (f->kind != UVP_SOCKET || cnt < 0 || cnt > IOV_MAX)
		return -EINVAL;
	if (iov_total(iov, (size_t)cnt) == 0 && !uvp_dead(f))
		return 0;
	return uvp_recvmsg(f, fd, &msg, 0);
}

static ssize_t
file_writev(struct uvp_file *f, int fd, const struct iovec *iov, int cnt)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)cnt};

	if (f->kind != UVP_SOCKET || cnt < 0 || cnt > IOV_MAX)
		return -EINVAL;
	return uvp_sendmsg(f, fd, &msg, 0);
}

UVP_EXPORT ssize_t
readv(int fd, const struct iovec *iov, int cnt)
{
	UVP_ON(fd, R(readv)(fd, iov, cnt), file_readv(f, fd, iov, cnt));
}

UVP_EXPORT ssize_t
writev(int fd, const struct iovec *iov, int cnt)
{
	UVP_ON(fd, R(writev)(fd, iov, cnt), file_writev(f, fd, iov, cnt));
}

/* With offset -1 these are readv and writev with flags, which sockets accept. */
UVP_EXPORT ssize_t
preadv2(int fd, const struct iovec *iov, int cnt, off_t off, int flags)
{
	UVP_ON(off == -1 ? fd : -1, R(preadv2)(fd, iov, cnt, off, flags),
	       flags & ~RWF_NOWAIT ? -EOPNOTSUPP : file_readv(f, fd, iov, cnt));
}

UVP_EXPORT ssize_t
pwritev2(int fd, const struct iovec *iov, int cnt, off_t off, int flags)
{
	UVP_ON(off == -1 ? fd : -1, R(pwritev2)(fd, iov, cnt, off, flags),
	       flags & ~RWF_NOWAIT ? -EOPNOTSUPP : file_writev(f, fd, iov, cnt));
}

UVP_EXPORT ssize_t
recv(int fd, void *buf, size_t n, int flags)
{
	UVP_ON(fd, R(recv)(fd, buf, n, flags), file_recv(f, fd, buf, n, flags));
}

UVP_EXPORT ssize_t
send(int fd, const void *buf, size_t n, int flags)
{
	UVP_ON(fd, R(send)(fd, buf, n, flags), file_send(f, fd, buf, n, flags));
}

static ssize_t
file_recvfrom(struct uvp_file *f, int fd, struct iovec iov, int flags, struct sockaddr *addr,
	      socklen_t *len)
{
	struct sockaddr_storage ss;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t r;

	if (addr) {
		msg.msg_name = &ss;
		msg.msg_namelen = sizeof(ss);
	}
	r = uvp_recvmsg(f, fd, &msg, flags);
	if (r >= 0 && addr && len) {
		memcpy(addr, &ss, *len < msg.msg_namelen ? *len : msg.msg_namelen);
		*len = msg.msg_namelen;
	}
	return r;
}

UVP_EXPORT ssize_t
recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len)
{
	UVP_ON(fd, R(recvfrom)(fd, buf, n, flags, addr, len),
	       file_recvfrom(f, fd, (struct iovec){buf, n}, flags, addr, len));
}

static ssize_t
file_sendto(struct uvp_file *f, int fd, struct iovec iov, int flags, const struct sockaddr *addr,
	    socklen_t len)
{
	struct msghdr msg = {.msg_name = (void *)addr,
			     .msg_namelen = addr ? len : 0,
			     .msg_iov = &iov,
			     .msg_iovlen = 1};

	return uvp_sendmsg(f, fd, &msg, flags);
}

UVP_EXPORT ssize_t
sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr, socklen_t len)
{
	UVP_ON(fd, R(sendto)(fd, buf, n, flags, addr, len),
	       file_sendto(f, fd, (struct iovec){(void *)buf, n}, flags, addr, len));
}

/* Descriptors that came along with SCM_RIGHTS. */
static void
received_numbers(struct msghdr *msg)
{
	struct cmsghdr *c;

	if (!msg->msg_control || uvp_table_size == 0)
		return;
	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		int *fds = (int *)CMSG_DATA(c);
		size_t i, n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (i = 0; i < n; i++)
			fds[i] = uvp_opened(fds[i]);
	}
}

static ssize_t
kernel_recvmsg(int fd, struct msghdr *msg, int flags)
{
	ssize_t r = R(recvmsg)(fd, msg, flags);

	if (r >= 0)
		received_numbers(msg);
	return r;
}

UVP_EXPORT ssize_t
recvmsg(int fd, struct msghdr *msg, int flags)
{
	UVP_ON(fd, kernel_recvmsg(fd, msg, flags),
	       msg->msg_iovlen > IOV_MAX ? -EMSGSIZE : uvp_recvmsg(f, fd, msg, flags));
}

/* A socket of the stack is not something another process could receive. */
static bool
sends_ours(const struct msghdr *msg)
{
	struct cmsghdr *c;

	if (!msg->msg_control || uvp_table_size == 0 || uvp_inside())
		return false;
	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR((struct msghdr *)msg, c)) {
		const int *fds = (const int *)CMSG_DATA(c);
		size_t i, n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (i = 0; i < n; i++) {
			struct uvp_file *f = uvp_get(fds[i]);
			bool stack = f && f->kind == UVP_SOCKET && uvp_state(f) != UVP_KERNEL;

			if (f)
				uvp_put(f);
			if (stack)
				return true;
		}
	}
	return false;
}

static ssize_t
kernel_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	if (uvp_unlikely(sends_ours(msg)))
		uvp_log_once("a socket of the stack is passed to another process (SCM_RIGHTS): the "
			     "receiver gets an unconnected socket");
	return R(sendmsg)(fd, msg, flags);
}

UVP_EXPORT ssize_t
sendmsg(int fd, const struct msghdr *msg, int flags)
{
	UVP_ON(fd, kernel_sendmsg(fd, msg, flags),
	       msg->msg_iovlen > IOV_MAX ? -EMSGSIZE : uvp_sendmsg(f, fd, msg, flags));
}

/* Only the stack's, and nothing that would have to be asked of the kernel as well. */
static bool
in_batches(const struct uvp_file *f)
{
	return f->kind == UVP_SOCKET && f->type != SOCK_STREAM && !uvp_dead(f) &&
	       uvp_state(f) == UVP_STACK;
}

/* What is there at once, or, waiting for it, one. Number or -errno. */
static int
recv_some(struct uvp_file *f, int fd, struct mmsghdr *v, unsigned int n, int flags)
{
	ssize_t r = -EAGAIN;

	if (in_batches(f))
		r = UVP_IN(uvs_sock_recvmmsg(f->sock, v, n, flags & ~(MSG_DONTWAIT | MSG_WAITALL)));
	if (r != -EAGAIN)
		return (int)r;
	r = uvp_recvmsg(f, fd, &v->msg_hdr, flags);
	if (r < 0)
		return (int)r;
	v->msg_len = (unsigned int)r;
	return 1;
}

static int
file_recvmmsg(struct uvp_file *f, int fd, struct mmsghdr *v, unsigned int n, int flags,
	      const struct timespec *timeout)
{
	uint64_t deadline;
	unsigned int done = 0;
	int r = uvp_deadline_ts(timeout, &deadline), more = flags & ~MSG_WAITFORONE;

	while (r >= 0 && done < n) {
		r = recv_some(f, fd, v + done, n - done, more);
		if (r < 0)
			break;
		done += (unsigned int)r;
		if (flags & MSG_WAITFORONE)
			more |= MSG_DONTWAIT;
		if (deadline != UVP_FOREVER && uvp_now() >= deadline)
			break;
	}
	return done > 0 ? (int)done : r;
}

UVP_EXPORT int
recvmmsg(int fd, struct mmsghdr *v, unsigned int n, int flags, struct timespec *timeout)
{
	UVP_ON(fd, R(recvmmsg)(fd, v, n, flags, timeout),
	       file_recvmmsg(f, fd, v, n > IOV_MAX ? IOV_MAX : n, flags, timeout));
}

static int
send_some(struct uvp_file *f, int fd, struct mmsghdr *v, unsigned int n, int flags)
{
	ssize_t r = -EAGAIN;

	if (in_batches(f))
		r = UVP_IN(
			uvs_sock_sendmmsg(f->sock, v, n, flags & ~(MSG_DONTWAIT | MSG_NOSIGNAL)));
	if (r != -EAGAIN)
		return (int)r;
	r = uvp_sendmsg(f, fd, &v->msg_hdr, flags);
	if (r < 0)
		return (int)r;
	v->msg_len = (unsigned int)r;
	return 1;
}

static int
file_sendmmsg(struct uvp_file *f, int fd, struct mmsghdr *v, unsigned int n, int flags)
{
	unsigned int done = 0;
	int r = 0;

	while (done < n) {
		r = send_some(f, fd, v + done, n - done, flags);
		if (r < 0)
			break;
		done += (unsigned int)r;
	}
	return done > 0 ? (int)done : r;
}

UVP_EXPORT int
sendmmsg(int fd, struct mmsghdr *v, unsigned int n, int flags)
{
	UVP_ON(fd, R(sendmmsg)(fd, v, n, flags),
	       file_sendmmsg(f, fd, v, n > IOV_MAX ? IOV_MAX : n, flags));
}

/* ----------------------------------------------------------------------------- sendfile, splice */

/* Push all of it, however the socket blocks: the source has been consumed. */
static ssize_t
push_all(struct uvp_file *f, int fd, const char *buf, size_t n)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	size_t done = 0;
	ssize_t r;

	while (done < n) {
		r = file_send(f, fd, buf + done, n - done, 0);
		if (r == -EAGAIN || r == -EINTR) {
			uvp_poll(&p, 1, UVP_FOREVER, NULL);
			continue;
		}
		if (r < 0)
			return done > 0 ? (ssize_t)done : r;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

static ssize_t
sendfile_chunk(struct uvp_file *f, int out, int in, off_t *off, char *buf, size_t n)
{
	off_t pos = off ? *off : lseek(in, 0, SEEK_CUR);
	ssize_t got, sent;

	if (pos < 0)
		return -errno;
	got = R(pread)(in, buf, n, pos);
	if (got <= 0)
		return uvp_neg(got);
	sent = file_send(f, out, buf, (size_t)got, 0);
	if (sent <= 0)
		return sent;
	if (off)
		*off += sent;
	else
		lseek(in, pos + sent, SEEK_SET);
	return sent;
}

static ssize_t
file_sendfile(struct uvp_file *f, int out, int in, off_t *off, size_t n)
{
	char *buf;
	size_t done = 0;
	ssize_t r = 0;

	if (f->kind != UVP_SOCKET)
		return -EINVAL;
	buf = malloc(COPY_CHUNK);
	if (!buf)
		return -ENOMEM;
	while (done < n) {
		size_t part = n - done < COPY_CHUNK ? n - done : COPY_CHUNK;

		r = sendfile_chunk(f, out, in, off, buf, part);
		if (r <= 0)
			break;
		done += (size_t)r;
	}
	free(buf);
	return done > 0 ? (ssize_t)done : r;
}

static bool
stack_socket(int fd)
{
	struct uvp_file *f = uvp_get(fd);
	bool yes = f && f->kind == UVP_SOCKET;

	if (f)
		uvp_put(f);
	return yes;
}

UVP_EXPORT ssize_t
sendfile(int out, int in, off_t *off, size_t n)
{
	if (uvp_unlikely(stack_socket(in)))
		return uvp_ret(-EINVAL); /* only what can be mapped is a source */
	UVP_ON(out, R(sendfile)(out, in, off, n), file_sendfile(f, out, in, off, n));
}

UVP_EXPORT ssize_t
sendfile64(int out, int in, off64_t *off, size_t n)
{
	return sendfile(out, in, (off_t *)off, n);
}

static bool
is_pipe(int fd)
{
	struct stat st;

	return R(fstat)(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

/* SPLICE_F_NONBLOCK is about the pipe; whether the socket waits is its own O_NONBLOCK. */

/* The pipe is read no further than the socket can take without waiting, or all of it is pushed. */
static ssize_t
splice_to_socket(struct uvp_file *f, int in, int out, char *buf, size_t n, unsigned int flags)
{
	struct pollfd p = {.fd = out, .events = POLLOUT};
	struct pollfd q = {.fd = in, .events = POLLIN};
	ssize_t r;

	r = uvp_poll(&p, 1, uvp_nonblock(f) ? 0 : UVP_FOREVER, NULL);
	if (r <= 0)
		return r < 0 ? r : -EAGAIN;
	if ((flags & SPLICE_F_NONBLOCK) && uvs_sys_ppoll(&q, 1, &zero, NULL) == 0)
		return -EAGAIN;
	r = uvs_sys_read(in, buf, n);
	return r <= 0 ? r : push_all(f, out, buf, (size_t)r);
}

/* Peeked, written to the pipe, then taken: nothing is lost when the pipe is full. */
static ssize_t
splice_from_socket(struct uvp_file *f, int in, int out, char *buf, size_t n, unsigned int flags)
{
	struct pollfd q = {.fd = out, .events = POLLOUT};
	ssize_t r, w;

	if ((flags & SPLICE_F_NONBLOCK) && uvs_sys_ppoll(&q, 1, &zero, NULL) == 0)
		return -EAGAIN;
	r = file_recv(f, in, buf, n, MSG_PEEK);
	if (r <= 0)
		return r;
	if ((flags & SPLICE_F_NONBLOCK) && r > PIPE_BUF)
		r = PIPE_BUF; /* what a writable pipe takes without blocking */
	w = uvs_sys_write(out, buf, (size_t)r);
	return w <= 0 ? w : file_recv(f, in, buf, (size_t)w, MSG_DONTWAIT);
}

static ssize_t
splice_socket(struct uvp_file *f, int in, int out, bool from, bool offset, size_t n,
	      unsigned int flags)
{
	char *buf;
	ssize_t r;

	if (f->kind != UVP_SOCKET || offset || !is_pipe(from ? out : in))
		return -EINVAL;
	if (n == 0)
		return 0;
	if (n > COPY_CHUNK)
		n = COPY_CHUNK;
	buf = malloc(n);
	if (!buf)
		return -ENOMEM;
	r = from ? splice_from_socket(f, in, out, buf, n, flags)
		 : splice_to_socket(f, in, out, buf, n, flags);
	free(buf);
	return r;
}

static ssize_t
splice_to(int in, off64_t *off_in, int out, off64_t *off_out, size_t n, unsigned int flags)
{
	UVP_ON(out, R(splice)(in, off_in, out, off_out, n, flags),
	       splice_socket(f, in, out, false, off_out, n, flags));
}

UVP_EXPORT ssize_t
splice(int in, off64_t *off_in, int out, off64_t *off_out, size_t n, unsigned int flags)
{
	UVP_ON(in, splice_to(in, off_in, out, off_out, n, flags),
	       splice_socket(f, in, out, true, off_in, n, flags));
}
