/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvstack metrics: everything that is counted, in Prometheus' text format 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). */
#include "stack/seen/show.h"

#include <string.h>

#include "stack/seen/stages.h"

static void
head(const char *name, const char *type, const char *help)
{
	printf("# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A backslash, a quote and a line's end are escaped; names come from other processes. */
static void
label(const char *name, const char *value, const char *end)
{
	printf("%s=\"", name);
	for (; *value != '\0'; value++) {
		if (*value == '"' || *value == '\\')
			putchar('\\');
		putchar((unsigned char)*value < 0x20 || (unsigned char)*value >= 0x7f ? '?'
										      : *value);
	}
	printf("\"%s", end);
}

static void
labels(const struct uvs_sample *s)
{
	putchar('{');
	label("host", s->host, ",");
	label("nic", s->seen.nic, ",");
	label("name", s->is_manager ? "uvstackd" : s->seen.name, ",");
	printf("pid=\"%d\",slot=\"%u\",state=\"%s\"", s->pid, s->slot, s->alive ? "alive" : "dead");
}

static void
number(const struct uvs_counter *c, uint64_t value)
{
	if (c->unit == UVS_UNIT_NS)
		printf(" %.9f\n", (double)value / 1e9);
	else
		printf(" %llu\n", (unsigned long long)value);
}

static void
queue_values(const struct uvs_samples *all, unsigned int i, const char *name)
{
	struct uvs_view v = {.part = {NULL}};
	uint64_t value;

	for (uint32_t k = 0; k < all->n; k++) {
		const struct uvs_sample *s = &all->sample[k];

		for (uint32_t q = 0; q < s->seen.queues; q++) {
			v.part[UVS_PART_QUEUE] = &s->seen.queue[q];
			uvs_counter_read(&v, i, &value);
			fputs(name, stdout);
			labels(s);
			printf(",queue=\"%u\"}", s->seen.first_queue + q);
			number(&uvs_counters[i], value);
		}
	}
}

static void
values(const struct uvs_samples *all, unsigned int i, const char *name)
{
	for (uint32_t k = 0; k < all->n; k++) {
		if (!all->sample[k].has[i])
			continue;
		fputs(name, stdout);
		labels(&all->sample[k]);
		putchar('}');
		number(&uvs_counters[i], all->sample[k].value[i]);
	}
}

static void
counters(const struct uvs_samples *all)
{
	char name[UVS_COUNTER_NAME];

	for (unsigned int i = 0; i < uvs_nb_counters; i++) {
		const struct uvs_counter *c = &uvs_counters[i];

		uvs_counter_metric(c, name);
		head(name, c->type == UVS_GAUGE ? "gauge" : "counter", c->help);
		if (c->part == UVS_PART_QUEUE)
			queue_values(all, i, name);
		else
			values(all, i, name);
	}
}

/* ----------------------------------------------------------------------------------- latency, NIC
 */

static void
stage_line(const struct uvs_sample *s, int stage, const char *suffix, const char *quantile,
	   double value)
{
	printf("uvstack_latency_seconds%s", suffix);
	labels(s);
	printf(",stage=\"%s\"%s} %.9f\n", uvs_stages[stage].name, quantile, value);
}

static void
stages_of(const struct uvs_sample *s)
{
	for (int i = 0; i < UVS_STAGES; i++) {
		const struct uvs_histogram *h = &s->seen.stage[i];

		if (h->count == 0)
			continue;
		stage_line(s, i, "", ",quantile=\"0.5\"", (double)uvs_hist_quantile(h, 0.5) / 1e9);
		stage_line(s, i, "", ",quantile=\"0.99\"",
			   (double)uvs_hist_quantile(h, 0.99) / 1e9);
		stage_line(s, i, "", ",quantile=\"0.999\"",
			   (double)uvs_hist_quantile(h, 0.999) / 1e9);
		stage_line(s, i, "_sum", "", (double)h->sum_ns / 1e9);
		stage_line(s, i, "_count", "", (double)h->count);
	}
}

static void
nic_counters(const struct uvs_samples *all)
{
	head("uvstack_nic_xstat", "untyped",
	     "the NIC's extended statistics, by its driver's names");
	for (uint32_t i = 0; i < all->nb_nic; i++) {
		fputs("uvstack_nic_xstat{", stdout);
		label("host", all->nic[i].host, ",");
		label("xstat", all->nic[i].name, "}");
		printf(" %llu\n", (unsigned long long)all->nic[i].value);
	}
}

int
uvs_show_metrics(const struct uvs_show *show)
{
	struct uvs_samples before, now;

	if (uvs_show_read(show, &before, &now) < 0)
		return 1;
	counters(&now);
	head("uvstack_latency_seconds", "summary", "how long packets wait, by stage");
	for (uint32_t i = 0; i < now.n; i++)
		stages_of(&now.sample[i]);
	nic_counters(&now);
	uvs_samples_free(&before);
	uvs_samples_free(&now);
	return fflush(stdout) == 0 ? 0 : 1;
}
