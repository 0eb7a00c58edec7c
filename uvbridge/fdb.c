/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The forwarding data base: which port an address of a VLAN was last seen on.
 *
 * An entry is one word, so whoever dies while writing has written it or has not. Two senders that
 * learn one address at one moment can leave two entries; a lookup takes the first, and the later
 * one is removed by whoever inserts next or by age.
 */
#include <errno.h>

#include "uvbridge/internal.h"

#define KEY_MASK  ((1ULL << 60) - 1)
#define TAG_SHIFT 10
#define MIX       0xe3779b97f4a7c15ULL /* odd; the golden ratio in 60 bits */

_Static_assert((UVB_FDB_MIN >> (60 + TAG_SHIFT - 64)) == 1, "a tag fits beside port and flags");
_Static_assert(UVB_MAX_PORTS <= 256, "a port is 8 bits of an entry");

void
uvb_fdb_init(struct uvb_fdb *fdb, const struct uvb_map *map)
{
	fdb->bucket = uvb_map_fdb(map);
	fdb->mask = map->fdb_buckets - 1;
	fdb->nb_ports = map->nb_ports;
}

/* A permutation of the 60-bit numbers, so that bucket and tag together are the key. Addresses of
 * one vendor differ in the low bits, those of test benches anywhere: every bit reaches the bucket.
 */
static uint64_t
mix(uint64_t key)
{
	key ^= key >> 31;
	key = (key * MIX) & KEY_MASK;
	return key ^ key >> 29;
}

/* The inverse, step by step. */
static uint64_t
unmix(uint64_t key)
{
	uint64_t inverse = MIX; /* Newton: each round doubles the bits that are right, from 3 */

	for (int i = 0; i < 5; i++)
		inverse *= 2 - MIX * inverse;
	key ^= key >> 29 ^ key >> 58;
	key = (key * inverse) & KEY_MASK;
	return key ^ key >> 31;
}

/* Where a key belongs, and what its entries look like but for port and static. */
struct place {
	struct uvb_fdb_bucket *bucket;
	uint64_t tag; /* where it stands in an entry, with the valid bit */
};

#define TAG_OF(entry) ((entry) & (~0ULL << TAG_SHIFT | UVB_FDB_VALID))

static inline uint32_t
index_bits(const struct uvb_fdb *fdb)
{
	return (uint32_t)__builtin_popcount(fdb->mask);
}

static inline struct place
place_of(const struct uvb_fdb *fdb, uint64_t key)
{
	uint64_t m = mix(key);

	return (struct place){&fdb->bucket[m & fdb->mask],
			      m >> index_bits(fdb) << TAG_SHIFT | UVB_FDB_VALID};
}

static uint64_t
make_entry(struct place at, uint32_t port, uint64_t flags)
{
	return at.tag | (uint64_t)port << 2 | flags;
}

static int
find(struct place at, uint64_t *entry)
{
	for (int i = 0; i < UVB_FDB_WAYS; i++) {
		*entry = uvb_load(&at.bucket->entry[i]);
		if (TAG_OF(*entry) == at.tag)
			return i;
	}
	return -1;
}

uint32_t
uvb_fdb_lookup(const struct uvb_fdb *fdb, uint64_t key)
{
	uint64_t entry;

	if (find(place_of(fdb, key), &entry) < 0)
		return UVB_FDB_NONE;
	/* Any process could have written it. */
	return UVB_FDB_PORT(entry) < fdb->nb_ports ? UVB_FDB_PORT(entry) : UVB_FDB_NONE;
}

bool
uvb_fdb_watch(const struct uvb_fdb *fdb, uint64_t key, uint32_t port, struct uvb_fdb_watch *w)
{
	struct place at = place_of(fdb, key);
	int way = find(at, &w->word);

	if (way < 0 || UVB_FDB_PORT(w->word) != port)
		return false;
	w->entry = &at.bucket->entry[way];
	return true;
}

static void
touch(struct uvb_fdb_bucket *b, int way, uint32_t now_s)
{
	/* At most one store a second, so that the line stays shared between the senders. */
	if (atomic_load_explicit(&b->seen[way], memory_order_relaxed) != now_s)
		atomic_store_explicit(&b->seen[way], now_s, memory_order_relaxed);
}

/* How many dynamic entries of the bucket are of this port. */
static int
share(const uint64_t *entry, uint32_t port)
{
	int n = 0;

	for (int i = 0; i < UVB_FDB_WAYS; i++)
		n += !(entry[i] & UVB_FDB_STATIC) && UVB_FDB_PORT(entry[i]) == port;
	return n;
}

/* The port that has to make room in a full bucket for an address of `port`. */
static uint32_t
loser(const uint64_t *entry, uint32_t port)
{
	int most = share(entry, port) + 1; /* with what it wants to add */
	uint32_t who = port;

	if (most == 1) /* it has nothing there to give */
		most = 0;
	for (int i = 0; i < UVB_FDB_WAYS; i++) {
		int n = share(entry, UVB_FDB_PORT(entry[i]));

		if (n > most) {
			most = n;
			who = UVB_FDB_PORT(entry[i]);
		}
	}
	return who;
}

/* The oldest dynamic entry of a port; -1: there is none. */
static int
oldest(const struct uvb_fdb_bucket *b, const uint64_t *entry, uint32_t port, uint32_t now_s)
{
	int32_t age, most = INT32_MIN;
	int way = -1;

	for (int i = 0; i < UVB_FDB_WAYS; i++) {
		if ((entry[i] & UVB_FDB_STATIC) || UVB_FDB_PORT(entry[i]) != port)
			continue;
		age = (int32_t)(now_s - atomic_load_explicit(&b->seen[i], memory_order_relaxed));
		if (age > most) {
			most = age;
			way = i;
		}
	}
	return way;
}

/* The way to put a new entry of a port in, and what is there; -1: all are static. */
static int
victim(const struct uvb_fdb_bucket *b, uint32_t port, uint32_t now_s, uint64_t *old)
{
	uint64_t entry[UVB_FDB_WAYS];
	int way;

	for (int i = 0; i < UVB_FDB_WAYS; i++) {
		entry[i] = uvb_load(&b->entry[i]);
		if (entry[i] == 0) {
			*old = 0;
			return i;
		}
	}
	way = oldest(b, entry, loser(entry, port), now_s);
	if (way >= 0)
		*old = entry[way];
	return way;
}

/* Of several entries for one key keep the static one, or else the first. */
static void
remove_twins(struct place at)
{
	int keep = -1;

	for (int i = 0; i < UVB_FDB_WAYS; i++) {
		uint64_t e = uvb_load(&at.bucket->entry[i]);

		if (TAG_OF(e) == at.tag && (keep < 0 || (e & UVB_FDB_STATIC)))
			keep = i;
	}
	for (int i = 0; i < UVB_FDB_WAYS; i++) {
		uint64_t e = uvb_load(&at.bucket->entry[i]);

		if (i != keep && TAG_OF(e) == at.tag && !(e & UVB_FDB_STATIC))
			atomic_compare_exchange_strong(&at.bucket->entry[i], &e, 0);
	}
}

/* 0, -ENOSPC (all static), or -EAGAIN: lost to another sender. */
static int
insert(struct place at, uint64_t entry, uint32_t now_s)
{
	struct uvb_fdb_bucket *b = at.bucket;
	uint64_t old;
	int way = victim(b, UVB_FDB_PORT(entry), now_s, &old);

	if (way < 0)
		return -ENOSPC;
	if (!atomic_compare_exchange_strong(&b->entry[way], &old, entry))
		return -EAGAIN;
	atomic_store_explicit(&b->seen[way], now_s, memory_order_relaxed);
	if (old != 0)
		atomic_fetch_add_explicit(&b->evictions, 1, memory_order_relaxed);
	remove_twins(at);
	return 0;
}

void
uvb_fdb_learn(const struct uvb_fdb *fdb, uint64_t key, uint32_t port, uint32_t now_s)
{
	struct place at = place_of(fdb, key);
	uint64_t entry;
	int way = find(at, &entry);

	if (way < 0) {
		insert(at, make_entry(at, port, 0), now_s); /* lost: the next frame learns */
		return;
	}
	if (entry & UVB_FDB_STATIC)
		return;
	if (UVB_FDB_PORT(entry) != port)
		atomic_compare_exchange_strong(&at.bucket->entry[way], &entry,
					       make_entry(at, port, 0));
	touch(at.bucket, way, now_s);
}

void
uvb_fdb_offer(const struct uvb_fdb *fdb, uint64_t key, uint32_t port, uint32_t now_s)
{
	struct place at = place_of(fdb, key);
	uint64_t entry;

	if (find(at, &entry) < 0)
		insert(at, make_entry(at, port, 0), now_s);
}

void
uvb_fdb_keep(const struct uvb_fdb *fdb, uint64_t key, uint32_t port, uint32_t now_s)
{
	struct place at = place_of(fdb, key);
	uint64_t entry;
	int way = find(at, &entry);

	if (way >= 0 && UVB_FDB_PORT(entry) == port)
		touch(at.bucket, way, now_s);
}

bool
uvb_fdb_read(const struct uvb_fdb *fdb, uint32_t bucket, uint32_t way,
	     struct uvb_fdb_record *record)
{
	uint64_t e = uvb_load(&fdb->bucket[bucket].entry[way]), key;

	if (!(e & UVB_FDB_VALID))
		return false;
	key = unmix(((e >> TAG_SHIFT << index_bits(fdb)) | bucket) & KEY_MASK);
	record->mac = key & ((1ULL << 48) - 1);
	record->vlan = (uint16_t)(key >> 48);
	record->port = (uint8_t)UVB_FDB_PORT(e);
	record->is_static = (e & UVB_FDB_STATIC) != 0;
	return true;
}

/* ----------------------------------------------------------------------------------- the daemon */

int
uvb_fdb_set_static(const struct uvb_fdb *fdb, uint64_t key, uint32_t port)
{
	struct place at = place_of(fdb, key);
	uint64_t entry, want = make_entry(at, port, UVB_FDB_STATIC);
	int way, rc;

	do {
		way = find(at, &entry);
		if (way < 0)
			rc = insert(at, want, 0);
		else
			rc = atomic_compare_exchange_strong(&at.bucket->entry[way], &entry, want)
				     ? 0
				     : -EAGAIN;
	} while (rc == -EAGAIN);
	remove_twins(at);
	return rc;
}

bool
uvb_fdb_del(const struct uvb_fdb *fdb, uint64_t key)
{
	struct place at = place_of(fdb, key);
	uint64_t entry;
	bool found = false;
	int way;

	while ((way = find(at, &entry)) >= 0)
		found |= atomic_compare_exchange_strong(&at.bucket->entry[way], &entry, 0);
	return found;
}

/* Remove the entries that `gone` says. */
static uint32_t
sweep(const struct uvb_fdb *fdb,
      bool (*gone)(const struct uvb_fdb_record *record, uint32_t seen, const void *arg),
      const void *arg)
{
	struct uvb_fdb_record record;
	uint32_t n = 0;

	for (uint32_t i = 0; i <= fdb->mask; i++) {
		struct uvb_fdb_bucket *b = &fdb->bucket[i];

		for (uint32_t w = 0; w < UVB_FDB_WAYS; w++) {
			uint64_t e = uvb_load(&b->entry[w]);

			if (e != 0 && (!uvb_fdb_read(fdb, i, w, &record) ||
				       gone(&record, atomic_load(&b->seen[w]), arg)))
				n += atomic_compare_exchange_strong(&b->entry[w], &e, 0);
		}
	}
	return n;
}

struct age {
	uint32_t now_s, age_s;
};

static bool
is_old(const struct uvb_fdb_record *record, uint32_t seen, const void *arg)
{
	const struct age *a = arg;

	/* Signed: a sender may have looked at the clock after the daemon did. */
	return !record->is_static && (int32_t)(a->now_s - seen) > (int32_t)a->age_s;
}

uint32_t
uvb_fdb_age(const struct uvb_fdb *fdb, uint32_t now_s, uint32_t age_s)
{
	return sweep(fdb, is_old, &(struct age){now_s, age_s});
}

static bool
is_meant(const struct uvb_fdb_record *record, uint32_t seen, const void *arg)
{
	const struct uvb_fdb_flush *what = arg;

	(void)seen;
	return (what->port == UVB_FDB_ANY || record->port == what->port) &&
	       (what->vlan == UVB_FDB_ANY || record->vlan == what->vlan) &&
	       (what->is_static || !record->is_static);
}

uint32_t
uvb_fdb_flush(const struct uvb_fdb *fdb, const struct uvb_fdb_flush *what)
{
	return sweep(fdb, is_meant, what);
}
