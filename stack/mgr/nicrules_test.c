/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Connections' rules in a NIC, which is played here: which of them are in it, whatever happens.
 */
#include <errno.h>
#include <netinet/in.h>
#include <rte_errno.h>
#include <string.h>

#include "stack/mgr/nicrules.h"
#include "stack/share/steer_lab.h"
#include "uvbridge/test.h"

#define SLOTS  4 /* 1 and 2 have queues */
#define QUEUES 2
#define ROOM   8 /* of the NIC */

/* ------------------------------------------------------------------------------------- the NIC */

struct rte_flow {
	bool used;
	uint16_t queue, dst_port; /* the latter as on the wire */
};

static struct rte_flow nic[ROOM];
static uint32_t room, nb_tries;
static bool knows_count = true, knows_v6 = true;

static int
refuse(struct rte_flow_error *error, int code, const char *why)
{
	error->message = why;
	rte_errno = code;
	return -code;
}

int
rte_flow_validate(uint16_t port, const struct rte_flow_attr *attr,
		  const struct rte_flow_item pattern[], const struct rte_flow_action actions[],
		  struct rte_flow_error *error)
{
	(void)port;
	if (!attr->ingress)
		return refuse(error, ENOTSUP, "no direction");
	if (pattern[1].type == RTE_FLOW_ITEM_TYPE_IPV6 && !knows_v6)
		return refuse(error, ENOTSUP, "no IPv6 here");
	if (actions[0].type == RTE_FLOW_ACTION_TYPE_COUNT && !knows_count)
		return refuse(error, ENOTSUP, "no counters here");
	return 0;
}

static uint32_t
in_nic(void)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < ROOM; i++)
		n += nic[i].used;
	return n;
}

struct rte_flow *
rte_flow_create(uint16_t port, const struct rte_flow_attr *attr,
		const struct rte_flow_item pattern[], const struct rte_flow_action actions[],
		struct rte_flow_error *error)
{
	const struct rte_flow_item_tcp *l4 = pattern[2].spec;
	const struct rte_flow_action_queue *to;

	nb_tries++;
	CHECK_EQ(rte_flow_validate(port, attr, pattern, actions, error), 0);
	while (actions->type != RTE_FLOW_ACTION_TYPE_QUEUE)
		actions++;
	to = actions->conf;
	CHECK(to->index < QUEUES);
	for (uint32_t i = 0; i < ROOM && in_nic() < room; i++)
		if (!nic[i].used) {
			nic[i] = (struct rte_flow){true, to->index, l4->hdr.dst_port};
			return &nic[i];
		}
	refuse(error, ENOSPC, "the NIC is full");
	return NULL;
}

int
rte_flow_destroy(uint16_t port, struct rte_flow *flow, struct rte_flow_error *error)
{
	(void)port;
	(void)error;
	CHECK(flow->used);
	flow->used = false;
	return 0;
}

int
rte_flow_query(uint16_t port, struct rte_flow *flow, const struct rte_flow_action *action,
	       void *data, struct rte_flow_error *error)
{
	struct rte_flow_query_count *count = data;

	(void)port;
	(void)error;
	CHECK(flow->used && action->type == RTE_FLOW_ACTION_TYPE_COUNT);
	count->hits_set = 1;
	count->hits = 77;
	return 0;
}

static uint32_t
leads_to(uint16_t queue)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < ROOM; i++)
		n += nic[i].used && nic[i].queue == queue;
	return n;
}

/* ------------------------------------------------------------------------------------ the host */

static struct uvs_host host;
static struct uvs_lease lease[QUEUES];
static struct uvs_rules rules;
static struct uvs_rules_writer writer;
static struct uvs_claims claims;
static struct uvs_nicrules nicrules;
static void *memory;

/* The events that lead from FREE to LIVE. */
static void
go_live(uint32_t slot)
{
	CHECK(uvs_lease_grant(&lease[slot - 1], slot) >= 0);
	CHECK_EQ(uvs_lease_move(&lease[slot - 1], UVS_LEASE_READY), 0);
}

static void
happen(uint32_t slot, enum uvs_lease_event event)
{
	CHECK_EQ(uvs_lease_move(&lease[slot - 1], event), 0);
	uvs_nicrules_follow(&nicrules, slot);
}

static void
set_up(uint32_t nic_room)
{
	size_t size = uvs_rules_size(64, SLOTS);

	memset(nic, 0, sizeof(nic));
	memset(lease, 0, sizeof(lease));
	room = nic_room;
	nb_tries = 0;
	host = (struct uvs_host){.nb_slots = SLOTS, .nb_queues = QUEUES, .lease = lease};
	memory = aligned_alloc(64, (size + 63) / 64 * 64);
	CHECK(memory != NULL);
	memset(memory, 0, size);
	uvs_rules_map(&rules, 64, SLOTS, 0x5eed, memory);
	CHECK_EQ(uvs_rules_adopt(&writer, &rules, &claims), 0);
	uvs_nicrules_start(&nicrules, 0, &host, &writer);
	go_live(1);
	go_live(2);
}

static void
tear_down(void)
{
	while (uvs_nicrules_yield(&nicrules))
		;
	CHECK_EQ(in_nic(), 0);
	uvs_rules_close(&writer);
	free(memory);
}

static struct uvs_flow
flow(uint32_t i)
{
	return steer_flow(i & 1 ? 6 : 4, i & 2 ? IPPROTO_TCP : IPPROTO_UDP, (uint16_t)(80 + i), 1,
			  (uint16_t)(1000 + i));
}

static void
add(uint32_t i, uint32_t slot)
{
	struct uvs_flow f = flow(i);

	CHECK_EQ(uvs_rules_add(&writer, &f, slot), 0);
}

static void
del(uint32_t i, uint32_t slot)
{
	struct uvs_flow f = flow(i);

	CHECK_EQ(uvs_rules_delete(&writer, &f, slot), 0);
}

/* --------------------------------------------------------------------------------------- tests */

/* A rule of the table is in the NIC from its making to its end, for the queue of its slot. */
static void
test_follows_the_table(void)
{
	struct uvs_flow f = flow(0);
	uint64_t frames;

	set_up(ROOM);
	for (uint32_t i = 0; i < 4; i++)
		add(i, 1 + i / 2);
	CHECK_EQ(leads_to(0), 2);
	CHECK_EQ(leads_to(1), 2);
	CHECK_EQ(nic[3].dst_port, htons(83));
	CHECK(uvs_nicrules_query(&nicrules, &f, &frames));
	CHECK_EQ(frames, 77);
	add(0, 2); /* the connection is another slot's now */
	CHECK_EQ(leads_to(0), 1);
	CHECK_EQ(leads_to(1), 3);
	del(0, 2);
	CHECK(!uvs_nicrules_query(&nicrules, &f, &frames));
	CHECK_EQ(in_nic(), 3);
	CHECK_EQ(uvs_rules_reclaim(&writer, 2), 2);
	CHECK_EQ(in_nic(), 1);
	CHECK_EQ(nicrules.made, 5);
	tear_down();
}

/* Only while somebody polls the queue; a slot without one has none. */
static void
test_follows_the_queue(void)
{
	set_up(ROOM);
	add(0, 1);
	add(1, 2);
	add(2, 3);
	CHECK_EQ(in_nic(), 2);
	happen(1, UVS_LEASE_STALL);
	CHECK_EQ(leads_to(0), 0);
	add(4, 1);
	CHECK_EQ(leads_to(0), 0);
	happen(1, UVS_LEASE_RESUME);
	CHECK_EQ(leads_to(0), 2);
	happen(1, UVS_LEASE_PARK);
	happen(2, UVS_LEASE_DEATH);
	CHECK_EQ(in_nic(), 0);
	CHECK_EQ(writer.nb_rules[1], 2); /* those of the table stay */
	tear_down();
}

/* A NIC that is full is left alone until a rule goes; what it did not take is counted. */
static void
test_full(void)
{
	set_up(2);
	for (uint32_t i = 0; i < 6; i++)
		add(i, 1);
	CHECK_EQ(in_nic(), 2);
	CHECK_EQ(nb_tries, 3);
	CHECK_EQ(nicrules.refused, 4);
	CHECK(strcmp(nicrules.why, "the NIC is full") == 0);
	del(0, 1);
	CHECK_EQ(in_nic(), 1);
	add(6, 1);
	CHECK_EQ(in_nic(), 2);
	/* A rule of another kind needs the room more. */
	CHECK(uvs_nicrules_yield(&nicrules));
	CHECK_EQ(in_nic(), 1);
	for (uint32_t i = 1; i < 7; i++)
		del(i, 1);
	CHECK_EQ(in_nic(), 0);
	CHECK(!uvs_nicrules_yield(&nicrules));
	tear_down();
}

/* What the port says at the start is all that it is asked for. */
static void
test_what_it_takes(void)
{
	struct uvs_flow f = flow(0);
	uint64_t frames;

	knows_count = knows_v6 = false;
	set_up(ROOM);
	for (uint32_t i = 0; i < 4; i++)
		add(i, 1);
	CHECK_EQ(in_nic(), 2);
	CHECK_EQ(nicrules.refused, 0);
	CHECK(strcmp(nicrules.why, "no IPv6 here") == 0);
	CHECK(uvs_nicrules_query(&nicrules, &f, &frames));
	CHECK_EQ(frames, UINT64_MAX);
	tear_down();
	knows_count = knows_v6 = true;
}

/* The heir of a manager that was killed: its table's rules come into the NIC as its slots do. */
static void
test_heir(void)
{
	set_up(ROOM);
	add(0, 1);
	add(1, 2);
	uvs_rules_close(&writer);
	memset(nic, 0, sizeof(nic)); /* flushed */
	CHECK_EQ(uvs_rules_adopt(&writer, &rules, &claims), 0);
	uvs_nicrules_start(&nicrules, 0, &host, &writer);
	uvs_nicrules_follow(&nicrules, 1);
	CHECK_EQ(in_nic(), 1);
	uvs_nicrules_follow(&nicrules, 2);
	uvs_nicrules_follow(&nicrules, 2);
	CHECK_EQ(in_nic(), 2);
	tear_down();
}

int
main(void)
{
	test_follows_the_table();
	test_follows_the_queue();
	test_full();
	test_what_it_takes();
	test_heir();
	return 0;
}
