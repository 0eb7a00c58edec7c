/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Counters of an instance as JSON. Read without the instance: each is a word, the sum is no
 * snapshot. */
#include "stack/sock/sock_priv.h"
#include "stack/sock/stack.h"

#include <stdarg.h>
#include <stdio.h>

struct out {
	char *buf;
	size_t len, used;
	bool comma;
};

static void __attribute__((format(printf, 2, 3))) put(struct out *o, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	o->used += (size_t)vsnprintf(o->used < o->len ? o->buf + o->used : NULL,
				     o->used < o->len ? o->len - o->used : 0, fmt, ap);
	va_end(ap);
}

static void
number(struct out *o, const char *name, uint64_t v)
{
	put(o, "%s\"%s\": %llu", o->comma ? ", " : "", name, (unsigned long long)v);
	o->comma = true;
}

static void
open_object(struct out *o, const char *name)
{
	put(o, "%s\"%s\": {", o->comma ? ", " : "", name);
	o->comma = false;
}

static void
close_object(struct out *o)
{
	put(o, "}");
	o->comma = true;
}

static void
loop(struct out *o, const struct uvs_inst_stats *s)
{
	open_object(o, "loop");
	number(o, "processed", s->processed);
	number(o, "time_squeeze", s->time_squeeze);
	number(o, "forwarded", 0);
	number(o, "polls", s->polls);
	number(o, "work_polls", s->work_polls);
	number(o, "calls", s->calls);
	number(o, "busy_ns", s->busy_ns);
	number(o, "spin_ns", s->spin_ns);
	number(o, "asleep_ns", s->asleep_ns);
	number(o, "sleeps", s->sleeps);
	number(o, "wakeups", s->wakeups);
	number(o, "reentered", s->reentered);
	number(o, "asserts", s->asserts);
	close_object(o);
}

static void
port(struct out *o, const struct uvs_port_stats *s)
{
	open_object(o, "port");
	number(o, "rx_packets", s->rx_packets);
	number(o, "rx_bytes", s->rx_bytes);
	number(o, "tx_packets", s->tx_packets);
	number(o, "tx_bytes", s->tx_bytes);
	number(o, "tx_bursts", s->tx_bursts);
	number(o, "tx_copied", s->tx_copied);
	close_object(o);
}

static void
drops(struct out *o, const struct uvs_instance *in)
{
	open_object(o, "dropped");
	number(o, "rx_bad_checksum", in->port.stats.rx_bad_checksum);
	number(o, "rx_refused", in->port.stats.rx_refused);
	number(o, "tx_full", in->port.stats.tx_full);
	number(o, "tx_no_mbuf", in->port.stats.tx_no_mbuf);
	number(o, "udp_rcvbuf_full", in->stats.udp_rcvbuf_full);
	number(o, "udp_no_memory", in->stats.udp_no_memory);
	close_object(o);
}

static void
memory(struct out *o, const struct uvs_instance *in)
{
	open_object(o, "memory");
	number(o, "mbufs", in->mem.total);
	number(o, "mbufs_free", in->mem.pool != NULL ? uvs_mem_avail(&in->mem) : 0);
	number(o, "mbufs_reserve", in->mem.reserve);
	number(o, "alloc_failed", in->mem.alloc_failed);
	number(o, "starved", in->stats.starved);
	number(o, "big_allocs", in->mem.big_allocs);
	number(o, "heap_bytes", in->mem.heap_bytes);
	number(o, "unpinned", in->mem.unpinned);
	number(o, "tcp_rx_refused", in->stats.tcp_rx_refused);
	number(o, "depot_bytes", in->mem.depot);
	number(o, "depot_allocs", in->mem.depot_allocs);
	number(o, "depot_full", in->mem.depot_full);
	close_object(o);
}

static void
lwip_proto(struct out *o, const char *name, const struct stats_proto *p)
{
	open_object(o, name);
	number(o, "xmit", p->xmit);
	number(o, "recv", p->recv);
	number(o, "drop", p->drop);
	number(o, "chkerr", p->chkerr);
	number(o, "lenerr", p->lenerr);
	number(o, "memerr", p->memerr);
	number(o, "rterr", p->rterr);
	number(o, "proterr", p->proterr);
	number(o, "opterr", p->opterr);
	number(o, "err", p->err);
	close_object(o);
}

static void
limits(struct out *o, const struct uvl_guard *g)
{
	open_object(o, "limits");
	number(o, "tcp_pcbs", g->pcbs);
	number(o, "tcp_half_open", g->half_open);
	number(o, "tcp_time_wait", g->time_wait);
	number(o, "tcp_pcbs_full", g->stats.pcbs_full);
	number(o, "tcp_time_wait_full", g->stats.time_wait_full);
	number(o, "tcp_accept_queue_full", g->stats.accept_queue_full);
	number(o, "ooseq_dropped", g->stats.ooseq_dropped);
	number(o, "challenge_acks", g->stats.challenges);
	number(o, "challenge_acks_left_out", g->stats.challenges_left_out);
	number(o, "syn_cookies_sent", g->stats.cookies_sent);
	number(o, "syn_cookies_accepted", g->stats.cookies_accepted);
	number(o, "syn_cookies_refused", g->stats.cookies_refused);
	close_object(o);
}

static void
protocols(struct out *o, const struct uvl *lwip)
{
	const struct stats_ *s;

	if (lwip == NULL)
		return;
	s = &lwip->lwip_stats_;
	open_object(o, "lwip");
	lwip_proto(o, "arp", &s->etharp);
	lwip_proto(o, "ip", &s->ip);
	lwip_proto(o, "ip_frag", &s->ip_frag);
	lwip_proto(o, "icmp", &s->icmp);
	lwip_proto(o, "udp", &s->udp);
	lwip_proto(o, "tcp", &s->tcp);
	number(o, "tcp_retransmits", s->mib2.tcpretranssegs);
	number(o, "tcp_active_opens", s->mib2.tcpactiveopens);
	number(o, "tcp_passive_opens", s->mib2.tcppassiveopens);
	number(o, "tcp_out_rsts", s->mib2.tcpoutrsts);
	close_object(o);
	limits(o, &lwip->guard);
}

int
uvs_stats_json(struct uvs_instance *in, char *buf, size_t len)
{
	struct out o = {.buf = buf, .len = len};

	put(&o, "{");
	loop(&o, &in->stats);
	port(&o, &in->port.stats);
	drops(&o, in);
	memory(&o, in);
	protocols(&o, in->lwip);
	put(&o, "}");
	return (int)o.used;
}
