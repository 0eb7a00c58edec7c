/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/seen/histogram.h"

uint64_t
uvs_hist_upper(unsigned int bucket)
{
	unsigned int exponent = bucket / UVS_HIST_SUB + 2, sub = bucket % UVS_HIST_SUB;

	if (bucket < UVS_HIST_SUB)
		return bucket;
	return (1ULL << exponent) + ((sub + 1ULL) << (exponent - 3)) - 1;
}

/* From the buckets alone: count may be of another moment. */
uint64_t
uvs_hist_quantile(const struct uvs_histogram *h, double part)
{
	uint64_t all = 0, seen = 0;

	for (unsigned int i = 0; i < UVS_HIST_BUCKETS; i++)
		all += h->bucket[i];
	for (unsigned int i = 0; i < UVS_HIST_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen != 0 && (double)seen >= part * (double)all)
			return uvs_hist_upper(i);
	}
	return 0;
}
