/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The forwarding data base by itself: learn, move, evict, age, flush, and two learners at once.
 */
#include "uvbridge/test.h"

#define BUCKETS 16

static struct uvb_fdb_bucket buckets[BUCKETS];
static const struct uvb_fdb fdb = {buckets, BUCKETS - 1, 8};

static uint32_t
entries(void)
{
	uint32_t n = 0;

	for (int b = 0; b < BUCKETS; b++)
		for (int w = 0; w < UVB_FDB_WAYS; w++)
			n += buckets[b].entry[w] != 0;
	return n;
}

static void
clear(void)
{
	memset(buckets, 0, sizeof(buckets));
}

static void
test_learn_and_move(void)
{
	clear();
	CHECK_EQ(uvb_fdb_lookup(&fdb, 0x020000000001), UVB_FDB_NONE);
	uvb_fdb_learn(&fdb, 0x020000000001, 3, 10);
	CHECK_EQ(uvb_fdb_lookup(&fdb, 0x020000000001), 3);
	uvb_fdb_learn(&fdb, 0x020000000001, 5, 11);
	CHECK_EQ(uvb_fdb_lookup(&fdb, 0x020000000001), 5);
	uvb_fdb_learn(&fdb, 0x020000000001, 0, 11);
	CHECK_EQ(uvb_fdb_lookup(&fdb, 0x020000000001), 0);
	CHECK_EQ(entries(), 1);
}

static void
test_full_evicts_oldest(void)
{
	uint32_t evicted = 0;

	clear();
	/* Far more than fit. Those just learned are there; the table never holds more than it can.
	 */
	for (uint64_t i = 0; i < 1000; i++) {
		uvb_fdb_learn(&fdb, 0x020000000000 + i, i % 8, (uint32_t)i);
		CHECK_EQ(uvb_fdb_lookup(&fdb, 0x020000000000 + i), i % 8);
	}
	CHECK(entries() <= BUCKETS * UVB_FDB_WAYS);
	for (int b = 0; b < BUCKETS; b++)
		evicted += buckets[b].evictions;
	CHECK_EQ(evicted + entries(), 1000);
	/* Within a bucket the newest stay. */
	for (int b = 0; b < BUCKETS; b++)
		for (int w = 0; w < UVB_FDB_WAYS; w++)
			CHECK(buckets[b].seen[w] > 500);
}

static void
test_age_and_flush(void)
{
	clear();
	for (uint64_t i = 0; i < 20; i++)
		uvb_fdb_learn(&fdb, 0x020000000000 + i, i % 2, 100 + (uint32_t)i);
	CHECK_EQ(uvb_fdb_age(&fdb, 110, 300), 0);
	CHECK_EQ(uvb_fdb_age(&fdb, 410, 300), 10);
	CHECK_EQ(uvb_fdb_lookup(&fdb, 0x020000000009), UVB_FDB_NONE);
	CHECK_EQ(uvb_fdb_lookup(&fdb, 0x02000000000a), 0);
	uvb_fdb_learn(&fdb, 0x02000000000a, 0, 500);
	CHECK_EQ(uvb_fdb_age(&fdb, 800, 300), 9);
	CHECK_EQ(uvb_fdb_age(&fdb, 400, 300), 0); /* the daemon's clock behind the sender's */
	CHECK_EQ(uvb_fdb_flush(&fdb, 1), 0);
	CHECK_EQ(uvb_fdb_flush(&fdb, 0), 1);
	CHECK_EQ(entries(), 0);
}

/* Ports that were never there, put in by somebody who scribbles. */
static void
test_nonsense(void)
{
	clear();
	uvb_fdb_learn(&fdb, 0x020000000001, 3, 10);
	for (int b = 0; b < BUCKETS; b++)
		for (int w = 0; w < UVB_FDB_WAYS; w++)
			if (buckets[b].entry[w] != 0)
				buckets[b].entry[w] = UVB_FDB_ENTRY(0x020000000001, 4000);
	CHECK_EQ(uvb_fdb_lookup(&fdb, 0x020000000001), UVB_FDB_NONE);
}

static void *
learner(void *arg)
{
	uint32_t port = (uint32_t)(uintptr_t)arg;

	for (uint64_t i = 0; i < 200000; i++)
		uvb_fdb_learn(&fdb, 0x020000000000 + i % 50, port, 1);
	return NULL;
}

static void
test_two_learners(void)
{
	pthread_t t[2];

	clear();
	for (uintptr_t i = 0; i < 2; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, learner, (void *)(i + 1)), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	for (uint64_t i = 0; i < 50; i++) {
		uint32_t port = uvb_fdb_lookup(&fdb, 0x020000000000 + i);

		CHECK(port == 1 || port == 2);
	}
	/* Twins may be left of a race, and the next to insert removes them: no more than a few. */
	CHECK(entries() >= 50 && entries() <= 60);
}

int
main(void)
{
	RUN(test_learn_and_move);
	RUN(test_full_evicts_oldest);
	RUN(test_age_and_flush);
	RUN(test_nonsense);
	RUN(test_two_learners);
	return 0;
}
