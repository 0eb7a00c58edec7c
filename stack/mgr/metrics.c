/* SPDX-License-Identifier: BSD-3-Clause
 *
 * DPDK's own ways of looking at the host, for telemetry = yes: the telemetry socket (telemetry.h),
 * and rte_metrics, sums over all slots, which dpdk-proc-info --metrics reads. Both go by the table
 * of counters. */
#include "stack/core/log.h"
#include "stack/core/telemetry.h"
#include "stack/mgr/mgr.h"

#include <rte_metrics.h>
#include <string.h>

#define UPDATE_NS UVS_NS_PER_S

static int first_key = -1; /* of the table's counters, in its order */
static uint64_t updated_ns;

bool
metrics_view(void *arg, uint32_t slot, struct uvs_view *v)
{
	const struct mgr *m = arg;
	const struct uvs_slot *s = &m->host->slot[slot];

	*v = (struct uvs_view){.part = {NULL}};
	if (slot == UVS_SLOT_BOSS) {
		v->part[UVS_PART_MANAGER] = &m->stats;
		return true;
	}
	v->part[UVS_PART_SEEN] = s->seen;
	v->part[UVS_PART_LWIP] = s->lwip;
	v->part[UVS_PART_SLOT] = s;
	v->part[UVS_PART_STEER] = &m->map.stats[slot];
	v->part[UVS_PART_INBOX] = &m->host->x.inbox[slot];
	return s->leases != 0;
}

static void
register_names(void)
{
	static char text[UVS_COUNTERS_MAX][RTE_METRICS_MAX_NAME_LEN];
	const char *names[UVS_COUNTERS_MAX];

	for (unsigned int i = 0; i < uvs_nb_counters; i++) {
		snprintf(text[i], sizeof(text[i]), "uvstack.%s.%s", uvs_counters[i].group,
			 uvs_counters[i].name);
		names[i] = text[i];
	}
	first_key = rte_metrics_reg_names(names, (uint16_t)uvs_nb_counters);
	if (first_key < 0)
		uvs_log(UVS_LOG_WARNING, "rte_metrics: %s", strerror(-first_key));
}

void
metrics_start(struct mgr *m)
{
	if (!m->conf.telemetry)
		return;
	uvs_telemetry_register(metrics_view, m, m->host->nb_slots);
	if (rte_metrics_init(SOCKET_ID_ANY) == 0)
		register_names();
	else
		uvs_log(UVS_LOG_WARNING, "rte_metrics: no memory");
}

static void
add_up(const struct uvs_view *v, uint64_t sum[UVS_COUNTERS_MAX])
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < uvs_nb_counters; i++)
		if (uvs_counter_read(v, i, &value))
			sum[i] += value;
}

void
metrics_tick(struct mgr *m)
{
	uint64_t sum[UVS_COUNTERS_MAX] = {0};
	struct uvs_view v;

	if (first_key < 0 || mgr_now() - updated_ns < UPDATE_NS)
		return;
	updated_ns = mgr_now();
	for (uint32_t slot = 0; slot < m->host->nb_slots; slot++)
		if (metrics_view(m, slot, &v))
			add_up(&v, sum);
	rte_metrics_update_values(RTE_METRICS_GLOBAL, (uint16_t)first_key, sum, uvs_nb_counters);
}
