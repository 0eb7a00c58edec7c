/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uveth - net_uveth, the NIC of a uvbridge fabric, as a DPDK ethdev.
 *
 * The driver is the translation between two vocabularies, and nothing else: mbufs and ethdev
 * operations on one side, frames in cells and struct uvb_conf on the other. What a NIC does to a
 * frame before it reaches a ring (filters, RSS, the ring itself) happens in the sender's
 * uvb_tx_burst(), from the configuration this driver publishes.
 *
 * Where things are, who writes them, and what becomes of them
 * -----------------------------------------------------------
 *  struct uveth_port   data->dev_private, DPDK shared memory. What defines the port: how it was
 *                      attached, what it was last told to be. Writer: the primary's control thread
 *                      (ethdev: one at a time per port), but for the counters in it, which the
 *                      thread writes that polls the queue.
 *  struct uveth_rxq    data->rx_queues[], data->tx_queues[], DPDK shared memory. Writer: the
 *  struct uveth_txq    control thread; the polling thread reads.
 *  struct uveth_local  dev->process_private, ordinary memory of this process: the mapping of the
 *                      segment and the handles into it. Never shared, because a pointer into a
 *                      mapping means nothing in another process.
 *  the segment         see uvbridge/abi.h.
 *
 * Several processes: a secondary joins the port the primary attached (uveth_secondary.c). All of
 * the shared memory above is EAL's, mapped at one address everywhere; nothing in it points to
 * anything else. Which process polls which queue is the application's business, one thread of one
 * process at a time. A queue changes hands by stop and start (in the primary): the start repairs
 * what the last one left half done and gives the queue a new number, `turn`; whoever polls it next
 * sees a number that it does not know, and takes the queue.
 *
 * If the primary dies, the daemon sees its control connection close: the port is detached and its
 * frames in flight are freed or delivered, as abi.h has it; with life=any that waits for the last
 * secondary. If a secondary dies nothing happens but that its queues stand still. The mbufs are in
 * EAL's memory (no mbuf is ever inside the fabric: both bursts copy). Nobody outside
 * the process waits for a lock of ours: the driver has none but tx_busy and that of the flow rules,
 * which die with it.
 *
 * Threads: as ethdev's defaults. One thread per queue and direction at a time; different queues
 * freely in parallel; control operations of one port one at a time, flow rules from any thread, in
 * parallel with the bursts.
 * Transmit queues with RTE_ETH_TX_OFFLOAD_MT_LOCKFREE: any number of threads of one process.
 */
#ifndef UVETH_H
#define UVETH_H

#include <limits.h>
#include <stdint.h>

#include <ethdev_driver.h>
#include <rte_ether.h>
#include <rte_mbuf.h>

#include "uvbridge/clock.h"
#include "uvbridge/port.h"

#define UVETH_CHUNK    32  /* frames handed to or asked of the fabric at once */
#define UVETH_TX_SEGS  128 /* mbuf segments in one chunk, and so in one frame */
#define UVETH_HDR_MAX  192 /* bytes of headers that checksum offload can rewrite */
#define UVETH_TAGS_MAX 8   /* bytes of VLAN tags that can be inserted */
#define UVETH_KEY_DEF  40  /* covers every tuple there is: IPv6, 36 bytes, and the window of 4 */
#define UVETH_RETA_DEF 128
#define UVETH_OVERHEAD                                                            \
	(RTE_ETHER_HDR_LEN + RTE_VLAN_HLEN) /* beyond the MTU; no FCS in a fabric \
					     */
#define UVETH_MTU_MAX 9216

/* Of a queue, and those that concern the port as a whole. */
#define UVETH_RXQ_OFFLOADS                                              \
	(RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM | \
	 RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_SCATTER |    \
	 RTE_ETH_RX_OFFLOAD_VLAN_STRIP | RTE_ETH_RX_OFFLOAD_QINQ_STRIP)
#define UVETH_RX_OFFLOADS                                                                    \
	(UVETH_RXQ_OFFLOADS | RTE_ETH_RX_OFFLOAD_RSS_HASH | RTE_ETH_RX_OFFLOAD_VLAN_FILTER | \
	 RTE_ETH_RX_OFFLOAD_TIMESTAMP | RTE_ETH_RX_OFFLOAD_TCP_LRO)
#define UVETH_TX_OFFLOADS                                                  \
	(RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM |    \
	 RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_MULTI_SEGS |    \
	 RTE_ETH_TX_OFFLOAD_VLAN_INSERT | RTE_ETH_TX_OFFLOAD_QINQ_INSERT | \
	 RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_UDP_TSO |         \
	 RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE | RTE_ETH_TX_OFFLOAD_MT_LOCKFREE)

#define UVETH_TX_TAGS (RTE_MBUF_F_TX_VLAN | RTE_MBUF_F_TX_QINQ)
#define UVETH_TX_SEG  (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)

#define UVETH_PTYPES (RTE_PTYPE_L2_MASK | RTE_PTYPE_L3_MASK | RTE_PTYPE_L4_MASK)

/* As the user asked; kept so that a reset can ask again. */
struct uveth_args {
	char fabric[PATH_MAX];
	char name[UVB_NAME_LEN];
	struct rte_ether_addr mac; /* all zero: the fabric's choice */
	uint16_t rxq, txq;         /* 0: as many as the fabric has */
	uint16_t reta;
	uint16_t key; /* bytes of the RSS key */
	bool any;     /* life=any: the port lives as long as any of its processes */
};

/* What a secondary must know to join, and whether it may believe the rest. */
struct uveth_ident {
	uint32_t abi;  /* UVB_ABI_VERSION of the primary's driver */
	uint32_t size; /* of struct uveth_port, as the primary's driver has it */
	char path[PATH_MAX];
	uint64_t epoch;
	uint32_t gen;
	uint16_t port;
};

/* What the driver itself counts. Writer: the thread that polls the queue. Part of the port and not
 * of the queue, because queues are released and set up again and counters go on. */
struct uveth_rx_count {
	uint64_t too_long; /* more than one mbuf, and no RX_OFFLOAD_SCATTER */
	uint64_t too_long_bytes;
	uint64_t nombuf; /* the pool ran dry in the middle of a frame */
	uint64_t nombuf_bytes;
	uint64_t bad_l3_csum, bad_l4_csum; /* received nevertheless, flagged BAD */
	uint64_t lro_joined;               /* frames that have become part of another */
} __rte_cache_aligned;
struct uveth_tx_count {
	uint64_t tso_whole, tso_cut; /* super-frames, by how they were sent */
	uint64_t too_many_segs;
	uint64_t bad_offload; /* the mbuf is not what its offload flags say, or asks for what is not
			       * offered */
} __rte_cache_aligned;

/* All counters of a port: only uint64_t (and padding), so that they can be subtracted as an array.
 * They only grow; "reset" remembers where they stood. */
struct uveth_rxq_counters {
	struct uvb_rxq_stats fabric;
	struct uveth_rx_count own;
};
struct uveth_txq_counters {
	struct uvb_txq_stats fabric;
	struct uveth_tx_count own;
};
struct uveth_counters {
	struct uveth_rxq_counters rxq[UVB_MAX_QUEUES];
	struct uveth_txq_counters txq[UVB_MAX_QUEUES];
	uint64_t drops[UVB_PD_MAX]; /* by senders, before a queue was chosen */
};

/* A PTP clock and its registers, see uveth_time.c. */
struct uveth_timesync {
	int64_t offset; /* of the port's clock to the fabric's. Writer: the control thread */
	uint64_t rx_ns; /* fabric's clock; 0: empty. Filled by the polling threads, */
	uint64_t tx_ns; /* emptied by the control thread */
};

struct uveth_port {
	struct uveth_ident ident;
	struct uveth_args args;
	uint16_t max_rxq, max_txq; /* attached with */
	uint16_t rss_nb_rxq;       /* the RETA was made for so many queues; 0: not made yet */
	bool started;              /* between dev_start and dev_stop */
	bool secondaries;          /* there is, or was, one. Writer: any of them, once */
	bool admin_down;           /* rte_eth_dev_set_link_down() */
	uint32_t ptypes;      /* layers the application wants to be told of: RTE_PTYPE_*_MASK */
	struct uvb_conf conf; /* as last published */
	/* Flow rules: entry i is the one in slot i of the segment. Writer: the control thread. */
	struct rte_flow *flows; /* [UVB_RULE_MAX]; NULL until there is one */
	uint32_t nb_flows, flow_high, flow_cursor, flow_serial;
	char flow_error[UVB_ERR_LEN];
	struct uveth_counters base;         /* what the counters were at the last reset */
	uint32_t rx_starts[UVB_MAX_QUEUES]; /* how often each queue was started */
	uint32_t tx_starts[UVB_MAX_QUEUES];
	struct uveth_rx_count rx_count[UVB_MAX_QUEUES];
	uint8_t rx_stat[UVB_MAX_QUEUES]; /* counter of rte_eth_stats a queue is mapped to */
	uint8_t tx_stat[UVB_MAX_QUEUES];
	struct uveth_tx_count tx_count[UVB_MAX_QUEUES];
	bool timesync_on;
	struct uveth_timesync timesync;
};

/* Queues. Written while the queue is stopped, read by the thread that polls it; but for `turn`,
 * which is written at any time. */

struct uveth_rxq {
	struct rte_mempool *pool;
	struct uveth_rx_count *count;
	uint64_t rearm;    /* data_off, refcnt 1, nb_segs 1, port: one store per mbuf */
	uint64_t offloads; /* RTE_ETH_RX_OFFLOAD_* in force */
	uint16_t port_id, id;
	uint16_t room; /* bytes of frame one mbuf takes */
	uint16_t nb_desc;
	uint32_t ptypes;  /* as in struct uveth_port */
	uint32_t lro_max; /* bytes of the longest frame that LRO makes */
	uint32_t turn; /* UVETH_TURN_OFF: stopped, or link taken down. Else: which start it was */
	bool extra;    /* a frame is not done when it is copied: one of the following */
	bool strip;    /* VLAN tags */
	bool inspect;  /* headers are to be read: packet types or checksums */
	bool verify;   /* checksums */
	bool lro;
	bool deferred;
	uint16_t tpid[2];                /* as in the frame, outer and inner */
	int stamp_offset;                /* mbuf's dynamic field for the time of arrival */
	uint64_t stamp_flag;             /* and the flag that it is valid; 0: not asked for */
	struct uveth_timesync *timesync; /* NULL: off */
} __rte_cache_aligned;

struct uveth_txq {
	struct uveth_tx_count *count;
	uint64_t offloads;
	uint16_t port_id, id;
	uint16_t nb_desc;
	uint16_t tpid[2]; /* as in the frame, outer and inner */
	uint32_t turn;    /* as in struct uveth_rxq */
	bool deferred;
} __rte_cache_aligned;

/* What this process, and only this, needs to reach the segment. */
struct uveth_local {
	struct uvb_dev *dev;
	/* A secondary that has taken the control over: the port's owner in the fabric. Writer: the
	 * control thread. */
	struct uvb_dev *control;
	struct uvb_rxq *rxq[UVB_MAX_QUEUES];
	struct uvb_txq *txq[UVB_MAX_QUEUES];
	/* The turns in which the queues were taken. Writer: the thread that polls the queue. */
	uint32_t rx_turn[UVB_MAX_QUEUES];
	uint32_t tx_turn[UVB_MAX_QUEUES];
	/* A thread is in the queue's burst; MT_LOCKFREE alone. Set by whoever enters (acquire),
	 * cleared by the same (release). Not in the queue's memory: there it would outlive the
	 * process. */
	bool tx_busy[UVB_MAX_QUEUES];
	bool watching; /* an alarm looks after the link */
	bool seen_up;  /* the link, when the application was last told */
};
#define UVETH_TURN_OFF   0u
#define UVETH_TURN_NEVER UINT32_MAX

/* The port as its owner, who alone may change it in the fabric: in the primary process it is; a
 * secondary becomes it with the first change it asks for, if the primary has died. 0, or a negative
 * errno with a sentence. */
int uveth_control(struct rte_eth_dev *eth, struct uvb_dev **dev, char err[UVB_ERR_LEN]);

bool uveth_rxq_turn(const struct uveth_rxq *q, struct uveth_local *local);
bool uveth_txq_turn(const struct uveth_txq *q, struct uveth_local *local);

static inline struct uveth_port *
uveth_port(const struct rte_eth_dev *eth)
{
	return eth->data->dev_private;
}

static inline struct uveth_local *
uveth_local(const struct rte_eth_dev *eth)
{
	return eth->process_private;
}

/* Add to a counter that only this thread writes and any may read. */
static inline void
uveth_count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

extern int uveth_logtype;
#define UVETH_LOG(level, fmt, ...) \
	rte_log(RTE_LOG_##level, uveth_logtype, "uveth: " fmt "\n", ##__VA_ARGS__)

/* The fabric's handle of a queue, for the thread that polls it; NULL while the queue is off, or not
 * this process's to use. Costs a comparison, as long as the queue stays where it is. */
static inline struct uvb_rxq *
uveth_rxq_handle(const struct uveth_rxq *q)
{
	struct uveth_local *local = uveth_local(&rte_eth_devices[q->port_id]);

	if (unlikely(__atomic_load_n(&q->turn, __ATOMIC_ACQUIRE) != local->rx_turn[q->id]) &&
	    !uveth_rxq_turn(q, local))
		return NULL;
	return local->rxq[q->id];
}

static inline struct uvb_txq *
uveth_txq_handle(const struct uveth_txq *q)
{
	struct uveth_local *local = uveth_local(&rte_eth_devices[q->port_id]);

	if (unlikely(__atomic_load_n(&q->turn, __ATOMIC_ACQUIRE) != local->tx_turn[q->id]) &&
	    !uveth_txq_turn(q, local))
		return NULL;
	return local->txq[q->id];
}

/* uveth.c */
int uveth_attach(struct rte_eth_dev *eth);
void uveth_detach(struct rte_eth_dev *eth);
struct uveth_local *uveth_local_new(void);
void uveth_bursts(struct rte_eth_dev *eth);

/* uveth_ops.c */
extern const struct eth_dev_ops uveth_ops;
extern const struct eth_dev_ops uveth_secondary_ops;
int uveth_publish(struct rte_eth_dev *eth, const struct uvb_conf *next);
int uveth_dev_stop(struct rte_eth_dev *eth);

/* uveth_secondary.c */
struct rte_vdev_device;
int uveth_secondary_probe(struct rte_vdev_device *vdev);
int uveth_secondary_close(struct rte_eth_dev *eth);
void uveth_tell_started(struct rte_eth_dev *eth);
/* Returns whether a secondary has the port open, or may have: then its memory is not freed but
 * buried, when all else of it is gone; and freed in time by uveth_unearth(). */
bool uveth_tell_closing(struct rte_eth_dev *eth);
void uveth_bury(struct rte_eth_dev *eth);
void uveth_unearth(void);

/* uveth_queue.c */
int uveth_rx_queue_setup(struct rte_eth_dev *eth, uint16_t id, uint16_t nb_desc,
			 unsigned int socket, const struct rte_eth_rxconf *conf,
			 struct rte_mempool *pool);
int uveth_tx_queue_setup(struct rte_eth_dev *eth, uint16_t id, uint16_t nb_desc,
			 unsigned int socket, const struct rte_eth_txconf *conf);
void uveth_rx_queue_release(struct rte_eth_dev *eth, uint16_t id);
void uveth_tx_queue_release(struct rte_eth_dev *eth, uint16_t id);
int uveth_rx_queue_start(struct rte_eth_dev *eth, uint16_t id);
int uveth_rx_queue_stop(struct rte_eth_dev *eth, uint16_t id);
int uveth_tx_queue_start(struct rte_eth_dev *eth, uint16_t id);
int uveth_tx_queue_stop(struct rte_eth_dev *eth, uint16_t id);
void uveth_queues_start(struct rte_eth_dev *eth);
void uveth_queues_stop(struct rte_eth_dev *eth);
void uveth_queues_gate(struct rte_eth_dev *eth);
void uveth_rxq_update(struct uveth_rxq *q);
void uveth_rxq_info(struct rte_eth_dev *eth, uint16_t id, struct rte_eth_rxq_info *info);
void uveth_txq_info(struct rte_eth_dev *eth, uint16_t id, struct rte_eth_txq_info *info);
int uveth_rx_burst_mode(struct rte_eth_dev *eth, uint16_t id, struct rte_eth_burst_mode *mode);
int uveth_tx_burst_mode(struct rte_eth_dev *eth, uint16_t id, struct rte_eth_burst_mode *mode);
int uveth_tx_done_cleanup(void *txq, uint32_t n);
uint32_t uveth_rx_queue_count(void *rxq);
int uveth_rx_descriptor_status(void *rxq, uint16_t offset);
int uveth_tx_descriptor_status(void *txq, uint16_t offset);
const uint32_t *uveth_ptypes_get(struct rte_eth_dev *eth);
int uveth_ptypes_set(struct rte_eth_dev *eth, uint32_t mask);

/* uveth_rxtx.c */
uint16_t uveth_rx_burst(void *rxq, struct rte_mbuf **pkts, uint16_t n);
uint16_t uveth_tx_burst(void *txq, struct rte_mbuf **pkts, uint16_t n);

int uveth_tx_segments(struct uvb_seg *seg, uint16_t room, struct uvb_frame *f,
		      const struct rte_mbuf *m, uint32_t skip);

/* uveth_tso.c */
int uveth_tso_check(const struct rte_mbuf *m);
int uveth_tx_super(struct uveth_txq *q, struct uvb_txq *u, const struct rte_mbuf *m);

/* uveth_lro.c */
uint16_t uveth_lro(struct uveth_rxq *q, struct rte_mbuf **pkts, uint16_t n);

/* uveth_csum.c */
uint16_t uveth_tx_prepare(void *txq, struct rte_mbuf **pkts, uint16_t n);
int uveth_tx_csum(const struct rte_mbuf *m, uint8_t hdr[UVETH_HDR_MAX], uint16_t *flags);
void uveth_rx_inspect(struct uveth_rxq *q, struct rte_mbuf *m, bool vouched);

/* uveth_vlan.c */
void uveth_vlan_strip(const struct uveth_rxq *q, struct rte_mbuf *m);
int uveth_vlan_insert(const struct uveth_txq *q, const struct rte_mbuf *m, uint8_t *hdr, int len,
		      uint32_t *tags_len);
void uveth_vlan_rxq(const struct rte_eth_dev *eth, struct uveth_rxq *q);
void uveth_vlan_txq(const struct rte_eth_dev *eth, struct uveth_txq *q);
void uveth_vlan_configure(const struct rte_eth_dev *eth, struct uvb_conf *conf);
int uveth_vlan_filter_set(struct rte_eth_dev *eth, uint16_t vlan, int on);
int uveth_vlan_tpid_set(struct rte_eth_dev *eth, enum rte_vlan_type type, uint16_t tpid);
void uveth_vlan_strip_queue_set(struct rte_eth_dev *eth, uint16_t id, int on);
int uveth_vlan_offload_set(struct rte_eth_dev *eth, int mask);

/* uveth_time.c */
void uveth_rx_time(const struct uveth_rxq *q, struct rte_mbuf *m, const struct uvb_rx_frame *f);
void uveth_tx_time(const struct uveth_txq *q);
void uveth_time_configure(const struct rte_eth_dev *eth, struct uvb_conf *conf);
int uveth_time_rxq(const struct rte_eth_dev *eth, struct uveth_rxq *q);
int rte_pmd_uveth_clock(uint16_t port_id, struct uvb_clock *clock);
int uveth_read_clock(struct rte_eth_dev *eth, uint64_t *clock);
int uveth_timesync_enable(struct rte_eth_dev *eth);
int uveth_timesync_disable(struct rte_eth_dev *eth);
int uveth_timesync_read_rx(struct rte_eth_dev *eth, struct timespec *ts, uint32_t flags);
int uveth_timesync_read_tx(struct rte_eth_dev *eth, struct timespec *ts);
int uveth_timesync_adjust(struct rte_eth_dev *eth, int64_t delta);
int uveth_timesync_read_time(struct rte_eth_dev *eth, struct timespec *ts);
int uveth_timesync_write_time(struct rte_eth_dev *eth, const struct timespec *ts);

/* uveth_rss.c */
uint64_t uveth_rss_types(void);
uint32_t uveth_rss_to_uvb(uint64_t hf); /* RTE_ETH_RSS_* as UVB_RSS_* */
int uveth_rss_configure(struct rte_eth_dev *eth, struct uvb_conf *conf);
int uveth_rss_hash_update(struct rte_eth_dev *eth, struct rte_eth_rss_conf *rss);
int uveth_rss_hash_conf_get(struct rte_eth_dev *eth, struct rte_eth_rss_conf *rss);
int uveth_reta_update(struct rte_eth_dev *eth, struct rte_eth_rss_reta_entry64 *reta,
		      uint16_t size);
int uveth_reta_query(struct rte_eth_dev *eth, struct rte_eth_rss_reta_entry64 *reta, uint16_t size);

/* uveth_flow.c */
int uveth_flow_ops_get(struct rte_eth_dev *eth, const struct rte_flow_ops **ops);
int uveth_flow_queues_ok(struct rte_eth_dev *eth, uint16_t nb_rxq);
void uveth_flow_forget(struct rte_eth_dev *eth);
int uveth_rx_metadata_negotiate(struct rte_eth_dev *eth, uint64_t *features);

/* uveth_stats.c */
int uveth_stats_get(struct rte_eth_dev *eth, struct rte_eth_stats *stats);
int uveth_stats_reset(struct rte_eth_dev *eth);
int uveth_queue_stats_mapping_set(struct rte_eth_dev *eth, uint16_t id, uint8_t stat,
				  uint8_t is_rx);
uint32_t uveth_nb_counters(struct rte_eth_dev *eth);
void uveth_counter_words(struct rte_eth_dev *eth, uint64_t *out);
int uveth_xstats_get(struct rte_eth_dev *eth, struct rte_eth_xstat *xstats, unsigned int n);
int uveth_xstats_get_names(struct rte_eth_dev *eth, struct rte_eth_xstat_name *names,
			   unsigned int n);

/* uveth_regs.c */
int uveth_get_reg(struct rte_eth_dev *eth, struct rte_dev_reg_info *info);

/* uveth_intr.c */
int uveth_intr_start(struct rte_eth_dev *eth);
void uveth_intr_stop(struct rte_eth_dev *eth);
bool uveth_intr_fits(const struct rte_eth_dev *eth); /* made, for as many queues as there are */
int uveth_rx_intr_enable(struct rte_eth_dev *eth, uint16_t id);
int uveth_rx_intr_disable(struct rte_eth_dev *eth, uint16_t id);
int uveth_link_update(struct rte_eth_dev *eth, int wait);
void uveth_link_changed(struct rte_eth_dev *eth);

#endif /* UVETH_H */
