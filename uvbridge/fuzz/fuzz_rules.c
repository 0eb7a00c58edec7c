/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Fuzzing flow rules as a sender finds them in the segment: whatever a rule says, it is refused, or
 * can be put into a table, applied to any frame, and taken out again.
 *
 * Input: rules, each with the slot it goes to; what is left is a frame.
 */
#include <stdlib.h>

#include "uvbridge/fuzz/fuzz.h"
#include "uvbridge/rules.h"

#define SLOTS  8
#define QUEUES 4

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

/* The arrays of a rule are mostly zero: they are as long as the input says. */
static void
take_array(struct input *in, uint8_t *to, size_t room)
{
	size_t n = input_u8(in);

	input_bytes(in, to, n < room ? n : room);
}

static void
take_rule(struct input *in, struct uvb_rule *r)
{
	memset(r, 0, sizeof(*r));
	input_bytes(in, r, offsetof(struct uvb_rule, field));
	take_array(in, (uint8_t *)r->field, sizeof(r->field));
	take_array(in, r->value, sizeof(r->value));
	take_array(in, r->mask, sizeof(r->mask));
	take_array(in, r->last, sizeof(r->last));
	take_array(in, r->queue, sizeof(r->queue));
}

static void
apply(const struct uvb_rules *t, struct input *in)
{
	uint32_t len = in->left < UVB_RULE_REACH ? (uint32_t)in->left : UVB_RULE_REACH;
	struct uvb_ruling r;
	uint8_t *frame;

	if (len < UVB_FRAME_MIN)
		return;
	frame = malloc(len); /* of its own, so that a step too far is seen */
	input_bytes(in, frame, len);
	uvb_rules_apply(t, frame, len, &r);
	if (r.nb_counted > UVB_RULE_APPLIED || (r.steered && r.rxq >= QUEUES))
		abort();
	for (uint32_t i = 0; i < r.nb_counted; i++)
		if (r.counted[i] >= SLOTS)
			abort();
	free(frame);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct uvb_rules *t = uvb_rules_new(NULL);
	const char *why;
	uint8_t n = input_u8(&in) % (2 * SLOTS);

	for (uint8_t i = 0; i < n; i++) {
		uint32_t slot = input_u8(&in) % SLOTS;
		struct uvb_rule r;

		take_rule(&in, &r);
		uvb_rules_put(t, slot, uvb_rule_check(&r, QUEUES) == NULL ? &r : NULL, &why);
	}
	apply(t, &in);
	uvb_rules_free(t);
	return 0;
}
