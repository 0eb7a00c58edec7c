/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/seen/counters.h"

#include <stdio.h>
#include <string.h>

#include "stack/lwip/uvl.h"
#include "stack/share/host.h"

#define AT(part, type, member) part, offsetof(type, member), sizeof(((type *)NULL)->member)
#define SEEN(member)           AT(UVS_PART_SEEN, struct uvs_seen, member)
#define LWIP(member)           AT(UVS_PART_LWIP, struct uvl, member)
#define SLOT(member)           AT(UVS_PART_SLOT, struct uvs_slot, member)
#define STEER(member)          AT(UVS_PART_STEER, struct uvs_steer_stats, member)
#define INBOX(member)          AT(UVS_PART_INBOX, struct uvs_inbox, member)
#define QUEUE(member)          AT(UVS_PART_QUEUE, struct uvs_queue_stats, member)
#define MANAGER(member)        AT(UVS_PART_MANAGER, struct uvs_manager_stats, member)

/* `stands` is three values: they take part in the initialiser as they are. */
#define N(group, name, unit, stands, help) \
	{group, name, help, unit, UVS_COUNTER, stands, UVS_LOST_NONE, NULL},
#define G(group, name, unit, stands, help) \
	{group, name, help, unit, UVS_GAUGE, stands, UVS_LOST_NONE, NULL},
#define D(group, name, unit, stands, help, why, place) \
	{group, name, help, unit, UVS_DROPS_COUNTER, stands, why, place},

const struct uvs_counter uvs_counters[] = {UVS_COUNTERS(N, G, D)};
const unsigned int uvs_nb_counters = sizeof(uvs_counters) / sizeof(uvs_counters[0]);

_Static_assert(sizeof(uvs_counters) / sizeof(uvs_counters[0]) <= UVS_COUNTERS_MAX,
	       "raise UVS_COUNTERS_MAX");

const char *
uvs_unit_name(enum uvs_unit unit)
{
	static const char *const names[] = {"times", "packets", "bytes",
					    "ns",    "mbufs",   "connections"};

	return names[unit];
}

bool
uvs_counter_read(const struct uvs_view *v, unsigned int i, uint64_t *value)
{
	const struct uvs_counter *c = &uvs_counters[i];
	const char *part = v->part[c->part];

	if (part == NULL)
		return false;
	if (c->size == sizeof(uint64_t))
		*value = __atomic_load_n((const uint64_t *)(part + c->offset), __ATOMIC_RELAXED);
	else
		*value = __atomic_load_n((const uint32_t *)(part + c->offset), __ATOMIC_RELAXED);
	return true;
}

int
uvs_counter_find(const char *name)
{
	for (unsigned int i = 0; i < uvs_nb_counters; i++) {
		size_t n = strlen(uvs_counters[i].group);

		if (strncmp(name, uvs_counters[i].group, n) == 0 && name[n] == '.' &&
		    strcmp(name + n + 1, uvs_counters[i].name) == 0)
			return (int)i;
	}
	return -1;
}

void
uvs_counter_metric(const struct uvs_counter *c, char name[UVS_COUNTER_NAME])
{
	size_t n = (size_t)snprintf(name, UVS_COUNTER_NAME, "uvstack_%s_%s", c->group, c->name);

	for (char *p = name; *p != '\0'; p++)
		if (*p == '.')
			*p = '_';
	if (c->unit == UVS_UNIT_NS)
		n -= strlen("ns");
	snprintf(name + n, UVS_COUNTER_NAME - n, "%s%s", c->unit == UVS_UNIT_NS ? "seconds" : "",
		 c->type == UVS_GAUGE ? "" : "_total");
}
