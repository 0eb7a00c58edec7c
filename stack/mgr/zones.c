/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The memory that the host's processes share, in zones of EAL's; stack/share/host.h says what it
 * is.
 */
#include "stack/core/instance.h"
#include "stack/core/log.h"
#include "stack/core/share.h"
#include "stack/mgr/mgr.h"

#include <errno.h>
#include <rte_errno.h>
#include <rte_memzone.h>
#include <string.h>
#include <sys/random.h>

#define RULES 65536

uint32_t
zones_mbufs(const struct mgr *m)
{
	return m->conf.mbufs != 0 ? m->conf.mbufs : UVS_SLOT_MBUFS;
}

static struct uvs_steer_size
steer_size(const struct mgr *m)
{
	return (struct uvs_steer_size){.nb_slots = m->conf.slots + 1, .rules = RULES};
}

size_t
zones_bytes(const struct mgr *m)
{
	uint32_t slots = m->conf.slots;
	size_t mbuf = sizeof(struct rte_mbuf) + sizeof(struct uvs_mbuf_priv) +
		      uvs_mem_room(m->conf.mtu) + RTE_PKTMBUF_HEADROOM + 4 * RTE_CACHE_LINE_SIZE +
		      2 * sizeof(void *);
	size_t pcbs = m->conf.connections * (sizeof(struct tcp_pcb) + sizeof(uint32_t));

	struct uvs_steer_size steer = steer_size(m);

	return slots * (zones_mbufs(m) * mbuf + pcbs + uvl_size() + sizeof(struct uvs_seen)) +
	       uvs_crossbar_size(slots + 1) + uvs_steer_size(&steer);
}

/* Zeroed, aligned to cache lines, never given back. NULL: no memory, *failed set. */
static void *
zone(const char *name, uint32_t number, size_t size, bool *failed)
{
	const struct rte_memzone *z;
	char full[RTE_MEMZONE_NAMESIZE];

	snprintf(full, sizeof(full), number == 0 ? "%s" : "%s_%u", name, number);
	z = rte_memzone_reserve_aligned(full, size, SOCKET_ID_ANY, 0, RTE_CACHE_LINE_SIZE);
	if (z == NULL) {
		uvs_log(UVS_LOG_ERROR, "no memory for %s, %zu bytes: %s", full, size,
			rte_strerror(rte_errno));
		*failed = true;
		return NULL;
	}
	memset(z->addr, 0, size);
	return z->addr;
}

static bool
make_pool(struct mgr *m, uint32_t slot)
{
	bool failed = false;
	uint64_t *label_at;
	char name[32];

	snprintf(name, sizeof(name), "uvs_pool_%u", slot);
	m->host->slot[slot].pool = uvs_mem_make(name, zones_mbufs(m), m->conf.mtu, slot);
	label_at = zone("uvs_label", slot, zones_mbufs(m) * sizeof(*label_at), &failed);
	if (m->host->slot[slot].pool == NULL || failed)
		return false;
	uvs_share_show_pool(m->host, slot, label_at);
	return true;
}

static bool
make_slot(struct mgr *m, uint32_t i)
{
	struct uvs_slot *s = &m->host->slot[i];
	bool failed = false;

	s->lwip = zone("uvs_lwip", i, uvl_size(), &failed);
	s->seen = zone("uvs_seen", i, sizeof(struct uvs_seen), &failed);
	s->pcb = zone("uvs_pcb", i, m->host->nb_pcbs * sizeof(struct tcp_pcb), &failed);
	s->pcb_used = zone("uvs_pcb_used", i, m->host->nb_pcbs * sizeof(uint32_t), &failed);
	return !failed && make_pool(m, i);
}

int
zones_make(struct mgr *m, char err[UVS_ERR_LEN])
{
	uint32_t slots = m->conf.slots + 1;
	bool failed = false;
	struct uvs_host *h = zone(UVS_HOST_ZONE, 0, sizeof(*h), &failed);
	void *x = zone("uvs_crossbar", 0, uvs_crossbar_size(slots), &failed);

	m->host = h;
	if (!failed) {
		uvs_crossbar_init(&h->x, slots, x);
		h->nb_slots = slots;
		h->nb_pcbs = m->conf.connections;
		h->steer = steer_size(m);
		if (getrandom(&h->steer.secret, sizeof(h->steer.secret), 0) < 0)
			failed = true;
		h->steer_memory = zone("uvs_steer", 0, uvs_steer_size(&h->steer), &failed);
		h->lease = zone("uvs_lease", 0, UVS_QUEUES_MAX * sizeof(*h->lease), &failed);
		h->slot = zone("uvs_slot", 0, slots * sizeof(*h->slot), &failed);
	}
	for (uint32_t i = 1; i < slots && !failed; i++)
		failed = !make_slot(m, i);
	if (!failed)
		return 0;
	return uvs_fail(err, -ENOMEM,
			"%u MB of huge pages are too little for %u slots of %u mbufs: raise "
			"memory_mb, or leave it at 0",
			m->memory_mb, m->conf.slots, zones_mbufs(m));
}
