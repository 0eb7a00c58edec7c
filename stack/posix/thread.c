/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Threads: those the stack makes, and cancellation of the application's.
 *
 * A thread must not end inside the stack, with locks held and watches in place. So the C library's
 * cancellation points are not used there, a thread that is cancelled is woken from its sleep, and
 * ends when it is outside again.
 */
#include "stack/posix/posix.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct uvp_thread *threads; /* under lock */
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* ---------------------------------------------------------------------- threads of the stack */

struct start {
	void *(*fn)(void *);
	void *arg;
};

static void *
thread_inside(void *arg)
{
	struct start s = *(struct start *)arg;

	free(arg);
	uvp_self.depth = 1;
	uvp_self.of_the_stack = true;
	return s.fn(s.arg);
}

/* A thread that the stack or its drivers make belongs inside: its calls are the kernel's. */
UVP_EXPORT int
pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	struct start *s;
	int r;

	if (uvp_likely(!uvp_inside()))
		return R(pthread_create)(thread, attr, fn, arg);
	s = malloc(sizeof(*s));
	if (!s)
		return EAGAIN;
	*s = (struct start){.fn = fn, .arg = arg};
	r = R(pthread_create)(thread, attr, thread_inside, s);
	if (r != 0)
		free(s);
	return r;
}

/* ------------------------------------------------------------------------------- cancellation */

static void
unlist(void *arg)
{
	struct uvp_thread *t = arg, **at;

	pthread_mutex_lock(&lock);
	for (at = &threads; *at && *at != t;)
		at = &(*at)->next;
	if (*at)
		*at = t->next;
	pthread_mutex_unlock(&lock);
	t->listed = false;
}

static void
make_key(void)
{
	pthread_key_create(&key, unlist);
}

/* Outside, so that a thread that is cancelled already ends here; later it will be found. */
void
uvp_thread_list(void)
{
	struct uvp_thread *t = &uvp_self;

	if (uvp_inside())
		return;
	pthread_once(&once, make_key);
	pthread_setspecific(key, t);
	t->id = pthread_self();
	t->listed = true;
	pthread_mutex_lock(&lock);
	t->next = threads;
	threads = t;
	pthread_mutex_unlock(&lock);
	pthread_testcancel();
}

struct uvs_waiter *
uvp_waiter(void)
{
	struct uvs_waiter *w = UVP_IN(uvs_waiter_self());

	atomic_store(&uvp_self.waiter, w);
	return w;
}

bool
uvp_cancelled(void)
{
	int state;

	if (uvp_likely(!atomic_load_explicit(&uvp_self.cancelled, memory_order_relaxed)))
		return false;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	pthread_setcancelstate(state, NULL);
	return state == PTHREAD_CANCEL_ENABLE;
}

/* The flag goes first: one that is set again meanwhile is seen by the next sleep. */
void
uvp_test_cancel(void)
{
	if (!uvp_cancelled())
		return;
	atomic_store(&uvp_self.cancelled, false);
	pthread_testcancel();
}

UVP_EXPORT int
pthread_cancel(pthread_t thread)
{
	struct uvs_waiter *w;
	struct uvp_thread *t;
	int r;

	pthread_mutex_lock(&lock);
	for (t = threads; t && !pthread_equal(t->id, thread);)
		t = t->next;
	r = R(pthread_cancel)(thread);
	if (t) {
		atomic_store(&t->cancelled, true);
		w = atomic_load(&t->waiter);
		if (w)
			uvs_waiter_wake(w);
	}
	pthread_mutex_unlock(&lock);
	return r;
}

void
uvp_thread_fork_child(void)
{
	pthread_mutex_init(&lock, NULL);
	threads = NULL;
	uvp_self.listed = false;
}
