/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Calls handed to a stack thread (core/call.h): order, nesting, withdrawal; without a stack. */
#include "stack/sock/tests/pair.h"

#include "stack/core/call.h"
#include "stack/core/waiter.h"

#include <pthread.h>

static struct uvs_calls queue;
static long trace[64];
static unsigned int traced;

static long
note(void *arg)
{
	trace[traced++] = *(long *)arg;
	return *(long *)arg * 10;
}

static unsigned int
serve(void)
{
	struct uvs_call *list = uvs_calls_take(&queue);
	unsigned int n = uvs_calls_run(&list);

	uvs_calls_finish(list);
	return n;
}

static void
test_oldest_first(void)
{
	long args[UVS_CALL_DEPTH];
	struct uvs_call *c[UVS_CALL_DEPTH];

	traced = 0;
	for (long i = 0; i < UVS_CALL_DEPTH; i++) {
		args[i] = i;
		c[i] = uvs_call_new(note, &args[i]);
		CHECK(c[i] != NULL);
		uvs_call_push(&queue, c[i]);
	}
	CHECK(uvs_call_new(note, NULL) == NULL); /* nested too deeply */
	CHECK(!uvs_call_wait(c[0], 1000, 1000));
	CHECK_EQ(serve(), UVS_CALL_DEPTH);
	for (long i = UVS_CALL_DEPTH; i-- > 0;) {
		CHECK_EQ(trace[i], i);
		CHECK(uvs_call_wait(c[i], 0, 0));
		CHECK_EQ(uvs_call_end(c[i]), i * 10);
	}
	CHECK_EQ(uvs_waiter_self()->call_depth, 0);
}

/* Nobody serves: the caller takes its call back, and it does not run afterwards. */
static void
test_withdrawn(void)
{
	long one = 1, two = 2;
	struct uvs_call *c = uvs_call_new(note, &one), *other;

	traced = 0;
	uvs_call_push(&queue, c);
	CHECK(!uvs_call_wait(c, 0, 1000));
	CHECK(uvs_call_withdraw(c));
	uvs_call_lost();
	other = uvs_call_new(note, &two);
	CHECK(other != c); /* which is still in the list */
	uvs_call_push(&queue, other);
	CHECK_EQ(serve(), 1);
	CHECK_EQ(traced, 1);
	CHECK_EQ(trace[0], 2);
	CHECK(!uvs_call_withdraw(other)); /* too late */
	CHECK_EQ(uvs_call_end(other), 20);
}

/* ------------------------------------------------------------------------------- many callers */

#define CALLERS 8
#define EACH    2000

static uint32_t ended;

static long
add(void *arg)
{
	return ++*(long *)arg; /* the server alone touches it: no atomics */
}

static void *
ask(void *arg)
{
	for (int i = 0; i < EACH; i++) {
		struct uvs_call *c = uvs_call_new(add, arg);

		uvs_call_push(&queue, c);
		while (!uvs_call_wait(c, i % 3 * 1000, UVS_NS_PER_S))
			CHECK(!"an answer was lost");
		CHECK(uvs_call_end(c) > 0);
	}
	__atomic_fetch_add(&ended, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void
test_many_callers(void)
{
	pthread_t t[CALLERS];
	long sum = 0;

	for (int i = 0; i < CALLERS; i++)
		pthread_create(&t[i], NULL, ask, &sum);
	while (__atomic_load_n(&ended, __ATOMIC_SEQ_CST) < CALLERS) {
		if (serve() == 0)
			uvs_sys_yield();
	}
	for (int i = 0; i < CALLERS; i++)
		pthread_join(t[i], NULL);
	CHECK_EQ(sum, CALLERS * EACH);
}

int
main(void)
{
	test_oldest_first();
	test_withdrawn();
	test_many_callers();
	return 0;
}
