/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/latency.h - how long packets wait, by stage (enum uvs_stage, seen.h).
 *
 * Off unless the page says so; then each hook is one load and one branch. All of it under the
 * instance, by the thread that is inside: one writer for each histogram. What is measured:
 *
 *   NIC    each frame with a time stamp: a uveth port with latency = yes from the start
 *   RX     each packet that a socket queues, since the burst it came with, or was taken from
 * another stack with QUEUE  one packet of a socket at a time: the first to come since the last
 * read, until a read TX     one write of the stack at a time, until the next transmit burst that
 * carries anything
 */
#ifndef STACK_CORE_LATENCY_H
#define STACK_CORE_LATENCY_H

#include <rte_mbuf_dyn.h>

#include "stack/core/clock.h"
#include "stack/core/instance.h"

static inline bool
uvs_latency_on(const struct uvs_instance *in)
{
	return unlikely(atomic_load_explicit(&in->seen->latency, memory_order_relaxed) != 0);
}

static inline void
uvs_latency_add(struct uvs_instance *in, enum uvs_stage stage, uint64_t since, uint64_t now)
{
	if (since != 0 && now >= since)
		uvs_hist_add(&in->seen->stage[stage], now - since);
}

/* What follows is for when it is on: apart from the code that has it. */
#define UVS_LATENCY static __attribute__((noinline, cold, unused)) void

/* A burst has come. */
UVS_LATENCY
uvs_latency_received(struct uvs_instance *in, struct rte_mbuf *const m[], uint32_t n)
{
	uint64_t now = uvs_clock_ns();

	in->rx_ns = now;
	for (uint32_t i = 0; i < n && in->port.stamp_flag != 0; i++)
		if ((m[i]->ol_flags & in->port.stamp_flag) != 0)
			uvs_latency_add(in, UVS_STAGE_NIC,
					*RTE_MBUF_DYNFIELD(m[i], in->port.stamp_offset,
							   rte_mbuf_timestamp_t *),
					now);
}

/* A packet stands in a socket's queue; *since: of the first unread. */
UVS_LATENCY
uvs_latency_queued(struct uvs_instance *in, uint64_t *since)
{
	uint64_t now = uvs_clock_ns();

	uvs_latency_add(in, UVS_STAGE_RX, in->rx_ns, now);
	if (*since == 0)
		*since = now;
}

UVS_LATENCY
uvs_latency_read(struct uvs_instance *in, uint64_t *since)
{
	if (*since == 0)
		return;
	uvs_latency_add(in, UVS_STAGE_QUEUE, *since, uvs_clock_ns());
	*since = 0;
}

UVS_LATENCY
uvs_latency_write(struct uvs_instance *in)
{
	if (in->port.write_ns == 0)
		in->port.write_ns = uvs_clock_ns();
}

#endif /* STACK_CORE_LATENCY_H */
