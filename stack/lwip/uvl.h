/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One lwIP per struct uvl.
 *
 * lwIP keeps its state in file-scope variables: one stack per process. Here the build moves all of
 * them into struct uvl, and lwIP's code reaches them through one thread-local pointer, uvl_self.
 * That pointer is the only writable object the transformed lwIP leaves behind; a test reads the
 * symbol tables to prove it.
 *
 * Why a struct behind a pointer and not one thread-local variable per lwIP variable: an instance is
 * then not tied to a thread. A ticker may run the timers of an instance whose owner is computing; a
 * run-to-completion application may call in from any of its threads; and an instance that lies in a
 * shared arena can still be read when its process is gone.
 *
 * Threads
 *  - Any thread may run any instance: uvl_enter(it), call lwIP, uvl_enter(NULL or the one before).
 *  - One thread at a time per instance. The caller holds whatever lock guarantees that; lwIP and
 *    this header take none. Different instances may run on different threads at the same moment and
 *    share nothing.
 *  - Everything lwIP hands out (PCBs, pbufs made here, timeouts) belongs to the instance that was
 *    entered when it was made, and must go back into it under the same instance.
 *
 * Ownership
 *  - The caller owns the memory of struct uvl (uvl_size() bytes, 64-byte aligned) and frees it. It
 *    must not move: lists in it are linked by address.
 *  - What lwIP allocates comes from the hooks below, which the caller implements; they run with
 *    uvl_self set.
 *
 * Include this header before or after lwIP's own, but do include it: names such as tcp_active_pcbs
 * and netif_list are macros that need it.
 */
#ifndef UVL_H
#define UVL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "uvl_generated.h"

#include "lwip/opt.h"
#include "lwip/ip.h"
#include "lwip/ip4_frag.h"
#include "lwip/ip6_frag.h"
#include "lwip/netif.h"
#include "lwip/priv/nd6_priv.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/raw.h"
#include "lwip/stats.h"
#include "lwip/timeouts.h"
#include "lwip/udp.h"

#include "tcp_guard.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Room for things whose type or number is private to one of lwIP's C files; checked there. */
#define UVL_ND6_RA_BUFFER 64
#define UVL_DHCP_OPTIONS  16

/* Buckets for connections: of 100,000, six share one. */
#define UVL_TCP_HASH_SIZE 16384

/* lwIP's own timers are a dozen; nobody else sets any. */
#define UVL_TIMEOUTS 32

/* Counters of IPv4 identifications. */
#define UVL_IP_IDS 1024

/* Milliseconds that the wheel of fine timers has; what is later than that is looked at in between.
 */
#define UVL_FINE_SLOTS 256

/* The wheel of TCP's slow timers: some hours. */
#define UVL_WHEEL_LEVELS 3
#define UVL_WHEEL_SLOTS  64
#define UVL_TCP_WHEEL    (UVL_TCP_TICKS > 1)

/* ip_tables.c */
#define UVL_IP4_ALIASES   32
#define UVL_ROUTES        64
#define UVL_PMTUS         256
#define UVL_PMTU_LIFE_MS  600000u /* RFC 1191, 6.3: ten minutes */
#define UVL_IP4_MTU_LEAST 552
#define UVL_ICMP_BURST    50
#define UVL_ND6_QUEUE_LEN 16 /* packets that wait for one neighbour's address */

/* An address of an interface besides lwIP's own. */
struct uvl_ip4_alias {
	struct netif *netif;
	ip4_addr_t addr, mask;
};

/* A network that is on the link of an interface, or behind a gateway there. */
struct uvl_route {
	struct netif *netif;
	ip_addr_t dest, via;
	u8_t prefix;
	bool gateway;
};

struct uvl_pmtu {
	ip4_addr_t dest;
	u32_t since; /* sys_now() */
	u16_t mtu;   /* 0: unused */
};

/* Addresses that may be somebody else's: arp_claim.c. */
#define UVL_CLAIMS 16

struct uvl_claim {
	ip4_addr_t addr;
	bool taken;        /* by another host, before it was used here */
	bool defended;     /* lately: */
	u32_t defended_at; /* sys_now() */
};

struct uvl_claims {
	struct netif *netif;
	void (*done)(struct netif *netif);
	bool probing;
	u8_t probes, n; /* still to be sent; claims */
	struct uvl_claim claim[UVL_CLAIMS];
};

/* Sources that are wanted of a group, or not: mcast_report.c. */
#define UVL_MCAST_SOURCES 64

struct uvl_mcast_filter {
	struct uvl_mcast_filter *next;
	struct netif *netif;
	ip_addr_t group;
	bool include; /* from these alone; else from all but these */
	u8_t n;
	ip_addr_t source[UVL_MCAST_SOURCES];
};

struct uvl_mcast {
	struct uvl_mcast_filter *filters; /* groups without one: all sources are wanted */
	bool old[2];                      /* IGMP's and MLD's: an older querier was heard ... */
	u32_t old_since[2];               /* ... last at this time, sys_now() */
};

#ifndef UVL_MCAST_REPORTS
#define UVL_MCAST_REPORTS 0
#endif

/* When IPv4 packets say "don't fragment". */
enum uvl_df { UVL_DF_NEVER, UVL_DF_IF_IT_FITS, UVL_DF_ALWAYS };

/* Key of the instance's random numbers and initial sequence numbers. */
struct uvl_secret {
	uint64_t k0, k1;
};

/*
 * All mutable state of one lwIP. The names are lwIP's, with an underscore so that the macros of the
 * plain name can refer to them; files are those of the original.
 */
struct uvl {
	/* ours */
	struct uvl_secret secret;
	uint64_t rand_counter;
	uint32_t rand_left; /* the unused half of the last 64 random bits */
	bool rand_has_left;
	uint64_t assert_failures; /* LWIP_ASSERTs that did not hold */

	bool rx_joined; /* the frame being processed is several segments of the wire; by who gives
			   it */

	/* tcp_in.c: the segment being processed */
	struct tcp_seg inseg_;
	struct tcp_hdr *tcpin_hdr_;
	u8_t *tcphdr_opt2_;
	struct pbuf *recv_data_;
	struct tcp_pcb *tcp_input_pcb_;
	u32_t tcpin_seqno_;
	u32_t tcpin_ackno_;
	tcpwnd_size_t recv_acked_;
	u16_t tcphdr_optlen_;
	u16_t tcphdr_opt1len_;
	u16_t tcp_optidx_;
	u16_t tcplen_;
	u8_t tcpin_flags_;
	u8_t recv_flags_;

	/* tcp.c */
	u8_t tcp_active_pcbs_changed_;
	u8_t tcp_timer_;
	u8_t tcp_timer_ctr_;
	u8_t tcp_ext_arg_id_;
	u16_t tcp_port_;
	u32_t tcp_ticks_;
	struct tcp_pcb *tcp_active_pcbs_;
	struct tcp_pcb *tcp_tw_pcbs_;
	struct tcp_pcb *tcp_bound_pcbs_;
	union tcp_listen_pcbs_t tcp_listen_pcbs_;
	struct tcp_pcb **tcp_pcb_lists_[NUM_TCP_PCB_LISTS];

	/* tcp_lists.c; the tables are memory behind this struct */
	struct tcp_pcb **tcp_hash_; /* UVL_TCP_HASH_SIZE buckets */
	uint32_t *tcp_ports_;       /* PCBs per local port */

	/* tcp_timers.c */
	struct tcp_pcb *wheel_[UVL_WHEEL_LEVELS][UVL_WHEEL_SLOTS];
	u64_t wheel_used_[UVL_WHEEL_LEVELS];       /* a bit for each slot with something in it */
	struct tcp_pcb *tcp_soon_, *tcp_soon_now_; /* for the next tick; of the present one */
	u32_t tick_at_;                            /* sys_now() of the last tick that is counted */
	u32_t tick_wait_;                          /* ticks from then to the next timer */

	/* recovery: uvl_tcp.h, tcp_rack.c */
	struct uvl_tcp_ack tcp_ack_;
	u8_t tcp_ecn; /* UVL_ECN_...; the configuration's */
	struct tcp_pcb *fine_[UVL_FINE_SLOTS];
	u32_t fine_at_; /* ms: when the wheel is looked at next, if it is */
	bool fine_armed_;

	/* tcp_listen.c, tcp_limits.c */
	struct uvl_guard guard;

	/* udp.c, raw.c */
	struct udp_pcb *udp_pcbs_;
	struct raw_pcb *raw_pcbs_;
	u16_t udp_port_;

	/* ip.c, ip4.c, ip4_frag.c, ip6_frag.c */
	u16_t ip_ids[UVL_IP_IDS]; /* by destination */
	u16_t ip_reass_pbufcount_;
	u16_t ip6_reass_pbufcount_;
	u32_t ip6_frag_identification_;
	struct ip_globals ip_data_;
	struct netif *ip4_default_multicast_netif_;
	struct ip_reassdata *ip_reassdatagrams_;
	struct ip6_reassdata *ip6_reassdatagrams_;

	/* ip_tables.c */
	struct uvl_ip4_alias ip4_alias_[UVL_IP4_ALIASES];
	struct uvl_route routes_[UVL_ROUTES]; /* longest prefix first */
	struct uvl_pmtu pmtu_[UVL_PMTUS];     /* of IPv4; ND's destinations have IPv6's */
	u32_t icmp_since_;
	u16_t icmp_left_;
	bool silent; /* what is received now is a copy: no ICMP errors about it */
	u8_t ip4_aliases_, nroutes_, pmtus_;
	u8_t ip4_df_; /* enum uvl_df, of what is sent now; whoever changes it puts it back */

	/* arp_claim.c */
	struct uvl_claims claims;

	/* mcast_report.c */
	struct uvl_mcast mcast;

	/* netif.c */
	struct netif *netif_list_;
	struct netif *netif_default_;
#if LWIP_NETIF_EXT_STATUS_CALLBACK
	netif_ext_callback_t *ext_callback_;
#endif
#if LWIP_HAVE_LOOPIF
	struct netif loop_netif_;
#endif
	u8_t netif_num_;
	u8_t netif_client_id_;

	/* pbuf.c */
	volatile u8_t pbuf_free_ooseq_pending_;

	/* timeouts.c */
	struct sys_timeo *next_timeout_;
	struct sys_timeo timeouts[UVL_TIMEOUTS];
	uint32_t timeouts_taken; /* a bit each */
	u32_t current_timeout_due_time_;
	int tcpip_tcp_timer_active_;

	/* etharp.c, igmp.c, dhcp.c */
	void *arp_table_;
	netif_addr_idx_t etharp_cached_entry_;
	ip4_addr_t allsystems_;
	ip4_addr_t allrouters_;
	u32_t dhcp_xid_;
	struct udp_pcb *dhcp_pcb_;
	u32_t dhcp_rx_options_val_[UVL_DHCP_OPTIONS];
	u8_t dhcp_rx_options_given_[UVL_DHCP_OPTIONS];
	u8_t dhcp_pcb_refcount_;

	/* nd6.c */
	u16_t nd6_cached_neighbor_index_;
	u8_t nd6_tmr_rs_reduction_;
	s8_t nd6_last_router_;
	netif_addr_idx_t nd6_cached_destination_index_;
	u32_t nd6_reachable_time_;
	u32_t nd6_retrans_timer_;
	ip6_addr_t multicast_address_;
	uint64_t nd6_ra_buffer_[UVL_ND6_RA_BUFFER / sizeof(uint64_t)];
	struct nd6_neighbor_cache_entry neighbor_cache_[LWIP_ND6_NUM_NEIGHBORS];
	struct nd6_destination_cache_entry destination_cache_[LWIP_ND6_NUM_DESTINATIONS];
	struct nd6_prefix_list_entry prefix_list_[LWIP_ND6_NUM_PREFIXES];
	struct nd6_router_list_entry default_router_list_[LWIP_ND6_NUM_ROUTERS];

	/* ip4_addr.c, ip6_addr.c: what ipaddr_ntoa() returns */
	char ip4addr_str_[IP4ADDR_STRLEN_MAX];
	char ip6addr_str_[40];

	/* stats.c */
	struct stats_ lwip_stats_;
};

/*
 * The instance this thread runs; NULL if none. Initial-exec: the fastest model that works in a
 * preloaded library, at the price of eight bytes of static TLS.
 */
extern __thread struct uvl *uvl_self
	__attribute__((visibility("hidden"), tls_model("initial-exec")));

static inline void
uvl_enter(struct uvl *instance)
{
	uvl_self = instance;
}

/* Bytes an instance needs, with its tables: about half a megabyte. */
size_t uvl_size(void);

/*
 * Makes a fresh instance in uvl_size() bytes at mem, as lwip_init() does for the one of plain lwIP.
 * The instance's secret comes from the kernel. Leaves uvl_self as it was.
 */
void uvl_init(struct uvl *mem);

/* The same with a given secret: for tests that must repeat. */
void uvl_init_secret(struct uvl *mem, struct uvl_secret secret);

/*
 * Gives back all that the instance still holds: PCBs (no callback, nothing is sent), netifs, queued
 * and half-reassembled packets, timeouts. Then the memory is the caller's again. Whoever wants its
 * peers to hear of it aborts the connections first.
 */
void uvl_exit(struct uvl *mem);

/*
 * The Ethernet address of an IPv4 neighbour in an instance that another process may have: reads the
 * table as bytes that may be anything, and follows no pointer.
 */
bool uvl_neighbour(const struct uvl *mem, uint32_t addr, uint8_t mac[6]);
/* The same of the next hop to an IPv6 destination. */
bool uvl_next_hop6(const struct uvl *mem, const uint32_t addr[4], uint8_t mac[6]);

/* The hook by whatever name the configuration gives it: lwIP's unit tests bring their own. */
u32_t LWIP_HOOK_TCP_ISN(const ip_addr_t *local_ip, u16_t local_port, const ip_addr_t *remote_ip,
			u16_t remote_port);

/* Behind LWIP_RAND(): unpredictable without the secret, reproducible with it. */
u32_t uvl_rand(void);

/* Timers, from the instance's own. */
struct sys_timeo *uvl_timeout_take(void);
void uvl_timeout_give(struct sys_timeo *timeout);

/* The identification of the next IPv4 packet to dest: a counter that few destinations share, and
 * nobody outside can say which. */
u16_t uvl_ip_id(const ip4_addr_t *dest);

/* LWIP_HOOK_TCP_ISN: RFC 6528, a keyed hash of the four-tuple plus a 4 us clock. */
u32_t uvl_tcp_isn(const ip_addr_t *local_ip, u16_t local_port, const ip_addr_t *remote_ip,
		  u16_t remote_port);

/* tcp_queue.c: bytes that one segment of this connection carries, and the queueing of a packet that
 * holds no more than that, made by the caller with room for all headers before its payload. The
 * connection is open. ERR_OK: it is the connection's; else nothing has happened. */
u16_t uvl_tcp_room(const struct tcp_pcb *pcb);
err_t uvl_tcp_queue(struct tcp_pcb *pcb, struct pbuf *p);

/* Where uvl_tcp_find() will begin for this packet, if it is TCP's: for whoever fetches ahead what
 * it will need. len: of the bytes that are there. NULL: it is something else. */
struct tcp_pcb *const *uvl_tcp_slot(const uint8_t *ip, size_t len);

/* ---- TCP's timers: tcp_timers.c
 * ------------------------------------------------------------------ uvl_tcp_due(): a timer of the
 * connection was started, or may be over sooner than before. uvl_tcp_soon(): the next tick is to
 * look at it. Both do nothing for one that is not registered.
 */

/* Count the ticks that were left out since the last one: tcp_ticks is then what it should be. */
void uvl_tcp_clock_sync(void);
#define UVL_TCP_CLOCK_SYNC()                  \
	do {                                  \
		if (uvl_self->tick_wait_ > 1) \
			uvl_tcp_clock_sync(); \
	} while (0)

/* By the timer: it has come; milliseconds until it is to come again. */
void uvl_tcp_clock_fires(void);
u32_t uvl_tcp_clock_next(void);
/* In timeouts.c. */
void uvl_tcp_timer_restart(u32_t ms);

/* By tcp_slowtmr(): the present tick has begun; the first PCB whose turn it is, and it has it. */
void uvl_tcp_wheel_tick(void);
struct tcp_pcb *uvl_tcp_first_due(void);
void uvl_tcp_visit(struct tcp_pcb *pcb);
/* By tcp_fasttmr(): those who are there now, one after the other. */
void uvl_tcp_soon_begin(void);
struct tcp_pcb *uvl_tcp_soon_take(void);
/* A PCB leaves its list. */
void uvl_tcp_undue(struct tcp_pcb *pcb);
void uvl_tcp_not_soon(struct tcp_pcb *pcb);

/* In tcp.c: how long the persist timer runs. */
u16_t uvl_tcp_persist_ticks(const struct tcp_pcb *pcb);

/* Ticks for which the retransmission timer has run; -1: it does not. */
static inline s16_t
uvl_tcp_rtime(const struct tcp_pcb *pcb)
{
	return pcb->rtime < 0 ? -1 : (s16_t)LWIP_MIN(tcp_ticks - pcb->rtime_at, 0x7fffu);
}

static inline void
uvl_tcp_rtime_start(struct tcp_pcb *pcb)
{
	UVL_TCP_CLOCK_SYNC();
	pcb->rtime = 0;
	pcb->rtime_at = tcp_ticks;
	if (pcb->due_prev == NULL || pcb->user_timeout != 0 ||
	    (s32_t)(pcb->due_tick - tcp_ticks) > pcb->rto)
		uvl_tcp_due(pcb);
}

/* ---- addresses, routes, path MTU: ip_tables.c ---------------------------------------------------
 * The first group is for whoever configures the instance; false: the table is full. The others are
 * lwIP's questions.
 */

bool uvl_ip4_add(struct netif *netif, const ip4_addr_t *addr, const ip4_addr_t *mask);
void uvl_ip4_remove(const ip4_addr_t *addr);
/* via NULL: on the link. */
bool uvl_route_add(struct netif *netif, const ip_addr_t *dest, u8_t prefix, const ip_addr_t *via);

/* The address to speak from to dest on this interface, unless another was asked for. */
const ip4_addr_t *uvl_ip4_source(const struct netif *netif, const ip4_addr_t *dest);
/* One of the interface's further addresses, or of 127.0.0.0/8 on the loopback interface. */
bool uvl_ip4_is_local(const struct netif *netif, const ip4_addr_t *addr);
bool uvl_ip4_on_link(const struct netif *netif, const ip4_addr_t *addr);
u8_t uvl_ip4_is_broadcast(const struct netif *netif, u32_t addr);
struct netif *uvl_ip4_route(const ip4_addr_t *src, const ip4_addr_t *dest);
const ip4_addr_t *uvl_ip4_gateway(const struct netif *netif, const ip4_addr_t *dest);
u16_t uvl_ip4_mtu(const struct netif *netif, const ip4_addr_t *dest);
u16_t uvl_ip4_df(const struct netif *netif, const ip4_addr_t *dest, u16_t len);

bool uvl_ip6_on_link(const struct netif *netif, const ip6_addr_t *dest);
struct netif *uvl_ip6_route(const ip6_addr_t *src, const ip6_addr_t *dest);
const ip6_addr_t *uvl_ip6_gateway(const struct netif *netif, const ip6_addr_t *dest);
/* p: a "packet too big" from its ICMPv6 header on. Does it quote something this host may just have
 * sent? Then: the connection's segments are to fit. */
bool uvl_ip6_sent(const struct pbuf *p);
void uvl_ip6_lower_mss(const struct pbuf *p, u16_t pmtu);
/* "Fragmentation needed" about the quoted packet; mtu 0: the router did not say. False: it was
 * about nothing of ours, or no news. While the ICMP packet is being received. */
bool uvl_ip4_too_big(const u8_t *inner, size_t len, u16_t mtu);

/* Fill in the TCP or UDP sum that is left to the port: the packet will be cut up. p: the IP packet.
 */
void uvl_sum_in_software(struct pbuf *p, const struct netif *netif);

/* May another ICMP error be sent now? */
bool uvl_icmp_may_complain(void);

/* Packets that wait for a neighbour's link-layer address. */
bool uvl_etharp_waiting(void);
bool uvl_nd6_waiting(void);

/* ---- conflicts of IPv4 addresses, RFC 5227: arp_claim.c -----------------------------------------
 */

/* Ask for n <= UVL_CLAIMS addresses that nobody uses yet, for four to seven seconds; then done(),
 * in this instance: whichever is not lost may be used, and is to be announced by using it. Once. */
void uvl_claims_probe(struct netif *netif, const ip4_addr_t *addr, unsigned int n,
		      void (*done)(struct netif *netif));
bool uvl_claims_probing(void);
/* Has another host said that it has it, or wants it? */
bool uvl_claim_lost(const ip4_addr_t *addr);
/* Ask for one that is used already, so that who has it as well speaks up. */
void uvl_claim_ask(struct netif *netif, const ip4_addr_t *addr);
/* An ARP packet of mac's, who says he is `from`. True: that is an address of this host, which has
 * been defended; the packet is no news. */
bool uvl_arp_conflicts(struct netif *netif, const ip4_addr_t *from, const ip4_addr_t *about,
		       const u8_t *mac);

/* ---- groups: mcast_report.c ---------------------------------------------------------------------
 */

/* What the host wants of a group, all its sockets together: for whoever has joined it with lwIP, or
 * is about to (silently: joining says it). Its next is not looked at. */
void uvl_mcast_filter(const struct uvl_mcast_filter *is, bool silently);
void uvl_mcast_forget_all(void);

/* lwIP's questions. Something is to be said about a group; false: in the older language, by lwIP.
 */
enum uvl_mcast_word { UVL_MCAST_JOINED, UVL_MCAST_MEMBER, UVL_MCAST_LEFT };
bool uvl_mcast_say(struct netif *netif, const ip_addr_t *group, enum uvl_mcast_word word);
/* A query has come. */
void uvl_mcast_queried(bool v6, bool old);
bool uvl_mcast_is_old(bool v6);
u16_t uvl_mcast_delay(u16_t code, unsigned int bits);
/* group_state of a group whose timer runs, in igmp.c and mld6.c. */
#define UVL_IGMP_DELAYING 1
#define UVL_MLD_DELAYING  1

/* nd6.c, by rule: ask whether somebody else has this address; tell that it is ours. */
void uvl_nd6_probe(struct netif *netif, s16_t addr_idx);
void uvl_nd6_announce(struct netif *netif, s16_t addr_idx);

/* ---- hooks: implemented by whoever links lwIP; hooks_libc.c has plain ones for tests ----------
 */

/* Milliseconds of the clock in force, wrapping; declared by lwIP as well. */
u32_t sys_now(void);
/* The same clock in microseconds, not wrapping. */
uint64_t uvl_now_us(void);

/* lwIP's heap and pools: PCBs, segments, timeouts, reassembly state. NULL when there is no more. */
void *uvl_malloc(size_t size);
void *uvl_calloc(size_t count, size_t size);
void uvl_free(void *mem);

/* A packet that the host sends to one of its own addresses comes back: as ip_input(). */
err_t uvl_loop_input(struct pbuf *p, struct netif *netif);

/* A datagram has arrived, its addresses being the current ones: whose is it? NULL: no socket's,
 * lwIP looks in its own list. */
struct udp_pcb *uvl_udp_find(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote,
			     u16_t remote_port);

/* Another host, with this card, has an address of this one. kept: it is used here and was defended,
 * which is told once in ten seconds; else it is not used here. */
void uvl_on_conflict(const ip4_addr_t *addr, const u8_t *mac, bool kept);

/* An ICMPv6 message whose sum is right, from its ICMPv6 header on. It stays lwIP's. */
void uvl_icmp6_heard(const struct pbuf *p);

/* TCP PCBs, but for listeners: each of the same size, MEM_ALIGNMENT aligned. NULL: no more. */
void *uvl_tcp_pcb_malloc(size_t size);
void uvl_tcp_pcb_free(void *mem);

/*
 * PBUF_RAM pbufs: struct pbuf, headroom and payload in one piece, MEM_ALIGNMENT aligned, so that it
 * may be an mbuf's data room. size includes struct pbuf. trim shrinks to size bytes in place and
 * returns mem.
 */
void *uvl_pbuf_malloc(size_t size);
void uvl_pbuf_free(void *mem);
void *uvl_pbuf_trim(void *mem, size_t size);

/*
 * An LWIP_ASSERT did not hold. Already counted in assert_failures; log it, at a bounded rate. Must
 * return: packets can make assertions fail, and no packet may end the process.
 */
void uvl_on_assert(const char *message, const char *file, int line);

/* A connection is about to go from its state to this one; a segment was sent again. */
void uvl_on_tcp_state(const struct tcp_pcb *pcb, enum tcp_state to);
void uvl_on_tcp_retransmit(const struct tcp_pcb *pcb, u32_t seq, u16_t len);

/* By lwIP. */
static inline void
uvl_tcp_enter(struct tcp_pcb *pcb, enum tcp_state to)
{
	uvl_on_tcp_state(pcb, to);
	pcb->state = to;
	uvl_tcp_due(pcb);
}

/* Protocols that drop. */
enum uvl_drop {
	UVL_DROP_ARP,
	UVL_DROP_IP,
	UVL_DROP_IP_FRAG,
	UVL_DROP_ICMP,
	UVL_DROP_UDP,
	UVL_DROP_TCP,
	UVL_DROP_IP6,
	UVL_DROP_ICMP6,
	UVL_DROP_IP6_FRAG,
	UVL_DROP_ND6,
};

/* A packet was dropped, and counted: most often the one at hand, which may have been freed. */
void uvl_on_drop(enum uvl_drop what);

/* Of STATS_INC(), by a constant offset in struct stats_: no code but for drops. */
static inline __attribute__((always_inline)) void
uvl_counted(size_t at)
{
	switch (at) {
	case offsetof(struct stats_, etharp.drop):
		uvl_on_drop(UVL_DROP_ARP);
		break;
	case offsetof(struct stats_, ip.drop):
		uvl_on_drop(UVL_DROP_IP);
		break;
	case offsetof(struct stats_, ip_frag.drop):
		uvl_on_drop(UVL_DROP_IP_FRAG);
		break;
	case offsetof(struct stats_, icmp.drop):
		uvl_on_drop(UVL_DROP_ICMP);
		break;
	case offsetof(struct stats_, udp.drop):
		uvl_on_drop(UVL_DROP_UDP);
		break;
	case offsetof(struct stats_, tcp.drop):
		uvl_on_drop(UVL_DROP_TCP);
		break;
	case offsetof(struct stats_, ip6.drop):
		uvl_on_drop(UVL_DROP_IP6);
		break;
	case offsetof(struct stats_, icmp6.drop):
		uvl_on_drop(UVL_DROP_ICMP6);
		break;
	case offsetof(struct stats_, ip6_frag.drop):
		uvl_on_drop(UVL_DROP_IP6_FRAG);
		break;
	case offsetof(struct stats_, nd6.drop):
		uvl_on_drop(UVL_DROP_ND6);
		break;
	default:
		break;
	}
}

#ifdef __cplusplus
}
#endif

#endif /* UVL_H */
