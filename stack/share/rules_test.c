/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Flow rules: beside a plain array, through requests, after another writer, while others read.
 */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>

#include "stack/share/steer_lab.h"
#include "uvbridge/test.h"

#define SLOTS 5
#define FLOWS 90 /* more than the 64 there is room for by rights */

static struct uvs_rules rules;
static struct uvs_rules_writer writer;
static struct uvs_claims *claims;
static void *memory;
static size_t size;

static void
open_rules(uint32_t room)
{
	size = uvs_rules_size(room, SLOTS);
	memory = aligned_alloc(64, (size + 63) / 64 * 64);
	claims = calloc(1, sizeof(*claims));
	CHECK(memory != NULL && claims != NULL);
	memset(memory, 0, size);
	uvs_rules_map(&rules, room, SLOTS, 0x5eed, memory);
	CHECK_EQ(uvs_rules_adopt(&writer, &rules, claims), 0);
}

static void
close_rules(void)
{
	uvs_rules_close(&writer);
	free(memory);
	free(claims);
}

static struct uvs_flow
flow(uint32_t i)
{
	return steer_flow(i & 1 ? 6 : 4, i & 2 ? IPPROTO_TCP : IPPROTO_UDP, 80, (uint8_t)i,
			  (uint16_t)(i * 7));
}

static uint32_t
found(const struct uvs_flow *f)
{
	return uvs_rules_find(&rules, uvs_flow_hash(f, rules.secret));
}

static uint64_t
words_in_use(void)
{
	uint64_t n = 0;

	/* A flow may stay behind, its word may not. */
	for (uint32_t i = 0; i < rules.lines * 8; i++)
		n += atomic_load(&rules.word[i]) != 0;
	return n;
}

/* ------------------------------------------------------------------------------------ a model */

static uint32_t model[FLOWS], model_rules[SLOTS];

static void
model_set(uint32_t i, uint32_t slot)
{
	if (model[i] != 0)
		model_rules[model[i]]--;
	if (slot != 0)
		model_rules[slot]++;
	model[i] = slot;
}

static void
random_step(void)
{
	uint32_t i = (uint32_t)(rnd() % FLOWS), slot = 1 + (uint32_t)(rnd() % (SLOTS - 1));
	struct uvs_flow f = flow(i);

	switch (rnd() % 16) {
	case 0: /* the manager dies, and another goes on */
		uvs_rules_close(&writer);
		CHECK_EQ(uvs_rules_adopt(&writer, &rules, claims), 0);
		break;
	case 1:
		if (rnd() % 8)
			break;
		CHECK_EQ(uvs_rules_reclaim(&writer, slot), model_rules[slot]);
		for (uint32_t j = 0; j < FLOWS; j++)
			if (model[j] == slot)
				model_set(j, 0);
		break;
	case 2 ... 7:
		CHECK_EQ(uvs_rules_delete(&writer, &f, slot), model[i] == slot ? 0 : -ENOENT);
		if (model[i] == slot)
			model_set(i, 0);
		break;
	default:
		CHECK_EQ(uvs_rules_add(&writer, &f, slot), 0);
		model_set(i, slot);
	}
}

static uint32_t walked;

static void
walk_one(void *arg, const struct uvs_flow *f, uint32_t slot)
{
	(void)arg;
	CHECK_EQ(found(f), slot);
	walked++;
}

static void
beside_an_array(void)
{
	uint32_t total = 0;

	open_rules(64);
	memset(model, 0, sizeof(model));
	memset(model_rules, 0, sizeof(model_rules));
	for (int step = 0; step < 20000; step++) {
		random_step();
		if (step % 16)
			continue;
		for (uint32_t i = 0; i < FLOWS; i++) {
			struct uvs_flow f = flow(i);

			CHECK_EQ(found(&f), model[i]);
		}
	}
	walked = 0;
	uvs_rules_walk(&rules, walk_one, NULL);
	for (uint32_t slot = 1; slot < SLOTS; slot++) {
		CHECK_EQ(writer.nb_rules[slot], model_rules[slot]);
		total += model_rules[slot];
		uvs_rules_reclaim(&writer, slot);
	}
	CHECK_EQ(walked, total);
	CHECK_EQ(words_in_use(), 0); /* nothing left for readers to pass */
	close_rules();
}

/* More than there is room for: refused, and what is there is found. */
static void
full_table(void)
{
	uint32_t n = 0;

	open_rules(64);
	for (uint32_t i = 0; i < 1000; i++) {
		struct uvs_flow f = steer_flow(4, IPPROTO_TCP, 80, (uint8_t)i, (uint16_t)i);
		int r = uvs_rules_add(&writer, &f, 1);

		CHECK(r == 0 || r == -ENOSPC);
		n += r == 0;
		CHECK_EQ(found(&f), r == 0);
	}
	CHECK_EQ(n, 128);
	CHECK_EQ(uvs_rules_reclaim(&writer, 1), 128);
	CHECK_EQ(words_in_use(), 0);
	close_rules();
}

/* ----------------------------------------------------------------------------------- requests */

static void
requests(void)
{
	struct uvs_requester q;
	struct uvs_flow f = flow(2);

	open_rules(64);
	uvs_rules_open(&q, &rules, 3);
	CHECK(uvs_rules_ask(&q, &f));
	CHECK(uvs_rules_waiting(&rules));
	CHECK_EQ(uvs_rules_serve(&writer, 8), 1);
	CHECK_EQ(found(&f), 0); /* refused: it does not hold the port */
	CHECK_EQ(atomic_load(&rules.ring[3].refused), 1);
	CHECK_EQ(uvs_claim_take(claims, UVS_CLAIM_TCP4, f.lport, uvs_claimant_alone(3), 0), 0);
	CHECK(uvs_rules_ask(&q, &f));
	CHECK_EQ(uvs_rules_serve(&writer, 8), 1);
	CHECK(!uvs_rules_waiting(&rules));
	CHECK_EQ(found(&f), 3);
	uvs_rules_revoke(&q, &f);
	CHECK_EQ(uvs_rules_serve(&writer, 8), 1);
	CHECK_EQ(found(&f), 0);
	uvs_rules_shut(&q);
	close_rules();
}

/* The manager does not come: asking fails, what is over is remembered, in order. */
static void
manager_is_away(void)
{
	struct uvs_requester q;
	struct uvs_flow f = flow(2), g;
	uint32_t n;

	open_rules(64);
	uvs_rules_open(&q, &rules, 3);
	CHECK_EQ(uvs_claim_take(claims, UVS_CLAIM_TCP4, 80, uvs_claimant_alone(3), 0), 0);
	for (n = 0; uvs_rules_ask(&q, &f); n++)
		;
	CHECK_EQ(n, UVS_REQUESTS);
	for (uint32_t i = 0; i < 100; i++) {
		g = flow(i * 4 + 2);
		uvs_rules_revoke(&q, &g);
	}
	CHECK(!uvs_rules_ask(&q, &f));
	CHECK_EQ(uvs_rules_serve(&writer, 50), 50); /* in pieces */
	uvs_rules_settle(&q);
	CHECK_EQ(q.nb_owed, 50);
	CHECK_EQ(uvs_rules_serve(&writer, UVS_REQUESTS), UVS_REQUESTS);
	CHECK(uvs_rules_ask(&q, &f));
	CHECK_EQ(q.nb_owed, 0);
	CHECK_EQ(uvs_rules_serve(&writer, UVS_REQUESTS), 51);
	CHECK_EQ(found(&f), 3);
	CHECK_EQ(atomic_load(&rules.ring[3].refused), 0);
	uvs_rules_shut(&q);
	close_rules();
}

static void
hostile_requests(void)
{
	struct uvs_requests *ring;
	struct uvs_flow f = flow(2);

	open_rules(64);
	ring = &rules.ring[2];
	CHECK_EQ(uvs_claim_take(claims, UVS_CLAIM_TCP4, 80, uvs_claimant_alone(2), 0), 0);
	atomic_store(&ring->head, 0x80000000);
	CHECK_EQ(uvs_rules_serve(&writer, 8), 0);
	CHECK(!uvs_rules_waiting(&rules));
	for (int i = 0; i < 4; i++) {
		struct uvs_request *r = &ring->entry[atomic_load(&ring->head) % UVS_REQUESTS];

		*r = (struct uvs_request){.flow = f, .add = 1};
		if (i == 0)
			r->flow.family = 5;
		else if (i == 1)
			r->flow.proto = 1;
		else if (i == 2)
			r->add = 2;
		else
			r->flow.lport = 81; /* of nobody */
		atomic_fetch_add(&ring->head, 1);
	}
	CHECK_EQ(uvs_rules_serve(&writer, 8), 4);
	CHECK_EQ(atomic_load(&ring->refused), 5);
	CHECK_EQ(words_in_use(), 0);
	/* Another's rule is not taken away. */
	CHECK_EQ(uvs_rules_add(&writer, &f, 1), 0);
	ring->entry[atomic_load(&ring->head) % UVS_REQUESTS] = (struct uvs_request){.flow = f};
	atomic_fetch_add(&ring->head, 1);
	CHECK_EQ(uvs_rules_serve(&writer, 8), 1);
	CHECK_EQ(found(&f), 1);
	close_rules();
}

/* Somebody scribbles over the table: no reader and no writer leaves it, or stays in it. */
static void
scribbled_table(void)
{
	open_rules(64);
	for (int round = 0; round < 200; round++) {
		uint64_t *w = memory, words = (size_t)rules.lines * 8 * 6; /* of flows, too */

		for (uint32_t i = 0; i < words; i++)
			w[i] = rnd() % 4 == 0 ? 0 : rnd();
		if (round % 2)
			memset(memory, 0xff, (size_t)rules.lines * 64);
		for (uint32_t i = 0; i < FLOWS; i++) {
			struct uvs_flow f = flow(i);

			CHECK(found(&f) < 64);
			uvs_rules_add(&writer, &f, 1);
			uvs_rules_delete(&writer, &f, 1);
		}
		uvs_rules_close(&writer);
		CHECK_EQ(uvs_rules_adopt(&writer, &rules, claims), 0);
		for (uint32_t slot = 1; slot < SLOTS; slot++)
			uvs_rules_reclaim(&writer, slot);
		walked = 0;
		uvs_rules_walk(&rules, walk_one, NULL);
		CHECK_EQ(walked, 0);
	}
	close_rules();
}

/* ------------------------------------------------------------------------------ hooks of NICs */

static uint32_t there, gone;

static void
note(void *arg, const struct uvs_flow *f, uint32_t slot, bool is_there)
{
	(void)arg;
	(void)f;
	(void)slot;
	if (is_there)
		there++;
	else
		gone++;
}

static void
changes_are_told(void)
{
	struct uvs_flow f = flow(1);

	open_rules(64);
	writer.changed = note;
	CHECK_EQ(uvs_rules_add(&writer, &f, 1), 0);
	CHECK_EQ(uvs_rules_add(&writer, &f, 1), 0); /* nothing new */
	CHECK(there == 1 && gone == 0);
	CHECK_EQ(uvs_rules_add(&writer, &f, 2), 0);
	CHECK(there == 2 && gone == 1);
	CHECK_EQ(uvs_rules_reclaim(&writer, 2), 1);
	CHECK_EQ(gone, 2);
	close_rules();
}

/* ------------------------------------------------------------------------------------- readers */

/* The writer goes on until the reader has found something, however late it gets a processor. */
static _Atomic bool stop;

static uint32_t
slot_for(uint32_t i)
{
	return 1 + i % (SLOTS - 1);
}

/* A flow is found where it is, or nowhere; never where another is. */
static void *
reader(void *arg)
{
	_Atomic uint64_t *hits = arg;

	while (!atomic_load(&stop))
		for (uint32_t i = 0; i < FLOWS; i++) {
			struct uvs_flow f = flow(i);
			uint32_t slot = found(&f);

			CHECK(slot == 0 || slot == slot_for(i));
			*hits += slot != 0;
		}
	return NULL;
}

/* Two flows that belong in the same line, for ever one after the other in one place: neither is
 * found as the other. */
static struct uvs_flow twins[2];

static void *
twin_reader(void *arg)
{
	_Atomic uint64_t *hits = arg;

	while (!atomic_load(&stop))
		for (uint32_t i = 0; i < 2; i++) {
			uint32_t slot = found(&twins[i]);

			CHECK(slot == 0 || slot == i + 1);
			*hits += slot != 0;
		}
	return NULL;
}

static void
find_twins(void)
{
	uint64_t line;

	twins[0] = twins[1] = steer_flow(4, IPPROTO_TCP, 80, 1, 7);
	line = uvs_flow_hash(&twins[0], rules.secret) % rules.lines;
	do
		twins[1].remote[0]++;
	while (uvs_flow_hash(&twins[1], rules.secret) % rules.lines != line);
}

/* Where the only rule stands that leads to this slot. */
static _Atomic uint64_t *
word_to(uint32_t slot)
{
	for (uint32_t i = 0; i < rules.lines * 8; i++)
		if ((atomic_load(&rules.word[i]) >> 2 & 0x3f) == slot)
			return &rules.word[i];
	CHECK(false);
	return NULL;
}

/* Two flows that have one signature: a reader may take one for the other, the writer does not. */
static void
signatures_alike(void)
{
	open_rules(64);
	find_twins();
	CHECK_EQ(uvs_rules_add(&writer, &twins[0], 1), 0);
	CHECK_EQ(uvs_rules_add(&writer, &twins[1], 2), 0);
	atomic_store(word_to(1), atomic_load(word_to(2)) ^ (1 ^ 2) << 2);
	CHECK_EQ(uvs_rules_delete(&writer, &twins[1], 1), -ENOENT);
	CHECK_EQ(uvs_rules_delete(&writer, &twins[1], 2), 0);
	CHECK_EQ(found(&twins[1]), 1); /* a hop: who has slot 1 passes it on */
	CHECK_EQ(uvs_rules_reclaim(&writer, 1), 1);
	CHECK_EQ(words_in_use(), 0);
	close_rules();
}

static void
twins_take_turns(void)
{
	pthread_t thread;
	_Atomic uint64_t hits = 0;

	open_rules(64);
	find_twins();
	atomic_store(&stop, false);
	CHECK_EQ(pthread_create(&thread, NULL, twin_reader, &hits), 0);
	for (uint32_t i = 0; i < 1000000 || hits == 0; i++) {
		CHECK_EQ(uvs_rules_add(&writer, &twins[i & 1], (i & 1) + 1), 0);
		CHECK_EQ(uvs_rules_delete(&writer, &twins[i & 1], (i & 1) + 1), 0);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	close_rules();
}

static void
read_while_written(void)
{
	pthread_t thread;
	_Atomic uint64_t hits = 0;

	open_rules(64);
	atomic_store(&stop, false);
	CHECK_EQ(pthread_create(&thread, NULL, reader, &hits), 0);
	for (uint32_t step = 0; step < 100000 || hits == 0; step++) {
		uint32_t i = (uint32_t)(rnd() % FLOWS);
		struct uvs_flow f = flow(i);

		if (rnd() % 2)
			uvs_rules_add(&writer, &f, slot_for(i));
		else
			uvs_rules_delete(&writer, &f, slot_for(i));
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	close_rules();
}

int
main(void)
{
	seed_init();
	RUN(beside_an_array);
	RUN(full_table);
	RUN(requests);
	RUN(manager_is_away);
	RUN(hostile_requests);
	RUN(scribbled_table);
	RUN(changes_are_told);
	RUN(signatures_alike);
	RUN(read_while_written);
	RUN(twins_take_turns);
	return 0;
}
