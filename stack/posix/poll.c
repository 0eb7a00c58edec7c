/* SPDX-License-Identifier: BSD-3-Clause
 *
 * poll and ppoll: look at everything once; if nothing is ready, put a watch on each socket of the
 * stack, look again, sleep on the watches and on the kernel descriptors together.
 */
#include "stack/posix/inherit.h"

#define ON_STACK 32

/* One descriptor of the set that is (also) the stack's. */
struct member {
	struct uvp_file *file;
	struct uvp_wake wake;
	unsigned int index; /* in the caller's array */
};

struct scan {
	struct pollfd *fds;
	nfds_t n;
	struct member *members; /* sockets of the stack */
	unsigned int nb_members;
	struct pollfd *kernel; /* what the kernel is asked; revents come back by index */
	unsigned int *kernel_index;
	unsigned int nb_kernel;
	struct member local_members[ON_STACK];
	struct pollfd local_kernel[ON_STACK];
	unsigned int local_index[ON_STACK];
};

static void
ask_kernel(struct scan *s, unsigned int i)
{
	s->kernel[s->nb_kernel] = s->fds[i];
	s->kernel[s->nb_kernel].revents = 0;
	s->kernel_index[s->nb_kernel++] = i;
}

static void
ask_stack(struct scan *s, unsigned int i, struct uvp_file *f)
{
	struct member *m = &s->members[s->nb_members++];

	m->file = f;
	m->index = i;
	m->wake.linked = false;
}

static void
classify(struct scan *s, unsigned int i)
{
	struct uvp_file *f;

	s->fds[i].revents = 0;
	if (s->fds[i].fd < 0)
		return;
	if (uvs_fd_internal(s->fds[i].fd)) {
		s->fds[i].revents = POLLNVAL;
		return;
	}
	f = uvp_get(s->fds[i].fd);
	if (f && f->kind == UVP_SOCKET && uvp_dead(f) && uvp_inherit(f) != -UVP_AGAIN &&
	    uvp_state(f) == UVP_STACK) {
		s->fds[i].revents = POLLNVAL;
		uvp_put(f);
		return;
	}
	if (f && f->kind == UVP_EPOLL)
		uvp_epoll_refresh(f, s->fds[i].fd);
	if (f && f->kind == UVP_SOCKET && !uvp_dead(f) &&
	    (uvp_state(f) == UVP_STACK || uvp_state(f) == UVP_BOTH)) {
		if (uvp_state(f) == UVP_BOTH)
			ask_kernel(s, i);
		ask_stack(s, i, f); /* keeps the reference */
		return;
	}
	ask_kernel(s, i);
	if (f)
		uvp_put(f);
}

static void
look_stack(struct scan *s)
{
	unsigned int i;

	for (i = 0; i < s->nb_members; i++) {
		struct pollfd *p = &s->fds[s->members[i].index];
		uint32_t want = (uint16_t)p->events | POLLERR | POLLHUP;

		/* The kernel half's part is or-ed in when results are counted. */
		p->revents = (short)(uvp_level(s->members[i].file) & want);
	}
}

static int
count_ready(struct scan *s)
{
	unsigned int i;
	int ready = 0;

	for (i = 0; i < s->nb_kernel; i++) {
		s->fds[s->kernel_index[i]].revents |= s->kernel[i].revents;
		s->kernel[i].revents = 0;
	}
	for (i = 0; i < s->n; i++)
		ready += s->fds[i].revents != 0;
	return ready;
}

/* Everything, without waiting. The mask counts only if nothing of the stack is ready, as in ppoll.
 */
static int
look_all(struct scan *s, const sigset_t *mask)
{
	static const struct timespec zero;
	int ready;

	look_stack(s);
	ready = count_ready(s);
	if (s->nb_kernel > 0 || (ready == 0 && mask)) {
		int r = uvs_sys_ppoll(s->kernel, s->nb_kernel, &zero, ready ? NULL : mask);

		if (r < 0)
			return ready ? ready : r;
		ready = count_ready(s);
	}
	return ready;
}

static int
sleep_scan(struct scan *s, struct uvs_waiter *waiter, uint64_t deadline, const sigset_t *mask)
{
	struct uvs_kwait k = {.fds = s->kernel, .nfds = s->nb_kernel, .sigmask = mask};
	int r, ready;

	for (;;) {
		look_stack(s);
		ready = count_ready(s);
		if (ready)
			return ready;
		r = UVP_IN(uvs_wait(waiter, &k, deadline));
		if (uvp_cancelled())
			return -UVP_AGAIN;
		if (r == -EINTR && uvp_sig_interrupted() == 0)
			continue;
		if (r <= 0) {
			look_stack(s);
			ready = count_ready(s);
			return ready ? ready : r;
		}
	}
}

static int
wait_scan(struct scan *s, uint64_t deadline, const sigset_t *mask)
{
	struct uvs_waiter *waiter = uvp_waiter();
	unsigned int i;
	int r;

	if (!waiter)
		return -ENOMEM;
	if (uvp_cancelled())
		return -UVP_AGAIN;
	for (i = 0; i < s->nb_members; i++) {
		struct member *m = &s->members[i];

		uvp_wake_add(&m->wake, m->file->sock, waiter, (uint16_t)s->fds[m->index].events);
	}
	r = sleep_scan(s, waiter, deadline, mask);
	for (i = 0; i < s->nb_members; i++)
		uvp_wake_del(&s->members[i].wake);
	return r;
}

static int
scan_alloc(struct scan *s, struct pollfd *fds, nfds_t n)
{
	s->fds = fds;
	s->n = n;
	s->nb_members = s->nb_kernel = 0;
	s->members = s->local_members;
	s->kernel = s->local_kernel;
	s->kernel_index = s->local_index;
	if (n <= ON_STACK)
		return 0;
	s->members =
		malloc(n * (sizeof(*s->members) + sizeof(*s->kernel) + sizeof(*s->kernel_index)));
	if (!s->members)
		return -ENOMEM;
	s->kernel = (struct pollfd *)(s->members + n);
	s->kernel_index = (unsigned int *)(s->kernel + n);
	return 0;
}

static void
scan_free(struct scan *s)
{
	unsigned int i;

	for (i = 0; i < s->nb_members; i++)
		uvp_put(s->members[i].file);
	if (s->members != s->local_members)
		free(s->members);
}

static int
poll_scan(struct scan *s, uint64_t deadline, const sigset_t *mask)
{
	unsigned int i;
	int r;

	for (i = 0; i < s->n; i++)
		classify(s, i);
	r = look_all(s, mask);
	if (r != 0 || deadline == 0) {
		if (r == 0 && uvs_stack_running()) {
			UVP_IN_VOID(uvs_progress());
			look_stack(s);
			r = count_ready(s);
		}
		return r;
	}
	return wait_scan(s, deadline, mask);
}

int
uvp_poll(struct pollfd *fds, nfds_t n, uint64_t deadline, const sigset_t *mask)
{
	struct scan s;
	int r;

	if (n > uvp_table_size)
		return -EINVAL;
	r = scan_alloc(&s, fds, n);
	if (r < 0)
		return r;
	uvp_hold();
	r = poll_scan(&s, deadline, mask);
	scan_free(&s);
	uvp_leave();
	return r;
}

/* Without a stack there is nothing to watch but what the kernel watches: placeholders of undecided
 * sockets answer poll() as the fresh sockets they are. */
static bool
kernel_only(const struct timespec *timeout)
{
	return uvp_table_size == 0 || uvp_inside() ||
	       !(uvs_stack_running() || uvp_heir || uvp_time_joins(timeout));
}

static int
poll_until(struct pollfd *fds, nfds_t n, uint64_t deadline, const sigset_t *mask)
{
	int r;

	do
		r = uvp_poll(fds, n, deadline, mask);
	while (r == -UVP_AGAIN);
	return (int)uvp_ret(r);
}

UVP_EXPORT int
poll(struct pollfd *fds, nfds_t n, int timeout)
{
	struct timespec ts = {.tv_sec = timeout / 1000, .tv_nsec = timeout % 1000 * 1000000l};

	if (kernel_only(timeout < 0 ? NULL : &ts))
		return UVP_REAL(R(poll)(fds, n, timeout));
	return poll_until(fds, n, uvp_deadline_ms(timeout), NULL);
}

UVP_EXPORT int
ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	uint64_t deadline;
	int r;

	if (kernel_only(timeout))
		return UVP_REAL(R(ppoll)(fds, n, timeout, mask));
	r = uvp_deadline_ts(timeout, &deadline);
	return r < 0 ? (int)uvp_ret(r) : poll_until(fds, n, deadline, mask);
}
