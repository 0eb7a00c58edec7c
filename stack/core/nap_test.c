/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Naps: who is waited for until when, and which timers are fired, by one thread and by many.
 */
#include <pthread.h>

#include "stack/core/nap.h"
#include "uvbridge/test.h"

#define THREADS 4
#define ROUNDS  20000

static unsigned int fired, looked;
static uint64_t looked_until;

static void
count(struct uvs_nap *n)
{
	(void)n;
	__atomic_fetch_add(&fired, 1, __ATOMIC_RELAXED);
}

static void
again(struct uvs_nap *n)
{
	if (++fired < 3)
		uvs_nap_begin(n, n->until + 10);
}

static void
look(uint64_t until)
{
	__atomic_fetch_add(&looked, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&looked_until, until, __ATOMIC_RELAXED);
}

static void
test_none(void)
{
	CHECK_EQ(uvs_naps_next(0), UINT64_MAX);
	CHECK(!uvs_naps_of_threads());
}

static void
test_the_earliest_is_told(void)
{
	struct uvs_nap a = {0}, b = {0}, c = {.fire = count};

	uvs_nap_begin(&a, 300);
	uvs_nap_begin(&b, 100);
	uvs_nap_begin(&c, 200);
	CHECK_EQ(uvs_naps_next(50), 100);
	CHECK(uvs_nap_end(&b));
	CHECK_EQ(uvs_naps_next(50), 200);
	CHECK(uvs_nap_end(&c));
	CHECK_EQ(uvs_naps_next(50), 300);
	CHECK(uvs_nap_end(&a));
	CHECK(!uvs_nap_end(&a));
	test_none();
}

/* Its thread has not run since: until it has, the clock is to stand. */
static void
test_a_thread_whose_time_has_come_is_waited_for(void)
{
	struct uvs_nap thread = {0};

	uvs_nap_begin(&thread, 100);
	CHECK(uvs_naps_of_threads());
	CHECK_EQ(uvs_naps_next(100), 100);
	CHECK_EQ(uvs_naps_next(500), 100);
	CHECK(uvs_nap_end(&thread));
	test_none();
}

static void
test_a_timer_is_fired_once(void)
{
	struct uvs_nap timer = {.fire = count};

	fired = 0;
	uvs_nap_begin(&timer, 100);
	CHECK(!uvs_naps_of_threads());
	CHECK_EQ(uvs_naps_next(99), 100);
	CHECK_EQ(fired, 0);
	CHECK_EQ(uvs_naps_next(100), 0);
	CHECK_EQ(fired, 1);
	CHECK(!uvs_nap_end(&timer));
	test_none();
}

static void
test_a_timer_may_begin_again(void)
{
	struct uvs_nap timer = {.fire = again};

	fired = 0;
	uvs_nap_begin(&timer, 100);
	CHECK_EQ(uvs_naps_next(115), 0);
	CHECK_EQ(fired, 2);
	CHECK_EQ(uvs_naps_next(115), 120);
	CHECK_EQ(uvs_naps_next(120), 0);
	CHECK_EQ(fired, 3);
	test_none();
}

static void
test_who_sleeps_is_told(void)
{
	struct uvs_nap nap = {0};

	uvs_naps_look = look;
	looked = 0;
	uvs_nap_begin(&nap, 77);
	CHECK_EQ(looked, 1);
	CHECK_EQ(looked_until, 77);
	uvs_nap_end(&nap);
	uvs_naps_look = NULL;
}

static void
test_a_child_has_none(void)
{
	struct uvs_nap nap = {0};

	uvs_nap_begin(&nap, 1);
	uvs_naps_forget();
	test_none();
}

/* Each timer is fired, or ended before: never both, never neither. */
static void *
begin_and_end(void *ended)
{
	struct uvs_nap *timer = calloc(ROUNDS, sizeof(*timer));

	CHECK(timer != NULL);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		struct uvs_nap thread = {0};

		timer[i].fire = count;
		uvs_nap_begin(&timer[i], 1);
		uvs_nap_begin(&thread, 1);
		CHECK(uvs_nap_end(&thread));
		if (uvs_nap_end(&timer[i]))
			__atomic_fetch_add((unsigned int *)ended, 1, __ATOMIC_RELAXED);
	}
	return timer;
}

static void
test_many_threads(void)
{
	pthread_t thread[THREADS];
	void *timers[THREADS];
	unsigned int ended = 0;

	fired = 0;
	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&thread[i], NULL, begin_and_end, &ended), 0);
	while (__atomic_load_n(&fired, __ATOMIC_RELAXED) +
		       __atomic_load_n(&ended, __ATOMIC_RELAXED) <
	       THREADS * ROUNDS)
		uvs_naps_next(1);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], &timers[i]);
	for (int i = 0; i < THREADS; i++)
		free(timers[i]);
	test_none();
	CHECK_EQ(fired + ended, THREADS * ROUNDS);
}

int
main(void)
{
	RUN(test_none);
	RUN(test_the_earliest_is_told);
	RUN(test_a_thread_whose_time_has_come_is_waited_for);
	RUN(test_a_timer_is_fired_once);
	RUN(test_a_timer_may_begin_again);
	RUN(test_who_sleeps_is_told);
	RUN(test_a_child_has_none);
	RUN(test_many_threads);
	return 0;
}
