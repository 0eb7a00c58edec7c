/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/core/call.h"
#include "stack/core/sys.h"
#include "stack/core/waiter.h"

#include <errno.h>
#include <stdlib.h>

enum { CALL_IDLE, CALL_PENDING, CALL_RUNNING, CALL_DONE, CALL_WITHDRAWN };

/* --------------------------------------------------------------------------------- the caller */

/* The depth is restored before a handler returns: one that comes between the two lines sees and
 * leaves the thread as it is. */
struct uvs_call *
uvs_call_new(uvs_call_fn fn, void *arg)
{
	struct uvs_waiter *w = uvs_waiter_self();
	unsigned int depth = w->call_depth;
	struct uvs_call *c;

	if (depth == UVS_CALL_DEPTH)
		return NULL;
	w->call_depth = depth + 1;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	c = w->calls[depth];
	if (c == NULL && (c = w->calls[depth] = calloc(1, sizeof(*c))) == NULL) {
		w->call_depth = depth;
		return NULL;
	}
	c->fn = fn;
	c->arg = arg;
	c->asleep = 0;
	__atomic_store_n(&c->state, CALL_PENDING, __ATOMIC_RELAXED);
	return c;
}

long
uvs_call_end(struct uvs_call *c)
{
	long r = c->result;

	c->state = CALL_IDLE;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	uvs_waiter_self()->call_depth--;
	return r;
}

void
uvs_call_lost(void)
{
	struct uvs_waiter *w = uvs_waiter_self();

	w->calls[w->call_depth - 1] = NULL;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	w->call_depth--;
}

void
uvs_call_push(struct uvs_calls *q, struct uvs_call *c)
{
	c->next = __atomic_load_n(&q->head, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&q->head, &c->next, c, true, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED))
		;
}

static bool
done(const struct uvs_call *c)
{
	return __atomic_load_n(&c->state, __ATOMIC_ACQUIRE) == CALL_DONE;
}

/* About this long the stack thread needs if it polls on another core: no yield pays. */
#define PAUSES 100

static bool
poll_for(const struct uvs_call *c, uint64_t ns)
{
	uint64_t until;

	for (int i = 0; i < PAUSES && ns > 0; i++) {
		if (done(c))
			return true;
		__builtin_ia32_pause();
	}
	until = uvs_clock_kernel_ns() + ns;
	while (!done(c)) {
		if (ns == 0 || uvs_clock_kernel_ns() >= until)
			return false;
		uvs_sys_yield();
	}
	return true;
}

bool
uvs_call_wait(struct uvs_call *c, uint64_t spin_ns, uint64_t ns)
{
	struct timespec t = uvs_clock_timespec(ns);
	int r = 0;

	if (poll_for(c, spin_ns))
		return true;
	if (ns == 0)
		return false;
	__atomic_store_n(&c->asleep, 1, __ATOMIC_SEQ_CST);
	while (r != -ETIMEDOUT) {
		uint32_t state = __atomic_load_n(&c->state, __ATOMIC_SEQ_CST);

		if (state == CALL_DONE)
			break;
		r = uvs_sys_futex_wait(&c->state, state, &t);
	}
	__atomic_store_n(&c->asleep, 0, __ATOMIC_RELAXED);
	return done(c);
}

bool
uvs_call_withdraw(struct uvs_call *c)
{
	uint32_t pending = CALL_PENDING;

	return __atomic_compare_exchange_n(&c->state, &pending, CALL_WITHDRAWN, false,
					   __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* --------------------------------------------------------------------------- the stack thread */

struct uvs_call *
uvs_calls_take(struct uvs_calls *q)
{
	struct uvs_call *newest, *list = NULL;

	if (!uvs_calls_waiting(q))
		return NULL;
	newest = __atomic_exchange_n(&q->head, NULL, __ATOMIC_SEQ_CST);
	while (newest != NULL) {
		struct uvs_call *older = newest->next;

		newest->next = list;
		list = newest;
		newest = older;
	}
	return list;
}

static bool
begin(struct uvs_call *c)
{
	uint32_t pending = CALL_PENDING;

	return __atomic_compare_exchange_n(&c->state, &pending, CALL_RUNNING, false,
					   __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

unsigned int
uvs_calls_run(struct uvs_call **list)
{
	unsigned int n = 0;

	while (*list != NULL) {
		struct uvs_call *c = *list;

		if (begin(c)) {
			c->result = c->fn(c->arg);
			list = &c->next;
			n++;
		} else {
			*list = c->next;
			free(c);
		}
	}
	return n;
}

void
uvs_calls_finish(struct uvs_call *list)
{
	while (list != NULL) {
		struct uvs_call *c = list;

		list = c->next; /* once it is done, it is the caller's, who may push it again */
		__atomic_exchange_n(&c->state, CALL_DONE, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&c->asleep, __ATOMIC_SEQ_CST) != 0)
			uvs_sys_futex_wake(&c->state, 1);
	}
}
