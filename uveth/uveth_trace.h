/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uveth_trace.h - DPDK trace points of the driver: EAL's --trace=pmd.net.uveth.* turns them on.
 * Off, each is a load and a branch for a burst.
 */
#ifndef UVETH_TRACE_H
#define UVETH_TRACE_H

#include <rte_trace_point.h>

/* A receive burst that brought n frames, n > 0; a transmit burst of n, of which `sent` were taken.
 */
RTE_TRACE_POINT(uveth_trace_rx, RTE_TRACE_POINT_ARGS(uint16_t port, uint16_t queue, uint16_t n),
		rte_trace_point_emit_u16(port);
		rte_trace_point_emit_u16(queue); rte_trace_point_emit_u16(n);)
RTE_TRACE_POINT(uveth_trace_tx,
		RTE_TRACE_POINT_ARGS(uint16_t port, uint16_t queue, uint16_t n, uint16_t sent),
		rte_trace_point_emit_u16(port);
		rte_trace_point_emit_u16(queue); rte_trace_point_emit_u16(n);
		rte_trace_point_emit_u16(sent);)

#endif /* UVETH_TRACE_H */
