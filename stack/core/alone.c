/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Several instances of one process on a port that it has to itself: a host as the manager makes one
 * (stack/share/host.h), but in the process's own memory. Slot i + 1 is instance i's, with queue i;
 * slot 0 is nobody's. Frames find their instance by steering as between processes, and go from one
 * to the other on the soft queues. Nobody dies alone here, so there are no leases to lose, nothing
 * is reclaimed, and no rules are made: ports that an instance chooses lead to its own queue, and a
 * connection stays where its SYN came in.
 *
 *  word            writer                            reader
 *  inbox.life      the thread that starts and stops  all
 *  the rest        as in steer.h, softq.h            as there */
#include "stack/core/fds.h"
#include "stack/core/instance.h"
#include "stack/core/log.h"
#include "stack/core/share_priv.h"

#include <errno.h>
#include <rte_errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>

/* The fewest there may be: nobody writes any. */
#define NO_RULES 64

/* Made once, never freed: it ends with the process. */
static struct {
	struct uvs_host *host; /* NULL: there is none */
	struct uvs_port port;
} alone;

/* Zeroed, in whole cache lines. */
static void *
lines(size_t size, bool *failed)
{
	size_t whole = RTE_ALIGN(size, RTE_CACHE_LINE_SIZE);
	void *p = aligned_alloc(RTE_CACHE_LINE_SIZE, whole);

	if (p == NULL)
		*failed = true;
	else
		memset(p, 0, whole);
	return p;
}

/* Of megabytes, most of which nobody ever touches: pages of the kernel's that are zero. */
static void *
pages(size_t size, bool *failed)
{
	char *p = calloc(1, size + RTE_CACHE_LINE_SIZE);

	if (p == NULL)
		*failed = true;
	return p != NULL ? RTE_PTR_ALIGN(p, RTE_CACHE_LINE_SIZE) : NULL;
}

static bool
make_slot(struct uvs_host *h, uint32_t slot, uint32_t mbufs)
{
	struct uvs_slot *s = &h->slot[slot];
	bool failed = false;
	uint64_t *label_at;
	char name[RTE_MEMPOOL_NAMESIZE];

	snprintf(name, sizeof(name), "uvs_%u_%u", alone.port.id, slot);
	s->pool = uvs_mem_make(name, mbufs, alone.port.mtu, slot);
	s->lwip = lines(uvl_size(), &failed);
	s->seen = lines(sizeof(struct uvs_seen), &failed);
	label_at = lines(mbufs * sizeof(*label_at), &failed);
	if (s->pool == NULL || failed)
		return false;
	uvs_mem_refill(s->pool);
	uvs_share_show_pool(h, slot, label_at);
	atomic_store(&h->x.inbox[slot].life, 1u << 8 | UVS_LIFE_UP);
	return true;
}

static struct uvs_host *
host_new(uint32_t nb_slots)
{
	bool failed = false;
	struct uvs_host *h = lines(sizeof(*h), &failed);
	void *x = lines(uvs_crossbar_size(nb_slots), &failed);

	if (failed)
		return NULL;
	h->nb_slots = nb_slots;
	uvs_crossbar_init(&h->x, nb_slots, x);
	h->steer = (struct uvs_steer_size){.nb_slots = nb_slots, .rules = NO_RULES};
	if (getrandom(&h->steer.secret, sizeof(h->steer.secret), 0) < 0)
		failed = true;
	h->steer_memory = pages(uvs_steer_size(&h->steer), &failed);
	h->lease = lines(UVS_QUEUES_MAX * sizeof(*h->lease), &failed);
	h->slot = lines(nb_slots * sizeof(*h->slot), &failed);
	return failed ? NULL : h;
}

static int
make_host(const struct uvs_conf *c, uint32_t n)
{
	uint32_t mbufs = c->mbufs != 0 ? c->mbufs : UVS_SLOT_MBUFS;
	struct uvs_host *h = alone.host = host_new(n + 1);
	bool made = h != NULL;

	for (uint32_t slot = 1; made && slot <= n; slot++)
		made = make_slot(h, slot, mbufs);
	if (made)
		return 0;
	uvs_log(UVS_LOG_ERROR, "no memory for %u stacks of %u mbufs (memory_mb, mbufs)", n, mbufs);
	return -ENOMEM;
}

static int
start_port(const struct uvs_conf *c, uint16_t port_id, uint32_t n)
{
	struct rte_mempool *pool[UVS_QUEUES_MAX];
	int r = uvs_port_probe(&alone.port, port_id, c);

	if (r == 0)
		r = make_host(c, n);
	if (r < 0)
		return r;
	for (uint32_t q = 0; q < n; q++)
		pool[q] = alone.host->slot[q + 1].pool;
	r = uvs_port_open(&alone.port, c, pool);
	if (r == 0)
		uvs_share_describe(alone.host, &alone.port);
	return r;
}

/* The port spreads what arrives over the queues, as it does when it has started. */
static void
tell_reta(const struct uvs_share *s)
{
	uint16_t queue[RTE_ETH_RSS_RETA_SIZE_512];
	uint8_t slot[RTE_ETH_RSS_RETA_SIZE_512];
	uint32_t n = uvs_port_reta(&alone.port, queue);

	for (uint32_t i = 0; i < n; i++)
		slot[i] = (uint8_t)(queue[i] + 1);
	uvs_steer_reta(&s->map, slot, n);
}

static int
take_slot(struct uvs_share **share, uint32_t slot)
{
	struct uvs_host *h = alone.host;
	int q = uvs_slot_queue(h, slot);
	int64_t gen = q >= 0 ? uvs_lease_grant(&h->lease[q], slot) : 0;

	if (q >= 0)
		uvs_lease_move(&h->lease[q], UVS_LEASE_READY);
	uvs_link_up.efd[slot] = uvs_fd_adopt(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	*share = uvs_share_new(h, slot, (uint32_t)gen);
	return *share != NULL && uvs_link_up.efd[slot] >= 0 ? 0 : -ENOMEM;
}

int
uvs_share_alone(const struct uvs_conf *c, uint16_t port_id, struct uvs_share **share, uint32_t n)
{
	int r = start_port(c, port_id, n);

	uvs_link_up.efd[UVS_SLOT_BOSS] = -1;
	for (uint32_t i = 0; r == 0 && i < n; i++)
		r = take_slot(&share[i], i + 1);
	if (r == 0)
		tell_reta(share[0]);
	return r;
}

void
uvs_share_end(void)
{
	if (alone.host != NULL)
		uvs_port_stop(&alone.port);
}
