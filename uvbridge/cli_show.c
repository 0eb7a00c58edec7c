/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Verbs that look: show and ledger.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "uvbridge/cli.h"
#include "uvbridge/table.h"

/* A port's name for a human, who may have to tell an owner that has left from one that is here. */
static const char *
port_name(const struct uvb_map *m, uint32_t port)
{
	static char text[4][UVB_NAME_LEN + 4];
	static int turn;
	char *t = text[turn++ & 3];
	const struct uvb_port_shm *p = uvb_map_port(m, port);
	bool up = UVB_LIFE_STATE(atomic_load(&p->life)) == UVB_PORT_UP;

	snprintf(t, sizeof(text[0]), up ? "%.31s" : "(%.31s)", p->name);
	return t;
}

/* The owner, and how many more processes there are. */
static void
add_pids(struct table *t, const struct uvb_port_shm *p)
{
	uint32_t more = 0;

	for (uint32_t i = UVB_OWNER_SLOT + 1; i < UVB_MEMBERS_MAX; i++)
		more += p->member[i].pid != 0;
	if (more != 0)
		table_add(t, "%u+%u", p->member[UVB_OWNER_SLOT].pid, more);
	else
		table_add(t, "%u", p->member[UVB_OWNER_SLOT].pid);
}

static void
show_ports(const struct uvb_view *v)
{
	const struct uvb_map *m = &v->map;
	struct table t;

	table_begin(
		&t,
		"port|name|kind|state|pid|mac|mtu|rxq|txq|rx packets|rx bytes|tx packets|tx bytes",
		"rlllrlrrrrrrr");
	for (uint32_t i = 0; i < m->nb_ports; i++) {
		struct uvb_port_shm *p = uvb_map_port(m, i);
		uint64_t n[4] = {0};
		struct uvb_conf c = {0};
		uint32_t seq;

		if (!uvb_map_ever_attached(m, i))
			continue;
		for (uint32_t q = 0; q < m->nb_queues; q++) {
			n[0] += uvb_load(&uvb_map_rxq(m, i, q)->packets);
			n[1] += uvb_load(&uvb_map_rxq(m, i, q)->bytes);
			n[2] += uvb_load(&uvb_map_txq(m, i, q)->packets);
			n[3] += uvb_load(&uvb_map_txq(m, i, q)->bytes);
		}
		uvb_conf_read(p, &c, &seq);
		table_add(&t, "%u", i);
		table_add(&t, "%.31s", p->name);
		table_add(&t, "%s", uvb_kind_name(atomic_load(&p->kind)));
		table_add(&t, "%s%s", uvb_state_name(atomic_load(&p->life)),
			  c.flags & UVB_CONF_STARTED ? "" : ",stopped");
		add_pids(&t, p);
		table_add(&t, "%02x:%02x:%02x:%02x:%02x:%02x", c.mac[0][0], c.mac[0][1],
			  c.mac[0][2], c.mac[0][3], c.mac[0][4], c.mac[0][5]);
		table_add(&t, "%u", c.mtu);
		table_add(&t, "%u", p->nb_rxq);
		table_add(&t, "%u", p->nb_txq);
		for (int k = 0; k < 4; k++)
			table_add(&t, "%" PRIu64, n[k]);
	}
	table_end(&t, stdout);
}

static uint64_t
voq_waiting(const struct uvb_voq_shm *v)
{
	return uvb_voq_head(v) - atomic_load(&v->tail);
}

/* Sum over the voqs into a queue. */
static void
sum_into(const struct uvb_map *m, uint32_t dst, uint32_t rxq, uint64_t *waiting, uint64_t *full)
{
	struct uvb_voq_pages pages = uvb_voq_pages(m, dst, rxq);

	*waiting = 0;
	*full = 0;
	for (uint32_t s = 0; s < m->nb_ports * m->nb_queues; s++) {
		const struct uvb_voq_shm *v =
			uvb_map_voq(m, dst, rxq, s / m->nb_queues, s % m->nb_queues);

		if (!uvb_map_source_used(m, s) || !uvb_voq_exists(m, &pages, dst, rxq, s))
			continue;
		*waiting += (uint32_t)voq_waiting(v);
		*full += uvb_load(&v->full);
	}
	free(pages.pages);
}

static void
show_rxqs(const struct uvb_map *m)
{
	struct table t;

	table_begin(&t, "port|rxq|packets|bytes|waiting|imissed|nombuf|stale|bad|lost|sleeps|wakes",
		    "lrrrrrrrrrrr");
	for (uint32_t i = 0; i < m->nb_ports; i++)
		for (uint32_t q = 0; q < uvb_map_ever_rxq(m, i); q++) {
			const struct uvb_rxq_shm *r = uvb_map_rxq(m, i, q);
			uint64_t waiting, full;

			if (q >= uvb_map_port(m, i)->nb_rxq)
				continue;
			sum_into(m, i, q, &waiting, &full);
			table_add(&t, "%s", port_name(m, i));
			table_add(&t, "%u", q);
			table_add(&t, "%" PRIu64, uvb_load(&r->packets));
			table_add(&t, "%" PRIu64, uvb_load(&r->bytes));
			table_add(&t, "%" PRIu64, waiting);
			table_add(&t, "%" PRIu64, full);
			table_add(&t, "%" PRIu64, uvb_load(&r->nombuf));
			table_add(&t, "%" PRIu64, uvb_load(&r->stale));
			table_add(&t, "%" PRIu64, uvb_load(&r->bad));
			table_add(&t, "%" PRIu64, uvb_load(&r->lost));
			table_add(&t, "%" PRIu64, uvb_load(&r->sleeps));
			table_add(&t, "%" PRIu64, uvb_load(&r->wakes));
		}
	table_end(&t, stdout);
}

static void
show_queues(const struct uvb_view *v)
{
	const struct uvb_map *m = &v->map;
	struct table t;

	show_rxqs(m);
	printf("\n");
	table_begin(&t, "port|txq|packets|bytes|flooded|copies|no cell|limited|bells", "lrrrrrrrr");
	for (uint32_t i = 0; i < m->nb_ports; i++)
		for (uint32_t q = 0; q < uvb_map_ever_txq(m, i); q++) {
			const struct uvb_txq_shm *x = uvb_map_txq(m, i, q);

			if (q >= uvb_map_port(m, i)->nb_txq)
				continue;
			table_add(&t, "%s", port_name(m, i));
			table_add(&t, "%u", q);
			table_add(&t, "%" PRIu64, uvb_load(&x->packets));
			table_add(&t, "%" PRIu64, uvb_load(&x->bytes));
			table_add(&t, "%" PRIu64, uvb_load(&x->flooded));
			table_add(&t, "%" PRIu64, uvb_load(&x->copies));
			table_add(&t, "%" PRIu64, uvb_load(&x->no_cell));
			table_add(&t, "%" PRIu64, uvb_load(&x->limited));
			table_add(&t, "%" PRIu64, uvb_load(&x->bells));
		}
	table_end(&t, stdout);
}

static void
show_voqs(const struct uvb_view *v)
{
	const struct uvb_map *m = &v->map;
	struct table t;

	table_begin(&t, "from|txq|to|rxq|waiting|packets|bytes|full", "lrlrrrrr");
	for (uint32_t d = 0; d < m->nb_ports * m->nb_queues; d++) {
		uint32_t dst = d / m->nb_queues, rxq = d % m->nb_queues;
		struct uvb_voq_pages pages;

		if (rxq >= uvb_map_ever_rxq(m, dst))
			continue;
		pages = uvb_voq_pages(m, dst, rxq);
		for (uint32_t s = 0; s < m->nb_ports * m->nb_queues; s++) {
			uint32_t src = s / m->nb_queues, txq = s % m->nb_queues;
			const struct uvb_voq_shm *q = uvb_map_voq(m, dst, rxq, src, txq);

			if (!uvb_map_source_used(m, s) || !uvb_voq_exists(m, &pages, dst, rxq, s) ||
			    (uvb_load(&q->packets) == 0 && uvb_load(&q->full) == 0))
				continue;
			table_add(&t, "%s", port_name(m, src));
			table_add(&t, "%u", txq);
			table_add(&t, "%s", port_name(m, dst));
			table_add(&t, "%u", rxq);
			table_add(&t, "%" PRIu32, (uint32_t)voq_waiting(q));
			table_add(&t, "%" PRIu64, uvb_load(&q->packets));
			table_add(&t, "%" PRIu64, uvb_load(&q->bytes));
			table_add(&t, "%" PRIu64, uvb_load(&q->full));
		}
		free(pages.pages);
	}
	table_end(&t, stdout);
}

void
cli_show_fdb(const struct uvb_view *v)
{
	const struct uvb_map *m = &v->map;
	uint32_t now = (uint32_t)(uvb_clock_ns(uvb_map_hdr(m)) / 1000000000ULL);
	struct uvb_fdb_record e;
	struct uvb_fdb fdb;
	struct table t;

	uvb_fdb_init(&fdb, m);
	table_begin(&t, "vlan|mac|port|name|age", "rlrlr");
	for (uint32_t i = 0; i < m->fdb_buckets * UVB_FDB_WAYS; i++) {
		uint32_t b = i / UVB_FDB_WAYS, w = i % UVB_FDB_WAYS;
		int32_t age = (int32_t)(now - atomic_load(&fdb.bucket[b].seen[w]));

		if (!uvb_fdb_read(&fdb, b, w, &e))
			continue;
		table_add(&t, e.vlan != 0 ? "%u" : "-", e.vlan);
		table_add(&t, "%02x:%02x:%02x:%02x:%02x:%02x", (unsigned)(e.mac >> 40) & 0xff,
			  (unsigned)(e.mac >> 32) & 0xff, (unsigned)(e.mac >> 24) & 0xff,
			  (unsigned)(e.mac >> 16) & 0xff, (unsigned)(e.mac >> 8) & 0xff,
			  (unsigned)e.mac & 0xff);
		table_add(&t, "%u", e.port);
		table_add(&t, "%s", e.port < m->nb_ports ? port_name(m, e.port) : "?");
		table_add(&t, e.is_static ? "static" : "%d s", age > 0 ? age : 0);
	}
	table_end(&t, stdout);
}

static void
add_drop(struct table *t, const char *from, uint32_t txq, const char *to, const char *why,
	 uint64_t n)
{
	if (n == 0 || why == NULL)
		return;
	table_add(t, "%s", from);
	table_add(t, "%u", txq);
	table_add(t, "%s", to);
	table_add(t, "%s", why);
	table_add(t, "%" PRIu64, n);
}

static void
show_drops(const struct uvb_view *v)
{
	const struct uvb_map *m = &v->map;
	struct table t;

	table_begin(&t, "from|txq|to|reason|frames", "lrllr");
	for (uint32_t s = 0; s < m->nb_ports * m->nb_queues; s++) {
		uint32_t src = s / m->nb_queues, txq = s % m->nb_queues;

		if (!uvb_map_source_used(m, s))
			continue;
		for (uint32_t i = 0; i < UVB_TXD_MAX; i++)
			add_drop(&t, port_name(m, src), txq, "-", uvb_txd_name[i],
				 uvb_load(&uvb_map_txq(m, src, txq)->drops[i]));
		for (uint32_t d = 0; d < m->nb_ports; d++)
			for (uint32_t i = 0; uvb_map_ever_attached(m, d) && i < UVB_PD_MAX; i++)
				add_drop(&t, port_name(m, src), txq, port_name(m, d),
					 uvb_pd_name[i],
					 uvb_load(&uvb_map_pair(m, src, txq, d)->drops[i]));
	}
	for (uint32_t d = 0; d < m->nb_ports; d++)
		for (uint32_t q = 0; q < uvb_map_ever_rxq(m, d); q++) {
			uint64_t waiting, full;

			sum_into(m, d, q, &waiting, &full);
			add_drop(&t, "any", q, port_name(m, d), "imissed", full);
			add_drop(&t, "any", q, port_name(m, d), "nombuf",
				 uvb_load(&uvb_map_rxq(m, d, q)->nombuf));
			add_drop(&t, "any", q, port_name(m, d), "lost",
				 uvb_load(&uvb_map_rxq(m, d, q)->lost));
		}
	table_end(&t, stdout);
}

/* Of ports that are attached: those of a port that has gone are in force no more. */
static void
show_rules(const struct uvb_view *v)
{
	const struct uvb_map *m = &v->map;
	struct uvb_rule rule;

	for (uint32_t i = 0, slot = 0; i < m->nb_ports; i++, slot = 0) {
		if (UVB_LIFE_STATE(atomic_load(&uvb_map_port(m, i)->life)) != UVB_PORT_UP)
			continue;
		while (uvb_rules_next(m, i, &slot, &rule)) {
			const struct uvb_rule_count *count = &uvb_map_rules(m, i)->count[slot - 1];

			printf("%s: ", port_name(m, i));
			uvb_rule_print(stdout, &rule);
			if (rule.flags & UVB_RULE_COUNT)
				printf(", %" PRIu64 " frames of this slot so far",
				       uvb_load(&count->frames));
			putchar('\n');
		}
	}
}

static bool
print_ledger(const struct uvb_map *m, FILE *offenders)
{
	struct uvb_ledger l = {.offenders = offenders};
	int rc = uvb_ledger(m, &l);
	bool clean = rc == 0 && l.leaked == 0 && l.stale == 0;

	printf("cells %" PRIu64 "  free %" PRIu64 "  in flight %" PRIu64 "  leaked %" PRIu64
	       "  stale %" PRIu64 "  %s\n",
	       l.cells, l.free, l.in_flight, l.leaked, l.stale,
	       rc != 0 ? "no memory to look at them all"
	       : clean ? "clean"
		       : "NOT CLEAN");
	return clean;
}

static void
show_ledger(const struct uvb_view *v)
{
	print_ledger(&v->map, stdout);
}

static const struct section {
	const char *name;
	void (*show)(const struct uvb_view *v);
} sections[] = {
	{"ports", show_ports},           {"queues", show_queues},         {"voqs", show_voqs},
	{"fdb", cli_show_fdb},           {"drops", show_drops},           {"ledger", show_ledger},
	{"settings", cli_show_settings}, {"adapters", cli_show_adapters}, {"rules", show_rules},
};

#define NB_SECTIONS (sizeof(sections) / sizeof(sections[0]))

static void
show_all(const struct uvb_view *v)
{
	const struct uvb_hdr *h = uvb_map_hdr(&v->map);

	printf("fabric %s: %u ports x %u queues, %u cells, voq %u; daemon %u %s\n", v->map.name,
	       v->map.nb_ports, v->map.nb_queues, v->map.cells_per_txq, v->map.voq_depth,
	       atomic_load(&h->daemon_pid), uvb_view_daemon_alive(v) ? "alive" : "DEAD");
	for (size_t i = 0; i < NB_SECTIONS; i++) {
		printf("\n%s\n", sections[i].name);
		sections[i].show(v);
	}
}

static const struct section *
find_section(const char *name)
{
	size_t len = strlen(name);

	/* One voq, or voqs: both are understood. */
	for (size_t i = 0; i < NB_SECTIONS; i++)
		if (strncmp(sections[i].name, name, len) == 0 &&
		    (sections[i].name[len] == '\0' || strcmp(sections[i].name + len, "s") == 0))
			return &sections[i];
	return NULL;
}

static int
print_json(struct uvb_view *v)
{
	char *text = uvb_view_json(v);

	if (text == NULL)
		return cli_fail("no memory");
	puts(text);
	free(text);
	return EXIT_OK;
}

int
cli_show(int argc, char **argv)
{
	static const struct option longs[] = {{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
	char err[UVB_ERR_LEN];
	struct uvb_view *view;
	bool json = false;
	int opt, rc = EXIT_OK;

	while ((opt = getopt_long(argc, argv, "j", longs, NULL)) != -1) {
		if (opt != 'j')
			return EXIT_USAGE;
		json = true;
	}
	if (optind == argc)
		return cli_usage("show", "a fabric's name is wanted");
	for (int i = optind + 1; i < argc; i++)
		if (find_section(argv[i]) == NULL)
			return cli_usage("show", "\"%s\" is nothing to show", argv[i]);
	if (uvb_view_open(argv[optind], &view, err) != 0)
		return cli_fail("%s", err);
	if (json)
		rc = print_json(view);
	else if (optind + 1 == argc)
		show_all(view);
	else
		for (int i = optind + 1; i < argc; i++)
			find_section(argv[i])->show(view);
	uvb_view_close(view);
	return rc;
}

/* The offenders are lines; here they are the elements of a list. */
static bool
ledger_json(const struct uvb_map *m)
{
	struct uvb_ledger l = {0};
	char *text = NULL;
	size_t len = 0;
	bool clean;
	int rc;

	l.offenders = open_memstream(&text, &len);
	rc = uvb_ledger(m, &l);
	if (l.offenders != NULL)
		fclose(l.offenders);
	clean = rc == 0 && l.leaked == 0 && l.stale == 0;
	printf("{\"clean\":%s,\"cells\":%" PRIu64 ",\"free\":%" PRIu64 ",\"in_flight\":%" PRIu64
	       ",\"leaked\":%" PRIu64 ",\"stale\":%" PRIu64 ",\"offenders\":[",
	       clean ? "true" : "false", l.cells, l.free, l.in_flight, l.leaked, l.stale);
	for (char *save = NULL, *line = text != NULL ? strtok_r(text, "\n", &save) : NULL;
	     line != NULL;) {
		for (char *c = line; *c != '\0'; c++)
			if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\')
				*c = '?';
		printf("\"%s\"", line);
		line = strtok_r(NULL, "\n", &save);
		printf("%s", line != NULL ? "," : "");
	}
	printf("]}\n");
	free(text);
	return clean;
}

int
cli_ledger(int argc, char **argv)
{
	static const struct option longs[] = {{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
	char err[UVB_ERR_LEN];
	struct uvb_view *view;
	bool clean, json = false;
	int opt;

	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (opt != 'j')
			return EXIT_USAGE;
		json = true;
	}
	if (optind + 1 != argc)
		return cli_usage("ledger", "one fabric's name is wanted");
	if (uvb_view_open(argv[optind], &view, err) != 0)
		return cli_fail("%s", err);
	clean = json ? ledger_json(&view->map) : print_ledger(&view->map, stdout);
	uvb_view_close(view);
	return clean ? EXIT_OK : EXIT_FAILED;
}
