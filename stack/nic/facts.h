/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/nic/facts.h - what `uvstack nic check` has found out: facts of the device, each with what
 * the stack makes of it, and problems that keep the stack from using it.
 *
 * Plain data of one thread. What does not fit is cut, values first.
 */
#ifndef STACK_NIC_FACTS_H
#define STACK_NIC_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define FACTS_MAX    48
#define PROBLEMS_MAX 8
#define FACT_VALUE   512
#define FACT_NOTE    256

enum fact_type {
	FACT_TEXT,
	FACT_NUMBER,
	FACT_BOOL, /* "true", "false" */
	FACT_LIST, /* words, separated by spaces */
};

struct fact {
	const char *key; /* static; as in JSON: lower case, underscores */
	enum fact_type type;
	char value[FACT_VALUE];
	char note[FACT_NOTE]; /* what the stack does about it; empty: nothing to say */
};

struct facts {
	struct fact fact[FACTS_MAX];
	unsigned int n;
	char problem[PROBLEMS_MAX][FACT_NOTE]; /* with the remedy */
	unsigned int nproblems;
};

void fact_text(struct facts *f, const char *key, const char *value);
void fact_number(struct facts *f, const char *key, uint64_t value);
void fact_bool(struct facts *f, const char *key, bool value);
/* An empty list, to which words are then added. */
void fact_list(struct facts *f, const char *key);
void fact_word(struct facts *f, const char *word);

/* What the stack does about the fact that was stated last. */
void fact_note(struct facts *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void fact_problem(struct facts *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void facts_print(const struct facts *f, const char *device, FILE *out);
void facts_json(const struct facts *f, const char *device, FILE *out);

#endif /* STACK_NIC_FACTS_H */
