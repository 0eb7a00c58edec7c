/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Input: frames off the wire, words that a hostile process writes into the memory that steering
 * reads, and requests to the manager; in any order (see step()).
 *
 * Whatever comes: only the frame's bytes are read (each lies in memory of its own), every frame
 * gets a verdict, nothing goes to a stack that is not up, and the manager comes to an end.
 */
#include <stdlib.h>

#include "stack/share/steer_lab.h"
#include "uvbridge/fuzz/fuzz.h"

#define SELF  1
#define DOWN  2
#define OTHER 3

static struct steer_lab lab;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	steer_lab_open(&lab);
	return 0;
}

static uint32_t
input_u32(struct input *in)
{
	uint32_t v;

	input_bytes(in, &v, sizeof(v));
	return v;
}

static void
check(const struct uvs_frame *f)
{
	if (f->verdict > UVS_HELD_BACK || (f->verdict == UVS_DROP && f->reason >= UVS_DROPS) ||
	    (f->verdict == UVS_COPY && (f->copies & ~(1ULL << OTHER)) != 0))
		abort();
}

static void
late(struct uvs_steer *s)
{
	struct uvs_frame frame[UVS_HELD];
	uint32_t n = uvs_steer_late(s, frame, UVS_HELD);

	for (uint32_t i = 0; i < n; i++)
		check(&frame[i]);
}

static void
one_frame(struct uvs_steer *s, struct input *in)
{
	struct uvs_frame f = {.flags = input_u8(in) & 7, .hash = input_u32(in)};
	uint64_t trail = input_u8(in);
	uint8_t *data;

	f.len = input_u8(in);
	data = malloc(f.len + 1); /* of its own, so that a step too far is seen */
	input_bytes(in, data, f.len);
	f.data = data;
	f.ref = UVS_REF(SELF, 0);
	f.trail = &trail;
	uvs_steer_burst(s, &f, 1);
	check(&f);
	if (f.verdict == UVS_HELD_BACK) /* let go of it before its memory goes */
		s->now += UVS_HOLD_NS;
	late(s);
	free(data);
}

/* A word anywhere in what steering shares, of the claims only those near the ports in use. */
static void
scribble(struct input *in)
{
	size_t rest = (lab.size - sizeof(struct uvs_claims) - lab.private) / sizeof(uint64_t);
	uint64_t *word = (uint64_t *)lab.memory + sizeof(struct uvs_claims) / sizeof(uint64_t);
	uint32_t at = input_u32(in);
	uint64_t value;

	input_bytes(in, &value, sizeof(value));
	word[at % rest] = value;
}

static void
scribble_claim(struct input *in)
{
	struct uvs_claim *c = &lab.map.claims->port[input_u8(in) % UVS_CLAIM_SPACES][input_u8(in)];
	uint64_t value;

	input_bytes(in, &value, sizeof(value));
	atomic_store(&c->held, value);
	atomic_store(&c->open, ~value >> 3 | value);
}

static void
request(struct input *in)
{
	struct uvs_requests *ring = &lab.map.rules.ring[OTHER];
	uint32_t head = atomic_load(&ring->head);

	input_bytes(in, &ring->entry[head % UVS_REQUESTS], sizeof(struct uvs_request));
	atomic_store(&ring->head, head + 1 + (input_u8(in) == 0 ? 1u << 20 : 0));
}

static void
step(struct input *in)
{
	uint8_t what = input_u8(in);

	switch (what & 7) {
	case 0:
		scribble(in);
		break;
	case 1:
		scribble_claim(in);
		break;
	case 2:
		request(in);
		break;
	case 3:
		uvs_rules_serve(&lab.writer, UVS_REQUESTS);
		break;
	case 4:
		uvs_rules_close(&lab.writer);
		if (uvs_rules_adopt(&lab.writer, &lab.map.rules, lab.map.claims) < 0)
			abort();
		break;
	default:
		one_frame(&lab.steer[SELF], in);
	}
}

/* As it was before the first input; of the claims what a step can have written. */
static void
clear(void)
{
	for (int space = 0; space < UVS_CLAIM_SPACES; space++)
		memset(lab.map.claims->port[space], 0, 256 * sizeof(struct uvs_claim));
	memset((char *)lab.memory + sizeof(struct uvs_claims), 0,
	       lab.size - sizeof(struct uvs_claims) - lab.private);
	uvs_steer_close(&lab.steer[SELF]);
	for (uint32_t slot = 0; slot < LAB_SLOTS; slot++)
		lab_lease(&lab.lab, slot);
	steer_lab_start(&lab, SELF);
	atomic_store(&lab.lab.x.inbox[DOWN].life, UVS_LIFE_DOWN);
	uvs_rules_close(&lab.writer);
	if (uvs_rules_adopt(&lab.writer, &lab.map.rules, lab.map.claims) < 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};

	clear();
	while (in.left > 0) {
		step(&in);
		for (uint32_t to = 0; to < LAB_SLOTS; to++) {
			if (to != OTHER && (lab.lab.end[SELF].touched >> to & 1) != 0)
				abort();
			lab.lab.end[SELF].head[to] = lab.lab.end[SELF].tail[to]; /* taken */
		}
		lab.lab.end[SELF].touched = 0;
	}
	return 0;
}
