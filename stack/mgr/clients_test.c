/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Plays of chance (clients_play.h). Usage: clients_test [--seed N] [--rounds N]
 */
#include "stack/mgr/clients_play.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state;

static uint32_t
below(uint32_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 32) % n;
}

int
main(int argc, char **argv)
{
	uint64_t seed = 1, rounds = 5000;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--seed") == 0)
			seed = strtoull(argv[i + 1], NULL, 0);
		else if (strcmp(argv[i], "--rounds") == 0)
			rounds = strtoull(argv[i + 1], NULL, 0);
	}
	printf("clients_test --seed %llu\n", (unsigned long long)seed);
	for (uint64_t round = 0; round < rounds; round++) {
		state = (seed + round) * 0x9e3779b97f4a7c15ULL | 1;
		clients_play(below);
	}
	return clients_played() > rounds / 10 ? 0 : 1; /* it did get somewhere */
}
