/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/core/waiter.h"
#include "stack/core/fds.h"
#include "stack/core/lock.h"
#include "stack/core/sys.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>

static __thread struct uvs_waiter *self __attribute__((tls_model("initial-exec")));
static uint32_t epoch = 1; /* written by the only thread of a fresh child */
static pthread_key_t key;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;

static struct uvs_lock unused_lock;
static struct uvs_waiter *unused; /* of threads that ended */

static void
waiter_retire(void *arg)
{
	struct uvs_waiter *w = arg;

	self = NULL;
	if (w->epoch != epoch)
		return;
	uvs_lock_take(&unused_lock);
	w->next = unused;
	unused = w;
	uvs_lock_give(&unused_lock);
}

static void
make_key(void)
{
	pthread_key_create(&key, waiter_retire);
}

int
uvs_waiter_eventfd(void)
{
	return uvs_fd_adopt(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

/* What its last thread was woken for, and did not wait to hear. */
static void
forget_calls(struct uvs_waiter *w)
{
	uint64_t count;

	__atomic_store_n(&w->state, 0, __ATOMIC_SEQ_CST);
	uvs_sys_read(w->efd, &count, sizeof(count));
}

static struct uvs_waiter *
take_unused(void)
{
	struct uvs_waiter *w;

	uvs_lock_take(&unused_lock);
	w = unused;
	if (w != NULL)
		unused = w->next;
	uvs_lock_give(&unused_lock);
	if (w != NULL)
		forget_calls(w);
	return w;
}

static struct uvs_waiter *
waiter_new(void)
{
	struct uvs_waiter *w = take_unused();

	if (w == NULL) {
		w = calloc(1, sizeof(*w));
		if (w == NULL || (w->efd = uvs_waiter_eventfd()) < 0)
			abort(); /* a thread that cannot wait cannot go on */
	}
	w->next = NULL;
	w->epoch = epoch;
	pthread_once(&key_once, make_key);
	pthread_setspecific(key, w);
	self = w;
	return w;
}

struct uvs_waiter *
uvs_waiter_self(void)
{
	if (__builtin_expect(self == NULL || self->epoch != epoch, 0))
		return waiter_new();
	return self;
}

/* The eventfds are shared with the parent: close the one of this thread, forget the others', whose
 * threads do not exist here. Their descriptors stay open and internal. */
void
uvs_waiter_forget(void)
{
	if (self != NULL)
		uvs_fd_close(self->efd);
	self = NULL;
	unused = NULL;
	uvs_lock_init(&unused_lock);
	epoch++;
}

void
uvs_waiter_post(struct uvs_waiter *w, uint32_t bits)
{
	uint32_t old = __atomic_fetch_or(&w->state, bits, __ATOMIC_SEQ_CST);
	uint64_t one = 1;

	if ((old & UVS_W_ASLEEP) && (old & bits) != bits)
		uvs_sys_write(w->efd, &one, sizeof(one));
}

void
uvs_waiter_wake(struct uvs_waiter *w)
{
	uvs_waiter_post(w, UVS_W_WOKEN);
}

uint32_t
uvs_waiter_take(struct uvs_waiter *w, uint32_t bits)
{
	if ((__atomic_load_n(&w->state, __ATOMIC_RELAXED) & bits) == 0)
		return 0;
	return __atomic_fetch_and(&w->state, ~bits, __ATOMIC_SEQ_CST) & bits;
}

bool
uvs_waiter_doze(struct uvs_waiter *w, uint32_t bits)
{
	uint32_t old = __atomic_fetch_or(&w->state, UVS_W_ASLEEP, __ATOMIC_SEQ_CST);

	if ((old & bits) == 0)
		return true;
	__atomic_fetch_and(&w->state, ~UVS_W_ASLEEP, __ATOMIC_SEQ_CST);
	return false;
}

void
uvs_waiter_rouse(struct uvs_waiter *w)
{
	uint32_t old = __atomic_fetch_and(&w->state, ~UVS_W_ASLEEP, __ATOMIC_SEQ_CST);
	uint64_t count;

	/* A ring may still be on its way; then the next sleep ends at once, and looks again. */
	if (old & ~UVS_W_ASLEEP)
		uvs_sys_read(w->efd, &count, sizeof(count));
}

void
uvs_wait_interrupt(void)
{
	if (self != NULL && self->epoch == epoch)
		uvs_waiter_post(self, UVS_W_INTERRUPTED);
}
