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

#include <rte_branch_prediction.h>
#include <rte_trace_point.h>

/* UVS_TRACE(name, arguments): the point uvs_trace_name. What it emits stands apart from the code
 * that has it, and costs that code no registers. */
#define UVS_TRACE(name, ...)                                                           \
	do {                                                                           \
		if (unlikely((__atomic_load_n(&__uvs_trace_##name, __ATOMIC_RELAXED) & \
			      __RTE_TRACE_FIELD_ENABLE_MASK) != 0))                    \
			uvs_emit_##name(__VA_ARGS__);                                  \
	} while (0)

#define UVS_POINT(name, args, values, ...)                                        \
	RTE_TRACE_POINT(uvs_trace_##name, RTE_TRACE_POINT_ARGS args, __VA_ARGS__) \
	static __attribute__((noinline, cold, unused)) void uvs_emit_##name args  \
	{                                                                         \
		uvs_trace_##name values;                                          \
	}

/* clang-format off */
/* The loop. n: frames that the round handled. */
UVS_POINT(poll_begin, (uint16_t queues), (queues), rte_trace_point_emit_u16(queues);)
UVS_POINT(poll_end, (uint32_t n), (n), rte_trace_point_emit_u32(n);)
/* The thread that drives goes to sleep for so many ns at most (~0: for ever); it has slept. */
UVS_POINT(sleep, (uint64_t most_ns), (most_ns), rte_trace_point_emit_u64(most_ns);)
UVS_POINT(wake, (uint64_t slept_ns), (slept_ns), rte_trace_point_emit_u64(slept_ns);)

/* Calls of the application; sock tells sockets apart, result as the call's: negative errno. */
#define UVS_POINT_CALL(name)                                                 \
	UVS_POINT(name, (const void *sock, int64_t result), (sock, result),  \
		  rte_trace_point_emit_ptr(sock);                            \
		  rte_trace_point_emit_i64(result);)
UVS_POINT_CALL(bind)
UVS_POINT_CALL(listen)
UVS_POINT_CALL(connect)
UVS_POINT_CALL(accept)
UVS_POINT_CALL(recv)
UVS_POINT_CALL(send)
UVS_POINT(close, (const void *sock), (sock), rte_trace_point_emit_ptr(sock);)

/* TCP: states as lwIP numbers them (enum tcp_state). */
UVS_POINT(tcp_state, (uint16_t local_port, uint16_t remote_port, uint8_t from, uint8_t to),
	  (local_port, remote_port, from, to),
	  rte_trace_point_emit_u16(local_port);
	  rte_trace_point_emit_u16(remote_port);
	  rte_trace_point_emit_u8(from);
	  rte_trace_point_emit_u8(to);)
UVS_POINT(tcp_retransmit, (uint16_t local_port, uint16_t remote_port, uint32_t seq, uint16_t len),
	  (local_port, remote_port, seq, len),
	  rte_trace_point_emit_u16(local_port);
	  rte_trace_point_emit_u16(remote_port);
	  rte_trace_point_emit_u32(seq);
	  rte_trace_point_emit_u16(len);)

/* Frames that end here; why as enum uvs_lost. */
UVS_POINT(drop, (uint8_t why, uint32_t len), (why, len),
	  rte_trace_point_emit_u8(why);
	  rte_trace_point_emit_u32(len);)

/* Steering, in a shared host: a port is claimed; a frame is handed over to another slot. */
UVS_POINT(steer_claim, (uint8_t space, uint16_t port, int64_t result), (space, port, result),
	  rte_trace_point_emit_u8(space);
	  rte_trace_point_emit_u16(port);
	  rte_trace_point_emit_i64(result);)
UVS_POINT(steer_forward, (uint8_t slot, uint32_t len), (slot, len),
	  rte_trace_point_emit_u8(slot);
	  rte_trace_point_emit_u32(len);)
/* clang-format on */

#endif /* STACK_CORE_TRACE_H */
