/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/core/port.h"
#include "stack/core/eal.h"
#include "stack/core/fds.h"
#include "stack/core/log.h"
#include "stack/core/share.h"
#include "stack/core/trace.h"

#include <errno.h>
#include <rte_mbuf_dyn.h>
#include <rte_epoll.h>
#include <rte_interrupts.h>
#include <string.h>
#include <sys/epoll.h>

#define WANT_DESC 512

#define WANT_RX_OFFLOADS                                                \
	(RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM | \
	 RTE_ETH_RX_OFFLOAD_TCP_CKSUM)
#define WANT_TX_OFFLOADS                                                \
	(RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM | \
	 RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_MULTI_SEGS)
#define WANT_RSS (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP)

/* What rte_eth_dev_info_get() has no word for. */
static const struct quirk {
	const char *driver;
	bool copy_tx;
	const char *alone;
} quirks[] = {
	/* The receiver gets our very mbuf, of which lwIP may still hold a reference. */
	{.driver = "net_ring",
	 .copy_tx = true,
	 .alone = "its rings wait for ever for a process that is killed in the middle of a burst"},
	{.driver = "net_af_packet", .alone = "its sockets are those of the process that opened it"},
	{.driver = "net_tap", .alone = "it does not give back the buffers of a process that died"},
};

/* -------------------------------------------------------------------------------------- probe */

static void
apply_quirks(struct uvs_port *p)
{
	for (size_t i = 0; i < RTE_DIM(quirks); i++)
		if (strcmp(p->driver, quirks[i].driver) == 0) {
			p->copy_tx |= quirks[i].copy_tx;
			p->alone = quirks[i].alone;
		}
}

static uint16_t
choose_queues(const struct rte_eth_dev_info *info, const struct uvs_conf *c)
{
	uint32_t most = RTE_MIN(info->max_rx_queues, info->max_tx_queues);

	/* What arrives at a queue that no process has would be lost, and nothing could move it. */
	if (c->mode == UVS_MODE_SHARED && info->reta_size == 0 && most > 1) {
		uvs_log(UVS_LOG_NOTICE,
			"%s has no redirection table: one queue, and who has it forwards",
			info->driver_name);
		most = 1;
	}
	if (c->queues > most)
		uvs_log(UVS_LOG_NOTICE, "the device has %u queues, not %u: using those", most,
			c->queues);
	return (uint16_t)RTE_MIN(c->queues, most);
}

/* Segments that the NIC makes, and that it joins. A chain of a super-frame has more buffers than
 * fit a soft queue: who shares the port gets the segments. */
static void
choose_super_frames(struct uvs_port *p, const struct rte_eth_dev_info *info, bool alone)
{
	if ((info->tx_offload_capa & UVS_TSO_OFFLOADS) == UVS_TSO_OFFLOADS)
		p->tx_offloads |= RTE_ETH_TX_OFFLOAD_TCP_TSO;
	if (!alone || (info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_TCP_LRO) == 0)
		return;
	p->rx_offloads |= RTE_ETH_RX_OFFLOAD_TCP_LRO;
	p->lro_most = RTE_MIN(info->max_lro_pkt_size, UVS_SUPER_FRAME);
}

static void
limit_chains(struct uvs_port *p, const struct rte_eth_dev_info *info)
{
	uint16_t most = info->tx_desc_lim.nb_seg_max;

	if ((p->tx_offloads & RTE_ETH_TX_OFFLOAD_TCP_TSO) != 0 && !p->no_tx)
		p->tso.most = most != 0 ? most : UVS_TSO_SEGS;
}

int
uvs_port_probe(struct uvs_port *p, uint16_t id, const struct uvs_conf *c)
{
	struct rte_eth_dev_info info;
	int r = rte_eth_dev_info_get(id, &info);

	if (r < 0) {
		uvs_log(UVS_LOG_ERROR, "port %u: %s", id, strerror(-r));
		return r;
	}
	memset(p, 0, sizeof(*p));
	p->id = id;
	p->epfd = -1;
	snprintf(p->driver, sizeof(p->driver), "%s", info.driver_name);
	p->queues = choose_queues(&info, c);
	p->rx_offloads = info.rx_offload_capa & WANT_RX_OFFLOADS;
	p->rss_hf = p->queues > 1 ? info.flow_type_rss_offloads & WANT_RSS : 0;
	/* Who shares it looks where the hash leads. Some drivers offer it and have no RSS. */
	if ((c->mode == UVS_MODE_SHARED || c->stacks > 1) && p->rss_hf != 0)
		p->rx_offloads |= info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_RSS_HASH;
	/* Time stamps can be read only by the clock they are of. */
	if (c->latency && uvs_eal_symbol(UVB_PORT_CLOCK) != NULL)
		p->rx_offloads |= info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_TIMESTAMP;
	p->tx_offloads = info.tx_offload_capa & WANT_TX_OFFLOADS;
	if (c->vlans.n != 0) {
		p->rx_offloads |= info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
		p->tx_offloads |= info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_VLAN_INSERT;
	}
	choose_super_frames(p, &info, c->mode == UVS_MODE_EXCLUSIVE && c->stacks == 1);
	limit_chains(p, &info);
	p->mtu = (uint16_t)c->mtu;
	p->rx_desc = p->tx_desc = WANT_DESC;
	apply_quirks(p);
	if (c->mtu > info.max_mtu) {
		uvs_log(UVS_LOG_ERROR, "port %u (%s) has no room for mtu = %u: %u is the most", id,
			p->driver, c->mtu, info.max_mtu);
		return -EINVAL;
	}
	if (p->queues == 0) {
		uvs_log(UVS_LOG_ERROR, "port %u (%s) has no queues", id, p->driver);
		return -ENODEV;
	}
	return 0;
}

uint32_t
uvs_port_rx_mbufs(const struct uvs_port *p)
{
	return (uint32_t)p->queues * p->rx_desc;
}

/* -------------------------------------------------------------------------------------- start */

static int
configure(struct uvs_port *p, bool intr)
{
	struct rte_eth_conf conf = {
		.rxmode = {.mq_mode = p->rss_hf ? RTE_ETH_MQ_RX_RSS : RTE_ETH_MQ_RX_NONE,
			   .mtu = p->mtu,
			   .max_lro_pkt_size = p->lro_most,
			   .offloads = p->rx_offloads},
		.txmode = {.offloads = p->tx_offloads},
		.rx_adv_conf.rss_conf.rss_hf = p->rss_hf,
		.intr_conf.rxq = intr,
	};

	return rte_eth_dev_configure(p->id, p->queues, p->queues, &conf);
}

/* Not every driver can do interrupts, and some say so only when asked to. */
static int
configure_with_interrupts(struct uvs_port *p, const struct uvs_conf *c)
{
	p->intr = c->poll != UVS_POLL_BUSY;
	if (p->intr && configure(p, true) == 0)
		return 0;
	p->intr = false;
	return configure(p, false);
}

static int
setup_queues(struct uvs_port *p, struct rte_mempool *const pool[])
{
	int socket = rte_eth_dev_socket_id(p->id);
	int r = rte_eth_dev_adjust_nb_rx_tx_desc(p->id, &p->rx_desc, &p->tx_desc);

	for (uint16_t q = 0; r == 0 && q < p->queues; q++) {
		r = rte_eth_rx_queue_setup(p->id, q, p->rx_desc, (unsigned int)socket, NULL,
					   pool[q]);
		if (r == 0)
			r = rte_eth_tx_queue_setup(p->id, q, p->tx_desc, (unsigned int)socket,
						   NULL);
	}
	return r;
}

static void
set_mac(struct uvs_port *p, const struct uvs_conf *c)
{
	struct rte_ether_addr want;

	memcpy(want.addr_bytes, c->mac.bytes, sizeof(want.addr_bytes));
	rte_eth_macaddr_get(p->id, &p->mac);
	if (!c->mac.set || rte_is_same_ether_addr(&want, &p->mac))
		return;
	if (rte_eth_dev_default_mac_addr_set(p->id, &want) == 0)
		p->mac = want;
	else
		uvs_log(UVS_LOG_WARNING, "%s does not let its address be set: mac is ignored",
			p->driver);
}

static bool
is_mine(const struct uvs_port *p, uint16_t queue)
{
	return queue >= p->rxq && queue < p->rxq + p->queues;
}

/* A queue of ours has its interrupt together with one of another instance: some VFs have one vector
 * for all. EAL tells but the first who asks of it. */
static bool
shares_interrupts(const struct uvs_port *p)
{
	struct rte_eth_dev_info info;
	int fd;

	if (rte_eth_dev_info_get(p->id, &info) != 0 || info.nb_rx_queues == p->queues)
		return false;
	for (uint16_t q = p->rxq; q < p->rxq + p->queues; q++) {
		fd = rte_eth_dev_rx_intr_ctl_q_get_fd(p->id, q);
		for (uint16_t other = 0; fd >= 0 && other < info.nb_rx_queues; other++)
			if (!is_mine(p, other) &&
			    rte_eth_dev_rx_intr_ctl_q_get_fd(p->id, other) == fd)
				return true;
	}
	return false;
}

/* One epoll descriptor for all queues: EAL knows how each kind of interrupt is read and cleared. */
static void
setup_interrupts(struct uvs_port *p)
{
	if (p->intr && shares_interrupts(p)) {
		uvs_log(UVS_LOG_NOTICE,
			"%s: queues of several stacks share an interrupt: idle waiting is by "
			"timer, 1 ms",
			p->driver);
		p->intr = false;
	}
	if (!p->intr)
		return;
	p->epfd = uvs_fd_adopt(epoll_create1(EPOLL_CLOEXEC));
	for (uint16_t q = p->rxq; q < p->rxq + p->queues; q++) {
		if (p->epfd >= 0 &&
		    rte_eth_dev_rx_intr_ctl_q(p->id, q, p->epfd, RTE_INTR_EVENT_ADD, NULL) == 0)
			continue;
		uvs_fd_close(p->epfd);
		p->epfd = -1;
		p->intr = false;
		return;
	}
}

static void
find_stamps(struct uvs_port *p)
{
	int bit;

	if ((p->rx_offloads & RTE_ETH_RX_OFFLOAD_TIMESTAMP) == 0)
		return;
	bit = rte_mbuf_dynflag_lookup(RTE_MBUF_DYNFLAG_RX_TIMESTAMP_NAME, NULL);
	p->stamp_offset = rte_mbuf_dynfield_lookup(RTE_MBUF_DYNFIELD_TIMESTAMP_NAME, NULL);
	if (bit >= 0 && p->stamp_offset >= 0)
		p->stamp_flag = 1ULL << bit;
}

/* The clock of the first port that has one is the stack's. */
static void
follow_clock(struct uvs_port *p)
{
	uvb_port_clock_fn clock_of;

	/* ISO C has no other way to make a function of what dlsym() returns. */
	*(void **)&clock_of = uvs_eal_symbol(UVB_PORT_CLOCK);
	if (clock_of == NULL || clock_of(p->id, &p->clock) != 0)
		return;
	uvs_port_idle(p, UVB_BUSY);
	find_stamps(p);
	if (uvs_clock_source() == uvs_clock_watched)
		uvs_clock_follow(p->clock.hdr);
}

static void
leave_clock(struct uvs_port *p)
{
	if (uvs_clock_source() == p->clock.hdr)
		uvs_clock_follow(NULL);
	p->clock = (struct uvb_clock){0};
}

int
uvs_port_open(struct uvs_port *p, const struct uvs_conf *c, struct rte_mempool *const pool[])
{
	int r = configure_with_interrupts(p, c);

	if (r == 0)
		r = setup_queues(p, pool);
	if (r == 0)
		set_mac(p, c);
	if (r == 0)
		r = rte_eth_dev_start(p->id);
	if (r < 0) {
		uvs_log(UVS_LOG_ERROR, "port %u (%s) does not start: %s", p->id, p->driver,
			strerror(-r));
		return r;
	}
	if (c->mode == UVS_MODE_SHARED || c->stacks > 1)
		rte_eth_allmulticast_enable(p->id); /* uvs_port_hear() says why */
	uvs_log(UVS_LOG_INFO, "port %u: %s, %u queues, rx offloads %#lx, tx offloads %#lx", p->id,
		p->driver, p->queues, p->rx_offloads, p->tx_offloads);
	return 0;
}

int
uvs_port_start(struct uvs_port *p, const struct uvs_conf *c, struct rte_mempool *const pool[])
{
	int r = uvs_port_open(p, c, pool);

	if (r < 0)
		return r;
	setup_interrupts(p);
	follow_clock(p);
	if (!p->intr && c->poll != UVS_POLL_BUSY)
		uvs_log(UVS_LOG_NOTICE,
			"%s has no receive interrupts: idle waiting is by timer, 1 ms", p->driver);
	return 0;
}

uint32_t
uvs_port_reta(const struct uvs_port *p, uint16_t *reta)
{
	struct rte_eth_rss_reta_entry64 group[RTE_ETH_RSS_RETA_SIZE_512 / RTE_ETH_RETA_GROUP_SIZE];
	struct rte_eth_dev_info info;

	memset(group, 0xff, sizeof(group));
	if (p->rss_hf == 0 || rte_eth_dev_info_get(p->id, &info) != 0 ||
	    info.reta_size > RTE_ETH_RSS_RETA_SIZE_512 ||
	    rte_eth_dev_rss_reta_query(p->id, group, info.reta_size) != 0)
		return 0;
	for (uint32_t i = 0; i < info.reta_size; i++)
		reta[i] = group[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE];
	return info.reta_size;
}

uint32_t
uvs_port_rss_key(const struct uvs_port *p, uint8_t *key, uint32_t room)
{
	struct rte_eth_rss_conf rss = {.rss_key = key};
	struct rte_eth_dev_info info;

	if (p->rss_hf == 0 || rte_eth_dev_info_get(p->id, &info) != 0 || info.hash_key_size > room)
		return 0;
	rss.rss_key_len = info.hash_key_size;
	return rte_eth_dev_rss_hash_conf_get(p->id, &rss) == 0 ? info.hash_key_size : 0;
}

int
uvs_port_join(struct uvs_port *p, const struct uvs_conf *c)
{
	struct rte_eth_dev_info info;

	if (rte_eth_dev_info_get(p->id, &info) == 0) {
		snprintf(p->driver, sizeof(p->driver), "%s", info.driver_name);
		limit_chains(p, &info);
	}
	p->epfd = -1;
	p->joined = true;
	p->intr = p->intr && c->poll != UVS_POLL_BUSY;
	apply_quirks(p);
	/* A driver may know a port of another process, and have no way to its frames. */
	if (p->queues != 0 && (rte_eth_fp_ops[p->id].rx_pkt_burst == NULL ||
			       rte_eth_fp_ops[p->id].tx_pkt_burst == NULL)) {
		uvs_log(UVS_LOG_ERROR, "%s does not work in several processes: mode = exclusive",
			p->driver);
		return -ENOTSUP;
	}
	setup_interrupts(p);
	follow_clock(p);
	return 0;
}

void
uvs_port_stop(struct uvs_port *p)
{
	uvs_port_flush(p);
	leave_clock(p);
	rte_pktmbuf_free_bulk(p->tx, p->tx_n);
	p->tx_n = p->tx_mbufs = 0;
	if (!p->joined) {
		rte_eth_dev_stop(p->id);
		rte_eth_dev_close(p->id);
	}
	/* Not before the driver has taken its queues out of it; who stops it later finds none
	 * there. */
	for (uint16_t q = p->rxq; p->joined && p->epfd >= 0 && q < p->rxq + p->queues; q++)
		rte_eth_dev_rx_intr_ctl_q(p->id, q, p->epfd, RTE_INTR_EVENT_DEL, NULL);
	uvs_fd_close(p->epfd);
	p->epfd = -1;
}

/* ---------------------------------------------------------------------------------- multicast */

/* Drivers without a list hear all of it, or all there is. */
static void
listen_to_groups(struct uvs_port *p)
{
	struct rte_ether_addr list[UVS_MC_GROUPS];

	if (p->joined)
		return;
	for (uint16_t i = 0; i < p->ngroups; i++)
		list[i] = p->groups[i].mac;
	if (p->groups_unlisted == 0 && rte_eth_dev_set_mc_addr_list(p->id, list, p->ngroups) == 0) {
		rte_eth_allmulticast_disable(p->id);
		return;
	}
	if (rte_eth_allmulticast_enable(p->id) != 0 && rte_eth_promiscuous_enable(p->id) != 0)
		uvs_log(UVS_LOG_NOTICE, "%s has no multicast filter: what arrives is up to it",
			p->driver);
}

static struct uvs_mc_group *
find_group(struct uvs_port *p, const struct rte_ether_addr *mac)
{
	for (uint16_t i = 0; i < p->ngroups; i++)
		if (rte_is_same_ether_addr(&p->groups[i].mac, mac))
			return &p->groups[i];
	return NULL;
}

void
uvs_port_hear(struct uvs_port *p, const struct rte_ether_addr *mac)
{
	struct uvs_mc_group *g = find_group(p, mac);

	if (g != NULL) {
		g->users++;
		return;
	}
	if (p->share != NULL)
		uvs_share_join(p->share, mac);
	if (p->ngroups < UVS_MC_GROUPS)
		p->groups[p->ngroups++] = (struct uvs_mc_group){.mac = *mac, .users = 1};
	else
		p->groups_unlisted++;
	listen_to_groups(p);
}

void
uvs_port_unhear(struct uvs_port *p, const struct rte_ether_addr *mac)
{
	struct uvs_mc_group *g = find_group(p, mac);

	if (g != NULL && --g->users != 0)
		return;
	/* One that is not in the list may have other users: the slot stays a member of it. */
	if (g != NULL && p->share != NULL)
		uvs_share_quit(p->share, mac);
	if (g != NULL)
		*g = p->groups[--p->ngroups];
	else if (p->groups_unlisted != 0)
		p->groups_unlisted--;
	listen_to_groups(p);
}

/* ----------------------------------------------------------------------------------- transmit */

static __attribute__((noinline, cold)) void
note_latency(struct uvs_port *p)
{
	uvs_hist_add(&p->seen->stage[UVS_STAGE_TX], uvs_clock_ns() - p->write_ns);
	p->write_ns = 0;
}

/* What the NIC has left of a burst. What it has sent may be freed: it does not count. */
static __attribute__((noinline, cold)) void
keep_rest(struct uvs_port *p, uint16_t sent)
{
	memmove(p->tx, p->tx + sent, p->tx_n * sizeof(p->tx[0]));
	for (uint16_t i = 0; i < p->tx_n; i++)
		p->tx_mbufs = (uint16_t)(p->tx_mbufs + p->tx[i]->nb_segs);
}

void
uvs_port_flush(struct uvs_port *p)
{
	uint16_t sent;

	if (p->tx_n == 0)
		return;
	uvs_tso_end(&p->tso);
	sent = rte_eth_tx_burst(p->id, p->txq, p->tx, p->tx_n);
	if (unlikely(p->write_ns != 0))
		note_latency(p);
	p->seen->port.tx_bursts++;
	p->seen->port.tx_packets += sent;
	p->tx_n = (uint16_t)(p->tx_n - sent);
	p->tx_mbufs = 0;
	if (unlikely(p->tx_n != 0))
		keep_rest(p, sent);
}

/* There is no room, and the NIC takes nothing. */
static __attribute__((noinline, cold)) void
drop(struct uvs_port *p, struct rte_mbuf *m)
{
	p->seen->lost[UVS_LOST_TX_FULL].count++;
	UVS_TRACE(drop, UVS_LOST_TX_FULL, m->pkt_len);
	uvs_seen_last(p->seen, UVS_LOST_TX_FULL, rte_pktmbuf_mtod(m, void *), m->pkt_len,
		      m->data_len, uvs_clock_ns());
	rte_pktmbuf_free(m);
}

void
uvs_port_send(struct uvs_port *p, struct rte_mbuf *m)
{
	if (unlikely(p->tx_mbufs >= UVS_TX_BUFFER))
		uvs_port_flush(p);
	if (unlikely(p->tx_mbufs >= UVS_TX_BUFFER)) {
		drop(p, m);
		return;
	}
	p->tx_mbufs = (uint16_t)(p->tx_mbufs + m->nb_segs);
	if (p->tso.head != NULL && uvs_tso_join(&p->tso, m)) {
		p->seen->port.tx_bytes += m->pkt_len; /* its payload */
		p->seen->port.tx_joined++;
		return;
	}
	uvs_tso_end(&p->tso);
	p->seen->port.tx_bytes += m->pkt_len;
	p->tx[p->tx_n++] = m;
	uvs_tso_begin(&p->tso, m);
}

/* --------------------------------------------------------------------------------- interrupts */

bool
uvs_port_arm(struct uvs_port *p)
{
	if (!p->intr || (p->share != NULL && !uvs_share_arm(p->share)))
		return false;
	for (uint16_t q = p->rxq; q < p->rxq + p->queues; q++) {
		int r = rte_eth_dev_rx_intr_enable(p->id, q);

		if (r < 0) {
			uvs_log(UVS_LOG_NOTICE,
				"%s: interrupts cannot be enabled (%s): idle waiting is by timer, "
				"1 ms",
				p->driver, strerror(-r));
			p->intr = false;
			return false;
		}
	}
	return true;
}

void
uvs_port_disarm(struct uvs_port *p)
{
	struct rte_epoll_event events[16];

	if (p->epfd < 0)
		return;
	if (p->share != NULL)
		uvs_share_disarm(p->share);
	for (uint16_t q = p->rxq; q < p->rxq + p->queues; q++)
		rte_eth_dev_rx_intr_disable(p->id, q);
	/* Reads what each kind of interrupt wants read. */
	rte_epoll_wait(p->epfd, events, RTE_DIM(events), 0);
}
