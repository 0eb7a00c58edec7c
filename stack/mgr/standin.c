/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Stacks without a queue live on those that have one. While none of those runs, and one could, the
 * manager takes a slot with a queue itself: it hands what arrives to a stack, which steers it on,
 * and sends what the stacks hand to it. It is a stack without lwIP, polls by a timer, and gives the
 * slot back as soon as a process wants it or has another one. If the manager dies, its slot is
 * reclaimed by its heir as everybody's.
 */
#include "stack/core/log.h"
#include "stack/core/mem.h"
#include "stack/mgr/mgr.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define POLL_NS 1000000L
#define ROUNDS  16 /* bursts of a poll, at most */
#define BURST   32

/* Whose manager frees frames of others now: the pool's operations have no other way to know. */
static struct mgr *sending;

/* ------------------------------------------------------------------------------------- frames */

/* A living stack that has no queue: it steers. */
static uint32_t
receiver(const struct mgr *m)
{
	for (uint32_t slot = m->host->nb_queues + 1; slot < m->host->nb_slots; slot++)
		if (slot_is_up(m, slot))
			return slot;
	return 0;
}

static void
hand_out(struct mgr *m, struct rte_mbuf **frame, uint16_t n)
{
	uint32_t to = receiver(m);

	for (uint16_t i = 0; i < n; i++) {
		struct uvs_mbuf_priv *priv = uvs_mbuf_priv(frame[i]);

		priv->trail = 0;
		priv->way = UVS_WAY_IN;
		if (to == 0 || !uvs_softq_stage(&m->standin.end, to, priv->label.ref))
			rte_pktmbuf_free(frame[i]);
	}
}

static void
receive(struct mgr *m, uint16_t queue)
{
	struct rte_mbuf *frame[BURST];
	uint16_t n = BURST;

	for (int round = 0; round < ROUNDS && n == BURST; round++) {
		n = rte_eth_rx_burst(m->port.id, queue, frame, BURST);
		hand_out(m, frame, n);
	}
}

/* Where it came from; if there is no room it stays ours, and comes home with our slot's end. */
static void
send_home(struct rte_mbuf *mbuf)
{
	uvs_ref ref = uvs_mbuf_priv(mbuf)->label.ref;

	uvs_softq_stage(&sending->standin.end, UVS_REF_POOL(ref), ref);
}

static void
transmit(struct mgr *m, uint16_t queue, struct rte_mbuf **frame, uint16_t n)
{
	uint16_t sent;

	sending = m;
	uvs_mem_freed = send_home;
	sent = rte_eth_tx_burst(m->port.id, queue, frame, n);
	rte_pktmbuf_free_bulk(frame + sent, n - sent);
	uvs_mem_freed = NULL;
}

/* Ours that come home; others', to be sent. */
static uint16_t
sort(struct mgr *m, const uvs_ref *ref, uint32_t n, struct rte_mbuf **frame)
{
	uint16_t found = 0;

	for (uint32_t i = 0; i < n; i++) {
		const struct uvs_pool_view *pool = &m->host->x.pool[UVS_REF_POOL(ref[i])];
		struct rte_mbuf *mbuf = uvs_mbuf_of_label(pool->label_at[UVS_REF_INDEX(ref[i])]);

		if (UVS_REF_POOL(ref[i]) != m->standin.slot) {
			uvs_mbuf_priv(mbuf)->way = UVS_WAY_IN;
			frame[found++] = mbuf;
			continue;
		}
		mbuf->next = NULL;
		mbuf->nb_segs = 1;
		rte_mbuf_refcnt_set(mbuf, 1);
		rte_mbuf_raw_free(mbuf);
	}
	return found;
}

static void
serve(struct mgr *m, uint16_t queue)
{
	struct rte_mbuf *frame[UVS_SEGS_MAX];
	uvs_ref ref[UVS_SEGS_MAX];
	uint32_t n;

	for (int round = 0; round < ROUNDS; round++) {
		n = uvs_softq_take(&m->standin.end, ref, UVS_SEGS_MAX);
		if (n == 0)
			return;
		transmit(m, queue, frame, sort(m, ref, n, frame));
	}
}

static void
poll_queue(struct mgr *m, struct watch *w)
{
	uint16_t queue = (uint16_t)uvs_slot_queue(m->host, m->standin.slot);
	uint64_t n;

	if (read(w->fd, &n, sizeof(n)) != (ssize_t)sizeof(n))
		return;
	serve(m, queue);
	receive(m, queue);
	uvs_softq_publish(&m->standin.end);
	slots_wake(m, m->standin.end.to_ring);
}

/* -------------------------------------------------------------------------------- begin and end */

static void
begin(struct mgr *m, uint32_t slot)
{
	struct itimerspec every = {{0, POLL_NS}, {0, POLL_NS}};
	struct standin *s = &m->standin;

	s->timer = (struct watch){poll_queue, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)};
	if (s->timer.fd < 0 || timerfd_settime(s->timer.fd, 0, &every, NULL) != 0 ||
	    watch_add(m, &s->timer) != 0) {
		uvs_log(UVS_LOG_ERROR, "stacks without a queue are cut off: %s", strerror(errno));
		return;
	}
	s->slot = slot;
	slot_take(m, slot);
	uvs_softq_open(&s->end, &m->host->x, slot);
	uvs_log(UVS_LOG_INFO, "stands in for a stack with a queue, in slot %u", slot);
}

void
standin_end(struct mgr *m)
{
	uint32_t slot = m->standin.slot;

	if (slot == 0)
		return;
	m->standin.slot = 0;
	watch_del(m, &m->standin.timer);
	close(m->standin.timer.fd);
	slot_give(m, slot);
}

/* A process's, with a queue that is polled or about to be. */
static bool
has_queue_stack(const struct mgr *m)
{
	for (uint32_t slot = 1; slot <= m->host->nb_queues; slot++)
		if (slot != m->standin.slot && slot_is_up(m, slot))
			return true;
	return false;
}

void
standin_follow(struct mgr *m)
{
	bool wanted = receiver(m) != 0 && !has_queue_stack(m);

	if (!wanted)
		standin_end(m);
	else if (m->standin.slot == 0)
		begin(m, 1); /* free, since no slot with a queue is anybody's */
}
