/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/core/share.h"
#include "stack/core/eal.h"
#include "stack/core/fds.h"
#include "stack/core/instance.h"
#include "stack/core/log.h"
#include "stack/share/client.h"

#include <errno.h>
#include <rte_epoll.h>
#include <rte_memzone.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

struct uvs_share {
	struct uvs_host *host;
	struct uvs_slot *me;
	uint32_t slot;
	int queue; /* -1: none */
	uint32_t gen;
	struct uvs_softq_end end;

	/* Buffers of others, as many as did not fit into a ring on the way home. */
	struct rte_mbuf *homeless;

	uint32_t *free_pcb; /* [nb_pcbs] */
	uint32_t nb_free_pcbs;

	struct rte_epoll_event bell;
};

/* The process's connection to the manager, and how the others are woken. Written before the first
 * instance starts. */
static struct {
	struct uvs_host *host;
	int control;
	int efd[UVS_PROTO_FDS_MAX]; /* of each slot; slot 0 is the manager's */
} link_up = {.control = -1};

static void
count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

/* -------------------------------------------------------------------------------------- attach */

/* EAL chooses its directory by the environment; the manager's must be ours. */
static int
check_runtime(const struct uvs_msg_go *go)
{
	const char *dir = getenv("RUNTIME_DIRECTORY");

	if (dir == NULL)
		dir = getuid() == 0 ? "/var/run" : getenv("XDG_RUNTIME_DIR");
	if (dir == NULL)
		dir = "/tmp";
	if (strcmp(dir, go->runtime) == 0)
		return 0;
	uvs_log(UVS_LOG_ERROR,
		"DPDK would keep its files in %s here, and the manager of the host has them in %s: "
		"start both with the same RUNTIME_DIRECTORY and XDG_RUNTIME_DIR",
		dir, go->runtime);
	return -EINVAL;
}

static int
check_shape(const struct uvs_host *h)
{
	struct uvs_host_shape want = {
		.version = UVS_HOST_VERSION,
		.host_size = sizeof(struct uvs_host),
		.slot_size = sizeof(struct uvs_slot),
		.lwip_size = (uint32_t)uvl_size(),
		.pcb_size = sizeof(struct tcp_pcb),
		.priv_size = sizeof(struct uvs_mbuf_priv),
	};

	if (h->magic == UVS_HOST_MAGIC && memcmp(&h->shape, &want, sizeof(want)) == 0)
		return 0;
	uvs_log(UVS_LOG_ERROR,
		"the manager of the host is of another build (version %u; here %u): use one "
		"libuvstack.so and uvstackd",
		h->shape.version, want.version);
	return -EPROTO;
}

static int
find_host(struct uvs_host **host)
{
	const struct rte_memzone *z = rte_memzone_lookup(UVS_HOST_ZONE);

	if (z == NULL || z->len < sizeof(struct uvs_host)) {
		uvs_log(UVS_LOG_ERROR, "the shared memory is not that of a manager");
		return -EPROTO;
	}
	*host = z->addr;
	return check_shape(*host);
}

static struct uvs_share *
share_new(struct uvs_host *h, uint32_t slot, uint32_t gen)
{
	struct uvs_share *s;

	if (slot == UVS_SLOT_BOSS || slot >= h->nb_slots)
		return NULL;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return NULL;
	s->free_pcb = calloc(h->nb_pcbs, sizeof(s->free_pcb[0]));
	if (s->free_pcb == NULL) {
		free(s);
		return NULL;
	}
	s->host = h;
	s->slot = slot;
	s->me = &h->slot[slot];
	s->queue = uvs_slot_queue(h, slot);
	s->gen = gen;
	/* The first one is handed out first. */
	for (uint32_t i = 0; i < h->nb_pcbs; i++)
		s->free_pcb[s->nb_free_pcbs++] = h->nb_pcbs - 1 - i;
	return s;
}

static int
take_slots(const struct uvs_msg_slots *slots, struct uvs_share **share, uint32_t n)
{
	if (slots->n != n || slots->nb_fds != link_up.host->nb_slots) {
		uvs_log(UVS_LOG_ERROR, "the manager of the host answers what was not asked");
		return -EPROTO;
	}
	for (uint32_t i = 0; i < slots->nb_fds; i++)
		link_up.efd[i] = uvs_fd_take(link_up.efd[i]);
	for (uint32_t i = 0; i < n; i++) {
		share[i] = share_new(link_up.host, slots->s[i].slot, slots->s[i].gen);
		if (share[i] == NULL)
			return -ENOMEM;
	}
	return 0;
}

static int
start_eal(const struct uvs_conf *c, const struct uvs_msg_go *go)
{
	struct uvs_eal_role role = {.prefix = go->prefix, .huge_dir = go->huge_dir};

	return uvs_eal_start(c, &role);
}

struct attach {
	const struct uvs_conf *c;
	struct uvs_share **share;
	uint32_t n;
};

static int
say_hello(void *arg)
{
	const struct attach *a = arg;
	char err[UVS_ERR_LEN];
	struct uvs_msg_go go;
	int fd = uvs_client_hello(a->c->host, a->n, &go, err), r;

	if (fd < 0) {
		uvs_log(UVS_LOG_ERROR, "%s", err);
		return fd;
	}
	link_up.control = uvs_fd_take(fd);
	r = check_runtime(&go);
	return r < 0 ? r : start_eal(a->c, &go);
}

static int
say_attached(void *arg)
{
	const struct attach *a = arg;
	struct uvs_msg_slots slots;
	char err[UVS_ERR_LEN];
	int r = find_host(&link_up.host);

	if (r < 0)
		return r;
	r = uvs_client_attached(link_up.control, &slots, link_up.efd, err);
	if (r < 0)
		uvs_log(UVS_LOG_ERROR, "%s", err);
	return r < 0 ? r : take_slots(&slots, a->share, a->n);
}

int
uvs_share_attach(const struct uvs_conf *c, struct uvs_share **share, uint32_t n)
{
	struct attach a = {c, share, n};
	int r = uvs_aside(say_hello, &a);

	if (r == 0)
		r = uvs_aside(say_attached, &a);
	if (r < 0 && link_up.control >= 0) {
		uvs_fd_close(link_up.control);
		link_up.control = -1;
	}
	return r;
}

/* ------------------------------------------------------------------------------- start and stop */

static void
take_port(const struct uvs_share *s, struct uvs_port *p)
{
	const struct uvs_host *h = s->host;

	memset(p, 0, sizeof(*p));
	p->id = h->port_id;
	p->queues = s->queue >= 0 ? 1 : 0;
	p->rxq = p->txq = (uint16_t)(s->queue >= 0 ? s->queue : 0);
	p->no_tx = p->copy_tx = s->queue < 0;
	p->mtu = h->mtu;
	p->rx_desc = h->rx_desc;
	p->tx_desc = h->tx_desc;
	p->rx_offloads = h->rx_offloads;
	p->tx_offloads = h->tx_offloads;
	p->rss_hf = h->rss_hf;
	p->intr = h->intr;
	memcpy(p->mac.addr_bytes, h->mac, sizeof(h->mac));
}

static void
heard_bell(int fd, void *arg)
{
	uint64_t n;

	(void)arg;
	uvs_sys_read(fd, &n, sizeof(n));
}

/* Others ring it; it wakes the instance as an interrupt of its queue does. */
static void
add_bell(struct uvs_share *s, struct uvs_port *p)
{
	if (!p->intr)
		return;
	s->bell.epdata.event = EPOLLIN;
	s->bell.epdata.cb_fun = heard_bell;
	if (rte_epoll_ctl(p->epfd, EPOLL_CTL_ADD, link_up.efd[s->slot], &s->bell) != 0)
		p->intr = false;
}

int
uvs_share_start(struct uvs_share *s, struct uvs_instance *in)
{
	struct rte_mempool *pool = s->me->pool;
	int r = uvs_mem_join(&in->mem, pool, pool->size / 4);

	if (r < 0)
		return r;
	take_port(s, &in->port);
	uvs_port_join(&in->port, in->conf);
	add_bell(s, &in->port);
	in->port.share = s;
	uvs_softq_open(&s->end, &s->host->x, s->slot);
	in->share = s;
	return 0;
}

static int
say(struct uvs_share *s, enum uvs_msg_type type)
{
	char err[UVS_ERR_LEN];
	int r = uvs_client_say(link_up.control, type, s->slot, err);

	if (r < 0)
		uvs_log(UVS_LOG_NOTICE, "%s", err);
	return r;
}

int
uvs_share_ready(struct uvs_share *s)
{
	return say(s, UVS_MSG_READY);
}

void
uvs_share_leave(struct uvs_share *s, struct uvs_instance *in)
{
	if (say(s, UVS_MSG_PARK) < 0)
		return;
	while (uvs_inst_poll(in) != 0)
		;
}

void
uvs_share_close(struct uvs_share *s, struct uvs_instance *in)
{
	in->share = NULL;
	say(s, UVS_MSG_EMPTIED);
	free(s->free_pcb);
	free(s);
}

uint32_t
uvs_share_slot(const struct uvs_share *s)
{
	return s->slot;
}

void *
uvs_share_lwip(const struct uvs_share *s)
{
	return s->me->lwip;
}

/* ------------------------------------------------------------------------------------- PCBs */

void *
uvs_share_pcb(struct uvs_share *s, size_t size)
{
	uint32_t i;

	if (unlikely(s->nb_free_pcbs == 0)) {
		count(&s->me->c.pcb_none, 1);
		return NULL;
	}
	i = s->free_pcb[--s->nb_free_pcbs];
	/* Who reads the table sees it used before it says anything. */
	memset((char *)s->me->pcb + i * size, 0, size);
	atomic_store_explicit(&s->me->pcb_used[i], 1, memory_order_release);
	return (char *)s->me->pcb + i * size;
}

void
uvs_share_pcb_free(struct uvs_share *s, void *pcb)
{
	uint32_t i = (uint32_t)(((char *)pcb - (char *)s->me->pcb) / (long)sizeof(struct tcp_pcb));

	atomic_store_explicit(&s->me->pcb_used[i], 0, memory_order_release);
	s->free_pcb[s->nb_free_pcbs++] = i;
}

/* ------------------------------------------------------------------------------------- buffers */

static struct rte_mbuf *
mbuf_of(const struct uvs_share *s, uvs_ref ref)
{
	return uvs_mbuf_of_owner(s->host->x.pool[UVS_REF_POOL(ref)].owner_at[UVS_REF_INDEX(ref)]);
}

/* As it has to be in a pool. */
static void
make_raw(struct rte_mbuf *m)
{
	m->next = NULL;
	m->nb_segs = 1;
	rte_mbuf_refcnt_set(m, 1);
}

void
uvs_share_send_home(struct uvs_share *s, struct rte_mbuf *m)
{
	uvs_ref ref = uvs_mbuf_priv(m)->ref;

	make_raw(m);
	if (likely(uvs_softq_stage(&s->end, UVS_REF_POOL(ref), ref)))
		return;
	m->next = s->homeless;
	s->homeless = m;
}

static void
try_homeless(struct uvs_share *s)
{
	struct rte_mbuf *m = s->homeless, *next;

	s->homeless = NULL;
	for (; m != NULL; m = next) {
		next = m->next;
		uvs_share_send_home(s, m);
	}
}

/* ------------------------------------------------------------------------------------- receive */

bool
uvs_share_mine(const struct uvs_share *s)
{
	return uvs_lease_mine(&s->host->lease[s->queue], s->gen);
}

void
uvs_share_receive(struct uvs_instance *in, struct rte_mbuf **m, uint32_t n)
{
	count(&in->share->me->c.direct, n);
	for (uint32_t i = 0; i < n; i++)
		uvs_netif_receive(in, m[i]);
}

/* One that came by a soft queue: ours that comes home, one to be sent, or one for lwIP. */
static bool
accept_one(struct uvs_instance *in, uvs_ref ref)
{
	struct uvs_share *s = in->share;
	struct rte_mbuf *m = mbuf_of(s, ref);

	if (UVS_REF_POOL(ref) == s->slot) {
		rte_mbuf_raw_free(m);
		return false;
	}
	if (uvs_mbuf_priv(m)->proxy) {
		uvs_mbuf_priv(m)->proxy = 0;
		count(&s->me->c.proxied, 1);
		uvs_port_send(&in->port, m);
		return true;
	}
	uvs_netif_receive(in, m);
	return true;
}

uint32_t
uvs_share_poll(struct uvs_instance *in)
{
	struct uvs_share *s = in->share;
	uvs_ref ref[UVS_RX_BURST];
	uint32_t n, frames = 0;

	if (unlikely(s->homeless != NULL))
		try_homeless(s);
	for (int round = 0; round < UVS_BUDGET_RX; round++) {
		n = uvs_softq_take(&s->end, ref, UVS_RX_BURST);
		for (uint32_t i = 0; i < n; i++)
			rte_prefetch0(mbuf_of(s, ref[i]));
		for (uint32_t i = 0; i < n; i++)
			frames += accept_one(in, ref[i]);
		if (n < UVS_RX_BURST)
			return frames;
	}
	return frames;
}

/* ------------------------------------------------------------------------------------ transmit */

/* A living slot with a transmit queue; 0: there is none. */
static uint32_t
sender_for(struct uvs_share *s)
{
	for (uint32_t slot = 1; slot <= s->host->nb_queues; slot++)
		if (uvs_softq_up(&s->end, slot))
			return slot;
	return 0;
}

static bool
proxy_one(struct uvs_share *s, uint32_t to, struct rte_mbuf *m)
{
	struct uvs_mbuf_priv *priv = uvs_mbuf_priv(m);

	/* A reference of lwIP's, for retransmission, cannot cross over. */
	if (m->nb_segs != 1 || rte_mbuf_refcnt_read(m) != 1)
		return false;
	priv->proxy = 1;
	if (uvs_softq_stage(&s->end, to, priv->ref))
		return true;
	priv->proxy = 0;
	return false;
}

static void
proxy(struct uvs_share *s, struct uvs_port *p)
{
	uint32_t to = sender_for(s);

	for (uint16_t i = 0; i < p->tx_n; i++) {
		if (to != 0 && proxy_one(s, to, p->tx[i]))
			continue;
		count(to == 0 ? &s->me->c.fwd_down : &s->me->c.fwd_full, 1);
		rte_pktmbuf_free(p->tx[i]);
	}
	p->tx_n = 0;
}

/* ------------------------------------------------------------------------------------- wake-ups */

static void
ring(int fd)
{
	uint64_t one = 1;

	uvs_sys_write(fd, &one, sizeof(one));
}

void
uvs_share_flush(struct uvs_instance *in)
{
	struct uvs_share *s = in->share;

	if (unlikely(in->port.no_tx))
		proxy(s, &in->port);
	else
		uvs_port_flush(&in->port);
	uvs_softq_publish(&s->end);
	for (uint64_t left = s->end.to_ring; left != 0; left &= left - 1)
		ring(link_up.efd[__builtin_ctzll(left)]);
}

bool
uvs_share_arm(struct uvs_share *s)
{
	return s->homeless == NULL && uvs_softq_arm(&s->end);
}

void
uvs_share_disarm(struct uvs_share *s)
{
	uvs_softq_disarm(&s->end);
}
