/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/telemetry.h - what is counted, for dpdk-telemetry.py and everybody else who speaks to
 * DPDK's telemetry socket (telemetry = yes):
 *
 *   /uvstack/stacks          slots that can be asked about; a process with its own NIC has slot 0
 *   /uvstack/info,SLOT       process, NIC, queues
 *   /uvstack/counters,SLOT   all of counters.h, as group_name
 *   /uvstack/drops,SLOT      of them, those that tell of losses and are not 0
 *   /uvstack/softnet,SLOT    of each receive queue
 *   /uvstack/latency,SLOT    of each stage, ns
 *
 * Without SLOT: 0, which in a manager are the manager's own counters. A thread of EAL's answers,
 * from words that it reads as any tool does: no stack is stopped, entered or asked.
 */
#ifndef STACK_CORE_TELEMETRY_H
#define STACK_CORE_TELEMETRY_H

#include "stack/seen/counters.h"

/* The parts of a slot's stack; false: there is none. Called by EAL's thread, at any time from the
 * registration on until the process ends. */
typedef bool (*uvs_telemetry_view_fn)(void *arg, uint32_t slot, struct uvs_view *v);

/* Before rte_eal_init(), or after it. Once. */
void uvs_telemetry_register(uvs_telemetry_view_fn view, void *arg, uint32_t nb_slots);

#endif /* STACK_CORE_TELEMETRY_H */
