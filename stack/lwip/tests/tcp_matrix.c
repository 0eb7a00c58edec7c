/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TCP's behaviour in figures: goodput, and the time of requests, over wires of many kinds. In
 * simulated time, so exact: the same figures everywhere, kept in matrix.txt. A change of TCP's
 * behaviour shows as a difference there, to be looked at and, if it is good, written anew.
 *
 *   lwip-tcp-matrix --check FILE [--full]   compare; without --full the quick rows only
 *   lwip-tcp-matrix --write FILE            measure all rows and write them
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#include "lwip/tcp.h"

#define REQUEST  200
#define RESPONSE 1000

struct wire {
	uint32_t mbit, delay; /* us, one way */
	uint32_t megabytes;   /* to send over it */
};

static const struct wire wires[] = {{10000, 100, 64}, {1000, 2500, 8}, {100, 25000, 4}};
static const uint32_t losses[] = {0, 100, 1000, 10000, 30000}; /* in a million */
static const uint32_t queues[] = {64, 1000};
static const char *const directions[] = {"data", "acks", "both"};
static const char *const methods[] = {"cubic", "reno"};

/* One row's surroundings. */
struct row {
	const struct wire *wire;
	uint32_t loss, queue;
	unsigned int direction;
	const char *method;
};

static void
wire_up(struct sim *sim, const struct row *row, uint64_t seed)
{
	sim_init(sim, seed);
	for (unsigned int i = 0; i < 2; i++) {
		sim->host[i].out.mbit = row->wire->mbit;
		sim->host[i].out.delay = row->wire->delay;
		sim->host[i].out.queue = row->queue;
		if (row->direction == 2 || row->direction == i)
			sim->host[i].out.loss = row->loss;
	}
}

/* ---- goodput ----------------------------------------------------------------------------------*/

static void
goodput(char *line, size_t size, const struct row *row)
{
	uint64_t bytes = (uint64_t)row->wire->megabytes << 20, start;
	struct sim_stream s;
	struct sim sim;
	uint32_t again = 0;

	wire_up(&sim, row, 7);
	sim_stream_open(&s, &sim.host[0], &sim.host[1], 0);
	if (s.client != NULL) {
		uvl_tcp_cc_set(s.client, uvl_tcp_cc_find(row->method));
		s.want = bytes;
		start = sim.now;
		sim_enter(s.from);
		sim_stream_fill(&s);
		sim_run(&sim, 600 * 1000000ull, sim_stream_done, &s);
		again = s.client != NULL ? s.client->rec.retrans_segs : 0;
		snprintf(line, size,
			 "goodput %5" PRIu32 " Mbit/s, RTT %5" PRIu32 " us, loss %5" PRIu32
			 " ppm of %s, queue %4" PRIu32 ", %-5s: %8" PRIu64 " kbit/s, %5" PRIu32
			 " again%s",
			 row->wire->mbit, row->wire->delay * 2, row->loss,
			 directions[row->direction], row->queue, row->method,
			 s.received * 8000 / (sim.now - start), again,
			 s.wrong || s.received != bytes ? ", INCOMPLETE" : "");
	}
	sim_stream_close(&s);
	sim_exit(&sim);
}

/* ---- requests ---------------------------------------------------------------------------------*/

struct talk {
	struct sim sim;
	struct tcp_pcb *client;
	uint32_t asked, answered; /* bytes of the request or response at hand */
	uint64_t since;
	uint64_t *times; /* us */
	unsigned int done, wanted;
};

static err_t
send_bytes(struct tcp_pcb *pcb, u16_t length)
{
	static const char zeros[RESPONSE];

	tcp_write(pcb, zeros, length, TCP_WRITE_FLAG_COPY);
	return tcp_output(pcb);
}

static err_t
on_request(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct talk *t = arg;

	(void)err;
	if (p == NULL)
		return tcp_close(pcb);
	t->asked += p->tot_len;
	tcp_recved(pcb, p->tot_len);
	pbuf_free(p);
	if (t->asked < REQUEST)
		return ERR_OK;
	t->asked = 0;
	return send_bytes(pcb, RESPONSE);
}

static err_t
ask(struct talk *t)
{
	t->since = t->sim.now;
	return send_bytes(t->client, REQUEST);
}

static err_t
on_response(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct talk *t = arg;

	(void)err;
	if (p == NULL)
		return tcp_close(pcb);
	t->answered += p->tot_len;
	tcp_recved(pcb, p->tot_len);
	pbuf_free(p);
	if (t->answered < RESPONSE)
		return ERR_OK;
	t->answered = 0;
	t->times[t->done++] = t->sim.now - t->since;
	return t->done < t->wanted ? ask(t) : ERR_OK;
}

static err_t
on_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
	(void)pcb;
	(void)err;
	return ask(arg);
}

static err_t
on_accepted(void *arg, struct tcp_pcb *pcb, err_t err)
{
	(void)err;
	tcp_arg(pcb, arg);
	tcp_nagle_disable(pcb);
	tcp_recv(pcb, on_request);
	return ERR_OK;
}

static bool
talked(void *arg)
{
	const struct talk *t = arg;

	return t->done == t->wanted;
}

static int
by_time(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void
requests(char *line, size_t size, const struct row *row, unsigned int number)
{
	struct talk t = {.wanted = number};
	struct tcp_pcb *listener;

	t.times = calloc(number, sizeof(*t.times));
	if (t.times == NULL)
		abort();
	wire_up(&t.sim, row, 7);
	sim_enter(&t.sim.host[1]);
	listener = tcp_new();
	tcp_bind(listener, IP_ADDR_ANY, 80);
	listener = tcp_listen(listener);
	tcp_arg(listener, &t);
	tcp_accept(listener, on_accepted);
	sim_enter(&t.sim.host[0]);
	t.client = tcp_new();
	tcp_arg(t.client, &t);
	tcp_nagle_disable(t.client);
	tcp_recv(t.client, on_response);
	tcp_connect(t.client, &t.sim.host[1].address, 80, on_connected);
	sim_run(&t.sim, 36000 * 1000000ull, talked, &t);
	qsort(t.times, t.done, sizeof(*t.times), by_time);
	snprintf(line, size,
		 "request %5" PRIu32 " Mbit/s, RTT %5" PRIu32 " us, loss %5" PRIu32
		 " ppm of both: p50 %6" PRIu64 ", p99 %6" PRIu64 ", p99.9 %6" PRIu64
		 ", worst %7" PRIu64 " us%s",
		 row->wire->mbit, row->wire->delay * 2, row->loss, t.times[t.done / 2],
		 t.times[t.done * 99ull / 100], t.times[t.done * 999ull / 1000],
		 t.times[t.done - 1], t.done != number ? ", INCOMPLETE" : "");
	sim_exit(&t.sim);
	free(t.times);
}

/* ---- all of it --------------------------------------------------------------------------------*/

/* Called for each row in turn; false ends it. quick: one of those that are checked always. */
typedef bool (*row_fn)(const struct row *row, bool is_request, bool quick, void *arg);

static bool
each_goodput(const struct wire *w, row_fn visit, void *arg)
{
	for (size_t l = 0; l < sizeof(losses) / sizeof(losses[0]); l++)
		for (size_t q = 0; q < sizeof(queues) / sizeof(queues[0]); q++)
			for (unsigned int d = 0; d < 3; d++)
				for (size_t m = 0; m < 2; m++) {
					struct row row = {w, losses[l], queues[q], d, methods[m]};

					if (losses[l] == 0 && d != 2)
						continue;
					if (!visit(&row, false,
						   w->mbit < 10000 && l >= 2 && q == 0 && d == 2,
						   arg))
						return false;
				}
	return true;
}

static bool
each_row(row_fn visit, void *arg)
{
	for (size_t w = 0; w < sizeof(wires) / sizeof(wires[0]); w++) {
		if (!each_goodput(&wires[w], visit, arg))
			return false;
		for (size_t l = 0; l < sizeof(losses) / sizeof(losses[0]); l++) {
			struct row row = {&wires[w], losses[l], 1000, 2, methods[0]};

			if (!visit(&row, true, w == 0 && l == 2, arg))
				return false;
		}
	}
	return true;
}

static void
measure(char *line, size_t size, const struct row *row, bool is_request)
{
	line[0] = '\0';
	if (is_request)
		requests(line, size, row, 20000);
	else
		goodput(line, size, row);
}

struct check {
	FILE *file;
	bool full;
	unsigned int rows, differ;
};

static bool
check_row(const struct row *row, bool is_request, bool quick, void *arg)
{
	struct check *c = arg;
	char expected[256], line[256];

	if (fgets(expected, sizeof(expected), c->file) == NULL) {
		printf("the file has too few rows\n");
		c->differ++;
		return false;
	}
	expected[strcspn(expected, "\n")] = '\0';
	if (!quick && !c->full)
		return true;
	measure(line, sizeof(line), row, is_request);
	c->rows++;
	if (strcmp(line, expected) != 0) {
		c->differ++;
		printf("- %s\n+ %s\n", expected, line);
	}
	return true;
}

static bool
write_row(const struct row *row, bool is_request, bool quick, void *arg)
{
	char line[256];

	(void)quick;
	measure(line, sizeof(line), row, is_request);
	fprintf(arg, "%s\n", line);
	printf("%s\n", line);
	return true;
}

static int
usage(void)
{
	fprintf(stderr, "usage: lwip-tcp-matrix --check FILE [--full] | --write FILE\n");
	return 2;
}

int
main(int argc, char **argv)
{
	bool writes = argc > 1 && strcmp(argv[1], "--write") == 0;
	struct check check = {.full = argc > 3 && strcmp(argv[3], "--full") == 0};

	if (argc < 3 || (!writes && strcmp(argv[1], "--check") != 0))
		return usage();
	check.file = fopen(argv[2], writes ? "w" : "r");
	if (check.file == NULL) {
		perror(argv[2]);
		return 2;
	}
	if (writes)
		each_row(write_row, check.file);
	else
		each_row(check_row, &check);
	fclose(check.file);
	if (!writes)
		printf("%u rows, %u differ; lwip-tcp-matrix --write writes them anew\n", check.rows,
		       check.differ);
	return check.differ != 0;
}
