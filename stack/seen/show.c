/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What uvstack's tables have in common, and the smallest of them. */
#include "stack/seen/show.h"

#include <string.h>
#include <time.h>

void
uvs_show_who(struct out *o, const struct uvs_sample *s)
{
	out_num(o, "pid", 7, (uint64_t)s->pid);
	out_str(o, "name", -15, s->is_manager ? "uvstackd" : s->seen.name);
	out_str(o, "host", -10, s->host[0] != '\0' ? s->host : "-");
	if (o->json || s->host[0] != '\0')
		out_num(o, "slot", 4, s->slot);
	else
		out_str(o, "slot", 4, "-");
	out_str(o, "process", -7, s->alive ? "alive" : "dead");
}

static void
wait_for(double seconds)
{
	struct timespec t = {.tv_sec = (time_t)seconds,
			     .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};

	nanosleep(&t, NULL);
}

static int
read_all(const struct uvs_show *o, struct uvs_samples *s)
{
	char err[UVS_ERR_LEN];

	if (uvs_samples_read(&o->whom, s, err) == 0)
		return 0;
	fprintf(stderr, "uvstack: %s\n", err);
	return -1;
}

int
uvs_show_read(const struct uvs_show *o, struct uvs_samples *before, struct uvs_samples *now)
{
	memset(before, 0, sizeof(*before));
	if (o->interval > 0) {
		if (read_all(o, before) < 0)
			return -1;
		wait_for(o->interval);
	}
	if (read_all(o, now) == 0)
		return 0;
	uvs_samples_free(before);
	return -1;
}

double
uvs_show_rate(const struct uvs_samples *before, const struct uvs_samples *now,
	      uint64_t value_before, uint64_t value_now)
{
	double seconds = (double)(now->when_ns - before->when_ns) / 1e9;

	if (before->when_ns == 0 || seconds <= 0 || value_now < value_before)
		return 0;
	return (double)(value_now - value_before) / seconds;
}

double
uvs_show_counter_rate(const struct uvs_samples *before, const struct uvs_samples *now,
		      const struct uvs_sample *s, unsigned int counter)
{
	const struct uvs_sample *old = uvs_samples_before(before, s);

	if (old == NULL || !s->has[counter] || !old->has[counter])
		return 0;
	return uvs_show_rate(before, now, old->value[counter], s->value[counter]);
}

/* -------------------------------------------------------------------------------------- softnet */

static uint64_t
forwarded(const struct uvs_sample *s)
{
	static const char *const ways[] = {"steer.to_holder", "steer.to_rule", "steer.to_listener",
					   "steer.to_before", "steer.to_next"};
	uint64_t n = 0;

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		n += uvs_sample_value(s, ways[i]);
	return n;
}

static uint64_t
lost(const struct uvs_sample *s)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < uvs_nb_counters; i++)
		if (uvs_counters[i].type == UVS_DROPS_COUNTER && s->has[i])
			n += s->value[i];
	return n;
}

static void
softnet_row(struct out *o, const struct uvs_sample *s, uint32_t queue, bool first)
{
	const struct uvs_queue_stats *q = &s->seen.queue[queue];

	out_row(o);
	uvs_show_who(o, s);
	out_num(o, "queue", 5, s->seen.first_queue + queue);
	out_num(o, "polls", 11, q->polls);
	out_num(o, "packets", 11, q->packets);
	out_num(o, "squeezed", 8, q->time_squeeze);
	/* Of the stack, once. */
	out_num(o, "dropped", 8, first ? lost(s) : 0);
	out_num(o, "forwarded", 9, first ? forwarded(s) : 0);
	out_num(o, "taken", 9, first ? uvs_sample_value(s, "slot.taken") : 0);
	out_num(o, "requests", 9, first ? uvs_sample_value(s, "loop.calls") : 0);
	out_num(o, "sleeps", 8, first ? uvs_sample_value(s, "loop.sleeps") : 0);
	out_num(o, "wakes", 8, first ? uvs_sample_value(s, "loop.wakeups") : 0);
	out_row_end(o);
}

int
uvs_show_softnet(const struct uvs_show *show)
{
	struct uvs_samples before, now;
	struct out o;

	if (uvs_show_read(show, &before, &now) < 0)
		return 1;
	out_begin(&o, stdout, show->json);
	out_table(&o, "softnet");
	for (uint32_t i = 0; i < now.n; i++)
		for (uint32_t q = 0; q == 0 || q < now.sample[i].seen.queues; q++)
			if (!now.sample[i].is_manager)
				softnet_row(&o, &now.sample[i], q, q == 0);
	out_table_end(&o, "no stacks");
	out_end(&o);
	uvs_samples_free(&before);
	uvs_samples_free(&now);
	return 0;
}
