/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/core/share_priv.h"
#include "stack/core/eal.h"
#include "stack/core/fds.h"
#include "stack/core/instance.h"
#include "stack/core/log.h"
#include "stack/seen/counters.h"
#include "stack/share/client.h"

#include <errno.h>
#include <rte_memzone.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lwip/udp.h"

struct uvs_link uvs_link_up = {.control = -1};

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

static struct uvs_host_shape
shape_here(void)
{
	return (struct uvs_host_shape){
		.version = UVS_HOST_VERSION,
		.host_size = sizeof(struct uvs_host),
		.slot_size = sizeof(struct uvs_slot),
		.lwip_size = (uint32_t)uvl_size(),
		.pcb_size = sizeof(struct tcp_pcb),
		.priv_size = sizeof(struct uvs_mbuf_priv),
		.seen_size = sizeof(struct uvs_seen),
	};
}

static bool
fits(const struct uvs_host *h)
{
	struct uvs_host_shape want = shape_here();

	if (h->magic == UVS_HOST_MAGIC && memcmp(&h->shape, &want, sizeof(want)) == 0)
		return true;
	uvs_log(UVS_LOG_ERROR,
		"the manager of the host is of another build (version %u; here %u): use one "
		"libuvstack.so and uvstackd",
		h->shape.version, want.version);
	return false;
}

struct uvs_host *
uvs_share_host(void)
{
	const struct rte_memzone *z = rte_memzone_lookup(UVS_HOST_ZONE);

	if (z == NULL || z->len < sizeof(struct uvs_host)) {
		uvs_log(UVS_LOG_ERROR, "the shared memory is not that of a manager");
		return NULL;
	}
	return fits(z->addr) ? z->addr : NULL;
}

struct uvs_share *
uvs_share_new(struct uvs_host *h, uint32_t slot, uint32_t gen)
{
	struct uvs_share *s;

	if (slot == UVS_SLOT_BOSS || slot >= h->nb_slots)
		return NULL;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return NULL;
	s->free_pcb = calloc(h->nb_pcbs + 1, sizeof(s->free_pcb[0]));
	if (s->free_pcb == NULL) {
		free(s);
		return NULL;
	}
	s->host = h;
	s->slot = slot;
	s->me = &h->slot[slot];
	s->queue = uvs_slot_queue(h, slot);
	s->gen = gen;
	uvs_steer_map(&s->map, &h->steer, h->steer_memory);
	/* The first one is handed out first. */
	for (uint32_t i = 0; i < h->nb_pcbs; i++)
		s->free_pcb[s->nb_free_pcbs++] = h->nb_pcbs - 1 - i;
	return s;
}

static int
take_slots(const struct uvs_msg_slots *slots, struct uvs_share **share, uint32_t n)
{
	if (slots->n != n || slots->nb_fds != uvs_link_up.host->nb_slots) {
		uvs_log(UVS_LOG_ERROR, "the manager of the host answers what was not asked");
		return -EPROTO;
	}
	for (uint32_t i = 0; i < slots->nb_fds; i++)
		uvs_link_up.efd[i] = uvs_fd_take(uvs_link_up.efd[i]);
	for (uint32_t i = 0; i < n; i++) {
		share[i] = uvs_share_new(uvs_link_up.host, slots->s[i].slot, slots->s[i].gen);
		if (share[i] == NULL)
			return -ENOMEM;
	}
	return 0;
}

static int
start_eal(const struct uvs_conf *c, const struct uvs_msg_go *go)
{
	struct uvs_eal_role role = {
		.orphan = go->orphan != 0, .prefix = go->prefix, .huge_dir = go->huge_dir};

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
	uvs_link_up.control = uvs_fd_take(fd);
	snprintf(uvs_link_up.name, sizeof(uvs_link_up.name), "%s", a->c->host);
	r = check_runtime(&go);
	return r < 0 ? r : start_eal(a->c, &go);
}

static int
say_attached(void *arg)
{
	const struct attach *a = arg;
	struct uvs_msg_slots slots;
	char err[UVS_ERR_LEN];
	int r;

	uvs_link_up.host = uvs_share_host();
	if (uvs_link_up.host == NULL)
		return -EPROTO;
	r = uvs_client_attached(uvs_link_up.control, &slots, uvs_link_up.efd, err);
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
	if (r < 0 && uvs_link_up.control >= 0) {
		uvs_fd_close(uvs_link_up.control);
		uvs_link_up.control = -1;
	}
	return r;
}

/* ------------------------------------------------------------------------------- start and stop */

void
uvs_share_describe(struct uvs_host *h, const struct uvs_port *p)
{
	h->port_id = p->id;
	h->nb_queues = p->queues;
	h->mtu = p->mtu;
	h->rx_desc = p->rx_desc;
	h->tx_desc = p->tx_desc;
	h->rx_offloads = p->rx_offloads;
	h->tx_offloads = p->tx_offloads;
	h->rss_hf = p->rss_hf;
	h->rss_key_len = uvs_port_rss_key(p, h->rss_key, sizeof(h->rss_key));
	h->intr = p->intr;
	memcpy(h->mac, p->mac.addr_bytes, sizeof(h->mac));
	h->shape = shape_here();
}

/* By index: a stack finds a buffer by its number. */
static void
note_label(struct rte_mempool *mp, void *arg, void *obj, unsigned int i)
{
	uint64_t *label_at = arg;

	(void)mp;
	label_at[i] = (uint64_t)(uintptr_t)&uvs_mbuf_priv(obj)->label;
}

void
uvs_share_show_pool(struct uvs_host *h, uint32_t slot, uint64_t *label_at)
{
	struct rte_mempool *pool = h->slot[slot].pool;

	rte_mempool_obj_iter(pool, note_label, label_at);
	h->x.pool[slot].label_at = label_at;
	h->x.pool[slot].count = pool->size;
}

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
	p->intr = h->intr || s->queue < 0; /* soft queues have bells, whatever the port has */
	memcpy(p->mac.addr_bytes, h->mac, sizeof(h->mac));
}

static void
heard_bell(int fd, void *arg)
{
	char rings[256];

	(void)arg;
	uvs_sys_read(fd, rings, sizeof(rings));
}

/* Others ring it; it wakes the instance as an interrupt of its queue does. */
static void
add_bell(struct uvs_share *s, struct uvs_port *p)
{
	if (!p->intr)
		return;
	s->bell.epdata.event = EPOLLIN;
	s->bell.epdata.cb_fun = heard_bell;
	if (rte_epoll_ctl(p->epfd, EPOLL_CTL_ADD, uvs_link_up.efd[s->slot], &s->bell) != 0)
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
	r = uvs_port_join(&in->port, in->conf);
	if (r < 0)
		return r;
	add_bell(s, &in->port);
	in->port.share = s;
	uvs_softq_open(&s->end, &s->host->x, s->slot);
	uvs_steer_open(&s->steer, &s->map, &s->end, uvs_share_own, in);
	/* Without a key no port is better than another. */
	uvs_home_open(&s->home, &s->map, s->slot, s->host->rss_hf, s->host->rss_key,
		      s->host->rss_key_len);
	in->share = s;
	memset(s->me->seen, 0, sizeof(struct uvs_seen)); /* of who was here before */
	uvs_inst_show(in, s->me->seen);
	uvs_seen_begin(in->seen, in->conf);
	return 0;
}

/* The manager has gone; another one may have come. */
static int
connect_anew(char err[UVS_ERR_LEN])
{
	int fd = uvs_client_resume(uvs_link_up.name, err);

	if (fd < 0)
		return fd;
	uvs_fd_close(uvs_link_up.control);
	uvs_link_up.control = uvs_fd_take(fd);
	return 0;
}

/* Nobody is told of slots that are the process's own. */
static int
say(struct uvs_share *s, enum uvs_msg_type type)
{
	char err[UVS_ERR_LEN];
	int r;

	if (uvs_share_is_alone(s))
		return 0;
	r = uvs_client_say(uvs_link_up.control, type, s->slot, err);
	if (r == -ECONNRESET && connect_anew(err) == 0)
		r = uvs_client_say(uvs_link_up.control, type, s->slot, err);
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
	if (uvs_share_is_alone(s) || say(s, UVS_MSG_PARK) < 0)
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

const struct uvs_home *
uvs_share_home(const struct uvs_share *s)
{
	return &s->home;
}

struct uvs_claims *
uvs_share_claims(const struct uvs_share *s)
{
	return s->map.claims;
}

void *
uvs_share_lwip(const struct uvs_share *s)
{
	return s->me->lwip;
}

void
uvs_share_view(const struct uvs_share *s, struct uvs_view *v)
{
	v->part[UVS_PART_SLOT] = s->me;
	v->part[UVS_PART_STEER] = &s->map.stats[s->slot];
	v->part[UVS_PART_INBOX] = &s->host->x.inbox[s->slot];
}

/* ------------------------------------------------------------------------------------- groups */

void
uvs_share_join(struct uvs_share *s, const struct rte_ether_addr *mac)
{
	uvs_steer_join(&s->map, s->slot, mac->addr_bytes);
}

void
uvs_share_quit(struct uvs_share *s, const struct rte_ether_addr *mac)
{
	uvs_steer_leave(&s->map, s->slot, mac->addr_bytes);
}

/* ------------------------------------------------------------------------------------- PCBs */

/* As steering names it. */
static struct uvs_flow
flow_of(uint8_t proto, const ip_addr_t *local, uint16_t lport, const ip_addr_t *remote,
	uint16_t rport)
{
	bool v6 = IP_IS_V6(remote);
	struct uvs_flow f = {.lport = lport, .rport = rport, .proto = proto, .family = v6 ? 6 : 4};

	memcpy(f.local, local, v6 ? sizeof(f.local) : sizeof(f.local[0]));
	memcpy(f.remote, remote, v6 ? sizeof(f.remote) : sizeof(f.remote[0]));
	return f;
}

static struct uvs_flow
udp_flow(const struct udp_pcb *pcb)
{
	return flow_of(IPPROTO_UDP, &pcb->local_ip, pcb->local_port, &pcb->remote_ip,
		       pcb->remote_port);
}

void
uvs_share_connected(struct uvs_instance *in, struct udp_pcb *pcb)
{
	struct uvs_flow f;

	if (likely(in->share == NULL))
		return;
	f = udp_flow(pcb);
	uvs_steer_connected(&in->share->steer, &f, &pcb->uvl_steer);
}

void
uvs_share_disconnected(struct uvs_instance *in, struct udp_pcb *pcb)
{
	struct uvs_flow f;

	if (likely(in->share == NULL || pcb->uvl_steer == 0))
		return;
	f = udp_flow(pcb);
	uvs_steer_ended(&in->share->steer, &f, &pcb->uvl_steer);
}

/* It was found by a rule: that is wrong from now on. */
static void
forget_rule(struct uvs_share *s, struct tcp_pcb *pcb)
{
	struct uvs_flow f;

	if (likely(pcb->uvl_steer == 0))
		return;
	f = flow_of(IPPROTO_TCP, &pcb->local_ip, pcb->local_port, &pcb->remote_ip,
		    pcb->remote_port);
	uvs_steer_ended(&s->steer, &f, &pcb->uvl_steer);
}

void *
uvs_share_pcb(struct uvs_share *s, size_t size)
{
	uint32_t i;

	if (uvs_share_is_alone(s))
		return malloc(size);
	if (unlikely(s->nb_free_pcbs == 0)) {
		uvs_count(&s->me->c.pcb_none, 1);
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
	uint32_t i;

	forget_rule(s, pcb);
	if (uvs_share_is_alone(s)) {
		free(pcb);
		return;
	}
	i = (uint32_t)(((char *)pcb - (char *)s->me->pcb) / (long)sizeof(struct tcp_pcb));
	atomic_store_explicit(&s->me->pcb_used[i], 0, memory_order_release);
	s->free_pcb[s->nb_free_pcbs++] = i;
}

/* ------------------------------------------------------------------------------------- wake-ups */

/* A FIFO of the manager's, or an eventfd of a host that the process has to itself (alone.c): this
 * is news to either. */
static void
ring(int fd)
{
	uint64_t one = 1;

	uvs_sys_write(fd, &one, sizeof(one));
}

void
uvs_share_ring(const struct uvs_share *s)
{
	ring(uvs_link_up.efd[s->slot]);
}

void
uvs_share_flush(struct uvs_instance *in)
{
	struct uvs_share *s = in->share;

	if (unlikely(in->port.no_tx))
		uvs_share_proxy(s, &in->port);
	else
		uvs_port_flush(&in->port);
	uvs_softq_publish(&s->end);
	if (unlikely(uvs_steer_wake_manager(&s->steer)))
		ring(uvs_link_up.efd[UVS_SLOT_BOSS]);
	for (uint64_t left = s->end.to_ring; left != 0; left &= left - 1)
		ring(uvs_link_up.efd[__builtin_ctzll(left)]);
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
