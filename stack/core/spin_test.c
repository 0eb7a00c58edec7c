/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Unit test of spin.c: who else needs the core, and for how long to sleep at once then. */
#include "stack/core/spin.h"
#include "uvbridge/test.h"

#define LONG 100000 /* ns */

static const struct uvs_conf conf = {.poll = UVS_POLL_ADAPTIVE, .spin_us = 100};

/* Waits that sleep at once from now on, until one polls. */
static unsigned int
asleep(struct uvs_spin *s)
{
	unsigned int n = 0;

	while (uvs_spin_budget(s, &conf) == 0)
		n++;
	return n;
}

static void
test_one_long_yield_means_nothing(void)
{
	struct uvs_spin s;

	uvs_spin_init(&s, &conf);
	for (int i = 0; i < 10; i++) {
		uvs_spin_yielded(&s, LONG);
		CHECK(asleep(&s) == 0);
		for (int calm = 0; calm < 100; calm++) {
			uvs_spin_yielded(&s, 500);
			CHECK(asleep(&s) == 0);
		}
	}
}

static void
test_a_crowd_is_let_in(void)
{
	static const unsigned int expect[] = {0, 1, 2, 4, 8, 16, 32, 32};
	struct uvs_spin s;

	uvs_spin_init(&s, &conf);
	for (unsigned int i = 0; i < sizeof(expect) / sizeof(expect[0]); i++) {
		uvs_spin_yielded(&s, LONG);
		CHECK(asleep(&s) == expect[i]);
	}
}

int
main(void)
{
	RUN(test_one_long_yield_means_nothing);
	RUN(test_a_crowd_is_let_in);
	return 0;
}
