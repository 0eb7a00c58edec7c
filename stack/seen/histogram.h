/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/seen/histogram.h - log-linear histogram of nanoseconds: eight buckets for each power of
 * two, so that a quantile is off by 12.5 % at most. One writer, any number of readers; fixed size.
 */
#ifndef STACK_SEEN_HISTOGRAM_H
#define STACK_SEEN_HISTOGRAM_H

#include <stdint.h>

#define UVS_HIST_SUB     8  /* buckets for each power of two */
#define UVS_HIST_BITS    36 /* values from 2^36 ns, 69 s, on share the last bucket */
#define UVS_HIST_BUCKETS ((UVS_HIST_BITS - 2) * UVS_HIST_SUB)

struct uvs_histogram {
	uint64_t count, sum_ns;
	uint64_t bucket[UVS_HIST_BUCKETS];
};

static inline unsigned int
uvs_hist_bucket(uint64_t ns)
{
	unsigned int exponent;

	if (ns < UVS_HIST_SUB)
		return (unsigned int)ns;
	if (ns >> UVS_HIST_BITS != 0)
		return UVS_HIST_BUCKETS - 1;
	exponent = 63 - (unsigned int)__builtin_clzll(ns);
	return (exponent - 2) * UVS_HIST_SUB + ((unsigned int)(ns >> (exponent - 3)) & 7);
}

static inline void
uvs_hist_add(struct uvs_histogram *h, uint64_t ns)
{
	h->bucket[uvs_hist_bucket(ns)]++;
	h->sum_ns += ns;
	h->count++;
}

/* The largest value that falls into a bucket. */
uint64_t uvs_hist_upper(unsigned int bucket);

/* The value that a part of all values, 0 < part <= 1, does not exceed, as its bucket's largest; 0
 * of an empty one. */
uint64_t uvs_hist_quantile(const struct uvs_histogram *h, double part);

#endif /* STACK_SEEN_HISTOGRAM_H */
