/* SPDX-License-Identifier: BSD-3-Clause
 *
 * watch: rates, seen again and again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "uvbridge/cli.h"
#include "uvbridge/table.h"

/* What is counted of a port or a receive queue. */
struct sample {
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes, drops;
};

struct look {
	uint64_t ns;
	struct sample port[UVB_MAX_PORTS];
	uint64_t rxq[UVB_MAX_PORTS][UVB_MAX_QUEUES];
};

static uint64_t
drops_for(const struct uvb_map *m, uint32_t port)
{
	uint64_t n = 0;

	for (uint32_t src = 0; src < m->nb_ports; src++)
		for (uint32_t t = 0; t < uvb_map_ever_txq(m, src); t++)
			for (uint32_t i = 0; i < UVB_PD_MAX; i++)
				n += uvb_load(&uvb_map_pair(m, src, t, port)->drops[i]);
	for (uint32_t q = 0; q < uvb_map_ever_rxq(m, port); q++) {
		struct uvb_voq_pages pages = uvb_voq_pages(m, port, q);

		for (uint32_t s = 0; s < m->nb_ports * m->nb_queues; s++)
			if (uvb_map_source_used(m, s) && uvb_voq_exists(m, &pages, port, q, s))
				n += uvb_load(
					&uvb_map_voq(m, port, q, s / m->nb_queues, s % m->nb_queues)
						 ->full);
		free(pages.pages);
	}
	return n;
}

static void
take_look(const struct uvb_map *m, struct look *l)
{
	memset(l, 0, sizeof(*l));
	l->ns = uvb_now_ns();
	for (uint32_t i = 0; i < m->nb_ports; i++) {
		struct sample *s = &l->port[i];

		if (!uvb_map_ever_attached(m, i))
			continue;
		for (uint32_t q = 0; q < m->nb_queues; q++) {
			l->rxq[i][q] = uvb_load(&uvb_map_rxq(m, i, q)->packets);
			s->rx_packets += l->rxq[i][q];
			s->rx_bytes += uvb_load(&uvb_map_rxq(m, i, q)->bytes);
			s->tx_packets += uvb_load(&uvb_map_txq(m, i, q)->packets);
			s->tx_bytes += uvb_load(&uvb_map_txq(m, i, q)->bytes);
		}
		s->drops = drops_for(m, i);
	}
}

/* 1234567 a second: "1.23M". */
static void
add_rate(struct table *t, uint64_t before, uint64_t after, uint64_t ns, double scale)
{
	static const char unit[] = " kMGT";
	double rate = (double)(after - before) * scale * 1e9 / (double)(ns != 0 ? ns : 1);
	int u = 0;

	while (rate >= 1000 && unit[u + 1] != '\0') {
		rate /= 1000;
		u++;
	}
	if (u == 0)
		table_add(t, "%.0f", rate);
	else
		table_add(t, "%.*f%c", rate < 10 ? 2 : rate < 100 ? 1 : 0, rate, unit[u]);
}

/* How a port's packets fell on its queues, in this interval. */
static void
add_spread(struct table *t, const uint64_t *before, const uint64_t *after, uint32_t nb_rxq)
{
	char text[UVB_MAX_QUEUES * 5 + 1] = "";
	uint64_t sum = 0;
	size_t at = 0;

	for (uint32_t q = 0; q < nb_rxq && q < UVB_MAX_QUEUES; q++)
		sum += after[q] - before[q];
	for (uint32_t q = 0; sum != 0 && q < nb_rxq && q < UVB_MAX_QUEUES; q++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%" PRIu64,
				       q != 0 ? " " : "", (after[q] - before[q]) * 100 / sum);
	table_add(t, "%s", sum != 0 ? text : "-");
}

static void
print_rates(const struct uvb_map *m, const struct look *a, const struct look *b)
{
	uint64_t ns = b->ns - a->ns;
	struct table t;

	table_begin(
		&t,
		"port|rx/s|rx bit/s|tx/s|tx bit/s|drops/s|rx packets|tx packets|drops|rx queues %",
		"lrrrrrrrrl");
	for (uint32_t i = 0; i < m->nb_ports; i++) {
		const struct sample *s = &a->port[i], *e = &b->port[i];
		const struct uvb_port_shm *p = uvb_map_port(m, i);

		if (UVB_LIFE_STATE(atomic_load(&p->life)) != UVB_PORT_UP)
			continue;
		table_add(&t, "%.31s", p->name);
		add_rate(&t, s->rx_packets, e->rx_packets, ns, 1);
		add_rate(&t, s->rx_bytes, e->rx_bytes, ns, 8);
		add_rate(&t, s->tx_packets, e->tx_packets, ns, 1);
		add_rate(&t, s->tx_bytes, e->tx_bytes, ns, 8);
		add_rate(&t, s->drops, e->drops, ns, 1);
		table_add(&t, "%" PRIu64, e->rx_packets);
		table_add(&t, "%" PRIu64, e->tx_packets);
		table_add(&t, "%" PRIu64, e->drops);
		add_spread(&t, a->rxq[i], b->rxq[i], p->nb_rxq);
	}
	table_end(&t, stdout);
}

static double
per_second(uint64_t before, uint64_t after, uint64_t ns)
{
	return (double)(after - before) * 1e9 / (double)(ns != 0 ? ns : 1);
}

/* One object, one line. */
static void
print_json(const struct uvb_view *v, const struct look *a, const struct look *b)
{
	const struct uvb_map *m = &v->map;
	uint64_t ns = b->ns - a->ns;
	bool first = true;

	printf("{\"fabric\":\"%s\",\"daemon\":\"%s\",\"seconds\":%.6f,\"ports\":[", m->name,
	       uvb_view_daemon_alive(v) ? "alive" : "dead", (double)ns / 1e9);
	for (uint32_t i = 0; i < m->nb_ports; i++) {
		const struct sample *s = &a->port[i], *e = &b->port[i];
		const struct uvb_port_shm *p = uvb_map_port(m, i);

		if (UVB_LIFE_STATE(atomic_load(&p->life)) != UVB_PORT_UP)
			continue;
		printf("%s{\"port\":\"%.31s\",\"rx_packets\":%" PRIu64 ",\"tx_packets\":%" PRIu64
		       ",\"drops\":%" PRIu64
		       ",\"rx_pps\":%.1f,\"rx_bps\":%.1f,\"tx_pps\":%.1f,\"tx_bps\":%.1f,"
		       "\"drops_per_second\":%.1f,\"rx_queue_packets\":[",
		       first ? "" : ",", uvb_name_ok(p->name) ? p->name : "?", e->rx_packets,
		       e->tx_packets, e->drops, per_second(s->rx_packets, e->rx_packets, ns),
		       8 * per_second(s->rx_bytes, e->rx_bytes, ns),
		       per_second(s->tx_packets, e->tx_packets, ns),
		       8 * per_second(s->tx_bytes, e->tx_bytes, ns),
		       per_second(s->drops, e->drops, ns));
		for (uint32_t q = 0; q < p->nb_rxq && q < m->nb_queues; q++)
			printf("%s%" PRIu64, q != 0 ? "," : "", b->rxq[i][q] - a->rxq[i][q]);
		printf("]}");
		first = false;
	}
	printf("]}\n");
}

static void
print_screen(const struct uvb_view *v, const struct look *a, const struct look *b)
{
	if (isatty(STDOUT_FILENO))
		printf("\033[H\033[J");
	printf("fabric %s, daemon %s\n", v->map.name, uvb_view_daemon_alive(v) ? "alive" : "DEAD");
	print_rates(&v->map, a, b);
}

static void
pause_for(double seconds)
{
	struct timespec ts = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};

	while (nanosleep(&ts, &ts) != 0 && errno == EINTR)
		;
}

static int
watch(struct uvb_view *v, double interval, uint64_t count, bool json)
{
	static struct look looks[2];
	int now = 0;

	take_look(&v->map, &looks[now]);
	for (uint64_t i = 0; count == 0 || i < count; i++) {
		pause_for(interval);
		now = !now;
		take_look(&v->map, &looks[now]);
		if (json)
			print_json(v, &looks[!now], &looks[now]);
		else
			print_screen(v, &looks[!now], &looks[now]);
		if (fflush(stdout) != 0)
			return EXIT_FAILED; /* nobody reads any more */
	}
	return EXIT_OK;
}

int
cli_watch(int argc, char **argv)
{
	static const struct option longs[] = {{"interval", required_argument, NULL, 'i'},
					      {"count", required_argument, NULL, 'c'},
					      {"json", no_argument, NULL, 'j'},
					      {NULL, 0, NULL, 0}};
	char err[UVB_ERR_LEN];
	struct uvb_view *view;
	double interval = 1;
	uint64_t count = 0;
	bool json = false;
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "i:c:n:", longs, NULL)) != -1) {
		if (opt == 'i' && (!cli_seconds(optarg, &interval) || interval <= 0))
			return cli_usage("watch", "--interval wants seconds, not \"%s\"", optarg);
		if (opt == 'c' && !cli_number(optarg, UINT64_MAX, &count))
			return cli_usage("watch", "--count wants a number, not \"%s\"", optarg);
		if (opt != 'i' && opt != 'c' && opt != 'j')
			return EXIT_USAGE;
		json |= opt == 'j';
	}
	if (optind + 1 != argc)
		return cli_usage("watch", "one fabric's name is wanted");
	if (uvb_view_open(argv[optind], &view, err) != 0)
		return cli_fail("%s", err);
	rc = watch(view, interval, count, json);
	uvb_view_close(view);
	return rc;
}
