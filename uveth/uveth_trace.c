/* SPDX-License-Identifier: BSD-3-Clause */
#include <rte_trace_point_register.h>

#include "uveth/uveth_trace.h"

RTE_TRACE_POINT_REGISTER(uveth_trace_rx, pmd.net.uveth.rx)
RTE_TRACE_POINT_REGISTER(uveth_trace_tx, pmd.net.uveth.tx)
