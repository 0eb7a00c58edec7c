/* SPDX-License-Identifier: BSD-3-Clause
 *
 * steer_bench lookup - our table of flow rules beside rte_hash with lock-free readers: ns of a rule
 * that is there, bursts of 32, the flows at random.
 */
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_hash.h>
#include <rte_jhash.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stack/share/bench_lane.h"
#include "stack/share/steer_bench.h"

#define SECRET 0x5eedULL

struct key {
	uint32_t local, remote;
	uint16_t lport, rport;
	uint32_t proto;
};

struct tables {
	struct rte_hash *hash;
	struct uvs_rules rules;
	struct uvs_rules_writer writer;
	struct uvs_claims *claims;
	uint32_t n;
	uint64_t sum;
};

static struct key
key_of(const struct uvs_flow *f)
{
	return (struct key){f->local[0], f->remote[0], f->lport, f->rport, f->proto};
}

static void
open_ours(struct tables *t, uint32_t room)
{
	size_t size = (uvs_rules_size(room, 2) + 63) / 64 * 64;
	void *at = aligned_alloc(2u << 20, (size + (2u << 20) - 1) & ~(size_t)((2u << 20) - 1));

	if (at == NULL || (t->claims = calloc(1, sizeof(*t->claims))) == NULL)
		abort();
	memset(at, 0, size);
	uvs_rules_map(&t->rules, room, 2, SECRET, at);
	if (uvs_rules_adopt(&t->writer, &t->rules, t->claims) < 0)
		abort();
}

static void
open_theirs(struct tables *t, uint32_t room)
{
	char name[] = "steer_bench", no_huge[] = "--no-huge", quiet[] = "--log-level=error";
	char no_pci[] = "--no-pci", no_conf[] = "--no-shconf", m[] = "-m", mb[] = "256";
	char no_telemetry[] = "--no-telemetry";
	char *argv[] = {name, no_huge, quiet, no_pci, no_conf, no_telemetry, m, mb, NULL};
	struct rte_hash_parameters p = {
		.name = "rules",
		.entries = room,
		.key_len = sizeof(struct key),
		.hash_func = rte_jhash,
		.extra_flag = RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF,
	};

	if (rte_eal_init((int)(sizeof(argv) / sizeof(argv[0])) - 1, argv) < 0 ||
	    (t->hash = rte_hash_create(&p)) == NULL) {
		fprintf(stderr, "steer_bench: rte_hash: %s\n", rte_strerror(rte_errno));
		exit(1);
	}
}

static void
fill(struct tables *t)
{
	for (uint32_t i = 0; i < t->n; i++) {
		struct uvs_flow f = bench_flow(80, i);
		struct key k = key_of(&f);

		if (uvs_rules_add(&t->writer, &f, 1) < 0 ||
		    rte_hash_add_key_data(t->hash, &k, (void *)1) < 0) {
			fprintf(stderr, "steer_bench: no room for rule %u of %u\n", i, t->n);
			exit(1);
		}
	}
}

static void
ours(struct tables *t, const struct uvs_flow *f)
{
	uint64_t hash[LANE_BURST];

	for (uint32_t i = 0; i < LANE_BURST; i++) {
		hash[i] = uvs_flow_hash(&f[i], SECRET);
		uvs_rules_prefetch(&t->rules, hash[i]);
	}
	for (uint32_t i = 0; i < LANE_BURST; i++)
		t->sum += uvs_rules_find(&t->rules, hash[i]);
}

static void
theirs(struct tables *t, const struct uvs_flow *f)
{
	hash_sig_t sig[LANE_BURST];
	struct key key[LANE_BURST];
	const void *keys[LANE_BURST];
	void *data[LANE_BURST];
	uint64_t hits;

	for (uint32_t i = 0; i < LANE_BURST; i++) {
		key[i] = key_of(&f[i]);
		keys[i] = &key[i];
		sig[i] = rte_jhash(keys[i], sizeof(key[i]), 0);
	}
	rte_hash_lookup_with_hash_bulk_data(t->hash, keys, sig, LANE_BURST, &hits, data);
	t->sum += (uint64_t)__builtin_popcountll(hits);
}

static void
measure(struct tables *t, void (*look)(struct tables *, const struct uvs_flow *), uint64_t *seed,
	struct durations *d)
{
	struct uvs_flow f[LANE_BURST];
	uint64_t start, before = t->sum;

	for (uint32_t i = 0; i < LANE_BURST; i++) {
		*seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
		f[i] = bench_flow(80, (uint32_t)((*seed >> 32) * t->n >> 32));
	}
	start = bench_ns();
	look(t, f);
	durations_add(d, bench_ns() - start);
	if (t->sum != before + LANE_BURST) {
		fprintf(stderr, "steer_bench: a rule was not found\n");
		exit(1);
	}
}

int
bench_lookup(uint32_t rules, double seconds)
{
	static struct durations d[2];
	struct tables t = {.n = rules};
	uint32_t room = 64;
	uint64_t end, seed = 1;

	while (room < rules)
		room *= 2;
	bench_calibrate();
	open_ours(&t, room);
	open_theirs(&t, room + room / 4);
	fill(&t);
	end = bench_ns() + (uint64_t)(seconds * 1e9);
	while (bench_ns() < end) {
		measure(&t, ours, &seed, &d[0]);
		measure(&t, theirs, &seed, &d[1]);
	}
	printf("{\"uvnet\": %.2f, \"rte_hash\": %.2f}\n", durations_median(&d[0]) / LANE_BURST,
	       durations_median(&d[1]) / LANE_BURST);
	rte_hash_free(t.hash);
	uvs_rules_close(&t.writer);
	return 0;
}
