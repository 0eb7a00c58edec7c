/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The forwarding data base: which port an address was last seen on.
 *
 * An entry is one word, so whoever dies while writing has written it or has not. Two senders that
 * learn one address at one moment can leave two entries; a lookup takes the first, and the later
 * one is removed by whoever inserts next or by age.
 */
#include "uvbridge/internal.h"

void
uvb_fdb_init(struct uvb_fdb *fdb, const struct uvb_map *map)
{
	fdb->bucket = uvb_map_fdb(map);
	fdb->mask = map->fdb_buckets - 1;
	fdb->nb_ports = map->nb_ports;
}

/* Addresses of one vendor differ in the low bits, those of test benches anywhere: mix them all. */
static struct uvb_fdb_bucket *
bucket_of(const struct uvb_fdb *fdb, uint64_t mac)
{
	uint64_t h = mac * 0x9e3779b97f4a7c15ULL;

	return &fdb->bucket[(h >> 40) & fdb->mask];
}

static int
find(const struct uvb_fdb_bucket *b, uint64_t mac, uint64_t *entry)
{
	for (int i = 0; i < UVB_FDB_WAYS; i++) {
		*entry = uvb_load(&b->entry[i]);
		if (*entry != 0 && UVB_FDB_MAC(*entry) == mac)
			return i;
	}
	return -1;
}

uint32_t
uvb_fdb_lookup(const struct uvb_fdb *fdb, uint64_t mac)
{
	uint64_t entry;

	if (find(bucket_of(fdb, mac), mac, &entry) < 0)
		return UVB_FDB_NONE;
	/* Any process could have written it. */
	return UVB_FDB_PORT(entry) < fdb->nb_ports ? UVB_FDB_PORT(entry) : UVB_FDB_NONE;
}

static void
touch(struct uvb_fdb_bucket *b, int way, uint32_t now_s)
{
	/* At most one store a second, so that the line stays shared between the senders. */
	if (atomic_load_explicit(&b->seen[way], memory_order_relaxed) != now_s)
		atomic_store_explicit(&b->seen[way], now_s, memory_order_relaxed);
}

/* The way to put a new entry in: an empty one, else the one unused for longest. */
static int
victim(const struct uvb_fdb_bucket *b, uint32_t now_s)
{
	uint32_t age, oldest = 0;
	int way = 0;

	for (int i = 0; i < UVB_FDB_WAYS; i++) {
		if (uvb_load(&b->entry[i]) == 0)
			return i;
		age = now_s - atomic_load_explicit(&b->seen[i], memory_order_relaxed);
		if (age > oldest) {
			oldest = age;
			way = i;
		}
	}
	return way;
}

static void
remove_twins(struct uvb_fdb_bucket *b, uint64_t mac)
{
	bool first = true;

	for (int i = 0; i < UVB_FDB_WAYS; i++) {
		uint64_t e = uvb_load(&b->entry[i]);

		if (e == 0 || UVB_FDB_MAC(e) != mac)
			continue;
		if (!first)
			atomic_compare_exchange_strong(&b->entry[i], &e, 0);
		first = false;
	}
}

static void
insert(struct uvb_fdb_bucket *b, uint64_t mac, uint32_t port, uint32_t now_s)
{
	int way = victim(b, now_s);
	uint64_t old = uvb_load(&b->entry[way]);

	/* Lost to another sender: the next frame learns. */
	if (!atomic_compare_exchange_strong(&b->entry[way], &old, UVB_FDB_ENTRY(mac, port)))
		return;
	atomic_store_explicit(&b->seen[way], now_s, memory_order_relaxed);
	if (old != 0)
		atomic_fetch_add_explicit(&b->evictions, 1, memory_order_relaxed);
	remove_twins(b, mac);
}

void
uvb_fdb_learn(const struct uvb_fdb *fdb, uint64_t mac, uint32_t port, uint32_t now_s)
{
	struct uvb_fdb_bucket *b = bucket_of(fdb, mac);
	uint64_t entry;
	int way = find(b, mac, &entry);

	if (way < 0) {
		insert(b, mac, port, now_s);
		return;
	}
	if (UVB_FDB_PORT(entry) != port)
		atomic_compare_exchange_strong(&b->entry[way], &entry, UVB_FDB_ENTRY(mac, port));
	touch(b, way, now_s);
}

/* Remove the entries that `gone` says. */
static uint32_t
sweep(const struct uvb_fdb *fdb, bool (*gone)(uint64_t entry, uint32_t seen, const uint32_t *arg),
      const uint32_t *arg)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i <= fdb->mask; i++) {
		struct uvb_fdb_bucket *b = &fdb->bucket[i];

		for (int w = 0; w < UVB_FDB_WAYS; w++) {
			uint64_t e = uvb_load(&b->entry[w]);

			if (e != 0 && gone(e, atomic_load(&b->seen[w]), arg))
				n += atomic_compare_exchange_strong(&b->entry[w], &e, 0);
		}
	}
	return n;
}

static bool
is_old(uint64_t entry, uint32_t seen, const uint32_t *arg)
{
	(void)entry;
	/* Signed: a sender may have looked at the clock after the daemon did. */
	return (int32_t)(arg[0] - seen) > (int32_t)arg[1];
}

uint32_t
uvb_fdb_age(const struct uvb_fdb *fdb, uint32_t now_s, uint32_t age_s)
{
	return sweep(fdb, is_old, (const uint32_t[]){now_s, age_s});
}

static bool
is_of_port(uint64_t entry, uint32_t seen, const uint32_t *arg)
{
	(void)seen;
	return UVB_FDB_PORT(entry) == arg[0];
}

uint32_t
uvb_fdb_flush(const struct uvb_fdb *fdb, uint32_t port)
{
	return sweep(fdb, is_of_port, &port);
}
