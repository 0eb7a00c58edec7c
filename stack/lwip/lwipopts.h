/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lwIP's options for a server stack: one single-threaded instance per stack thread. Options that
 * keep their default are not repeated, unless the default is the point.
 */
#ifndef UVL_LWIPOPTS_H
#define UVL_LWIPOPTS_H

/* ---- environment: raw API only, no threads and no locks inside lwIP ---------------------------
 */
#define NO_SYS               1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_NETCONN         0
#define LWIP_SOCKET          0
#define LWIP_TIMERS          1

#define IP_DEFAULT_TTL 64 /* as sockets say (IP_TTL): SYN-ACKs, RSTs and ICMP have no socket */

/* ---- memory: the stack's arena by hooks; no pools and no heap of lwIP's own -------------------
 */
#define MEM_ALIGNMENT   8
#define MEM_LIBC_MALLOC 1
#define MEMP_MEM_MALLOC 1
#define mem_clib_malloc uvl_malloc
#define mem_clib_calloc uvl_calloc
#define mem_clib_free   uvl_free
#define MEM_STATS       0 /* the hooks count */
#define MEMP_STATS      0
#define LWIP_PBUF_REF_T u16_t
/* No pbuf comes from a pool that could run dry and would want its out-of-order data back. */
#define PBUF_POOL_FREE_OOSEQ 0

/* TCP PCBs by hooks of their own (uvl.h). */
#define UVL_TCP_PCB_HOOKS 1
/* And for what a host sends to itself. */
#define UVL_LOOP_HOOK 1
/* Routers hear of groups in IGMPv3 and MLDv2. */
#define UVL_MCAST_REPORTS 1
/* Sockets are found by the socket layer, and hear of ICMP (uvl.h). */
#define UVL_SOCKET_HOOKS 1

void *uvl_malloc(__SIZE_TYPE__ size);
void *uvl_calloc(__SIZE_TYPE__ count, __SIZE_TYPE__ size);
void uvl_free(void *mem);

/* ---- pbufs and netifs ------------------------------------------------------------------------ */
#define LWIP_SUPPORT_CUSTOM_PBUF       1 /* received mbufs */
#define LWIP_NETIF_TX_SINGLE_PBUF      1 /* one pbuf, one mbuf */
#define LWIP_CHECKSUM_CTRL_PER_NETIF   1 /* what the port does, lwIP leaves out */
#define PBUF_LINK_ENCAPSULATION_HLEN   4 /* a VLAN tag */
#define LWIP_NETIF_HWADDRHINT          1 /* a PCB remembers its place in the ARP table */
#define LWIP_NETIF_STATUS_CALLBACK     1
#define LWIP_NETIF_LINK_CALLBACK       1
#define LWIP_NETIF_EXT_STATUS_CALLBACK 1
/* A connection to one of the host's own addresses; the loop calls netif_poll(). */
#define LWIP_NETIF_LOOPBACK                1
#define LWIP_HAVE_LOOPIF                   0 /* 127.0.0.0/8 is the kernel's */
#define LWIP_LOOPBACK_MAX_PBUFS            1024
#define LWIP_NETIF_LOOPBACK_MULTITHREADING 0

/* ---- IPv4, ARP ------------------------------------------------------------------------------- */
#define LWIP_IPV4                     1
#define IP_FORWARD                    0
#define IP_DEFAULT_TTL                64
#define IP_REASS_MAX_PBUFS            256 /* several 64 KiB datagrams at once, bounded */
#define IP_REASS_MAXAGE               15
#define ARP_TABLE_SIZE                1024
#define ARP_QUEUEING                  1
#define ARP_QUEUE_LEN                 100 /* as Linux: many connects at once, the first packets */
#define ETHARP_SUPPORT_STATIC_ENTRIES 1
#define LWIP_IGMP                     1
#define LWIP_DHCP                     1
#define LWIP_RAW                      1
#define IP_SOF_BROADCAST              1 /* SO_BROADCAST to send, as everywhere; not to receive */

/* ---- IPv6 ------------------------------------------------------------------------------------ */
#define LWIP_IPV6                 1
#define IPV6_FRAG_COPYHEADER      1 /* reassembly keeps pointers in the packet: 64-bit needs it */
#define LWIP_ND6_NUM_NEIGHBORS    512
#define LWIP_ND6_NUM_DESTINATIONS 1024
#define LWIP_ND6_NUM_PREFIXES     16
#define LWIP_ND6_NUM_ROUTERS      8
#define LWIP_ND6_QUEUEING         1
#define LWIP_IPV6_NUM_ADDRESSES   10 /* link-local, configured, advertised */
#define UVL_ND6_OPTIMISTIC        1
#define LWIP_IPV6_AUTOCONFIG      1

/* ---- UDP ------------------------------------------------------------------------------------- */
#define SO_REUSE 1

/* ---- TCP ------------------------------------------------------------------------------------- */
/* The most that any interface has room for: UVL_MTU_MAX less headers. A connection's follows the
 * MTU and what its peer says. */
#define UVL_MTU_MAX       9216
#define TCP_MSS           (UVL_MTU_MAX - 40)
#define LWIP_WND_SCALE    1
#define TCP_RCV_SCALE     5
#define TCP_WND           (1024 * 1024)
#define TCP_SND_BUF       (1024 * 1024)
#define TCP_SND_QUEUELEN  8192  /* pbufs; u16_t */
#define TCP_SNDLOWAT      16384 /* must stay below 0xFFFF - 4 * MSS */
#define TCP_SNDQUEUELOWAT 4096
#define TCP_OVERSIZE      TCP_MSS
/* Read as much, and the peer hears of it. Where it is used, pcb is the connection. */
#define TCP_WND_UPDATE_THRESHOLD (4u * LWIP_MAX(pcb->mss, 1460))
#define LWIP_TCP_KEEPALIVE       1
#define LWIP_TCP_SACK_OUT        1
/* RFC 6928: ten segments. */
#define LWIP_TCP_CALC_INITIAL_CWND(mss) \
	((tcpwnd_size_t)LWIP_MIN(10U * (mss), LWIP_MAX(2U * (mss), 14600U)))
/*
 * Ticks: delayed ACKs within 25 ms, retransmissions in steps of 50 ms. lwIP's 250 and 500 ms make
 * each lost last segment cost a second and more.
 */
#define UVL_TCP_RECOVERY    1 /* uvl_tcp.h */
#define TCP_TMR_INTERVAL    25
#define TCP_SLOW_INTERVAL   50
#define UVL_TCP_RTO_MIN     200 /* milliseconds, all of them */
#define UVL_TCP_RTO_MAX     120000
#define UVL_TCP_RTO_INITIAL 1000
/* 1, 2, 4 ... s: a connect gives up after two minutes, as elsewhere. */
#define UVL_TCP_SYN_BACKOFF 1
#define TCP_SYNMAXRTX       6
/* Longer than what ends it: the retransmissions that uvl_limits and TCP_DEFER_ACCEPT allow. */
#define TCP_SYN_RCVD_TIMEOUT 40000000
#define LWIP_TCP_TIMESTAMPS  1
/* Out-of-order data pins receive buffers: bounded by the window and by a number of pbufs. */
#define TCP_QUEUE_OOSEQ            1
#define TCP_OOSEQ_MAX_BYTES        TCP_WND
#define TCP_OOSEQ_MAX_PBUFS        1024
#define TCP_OOSEQ_PBUFS_LIMIT(pcb) uvl_ooseq_limit(TCP_OOSEQ_MAX_PBUFS)
#define TCP_LISTEN_BACKLOG         1
#define TCP_DEFAULT_LISTEN_BACKLOG 1024
/* Tells the socket layer when a PCB is freed, TIME_WAIT over: the port is free then. */
#define LWIP_TCP_PCB_NUM_EXT_ARGS 1
/* TIME_WAIT is twice this: 15 s is a compromise every server makes. */
#define TCP_MSL                    7500UL
#define TCP_LOCAL_PORT_RANGE_START 0xc000
#define TCP_LOCAL_PORT_RANGE_END   0xffff
#define TCP_ENSURE_LOCAL_PORT_RANGE(port) \
	((u16_t)(((port) & (u16_t)~TCP_LOCAL_PORT_RANGE_START) + TCP_LOCAL_PORT_RANGE_START))

/* ---- seen from outside ----------------------------------------------------------------------- */
#define LWIP_STATS         1
#define LWIP_STATS_LARGE   1
#define LWIP_STATS_DISPLAY 0
#define MIB2_STATS         1

#define LWIP_HOOK_TCP_ISN uvl_tcp_isn

/* ---- routes ---------------------------------------------------------------------------------- */
#define LWIP_HOOK_IP4_ROUTE_SRC uvl_ip4_route
#define LWIP_HOOK_ETHARP_GET_GW uvl_ip4_gateway
#define LWIP_HOOK_IP6_ROUTE     uvl_ip6_route
#define LWIP_HOOK_ND6_GET_GW    uvl_ip6_gateway

#endif /* UVL_LWIPOPTS_H */
