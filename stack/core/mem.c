/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/core/mem.h"
#include "stack/core/instance.h"
#include "stack/core/log.h"
#include "stack/core/share.h"

#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_mempool.h>
#include <stdlib.h>
#include <string.h>

/* ----------------------------------------------------------------- mempool ops: an array, LIFO
 * rte_ring's modes hand out the buffer that was free longest; this hands out the one that is most
 * likely still in the cache. Measured on a pool of 8192: it decides whether packet data fits in L2.
 */

struct lifo {
	uint32_t n;
	uint32_t slot; /* whose it is; 0: this process's alone */
	void *objs[];
};

/* pool_config of a pool that is shared: which slot's. */
struct lifo_config {
	uint32_t slot;
};

static int
lifo_alloc(struct rte_mempool *mp)
{
	const struct lifo_config *config = mp->pool_config;
	size_t size = sizeof(struct lifo) + mp->size * sizeof(void *);
	struct lifo *l = config != NULL ? rte_malloc("uvs_lifo", size, 0) : malloc(size);

	if (l == NULL)
		return -ENOMEM;
	l->n = 0;
	l->slot = config != NULL ? config->slot : 0;
	mp->pool_data = l;
	return 0;
}

static void
lifo_free(struct rte_mempool *mp)
{
	struct lifo *l = mp->pool_data;

	if (l->slot != 0)
		rte_free(l);
	else
		free(l);
	mp->pool_data = NULL;
}

/* Of another slot's pool: it may only be sent home. A process that belongs to no slot, the manager,
 * stands in for those that are gone. */
static bool
is_guest(const struct lifo *l)
{
	return l->slot != 0 && uvs_self != NULL && uvs_self->share != NULL &&
	       l->slot != uvs_share_slot(uvs_self->share);
}

void (*uvs_mem_freed)(struct rte_mbuf *mbuf);

static int
lifo_enqueue(struct rte_mempool *mp, void *const *objs, unsigned int n)
{
	struct lifo *l = mp->pool_data;

	if (unlikely(is_guest(l))) {
		for (unsigned int i = 0; i < n; i++)
			uvs_share_send_home(uvs_self->share, objs[i]);
		return 0;
	}
	if (unlikely(uvs_mem_freed != NULL)) {
		for (unsigned int i = 0; i < n; i++)
			uvs_mem_freed(objs[i]);
		return 0;
	}
	memcpy(&l->objs[l->n], objs, n * sizeof(void *));
	l->n += n;
	return 0;
}

static int
lifo_dequeue(struct rte_mempool *mp, void **objs, unsigned int n)
{
	struct lifo *l = mp->pool_data;

	if (l->n < n)
		return -ENOBUFS;
	l->n -= n;
	memcpy(objs, &l->objs[l->n], n * sizeof(void *));
	return 0;
}

static unsigned int
lifo_count(const struct rte_mempool *mp)
{
	return ((const struct lifo *)mp->pool_data)->n;
}

static const struct rte_mempool_ops lifo_ops = {
	.name = "uvs_lifo",
	.alloc = lifo_alloc,
	.free = lifo_free,
	.enqueue = lifo_enqueue,
	.dequeue = lifo_dequeue,
	.get_count = lifo_count,
};

RTE_MEMPOOL_REGISTER_OPS(lifo_ops);

/* --------------------------------------------------------------------------------------- pool */

#define PRIV_SIZE RTE_ALIGN(sizeof(struct uvs_mbuf_priv), RTE_CACHE_LINE_SIZE)

static void
note_span(struct rte_mempool *mp, void *opaque, struct rte_mempool_memhdr *hdr, unsigned int idx)
{
	struct uvs_mem *m = opaque;
	uintptr_t addr = (uintptr_t)hdr->addr;

	(void)mp;
	(void)idx;
	if (m->first == 0 || addr < m->first)
		m->first = addr;
	if (addr + hdr->len > m->last)
		m->last = addr + hdr->len;
}

static void
set_marks(struct uvs_mem *m, uint32_t total, uint32_t reserve)
{
	m->total = total;
	m->reserve = reserve;
	m->low = reserve + (total - reserve) / 4;
}

/* Ethernet with two tags and its checksum. */
#define LINK_ROOM 26u

/* struct pbuf and what lwIP leaves before an IP packet fit the headroom. */
_Static_assert(sizeof(struct pbuf) + PBUF_LINK_ENCAPSULATION_HLEN + PBUF_LINK_HLEN + MEM_ALIGNMENT <
		       RTE_PKTMBUF_HEADROOM,
	       "an IP packet of the MTU, made here");

uint32_t
uvs_mem_room(uint32_t mtu)
{
	return RTE_MAX((uint32_t)UVS_MBUF_DATA_ROOM,
		       (uint32_t)RTE_ALIGN(mtu + LINK_ROOM, RTE_CACHE_LINE_SIZE));
}

static uint32_t
object_size(uint32_t mtu)
{
	return (uint32_t)(sizeof(struct rte_mbuf) + PRIV_SIZE) + RTE_PKTMBUF_HEADROOM +
	       uvs_mem_room(mtu);
}

size_t
uvs_mem_bytes(uint32_t mbufs, uint32_t mtu)
{
	/* A fiftieth for what is left over at the ends of pages. */
	return (size_t)mbufs * rte_mempool_calc_obj_size(object_size(mtu), 0, NULL) / 50 * 51;
}

/* Without huge pages no device reads physical memory, and a buffer may lie across pages: else each
 * would take one to itself. */
static unsigned int
pool_flags(void)
{
	return rte_eal_has_hugepages() ? 0 : RTE_MEMPOOL_F_NO_IOVA_CONTIG;
}

/* Its objects are still to be made. config NULL: this process's alone. NULL, rte_errno. */
static struct rte_mempool *
make_pool(const char *name, uint32_t mbufs, uint32_t mtu, struct lifo_config *config)
{
	struct rte_pktmbuf_pool_private room = {
		.mbuf_data_room_size = (uint16_t)(RTE_PKTMBUF_HEADROOM + uvs_mem_room(mtu)),
		.mbuf_priv_size = PRIV_SIZE,
	};
	struct rte_mempool *mp = rte_mempool_create_empty(
		name, mbufs, object_size(mtu), 0, sizeof(room), SOCKET_ID_ANY, pool_flags());
	int r;

	if (mp == NULL)
		return NULL;
	r = rte_mempool_set_ops_byname(mp, lifo_ops.name, config);
	if (r == 0) {
		rte_pktmbuf_pool_init(mp, &room);
		r = rte_mempool_populate_default(mp);
	}
	mp->pool_config = NULL; /* was for the array's making only */
	if (r >= 0)
		return mp;
	rte_mempool_free(mp);
	rte_errno = -r;
	return NULL;
}

int
uvs_mem_init(struct uvs_mem *m, const char *name, uint32_t mbufs, uint32_t mtu, uint32_t reserve)
{
	m->data_room = RTE_PKTMBUF_HEADROOM + uvs_mem_room(mtu);
	m->pool = make_pool(name, mbufs, mtu, NULL);
	if (m->pool == NULL)
		return -rte_errno;
	rte_mempool_obj_iter(m->pool, rte_pktmbuf_init, NULL);
	rte_mempool_mem_iter(m->pool, note_span, m);
	set_marks(m, mbufs, reserve);
	return 0;
}

void
uvs_mem_fini(struct uvs_mem *m)
{
	if (!m->joined)
		rte_mempool_free(m->pool);
	memset(m, 0, sizeof(*m));
}

/* ------------------------------------------------------------------------------ pools of slots */

/* A buffer as new, at home; its name never changes. */
static void
make_buffer(struct rte_mempool *mp, void *slot, void *obj, unsigned int i)
{
	struct uvs_mbuf_priv *priv;

	rte_pktmbuf_init(mp, NULL, obj, i);
	priv = uvs_mbuf_priv(obj);
	memset(priv, 0, sizeof(*priv));
	priv->label.ref = UVS_REF(*(uint32_t *)slot, i);
}

struct rte_mempool *
uvs_mem_make(const char *name, uint32_t mbufs, uint32_t mtu, uint32_t slot)
{
	struct lifo_config config = {.slot = slot};
	struct rte_mempool *mp = make_pool(name, mbufs, mtu, &config);

	if (mp != NULL)
		rte_mempool_obj_iter(mp, make_buffer, &slot);
	return mp;
}

static void
refill_one(struct rte_mempool *mp, void *opaque, void *obj, unsigned int i)
{
	struct lifo *l = mp->pool_data;

	(void)opaque;
	if (atomic_load_explicit(&uvs_mbuf_priv(obj)->label.owner, memory_order_acquire) !=
	    UVS_OWNER_HOME)
		return;
	make_buffer(mp, &l->slot, obj, i);
	l->objs[l->n++] = obj;
}

uint32_t
uvs_mem_refill(struct rte_mempool *pool)
{
	struct lifo *l = pool->pool_data;

	l->n = 0;
	rte_mempool_obj_iter(pool, refill_one, NULL);
	return l->n;
}

/* Which operations a number means is each process's own idea. */
static bool
ops_are_ours(const struct rte_mempool *pool)
{
	return pool->ops_index >= 0 && (uint32_t)pool->ops_index < rte_mempool_ops_table.num_ops &&
	       strcmp(rte_mempool_get_ops(pool->ops_index)->name, lifo_ops.name) == 0;
}

int
uvs_mem_join(struct uvs_mem *m, struct rte_mempool *pool, uint32_t reserve)
{
	if (!ops_are_ours(pool)) {
		uvs_log(UVS_LOG_ERROR,
			"the pools' operations have number %d in the manager and another one here: "
			"this program brings mempool drivers of its own along, and cannot share "
			"the NIC",
			pool->ops_index);
		return -EPROTO;
	}
	m->data_room = rte_pktmbuf_data_room_size(pool);
	m->pool = pool;
	m->joined = true;
	rte_mempool_mem_iter(pool, note_span, m);
	set_marks(m, pool->size, reserve);
	return 0;
}

uint32_t
uvs_mem_avail(const struct uvs_mem *m)
{
	return lifo_count(m->pool);
}

/* ------------------------------------------------------------------------------------- lookup */

static bool
in_pool(const struct uvs_mem *m, const void *p)
{
	return (uintptr_t)p - m->first < m->last - m->first;
}

static struct uvs_mbuf_priv *
priv_of(struct rte_mbuf *mbuf)
{
	return rte_mbuf_to_priv(mbuf);
}

/* A PBUF_RAM pbuf lies at buf_addr, which is a fixed distance behind the mbuf. */
static struct rte_mbuf *
mbuf_at(const struct uvs_mem *m, const void *buf_addr)
{
	return (struct rte_mbuf *)((uintptr_t)buf_addr - sizeof(struct rte_mbuf) -
				   rte_pktmbuf_priv_size(m->pool));
}

static bool
is_custom(const struct pbuf *p)
{
	return (p->flags & PBUF_FLAG_IS_CUSTOM) != 0;
}

static struct rte_mbuf *
mbuf_of_custom(const struct pbuf *p)
{
	return (struct rte_mbuf *)((uintptr_t)p - offsetof(struct uvs_mbuf_priv, custom) -
				   sizeof(struct rte_mbuf));
}

struct rte_mbuf *
uvs_pbuf_mbuf(const struct uvs_mem *m, const struct pbuf *p)
{
	if (!in_pool(m, p))
		return NULL;
	return is_custom(p) ? mbuf_of_custom(p) : mbuf_at(m, p);
}

struct uvs_packet_note *
uvs_pbuf_note(const struct uvs_mem *m, struct pbuf *p)
{
	if (is_custom(p))
		return &container_of(p, struct uvs_mbuf_priv, custom.pbuf)->note;
	if (in_pool(m, p))
		return &priv_of(mbuf_at(m, p))->note;
	return &((struct uvs_big *)(void *)p - 1)->note;
}

/* ------------------------------------------------------------------------------------ receive */

static void
custom_free(struct pbuf *p)
{
	rte_pktmbuf_free_seg(mbuf_of_custom(p));
}

static struct pbuf *
wrap_segment(struct rte_mbuf *seg)
{
	struct pbuf_custom *c = &priv_of(seg)->custom;

	seg->next = NULL;
	seg->nb_segs = 1;
	c->custom_free_function = custom_free;
	return pbuf_alloced_custom(PBUF_RAW, seg->data_len, PBUF_REF, c,
				   rte_pktmbuf_mtod(seg, void *), seg->data_len);
}

/* As pbuf_cat() of each, without looking for the end each time. */
struct pbuf *
uvs_pbuf_wrap(struct rte_mbuf *mbuf)
{
	uint16_t left = (uint16_t)mbuf->pkt_len;
	struct rte_mbuf *next = mbuf->next;
	struct pbuf *head = wrap_segment(mbuf), *last = head;

	for (; next != NULL; mbuf = next) {
		mbuf = next;
		next = mbuf->next;
		last->tot_len = left;
		left = (uint16_t)(left - last->len);
		last->next = wrap_segment(mbuf);
		last = last->next;
	}
	return head;
}

/* Ethernet, IPv6, TCP with its options. */
#define MOST_HEADERS (14 + 40 + 60)

bool
uvs_pbuf_adopt(const struct uvs_mem *m, struct pbuf *p)
{
	struct rte_mbuf *mbuf = is_custom(p) ? uvs_pbuf_mbuf(m, p) : NULL;

	if (mbuf == NULL || p->next != NULL || p->ref != 1 || rte_mbuf_refcnt_read(mbuf) != 1 ||
	    uvs_mem_avail(m) <= m->low ||
	    (char *)p->payload - (char *)mbuf->buf_addr < MOST_HEADERS)
		return false;
	p->type_internal |= PBUF_TYPE_FLAG_STRUCT_DATA_CONTIGUOUS;
	return true;
}

bool
uvs_pbuf_adopted(const struct pbuf *p)
{
	return is_custom(p) && (p->type_internal & PBUF_TYPE_FLAG_STRUCT_DATA_CONTIGUOUS) != 0;
}

/* Also of a neighbour's mbuf, which net_ring hands over as it is. */
static const struct rte_mbuf *
any_mbuf(const struct uvs_mem *m, const struct pbuf *p)
{
	if (!is_custom(p))
		return in_pool(m, p) ? mbuf_at(m, p) : NULL;
	if (((const struct pbuf_custom *)p)->custom_free_function != custom_free)
		return NULL;
	return mbuf_of_custom(p);
}

uint32_t
uvs_pbuf_tailroom(const struct uvs_mem *m, const struct pbuf *p)
{
	const struct rte_mbuf *mbuf = any_mbuf(m, p);

	if (mbuf == NULL || rte_mbuf_refcnt_read(mbuf) != 1)
		return 0;
	return (uint32_t)((char *)mbuf->buf_addr + mbuf->buf_len - ((char *)p->payload + p->len));
}

/* What was received and lies in plain memory now. */
struct unpinned {
	struct uvs_mbuf_priv priv;
	size_t size;
};

static void
heap_free(struct pbuf *p)
{
	struct unpinned *block = container_of(p, struct unpinned, priv.custom.pbuf);

	uvs_self->mem.heap_bytes -= block->size;
	free(block);
}

/* For what is made here. */
static bool
depot_has(const struct uvs_mem *m, size_t size)
{
	return m->heap_bytes + size <= m->depot;
}

/* For what was received: a quarter stays for answers. */
static bool
depot_keeps(const struct uvs_mem *m, size_t size)
{
	return m->heap_bytes + size <= m->depot / 4 * 3;
}

bool
uvs_mem_tight(const struct uvs_mem *m)
{
	return m->heap_bytes > m->depot / 2 && uvs_mem_avail(m) <= m->low;
}

bool
uvs_mem_full(const struct uvs_mem *m)
{
	return uvs_mem_pins(m, UVS_MBUF_DATA_ROOM);
}

bool
uvs_mem_pins(const struct uvs_mem *m, size_t bytes)
{
	return uvs_mem_avail(m) <= m->reserve && !depot_keeps(m, bytes);
}

bool
uvs_mem_relaxed(const struct uvs_mem *m)
{
	return uvs_mem_avail(m) >= m->reserve + m->reserve / 4 ||
	       (m->depot != 0 && m->heap_bytes < m->depot / 4);
}

struct pbuf *
uvs_pbuf_unpin(struct uvs_mem *m, struct pbuf *p)
{
	size_t size = sizeof(struct unpinned) + p->tot_len;
	struct unpinned *block;
	struct pbuf *copy;

	if (likely(uvs_mem_avail(m) > m->low))
		return p;
	block = depot_keeps(m, size) ? malloc(size) : NULL;
	if (block == NULL) {
		m->seen->mem.depot_full++;
		return p;
	}
	block->size = size;
	m->heap_bytes += size;
	block->priv.custom.custom_free_function = heap_free;
	block->priv.note = *uvs_pbuf_note(m, p);
	copy = pbuf_alloced_custom(PBUF_RAW, p->tot_len, PBUF_REF, &block->priv.custom, block + 1,
				   p->tot_len);
	pbuf_copy_partial(p, copy->payload, p->tot_len, 0);
	pbuf_free(p);
	m->seen->mem.unpinned++;
	return copy;
}

/* ------------------------------------------------------------------- lwIP's hooks for PBUF_RAM */

static void *
big_alloc(struct uvs_mem *m, size_t size)
{
	struct uvs_big *b = malloc(sizeof(*b) + size);

	if (b == NULL)
		return NULL;
	b->size = size;
	m->seen->mem.big_allocs++;
	m->heap_bytes += size;
	return b + 1;
}

static void
big_free(struct uvs_mem *m, void *mem)
{
	struct uvs_big *b = (struct uvs_big *)mem - 1;

	m->heap_bytes -= b->size;
	free(b);
}

/* Acknowledgements, resets, ARP: without them nobody's memory would ever come back. */
#define CONTROL_FRAME 256

void *
uvl_pbuf_malloc(size_t size)
{
	struct uvs_mem *m = &uvs_self->mem;
	bool control = size <= CONTROL_FRAME;
	uint32_t avail = uvs_mem_avail(m);
	struct rte_mbuf *mbuf;

	if (size > m->data_room)
		return big_alloc(m, size);
	if (unlikely(avail <= m->low) && !control && depot_has(m, size)) {
		m->seen->mem.depot_allocs++;
		return big_alloc(m, size);
	}
	if (avail <= (control ? m->reserve / 2 : m->reserve) ||
	    (mbuf = rte_mbuf_raw_alloc(m->pool)) == NULL) {
		m->seen->mem.alloc_failed++;
		return NULL;
	}
	/* Complete enough to be transmitted or freed; port.c sets data_off and the lengths. */
	rte_pktmbuf_reset(mbuf);
	return mbuf->buf_addr;
}

void
uvl_pbuf_free(void *mem)
{
	struct uvs_mem *m = &uvs_self->mem;

	if (in_pool(m, mem))
		rte_pktmbuf_free_seg(mbuf_at(m, mem));
	else
		big_free(m, mem);
}

void *
uvl_pbuf_trim(void *mem, size_t size)
{
	(void)size; /* the data room stays whole */
	return mem;
}

/* ------------------------------------------------------------------- lwIP's hooks for the rest */

void *
uvl_tcp_pcb_malloc(size_t size)
{
	struct uvs_share *share = uvs_self->share;

	return unlikely(share != NULL) ? uvs_share_pcb(share, size) : malloc(size);
}

void
uvl_tcp_pcb_free(void *mem)
{
	struct uvs_share *share = uvs_self->share;
	const struct tcp_pcb *pcb = mem;

	if (pcb->state != CLOSED)
		uvl_on_tcp_state(pcb, CLOSED);
	if (unlikely(share != NULL))
		uvs_share_pcb_free(share, mem);
	else
		free(mem);
}

void *
uvl_malloc(size_t size)
{
	return malloc(size);
}

void *
uvl_calloc(size_t count, size_t size)
{
	return calloc(count, size);
}

void
uvl_free(void *mem)
{
	free(mem);
}
