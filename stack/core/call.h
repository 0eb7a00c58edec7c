/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/call.h - a function handed to a stack thread, and the way its result comes back
 * (model "separate").
 *
 * Any thread pushes its call on the instance's list with one atomic exchange; the stack thread
 * takes the whole list with another and runs it oldest first: what gathered meanwhile costs one
 * visit and leaves in one transmit burst. The caller polls briefly, then sleeps on `state`.
 *
 *   IDLE --caller--> PENDING --stack thread--> RUNNING --stack thread--> DONE --caller--> IDLE
 *                       \---caller, after LATE_NS--> WITHDRAWN --stack thread--> freed
 *
 * A call that is RUNNING will be DONE: what runs in an instance does not block. One that is PENDING
 * for UVS_CALL_LATE_NS is withdrawn by its caller, who reports -EIO: the stack thread is stuck, and
 * an application that hangs with it could not even say so. Nothing of the caller's stack is looked
 * at afterwards; the call's own memory is freed by whoever takes it off the list.
 *
 * A process that dies takes both sides with it. A signal handler that calls while its thread waits
 * for a call uses the next one of the thread's calls; a thread that ends leaves its calls to the
 * thread that inherits its waiter.
 *
 *   word    writer                               read by
 *   state   as above; compare-and-exchange       both: acquire; DONE is a release (exchange)
 *   asleep  the caller; before it looks at       the stack thread, after DONE: wake it?
 *           state for the last time (seq_cst)
 *   head    pushed by callers, emptied by the stack thread (exchange)
 */
#ifndef STACK_CORE_CALL_H
#define STACK_CORE_CALL_H

#include <stdbool.h>

#include "stack/core/clock.h"
#include "stack/core/model.h"

#define UVS_CALL_LATE_NS (10 * UVS_NS_PER_S)

struct uvs_call {
	struct uvs_call *next;
	uvs_call_fn fn;
	void *arg;
	long result;
	uint32_t state;  /* atomic, futex */
	uint32_t asleep; /* atomic */
};

struct uvs_calls {
	struct uvs_call *head;
};

/* The caller: a call of this thread's, NULL if there are none left (nested too deeply) or no
 * memory. To be given back by the same thread, last one first. */
struct uvs_call *uvs_call_new(uvs_call_fn fn, void *arg);
/* It is done: its result. */
long uvs_call_end(struct uvs_call *c);
/* It was withdrawn: it may be gone already. */
void uvs_call_lost(void);

void uvs_call_push(struct uvs_calls *q, struct uvs_call *c);

/* Poll for spin_ns, then sleep, for a while at most; true: it is done. */
bool uvs_call_wait(struct uvs_call *c, uint64_t spin_ns, uint64_t sleep_ns);

/* True: it will not run any more. False: it is running or done. */
bool uvs_call_withdraw(struct uvs_call *c);

/* The stack thread: all calls, oldest first, linked by next. */
struct uvs_call *uvs_calls_take(struct uvs_calls *q);
static inline bool
uvs_calls_waiting(const struct uvs_calls *q)
{
	return __atomic_load_n(&q->head, __ATOMIC_SEQ_CST) != NULL;
}

/* Run the list; without those that were withdrawn, which are freed. */
unsigned int uvs_calls_run(struct uvs_call **list);
/* Tell the callers. After this nothing of the list may be touched. */
void uvs_calls_finish(struct uvs_call *list);

#endif /* STACK_CORE_CALL_H */
