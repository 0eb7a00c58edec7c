/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/seen/show.h - what uvstack shows of samples (sample.h): on standard output, as tables or
 * JSON. Each returns uvstack's exit status, 0 or 1; errors are said on standard error.
 */
#ifndef STACK_SEEN_SHOW_H
#define STACK_SEEN_SHOW_H

#include "stack/seen/out.h"
#include "stack/seen/sample.h"

struct uvs_show {
	struct uvs_whom whom;
	bool json;
	bool once;        /* top: one table */
	double interval;  /* seconds between two readings; 0: not given */
	const char *word; /* latency: on, off; else NULL */
};

int uvs_show_top(const struct uvs_show *o);
int uvs_show_softnet(const struct uvs_show *o);
int uvs_show_drops(const struct uvs_show *o);
int uvs_show_latency(const struct uvs_show *o);
/* Prometheus' text format, version 0.0.4. */
int uvs_show_metrics(const struct uvs_show *o);

/* What there is to be counted. */
int uvs_show_counters(const struct uvs_show *o);

/* ---- for them */

/* Who a row is about. */
void uvs_show_who(struct out *o, const struct uvs_sample *s);
/* Two readings, `interval` seconds apart; of 0 seconds only the second, and the first is empty. */
int uvs_show_read(const struct uvs_show *o, struct uvs_samples *before, struct uvs_samples *now);
/* Growth per second of a value between two readings; 0 if there is no first one. */
double uvs_show_rate(const struct uvs_samples *before, const struct uvs_samples *now,
		     uint64_t value_before, uint64_t value_now);
/* Growth per second of a stack's counter. */
double uvs_show_counter_rate(const struct uvs_samples *before, const struct uvs_samples *now,
			     const struct uvs_sample *s, unsigned int counter);

#endif /* STACK_SEEN_SHOW_H */
