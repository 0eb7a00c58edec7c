/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uveth_time.c - when frames were sent and received: receive timestamps, and what PTP wants.
 *
 * All of it reads the fabric's clock, in nanoseconds, so a test that stops or warps that clock sees
 * it here, too. A frame is received when its sender published it, or when the fabric lets it out,
 * if that delays it: not when the application gets round to asking. Senders note the time in the
 * cell only for a port that wants to know (UVB_CONF_SENT_AT).
 *
 * PTP has a clock per port: the fabric's and an offset that rte_eth_timesync_adjust_time() and
 * _write_time() change. As on hardware, one register each holds the time of a received and of a
 * sent PTP frame until it is read; a frame that finds it taken leaves it alone.
 */
#include <errno.h>

#include <rte_ether.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>
#include <rte_time.h>

#include "uveth/uveth.h"

/* ---------------------------------------------------------------------------------------- rx */

static uint64_t
arrival(const struct uveth_rxq *q, const struct uvb_rx_frame *f)
{
	bool known = (f->flags & UVB_CELL_EXTRA) != 0;
	uint64_t sent = known ? f->cell->sent_at : 0, due = known ? f->cell->deliver_at : 0;
	uint64_t ns = UVB_HELD_IS(due) ? 0 : RTE_MAX(sent, due);

	/* The sender has not heard yet that we want to know, or the frame was released just now. */
	return ns != 0 ? ns : uvb_clock(uveth_local(&rte_eth_devices[q->port_id])->dev);
}

/* A register takes a time if it is empty: 0. */
static void
latch(uint64_t *reg, uint64_t ns)
{
	uint64_t empty = 0;

	__atomic_compare_exchange_n(reg, &empty, ns, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

void
uveth_rx_time(const struct uveth_rxq *q, struct rte_mbuf *m, const struct uvb_rx_frame *f)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	uint64_t ns = arrival(q, f);

	if (q->stamp_flag != 0) {
		*RTE_MBUF_DYNFIELD(m, q->stamp_offset, rte_mbuf_timestamp_t *) = ns;
		m->ol_flags |= q->stamp_flag;
	}
	if (q->timesync == NULL || eth->ether_type != RTE_BE16(RTE_ETHER_TYPE_1588))
		return;
	m->timesync = 0; /* the one register there is */
	m->ol_flags |= RTE_MBUF_F_RX_IEEE1588_PTP | RTE_MBUF_F_RX_IEEE1588_TMST;
	latch(&q->timesync->rx_ns, ns);
}

void
uveth_tx_time(const struct uveth_txq *q)
{
	struct rte_eth_dev *eth = &rte_eth_devices[q->port_id];
	struct uveth_port *port = uveth_port(eth);

	if (port->timesync_on)
		latch(&port->timesync.tx_ns, uvb_clock(uveth_local(eth)->dev));
}

/* ----------------------------------------------------------------------------------- control */

/* Senders are asked for times if any queue or PTP needs them. */
void
uveth_time_configure(const struct rte_eth_dev *eth, struct uvb_conf *conf)
{
	bool offload = (eth->data->dev_conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_TIMESTAMP) != 0;

	conf->flags &= ~UVB_CONF_SENT_AT;
	if (offload || uveth_port(eth)->timesync_on)
		conf->flags |= UVB_CONF_SENT_AT;
}

/* What the queue needs to know while it polls. */
int
uveth_time_rxq(const struct rte_eth_dev *eth, struct uveth_rxq *q)
{
	struct uveth_port *port = uveth_port(eth);

	q->timesync = port->timesync_on ? &port->timesync : NULL;
	q->stamp_flag = 0;
	if ((q->offloads & RTE_ETH_RX_OFFLOAD_TIMESTAMP) == 0)
		return 0;
	return rte_mbuf_dyn_rx_timestamp_register(&q->stamp_offset, &q->stamp_flag);
}

int
uveth_read_clock(struct rte_eth_dev *eth, uint64_t *clock)
{
	*clock = uvb_clock(uveth_local(eth)->dev);
	return 0;
}

static int
timesync_set(struct rte_eth_dev *eth, bool on)
{
	struct uveth_port *port = uveth_port(eth);
	struct uvb_conf next = port->conf;
	int rc;

	port->timesync_on = on;
	port->timesync.rx_ns = 0;
	port->timesync.tx_ns = 0;
	uveth_time_configure(eth, &next);
	rc = uveth_publish(eth, &next);
	for (uint16_t i = 0; i < eth->data->nb_rx_queues; i++) {
		struct uveth_rxq *q = eth->data->rx_queues[i];

		if (q == NULL)
			continue;
		uveth_time_rxq(eth, q);
		uveth_rxq_update(q);
	}
	return rc;
}

/* The port's clock begins as the fabric's. */
int
uveth_timesync_enable(struct rte_eth_dev *eth)
{
	uveth_port(eth)->timesync.offset = 0;
	return timesync_set(eth, true);
}

int
uveth_timesync_disable(struct rte_eth_dev *eth)
{
	return timesync_set(eth, false);
}

static int
take(struct rte_eth_dev *eth, uint64_t *reg, struct timespec *ts)
{
	uint64_t ns = __atomic_exchange_n(reg, 0, __ATOMIC_ACQUIRE);

	if (ns == 0)
		return -EINVAL;
	*ts = rte_ns_to_timespec(ns + uveth_port(eth)->timesync.offset);
	return 0;
}

int
uveth_timesync_read_rx(struct rte_eth_dev *eth, struct timespec *ts, uint32_t flags __rte_unused)
{
	return take(eth, &uveth_port(eth)->timesync.rx_ns, ts);
}

int
uveth_timesync_read_tx(struct rte_eth_dev *eth, struct timespec *ts)
{
	return take(eth, &uveth_port(eth)->timesync.tx_ns, ts);
}

int
uveth_timesync_adjust(struct rte_eth_dev *eth, int64_t delta)
{
	uveth_port(eth)->timesync.offset += delta;
	return 0;
}

int
uveth_timesync_read_time(struct rte_eth_dev *eth, struct timespec *ts)
{
	uint64_t now = uvb_clock(uveth_local(eth)->dev);

	*ts = rte_ns_to_timespec(now + uveth_port(eth)->timesync.offset);
	return 0;
}

int
uveth_timesync_write_time(struct rte_eth_dev *eth, const struct timespec *ts)
{
	uint64_t now = uvb_clock(uveth_local(eth)->dev);

	uveth_port(eth)->timesync.offset = (int64_t)(rte_timespec_to_ns(ts) - now);
	return 0;
}

/* ------------------------------------------------------------------------------ for who follows */

static void
follow(void *dev, uint64_t until)
{
	uvb_idle(dev, until);
}

__attribute__((visibility("default"))) int
rte_pmd_uveth_clock(uint16_t port_id, struct uvb_clock *clock)
{
	struct rte_eth_dev *eth;

	if (!rte_eth_dev_is_valid_port(port_id))
		return -ENODEV;
	eth = &rte_eth_devices[port_id];
	if (eth->dev_ops == NULL || eth->dev_ops->read_clock != uveth_read_clock)
		return -ENODEV;
	*clock = (struct uvb_clock){.hdr = uvb_live_hdr(uveth_local(eth)->dev),
				    .idle = follow,
				    .port = uveth_local(eth)->dev};
	return 0;
}
