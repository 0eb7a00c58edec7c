/* SPDX-License-Identifier: BSD-3-Clause
 *
 * select and pselect, as a poll of the members. Sets larger than FD_SETSIZE work: their words are
 * read and written as the caller laid them out.
 */
#include "stack/posix/inherit.h"

#include <time.h>

#define BITS      (8 * sizeof(unsigned long))
#define ON_STACK  64
#define READ_SET  (POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR)
#define WRITE_SET (POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR)
#define EX_SET    POLLPRI

struct sets {
	unsigned long *in, *out, *ex;
};

static bool
has(const unsigned long *set, int fd)
{
	return set && (set[(unsigned int)fd / BITS] >> ((unsigned int)fd % BITS) & 1);
}

static void
add(unsigned long *set, int fd)
{
	set[(unsigned int)fd / BITS] |= 1ul << ((unsigned int)fd % BITS);
}

static short
wanted(const struct sets *s, int fd)
{
	return (short)((has(s->in, fd) ? POLLIN | POLLRDNORM | POLLRDBAND : 0) |
		       (has(s->out, fd) ? POLLOUT | POLLWRNORM | POLLWRBAND : 0) |
		       (has(s->ex, fd) ? POLLPRI : 0));
}

static nfds_t
gather(const struct sets *s, int n, struct pollfd *fds)
{
	nfds_t count = 0;
	int fd;

	for (fd = 0; fd < n; fd++) {
		short events = wanted(s, fd);

		if (events == 0)
			continue;
		if (fds)
			fds[count] = (struct pollfd){.fd = fd, .events = events};
		count++;
	}
	return count;
}

static void
clear(unsigned long *set, int n)
{
	if (set)
		memset(set, 0, ((size_t)n + BITS - 1) / BITS * sizeof(*set));
}

/* A descriptor in two sets counts twice. */
static int
scatter(const struct sets *s, int n, const struct pollfd *fds, nfds_t count)
{
	const struct {
		unsigned long *set;
		short mask, asked;
	} parts[] = {
		{s->in, READ_SET, POLLIN}, {s->out, WRITE_SET, POLLOUT}, {s->ex, EX_SET, POLLPRI}};
	int ready = 0;
	nfds_t i;
	size_t p;

	for (p = 0; p < 3; p++) {
		clear(parts[p].set, n);
		for (i = 0; i < count; i++) {
			if (!(fds[i].events & parts[p].asked) || !(fds[i].revents & parts[p].mask))
				continue;
			add(parts[p].set, fds[i].fd);
			ready++;
		}
	}
	return ready;
}

static int
run(const struct sets *s, int n, uint64_t deadline, const sigset_t *mask)
{
	struct pollfd local[ON_STACK], *fds = local;
	nfds_t count = gather(s, n, NULL), i;
	int r;

	if (count > ON_STACK) {
		fds = malloc(count * sizeof(*fds));
		if (!fds)
			return -ENOMEM;
	}
	gather(s, n, fds);
	do
		r = uvp_poll(fds, count, deadline, mask);
	while (r == -UVP_AGAIN);
	for (i = 0; i < count && r > 0; i++)
		if (fds[i].revents & POLLNVAL)
			r = -EBADF;
	if (r >= 0)
		r = scatter(s, n, fds, count);
	if (fds != local)
		free(fds);
	return r;
}

/* Nothing of the stack in the sets, and no stack to drive while waiting. */
static bool
kernel_only(const struct timespec *timeout)
{
	return uvp_table_size == 0 || uvp_inside() ||
	       !(uvs_stack_running() || uvp_heir || uvp_time_joins(timeout));
}

static int
run_checked(int n, fd_set *in, fd_set *out, fd_set *ex, uint64_t deadline, const sigset_t *mask)
{
	struct sets s = {(unsigned long *)in, (unsigned long *)out, (unsigned long *)ex};

	if (n < 0)
		return -EINVAL;
	if ((unsigned int)n > uvp_table_size)
		n = (int)uvp_table_size;
	return run(&s, n, deadline, mask);
}

UVP_EXPORT int
select(int n, fd_set *in, fd_set *out, fd_set *ex, struct timeval *tv)
{
	struct timespec ts;
	uint64_t deadline = UVP_FOREVER, now;
	int r;

	if (tv)
		ts = (struct timespec){.tv_sec = tv->tv_sec + tv->tv_usec / 1000000,
				       .tv_nsec = tv->tv_usec % 1000000 * 1000};
	if (kernel_only(tv ? &ts : NULL))
		return UVP_REAL(R(select)(n, in, out, ex, tv));
	if (tv) {
		if (tv->tv_sec < 0 || tv->tv_usec < 0)
			return (int)uvp_ret(-EINVAL);
		uvp_deadline_ts(&ts, &deadline);
	}
	r = run_checked(n, in, out, ex, deadline, NULL);
	if (tv) { /* Linux writes back what is left */
		now = deadline ? uvp_now() : 0;
		now = deadline > now ? deadline - now : 0;
		if (deadline != UVP_FOREVER) {
			tv->tv_sec = (time_t)(now / 1000000000u);
			tv->tv_usec = (suseconds_t)(now % 1000000000u / 1000u);
		}
	}
	return (int)uvp_ret(r);
}

UVP_EXPORT int
pselect(int n, fd_set *in, fd_set *out, fd_set *ex, const struct timespec *ts, const sigset_t *mask)
{
	uint64_t deadline;
	int r;

	if (kernel_only(ts))
		return UVP_REAL(R(pselect)(n, in, out, ex, ts, mask));
	r = uvp_deadline_ts(ts, &deadline);
	return (int)uvp_ret(r < 0 ? r : run_checked(n, in, out, ex, deadline, mask));
}
