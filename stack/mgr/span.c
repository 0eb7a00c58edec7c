/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/mgr/mgr.h"

#include <stdlib.h>
#include <string.h>

void
span_note(struct span *s, uint64_t ns)
{
	uint64_t us = ns / UVS_NS_PER_US;

	s->us[s->n++ % SPAN_SAMPLES] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

static int
by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Nearest rank. */
uint32_t
span_percentile(const struct span *s, uint32_t p)
{
	size_t n = s->n < SPAN_SAMPLES ? (size_t)s->n : SPAN_SAMPLES;
	uint32_t sorted[SPAN_SAMPLES];

	if (n == 0)
		return 0;
	memcpy(sorted, s->us, n * sizeof(sorted[0]));
	qsort(sorted, n, sizeof(sorted[0]), by_size);
	return sorted[(n * p + 99) / 100 - 1];
}
