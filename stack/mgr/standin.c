/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Stacks without a queue live on those that have one. While none of those runs, and one could, the
 * manager takes a slot with a queue itself: it hands what arrives to the stack that it is for, and
 * sends what the stacks hand to it. It is a stack without lwIP, polls by a timer, and gives the
 * slot back as soon as a process wants it or has another one. If the manager dies, its slot is
 * reclaimed by its heir as everybody's.
 *
 * Of a driver whose queues only one process can poll (uvs_port.alone: its descriptors are that
 * process's, or it keeps the buffers of one that was killed) the manager has the only queue for
 * good. Nobody else ever calls the driver, so nobody dies in it; what the NIC receives into is of
 * the manager's own pool. Then it sleeps on the port's interrupts, if it has any, and on the bell
 * of its slot; the port ends with it.
 *
 * TCP and UDP are steered as every stack does it (steer.h). All else - ARP, fragments, what nobody
 * wants - one of the stacks is given, which knows what to do with it. */
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
static struct mgr *freeing;

/* ------------------------------------------------------------------------------------- buffers */

/* Where it came from; if there is no room it stays ours, and comes home with our slot's end. */
static void
freed(struct rte_mbuf *mbuf)
{
	struct uvs_mbuf_priv *priv = uvs_mbuf_priv(mbuf);
	uvs_ref ref = priv->label.ref;

	if (UVS_REF_POOL(ref) != freeing->standin.slot) {
		uvs_softq_stage(&freeing->standin.end, UVS_REF_POOL(ref), ref);
		return;
	}
	uvs_mem_freed = NULL;
	rte_mempool_put(mbuf->pool, mbuf);
	uvs_mem_freed = freed;
}

/* Between these, every buffer that is freed goes to whose it is. */
static void
begin_freeing(struct mgr *m)
{
	freeing = m;
	uvs_mem_freed = freed;
}

static void
end_freeing(void)
{
	uvs_mem_freed = NULL;
}

/* ------------------------------------------------------------------------------------- frames */

static uint64_t
stopped_slots(const struct mgr *m)
{
	const struct client *c;
	uint64_t slots = 0;

	TAILQ_FOREACH (c, &m->clients, next)
		if (c->stopped)
			slots |= c->slots;
	return slots;
}

/* A living stack that has no queue; one that runs, if there is one. */
static uint32_t
receiver(const struct mgr *m)
{
	uint64_t stopped = stopped_slots(m);
	uint32_t found = 0;

	for (uint32_t slot = m->host->nb_queues + 1; slot < m->host->nb_slots; slot++) {
		if (!slot_is_up(m, slot))
			continue;
		found = slot;
		if ((stopped >> slot & 1) == 0)
			break;
	}
	return found;
}

/* Some stack's, which steers it on. */
static void
hand_on(struct mgr *m, struct rte_mbuf *frame, uint32_t to)
{
	struct uvs_mbuf_priv *priv = uvs_mbuf_priv(frame);

	priv->trail = 0;
	if (to == 0 || !uvs_softq_stage(&m->standin.end, to, priv->label.ref))
		rte_pktmbuf_free(frame);
}

/* Can its ports say whose it is? Not of fragments: they have to go one way. */
static bool
has_owner(const struct rte_mbuf *frame)
{
	struct uvs_parsed p;

	uvs_flow_parse(&p, rte_pktmbuf_mtod(frame, const uint8_t *), frame->data_len);
	return (p.kind == UVS_KIND_FLOW || p.kind == UVS_KIND_ERROR) && !p.first;
}

static void
describe(struct uvs_frame *f, struct rte_mbuf *frame)
{
	struct uvs_mbuf_priv *priv = uvs_mbuf_priv(frame);

	*f = (struct uvs_frame){.data = rte_pktmbuf_mtod(frame, const uint8_t *),
				.len = frame->data_len,
				.ref = priv->label.ref,
				.trail = &priv->trail,
				.tag = frame};
}

static void
hand_out(struct mgr *m, struct rte_mbuf **frame, uint16_t n)
{
	uint32_t to = receiver(m), nb_owned = 0;
	struct uvs_frame f[BURST];

	for (uint16_t i = 0; i < n; i++) {
		uvs_mbuf_priv(frame[i])->trail = 0;
		uvs_mbuf_priv(frame[i])->way = UVS_WAY_IN;
		if (has_owner(frame[i]))
			describe(&f[nb_owned++], frame[i]);
		else
			hand_on(m, frame[i], to);
	}
	uvs_steer_burst(&m->standin.steer, f, nb_owned);
	for (uint32_t i = 0; i < nb_owned; i++)
		if (f[i].verdict == UVS_DROP)
			rte_pktmbuf_free(f[i].tag);
		else if (f[i].verdict != UVS_GONE)
			hand_on(m, f[i].tag, to);
}

/* Returns whether there may be more. */
static bool
receive(struct mgr *m, uint16_t queue)
{
	struct rte_mbuf *frame[BURST];
	uint16_t n = BURST;

	for (int round = 0; round < ROUNDS && n == BURST; round++) {
		n = rte_eth_rx_burst(m->port.id, queue, frame, BURST);
		hand_out(m, frame, n);
	}
	return n == BURST;
}

static void
transmit(struct mgr *m, uint16_t queue, struct rte_mbuf **frame, uint16_t n)
{
	uint16_t sent = rte_eth_tx_burst(m->port.id, queue, frame, n);

	rte_pktmbuf_free_bulk(frame + sent, n - sent);
}

/* Ours that come home, and copies of what is everybody's; what is left is to be sent. */
static uint16_t
sort(struct mgr *m, const uvs_ref *ref, uint32_t n, struct rte_mbuf **frame)
{
	uint16_t found = 0;

	for (uint32_t i = 0; i < n; i++) {
		const struct uvs_pool_view *pool = &m->host->x.pool[UVS_REF_POOL(ref[i])];
		struct rte_mbuf *mbuf = uvs_mbuf_of_label(pool->label_at[UVS_REF_INDEX(ref[i])]);
		struct uvs_mbuf_priv *priv = uvs_mbuf_priv(mbuf);

		if (UVS_REF_POOL(ref[i]) != m->standin.slot && priv->way == UVS_WAY_OUT) {
			priv->way = UVS_WAY_IN;
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

/* Returns whether there may be more. */
static bool
serve(struct mgr *m, uint16_t queue)
{
	struct rte_mbuf *frame[UVS_SEGS_MAX];
	uvs_ref ref[UVS_SEGS_MAX];
	uint32_t n = UVS_SEGS_MAX;

	for (int round = 0; round < ROUNDS && n != 0; round++) {
		n = uvs_softq_take(&m->standin.end, ref, UVS_SEGS_MAX);
		if (n != 0)
			transmit(m, queue, frame, sort(m, ref, n, frame));
	}
	return n != 0;
}

/* Returns whether there may be more. */
static bool
poll_queue(struct mgr *m)
{
	uint16_t queue = (uint16_t)uvs_slot_queue(m->host, m->standin.slot);
	bool more;

	begin_freeing(m);
	more = serve(m, queue);
	more |= receive(m, queue);
	end_freeing();
	uvs_softq_publish(&m->standin.end);
	slots_wake(m, m->standin.end.to_ring);
	return more;
}

/* --------------------------------------------------------------------------------------- waking */

static void
timer_ready(struct mgr *m, struct watch *w)
{
	uint64_t n;

	if (read(w->fd, &n, sizeof(n)) == (ssize_t)sizeof(n))
		poll_queue(m);
}

/* Sleep until something happens; or come back at once, by our own bell. */
static void
attend(struct mgr *m)
{
	struct standin *s = &m->standin;
	bool more;

	uvs_port_disarm(&m->port);
	uvs_softq_disarm(&s->end);
	more = poll_queue(m);
	uvs_port_arm(&m->port);
	/* What came before the port was armed wakes nobody. */
	more |= poll_queue(m) || !uvs_softq_arm(&s->end);
	if (more)
		slots_wake(m, 1ULL << s->slot);
}

static void
port_ready(struct mgr *m, struct watch *w)
{
	(void)w;
	attend(m);
}

static void
bell_ready(struct mgr *m, struct watch *w)
{
	char rings[256];

	if (read(w->fd, rings, sizeof(rings)) > 0)
		attend(m);
}

/* -------------------------------------------------------------------------------- begin and end */

static int
start_timer(struct mgr *m)
{
	struct itimerspec every = {{0, POLL_NS}, {0, POLL_NS}};
	struct standin *s = &m->standin;

	s->timer = (struct watch){timer_ready, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)};
	if (s->timer.fd >= 0 && timerfd_settime(s->timer.fd, 0, &every, NULL) == 0)
		return watch_add(m, &s->timer);
	return -errno;
}

static void
enter_slot(struct mgr *m, uint32_t slot)
{
	struct standin *s = &m->standin;

	s->slot = slot;
	slot_take(m, slot);
	uvs_softq_open(&s->end, &m->host->x, slot);
	uvs_steer_open(&s->steer, &m->map, &s->end, NULL, NULL);
}

static void
begin(struct mgr *m, uint32_t slot)
{
	int rc = start_timer(m);

	if (rc < 0) {
		uvs_log(UVS_LOG_ERROR, "stacks without a queue are cut off: %s", strerror(-rc));
		return;
	}
	enter_slot(m, slot);
	uvs_log(UVS_LOG_INFO, "stands in for a stack with a queue, in slot %u", slot);
}

int
standin_stay(struct mgr *m)
{
	struct standin *s = &m->standin;
	int rc;

	if (!m->host->by_manager)
		return 0;
	enter_slot(m, 1);
	s->bell = (struct watch){bell_ready, m->bells[s->slot]};
	s->port = (struct watch){port_ready, m->port.epfd};
	rc = watch_add(m, &s->bell);
	if (rc == 0 && m->port.intr)
		rc = watch_add(m, &s->port);
	else if (rc == 0)
		rc = start_timer(m);
	attend(m);
	return rc;
}

void
standin_end(struct mgr *m)
{
	uint32_t slot = m->standin.slot;

	if (slot == 0 || m->host->by_manager)
		return;
	m->standin.slot = 0;
	watch_del(m, &m->standin.timer);
	close(m->standin.timer.fd);
	uvs_steer_close(&m->standin.steer);
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
