/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/trace.h - DPDK trace points of the stack (rte_trace_point.h): compiled in, off until
 * `trace` in the configuration names them. Off, each is a load and a branch that is not taken.
 *
 * Events are written by the thread that is there, into memory of that thread; `uvstack trace` shows
 * what an orderly end has saved. Names: uvstack.SUBSYSTEM.EVENT; docs/observability.md lists them.
 */
#ifndef STACK_CORE_TRACE_H
#define STACK_CORE_TRACE_H

#include <stdint.h>

#include <rte_trace_point.h>

/* The loop. n: frames that the round handled. */
RTE_TRACE_POINT(uvs_trace_poll_begin, RTE_TRACE_POINT_ARGS(uint16_t queues),
		rte_trace_point_emit_u16(queues);)
RTE_TRACE_POINT(uvs_trace_poll_end, RTE_TRACE_POINT_ARGS(uint32_t n), rte_trace_point_emit_u32(n);)
/* The thread that drives goes to sleep for so many ns at most (~0: for ever); it has slept. */
RTE_TRACE_POINT(uvs_trace_sleep, RTE_TRACE_POINT_ARGS(uint64_t most_ns),
		rte_trace_point_emit_u64(most_ns);)
RTE_TRACE_POINT(uvs_trace_wake, RTE_TRACE_POINT_ARGS(uint64_t slept_ns),
		rte_trace_point_emit_u64(slept_ns);)

/* Calls of the application; sock tells sockets apart, result as the call's: negative errno. */
RTE_TRACE_POINT(uvs_trace_bind, RTE_TRACE_POINT_ARGS(const void *sock, int64_t result),
		rte_trace_point_emit_ptr(sock);
		rte_trace_point_emit_i64(result);)
RTE_TRACE_POINT(uvs_trace_listen, RTE_TRACE_POINT_ARGS(const void *sock, int64_t result),
		rte_trace_point_emit_ptr(sock);
		rte_trace_point_emit_i64(result);)
RTE_TRACE_POINT(uvs_trace_connect, RTE_TRACE_POINT_ARGS(const void *sock, int64_t result),
		rte_trace_point_emit_ptr(sock);
		rte_trace_point_emit_i64(result);)
RTE_TRACE_POINT(uvs_trace_accept, RTE_TRACE_POINT_ARGS(const void *sock, int64_t result),
		rte_trace_point_emit_ptr(sock);
		rte_trace_point_emit_i64(result);)
RTE_TRACE_POINT(uvs_trace_recv, RTE_TRACE_POINT_ARGS(const void *sock, int64_t result),
		rte_trace_point_emit_ptr(sock);
		rte_trace_point_emit_i64(result);)
RTE_TRACE_POINT(uvs_trace_send, RTE_TRACE_POINT_ARGS(const void *sock, int64_t result),
		rte_trace_point_emit_ptr(sock);
		rte_trace_point_emit_i64(result);)
RTE_TRACE_POINT(uvs_trace_close, RTE_TRACE_POINT_ARGS(const void *sock),
		rte_trace_point_emit_ptr(sock);)

/* TCP: states as lwIP numbers them (enum tcp_state). */
RTE_TRACE_POINT(uvs_trace_tcp_state,
		RTE_TRACE_POINT_ARGS(uint16_t local_port, uint16_t remote_port, uint8_t from,
				     uint8_t to),
		rte_trace_point_emit_u16(local_port);
		rte_trace_point_emit_u16(remote_port); rte_trace_point_emit_u8(from);
		rte_trace_point_emit_u8(to);)
RTE_TRACE_POINT(uvs_trace_tcp_retransmit,
		RTE_TRACE_POINT_ARGS(uint16_t local_port, uint16_t remote_port, uint32_t seq,
				     uint16_t len),
		rte_trace_point_emit_u16(local_port);
		rte_trace_point_emit_u16(remote_port); rte_trace_point_emit_u32(seq);
		rte_trace_point_emit_u16(len);)

/* Frames that end here; why as enum uvs_lost. */
RTE_TRACE_POINT(uvs_trace_drop, RTE_TRACE_POINT_ARGS(uint8_t why, uint32_t len),
		rte_trace_point_emit_u8(why);
		rte_trace_point_emit_u32(len);)

/* Steering, in a shared host: a port is claimed; a frame is handed over to another slot. */
RTE_TRACE_POINT(uvs_trace_steer_claim,
		RTE_TRACE_POINT_ARGS(uint8_t space, uint16_t port, int64_t result),
		rte_trace_point_emit_u8(space);
		rte_trace_point_emit_u16(port); rte_trace_point_emit_i64(result);)
RTE_TRACE_POINT(uvs_trace_steer_forward, RTE_TRACE_POINT_ARGS(uint8_t slot, uint32_t len),
		rte_trace_point_emit_u8(slot);
		rte_trace_point_emit_u32(len);)

#endif /* STACK_CORE_TRACE_H */
