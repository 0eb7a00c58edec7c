/* SPDX-License-Identifier: BSD-3-Clause */
/* Loss recovery in figures: goodput over a simulated wire, exact and repeatable. No test. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "sim.h"

static void
run(const char *name, uint32_t mbit, uint32_t delay, uint32_t queue, uint32_t loss, uint64_t bytes)
{
	double total = 0, worst = 1e9;
	const int seeds = 5;

	for (int seed = 1; seed <= seeds; seed++) {
		struct sim sim;
		struct sim_stream stream;

		sim_init(&sim, (uint64_t)seed);
		for (int i = 0; i < 2; i++) {
			sim.host[i].out.mbit = mbit;
			sim.host[i].out.delay = delay;
			sim.host[i].out.queue = queue;
			sim.host[i].out.loss = loss;
		}
		uint64_t start = sim.now;
		sim_stream_open(&stream, &sim.host[0], &sim.host[1], bytes);
		sim_run(&sim, 600 * 1000000ull, sim_stream_done, &stream);
		double rate = (double)stream.received * 8 / (double)(sim.now - start) / 1000;

		if (stream.failed || stream.wrong || stream.received != bytes)
			printf("  seed %d: %s\n", seed, stream.wrong ? "WRONG DATA" : "incomplete");
		total += rate;
		worst = rate < worst ? rate : worst;
		sim_stream_close(&stream);
		sim_exit(&sim);
	}
	printf("%-34s mean %7.3f  worst %7.3f Gbit/s\n", name, total / seeds, worst);
}

int
main(int argc, char **argv)
{
	uint64_t bytes = (argc > 1 ? strtoull(argv[1], NULL, 10) : 64) << 20;
	struct timespec a, b;

	clock_gettime(CLOCK_MONOTONIC, &a);
	run("10 Gbit/s, 0.2 ms, no loss", 10000, 100, 0, 0, bytes);
	run("10 Gbit/s, 0.2 ms, 0.01 %", 10000, 100, 0, 100, bytes);
	run("10 Gbit/s, 0.2 ms, 0.1 %", 10000, 100, 0, 1000, bytes);
	run("10 Gbit/s, 0.2 ms, 1 %", 10000, 100, 0, 10000, bytes / 8);
	run("1 Gbit/s, 5 ms, 64 packets queue", 1000, 2500, 64, 0, bytes);
	run("1 Gbit/s, 1 ms, 64 packets queue", 1000, 500, 64, 0, bytes);
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("%.1f s of real time\n",
	       (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9);
	return 0;
}
