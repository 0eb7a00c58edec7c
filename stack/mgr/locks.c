/* SPDX-License-Identifier: BSD-3-Clause
 *
 * EAL's locks, and how they are freed of the dead.
 *
 * While a process attaches it takes locks in the memory that all processes share: of the list of
 * zones, of the tail queues, of the memory map, of ethdev's table. If it is killed holding one,
 * nobody could attach any more. One process attaches at a time, nobody else takes any of them for
 * longer than an instant, and this is told of every death: so a lock that is still held after the
 * death of who was attaching is the dead's, and is freed.
 *
 * Which words are locks is found out, not known: each is taken once at the start, before anybody
 * comes, and the word that changes meanwhile is it. */
#include "stack/core/log.h"
#include "stack/mgr/mgr.h"

#include <rte_eal_memconfig.h>
#include <rte_memzone.h>
#include <rte_spinlock.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOCKS_MAX 8
#define PATIENCE  1000 /* times 10 us */

static struct {
	uint32_t *start; /* EAL's configuration in shared memory */
	size_t words;
	uint32_t *before; /* a copy, with all locks free */
	uint32_t *lock[LOCKS_MAX];
	uint32_t n;
} eal;

static bool
find_config(const struct mgr *m)
{
	char file[PATH_MAX], line[PATH_MAX + 256];
	unsigned long from, to;
	FILE *f = fopen("/proc/self/maps", "re");

	snprintf(file, sizeof(file), "%s/dpdk/%s/config\n", m->runtime, m->prefix);
	while (f != NULL && eal.start == NULL && fgets(line, sizeof(line), f) != NULL)
		if (strstr(line, file) != NULL && sscanf(line, "%lx-%lx", &from, &to) == 2) {
			eal.start = (void *)from;
			eal.words = (to - from) / sizeof(*eal.start);
		}
	if (f != NULL)
		fclose(f);
	return eal.start != NULL;
}

/* The lock is held: the words that are not as before are it. */
static void
note_held(void)
{
	for (size_t i = 0; i < eal.words && eal.n < LOCKS_MAX; i++)
		if (__atomic_load_n(&eal.start[i], __ATOMIC_RELAXED) != eal.before[i])
			eal.lock[eal.n++] = &eal.start[i];
}

/* The list of zones is locked while it is walked. */
static void
in_walk(const struct rte_memzone *zone, void *arg)
{
	bool *done = arg;

	(void)zone;
	if (!*done)
		note_held();
	*done = true;
}

static void
note_all(void)
{
	bool done = false;

	rte_mcfg_mem_write_lock();
	note_held();
	rte_mcfg_mem_write_unlock();
	rte_mcfg_tailq_write_lock();
	note_held();
	rte_mcfg_tailq_write_unlock();
	rte_mcfg_mempool_write_lock();
	note_held();
	rte_mcfg_mempool_write_unlock();
	rte_mcfg_timer_lock();
	note_held();
	rte_mcfg_timer_unlock();
	rte_memzone_walk(in_walk, &done);
}

/* ethdev's is the second 64-bit word of its zone, behind the next owner's number. */
static void
note_ethdev(void)
{
	const struct rte_memzone *z = rte_memzone_lookup("rte_eth_dev_data");

	if (z != NULL && eal.n < LOCKS_MAX)
		eal.lock[eal.n++] = (uint32_t *)z->addr + 2;
}

uint32_t
locks_find(struct mgr *m)
{
	if (!find_config(m))
		return 0;
	eal.before = malloc(eal.words * sizeof(*eal.before));
	if (eal.before == NULL)
		return 0;
	memcpy(eal.before, eal.start, eal.words * sizeof(*eal.before));
	note_all();
	note_ethdev();
	free(eal.before);
	return eal.n;
}

/* EAL's own thread may be holding it, for an instant. */
static bool
stays_held(const uint32_t *lock)
{
	for (int i = 0; i < PATIENCE; i++) {
		if (__atomic_load_n(lock, __ATOMIC_ACQUIRE) == 0)
			return false;
		usleep(10);
	}
	return true;
}

uint32_t
locks_free(void)
{
	uint32_t freed = 0;

	for (uint32_t i = 0; i < eal.n; i++)
		if (stays_held(eal.lock[i])) {
			__atomic_store_n(eal.lock[i], 0, __ATOMIC_RELEASE);
			freed++;
		}
	if (freed != 0)
		uvs_log(UVS_LOG_NOTICE, "%u locks of DPDK's were held by a process that is gone",
			freed);
	return freed;
}
