/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvstack latency: how long packets wait at each stage. */
#include "stack/seen/show.h"

#include <string.h>

#include "stack/seen/stages.h"

/* What has come since: a quantile of now, not of the stack's whole life. */
static void
subtract(struct uvs_histogram *h, const struct uvs_histogram *before)
{
	h->count -= before->count;
	h->sum_ns -= before->sum_ns;
	for (unsigned int i = 0; i < UVS_HIST_BUCKETS; i++)
		h->bucket[i] -= before->bucket[i];
}

static void
row(struct out *o, const struct uvs_sample *s, int stage, const struct uvs_histogram *h)
{
	out_row(o);
	uvs_show_who(o, s);
	out_str(o, "stage", -14, uvs_stages[stage].name);
	out_num(o, "count", 9, h->count);
	out_real(o, "mean_us", 9, 3,
		 h->count != 0 ? (double)h->sum_ns / (double)h->count / 1e3 : 0);
	out_real(o, "p50_us", 9, 3, (double)uvs_hist_quantile(h, 0.5) / 1e3);
	out_real(o, "p99_us", 9, 3, (double)uvs_hist_quantile(h, 0.99) / 1e3);
	out_real(o, "p99.9_us", 9, 3, (double)uvs_hist_quantile(h, 0.999) / 1e3);
	out_row_end(o);
}

static void
rows(struct out *o, const struct uvs_samples *before, const struct uvs_sample *s)
{
	const struct uvs_sample *old = uvs_samples_before(before, s);

	for (int stage = 0; stage < UVS_STAGES; stage++) {
		struct uvs_histogram h = s->seen.stage[stage];

		if (old != NULL)
			subtract(&h, &old->seen.stage[stage]);
		if (h.count != 0)
			row(o, s, stage, &h);
	}
}

static int
turn(const struct uvs_show *show)
{
	char err[UVS_ERR_LEN];

	if (strcmp(show->word, "on") != 0 && strcmp(show->word, "off") != 0) {
		fprintf(stderr, "uvstack: latency %s: it can be switched on or off\n", show->word);
		return 2;
	}
	if (uvs_latency_switch(&show->whom, strcmp(show->word, "on") == 0, err) == 0)
		return 0;
	fprintf(stderr, "uvstack: %s\n", err);
	return 1;
}

int
uvs_show_latency(const struct uvs_show *show)
{
	struct uvs_samples before, now;
	struct out o;

	if (show->word != NULL)
		return turn(show);
	if (uvs_show_read(show, &before, &now) < 0)
		return 1;
	out_begin(&o, stdout, show->json);
	out_table(&o, "latency");
	for (uint32_t i = 0; i < now.n; i++)
		rows(&o, &before, &now.sample[i]);
	out_table_end(&o, "nothing was measured: uvstack latency on, or latency = yes in the "
			  "configuration");
	out_end(&o);
	uvs_samples_free(&before);
	uvs_samples_free(&now);
	return 0;
}
