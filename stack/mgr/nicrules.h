/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/mgr/nicrules.h - connections' rules in the NIC, by rte_flow.
 *
 * A rule of the table that all receivers read (stack/share/rules.h) costs each frame a look-up and
 * the way over a soft queue. Where the port has flow rules, the manager puts a rule into the NIC
 * beside it - both addresses, both ports -> the queue of the slot - and the frames arrive where
 * they belong. The one in the table stays: it is for what is under way, for a NIC that is full, and
 * for a slot that has no queue or whose queue nobody polls.
 *
 * So nothing depends on it: a rule that the NIC refuses is counted, and its connection goes the
 * longer way. A rule is in the NIC only while its slot's queue has a share of the redirection table
 * (lease.h): when the slot parks, is stalled or dies, its rules leave the NIC first.
 *
 * Who calls rte_flow: the manager's one thread, nobody else of the host; a stack asks by its ring
 * and goes on. A stack that is killed holds nothing of the NIC. A manager that is killed leaves its
 * rules in the NIC, where they lead as before; its heir flushes them and makes them anew from the
 * table, if the driver lets a secondary process. A frame that comes to a queue by a rule out of
 * date is steered on as any other.
 *
 * Threads: the manager's.
 */
#ifndef STACK_MGR_NICRULES_H
#define STACK_MGR_NICRULES_H

#include <rte_flow.h>
#include <stdbool.h>
#include <stdint.h>

#include "stack/share/host.h"

#define UVS_NICRULES_BUCKETS 4096

struct uvs_nicrule;

struct uvs_nicrules {
	uint16_t port;
	const struct uvs_host *host;
	struct uvs_rules_writer *w;
	bool takes[UVS_CLAIM_SPACES]; /* TCP, UDP, over IPv4, IPv6 */
	bool counts;                  /* and says how many frames came by one */
	bool full;                    /* it refused one, and none has gone since */
	uint32_t n;                   /* rules in the NIC */
	uint64_t made, refused;       /* so far; refused: those not tried, being full, too */
	char why[128];                /* of the last refusal */
	struct uvs_nicrule *bucket[UVS_NICRULES_BUCKETS];
};

/* Ask the port which rules it takes; those of the table, by w, are followed from now on. */
void uvs_nicrules_start(struct uvs_nicrules *n, uint16_t port, const struct uvs_host *host,
			struct uvs_rules_writer *w);
/* The lease of the slot's queue has changed: its rules come, or go. */
void uvs_nicrules_follow(struct uvs_nicrules *n, uint32_t slot);
/* Make room in the NIC for a rule of another kind. False: there is none of ours. */
bool uvs_nicrules_yield(struct uvs_nicrules *n);
bool uvs_nicrules_any(const struct uvs_nicrules *n);

/* Is there one for the connection? *frames: that came by it; UINT64_MAX: the NIC does not tell. */
bool uvs_nicrules_query(const struct uvs_nicrules *n, const struct uvs_flow *f, uint64_t *frames);

#endif /* STACK_MGR_NICRULES_H */
