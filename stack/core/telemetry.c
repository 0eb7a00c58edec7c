/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/core/telemetry.h"
#include "stack/core/log.h"
#include "stack/seen/stages.h"

#include <errno.h>
#include <rte_telemetry.h>
#include <stdlib.h>
#include <string.h>

static struct {
	uvs_telemetry_view_fn view;
	void *arg;
	uint32_t nb_slots;
} telemetry;

/* The slot of "/uvstack/...,SLOT", and its parts. */
static int
find(const char *params, struct uvs_view *v)
{
	unsigned long slot = 0;
	char *end;

	if (params != NULL && params[0] != '\0') {
		slot = strtoul(params, &end, 10);
		if (*end != '\0' || slot >= telemetry.nb_slots)
			return -EINVAL;
	}
	return telemetry.view(telemetry.arg, (uint32_t)slot, v) ? 0 : -ENOENT;
}

/* The same, of a slot that has a page: not the manager. */
static int
find_seen(const char *params, const struct uvs_seen **seen)
{
	struct uvs_view v;
	int rc = find(params, &v);

	if (rc < 0)
		return rc;
	*seen = v.part[UVS_PART_SEEN];
	return *seen != NULL ? 0 : -ENOENT;
}

static int
stacks(const char *cmd, const char *params, struct rte_tel_data *d)
{
	struct uvs_view v;

	(void)cmd;
	(void)params;
	rte_tel_data_start_array(d, RTE_TEL_INT_VAL);
	for (uint32_t slot = 0; slot < telemetry.nb_slots; slot++)
		if (telemetry.view(telemetry.arg, slot, &v))
			rte_tel_data_add_array_int(d, (int)slot);
	return 0;
}

static int
info(const char *cmd, const char *params, struct rte_tel_data *d)
{
	const struct uvs_seen *seen;
	struct uvs_view v;
	int rc = find(params, &v);

	(void)cmd;
	if (rc < 0)
		return rc;
	seen = v.part[UVS_PART_SEEN];
	rte_tel_data_start_dict(d);
	if (seen == NULL)
		return rte_tel_data_add_dict_string(d, "name", "uvstackd");
	rte_tel_data_add_dict_string(d, "name", seen->name);
	rte_tel_data_add_dict_int(d, "pid", seen->pid);
	rte_tel_data_add_dict_string(d, "nic", seen->nic);
	rte_tel_data_add_dict_u64(d, "queues", seen->queues);
	rte_tel_data_add_dict_u64(d, "first_queue", seen->first_queue);
	return rte_tel_data_add_dict_u64(d, "started", seen->started_s);
}

/* Telemetry allows letters, digits, _ and / in names. */
static void
name_of(unsigned int i, char name[UVS_COUNTER_NAME])
{
	snprintf(name, UVS_COUNTER_NAME, "%s_%s", uvs_counters[i].group, uvs_counters[i].name);
	for (; *name != '\0'; name++)
		if (*name == '.')
			*name = '_';
}

static int
counters_of(const char *params, struct rte_tel_data *d, bool losses)
{
	char name[UVS_COUNTER_NAME];
	struct uvs_view v;
	uint64_t value;
	int rc = find(params, &v);

	if (rc < 0)
		return rc;
	rte_tel_data_start_dict(d);
	for (unsigned int i = 0; i < uvs_nb_counters; i++) {
		if (!uvs_counter_read(&v, i, &value) ||
		    (losses && (uvs_counters[i].type != UVS_DROPS_COUNTER || value == 0)))
			continue;
		name_of(i, name);
		rte_tel_data_add_dict_u64(d, name, value);
	}
	return 0;
}

static int
counters(const char *cmd, const char *params, struct rte_tel_data *d)
{
	(void)cmd;
	return counters_of(params, d, false);
}

static int
drops(const char *cmd, const char *params, struct rte_tel_data *d)
{
	(void)cmd;
	return counters_of(params, d, true);
}

static int
add_queue(struct rte_tel_data *d, uint32_t number, const struct uvs_queue_stats *q)
{
	struct uvs_view v = {.part = {[UVS_PART_QUEUE] = q}};
	struct rte_tel_data *row = rte_tel_data_alloc();
	char name[16];
	uint64_t value;

	if (row == NULL)
		return -ENOMEM;
	rte_tel_data_start_dict(row);
	for (unsigned int i = 0; i < uvs_nb_counters; i++)
		if (uvs_counter_read(&v, i, &value))
			rte_tel_data_add_dict_u64(row, uvs_counters[i].name, value);
	snprintf(name, sizeof(name), "q%u", number);
	return rte_tel_data_add_dict_container(d, name, row, 0);
}

static int
softnet(const char *cmd, const char *params, struct rte_tel_data *d)
{
	const struct uvs_seen *seen;
	int rc = find_seen(params, &seen);

	(void)cmd;
	if (rc < 0)
		return rc;
	rte_tel_data_start_dict(d);
	for (uint32_t q = 0; rc == 0 && q < seen->queues && q < UVS_SEEN_QUEUES; q++)
		rc = add_queue(d, seen->first_queue + q, &seen->queue[q]);
	return rc;
}

static int
add_stage(struct rte_tel_data *d, int stage, const struct uvs_histogram *h)
{
	struct rte_tel_data *row = rte_tel_data_alloc();
	char name[32];

	if (row == NULL)
		return -ENOMEM;
	rte_tel_data_start_dict(row);
	rte_tel_data_add_dict_u64(row, "count", h->count);
	rte_tel_data_add_dict_u64(row, "sum_ns", h->sum_ns);
	rte_tel_data_add_dict_u64(row, "p50_ns", uvs_hist_quantile(h, 0.5));
	rte_tel_data_add_dict_u64(row, "p99_ns", uvs_hist_quantile(h, 0.99));
	rte_tel_data_add_dict_u64(row, "p999_ns", uvs_hist_quantile(h, 0.999));
	snprintf(name, sizeof(name), "%s", uvs_stages[stage].name);
	*strchr(name, '-') = '_';
	return rte_tel_data_add_dict_container(d, name, row, 0);
}

static int
latency(const char *cmd, const char *params, struct rte_tel_data *d)
{
	const struct uvs_seen *seen;
	int rc = find_seen(params, &seen);

	(void)cmd;
	if (rc < 0)
		return rc;
	rte_tel_data_start_dict(d);
	for (int stage = 0; rc == 0 && stage < UVS_STAGES; stage++)
		rc = add_stage(d, stage, &seen->stage[stage]);
	return rc;
}

static const struct command {
	const char *name;
	telemetry_cb answer;
	const char *help;
} commands[] = {
	{"/uvstack/stacks", stacks, "Returns the slots that have a stack. Takes no parameters"},
	{"/uvstack/info", info, "Returns process, NIC and queues of a stack. Parameters: slot"},
	{"/uvstack/counters", counters, "Returns all counters of a stack. Parameters: slot"},
	{"/uvstack/drops", drops, "Returns what a stack has dropped. Parameters: slot"},
	{"/uvstack/softnet", softnet, "Returns counters of each receive queue. Parameters: slot"},
	{"/uvstack/latency", latency, "Returns latency by stage, in ns. Parameters: slot"},
};

void
uvs_telemetry_register(uvs_telemetry_view_fn view, void *arg, uint32_t nb_slots)
{
	telemetry.view = view;
	telemetry.arg = arg;
	telemetry.nb_slots = nb_slots;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		int rc = rte_telemetry_register_cmd(commands[i].name, commands[i].answer,
						    commands[i].help);

		if (rc < 0)
			uvs_log(UVS_LOG_WARNING, "telemetry: %s: %s", commands[i].name,
				strerror(-rc));
	}
}
