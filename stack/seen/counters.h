/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/seen/counters.h - everything that a stack counts: the one table that the statistics file,
 * telemetry, rte_metrics, Prometheus and uvstack print from, and docs/observability.md is checked
 * against. Who counts something new adds a line here, and it is seen everywhere.
 *
 *   N(group, name, unit, where it stands, help)              a counter: grows only
 *   G(group, name, unit, where it stands, help)              a gauge
 *   D(group, name, unit, where it stands, help, why, place)  a counter of what is lost; `why` names
 *                                                            the last frame (UVS_LOST_NONE: not
 * kept)
 *
 * Where it stands: SEEN of struct uvs_seen, LWIP of struct uvl, QUEUE of struct uvs_queue_stats,
 * once for each receive queue; in a shared host also SLOT of struct uvs_slot, STEER of struct
 * uvs_steer_stats, INBOX of struct uvs_inbox, and MANAGER of struct uvs_manager_stats, once for the
 * host. Who has no such part has no such counter.
 */
#ifndef STACK_SEEN_COUNTERS_H
#define STACK_SEEN_COUNTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stack/seen/seen.h"

#define UVS_LOST_NONE UVS_LOST_REASONS

/* clang-format off */
#define UVS_COUNTERS_PROTO(N, D, group, member, why, place)                                         \
	N(group, "xmit", UVS_UNIT_PACKETS, LWIP(member.xmit), "sent")                               \
	N(group, "recv", UVS_UNIT_PACKETS, LWIP(member.recv), "received")                           \
	D(group, "drop", UVS_UNIT_PACKETS, LWIP(member.drop), "dropped, for any of these reasons or others", why, place) \
	N(group, "chkerr", UVS_UNIT_PACKETS, LWIP(member.chkerr), "with a bad checksum")            \
	N(group, "lenerr", UVS_UNIT_PACKETS, LWIP(member.lenerr), "with a bad length")              \
	N(group, "memerr", UVS_UNIT_PACKETS, LWIP(member.memerr), "for which there was no memory")  \
	N(group, "rterr", UVS_UNIT_PACKETS, LWIP(member.rterr), "without a route")                  \
	N(group, "proterr", UVS_UNIT_PACKETS, LWIP(member.proterr), "that break the protocol, or are of one that is not spoken") \
	N(group, "opterr", UVS_UNIT_PACKETS, LWIP(member.opterr), "with a bad option")              \
	N(group, "err", UVS_UNIT_PACKETS, LWIP(member.err), "with other errors")

#define UVS_COUNTERS(N, G, D)                                                                       \
	N("loop", "processed", UVS_UNIT_PACKETS, SEEN(loop.processed), "frames that a poll handled") \
	N("loop", "time_squeeze", UVS_UNIT_TIMES, SEEN(loop.time_squeeze), "polls of a queue, or of the soft queues, that used up their budget with more waiting") \
	N("loop", "polls", UVS_UNIT_TIMES, SEEN(loop.polls), "rounds of the loop")                   \
	N("loop", "work_polls", UVS_UNIT_TIMES, SEEN(loop.work_polls), "rounds that found frames")   \
	N("loop", "calls", UVS_UNIT_TIMES, SEEN(loop.calls), "requests by the application's threads") \
	N("loop", "busy_ns", UVS_UNIT_NS, SEEN(loop.busy_ns), "time in rounds that found something") \
	N("loop", "spin_ns", UVS_UNIT_NS, SEEN(loop.spin_ns), "time in rounds that found nothing")   \
	N("loop", "asleep_ns", UVS_UNIT_NS, SEEN(loop.asleep_ns), "time asleep")                     \
	N("loop", "sleeps", UVS_UNIT_TIMES, SEEN(loop.sleeps), "times it slept")                     \
	N("loop", "wakeups", UVS_UNIT_TIMES, SEEN(loop.wakeups), "sleeps that ended before their time") \
	N("loop", "reentered", UVS_UNIT_TIMES, SEEN(loop.reentered), "calls refused: from a signal handler inside the stack") \
	N("loop", "asserts", UVS_UNIT_TIMES, SEEN(loop.asserts), "assertions of lwIP that did not hold") \
	N("port", "rx_packets", UVS_UNIT_PACKETS, SEEN(port.rx_packets), "frames received")          \
	N("port", "rx_bytes", UVS_UNIT_BYTES, SEEN(port.rx_bytes), "bytes received")                 \
	N("port", "tx_packets", UVS_UNIT_PACKETS, SEEN(port.tx_packets), "frames the NIC took")      \
	N("port", "tx_bytes", UVS_UNIT_BYTES, SEEN(port.tx_bytes), "bytes given to the NIC")         \
	N("port", "tx_bursts", UVS_UNIT_TIMES, SEEN(port.tx_bursts), "transmit bursts")              \
	N("port", "tx_copied", UVS_UNIT_PACKETS, SEEN(port.tx_copied), "frames that could not be sent as they lay") \
	N("port", "tx_joined", UVS_UNIT_PACKETS, SEEN(port.tx_joined), "TCP segments sent as part of the frame before, which the NIC cuts (TSO)") \
	N("port", "rx_joined", UVS_UNIT_PACKETS, SEEN(port.rx_joined), "frames received that are several TCP segments (LRO)") \
	D("dropped", "rx_bad_checksum", UVS_UNIT_PACKETS, SEEN(lost[UVS_LOST_RX_BAD_CHECKSUM].count), "the NIC found a checksum bad", UVS_LOST_RX_BAD_CHECKSUM, "netif receive") \
	D("dropped", "rx_refused", UVS_UNIT_PACKETS, SEEN(lost[UVS_LOST_RX_REFUSED].count), "lwIP did not take it", UVS_LOST_RX_REFUSED, "netif receive") \
	D("dropped", "rx_vlan", UVS_UNIT_PACKETS, SEEN(lost[UVS_LOST_RX_VLAN].count), "tagged for a VLAN that the host is not in", UVS_LOST_RX_VLAN, "netif receive") \
	D("dropped", "tx_full", UVS_UNIT_PACKETS, SEEN(lost[UVS_LOST_TX_FULL].count), "the transmit buffer was full: the NIC takes nothing", UVS_LOST_TX_FULL, "port send") \
	D("dropped", "tx_no_mbuf", UVS_UNIT_PACKETS, SEEN(lost[UVS_LOST_TX_NO_MBUF].count), "a copy was needed and there was no mbuf", UVS_LOST_TX_NO_MBUF, "netif transmit") \
	D("dropped", "udp_rcvbuf_full", UVS_UNIT_PACKETS, SEEN(lost[UVS_LOST_UDP_RCVBUF_FULL].count), "the socket's receive buffer was full", UVS_LOST_UDP_RCVBUF_FULL, "udp socket") \
	D("dropped", "udp_no_memory", UVS_UNIT_PACKETS, SEEN(lost[UVS_LOST_UDP_NO_MEMORY].count), "memory was full and the socket had something to read", UVS_LOST_UDP_NO_MEMORY, "udp socket") \
	G("memory", "mbufs", UVS_UNIT_MBUFS, SEEN(mem.mbufs), "packet buffers of the pool")          \
	G("memory", "mbufs_free", UVS_UNIT_MBUFS, SEEN(mem.mbufs_free), "of them free, at the last poll") \
	G("memory", "mbufs_reserve", UVS_UNIT_MBUFS, SEEN(mem.mbufs_reserve), "of them for receiving alone") \
	N("memory", "alloc_failed", UVS_UNIT_TIMES, SEEN(mem.alloc_failed), "packets refused to a sender") \
	N("memory", "starved", UVS_UNIT_TIMES, SEEN(mem.starved), "senders that began to wait for mbufs") \
	N("memory", "big_allocs", UVS_UNIT_TIMES, SEEN(mem.big_allocs), "packets larger than an mbuf") \
	G("memory", "heap_bytes", UVS_UNIT_BYTES, SEEN(mem.heap_bytes), "packets in plain memory, at the last poll") \
	N("memory", "unpinned", UVS_UNIT_PACKETS, SEEN(mem.unpinned), "received packets moved to the depot") \
	N("memory", "tcp_rx_refused", UVS_UNIT_PACKETS, SEEN(mem.tcp_rx_refused), "segments kept back, memory being full") \
	N("memory", "rx_cut", UVS_UNIT_PACKETS, SEEN(mem.rx_cut), "joined frames (LRO) of which one packet was taken, memory being full") \
	G("memory", "depot_bytes", UVS_UNIT_BYTES, SEEN(mem.depot_bytes), "plain memory that packets may take") \
	N("memory", "depot_allocs", UVS_UNIT_TIMES, SEEN(mem.depot_allocs), "packets made in the depot") \
	N("memory", "depot_full", UVS_UNIT_TIMES, SEEN(mem.depot_full), "times the depot had no room") \
	UVS_COUNTERS_PROTO(N, D, "lwip.arp", lwip_stats_.etharp, UVS_LOST_ARP, "lwip arp")           \
	UVS_COUNTERS_PROTO(N, D, "lwip.ip", lwip_stats_.ip, UVS_LOST_IP, "lwip ip4")                 \
	UVS_COUNTERS_PROTO(N, D, "lwip.ip_frag", lwip_stats_.ip_frag, UVS_LOST_IP_FRAG, "lwip ip4 reassembly") \
	UVS_COUNTERS_PROTO(N, D, "lwip.icmp", lwip_stats_.icmp, UVS_LOST_ICMP, "lwip icmp")          \
	UVS_COUNTERS_PROTO(N, D, "lwip.ip6", lwip_stats_.ip6, UVS_LOST_IP6, "lwip ip6")              \
	UVS_COUNTERS_PROTO(N, D, "lwip.ip6_frag", lwip_stats_.ip6_frag, UVS_LOST_IP6_FRAG, "lwip ip6 reassembly") \
	UVS_COUNTERS_PROTO(N, D, "lwip.icmp6", lwip_stats_.icmp6, UVS_LOST_ICMP6, "lwip icmp6")      \
	UVS_COUNTERS_PROTO(N, D, "lwip.nd6", lwip_stats_.nd6, UVS_LOST_ND6, "lwip neighbour discovery") \
	UVS_COUNTERS_PROTO(N, D, "lwip.udp", lwip_stats_.udp, UVS_LOST_UDP, "lwip udp")              \
	UVS_COUNTERS_PROTO(N, D, "lwip.tcp", lwip_stats_.tcp, UVS_LOST_TCP, "lwip tcp")              \
	N("lwip", "tcp_retransmits", UVS_UNIT_PACKETS, LWIP(lwip_stats_.mib2.tcpretranssegs), "TCP segments sent again") \
	N("lwip", "tcp_active_opens", UVS_UNIT_TIMES, LWIP(lwip_stats_.mib2.tcpactiveopens), "connections begun here") \
	N("lwip", "tcp_passive_opens", UVS_UNIT_TIMES, LWIP(lwip_stats_.mib2.tcppassiveopens), "connections begun by peers") \
	N("lwip", "tcp_out_rsts", UVS_UNIT_PACKETS, LWIP(lwip_stats_.mib2.tcpoutrsts), "RSTs sent")  \
	N("lwip", "tcp_timer_visits", UVS_UNIT_CONNECTIONS, LWIP(guard.stats.timer_visits), "times that TCP's timers looked at one") \
	G("limits", "tcp_pcbs", UVS_UNIT_CONNECTIONS, LWIP(guard.pcbs), "TCP connections of any state") \
	G("limits", "tcp_half_open", UVS_UNIT_CONNECTIONS, LWIP(guard.half_open), "of them in SYN_RCVD") \
	G("limits", "tcp_time_wait", UVS_UNIT_CONNECTIONS, LWIP(guard.time_wait), "of them in TIME_WAIT") \
	N("limits", "tcp_pcbs_full", UVS_UNIT_CONNECTIONS, LWIP(guard.stats.pcbs_full), "refused at tcp_max_connections") \
	N("limits", "tcp_time_wait_full", UVS_UNIT_CONNECTIONS, LWIP(guard.stats.time_wait_full), "in TIME_WAIT that ended early") \
	D("limits", "tcp_accept_queue_full", UVS_UNIT_PACKETS, LWIP(guard.stats.accept_queue_full), "SYNs and handshakes that found the listener's backlog full", UVS_LOST_NONE, "tcp listener") \
	N("limits", "ooseq_dropped", UVS_UNIT_CONNECTIONS, LWIP(guard.stats.ooseq_dropped), "whose out-of-order data was given up, mbufs being short") \
	N("limits", "challenge_acks", UVS_UNIT_PACKETS, LWIP(guard.stats.challenges), "challenge ACKs (RFC 5961) sent") \
	N("limits", "challenge_acks_left_out", UVS_UNIT_PACKETS, LWIP(guard.stats.challenges_left_out), "challenge ACKs over the limit") \
	N("limits", "syn_cookies_sent", UVS_UNIT_PACKETS, LWIP(guard.stats.cookies_sent), "SYNs answered by a cookie") \
	N("limits", "syn_cookies_accepted", UVS_UNIT_PACKETS, LWIP(guard.stats.cookies_accepted), "ACKs with a good cookie") \
	N("limits", "syn_cookies_refused", UVS_UNIT_PACKETS, LWIP(guard.stats.cookies_refused), "ACKs with a bad cookie") \
	N("queue", "polls", UVS_UNIT_TIMES, QUEUE(polls), "polls of the queue")                     \
	N("queue", "packets", UVS_UNIT_PACKETS, QUEUE(packets), "frames that came by it")           \
	N("queue", "time_squeeze", UVS_UNIT_TIMES, QUEUE(time_squeeze), "polls that used up their budget with more waiting") \
	N("slot", "leases", UVS_UNIT_TIMES, SLOT(leases), "processes that have had it")             \
	N("slot", "reclaims", UVS_UNIT_TIMES, SLOT(reclaims), "of them, that died")                 \
	N("slot", "direct", UVS_UNIT_PACKETS, SLOT(c.direct), "frames from the slot's own receive queue") \
	N("slot", "proxied", UVS_UNIT_PACKETS, SLOT(c.proxied), "frames sent for slots without a transmit queue") \
	D("slot", "copy_no_mbuf", UVS_UNIT_PACKETS, SLOT(c.copy_nombuf), "not copied for another slot, or not looped: no mbuf", UVS_LOST_COPY_NO_MBUF, "steering copy") \
	D("slot", "proxy_full", UVS_UNIT_PACKETS, SLOT(c.proxy_full), "without a transmit queue: the soft queue to who has one was full", UVS_LOST_PROXY_FULL, "soft queue") \
	D("slot", "proxy_none", UVS_UNIT_PACKETS, SLOT(c.proxy_none), "without a transmit queue: nobody who has one runs", UVS_LOST_PROXY_NONE, "soft queue") \
	N("slot", "pcb_none", UVS_UNIT_CONNECTIONS, SLOT(c.pcb_none), "refused: the slot's table was full (connections)") \
	N("slot", "taken", UVS_UNIT_PACKETS, INBOX(taken), "frames taken from other slots")          \
	N("slot", "returned", UVS_UNIT_MBUFS, INBOX(returned), "buffers that came home")             \
	N("slot", "bad_reference", UVS_UNIT_TIMES, INBOX(bad), "references of others that made no sense") \
	N("steer", "own", UVS_UNIT_PACKETS, STEER(count[UVS_STEER_OWN]), "for the only holder of the port, or a connection of ours") \
	N("steer", "nobody", UVS_UNIT_PACKETS, STEER(count[UVS_STEER_NOBODY]), "for a port that nobody holds, answered here") \
	N("steer", "listener", UVS_UNIT_PACKETS, STEER(count[UVS_STEER_LISTENER]), "SYNs and datagrams for a listener of ours") \
	N("steer", "other", UVS_UNIT_PACKETS, STEER(count[UVS_STEER_OTHER]), "neither TCP nor UDP")  \
	N("steer", "to_holder", UVS_UNIT_PACKETS, STEER(count[UVS_STEER_TO_HOLDER]), "forwarded to the only holder") \
	N("steer", "to_rule", UVS_UNIT_PACKETS, STEER(count[UVS_STEER_TO_RULE]), "forwarded by a rule") \
	N("steer", "to_listener", UVS_UNIT_PACKETS, STEER(count[UVS_STEER_TO_LISTENER]), "forwarded to one of the listeners") \
	N("steer", "to_before", UVS_UNIT_PACKETS, STEER(count[UVS_STEER_TO_BEFORE]), "forwarded to whom the RETA led before") \
	N("steer", "to_next", UVS_UNIT_PACKETS, STEER(count[UVS_STEER_TO_NEXT]), "forwarded, looking for the owner") \
	N("steer", "stray", UVS_UNIT_PACKETS, STEER(count[UVS_STEER_STRAY]), "for nobody's connection, answered here") \
	N("steer", "everyone", UVS_UNIT_PACKETS, STEER(count[UVS_STEER_EVERYONE]), "for every slot") \
	N("steer", "group", UVS_UNIT_PACKETS, STEER(count[UVS_STEER_GROUP]), "multicast and broadcast") \
	N("steer", "copies", UVS_UNIT_PACKETS, STEER(count[UVS_STEER_COPIES]), "copies made for others") \
	N("steer", "held_back", UVS_UNIT_PACKETS, STEER(count[UVS_STEER_HELD_BACK]), "fragments that waited for their first") \
	N("steer", "arrived", UVS_UNIT_PACKETS, STEER(count[UVS_STEER_ARRIVED]), "of all these, forwarded by another") \
	D("steer", "full", UVS_UNIT_PACKETS, STEER(drop[UVS_DROP_FULL]), "the owner's soft queue was full: it does not keep up", UVS_LOST_STEER_FULL, "soft queue") \
	D("steer", "fragment", UVS_UNIT_PACKETS, STEER(drop[UVS_DROP_FRAGMENT]), "the first fragment did not come in time, or too many waited", UVS_LOST_STEER_FRAGMENT, "steering") \
	D("steer", "stale", UVS_UNIT_PACKETS, STEER(drop[UVS_DROP_STALE]), "a rule out of date led the datagram away", UVS_LOST_STEER_STALE, "steering") \
	N("manager", "attaches", UVS_UNIT_TIMES, MANAGER(attaches), "processes let in")             \
	N("manager", "exits", UVS_UNIT_TIMES, MANAGER(exits), "slots given back in order")          \
	N("manager", "deaths", UVS_UNIT_TIMES, MANAGER(deaths), "processes that died with slots")   \
	N("manager", "refused", UVS_UNIT_TIMES, MANAGER(refused), "processes and messages refused") \
	N("manager", "bad_messages", UVS_UNIT_TIMES, MANAGER(bad_messages), "messages that made no sense") \
	N("manager", "attach_killed", UVS_UNIT_TIMES, MANAGER(attach_killed), "processes killed because they hung while attaching") \
	N("manager", "resets", UVS_UNIT_TIMES, MANAGER(resets), "queues of the dead that were reset") \
	N("manager", "returned", UVS_UNIT_MBUFS, MANAGER(returned), "buffers taken back from the dead") \
	N("manager", "locks", UVS_UNIT_TIMES, MANAGER(locks), "locks of DPDK's that a dead process held")
/* clang-format on */

enum uvs_unit {
	UVS_UNIT_TIMES,
	UVS_UNIT_PACKETS,
	UVS_UNIT_BYTES,
	UVS_UNIT_NS,
	UVS_UNIT_MBUFS,
	UVS_UNIT_CONNECTIONS,
};

enum uvs_counter_type { UVS_COUNTER, UVS_GAUGE, UVS_DROPS_COUNTER };

/* The structures that counters stand in. */
enum uvs_part {
	UVS_PART_SEEN,
	UVS_PART_LWIP,
	UVS_PART_QUEUE,
	UVS_PART_SLOT,
	UVS_PART_STEER,
	UVS_PART_INBOX,
	UVS_PART_MANAGER,
	UVS_PARTS
};

struct uvs_counter {
	const char *group, *name, *help;
	enum uvs_unit unit;
	enum uvs_counter_type type;
	enum uvs_part part;
	uint32_t offset, size; /* of the word in its part; size 4 or 8 */
	enum uvs_lost why;     /* of UVS_DROPS_COUNTER */
	const char *place;     /* of UVS_DROPS_COUNTER: layer or function */
};

#define UVS_COUNTERS_MAX 256

extern const struct uvs_counter uvs_counters[];
extern const unsigned int uvs_nb_counters;

const char *uvs_unit_name(enum uvs_unit unit);

/* Longest "group.name", and its end. */
#define UVS_COUNTER_NAME 64

/* As Prometheus has it: "uvstack_group_name_total", in base units. */
void uvs_counter_metric(const struct uvs_counter *c, char name[UVS_COUNTER_NAME]);

/* A stack's parts; NULL: it has none. */
struct uvs_view {
	const void *part[UVS_PARTS];
};

/* False: the stack has no such counter. Any thread, any process that has the parts mapped. */
bool uvs_counter_read(const struct uvs_view *v, unsigned int i, uint64_t *value);

/* "group.name"; -1: there is none. */
int uvs_counter_find(const char *name);

#endif /* STACK_SEEN_COUNTERS_H */
