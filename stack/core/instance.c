/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/core/instance.h"
#include "stack/core/clock.h"
#include "stack/core/latency.h"
#include "stack/core/log.h"
#include "stack/core/model.h"
#include "stack/core/share.h"
#include "stack/core/trace.h"
#include "stack/seen/counters.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lwip/timeouts.h"

__thread struct uvs_instance *uvs_self;

#define DEFAULT_MBUFS 8192

/* ------------------------------------------------------------------------------ enter and leave */

/* Send what was made; let others see what is for them. */
static void
uvs_inst_flush(struct uvs_instance *in)
{
	if (unlikely(in->share != NULL))
		uvs_share_flush(in);
	else
		uvs_port_flush(&in->port);
}

void
uvs_inst_show(struct uvs_instance *in, struct uvs_seen *page)
{
	in->seen = in->port.seen = in->mem.seen = page;
}

void
uvs_inst_init(struct uvs_instance *in, const struct uvs_conf *c)
{
	memset(in, 0, sizeof(*in));
	uvs_lock_init(&in->lock);
	in->conf = c;
	uvs_inst_show(in, &in->unseen);
}

/* uvs_self is set before the lock is taken and cleared after it is given back: a signal handler in
 * between finds it set and is refused, rather than wait for the thread it interrupted. */

static bool
claim(struct uvs_instance *in)
{
	if (unlikely(uvs_self != NULL))
		return false;
	uvs_self = in;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return true;
}

static void
unclaim(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	uvs_self = NULL;
}

static void
entered(struct uvs_instance *in)
{
	uvl_enter(in->lwip);
	in->now_ns = uvs_clock_ns();
}

bool
uvs_inst_enter(struct uvs_instance *in)
{
	if (!claim(in))
		return false;
	uvs_lock_take(&in->lock);
	entered(in);
	return true;
}

bool
uvs_inst_try_enter(struct uvs_instance *in)
{
	if (!claim(in))
		return false;
	if (!uvs_lock_try(&in->lock)) {
		unclaim();
		return false;
	}
	entered(in);
	return true;
}

static struct uvs_deferred *
oldest_first(struct uvs_deferred *newest)
{
	struct uvs_deferred *list = NULL;

	while (newest != NULL) {
		struct uvs_deferred *older = newest->next;

		newest->next = list;
		list = newest;
		newest = older;
	}
	return list;
}

void
uvs_inst_run_deferred(struct uvs_instance *in)
{
	struct uvs_deferred *d;

	if (likely(__atomic_load_n(&in->deferred, __ATOMIC_RELAXED) == NULL))
		return;
	d = oldest_first(__atomic_exchange_n(&in->deferred, NULL, __ATOMIC_SEQ_CST));
	while (d != NULL) {
		struct uvs_deferred *next = d->next;

		d->run(d);
		d = next;
	}
}

void
uvs_inst_send(struct uvs_instance *in)
{
	if (likely(!in->tx_later))
		uvs_inst_flush(in);
}

void
uvs_inst_leave(struct uvs_instance *in)
{
	uvs_inst_run_deferred(in);
	if (in->lwip != NULL) {
		uvs_netif_hairpin(in);
		uvs_inst_send(in);
		in->tx_later = false;
		__atomic_store_n(&in->next_timer, uvs_inst_timer(in), __ATOMIC_RELAXED);
	}
	uvl_enter(NULL);
	uvs_lock_give(&in->lock);
	unclaim();
}

void
uvs_inst_seal(struct uvs_instance *in)
{
	(void)in; /* its lock stays taken */
	uvl_enter(NULL);
	unclaim();
}

void
uvs_inst_defer(struct uvs_instance *in, struct uvs_deferred *d)
{
	struct uvs_runner *runner = __atomic_load_n(&in->runner, __ATOMIC_ACQUIRE);

	d->next = __atomic_load_n(&in->deferred, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&in->deferred, &d->next, d, true, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED))
		;
	if (runner != NULL)
		uvs_runner_wake(runner);
	/* If nobody is inside, nobody will look: do it now; from inside another instance, wake
	 * whoever drives. */
	else if (uvs_inst_try_enter(in))
		uvs_inst_leave(in);
	else if (in->share != NULL)
		uvs_share_ring(in->share);
}

/* ---------------------------------------------------------------------------------- what is lost
 */

void
uvs_inst_note(struct uvs_instance *in, enum uvs_lost why, const struct rte_mbuf *m)
{
	UVS_TRACE(drop, (uint8_t)why, m != NULL ? m->pkt_len : 0);
	if (m != NULL)
		uvs_seen_last(in->seen, why, rte_pktmbuf_mtod(m, const void *), m->pkt_len,
			      m->data_len, in->now_ns);
}

void
uvs_inst_lost(struct uvs_instance *in, enum uvs_lost why, const struct rte_mbuf *m)
{
	in->seen->lost[why].count++;
	uvs_inst_note(in, why, m);
}

/* ------------------------------------------------------------------------------------- the loop */

static void
count_poll(struct uvs_instance *in, uint16_t queue, unsigned int n, bool squeezed)
{
	struct uvs_queue_stats *s = &in->seen->queue[queue - in->port.rxq];

	s->polls++;
	s->packets += n;
	if (unlikely(squeezed)) {
		s->time_squeeze++;
		in->seen->loop.time_squeeze++;
	}
}

/* Fewer fit into the cache, and stay there. */
#define CROWD 256u

static void
fetch(const void *object, size_t size)
{
	for (size_t at = 0; at < size; at += RTE_CACHE_LINE_SIZE)
		rte_prefetch0((const char *)object + at);
}

/* Of many connections, the one that a frame is for is in no cache, and to wait for the lines of its
 * PCB (13) and its socket (10) one after the other costs more than all the work on a request. For a
 * burst they are fetched side by side: buckets first, then the PCBs that those name, then the
 * sockets. A bucket may name another PCB first: no harm, and rare. */
static void
fetch_connections(struct rte_mbuf *const *burst, uint16_t n)
{
	struct tcp_pcb *const *slot[UVS_RX_BURST];
	const struct tcp_pcb *pcb[UVS_RX_BURST];

	for (uint16_t i = 0; i < n; i++) {
		const struct rte_mbuf *m = burst[i];
		const size_t eth = sizeof(struct rte_ether_hdr);

		slot[i] = m->data_len < eth
				  ? NULL
				  : uvl_tcp_slot(rte_pktmbuf_mtod_offset(m, uint8_t *, eth),
						 m->data_len - eth);
		if (slot[i] != NULL)
			rte_prefetch0(slot[i]);
	}
	for (uint16_t i = 0; i < n; i++) {
		pcb[i] = slot[i] != NULL ? *slot[i] : NULL;
		if (pcb[i] != NULL)
			fetch(pcb[i], sizeof(*pcb[i]));
	}
	for (uint16_t i = 0; i < n; i++)
		if (pcb[i] != NULL && pcb[i]->callback_arg != NULL)
			fetch(pcb[i]->callback_arg, UVS_SOCK_SIZE);
}

static unsigned int
poll_queue(struct uvs_instance *in, uint16_t queue)
{
	struct rte_mbuf *burst[UVS_RX_BURST];
	unsigned int total = 0;
	uint16_t n;

	do {
		n = rte_eth_rx_burst(in->port.id, queue, burst, UVS_RX_BURST);
		if (uvs_latency_on(in) && n != 0)
			uvs_latency_received(in, burst, n);
		if (unlikely(in->nvlans != 0))
			uvs_vlan_strip(&in->port, burst, n);
		for (uint16_t j = 0; j < n; j++)
			rte_prefetch0(rte_pktmbuf_mtod(burst[j], void *));
		if (n > 1 && in->lwip->guard.pcbs > CROWD)
			fetch_connections(burst, n);
		if (unlikely(in->share != NULL))
			uvs_share_receive(in, burst, n);
		else
			for (uint16_t j = 0; j < n; j++)
				uvs_netif_receive(in, burst[j]);
		total += n;
	} while (n == UVS_RX_BURST && total < in->conf->budget);
	in->rx_frame = NULL;
	count_poll(in, queue, total, n == UVS_RX_BURST);
	return total;
}

static void
feed_starved(struct uvs_instance *in)
{
	/* Not one by one at the edge: wait until a good number is free again. */
	if (in->starved != NULL && uvs_mem_relaxed(&in->mem))
		uvs_feed(in);
}

/* Receive buffers are short. What is out of order keeps them for nothing that anybody could read,
 * and a peer can make it so: it goes, and no more is kept until there are enough again. */
#define PRUNE_NS (100 * UVS_NS_PER_MS)

static void
prune(struct uvs_instance *in)
{
	struct uvl_guard *g = &in->lwip->guard;

	g->no_ooseq = uvs_mem_avail(&in->mem) <= in->mem.low;
	if (!g->no_ooseq || in->now_ns - in->pruned_ns < PRUNE_NS)
		return;
	in->pruned_ns = in->now_ns;
	uvl_ooseq_drop();
}

static void
count_round(struct uvs_instance *in, unsigned int n, uint32_t avail)
{
	struct uvs_seen *s = in->seen;

	s->loop.polls++;
	s->loop.work_polls += n != 0;
	s->loop.processed += n;
	s->mem.mbufs_free = avail;
	s->mem.heap_bytes = in->mem.heap_bytes;
}

unsigned int
uvs_inst_poll(struct uvs_instance *in)
{
	unsigned int n = 0;
	uint32_t avail;

	UVS_TRACE(poll_begin, in->port.queues);
	if (unlikely(in->share != NULL))
		n = uvs_share_poll(in);
	for (uint16_t q = in->port.rxq; q < in->port.rxq + in->port.queues; q++)
		if (in->share == NULL || uvs_share_mine(in->share))
			n += poll_queue(in, q);
	uvs_netif_hairpin(in);
	if (uvs_inst_timer(in) <= in->now_ns)
		sys_check_timeouts();
	feed_starved(in);
	avail = uvs_mem_avail(&in->mem);
	if (unlikely(in->lwip->guard.no_ooseq || avail <= in->mem.low))
		prune(in);
	uvs_inst_flush(in);
	count_round(in, n, avail);
	UVS_TRACE(poll_end, n);
	return n;
}

/* When to offer the port again what it could not take. */
#define UVS_TX_RETRY_NS (UVS_NS_PER_MS / 10)

uint64_t
uvs_inst_timer(const struct uvs_instance *in)
{
	const struct sys_timeo *t = in->lwip != NULL ? in->lwip->next_timeout_ : NULL;
	uint32_t now_ms = (uint32_t)(in->now_ns / UVS_NS_PER_MS);
	int32_t left;

	/* What the port could not take: nobody says when it can. */
	if (in->port.tx_n != 0)
		return in->now_ns + UVS_TX_RETRY_NS;
	if (t == NULL)
		return UINT64_MAX;
	left = (int32_t)(t->time - now_ms); /* lwIP's milliseconds wrap */
	return left <= 0 ? in->now_ns : in->now_ns + (uint64_t)left * UVS_NS_PER_MS;
}

/* ------------------------------------------------------------------------------- start and stop */

static uint32_t
choose_mbufs(const struct uvs_instance *in)
{
	uint32_t want = in->conf->mbufs;

	if (want == 0)
		want = RTE_MAX((uint32_t)DEFAULT_MBUFS, 4 * uvs_port_rx_mbufs(&in->port));
	return want;
}

static int
start_pool(struct uvs_instance *in)
{
	uint32_t mbufs = choose_mbufs(in);
	uint32_t reserve = RTE_MIN(uvs_port_rx_mbufs(&in->port), mbufs / 2) + mbufs / 8;
	char name[RTE_MEMPOOL_NAMESIZE];
	int r;

	snprintf(name, sizeof(name), "uvs_%u", in->port.id);
	r = uvs_mem_init(&in->mem, name, mbufs, in->conf->mtu, reserve);
	in->mem.depot = (uint64_t)in->conf->depot_mb << 20;
	if (r < 0)
		uvs_log(UVS_LOG_ERROR, "no memory for %u mbufs: %s (memory_mb, mbufs)", mbufs,
			strerror(-r));
	return r;
}

static void
set_limits(struct uvl *lwip, const struct uvs_instance *in)
{
	const struct uvs_conf *c = in->conf;
	struct uvl_limits *l = &lwip->guard.limits;

	l->pcbs = c->tcp_max_connections;
	l->half_open = c->tcp_max_syn_backlog != 0 ? c->tcp_max_syn_backlog
						   : RTE_MAX(in->mem.total / 8, 1u);
	l->time_wait = c->tcp_max_tw_buckets;
	l->synack_retries = (uint8_t)c->tcp_synack_retries;
	lwip->tcp_ecn = (uint8_t)c->tcp_ecn;
}

/* Where tools find it: in the slot, or behind the page. */
static struct uvl *
lwip_memory(const struct uvs_instance *in)
{
	if (in->share != NULL)
		return uvs_share_lwip(in->share);
	if (in->seen != &in->unseen)
		return (struct uvl *)((char *)in->seen + UVS_SEEN_LWIP);
	return aligned_alloc(RTE_CACHE_LINE_SIZE, RTE_ALIGN(uvl_size(), 64));
}

static void
lwip_memory_free(const struct uvs_instance *in, struct uvl *lwip)
{
	if (in->share == NULL && in->seen == &in->unseen)
		free(lwip);
}

static void
show_sizes(struct uvs_instance *in)
{
	struct uvs_seen *s = in->seen;

	in->port.seen = in->mem.seen = s; /* port and pool have been made anew */
	s->queues = in->port.queues;
	s->first_queue = in->port.rxq;
	s->mem.mbufs = in->mem.total;
	s->mem.mbufs_reserve = in->mem.reserve;
	s->mem.mbufs_free = uvs_mem_avail(&in->mem);
	s->mem.depot_bytes = in->mem.depot;
}

static int
start_lwip(struct uvs_instance *in)
{
	struct uvl *lwip = lwip_memory(in);
	int r;

	if (lwip == NULL)
		return -ENOMEM;
	uvs_self = in;
	in->now_ns = uvs_clock_ns();
	uvl_init(lwip);
	set_limits(lwip, in);
	in->mem.depot = (uint64_t)in->conf->depot_mb << 20;
	show_sizes(in);
	uvl_enter(lwip);
	r = uvs_netif_add(in);
	uvl_enter(NULL);
	uvs_self = NULL;
	if (r == 0)
		in->lwip = lwip;
	else
		lwip_memory_free(in, lwip);
	return r;
}

static int
start_in_slot(struct uvs_instance *in, struct uvs_share *share)
{
	int r = uvs_share_start(share, in);

	if (r == 0)
		r = start_lwip(in);
	return r == 0 ? uvs_share_ready(share) : r;
}

int
uvs_inst_start(struct uvs_instance *in, uint16_t port_id, struct uvs_share *share)
{
	struct rte_mempool *pool[UVS_QUEUES_MAX];
	int r;

	if (share != NULL)
		return start_in_slot(in, share);
	r = uvs_port_probe(&in->port, port_id, in->conf);
	if (r == 0)
		r = start_pool(in);
	if (r < 0)
		return r;
	for (uint16_t q = 0; q < in->port.queues; q++)
		pool[q] = in->mem.pool;
	r = uvs_port_start(&in->port, in->conf, pool);
	if (r == 0)
		r = start_lwip(in);
	if (r < 0)
		uvs_mem_fini(&in->mem);
	return r;
}

void
uvs_inst_stop(struct uvs_instance *in)
{
	struct uvs_share *share = in->share;
	struct uvl *lwip = in->lwip;

	uvs_addresses_remove(in);
	uvs_inst_flush(in);
	if (share != NULL)
		uvs_share_leave(share, in);
	uvl_exit(lwip);
	in->lwip = NULL;
	uvl_enter(NULL);
	uvs_port_stop(&in->port);
	lwip_memory_free(in, lwip);
	if (share != NULL)
		uvs_share_close(share, in);
	uvs_mem_fini(&in->mem);
}

void
uvs_inst_view(const struct uvs_instance *in, struct uvs_view *v)
{
	*v = (struct uvs_view){.part = {[UVS_PART_SEEN] = in->seen, [UVS_PART_LWIP] = in->lwip}};
	if (in->share != NULL)
		uvs_share_view(in->share, v);
}

/* ------------------------------------------------------------------------------- lwIP's hooks */

u32_t
sys_now(void)
{
	return (u32_t)(uvs_self->now_ns / UVS_NS_PER_MS);
}

uint64_t
uvl_now_us(void)
{
	return uvs_self->now_ns / UVS_NS_PER_US;
}

void
uvl_on_tcp_state(const struct tcp_pcb *pcb, enum tcp_state to)
{
	UVS_TRACE(tcp_state, pcb->local_port, pcb->remote_port, (uint8_t)pcb->state, (uint8_t)to);
}

void
uvl_on_tcp_retransmit(const struct tcp_pcb *pcb, u32_t seq, u16_t len)
{
	UVS_TRACE(tcp_retransmit, pcb->local_port, pcb->remote_port, seq, len);
}

void
uvl_on_drop(enum uvl_drop what)
{
	uvs_inst_note(uvs_self, (enum uvs_lost)(UVS_LOST_ARP + what), uvs_self->rx_frame);
}

void
uvl_on_assert(const char *message, const char *file, int line)
{
	struct uvs_instance *in = uvs_self;

	/* A packet may be able to repeat it: say each power of two. */
	if (in != NULL) {
		uint64_t n = ++in->seen->loop.asserts;

		if ((n & (n - 1)) != 0)
			return;
	}
	uvs_log(UVS_LOG_ERROR, "lwIP: assertion \"%s\" does not hold at %s:%d", message, file,
		line);
}
