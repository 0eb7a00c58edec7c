/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Soft queues: frames over and buffers home, whatever the others do. Deaths: kill_softq.c.
 */
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "stack/share/lab.h"
#include "uvbridge/test.h"

static struct lab lab;

static struct uvs_softq *
ring(uint32_t to, uint32_t from)
{
	return &lab.x.softq[to * LAB_SLOTS + from];
}

static void
expect(uint32_t pool, uint32_t home, uint32_t in_ring, uint32_t held)
{
	struct uvs_softq_ledger l;

	uvs_softq_ledger(&lab.x, pool, &l);
	CHECK_EQ(l.home, home);
	CHECK_EQ(l.in_ring, in_ring);
	CHECK_EQ(l.held, held);
	CHECK_EQ(l.lost, 0);
}

static void
over_and_home(void)
{
	uvs_ref ref[4];

	CHECK(lab_stage(&lab, 1, 2, 7));
	CHECK(lab_stage(&lab, 1, 2, 8));
	CHECK_EQ(uvs_softq_take(&lab.end[2], ref, 4), 0); /* not published */
	uvs_softq_publish(&lab.end[1]);
	expect(1, LAB_BUFFERS - 2, 2, 0);
	CHECK_EQ(uvs_softq_take(&lab.end[2], ref, 4), 2);
	CHECK(ref[0] == UVS_REF(1, 7) && ref[1] == UVS_REF(1, 8));
	expect(1, LAB_BUFFERS - 2, 0, 2);
	CHECK(uvs_softq_stage(&lab.end[2], 1, ref[0]));
	uvs_softq_publish(&lab.end[2]);
	CHECK_EQ(uvs_softq_take(&lab.end[1], ref, 4), 1);
	CHECK(ref[0] == UVS_REF(1, 7));
	expect(1, LAB_BUFFERS - 1, 0, 1);
}

/* Who does not serve its queue fills it, and nobody else's. */
static void
full(void)
{
	uvs_ref ref[1];

	/* More places than buffers here: pretend that most of the ring is taken. */
	lab.end[1].head[3] = UVS_SOFTQ_DEPTH - 2;
	atomic_store(&ring(3, 1)->head, UVS_SOFTQ_DEPTH - 2);
	CHECK(lab_stage(&lab, 1, 3, 0) && lab_stage(&lab, 1, 3, 1));
	CHECK(!lab_stage(&lab, 1, 3, 2));
	CHECK_EQ(atomic_load(&ring(3, 1)->full), 1);
	CHECK(lab_stage(&lab, 1, 2, 2));
	uvs_softq_publish(&lab.end[1]);
	expect(1, LAB_BUFFERS - 3, 3, 0);
	CHECK_EQ(uvs_softq_take(&lab.end[2], ref, 1), 1);
}

/* A process that scribbles over its rings is believed nothing. */
static void
nonsense(void)
{
	static const uint32_t refs[] = {UVS_REF(LAB_SLOTS, 0), UVS_REF(1, LAB_BUFFERS), ~0u,
					UVS_REF(2, 3), UVS_REF(1, 5)};
	uint32_t n = sizeof(refs) / sizeof(refs[0]);
	uvs_ref ref[8];

	for (uint32_t i = 0; i < n; i++)
		atomic_store(&ring(2, 1)->slot[i], refs[i]);
	atomic_store(&ring(2, 1)->head, n);
	atomic_store(&lab.x.inbox[2].pending, ~0ULL);
	CHECK_EQ(uvs_softq_take(&lab.end[2], ref, 8), 0);
	CHECK_EQ(atomic_load(&lab.x.inbox[2].bad), n);
	atomic_store(&ring(2, 1)->head, n + UVS_SOFTQ_DEPTH + 1);
	atomic_store(&lab.x.inbox[2].pending, ~0ULL);
	CHECK_EQ(uvs_softq_take(&lab.end[2], ref, 8), 0);
	CHECK_EQ(atomic_load(&lab.x.inbox[2].bad), n + 1);
	expect(1, LAB_BUFFERS, 0, 0);
	expect(2, LAB_BUFFERS, 0, 0);
}

/* Asleep means rung once, and never asleep with something waiting. */
static void
sleeping(void)
{
	CHECK(uvs_softq_arm(&lab.end[2]));
	lab_stage(&lab, 1, 2, 0);
	uvs_softq_publish(&lab.end[1]);
	CHECK_EQ(lab.end[1].to_ring, 1 << 2);
	lab_stage(&lab, 1, 2, 1);
	uvs_softq_publish(&lab.end[1]);
	CHECK_EQ(lab.end[1].to_ring, 0);
	lab_stage(&lab, 3, 2, 1);
	uvs_softq_publish(&lab.end[3]);
	CHECK_EQ(lab.end[3].to_ring, 1 << 2);
	uvs_softq_disarm(&lab.end[2]);
	CHECK(!uvs_softq_arm(&lab.end[2]));
	CHECK_EQ(lab_serve(&lab, 2), 3);
	CHECK(uvs_softq_arm(&lab.end[2]));
	uvs_softq_disarm(&lab.end[2]);
}

/* One that sends much does not keep the others waiting. */
static void
fair(void)
{
	uvs_ref ref[4];

	for (uint32_t i = 0; i < 32; i++)
		lab_stage(&lab, 1, 2, i);
	uvs_softq_publish(&lab.end[1]);
	lab_stage(&lab, 3, 2, 0);
	uvs_softq_publish(&lab.end[3]);
	CHECK_EQ(uvs_softq_take(&lab.end[2], ref, 4), 4);
	CHECK_EQ(uvs_softq_take(&lab.end[2], ref, 4), 4);
	CHECK_EQ(UVS_REF_POOL(ref[0]), 3);
}

/* A frame of several buffers: all of it or nothing, and never in two pieces. */
static void
several_buffers(void)
{
	uvs_ref ref[UVS_SEGS_MAX];

	lab_tie(&lab, 1, 10, 5);
	CHECK(lab_stage(&lab, 1, 2, 7));
	CHECK(lab_stage(&lab, 1, 2, 10));
	uvs_softq_publish(&lab.end[1]);
	expect(1, LAB_BUFFERS - 6, 6, 0);
	CHECK_EQ(uvs_softq_take(&lab.end[2], ref, 4), 1);
	CHECK_EQ(uvs_softq_take(&lab.end[2], ref, UVS_SEGS_MAX), 5);
	for (uint32_t i = 0; i < 5; i++)
		CHECK(ref[i] == UVS_REF(1, 10 + i));
	expect(1, LAB_BUFFERS - 6, 0, 6);
	/* Handed on to a third one, as it is. */
	CHECK(uvs_softq_stage(&lab.end[2], 3, ref[0]));
	uvs_softq_publish(&lab.end[2]);
	CHECK_EQ(lab_serve(&lab, 3), 5);
	lab_tie(&lab, 1, 20, 3);
	lab.end[1].head[3] = UVS_SOFTQ_DEPTH - 2;
	CHECK(!lab_stage(&lab, 1, 3, 20));
	lab_tie(&lab, 1, 0, UVS_SEGS_MAX + 1);
	CHECK(!lab_stage(&lab, 1, 2, 0));
	expect(1, LAB_BUFFERS - 6, 5, 1);
}

/* The manager cannot get rid of a buffer at once: it holds it, and tries again. */
static void
manager_waits(void)
{
	struct uvs_softq *home = ring(1, UVS_SLOT_BOSS);
	uint64_t wake;

	lab_stage(&lab, 1, 2, 0);
	uvs_softq_publish(&lab.end[1]);
	lab.end[UVS_SLOT_BOSS].head[1] = UVS_SOFTQ_DEPTH;
	atomic_store(&home->head, UVS_SOFTQ_DEPTH);
	lab_bury(&lab, 2);
	expect(1, LAB_BUFFERS - 1, 0, 1);
	CHECK_EQ(uvs_softq_tick(&lab.end[UVS_SLOT_BOSS], &wake), 1);
	atomic_store(&home->tail, UVS_SOFTQ_DEPTH);
	CHECK_EQ(uvs_softq_tick(&lab.end[UVS_SLOT_BOSS], &wake), 0);
	lab_lease(&lab, 2);
	CHECK_EQ(lab_settle(&lab), 0);
}

/* Frames to a slot that nobody has come home, once. */
static void
to_nobody(void)
{
	uint64_t wake;
	uvs_ref ref[8];

	lab_bury(&lab, 2);
	for (uint32_t i = 0; i < 3; i++)
		lab_stage(&lab, 1, 2, i);
	uvs_softq_publish(&lab.end[1]);
	CHECK_EQ(uvs_softq_tick(&lab.end[UVS_SLOT_BOSS], &wake), 0);
	CHECK_EQ(uvs_softq_take(&lab.end[1], ref, 8), 3);
	expect(1, LAB_BUFFERS, 0, 0);
	CHECK_EQ(atomic_load(&lab.x.inbox[1].bad), 0);
}

/* ------------------------------------------------------------------------------------- stress */

#define FRAMES 200000

static _Atomic uint32_t done;

/* Sends its buffers to the others, uses them again when they come home. */
static void *
stack_thread(void *arg)
{
	uint32_t self = (uint32_t)(uintptr_t)arg, nb_free = LAB_BUFFERS, sent = 0, n;
	struct uvs_softq_end *e = &lab.end[self];
	uint32_t free_list[LAB_BUFFERS];
	uvs_ref ref[16];

	for (uint32_t i = 0; i < LAB_BUFFERS; i++)
		free_list[i] = i;
	while (sent < FRAMES || nb_free < LAB_BUFFERS || atomic_load(&done) < 3) {
		for (uint32_t i = 0; i < 4 && nb_free > 0 && sent < FRAMES; i++, sent++)
			CHECK(lab_stage(&lab, self, 1 + (self + sent % 2) % 3,
					free_list[--nb_free]));
		n = uvs_softq_take(e, ref, 16);
		for (uint32_t i = 0; i < n; i++)
			if (UVS_REF_POOL(ref[i]) == self)
				free_list[nb_free++] = UVS_REF_INDEX(ref[i]);
			else
				CHECK(uvs_softq_stage(e, UVS_REF_POOL(ref[i]), ref[i]));
		CHECK(nb_free <= LAB_BUFFERS);
		uvs_softq_publish(e);
		if (n == 0)
			sched_yield(); /* there may be fewer cores than stacks */
		if (sent == FRAMES && nb_free == LAB_BUFFERS) {
			sent++; /* counted once */
			atomic_fetch_add(&done, 1);
		}
	}
	return NULL;
}

static void
three_at_once(void)
{
	pthread_t thread[LAB_SLOTS];

	for (uintptr_t i = 1; i < LAB_SLOTS; i++)
		CHECK_EQ(pthread_create(&thread[i], NULL, stack_thread, (void *)i), 0);
	for (uint32_t i = 1; i < LAB_SLOTS; i++)
		pthread_join(thread[i], NULL);
	for (uint32_t i = 1; i < LAB_SLOTS; i++) {
		expect(i, LAB_BUFFERS, 0, 0);
		CHECK_EQ(atomic_load(&lab.x.inbox[i].bad), 0);
		CHECK_EQ(atomic_load(&lab.x.inbox[i].returned), FRAMES);
	}
}

int
main(void)
{
	static void (*const tests[])(void) = {over_and_home, full,      nonsense,
					      sleeping,      fair,      several_buffers,
					      manager_waits, to_nobody, three_at_once};

	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		lab_open(&lab);
		tests[i]();
		lab_close(&lab);
	}
	return 0;
}
