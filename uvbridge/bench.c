/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge_bench - frames per second between two processes over a fabric that is up.
 *
 * The receiver copies every frame out, as a driver does. Each process runs on a core of its own.
 */
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "uvbridge/internal.h"

#define BURST_MAX 256
#define SPACE     2176  /* bytes from one buffer to the next: no power of two, see UVB_CELL_SIZE */
#define HISTOGRAM 65536 /* ns */
#define RING      1024  /* source frames, so that they come from the cache as mbufs do */

struct result {
	_Atomic bool go, stop;
	_Atomic uint64_t sent, received, bytes;
	_Atomic uint32_t ready;
	uint64_t ns;
	double tx_ns, rx_ns;                               /* of a frame, median over the bursts */
	alignas(UVB_CACHE_LINE) _Atomic uint64_t progress; /* of the receiver */
};

struct options {
	const char *fabric;
	uint32_t size, burst, window, ports, senders, rules;
	double seconds;
	bool alone;
};

static void
pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % (int)sysconf(_SC_NPROCESSORS_ONLN), &set);
	sched_setaffinity(0, sizeof(set), &set);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Durations of bursts, in ns of a full burst. The median is what a frame costs even on a machine
 * where others take the processor away in between. */
struct durations {
	uint32_t count[HISTOGRAM];
	uint64_t n;
};

static void
add_duration(struct durations *d, uint64_t ns)
{
	d->count[ns < HISTOGRAM ? ns : HISTOGRAM - 1]++;
	d->n++;
}

static double
median(const struct durations *d)
{
	uint64_t below = 0;

	for (uint32_t i = 0; i < HISTOGRAM; i++) {
		below += d->count[i];
		if (below * 2 > d->n)
			return i;
	}
	return 0;
}

static struct uvb_dev *
attach(const struct options *o, const char *name, uint8_t last)
{
	struct uvb_attach req = {.fabric = o->fabric,
				 .name = name,
				 .mac = {2, 0, 0, 0, 0, last},
				 .nb_rxq = 1,
				 .nb_txq = 1,
				 .kind = UVB_KIND_WIRE};
	char err[UVB_ERR_LEN];
	struct uvb_conf conf;
	struct uvb_dev *dev;

	if (uvb_open(&req, &dev, err) != 0) {
		fprintf(stderr, "uvbridge_bench: %s\n", err);
		exit(1);
	}
	uvb_conf_default(dev, &conf);
	conf.flags = UVB_CONF_STARTED;
	conf.mtu = 9216;
	uvb_conf_set(dev, &conf, NULL);
	return dev;
}

/* UDP over IPv4, so that RSS has its work. */
static void
fill_frame(uint8_t *p, uint32_t size, uint32_t flow)
{
	static const uint8_t head[24] = {2, 0, 0,    0, 0, 2, 2, 0, 0,    0, 0,  1,
					 8, 0, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17};

	memset(p, 0x5a, size);
	memcpy(p, head, sizeof(head));
	memcpy(p + 34, &flow, sizeof(flow));
}

/* A flow rule for each of so many flows, by addresses and ports. */
static void
add_rules(const struct options *o, struct uvb_dev *dev)
{
	struct uvb_rule r = {.fate = UVB_FATE_QUEUE,
			     .nb_queue = 1,
			     .layers = UVB_LAYER_IPV4 | UVB_LAYER_UDP,
			     .layers_mask = UVB_LAYER_IPV4 | UVB_LAYER_UDP,
			     .nb_field = 2,
			     .field = {{UVB_AT_L3, UVB_EQUAL, 12, 0, 8, {0}},
				       {UVB_AT_L4, UVB_EQUAL, 0, 8, 4, {0}}}};
	char err[UVB_ERR_LEN];
	struct uvb_conf conf;

	memset(r.value, 0x5a, 8);
	memset(r.mask, 0xff, 12);
	for (uint32_t i = 0; i < o->rules; i++) {
		r.serial = i + 1;
		memcpy(r.value + 8, &i, sizeof(i));
		if (uvb_rule_set(dev, (uint16_t)i, &r, err) != 0) {
			fprintf(stderr, "uvbridge_bench: %s\n", err);
			exit(1);
		}
	}
	uvb_conf_get(dev, &conf);
	conf.flags |= o->rules != 0 ? UVB_CONF_RULES : 0;
	uvb_conf_set(dev, &conf, NULL);
}

/* Other flows for the next burst: each rule in its turn. */
static void
next_flows(const struct options *o, uint8_t *mem, uint32_t *flow)
{
	for (uint32_t i = 0; i < o->burst && o->rules != 0; i++, (*flow)++) {
		uint32_t number = *flow % o->rules;

		memcpy(mem + SPACE * (size_t)i + 34, &number, sizeof(number));
	}
}

/* From the receiver, to be known to the switch. */
static void
make_hello(uint8_t src[60])
{
	fill_frame(src, 60, 0);
	src[5] = 1;
	src[11] = 2;
}

static void
transmit(const struct options *o, struct result *r)
{
	static struct uvb_frame frame[RING + BURST_MAX];
	static struct uvb_seg seg[RING + BURST_MAX];
	struct uvb_dev *dev = attach(o, "bench-tx", 1);
	uint8_t *mem = calloc(RING + BURST_MAX, SPACE);
	static struct durations d;
	uint64_t sent = 0, waits = 0, start;

	for (uint32_t i = 0; mem != NULL && i < RING + BURST_MAX; i++) {
		fill_frame(mem + SPACE * (size_t)i, o->size, i);
		seg[i] = (struct uvb_seg){mem + SPACE * (size_t)i, o->size};
		frame[i] = (struct uvb_frame){&seg[i], 1, 0, o->size};
	}
	atomic_fetch_add(&r->ready, 1);
	while (!atomic_load(&r->go))
		sched_yield();
	while (!atomic_load_explicit(&r->stop, memory_order_relaxed)) {
		/* No more than can wait: this measures what a frame costs, not how fast one can
		 * drop. */
		if (sent - atomic_load_explicit(&r->progress, memory_order_relaxed) > o->window) {
			waits++;
			if (waits % 64 == 0)
				sched_yield();
			continue;
		}
		start = uvb_now_ns();
		sent += uvb_tx_burst(uvb_txq(dev, 0), &frame[sent % RING], (uint16_t)o->burst);
		add_duration(&d, uvb_now_ns() - start);
	}
	r->tx_ns = median(&d) / o->burst;
	atomic_store(&r->sent, sent);
	uvb_close(dev);
	_exit(0);
}

static void
receive(const struct options *o, struct result *r)
{
	static struct uvb_rx_frame f[BURST_MAX];
	struct uvb_dev *dev = attach(o, "bench-rx", 2);
	struct uvb_rxq *q = uvb_rxq(dev, 0);
	uint8_t *mem = calloc(RING, SPACE), src[60];
	struct uvb_seg seg = {src, sizeof(src)};
	struct uvb_frame hello = {&seg, 1, 0, sizeof(src)};
	static struct durations d;
	uint64_t n = 0, bytes = 0, empty = 0, start, begin;

	make_hello(src);
	uvb_tx_burst(uvb_txq(dev, 0), &hello, 1);
	atomic_fetch_add(&r->ready, 1);
	while (!atomic_load(&r->go))
		sched_yield();
	start = uvb_now_ns();
	while (!atomic_load_explicit(&r->stop, memory_order_relaxed)) {
		uint16_t got;

		begin = uvb_now_ns();
		got = uvb_rx_peek(q, f, (uint16_t)o->burst);

		for (uint16_t i = 0; i < got; i++) {
			memcpy(mem + SPACE * ((n + i) % RING), f[i].data, f[i].len);
			bytes += f[i].len;
		}
		uvb_rx_done(q, 0);
		if (got == o->burst)
			add_duration(&d, uvb_now_ns() - begin);
		n += got;
		empty = got == 0 ? empty + 1 : 0;
		if (got != 0)
			atomic_store_explicit(&r->progress, n, memory_order_relaxed);
		if (empty % 64 == 63)
			sched_yield(); /* on a busy machine the sender may be waiting for this core
					*/
	}
	r->ns = uvb_now_ns() - start;
	r->rx_ns = median(&d) / o->burst;
	atomic_store(&r->received, n);
	atomic_store(&r->bytes, bytes);
	uvb_close(dev);
	_exit(0);
}

/* Both ends by one thread, in turn: instructions without the journeys of cache lines. */
static void
run_alone(const struct options *o)
{
	static struct uvb_frame frame[BURST_MAX];
	static struct uvb_rx_frame f[BURST_MAX];
	static struct durations tx, rx;
	struct uvb_dev *a = attach(o, "bench-tx", 1), *b = attach(o, "bench-rx", 2);
	uint8_t *mem = calloc(2 * BURST_MAX, SPACE);
	uint8_t src[60];
	struct uvb_seg seg[BURST_MAX], hello_seg = {src, sizeof(src)};
	struct uvb_frame hello = {&hello_seg, 1, 0, sizeof(src)};
	uint64_t t[3], end = uvb_now_ns() + (uint64_t)(o->seconds * 1e9);
	uint32_t flow = 0;

	for (uint32_t i = 0; mem != NULL && i < BURST_MAX; i++) {
		fill_frame(mem + SPACE * (size_t)i, o->size, i);
		seg[i] = (struct uvb_seg){mem + SPACE * (size_t)i, o->size};
		frame[i] = (struct uvb_frame){&seg[i], 1, 0, o->size};
	}
	make_hello(src);
	uvb_tx_burst(uvb_txq(b, 0), &hello, 1);
	add_rules(o, b);
	do {
		next_flows(o, mem, &flow);
		t[0] = uvb_now_ns();
		uvb_tx_burst(uvb_txq(a, 0), frame, (uint16_t)o->burst);
		t[1] = uvb_now_ns();
		for (uint16_t i = uvb_rx_peek(uvb_rxq(b, 0), f, (uint16_t)o->burst); i-- > 0;)
			memcpy(mem + SPACE * (size_t)(BURST_MAX + i), f[i].data, f[i].len);
		uvb_rx_done(uvb_rxq(b, 0), 0);
		t[2] = uvb_now_ns();
		add_duration(&tx, t[1] - t[0]);
		add_duration(&rx, t[2] - t[1]);
	} while (t[2] < end);
	printf("%4u B, burst %3u, one thread: a frame costs the sender %5.1f ns, the receiver "
	       "%5.1f ns\n",
	       o->size, o->burst, median(&tx) / o->burst, median(&rx) / o->burst);
	uvb_close(a);
	uvb_close(b);
	free(mem);
}

/* What a frame costs, and an attach, as the fabric fills up: ports 1 .. n - 1 send in turn to port
 * 0, by one thread. `idle` ports are attached and silent. */
static void
run_ports(const struct options *o)
{
	static struct uvb_frame frame[BURST_MAX];
	static struct uvb_rx_frame f[BURST_MAX];
	static struct durations cost, attaching;
	static struct uvb_seg seg[BURST_MAX];
	struct uvb_dev *dev[UVB_MAX_PORTS];
	uint8_t *mem = calloc(2 * BURST_MAX, SPACE), src[60];
	struct uvb_seg hello_seg = {src, sizeof(src)};
	struct uvb_frame hello = {&hello_seg, 1, 0, sizeof(src)};
	uint64_t t, end, first = 0, slowest = 0;

	for (uint32_t i = 0; i < o->ports; i++) {
		char name[UVB_NAME_LEN];

		snprintf(name, sizeof(name), "bench-%u", i);
		t = uvb_now_ns();
		dev[i] = attach(o, name, (uint8_t)(i + 2));
		t = (uvb_now_ns() - t) / 1000;
		add_duration(&attaching, t);
		first = i == 0 ? t : first;
		slowest = t > slowest ? t : slowest;
	}
	for (uint32_t i = 0; mem != NULL && i < o->burst; i++) {
		fill_frame(mem + SPACE * (size_t)i, o->size, 7);
		seg[i] = (struct uvb_seg){mem + SPACE * (size_t)i, o->size};
		frame[i] = (struct uvb_frame){&seg[i], 1, 0, o->size};
	}
	make_hello(src);
	uvb_tx_burst(uvb_txq(dev[0], 0), &hello, 1);
	end = uvb_now_ns() + (uint64_t)(o->seconds * 1e9);
	do {
		for (uint32_t i = 1; i <= o->senders; i++) {
			t = uvb_now_ns();
			uvb_tx_burst(uvb_txq(dev[i], 0), frame, (uint16_t)o->burst);
			for (uint16_t k = uvb_rx_peek(uvb_rxq(dev[0], 0), f, (uint16_t)o->burst);
			     k-- > 0;)
				memcpy(mem + SPACE * (size_t)(BURST_MAX + k), f[k].data, f[k].len);
			uvb_rx_done(uvb_rxq(dev[0], 0), 0);
			add_duration(&cost, uvb_now_ns() - t);
		}
	} while (uvb_now_ns() < end);
	printf("{\"ports\": %u, \"senders\": %u, \"size\": %u, \"frame_ns\": %.1f, "
	       "\"attach_us\": %.0f, \"attach_first_us\": %llu, \"attach_slowest_us\": %llu}\n",
	       o->ports, o->senders, o->size, median(&cost) / o->burst, median(&attaching),
	       (unsigned long long)first, (unsigned long long)slowest);
	for (uint32_t i = 0; i < o->ports; i++)
		uvb_close(dev[i]);
	free(mem);
}

static void
run(const struct options *o)
{
	struct result *r =
		mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	void (*const part[2])(const struct options *, struct result *) = {transmit, receive};

	if (r == MAP_FAILED)
		exit(1);
	for (int i = 0; i < 2; i++)
		if (fork() == 0) {
			pin(i);
			part[i](o, r);
		}
	while (atomic_load(&r->ready) != 2) {
		if (waitpid(-1, NULL, WNOHANG) > 0)
			exit(1); /* it has said why */
		usleep(1000);
	}
	atomic_store(&r->go, true);
	usleep((useconds_t)(o->seconds * 1e6));
	atomic_store(&r->stop, true);
	while (wait(NULL) > 0)
		;
	printf("%4u B, burst %3u: %6.2f Mpps %7.2f Gbit/s; processor time per frame: tx %5.1f ns, "
	       "rx "
	       "%5.1f ns\n",
	       o->size, o->burst, (double)r->received * 1e3 / (double)r->ns,
	       (double)r->bytes * 8 / (double)r->ns, r->tx_ns, r->rx_ns);
	munmap(r, sizeof(*r));
}

int
main(int argc, char **argv)
{
	struct options o = {.burst = 32, .window = 256, .seconds = 2};
	static const uint32_t sizes[] = {64, 256, 1514};
	int opt;

	while ((opt = getopt(argc, argv, "1s:b:t:w:p:n:r:")) != -1) {
		if (opt == 's')
			o.size = (uint32_t)atoi(optarg);
		else if (opt == 'b')
			o.burst = (uint32_t)atoi(optarg);
		else if (opt == 'w')
			o.window = (uint32_t)atoi(optarg);
		else if (opt == 'p')
			o.ports = (uint32_t)atoi(optarg);
		else if (opt == 'n')
			o.senders = (uint32_t)atoi(optarg);
		else if (opt == 'r')
			o.rules = (uint32_t)atoi(optarg);
		else if (opt == '1')
			o.alone = true;
		else if (opt == 't')
			o.seconds = atof(optarg);
	}
	if (optind + 1 != argc || o.size > SPACE || o.burst < 1 || o.burst > BURST_MAX ||
	    o.rules > UVB_RULE_MAX || (o.rules != 0 && !o.alone) || o.ports > UVB_MAX_PORTS ||
	    (o.ports != 0 && o.senders >= o.ports)) {
		fprintf(stderr, "Usage: uvbridge_bench [-1] [-s SIZE] [-b BURST] [-w WINDOW] [-t "
				"SECONDS] [-p PORTS -n SENDERS] [-1 -r RULES] FABRIC\n");
		return 2;
	}
	o.fabric = argv[optind];
	if (o.ports != 0) {
		o.size = o.size != 0 ? o.size : 64;
		run_ports(&o);
		return 0;
	}
	if (o.size != 0) {
		(o.alone ? run_alone : run)(&o);
		return 0;
	}
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		o.size = sizes[i];
		(o.alone ? run_alone : run)(&o);
	}
	return 0;
}
