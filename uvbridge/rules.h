/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/rules.h - flow rules as a sender keeps them: compiled, in its own memory.
 *
 * What a rule looks at - its group, layers, fields and masks, but for the values - is its shape.
 * Rules of one shape differ in values only, so one hash table finds the one that fits a frame,
 * whether there are two of them or thousands (tuple space search: Srinivasan, Suri, Varghese,
 * "Packet classification using tuple space search", 1999). A port's rules have few shapes.
 *
 * A table belongs to one thread: that of the queue that transmits. The owner of the rules keeps
 * one, too, which nothing is looked up in, to be told by it which rules fit in.
 *
 * Cost of a frame: one parse, and for each shape of the group that could have a better rule than
 * the one found, a copy of the bytes it looks at, a hash of them and a comparison.
 */
#ifndef UVBRIDGE_RULES_H
#define UVBRIDGE_RULES_H

#include "uvbridge/internal.h"

/* Where the layers of a frame are. */
struct uvb_layers {
	uint32_t bits;          /* UVB_LAYER_* */
	int32_t at[UVB_AT_MAX]; /* offset of each anchor; -1: it has none */
};

void uvb_layers_parse(struct uvb_layers *l, const uint8_t *head, uint32_t avail);

struct uvb_rules;

/* NULL when there is no memory. */
struct uvb_rules *uvb_rules_new(struct uvb_rules_shm *shm);
void uvb_rules_free(struct uvb_rules *t);

/* One rule, as checked, in place of the one in that slot; NULL: none. -ENOMEM, or -ENOSPC with one
 * kind too many (*why says of what); the old rule is then still there. */
int uvb_rules_put(struct uvb_rules *t, uint32_t slot, const struct uvb_rule *rule,
		  const char **why);

uint32_t uvb_rules_nb(const struct uvb_rules *t);

/* Catch up with the segment. `life` is that of the port: another one's rules are forgotten. */
void uvb_rules_refresh(struct uvb_rules *t, uint32_t life, uint16_t nb_rxq);

/* What the rules make of a frame. */
struct uvb_ruling {
	bool drop;
	bool steered; /* to rxq. Neither: no rule decided */
	bool hashed;  /* by a rule: has_hash says whether there was something to hash */
	bool has_hash;
	uint8_t rxq;
	uint32_t hash;
	uint32_t flags; /* UVB_RULE_FLAG, UVB_RULE_MARK */
	uint32_t mark;
	uint32_t nb_counted;
	uint16_t counted[UVB_RULE_APPLIED]; /* slots of the rules that count it */
};

void uvb_rules_apply(const struct uvb_rules *t, const uint8_t *head, uint32_t len,
		     struct uvb_ruling *r);
/* A frame that they ruled on has been taken. */
void uvb_rules_count(const struct uvb_rules *t, const struct uvb_ruling *r, uint32_t bytes);

#endif /* UVBRIDGE_RULES_H */
