/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/mgr/nicrules.h"
#include "stack/core/log.h"

#include <netinet/in.h>
#include <rte_errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct uvs_nicrule {
	struct uvs_nicrule *next;
	struct rte_flow *handle;
	struct uvs_flow flow;
	uint32_t slot;
};

/* ---------------------------------------------------------------------------------- as rte_flow */

#define ITEMS 4

union l3 {
	struct rte_flow_item_ipv4 v4;
	struct rte_flow_item_ipv6 v6;
};

/* Both have their ports at the same place, and masks say that nothing else counts. */
union l4 {
	struct rte_flow_item_tcp tcp;
	struct rte_flow_item_udp udp;
};

struct spec {
	struct rte_flow_attr attr;
	union l3 l3, l3_mask;
	union l4 l4, l4_mask;
	struct rte_flow_item item[ITEMS];
	struct rte_flow_action_queue queue;
	struct rte_flow_action action[3];
};

static void
put_addresses(struct spec *s, const struct uvs_flow *f)
{
	if (f->family == 6) {
		memcpy(s->l3.v6.hdr.src_addr, f->remote, sizeof(f->remote));
		memcpy(s->l3.v6.hdr.dst_addr, f->local, sizeof(f->local));
		memset(s->l3_mask.v6.hdr.src_addr, 0xff, sizeof(f->remote));
		memset(s->l3_mask.v6.hdr.dst_addr, 0xff, sizeof(f->local));
		return;
	}
	s->l3.v4.hdr.src_addr = f->remote[0];
	s->l3.v4.hdr.dst_addr = f->local[0];
	s->l3_mask.v4.hdr.src_addr = s->l3_mask.v4.hdr.dst_addr = UINT32_MAX;
}

static void
put_ports(struct spec *s, const struct uvs_flow *f)
{
	if (f->proto == IPPROTO_TCP) {
		s->l4.tcp.hdr.src_port = htons(f->rport);
		s->l4.tcp.hdr.dst_port = htons(f->lport);
		s->l4_mask.tcp.hdr.src_port = s->l4_mask.tcp.hdr.dst_port = UINT16_MAX;
		return;
	}
	s->l4.udp.hdr.src_port = htons(f->rport);
	s->l4.udp.hdr.dst_port = htons(f->lport);
	s->l4_mask.udp.hdr.src_port = s->l4_mask.udp.hdr.dst_port = UINT16_MAX;
}

static void
put_actions(struct spec *s, uint16_t queue, bool count)
{
	uint32_t n = 0;

	s->queue.index = queue;
	if (count)
		s->action[n++].type = RTE_FLOW_ACTION_TYPE_COUNT;
	s->action[n++] = (struct rte_flow_action){RTE_FLOW_ACTION_TYPE_QUEUE, &s->queue};
	s->action[n].type = RTE_FLOW_ACTION_TYPE_END;
}

/* s points into itself. */
static void
specify(struct spec *s, const struct uvs_flow *f, uint16_t queue, bool count)
{
	memset(s, 0, sizeof(*s));
	s->attr.ingress = 1;
	put_addresses(s, f);
	put_ports(s, f);
	s->item[0].type = RTE_FLOW_ITEM_TYPE_ETH;
	s->item[1] = (struct rte_flow_item){.type = f->family == 6 ? RTE_FLOW_ITEM_TYPE_IPV6
								   : RTE_FLOW_ITEM_TYPE_IPV4,
					    .spec = &s->l3,
					    .mask = &s->l3_mask};
	s->item[2] = (struct rte_flow_item){
		.type = f->proto == IPPROTO_TCP ? RTE_FLOW_ITEM_TYPE_TCP : RTE_FLOW_ITEM_TYPE_UDP,
		.spec = &s->l4,
		.mask = &s->l4_mask};
	s->item[3].type = RTE_FLOW_ITEM_TYPE_END;
	put_actions(s, queue, count);
}

static void
note_refusal(struct uvs_nicrules *n, int rc, const struct rte_flow_error *error)
{
	snprintf(n->why, sizeof(n->why), "%s",
		 error->message != NULL ? error->message : strerror(rc < 0 ? -rc : rc));
}

/* -------------------------------------------------------------------------------- of the manager
 */

static enum uvs_claim_space
kind_of(const struct uvs_flow *f)
{
	return uvs_claim_space(f->proto, f->family);
}

/* The place of a rule in its bucket's list, or of the list's end. */
static struct uvs_nicrule **
find(const struct uvs_nicrules *n, const struct uvs_flow *f)
{
	uint64_t hash = uvs_flow_hash(f, n->w->r->secret);
	struct uvs_nicrule **at = (struct uvs_nicrule **)&n->bucket[hash % UVS_NICRULES_BUCKETS];

	while (*at != NULL && memcmp(&(*at)->flow, f, sizeof(*f)) != 0)
		at = &(*at)->next;
	return at;
}

static bool
is_polled(const struct uvs_nicrules *n, uint32_t slot)
{
	int queue = uvs_slot_queue(n->host, slot);

	return queue >= 0 &&
	       uvs_lease_in_reta(UVS_LEASE_STATE(atomic_load(&n->host->lease[queue].word)));
}

static struct rte_flow *
create(struct uvs_nicrules *n, const struct uvs_flow *f, uint32_t slot)
{
	struct rte_flow_error error = {.message = NULL};
	struct rte_flow *handle;
	struct spec s;

	specify(&s, f, (uint16_t)uvs_slot_queue(n->host, slot), n->counts);
	handle = rte_flow_create(n->port, &s.attr, s.item, s.action, &error);
	if (handle != NULL)
		return handle;
	n->full = true;
	note_refusal(n, rte_errno, &error);
	return NULL;
}

static void
add(struct uvs_nicrules *n, const struct uvs_flow *f, uint32_t slot)
{
	struct uvs_nicrule **at = find(n, f), *rule;
	struct rte_flow *handle;

	if (!n->takes[kind_of(f)] || !is_polled(n, slot) || *at != NULL)
		return;
	handle = n->full ? NULL : create(n, f, slot);
	rule = handle != NULL ? malloc(sizeof(*rule)) : NULL;
	if (rule == NULL) {
		if (handle != NULL)
			rte_flow_destroy(n->port, handle, NULL);
		n->refused++;
		return;
	}
	*rule = (struct uvs_nicrule){.handle = handle, .flow = *f, .slot = slot};
	*at = rule;
	n->n++;
	n->made++;
}

static void
drop(struct uvs_nicrules *n, struct uvs_nicrule **at)
{
	struct rte_flow_error error = {.message = NULL};
	struct uvs_nicrule *rule = *at;
	int rc = rte_flow_destroy(n->port, rule->handle, &error);

	if (rc != 0)
		uvs_log(UVS_LOG_WARNING, "a connection's rule stays in the NIC: %s",
			error.message != NULL ? error.message : strerror(-rc));
	*at = rule->next;
	free(rule);
	n->n--;
	n->full = false;
}

/* The table has changed. */
static void
changed(void *arg, const struct uvs_flow *f, uint32_t slot, bool there)
{
	struct uvs_nicrules *n = arg;
	struct uvs_nicrule **at;

	if (there) {
		add(n, f, slot);
		return;
	}
	at = find(n, f);
	if (*at != NULL)
		drop(n, at);
}

/* -------------------------------------------------------------------------------------- a slot's
 */

static void
drop_all(struct uvs_nicrules *n, uint32_t slot)
{
	for (uint32_t i = 0; i < UVS_NICRULES_BUCKETS && n->n != 0; i++)
		for (struct uvs_nicrule **at = &n->bucket[i]; *at != NULL;)
			if ((*at)->slot == slot)
				drop(n, at);
			else
				at = &(*at)->next;
}

struct addition {
	struct uvs_nicrules *n;
	uint32_t slot;
};

static void
add_if_its(void *arg, const struct uvs_flow *f, uint32_t slot)
{
	const struct addition *a = arg;

	if (slot == a->slot)
		add(a->n, f, slot);
}

void
uvs_nicrules_follow(struct uvs_nicrules *n, uint32_t slot)
{
	struct addition a = {n, slot};

	if (!is_polled(n, slot))
		drop_all(n, slot);
	else if (uvs_nicrules_any(n) && n->w->nb_rules[slot] != 0)
		uvs_rules_walk(n->w->r, add_if_its, &a);
}

bool
uvs_nicrules_yield(struct uvs_nicrules *n)
{
	for (uint32_t i = 0; i < UVS_NICRULES_BUCKETS; i++)
		if (n->bucket[i] != NULL) {
			drop(n, &n->bucket[i]);
			return true;
		}
	return false;
}

/* ------------------------------------------------------------------------------- asking the port
 */

static bool
port_takes(struct uvs_nicrules *n, const struct uvs_flow *f, bool count)
{
	struct rte_flow_error error = {.message = NULL};
	struct spec s;
	int rc;

	specify(&s, f, 0, count);
	rc = rte_flow_validate(n->port, &s.attr, s.item, s.action, &error);
	if (rc != 0)
		note_refusal(n, rc, &error);
	return rc == 0;
}

/* With a counter, if all that it takes can have one. */
static bool
ask_port(struct uvs_nicrules *n, bool count)
{
	for (int i = 0; i < UVS_CLAIM_SPACES; i++) {
		struct uvs_flow example = {.local = {1},
					   .remote = {2},
					   .lport = 1,
					   .rport = 2,
					   .proto = i & 1 ? IPPROTO_UDP : IPPROTO_TCP,
					   .family = i & 2 ? 6 : 4};

		n->takes[kind_of(&example)] = port_takes(n, &example, count);
	}
	return uvs_nicrules_any(n);
}

void
uvs_nicrules_start(struct uvs_nicrules *n, uint16_t port, const struct uvs_host *host,
		   struct uvs_rules_writer *w)
{
	*n = (struct uvs_nicrules){.port = port, .host = host, .w = w};
	n->counts = ask_port(n, true);
	if (!n->counts && !ask_port(n, false))
		return;
	w->changed = changed;
	w->changed_arg = n;
}

bool
uvs_nicrules_any(const struct uvs_nicrules *n)
{
	bool any = false;

	for (int i = 0; i < UVS_CLAIM_SPACES; i++)
		any |= n->takes[i];
	return any;
}

bool
uvs_nicrules_query(const struct uvs_nicrules *n, const struct uvs_flow *f, uint64_t *frames)
{
	const struct uvs_nicrule *rule = *find(n, f);
	const struct rte_flow_action count = {.type = RTE_FLOW_ACTION_TYPE_COUNT};
	struct rte_flow_query_count said = {.reset = 0};

	*frames = UINT64_MAX;
	if (rule != NULL && n->counts &&
	    rte_flow_query(n->port, rule->handle, &count, &said, NULL) == 0 && said.hits_set)
		*frames = said.hits;
	return rule != NULL;
}
