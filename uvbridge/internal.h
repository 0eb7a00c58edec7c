/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/internal.h - what the files of libuvbridge, the daemon and the CLI share. Nothing here
 * is seen by users of the library: libuvbridge.so exports what port.h declares.
 */
#ifndef UVBRIDGE_INTERNAL_H
#define UVBRIDGE_INTERNAL_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#include "uvbridge/abi.h"
#include "uvbridge/clock.h"
#include "uvbridge/port.h"

#define UVB_LIKELY(x) __builtin_expect(!!(x), 1)
/* Fetch a line to write to it: without this one pays twice, once to see it and once to own it. A
 * processor without the instruction takes it for a no-op. */
static inline void
uvb_prefetch_write(const void *p)
{
#ifdef __x86_64__
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)p));
#else
	__builtin_prefetch(p, 1);
#endif
}

#define UVB_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* A build for tests dies at numbered points of the protocol (see reclaim_test.c). */
#ifdef UVB_TEST
void uvb_kill_point(int n);
#define UVB_KILL_POINT(n) uvb_kill_point(n)
#else
#define UVB_KILL_POINT(n) ((void)0)
#endif

/* The points, in the order a frame meets them. */
enum uvb_kill {
	UVB_KILL_NONE,
	UVB_KILL_TX_FILLED,    /* cell filled, still FREE */
	UVB_KILL_TX_OWNED,     /* cell owned by its receiver, in no ring */
	UVB_KILL_TX_CHAINED,   /* some cells of a long frame owned, none filled */
	UVB_KILL_TX_STAGED,    /* slot written, head not */
	UVB_KILL_TX_HEAD,      /* some heads stored, no fence */
	UVB_KILL_TX_FENCED,    /* all heads stored */
	UVB_KILL_TX_LEAF,      /* leaf bit set, summary bit not */
	UVB_KILL_TX_PENDING,   /* both set, bell not rung */
	UVB_KILL_TX_RUNG,      /* bell rung */
	UVB_KILL_RX_SUMMARY,   /* summary taken, leaves not looked at */
	UVB_KILL_RX_PEEKED,    /* frames in hand */
	UVB_KILL_RX_TAIL_CELL, /* a later cell of a long frame FREE, the first one not */
	UVB_KILL_RX_FREED,     /* cell FREE, tail not stored */
	UVB_KILL_RX_TAIL,      /* tail stored */
	UVB_KILL_RX_CLEARED,   /* pending bit cleared, head not looked at again */
	UVB_KILL_RX_ARMED,     /* armed, pending not looked at */
	UVB_KILL_CONF,         /* the next configuration written, not in force */
	UVB_KILL_RULE,         /* a flow rule's seq odd */
	UVB_KILL_RULE_LOGGED,  /* it stands in the log, version not raised */
	UVB_KILL_MAX,
	/* Of who repairs a queue, which a port in traffic does not pass. */
	UVB_KILL_RESET_VOQ = UVB_KILL_MAX, /* some voqs drained, others not, nothing counted */
	UVB_KILL_RESET_ANNOUNCED,          /* rings announced, leaked cells not freed */
	UVB_KILL_RESET_MAX
};

/* ---------------------------------------------------------------------------------- segment.c */

/* A fabric, mapped. The numbers are copied out of the header once and checked: whoever scribbles
 * over the header later harms nobody who is already mapped. */
struct uvb_map {
	uint8_t *base;
	uint64_t size;
	int fd; /* kept by the daemon and by views, to ask which pages exist; else -1 */
	uint32_t nb_ports;
	uint32_t nb_queues;
	uint32_t cells_per_txq;
	uint32_t voq_depth;
	uint32_t fdb_buckets;
	uint64_t off_ports, off_rxqs, off_txqs, off_pairs, off_fdb, off_voqs;
	uint64_t off_descs, off_cells;
	uint64_t off_policies, off_adapters;
	uint64_t off_faults, off_decisions, off_rules;
	uint64_t voq_stride;
	uint64_t epoch;
	char name[UVB_NAME_LEN];
};

/* Fill in offsets and size from the numbers in hdr; -EINVAL and a sentence if they are out of
 * bounds. */
int uvb_layout(struct uvb_hdr *hdr, char err[UVB_ERR_LEN]);

/* Make a segment file of the shape in hdr (numbers and name) and map it. */
int uvb_map_create(struct uvb_map *map, int dirfd, struct uvb_hdr *hdr, char err[UVB_ERR_LEN]);
int uvb_map_open(struct uvb_map *map, int dirfd, bool writable, char err[UVB_ERR_LEN]);
void uvb_map_close(struct uvb_map *map);

/* Copy 32-bit words that another process may be writing or reading. */
void uvb_copy_words(void *to, const void *from, size_t size);

/* Which pages of [off, off + len) of the segment exist: a bit each, from malloc; NULL when there is
 * no memory or no descriptor: take all of them to exist then. Looking at a page through the mapping
 * would make it exist. */
uint64_t *uvb_map_resident(const struct uvb_map *map, uint64_t off, uint64_t len);

/* Does the page exist that has the byte at `off`, counted from the start of what was asked about?
 * Without `pages` nobody knows, and it does. */
static inline bool
uvb_page_exists(const uint64_t *pages, uint64_t off)
{
	uint64_t page = off / UVB_PAGE;

	return pages == NULL || (pages[page / 64] >> (page & 63) & 1) != 0;
}

/* Which voqs into (dst, rxq) exist, of `nb` sources from `first` on, by their pages. `pages` is the
 * caller's to free(); without memory for it every voq exists. */
struct uvb_voq_pages {
	uint64_t *pages;
	uint64_t first;
};
struct uvb_voq_pages uvb_voq_pages(const struct uvb_map *map, uint32_t dst, uint32_t rxq);
struct uvb_voq_pages uvb_voq_pages_from(const struct uvb_map *map, uint32_t dst, uint32_t rxq,
					uint32_t first, uint32_t nb);
bool uvb_voq_exists(const struct uvb_map *map, const struct uvb_voq_pages *e, uint32_t dst,
		    uint32_t rxq, uint32_t source);

static inline struct uvb_hdr *
uvb_map_hdr(const struct uvb_map *m)
{
	return (struct uvb_hdr *)m->base;
}

static inline struct uvb_port_shm *
uvb_map_port(const struct uvb_map *m, uint32_t port)
{
	return (struct uvb_port_shm *)(m->base + m->off_ports) + port;
}

static inline uint32_t
uvb_map_queue_index(const struct uvb_map *m, uint32_t port, uint32_t queue)
{
	return port * m->nb_queues + queue;
}

static inline struct uvb_rxq_shm *
uvb_map_rxq(const struct uvb_map *m, uint32_t port, uint32_t rxq)
{
	return (struct uvb_rxq_shm *)(m->base + m->off_rxqs) + uvb_map_queue_index(m, port, rxq);
}

static inline struct uvb_txq_shm *
uvb_map_txq(const struct uvb_map *m, uint32_t port, uint32_t txq)
{
	return (struct uvb_txq_shm *)(m->base + m->off_txqs) + uvb_map_queue_index(m, port, txq);
}

static inline struct uvb_pair_shm *
uvb_map_pair(const struct uvb_map *m, uint32_t src, uint32_t txq, uint32_t dst)
{
	return (struct uvb_pair_shm *)(m->base + m->off_pairs) +
	       (uint64_t)uvb_map_queue_index(m, src, txq) * m->nb_ports + dst;
}

static inline struct uvb_fdb_bucket *
uvb_map_fdb(const struct uvb_map *m)
{
	return (struct uvb_fdb_bucket *)(m->base + m->off_fdb);
}

static inline struct uvb_policy_shm *
uvb_map_policy(const struct uvb_map *m, uint32_t port)
{
	return (struct uvb_policy_shm *)(m->base + m->off_policies) + port;
}

static inline struct uvb_adapter_shm *
uvb_map_adapter(const struct uvb_map *m, uint32_t adapter)
{
	return (struct uvb_adapter_shm *)(m->base + m->off_adapters) + adapter;
}

static inline uint64_t
uvb_map_voq_off(const struct uvb_map *m, uint32_t dst, uint32_t rxq, uint32_t source)
{
	return m->voq_stride *
	       ((uint64_t)uvb_map_queue_index(m, dst, rxq) * m->nb_ports * m->nb_queues + source);
}

static inline struct uvb_voq_shm *
uvb_map_voq(const struct uvb_map *m, uint32_t dst, uint32_t rxq, uint32_t src, uint32_t txq)
{
	return (struct uvb_voq_shm *)(m->base + m->off_voqs +
				      uvb_map_voq_off(m, dst, rxq,
						      uvb_map_queue_index(m, src, txq)));
}

static inline struct uvb_rules_shm *
uvb_map_rules(const struct uvb_map *m, uint32_t port)
{
	return (struct uvb_rules_shm *)(m->base + m->off_rules) + port;
}

static inline bool
uvb_map_ever_attached(const struct uvb_map *m, uint32_t port)
{
	return UVB_LIFE_GEN(atomic_load_explicit(&uvb_map_port(m, port)->life,
						 memory_order_relaxed)) != 0;
}

static inline struct uvb_fault_shm *
uvb_map_fault(const struct uvb_map *m, uint32_t slot)
{
	return (struct uvb_fault_shm *)(m->base + m->off_faults) + slot;
}

static inline struct uvb_decisions_shm *
uvb_map_decisions(const struct uvb_map *m, uint32_t port, uint32_t txq)
{
	return (struct uvb_decisions_shm *)(m->base + m->off_decisions) +
	       uvb_map_queue_index(m, port, txq);
}

/* Queues of a port that may ever have been used: none, if it was never attached. */
static inline uint32_t
uvb_map_ever_rxq(const struct uvb_map *m, uint32_t port)
{
	uint32_t n = atomic_load_explicit(&uvb_map_port(m, port)->ever_rxq, memory_order_relaxed);

	return n <= m->nb_queues ? n : m->nb_queues;
}

static inline uint32_t
uvb_map_ever_txq(const struct uvb_map *m, uint32_t port)
{
	uint32_t n = atomic_load_explicit(&uvb_map_port(m, port)->ever_txq, memory_order_relaxed);

	return n <= m->nb_queues ? n : m->nb_queues;
}

/* The same of a transmit queue by its number among all (uvb_map_queue_index()). */
static inline bool
uvb_map_source_used(const struct uvb_map *m, uint32_t source)
{
	return source % m->nb_queues < uvb_map_ever_txq(m, source / m->nb_queues);
}

/* Cells of one txq. */
struct uvb_cells {
	struct uvb_desc *desc; /* [nb] */
	struct uvb_cell *cell; /* [nb] */
	uint32_t nb;
};

static inline struct uvb_cells
uvb_map_source_cells(const struct uvb_map *m, uint32_t source)
{
	uint64_t first = (uint64_t)source * m->cells_per_txq;

	return (struct uvb_cells){
		.desc = (struct uvb_desc *)(m->base + m->off_descs) + first,
		.cell = (struct uvb_cell *)(m->base + m->off_cells) + first,
		.nb = m->cells_per_txq,
	};
}

static inline struct uvb_cells
uvb_map_cells(const struct uvb_map *m, uint32_t src, uint32_t txq)
{
	return uvb_map_source_cells(m, uvb_map_queue_index(m, src, txq));
}

/* How far the sender of a voq has come. */
static inline uint32_t
uvb_voq_head(const struct uvb_voq_shm *v)
{
	return UVB_HEAD_POS(atomic_load_explicit(&v->head, memory_order_acquire));
}

/* ----------------------------------------------------------------------------------- rundir.c */

/* Is it a name for a fabric or a port? */
bool uvb_name_ok(const char *name);

/* The directory of all fabrics; made (mode 0700) if `create`. */
int uvb_rundir(char path[PATH_MAX], bool create, char err[UVB_ERR_LEN]);

/* The directory of one fabric (name or absolute path). */
int uvb_fabric_path(const char *fabric, char path[PATH_MAX], char err[UVB_ERR_LEN]);

/* The same, opened; -ENOENT and a sentence when there is none. */
int uvb_fabric_open(const char *fabric, char err[UVB_ERR_LEN]);

/* --------------------------------------------------------------------------------------- fd.c */

/* Move a descriptor out of the application's way, CLOEXEC; closes the old one. Passes -1 on. */
int uvb_fd_high(int fd);

int uvb_fail(char err[UVB_ERR_LEN], int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* ------------------------------------------------------------------------------------- bell.c */

/* Open the bell of a queue: by its receiver (made if need be) or by somebody who rings it. */
int uvb_bell_open(int dirfd, uint32_t port, uint32_t rxq, bool receiver);
/* An epoll descriptor with the bell in it, readable when it rang: what a receiver sleeps on. A
 * timer can be added without its number changing. */
int uvb_bell_wake(int bell);
void uvb_bell_ring(int fd);
bool uvb_bell_drain(int fd); /* was there anything? */

/* -------------------------------------------------------------------------------------- rss.c */

#define UVB_RSS_INPUT_MAX 36 /* two IPv6 addresses, two ports */

/* What of a frame can be hashed. */
struct uvb_flow {
	uint32_t l3_type; /* UVB_RSS_* that would hash its addresses */
	uint32_t l4_type; /* UVB_RSS_* that would hash addresses and ports */
	uint32_t l3_len;  /* bytes of addresses; the ports follow them */
	uint8_t in[UVB_RSS_INPUT_MAX];
	bool has_ex;    /* IPv6 addresses in extension headers: ex[] differs from in[] */
	uint8_t ex[32]; /* set if has_ex */
	uint8_t l2[12]; /* MAC addresses, source first */
};

/* A compiled key: the hash is the exclusive or of one word for each byte of input. */
struct uvb_rss {
	uint32_t types;
	uint32_t plain; /* of these, types whose input is hashed as it lies in the frame */
	uint32_t table[UVB_RSS_INPUT_MAX][256];
};

#define UVB_RSS_EX      (UVB_RSS_IPV6_EX | UVB_RSS_IPV6_TCP_EX | UVB_RSS_IPV6_UDP_EX)
#define UVB_RSS_L3_ONLY (UVB_RSS_L3_SRC | UVB_RSS_L3_DST)
#define UVB_RSS_L4_ONLY (UVB_RSS_L4_SRC | UVB_RSS_L4_DST)

/* Hash other types by the same key. */
static inline void
uvb_rss_types(struct uvb_rss *rss, uint32_t types)
{
	rss->types = types;
	rss->plain = types & (UVB_RSS_L3_ONLY | UVB_RSS_L4_ONLY | UVB_RSS_SYMMETRIC)
			     ? 0
			     : types & ~UVB_RSS_EX;
}

void uvb_rss_compile(struct uvb_rss *rss, uint32_t types, const uint8_t *key, uint32_t key_len);

/* Parse the first `avail` bytes of a frame. What is cut short has no hash. */
void uvb_flow_parse(struct uvb_flow *flow, const uint8_t *frame, uint32_t avail);

static inline uint32_t
uvb_rss_toeplitz(const struct uvb_rss *rss, const uint8_t *in, uint32_t n)
{
	uint32_t h = 0;

	for (uint32_t i = 0; i < n; i += 4)
		h ^= rss->table[i][in[i]] ^ rss->table[i + 1][in[i + 1]] ^
		     rss->table[i + 2][in[i + 2]] ^ rss->table[i + 3][in[i + 3]];
	return h;
}

/* Of what is not hashed as it lies in the frame. */
bool uvb_rss_hash_chosen(const struct uvb_rss *rss, const struct uvb_flow *flow, uint32_t *hash);

/* The hash of a frame, false if none of the types is one of its. */
static inline bool
uvb_rss_hash(const struct uvb_rss *rss, const struct uvb_flow *flow, uint32_t *hash)
{
	if (UVB_UNLIKELY(flow->has_ex))
		return uvb_rss_hash_chosen(rss, flow, hash);
	if (flow->l4_type & rss->plain)
		*hash = uvb_rss_toeplitz(rss, flow->in, flow->l3_len + 4);
	else if (rss->types != rss->plain || !(flow->l3_type & rss->plain))
		return uvb_rss_hash_chosen(rss, flow, hash);
	else
		*hash = uvb_rss_toeplitz(rss, flow->in, flow->l3_len);
	return true;
}

/* -------------------------------------------------------------------------------------- fdb.c */

#define UVB_FDB_NONE UINT32_MAX
#define UVB_FDB_ANY  UINT32_MAX

struct uvb_fdb {
	struct uvb_fdb_bucket *bucket;
	uint32_t mask;
	uint32_t nb_ports;
};

/* An entry, read back. */
struct uvb_fdb_record {
	uint64_t mac;
	uint16_t vlan;
	uint8_t port;
	bool is_static;
};

/* All `key`s are UVB_FDB_KEY(vlan, mac). */
void uvb_fdb_init(struct uvb_fdb *fdb, const struct uvb_map *map);
uint32_t uvb_fdb_lookup(const struct uvb_fdb *fdb, uint64_t key); /* port or UVB_FDB_NONE */

/* Where an entry stands and what it says: while that word is the same, so is what a look-up, or
 * learning in the same second, would find. */
struct uvb_fdb_watch {
	const _Atomic uint64_t *entry;
	uint64_t word;
};
/* false: there is none for the key that names this port. */
bool uvb_fdb_watch(const struct uvb_fdb *fdb, uint64_t key, uint32_t port, struct uvb_fdb_watch *w);

static inline bool
uvb_fdb_unmoved(const struct uvb_fdb_watch *w)
{
	return atomic_load_explicit(w->entry, memory_order_relaxed) == w->word;
}
void uvb_fdb_learn(const struct uvb_fdb *fdb, uint64_t key, uint32_t port, uint32_t now_s);
/* Learn it unless somebody has it: what a port says of itself does not move an address. */
void uvb_fdb_offer(const struct uvb_fdb *fdb, uint64_t key, uint32_t port, uint32_t now_s);
/* It is where it was said to be: do not forget it. */
void uvb_fdb_keep(const struct uvb_fdb *fdb, uint64_t key, uint32_t port, uint32_t now_s);
/* The entry in this place of this bucket; false: there is none. */
bool uvb_fdb_read(const struct uvb_fdb *fdb, uint32_t bucket, uint32_t way,
		  struct uvb_fdb_record *record);

/* By the daemon. Returns how many entries were forgotten. */
uint32_t uvb_fdb_age(const struct uvb_fdb *fdb, uint32_t now_s, uint32_t age_s);
struct uvb_fdb_flush {
	uint32_t port;  /* UVB_FDB_ANY: of all */
	uint32_t vlan;  /* UVB_FDB_ANY: of all */
	bool is_static; /* these, too */
};
uint32_t uvb_fdb_flush(const struct uvb_fdb *fdb, const struct uvb_fdb_flush *what);
/* -ENOSPC: the bucket is full of static entries. */
int uvb_fdb_set_static(const struct uvb_fdb *fdb, uint64_t key, uint32_t port);
bool uvb_fdb_del(const struct uvb_fdb *fdb, uint64_t key); /* false: it was not there */

static inline uint64_t
uvb_mac48(const uint8_t *p)
{
	return (uint64_t)p[0] << 40 | (uint64_t)p[1] << 32 | (uint64_t)p[2] << 24 |
	       (uint64_t)p[3] << 16 | (uint64_t)p[4] << 8 | p[5];
}
#define UVB_MAC_BROADCAST    0xffffffffffffULL
#define UVB_MAC_MULTICAST(m) (((m) >> 40) & 1)

/* ------------------------------------------------------------------------------------- port.c */

struct uvb_dev {
	struct uvb_map map;
	struct uvb_hdr hdr; /* as it was at attach, for uvb_hdr() */
	int dirfd;
	int control;
	pid_t pid;       /* who attached; a forked child is not the port */
	uint16_t member; /* UVB_OWNER_SLOT: the owner; UVB_MEMBER_NONE: none, only looks */
	uint16_t id;
	uint16_t nb_rxq;
	uint16_t nb_txq;
	uint16_t kind;
	uint32_t gen;
	uint32_t life;       /* UVB_LIFE(gen, UP) */
	atomic_bool follows; /* the clock: uvb_idle() has been called */
	uint8_t mac[6];
	char name[UVB_NAME_LEN];
	char path[PATH_MAX]; /* of the fabric, for a detach through a later daemon */
	/* Its flow rules; NULL: it has had none, what is in the segment is an earlier owner's. */
	struct uvb_rules *rules;
	struct uvb_port_shm *shm;
	struct uvb_rxq *rxq[UVB_MAX_QUEUES];
	struct uvb_txq *txq[UVB_MAX_QUEUES];
	int bell[UVB_MAX_QUEUES]; /* of the receive queues */
	int wake[UVB_MAX_QUEUES]; /* what is polled in their place, see uvb_bell_wake() */
};
#define UVB_MEMBER_NONE UINT16_MAX

static inline bool
uvb_dev_up(const struct uvb_dev *dev)
{
	return atomic_load_explicit(&dev->shm->life, memory_order_acquire) == dev->life;
}

/* Default configuration of a port with nb_rxq queues and this address. */
void uvb_conf_fill(struct uvb_conf *conf, uint16_t nb_rxq, const uint8_t mac[6]);
/* NULL if it makes sense for a port of nb_rxq queues, else what is wrong with it. */
const char *uvb_conf_check(const struct uvb_conf *conf, uint16_t nb_rxq);
/* Writer and reader of the sequence lock. The reader never waits: false if it met the writer. */
void uvb_conf_write(struct uvb_port_shm *port, const struct uvb_conf *conf);
bool uvb_conf_read(struct uvb_port_shm *port, struct uvb_conf *conf, uint32_t *seq);

struct uvb_ctl_answer; /* control.h */

struct uvb_dev *uvb_dev_new(void); /* nobody yet; to uvb_forget() or uvb_close(); NULL: no memory */

/* Be the port that the daemon's answer to an attach names: identity and queues. dev->map and
 * dev->dirfd are open. */
int uvb_dev_take(struct uvb_dev *dev, const struct uvb_ctl_answer *ans, char err[UVB_ERR_LEN]);

/* ----------------------------------------------------------------------------------- policy.c */

/* A reader never waits: false if it met the writer. What does not make sense is put right. */
bool uvb_policy_read(const struct uvb_map *map, uint32_t port, struct uvb_policy *policy);
/* By the daemon. Says nothing to the readers: uvb_policy_announce() does, for any number. */
void uvb_policy_write(const struct uvb_map *map, uint32_t port, const struct uvb_policy *policy);
void uvb_policy_announce(const struct uvb_map *map);
/* NULL if it makes sense, else what is wrong with it. */
const char *uvb_policy_check(const struct uvb_policy *policy);
bool uvb_policy_is_zero(const struct uvb_policy *policy);
/* One field, as it is now. */
uint32_t uvb_policy_weight(const struct uvb_map *map, uint32_t port);
uint32_t uvb_policy_adapter(const struct uvb_map *map, uint32_t port); /* 1 + its number, or 0 */
/* NULL if the function may ask for this configuration, else why not. What it had before it may
 * keep: it does not count. */
const char *uvb_policy_forbids(const struct uvb_policy *policy, const struct uvb_conf *conf,
			       const struct uvb_conf *before);

/* GCRA: `tat` is the word, cost and tolerance are ns at the limit's rate. */
bool uvb_gcra_ready(const _Atomic uint64_t *tat, uint64_t now, uint64_t tolerance);
void uvb_gcra_charge(_Atomic uint64_t *tat, uint64_t now, uint64_t cost);

/* A switch would not know a port that has never sent, and flood what is for it: teach it where the
 * port's addresses are, untagged, as far as nobody has them. */
void uvb_conf_offer(const struct uvb_fdb *fdb, const struct uvb_conf *conf,
		    const struct uvb_policy *policy, uint32_t port, uint32_t now_s);

/* ------------------------------------------------------------------------------------ rules.c */

/* NULL if the rule makes sense for a port of nb_rxq queues, else what is wrong with it. Whatever it
 * says then can be applied to any frame. */
const char *uvb_rule_check(const struct uvb_rule *rule, uint16_t nb_rxq);
/* The next rule of an attached port from *slot on, which becomes the slot after it, for who only
 * looks; false: there is none. */
bool uvb_rules_next(const struct uvb_map *map, uint32_t port, uint32_t *slot,
		    struct uvb_rule *rule);
/* A rule as it stands in its slot. false: met in the middle of a change. */
bool uvb_rule_read(struct uvb_rules_shm *rules, uint32_t slot, struct uvb_rule *rule);

int uvb_control_connect(const char *path, char err[UVB_ERR_LEN]);
/* Send a request and wait for the answer, up to timeout_ms; 0 or negative errno. */
int uvb_control_call(int fd, const void *req, size_t req_len, void *rep, size_t rep_len,
		     int timeout_ms);

/* -------------------------------------------------------------------------------- tx.c, rx.c */

/* A handle; _renew: forget what this process believes of the queue and read it anew. */
struct uvb_txq *uvb_txq_new(struct uvb_dev *dev, uint16_t txq);
void uvb_txq_renew(struct uvb_txq *q);
void uvb_txq_free(struct uvb_txq *q);
struct uvb_rxq *uvb_rxq_new(struct uvb_dev *dev, uint16_t rxq);
void uvb_rxq_renew(struct uvb_rxq *q);
void uvb_rxq_free(struct uvb_rxq *q);

/* Steps 3 and 4 of the protocol: tell the receiver that there is something. */
static inline bool
uvb_pending_set(struct uvb_rxq_shm *rxq, uint32_t source)
{
	uint64_t leaf_bit = 1ULL << (source & 63), sum_bit = 1ULL << (source >> 6);
	_Atomic uint64_t *leaf = &rxq->leaf[source >> 6];

	if (atomic_load_explicit(leaf, memory_order_relaxed) & leaf_bit)
		return false;
	atomic_fetch_or(leaf, leaf_bit);
	UVB_KILL_POINT(UVB_KILL_TX_LEAF);
	if (!(atomic_load(&rxq->summary) & sum_bit))
		atomic_fetch_or(&rxq->summary, sum_bit);
	return true;
}

/* ------------------------------------------------------------------------------------ clock.c */

/* Move the virtual clock on, if it may and nobody has anything to do now; ring whom it concerns.
 * false: it did not move. */
bool uvb_clock_turn(const struct uvb_map *map, int dirfd);
/* Ring those asleep whose time has come. */
void uvb_clock_ring(const struct uvb_map *map, int dirfd);

/* ------------------------------------------------------------------------------------ chain.c */

/* The chain of cells of a frame, validated: every index, owner and length. Cell numbers go to
 * idx[UVB_CHAIN_MAX]; returns how many, or 0 if the chain makes no sense. *total: frame length. */
uint32_t uvb_chain_walk(const struct uvb_cells *c, uint32_t first, uint64_t owner, uint32_t *idx,
			uint32_t *total);

/* Free what is left of the frame that starts at cell `first`, if it is the one for this place (an
 * owner word without generation). Its receiver may have freed the end of it before it died: what is
 * left is the beginning. Returns how many cells. */
uint32_t uvb_chain_free(const struct uvb_cells *c, uint32_t first, uint64_t place);

/* Does cell `cell` of the source stand where its owner word says: at that position of that ring,
 * itself or as a later cell of the frame that does? */
bool uvb_cell_stands(const struct uvb_map *map, uint32_t source, uint32_t cell, uint64_t owner);

/* ---------------------------------------------------------------------------------- reclaim.c */

/* Only by the daemon, for words whose members are gone (see port.h for one queue of a living
 * port). */

/* Free everything that waits in the queues of port x from `first_rxq` on. Returns cells freed. */
uint64_t uvb_drain_port(const struct uvb_map *map, uint32_t port, uint32_t first_rxq);
/* The same, but looks only where senders said there was something: the tick. */
uint64_t uvb_drain_pending(const struct uvb_map *map, uint32_t port, uint32_t first_rxq);
/* Finish what sender x left unfinished: free cells in no ring, announce rings that are not empty.
 */
uint64_t uvb_finish_sender(const struct uvb_map *map, int dirfd, uint32_t port);

/* ----------------------------------------------------------------------------------- ledger.c */

struct uvb_ledger {
	uint64_t cells; /* that exist (touched) */
	uint64_t free;
	uint64_t in_flight; /* standing in one voq of the port that owns them, which is attached */
	uint64_t leaked;    /* owned, in no voq */
	uint64_t stale;     /* for a port or generation that is gone */
	FILE *offenders;    /* lists them if not NULL */
};
int uvb_ledger(const struct uvb_map *map, struct uvb_ledger *ledger);

/* ------------------------------------------------------------------------------------ names.c */

extern const char *const uvb_txd_name[UVB_TXD_MAX];
extern const char *const uvb_pd_name[UVB_PD_MAX];
const char *uvb_kind_name(uint32_t kind);
const char *uvb_state_name(uint32_t life);
const char *uvb_verdict_name(uint32_t verdict);
const char *uvb_fault_verdict_name(uint32_t verdict);
const char *uvb_fault_dir_name(uint32_t dir);

static inline uint64_t
uvb_load(const _Atomic uint64_t *p)
{
	return atomic_load_explicit(p, memory_order_relaxed);
}

static inline void
uvb_add(_Atomic uint64_t *p, uint64_t n) /* by the one writer: no locked instruction */
{
	atomic_store_explicit(p, atomic_load_explicit(p, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

uint64_t uvb_now_ns(void); /* CLOCK_MONOTONIC */

#endif /* UVBRIDGE_INTERNAL_H */
