/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/model.h - how a call reaches the instance that owns a socket, and who runs the stack.
 *
 * Everything in sock/ that touches lwIP is a function of this type, run in the instance's context
 * by the model. It must not block, and its argument lives on the caller's stack: call() returns
 * after it has run.
 *
 *   shared    call() enters the instance (its lock), runs the function itself, sends what it made;
 *             whoever waits drives the stack (shared.c)
 *   separate  call() hands the function to the instance's thread and waits for it; wait() only
 *             sleeps (separate.c, call.h)
 */
#ifndef STACK_CORE_MODEL_H
#define STACK_CORE_MODEL_H

#include "stack/core/instance.h"
#include "stack/sock/sock.h"

typedef long (*uvs_call_fn)(void *arg);

struct uvs_model {
	const char *name;

	/* Begin and end driving these instances (threads, if the model has any). 0 or -errno. */
	int (*start)(struct uvs_instance **in, unsigned int n);
	void (*stop)(void);

	/* Run fn(arg) in the instance's context; its result. -EDEADLK: the calling thread is inside
	 * the stack already, from a signal handler; nothing was done. -EIO: the stack's thread does
	 * not answer; nothing was done. */
	long (*call)(struct uvs_instance *in, uvs_call_fn fn, void *arg);

	/* One round of the loop, if nobody else is at it. */
	void (*progress)(void);

	/* uvs_wait() of sock.h. */
	int (*wait)(struct uvs_waiter *w, struct uvs_kwait *k, uint64_t deadline_ns);

	/* The instance has an earlier timer than before, or frames to itself: whoever sleeps on its
	 * behalf must look. Called under the instance. */
	void (*kick)(struct uvs_instance *in);

	/* After fork(), in the child: locks and threads of the parent are no more. */
	void (*forget)(void);
};

extern const struct uvs_model uvs_model_shared, uvs_model_separate;

#endif /* STACK_CORE_MODEL_H */
