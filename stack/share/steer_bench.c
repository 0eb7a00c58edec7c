/* SPDX-License-Identifier: BSD-3-Clause
 *
 * steer_bench cost - what steering adds to receiving, by how a frame is decided; one thread, turns
 * of a burst. Everything that steering does for a burst is measured, up to the publishing of what
 * goes to others; what they do with it is not.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stack/share/bench_lane.h"
#include "stack/share/steer_bench.h"

#define SYN 2
#define ACK 16

enum {
	PORT_OWN = 80, /* held by us */
	PORT_OTHER,    /* held by one other */
	PORT_MINE,     /* held by all; the connections are ours */
	PORT_RULE,     /* held by all; the connections are others', with rules */
	PORT_LISTEN,   /* all others listen */
	PORTS_END,
};

#define MY_CONNS 1000

struct contender {
	const char *name;
	struct traffic traffic;
	bool steered;
	struct durations d;
};

static void
populate(struct host *h, uint32_t rules)
{
	host_hold(h, 1, PORT_OWN, true);
	host_hold(h, 2, PORT_OTHER, true);
	for (uint32_t slot = 1; slot <= h->lanes; slot++) {
		host_hold(h, slot, PORT_MINE, true);
		host_hold(h, slot, PORT_RULE, true);
		if (slot != 1)
			host_hold(h, slot, PORT_LISTEN, true);
	}
	for (uint32_t i = 0; i < MY_CONNS; i++) {
		struct uvs_flow f = bench_flow(PORT_MINE, i);

		host_connect(h, 1, &f);
	}
	for (uint32_t i = 0; i < rules; i++) {
		struct uvs_flow f = bench_flow(PORT_RULE, i);

		if (uvs_rules_add(&h->writer, &f, 2 + i % (h->lanes - 1)) < 0)
			abort();
	}
}

/* What went to others comes home, unmeasured. */
static void
bring_home(struct host *h)
{
	uvs_ref ref[LANE_BURST];
	uint32_t n;

	for (uint32_t slot = 2; slot <= h->lanes; slot++) {
		struct uvs_softq_end *e = &h->lane[slot].end;

		while ((n = uvs_softq_take(e, ref, LANE_BURST)) != 0)
			while (n-- > 0)
				uvs_softq_stage(e, UVS_REF_POOL(ref[n]), ref[n]);
		uvs_softq_publish(e);
	}
	while ((n = uvs_softq_take(&h->lane[1].end, ref, LANE_BURST)) != 0)
		while (n-- > 0)
			lane_home(&h->lane[1], ref[n]);
}

static void
turn(struct host *h, struct contender *c)
{
	struct lane *l = &h->lane[1];
	struct uvs_frame frame[LANE_BURST];
	uint64_t start = bench_ns();

	if (!lane_rx(h, l, &c->traffic, frame))
		abort();
	if (c->steered) {
		uvs_steer_burst(&l->steer, frame, LANE_BURST);
		uvs_softq_publish(&l->end);
	} else {
		for (uint32_t i = 0; i < LANE_BURST; i++)
			frame[i].verdict = UVS_HERE;
	}
	for (uint32_t i = 0; i < LANE_BURST; i++)
		if (frame[i].verdict == UVS_HERE)
			lane_process(l, &frame[i]);
	durations_add(&c->d, bench_ns() - start);
	for (uint32_t i = 0; i < LANE_BURST; i++)
		if (frame[i].verdict == UVS_HERE)
			lane_home(l, frame[i].ref);
	bring_home(h);
}

static void
print(const struct contender *c, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		printf("%s\"%s\": %.2f", i == 0 ? "{" : ", ", c[i].name,
		       durations_median(&c[i].d) / LANE_BURST);
	printf("}\n");
}

int
bench_cost(uint32_t processes, uint32_t rules, double seconds)
{
	static struct host h;
	static struct contender c[] = {
		{.name = "plain", .traffic = {PORT_OWN, 1, ACK, 64}},
		{.name = "own", .traffic = {PORT_OWN, 1, ACK, 64}, .steered = true},
		{.name = "to_holder", .traffic = {PORT_OTHER, 1, ACK, 64}, .steered = true},
		{.name = "own_shared", .traffic = {PORT_MINE, MY_CONNS, ACK, 64}, .steered = true},
		{.name = "to_rule", .traffic = {PORT_RULE, 1, ACK, 64}, .steered = true},
		{.name = "plain_rule", .traffic = {PORT_RULE, 1, ACK, 64}},
		{.name = "to_listener", .traffic = {PORT_LISTEN, 1, SYN, 64}, .steered = true},
	};
	uint32_t n = sizeof(c) / sizeof(c[0]), room = 64;
	uint64_t end;

	while (room < rules)
		room *= 2;
	host_open(&h, processes, room);
	populate(&h, rules);
	for (uint32_t i = 0; i < n; i++)
		if (c[i].traffic.flows == 1)
			c[i].traffic.flows = rules;
	end = bench_ns() + (uint64_t)(seconds * 1e9);
	while (bench_ns() < end)
		for (uint32_t i = 0; i < n; i++)
			turn(&h, &c[i]);
	print(c, n);
	host_close(&h);
	return 0;
}

/* ------------------------------------------------------------------------------- command line */

static void
usage(FILE *to)
{
	fputs("Usage: steer_bench cost|rate|lookup [-p PROCESSES] [-r RULES] [-s BYTES] [-t "
	      "SECONDS]\n"
	      "\n"
	      "  cost   ns of a frame, by how it is decided; plain: not steered at all\n"
	      "  rate   ns of a frame at each end, direct, forwarded and by a central forwarder\n"
	      "  lookup ns of a rule that is there, ours and rte_hash\n"
	      "\n"
	      "  -p     stacks that share the NIC: 2 to 16 (default: 2)\n"
	      "  -r     flow rules, 1 to 4000000 (default: 1000)\n"
	      "  -s     bytes of a frame, for rate (default: 64)\n"
	      "  -t     how long (default: 1)\n"
	      "\n"
	      "Prints one JSON object; ci/bench steer runs it.\n",
	      to);
}

static uint32_t
number(const char *text, uint32_t low, uint32_t high)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*end != '\0' || n < low || n > high) {
		fprintf(stderr, "steer_bench: %s: from %u to %u\n", text, low, high);
		exit(2);
	}
	return (uint32_t)n;
}

int
main(int argc, char **argv)
{
	uint32_t processes = 2, rules = 1000, bytes = 64;
	double seconds = 1;
	int c;

	while ((c = getopt(argc, argv, "p:r:s:t:h")) != -1)
		switch (c) {
		case 'p':
			processes = number(optarg, 2, LANES - 1);
			break;
		case 'r':
			rules = number(optarg, 1, 4000000);
			break;
		case 's':
			bytes = number(optarg, 64, 1514);
			break;
		case 't':
			seconds = strtod(optarg, NULL);
			break;
		default:
			usage(c == 'h' ? stdout : stderr);
			return c == 'h' ? 0 : 2;
		}
	if (optind == argc - 1 && strcmp(argv[optind], "cost") == 0)
		return bench_cost(processes, rules, seconds);
	if (optind == argc - 1 && strcmp(argv[optind], "rate") == 0)
		return bench_rate(bytes, seconds);
	if (optind == argc - 1 && strcmp(argv[optind], "lookup") == 0)
		return bench_lookup(rules, seconds);
	usage(stderr);
	return 2;
}
