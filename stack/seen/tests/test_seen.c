/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The table of counters, histograms, and frames that are read while they are written. With an
 * argument: docs/observability.md has the table. --markdown: print it as it has to stand there.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stack/seen/sample.h"

static int failures;

#define OK(cond, ...)                                                   \
	do {                                                            \
		if (!(cond)) {                                          \
			fprintf(stderr, "%s:%d: ", __FILE__, __LINE__); \
			fprintf(stderr, __VA_ARGS__);                   \
			fputc('\n', stderr);                            \
			failures++;                                     \
		}                                                       \
	} while (0)

/* ---------------------------------------------------------------------------------------- table */

static void
test_names(void)
{
	char a[UVS_COUNTER_NAME], b[UVS_COUNTER_NAME];

	for (unsigned int i = 0; i < uvs_nb_counters; i++) {
		const struct uvs_counter *c = &uvs_counters[i];

		uvs_counter_metric(c, a);
		OK(strspn(a, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(a), "%s", a);
		OK(strlen(a) < UVS_COUNTER_NAME - 1, "%s is cut off", a);
		OK(c->size == 4 || c->size == 8, "%s: %u bytes", a, c->size);
		OK((c->type == UVS_DROPS_COUNTER) == (c->place != NULL), "%s", a);
		OK(c->help[0] != '\0' && strchr(c->help, '\n') == NULL, "%s has no help", a);
		for (unsigned int k = 0; k < i; k++) {
			uvs_counter_metric(&uvs_counters[k], b);
			OK(strcmp(a, b) != 0, "%s stands twice", a);
		}
	}
}

/* Each frame that is kept has a reason that is shown, and only one. */
static void
test_reasons(void)
{
	unsigned int shown[UVS_LOST_REASONS] = {0};

	for (unsigned int i = 0; i < uvs_nb_counters; i++)
		if (uvs_counters[i].why != UVS_LOST_NONE)
			shown[uvs_counters[i].why]++;
	for (int why = 0; why < UVS_LOST_REASONS; why++)
		OK(shown[why] == 1, "reason %d stands %u times", why, shown[why]);
}

static void
test_read(void)
{
	static struct uvs_seen page;
	struct uvs_view v = {.part = {[UVS_PART_SEEN] = &page}};
	static struct uvs_sample s;

	page.port.rx_bytes = 1ULL << 40;
	page.queues = UVS_SEEN_QUEUES + 1; /* nonsense of a process that scribbles */
	uvs_sample_take(&v, &s);
	OK(uvs_sample_value(&s, "port.rx_bytes") == 1ULL << 40, "a 64-bit counter");
	OK(s.seen.queues == 0, "queues are not believed");
	OK(!s.has[uvs_counter_find("lwip.tcp.recv")], "a part it does not have");
	OK(uvs_counter_find("port.rx") < 0 && uvs_counter_find("no.such") < 0, "found what is not");
}

/* ----------------------------------------------------------------------------------- histograms */

static void
test_histogram(void)
{
	static struct uvs_histogram h;
	uint64_t median;

	for (uint64_t ns = 0; ns < 1ULL << 36; ns = ns * 9 / 8 + 1) {
		unsigned int i = uvs_hist_bucket(ns);
		uint64_t top = uvs_hist_upper(i);

		OK(ns <= top && (i == 0 || ns > uvs_hist_upper(i - 1)), "%llu is not in bucket %u",
		   (unsigned long long)ns, i);
		OK((double)top <= (double)ns * 1.125, "%llu is off by too much",
		   (unsigned long long)ns);
	}
	OK(uvs_hist_bucket(UINT64_MAX) == UVS_HIST_BUCKETS - 1, "beyond the end");
	OK(uvs_hist_quantile(&h, 0.5) == 0, "of nothing");
	for (uint64_t us = 1; us <= 1000; us++)
		uvs_hist_add(&h, us * 1000);
	median = uvs_hist_quantile(&h, 0.5);
	OK(median >= 500000 && median <= 500000 * 9 / 8, "median %llu", (unsigned long long)median);
	OK(uvs_hist_quantile(&h, 0.999) >= 999000, "p99.9");
	OK(h.count == 1000 && h.sum_ns == 500500000, "sum");
}

/* --------------------------------------------------------------------------------------- frames */

#define ROUNDS 200000

static struct uvs_seen shared;
static _Atomic bool done;

static void *
write_frames(void *arg)
{
	uint8_t frame[UVS_SEEN_HEADER];

	(void)arg;
	for (unsigned int i = 1; i <= ROUNDS; i++) {
		memset(frame, (int)(i % 251), sizeof(frame));
		uvs_seen_last(&shared, UVS_LOST_UDP, frame, i % 251, sizeof(frame), i % 251);
	}
	done = true;
	return NULL;
}

/* All of a frame that is shown is of one frame. */
static void
test_torn_frames(void)
{
	struct uvs_view v = {.part = {[UVS_PART_SEEN] = &shared}};
	struct uvs_sample *s = malloc(sizeof(*s));
	const struct uvs_lost_frame *f = &s->seen.lost[UVS_LOST_UDP].last;
	unsigned int whole = 0;
	pthread_t t;

	pthread_create(&t, NULL, write_frames, NULL);
	while (!done || whole == 0) {
		uvs_sample_take(&v, s);
		if (f->turn == 0)
			continue;
		whole++;
		OK(f->len == f->when_ns && f->header[0] == f->len && f->header[127] == f->len,
		   "a frame of two: %u, %u, %u", f->len, f->header[0], f->header[127]);
	}
	pthread_join(t, NULL);
	free(s);
}

/* ----------------------------------------------------------------------------------- the document
 */

static void
markdown(FILE *f)
{
	static const char *const types[] = {"counter", "gauge", "drops"};
	char metric[UVS_COUNTER_NAME];

	fputs("| counter | Prometheus | type | unit | meaning |\n|---|---|---|---|---|\n", f);
	for (unsigned int i = 0; i < uvs_nb_counters; i++) {
		const struct uvs_counter *c = &uvs_counters[i];

		uvs_counter_metric(c, metric);
		fprintf(f, "| `%s.%s` | `%s` | %s | %s | %s%s%s |\n", c->group, c->name, metric,
			types[c->type], uvs_unit_name(c->unit), c->help,
			c->place != NULL ? "; where: " : "", c->place != NULL ? c->place : "");
	}
}

static void
test_document(const char *path)
{
	static char page[1 << 18];
	char *table;
	size_t len;
	FILE *f = open_memstream(&table, &len), *doc = fopen(path, "re");

	markdown(f);
	fclose(f);
	len = doc != NULL ? fread(page, 1, sizeof(page) - 1, doc) : 0;
	page[len] = '\0';
	OK(strstr(page, table) != NULL, "%s has not the table of counters: seen_test --markdown",
	   path);
	if (doc != NULL)
		fclose(doc);
	free(table);
}

int
main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--markdown") == 0) {
		markdown(stdout);
		return 0;
	}
	test_names();
	test_reasons();
	test_read();
	test_histogram();
	test_torn_frames();
	if (argc > 1)
		test_document(argv[1]);
	return failures != 0;
}
