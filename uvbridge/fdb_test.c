/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The forwarding data base by itself: learn, move, evict, age, flush, and two learners at once.
 */
#include "uvbridge/test.h"

#define BUCKETS UVB_FDB_MIN

static struct uvb_fdb_bucket buckets[BUCKETS];
static const struct uvb_fdb fdb = {buckets, BUCKETS - 1, 8};

static uint32_t
flush_port(uint32_t port)
{
	return uvb_fdb_flush(&fdb, &(struct uvb_fdb_flush){port, UVB_FDB_ANY, false});
}

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
	for (uint64_t i = 0; i < 4000; i++) {
		uvb_fdb_learn(&fdb, 0x020000000000 + i, i % 8, (uint32_t)i);
		CHECK_EQ(uvb_fdb_lookup(&fdb, 0x020000000000 + i), i % 8);
	}
	CHECK(entries() <= BUCKETS * UVB_FDB_WAYS);
	for (int b = 0; b < BUCKETS; b++)
		evicted += buckets[b].evictions;
	CHECK_EQ(evicted + entries(), 4000);
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
	CHECK_EQ(flush_port(1), 0);
	CHECK_EQ(flush_port(0), 1);
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
				buckets[b].entry[w] = (buckets[b].entry[w] & ~0x3fcULL) | 200u << 2;
	CHECK_EQ(uvb_fdb_lookup(&fdb, 0x020000000001), UVB_FDB_NONE);
}

/* What is watched has not moved until the entry says something else. */
static void
test_watch(void)
{
	const uint64_t key = UVB_FDB_KEY(0, 0x020000000001);
	struct uvb_fdb_watch w;

	clear();
	CHECK(!uvb_fdb_watch(&fdb, key, 3, &w));
	uvb_fdb_learn(&fdb, key, 3, 10);
	CHECK(!uvb_fdb_watch(&fdb, key, 4, &w));
	CHECK(uvb_fdb_watch(&fdb, key, 3, &w));
	uvb_fdb_learn(&fdb, key, 3, 11);
	CHECK(uvb_fdb_unmoved(&w));
	uvb_fdb_learn(&fdb, key, 4, 11);
	CHECK(!uvb_fdb_unmoved(&w));
	CHECK(uvb_fdb_watch(&fdb, key, 4, &w));
	CHECK(uvb_fdb_del(&fdb, key));
	CHECK(!uvb_fdb_unmoved(&w));
}

/* A key is read back as it was written, whatever its bits. */
static void
test_read_back(void)
{
	clear();
	for (int i = 0; i < 1000; i++) {
		uint64_t mac = rnd() & 0xfeffffffffff;
		uint16_t vlan = (uint16_t)(rnd() % 4096);
		struct uvb_fdb_record r;
		int found = 0;

		clear();
		uvb_fdb_learn(&fdb, UVB_FDB_KEY(vlan, mac), (uint32_t)(i % 8), 1);
		for (uint32_t b = 0; b < BUCKETS; b++)
			for (uint32_t w = 0; w < UVB_FDB_WAYS; w++) {
				if (!uvb_fdb_read(&fdb, b, w, &r))
					continue;
				found++;
				CHECK_EQ(r.mac, mac);
				CHECK_EQ(r.vlan, vlan);
				CHECK_EQ(r.port, i % 8);
				CHECK(!r.is_static);
			}
		CHECK_EQ(found, 1);
	}
}

/* The same address in two VLANs is two addresses. */
static void
test_vlans_are_apart(void)
{
	clear();
	for (uint64_t vlan = 0; vlan < 200; vlan++)
		uvb_fdb_learn(&fdb, UVB_FDB_KEY(vlan, 0x020000000001), vlan % 8, 1);
	for (uint64_t vlan = 0; vlan < 200; vlan++)
		CHECK_EQ(uvb_fdb_lookup(&fdb, UVB_FDB_KEY(vlan, 0x020000000001)), vlan % 8);
	CHECK_EQ(uvb_fdb_lookup(&fdb, UVB_FDB_KEY(200, 0x020000000001)), UVB_FDB_NONE);
	CHECK_EQ(uvb_fdb_flush(&fdb, &(struct uvb_fdb_flush){UVB_FDB_ANY, 7, false}), 1);
	CHECK_EQ(uvb_fdb_lookup(&fdb, UVB_FDB_KEY(7, 0x020000000001)), UVB_FDB_NONE);
	CHECK_EQ(entries(), 199);
}

static void
test_static(void)
{
	uint64_t key = UVB_FDB_KEY(5, 0x020000000001);

	clear();
	uvb_fdb_learn(&fdb, key, 1, 1);
	CHECK_EQ(uvb_fdb_set_static(&fdb, key, 3), 0);
	CHECK_EQ(entries(), 1);
	uvb_fdb_learn(&fdb, key, 1, 2); /* does not move it */
	CHECK_EQ(uvb_fdb_lookup(&fdb, key), 3);
	CHECK_EQ(uvb_fdb_age(&fdb, 1000000, 300), 0);
	/* Nor does a flood of others displace it. */
	for (uint64_t i = 0; i < 10000; i++)
		uvb_fdb_learn(&fdb, 0x020000000000 + i, 2, (uint32_t)i);
	CHECK_EQ(uvb_fdb_lookup(&fdb, key), 3);
	CHECK_EQ(flush_port(3), 0);
	CHECK_EQ(uvb_fdb_flush(&fdb, &(struct uvb_fdb_flush){3, UVB_FDB_ANY, true}), 1);
	CHECK_EQ(uvb_fdb_lookup(&fdb, key), UVB_FDB_NONE);
	clear();
	/* A bucket can be full of them. */
	for (uint64_t i = 0; i < 20000; i++)
		if (uvb_fdb_set_static(&fdb, 0x020000000000 + i, 1) != 0)
			break;
	uvb_fdb_learn(&fdb, key, 1, 2);
	CHECK(entries() > 100);
	CHECK(uvb_fdb_del(&fdb, 0x020000000000));
	CHECK(!uvb_fdb_del(&fdb, 0x020000000000));
}

/* What a port says of itself does not take an address away from who has it. */
static void
test_offer(void)
{
	clear();
	uvb_fdb_offer(&fdb, 0x020000000001, 3, 10);
	CHECK_EQ(uvb_fdb_lookup(&fdb, 0x020000000001), 3);
	uvb_fdb_offer(&fdb, 0x020000000001, 4, 10);
	CHECK_EQ(uvb_fdb_lookup(&fdb, 0x020000000001), 3);
}

/* Port 1 sends from any number of addresses. The others keep theirs, all of them; those who come
 * later get in, at port 1's expense. */
static void
test_flooding_port_hurts_itself(void)
{
	uint32_t now = 1;

	clear();
	for (uint64_t i = 0; i < 60; i++) /* about one in a bucket */
		uvb_fdb_learn(&fdb, 0x020000000000 + i, 2 + i % 2, now);
	for (uint64_t i = 0; i < 20000; i++)
		uvb_fdb_learn(&fdb, 0x06aa00000000 + rnd() % 0xffffff, 1, ++now);
	for (uint64_t i = 0; i < 60; i++)
		CHECK_EQ(uvb_fdb_lookup(&fdb, 0x020000000000 + i), 2 + i % 2);
	CHECK_EQ(entries(), BUCKETS * UVB_FDB_WAYS);
	for (uint64_t i = 100; i < 160; i++) {
		uvb_fdb_learn(&fdb, 0x020000000000 + i, 4, now);
		uvb_fdb_learn(&fdb, 0x06aa00000000 + rnd() % 0xffffff, 1, ++now);
	}
	for (uint64_t i = 100; i < 160; i++)
		CHECK_EQ(uvb_fdb_lookup(&fdb, 0x020000000000 + i), 4);
}

/* Among its own, a port loses the one not heard from for longest. */
static void
test_oldest_goes_first(void)
{
	clear();
	for (uint64_t i = 0; i < 4000; i++)
		uvb_fdb_learn(&fdb, 0x020000000000 + i, 1, (uint32_t)i);
	for (int b = 0; b < BUCKETS; b++)
		for (int w = 0; w < UVB_FDB_WAYS; w++)
			CHECK(buckets[b].seen[w] > 2000);
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
	seed_init();
	RUN(test_learn_and_move);
	RUN(test_full_evicts_oldest);
	RUN(test_age_and_flush);
	RUN(test_nonsense);
	RUN(test_watch);
	RUN(test_read_back);
	RUN(test_vlans_are_apart);
	RUN(test_static);
	RUN(test_offer);
	RUN(test_flooding_port_hurts_itself);
	RUN(test_oldest_goes_first);
	RUN(test_two_learners);
	return 0;
}
