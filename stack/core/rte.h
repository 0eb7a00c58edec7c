/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/rte.h - DPDK and lwIP in one file: include this before either.
 *
 * rte_ip.h includes netinet/ip6.h, whose struct ip6_hdr is not lwIP's: it gets another name here.
 */
#ifndef STACK_CORE_RTE_H
#define STACK_CORE_RTE_H

#define ip6_hdr netinet_ip6_hdr
#include <netinet/ip6.h>
#undef ip6_hdr

#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#endif /* STACK_CORE_RTE_H */
