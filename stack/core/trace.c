/* SPDX-License-Identifier: BSD-3-Clause */
#include <rte_trace_point_register.h>

#include "stack/core/trace.h"

RTE_TRACE_POINT_REGISTER(uvs_trace_poll_begin, uvstack.poll.begin)
RTE_TRACE_POINT_REGISTER(uvs_trace_poll_end, uvstack.poll.end)
RTE_TRACE_POINT_REGISTER(uvs_trace_sleep, uvstack.loop.sleep)
RTE_TRACE_POINT_REGISTER(uvs_trace_wake, uvstack.loop.wake)
RTE_TRACE_POINT_REGISTER(uvs_trace_bind, uvstack.sock.bind)
RTE_TRACE_POINT_REGISTER(uvs_trace_listen, uvstack.sock.listen)
RTE_TRACE_POINT_REGISTER(uvs_trace_connect, uvstack.sock.connect)
RTE_TRACE_POINT_REGISTER(uvs_trace_accept, uvstack.sock.accept)
RTE_TRACE_POINT_REGISTER(uvs_trace_recv, uvstack.sock.recv)
RTE_TRACE_POINT_REGISTER(uvs_trace_send, uvstack.sock.send)
RTE_TRACE_POINT_REGISTER(uvs_trace_close, uvstack.sock.close)
RTE_TRACE_POINT_REGISTER(uvs_trace_tcp_state, uvstack.tcp.state)
RTE_TRACE_POINT_REGISTER(uvs_trace_tcp_retransmit, uvstack.tcp.retransmit)
RTE_TRACE_POINT_REGISTER(uvs_trace_drop, uvstack.drop)
RTE_TRACE_POINT_REGISTER(uvs_trace_steer_claim, uvstack.steer.claim)
RTE_TRACE_POINT_REGISTER(uvs_trace_steer_forward, uvstack.steer.forward)
