/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/core/sleep.h"
#include "stack/core/family.h"
#include "stack/core/sys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

int
uvs_sleep_begin(struct uvs_sleep *s, struct uvs_waiter *w, struct uvs_kwait *k, uint64_t deadline)
{
	static struct uvs_kwait none;

	s->w = w;
	s->k = k != NULL ? k : &none;
	s->deadline = deadline;
	s->fds = s->few;
	if (s->k->nfds > UVS_SLEEP_FEW)
		s->fds = malloc((s->k->nfds + UVS_SLEEP_PORTS + 1) * sizeof(s->fds[0]));
	return s->fds == NULL ? -ENOMEM : 0;
}

int
uvs_sleep_end(struct uvs_sleep *s, int r)
{
	if (s->fds != s->few)
		free(s->fds);
	return r;
}

int
uvs_sleep_look(struct uvs_sleep *s)
{
	static const struct timespec zero;
	int r;

	if (s->k->nfds == 0 && s->k->sigmask == NULL)
		return 0;
	r = uvs_sys_ppoll(s->k->fds, s->k->nfds, &zero, s->k->sigmask);

	if (r == -EINTR)
		return r;
	return r > 0 ? 2 : 0;
}

/* How long the kernel is to let us sleep. Virtual time is not its to know: look again soon. */
static uint64_t
sleep_ns(const struct uvs_sleep *s, uint64_t until)
{
	uint64_t ns = until > s->now ? until - s->now : 0;

	if (uvs_clock_is_virtual())
		return MIN(ns, UVS_VIRTUAL_LOOK_NS);
	return until == UINT64_MAX ? UINT64_MAX : ns;
}

int
uvs_sleep_in_kernel(struct uvs_sleep *s, const int *ports, unsigned int ports_n, uint64_t until)
{
	uint64_t ns = sleep_ns(s, until);
	struct timespec t = uvs_clock_timespec(ns);
	struct pollfd *f = s->fds;
	unsigned int n = 0;
	int r;

	f[n++] = (struct pollfd){.fd = s->w->efd, .events = POLLIN};
	for (unsigned int i = 0; i < ports_n; i++)
		f[n++] = (struct pollfd){.fd = ports[i], .events = POLLIN};
	if (s->k->nfds != 0)
		memcpy(f + n, s->k->fds, s->k->nfds * sizeof(*f));
	r = uvs_sys_ppoll(f, n + s->k->nfds, ns == UINT64_MAX ? NULL : &t, s->k->sigmask);
	s->now = uvs_clock_ns();
	if (r == -EINTR)
		return r;
	r = 0;
	for (unsigned int i = 0; i < s->k->nfds; i++) {
		s->k->fds[i].revents = f[n + i].revents;
		if (f[n + i].revents != 0)
			r = 2;
	}
	return r;
}

int
uvs_sleep_finished(struct uvs_sleep *s, int kernel)
{
	int r = kernel > 0 ? kernel : 0;

	if (uvs_waiter_take(s->w, UVS_W_WOKEN))
		return r | 1;
	if (kernel != UVS_SLEEP_AGAIN && kernel != 0)
		return kernel;
	if (uvs_waiter_take(s->w, UVS_W_INTERRUPTED))
		return -EINTR;
	return s->now >= s->deadline ? 0 : UVS_SLEEP_AGAIN;
}

int
uvs_sleep_for_kernel_only(struct uvs_sleep *s)
{
	int r = UVS_SLEEP_AGAIN;

	while (r == UVS_SLEEP_AGAIN) {
		int kernel = UVS_SLEEP_AGAIN;

		s->now = uvs_clock_ns();
		if (uvs_waiter_doze(s->w, UVS_W_WOKEN | UVS_W_INTERRUPTED)) {
			uvs_family_waits(s->deadline);
			kernel = uvs_sleep_in_kernel(s, NULL, 0, s->deadline);
			uvs_family_waits(UINT64_MAX);
			uvs_waiter_rouse(s->w);
			kernel = kernel == 0 ? UVS_SLEEP_AGAIN : kernel;
		}
		r = uvs_sleep_finished(s, kernel);
	}
	return r;
}

int
uvs_sleep_nested(struct uvs_sleep *s, void (*progress)(void))
{
	int r = UVS_SLEEP_AGAIN;

	while (r == UVS_SLEEP_AGAIN) {
		uint64_t until;

		if (progress != NULL)
			progress();
		s->now = uvs_clock_ns();
		until = MIN(s->deadline, s->now + UVS_NS_PER_MS);
		r = uvs_sleep_finished(s, uvs_sleep_in_kernel(s, NULL, 0, until));
	}
	__atomic_fetch_or(&s->w->state, UVS_W_WOKEN, __ATOMIC_SEQ_CST);
	return r;
}

/* ------------------------------------------------------------------------------------ the lot */

static void
unlink_waiter(struct uvs_waiter *w)
{
	if (w->prev == NULL)
		return;
	/* `head` itself is read without the lock. */
	__atomic_store_n(w->prev, w->next, __ATOMIC_SEQ_CST);
	if (w->next != NULL)
		w->next->prev = w->prev;
	w->prev = NULL;
}

void
uvs_lot_add(struct uvs_lot *l, struct uvs_waiter *w, uint64_t deadline)
{
	uvs_lock_take(&l->lock);
	w->deadline = deadline;
	w->next = l->head;
	w->prev = &l->head;
	if (w->next != NULL)
		w->next->prev = &w->next;
	__atomic_store_n(&l->head, w, __ATOMIC_SEQ_CST);
	uvs_lock_give(&l->lock);
}

void
uvs_lot_remove(struct uvs_lot *l, struct uvs_waiter *w)
{
	uvs_lock_take(&l->lock);
	unlink_waiter(w);
	uvs_lock_give(&l->lock);
}

void
uvs_lot_pick(struct uvs_lot *l, uint32_t bits)
{
	struct uvs_waiter *heir;

	if (__atomic_load_n(&l->head, __ATOMIC_SEQ_CST) == NULL)
		return;
	uvs_lock_take(&l->lock);
	heir = l->head;
	if (heir != NULL) {
		unlink_waiter(heir);
		uvs_waiter_post(heir, bits);
	}
	uvs_lock_give(&l->lock);
}

void
uvs_lot_interrupt(struct uvs_lot *l)
{
	uvs_lock_take(&l->lock);
	for (struct uvs_waiter *w = l->head; w != NULL; w = w->next)
		uvs_waiter_post(w, UVS_W_INTERRUPTED);
	uvs_lock_give(&l->lock);
}

uint64_t
uvs_lot_deadline(struct uvs_lot *l, uint64_t now)
{
	uint64_t first = UINT64_MAX;

	uvs_lock_take(&l->lock);
	for (struct uvs_waiter *w = l->head; w != NULL; w = w->next) {
		first = MIN(first, uvs_waiter_called(w) ? 0 : w->deadline);
		if (w->deadline <= now)
			uvs_waiter_post(w, UVS_W_KICKED);
	}
	uvs_lock_give(&l->lock);
	return first;
}
