/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A fabric as JSON. Read from the segment alone: what its daemon does or does not do is no matter.
 * Numbers of unlucky or hostile ports are shown as they are; what is used as an index is checked.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "uvbridge/proc.h"
#include "uvbridge/view.h"

int
uvb_view_open(const char *fabric, struct uvb_view **out, char err[UVB_ERR_LEN])
{
	struct uvb_view *v;
	int rc, dirfd = uvb_fabric_open(fabric, err);

	*out = NULL;
	if (dirfd < 0)
		return dirfd;
	v = calloc(1, sizeof(*v));
	rc = v != NULL ? uvb_map_open(&v->map, dirfd, false, err)
		       : uvb_fail(err, -ENOMEM, "no memory for a view");
	close(dirfd);
	if (rc != 0)
		free(v);
	else
		*out = v;
	return rc;
}

void
uvb_view_close(struct uvb_view *v)
{
	if (v == NULL)
		return;
	uvb_map_close(&v->map);
	free(v);
}

bool
uvb_view_daemon_alive(const struct uvb_view *v)
{
	const struct uvb_hdr *h = uvb_map_hdr(&v->map);

	return uvb_proc_alive((pid_t)atomic_load(&h->daemon_pid), uvb_load(&h->daemon_start));
}

/* A separator between the elements of a list. */
static void
comma(FILE *f, bool *first)
{
	if (!*first)
		fputs(",", f);
	*first = false;
}

/* Names are letters and a few signs, unless somebody scribbled. */
void
uvb_put_name(FILE *f, const char *name)
{
	fputc('"', f);
	for (size_t i = 0; i < UVB_NAME_LEN && name[i] != '\0'; i++)
		fputc(name[i] > ' ' && name[i] < 0x7f && name[i] != '"' && name[i] != '\\' ? name[i]
											   : '?',
		      f);
	fputc('"', f);
}

static void
put_mac(FILE *f, const uint8_t mac[6])
{
	fprintf(f, "\"%02x:%02x:%02x:%02x:%02x:%02x\"", mac[0], mac[1], mac[2], mac[3], mac[4],
		mac[5]);
}

static void
put_drops(FILE *f, const char *const *name, const uint64_t *drops, uint32_t n)
{
	bool first = true;

	fputs("\"drops\":{", f);
	for (uint32_t i = 0; i < n; i++) {
		if (name[i] == NULL)
			continue;
		comma(f, &first);
		fprintf(f, "\"%s\":%" PRIu64, name[i], drops[i]);
	}
	fputs("}", f);
}

static void
load_drops(uint64_t *sum, const _Atomic uint64_t *drops, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		sum[i] += uvb_load(&drops[i]);
}

static void
put_clock(FILE *f, const struct uvb_hdr *h)
{
	uint64_t now = uvb_clock_ns(h);
	bool is_virtual = uvb_clock_is_virtual(h);

	fprintf(f,
		",\"clock\":{\"virtual\":%s,\"auto\":%s,\"now\":%" PRIu64 ",\"elapsed\":%" PRIu64
		"}}",
		is_virtual ? "true" : "false",
		uvb_load(&h->clock_until) == UVB_CLOCK_FREE ? "true" : "false", now,
		is_virtual ? now - uvb_load(&h->clock_base) : 0);
}

static void
put_fabric(FILE *f, const struct uvb_view *v)
{
	const struct uvb_map *m = &v->map;
	const struct uvb_hdr *h = uvb_map_hdr(m);

	fputs("\"fabric\":{\"name\":", f);
	uvb_put_name(f, m->name);
	fprintf(f,
		",\"abi\":%u,\"epoch\":%" PRIu64 ",\"ports_max\":%u,\"queues_max\":%u,"
		"\"cells_per_txq\":%u,\"voq_depth\":%u,\"daemon\":{\"pid\":%u,\"alive\":%s},",
		UVB_ABI_VERSION, m->epoch, m->nb_ports, m->nb_queues, m->cells_per_txq,
		m->voq_depth, atomic_load(&h->daemon_pid),
		uvb_view_daemon_alive(v) ? "true" : "false");
	fprintf(f,
		"\"reclaims\":%" PRIu64 ",\"reclaimed_cells\":%" PRIu64
		",\"reclaim_ns_max\":%" PRIu64,
		uvb_load(&h->reclaims), uvb_load(&h->reclaimed_cells),
		uvb_load(&h->reclaim_ns_max));
	put_clock(f, h);
}

/* ----------------------------------------------------------------------------------------- voqs */

/* Call visit() for each voq into (dst, rxq) that was ever used. */
static void
each_voq(const struct uvb_map *m, uint32_t dst, uint32_t rxq,
	 void (*visit)(const struct uvb_map *m, const struct uvb_voq_shm *v, uint32_t source,
		       void *arg),
	 void *arg)
{
	struct uvb_voq_pages pages = uvb_voq_pages(m, dst, rxq);

	for (uint32_t src = 0; src < m->nb_ports; src++) {
		for (uint32_t t = 0; t < uvb_map_ever_txq(m, src); t++) {
			uint32_t source = uvb_map_queue_index(m, src, t);
			const struct uvb_voq_shm *v = uvb_map_voq(m, dst, rxq, src, t);

			if (uvb_voq_exists(m, &pages, dst, rxq, source) &&
			    (uvb_load(&v->packets) != 0 || uvb_load(&v->full) != 0))
				visit(m, v, source, arg);
		}
	}
	free(pages.pages);
}

static uint32_t
voq_waiting(const struct uvb_voq_shm *v)
{
	return atomic_load_explicit(&v->head, memory_order_relaxed) -
	       atomic_load_explicit(&v->tail, memory_order_relaxed);
}

struct voq_sum {
	uint64_t waiting, full;
};

static void
sum_voq(const struct uvb_map *m, const struct uvb_voq_shm *v, uint32_t source, void *arg)
{
	struct voq_sum *sum = arg;

	(void)m;
	(void)source;
	sum->waiting += voq_waiting(v);
	sum->full += uvb_load(&v->full);
}

struct voq_list {
	FILE *f;
	uint32_t dst, rxq;
	bool first;
};

static void
put_voq(const struct uvb_map *m, const struct uvb_voq_shm *v, uint32_t source, void *arg)
{
	struct voq_list *l = arg;

	comma(l->f, &l->first);
	fprintf(l->f,
		"{\"src\":%u,\"txq\":%u,\"dst\":%u,\"rxq\":%u,\"depth\":%u,\"packets\":%" PRIu64
		",\"bytes\":%" PRIu64 ",\"full\":%" PRIu64 "}",
		source / m->nb_queues, source % m->nb_queues, l->dst, l->rxq, voq_waiting(v),
		uvb_load(&v->packets), uvb_load(&v->bytes), uvb_load(&v->full));
}

static void
put_voqs(FILE *f, const struct uvb_map *m)
{
	struct voq_list l = {.f = f, .first = true};

	fputs("\"voqs\":[", f);
	for (l.dst = 0; l.dst < m->nb_ports; l.dst++)
		for (l.rxq = 0; l.rxq < uvb_map_ever_rxq(m, l.dst); l.rxq++)
			each_voq(m, l.dst, l.rxq, put_voq, &l);
	fputs("]", f);
}

/* ---------------------------------------------------------------------------------------- ports */

static void
put_rxq(FILE *f, const struct uvb_map *m, uint32_t port, uint32_t q)
{
	const struct uvb_rxq_shm *r = uvb_map_rxq(m, port, q);
	struct voq_sum sum = {0};

	each_voq(m, port, q, sum_voq, &sum);
	fprintf(f,
		"{\"id\":%u,\"packets\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"nombuf\":%" PRIu64
		",\"stale\":%" PRIu64 ",\"bad\":%" PRIu64 ",\"sleeps\":%" PRIu64
		",\"wakes\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"waiting\":%" PRIu64
		",\"imissed\":%" PRIu64 "}",
		q, uvb_load(&r->packets), uvb_load(&r->bytes), uvb_load(&r->nombuf),
		uvb_load(&r->stale), uvb_load(&r->bad), uvb_load(&r->sleeps), uvb_load(&r->wakes),
		uvb_load(&r->lost), sum.waiting, sum.full);
}

static uint32_t
cells_in_flight(const struct uvb_map *m, uint32_t port, uint32_t txq)
{
	const struct uvb_desc *desc = uvb_map_cells(m, port, txq).desc;
	uint64_t from = (uint64_t)((const uint8_t *)desc - m->base);
	uint64_t *pages = uvb_map_resident(m, from, m->cells_per_txq * sizeof(*desc));
	uint32_t n = 0;

	for (uint32_t i = 0; pages != NULL && i < m->cells_per_txq; i++)
		if (uvb_page_exists(pages, i * sizeof(*desc)))
			n += uvb_load(&desc[i].owner) != UVB_OWNER_FREE;
	free(pages);
	return n;
}

static void
put_txq(FILE *f, const struct uvb_map *m, uint32_t port, uint32_t q)
{
	const struct uvb_txq_shm *t = uvb_map_txq(m, port, q);
	uint64_t drops[UVB_TXD_MAX] = {0};

	load_drops(drops, t->drops, UVB_TXD_MAX);
	fprintf(f,
		"{\"id\":%u,\"packets\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"flooded\":%" PRIu64
		",\"copies\":%" PRIu64 ",\"limited\":%" PRIu64 ",\"no_cell\":%" PRIu64
		",\"bells\":%" PRIu64 ",\"fault_dups\":%" PRIu64 ",\"cells_in_flight\":%u,",
		q, uvb_load(&t->packets), uvb_load(&t->bytes), uvb_load(&t->flooded),
		uvb_load(&t->copies), uvb_load(&t->limited), uvb_load(&t->no_cell),
		uvb_load(&t->bells), uvb_load(&t->fault_dups), cells_in_flight(m, port, q));
	if (atomic_load(&uvb_map_hdr(m)->fault_seq) != 0)
		fprintf(f, "\"decisions_lost\":%" PRIu64 ",",
			uvb_load(&uvb_map_decisions(m, port, q)->lost));
	put_drops(f, uvb_txd_name, drops, UVB_TXD_MAX);
	fputs("}", f);
}

/* Sums over all queues, of this owner and earlier ones. */
static void
put_totals(FILE *f, const struct uvb_map *m, uint32_t port)
{
	uint64_t rx[2] = {0}, tx[2] = {0}, drops[UVB_PD_MAX] = {0};

	for (uint32_t q = 0; q < m->nb_queues; q++) {
		rx[0] += uvb_load(&uvb_map_rxq(m, port, q)->packets);
		rx[1] += uvb_load(&uvb_map_rxq(m, port, q)->bytes);
		tx[0] += uvb_load(&uvb_map_txq(m, port, q)->packets);
		tx[1] += uvb_load(&uvb_map_txq(m, port, q)->bytes);
	}
	for (uint32_t src = 0; src < m->nb_ports; src++)
		for (uint32_t t = 0; t < uvb_map_ever_txq(m, src); t++)
			load_drops(drops, uvb_map_pair(m, src, t, port)->drops, UVB_PD_MAX);
	fprintf(f,
		",\"rx_packets\":%" PRIu64 ",\"rx_bytes\":%" PRIu64 ",\"tx_packets\":%" PRIu64
		",\"tx_bytes\":%" PRIu64 ",",
		rx[0], rx[1], tx[0], tx[1]);
	put_drops(f, uvb_pd_name, drops, UVB_PD_MAX);
}

/* The processes that joined; the owner has a place of its own. */
static void
put_members(FILE *f, const struct uvb_port_shm *p)
{
	bool first = true;

	fprintf(f, ",\"shared\":%s,\"members\":[", p->flags & UVB_PORT_SHARED ? "true" : "false");
	for (uint32_t i = UVB_OWNER_SLOT + 1; i < UVB_MEMBERS_MAX; i++) {
		if (p->member[i].pid == 0)
			continue;
		comma(f, &first);
		fprintf(f, "%u", p->member[i].pid);
	}
	fputs("]", f);
}

static void
put_rules(FILE *f, const struct uvb_map *m, uint32_t id)
{
	struct uvb_rule rule;
	uint32_t slot = 0;
	bool first = true;

	fputs(",\"rules\":[", f);
	while (uvb_rules_next(m, id, &slot, &rule)) {
		const struct uvb_rule_count *count = &uvb_map_rules(m, id)->count[slot - 1];

		comma(f, &first);
		fprintf(f, "{\"slot\":%u,\"rule\":\"", slot - 1);
		uvb_rule_print(f, &rule);
		fprintf(f, "\",\"frames\":%" PRIu64 ",\"bytes\":%" PRIu64 "}",
			uvb_load(&count->frames), uvb_load(&count->bytes));
	}
	fputs("]", f);
}

static void
put_port(FILE *f, const struct uvb_map *m, uint32_t id)
{
	struct uvb_port_shm *p = uvb_map_port(m, id);
	uint32_t life = atomic_load_explicit(&p->life, memory_order_acquire), seq;
	uint32_t nb_rxq = p->nb_rxq, nb_txq = p->nb_txq;
	struct uvb_conf conf = {0};

	/* Met in the middle of a change: once more is enough, it takes nanoseconds. */
	if (!uvb_conf_read(p, &conf, &seq))
		uvb_conf_read(p, &conf, &seq);
	fprintf(f, "{\"id\":%u,\"name\":", id);
	uvb_put_name(f, p->name);
	fprintf(f, ",\"kind\":\"%s\",\"state\":\"%s\",\"gen\":%u,\"pid\":%u,\"mac\":",
		uvb_kind_name(atomic_load(&p->kind)), uvb_state_name(life), UVB_LIFE_GEN(life),
		p->member[UVB_OWNER_SLOT].pid);
	put_mac(f, conf.mac[0]);
	fprintf(f, ",\"started\":%s,\"promiscuous\":%s,\"mtu\":%u,\"nb_rxq\":%u,\"nb_txq\":%u",
		conf.flags & UVB_CONF_STARTED ? "true" : "false",
		conf.flags & UVB_CONF_PROMISC ? "true" : "false", conf.mtu, nb_rxq, nb_txq);
	put_members(f, p);
	if (UVB_LIFE_STATE(life) == UVB_PORT_UP)
		put_rules(f, m, id);
	put_totals(f, m, id);
	fputs(",\"rxqs\":[", f);
	for (uint32_t q = 0; q < nb_rxq && q < m->nb_queues; q++) {
		fputs(q != 0 ? "," : "", f);
		put_rxq(f, m, id, q);
	}
	fputs("],\"txqs\":[", f);
	for (uint32_t q = 0; q < nb_txq && q < m->nb_queues; q++) {
		fputs(q != 0 ? "," : "", f);
		put_txq(f, m, id, q);
	}
	fputs("]}", f);
}

static void
put_ports(FILE *f, const struct uvb_map *m)
{
	bool first = true;

	fputs("\"ports\":[", f);
	for (uint32_t i = 0; i < m->nb_ports; i++) {
		if (!uvb_map_ever_attached(m, i))
			continue;
		comma(f, &first);
		put_port(f, m, i);
	}
	fputs("]", f);
}

static void
put_pairs(FILE *f, const struct uvb_map *m)
{
	bool first = true;

	fputs("\"pairs\":[", f);
	for (uint32_t s = 0; s < m->nb_ports * m->nb_queues; s++) {
		uint32_t src = s / m->nb_queues, txq = s % m->nb_queues;

		for (uint32_t dst = 0; uvb_map_source_used(m, s) && dst < m->nb_ports; dst++) {
			uint64_t drops[UVB_PD_MAX] = {0}, any = 0;

			load_drops(drops, uvb_map_pair(m, src, txq, dst)->drops, UVB_PD_MAX);
			for (uint32_t i = 0; i < UVB_PD_MAX; i++)
				any |= drops[i];
			if (any == 0)
				continue;
			comma(f, &first);
			fprintf(f, "{\"src\":%u,\"txq\":%u,\"dst\":%u,", src, txq, dst);
			put_drops(f, uvb_pd_name, drops, UVB_PD_MAX);
			fputs("}", f);
		}
	}
	fputs("]", f);
}

static void
put_fdb_entry(FILE *f, const struct uvb_fdb_record *e, uint32_t age)
{
	uint8_t mac[6];

	for (int i = 0; i < 6; i++)
		mac[i] = (uint8_t)(e->mac >> (40 - 8 * i));
	fputs("{\"mac\":", f);
	put_mac(f, mac);
	fprintf(f, ",\"vlan\":%u,\"port\":%u,\"static\":%s,\"age_s\":%u}", e->vlan, e->port,
		e->is_static ? "true" : "false", e->is_static ? 0 : age);
}

void
uvb_put_fdb(FILE *f, const struct uvb_map *m)
{
	uint32_t now = (uint32_t)(uvb_clock_ns(uvb_map_hdr(m)) / 1000000000ULL);
	struct uvb_fdb_record e;
	struct uvb_fdb fdb;
	bool first = true;

	uvb_fdb_init(&fdb, m);
	fputs("\"fdb\":[", f);
	for (uint32_t b = 0; b < m->fdb_buckets; b++)
		for (uint32_t w = 0; w < UVB_FDB_WAYS; w++) {
			int32_t age = (int32_t)(now - atomic_load(&uvb_map_fdb(m)[b].seen[w]));

			if (!uvb_fdb_read(&fdb, b, w, &e))
				continue;
			comma(f, &first);
			put_fdb_entry(f, &e, age > 0 ? (uint32_t)age : 0);
		}
	fputs("]", f);
}

static void
put_ledger(FILE *f, const struct uvb_map *m)
{
	struct uvb_ledger l = {0};
	bool clean = uvb_ledger(m, &l) == 0 && l.leaked == 0 && l.stale == 0;

	fprintf(f,
		"\"ledger\":{\"cells\":%" PRIu64 ",\"free\":%" PRIu64 ",\"in_flight\":%" PRIu64
		",\"leaked\":%" PRIu64 ",\"stale\":%" PRIu64 ",\"clean\":%s}",
		l.cells, l.free, l.in_flight, l.leaked, l.stale, clean ? "true" : "false");
}

/* --------------------------------------------------------------------------------------- faults */

/* Filters are quoted: anything printable, made harmless. */
static void
put_text(FILE *f, const char *text, size_t room)
{
	fputc('"', f);
	for (size_t i = 0; i < room && text[i] != '\0'; i++) {
		if (text[i] == '"' || text[i] == '\\')
			fputc('\\', f);
		fputc(text[i] >= ' ' && text[i] < 0x7f ? text[i] : '?', f);
	}
	fputc('"', f);
}

static void
put_fault_terms(FILE *f, const struct uvb_fault_def *d)
{
	if (d->kind == UVB_FAULT_RULE)
		fprintf(f,
			",\"kind\":\"rule\",\"verdict\":\"%s\",\"skip\":%" PRIu64
			",\"count\":%" PRIu64 ",\"length\":%" PRIu32 ",\"delay_ns\":%" PRIu64,
			uvb_fault_verdict_name(d->verdict), d->skip, d->count, d->length,
			d->delay_ns);
	else
		fprintf(f,
			",\"kind\":\"model\",\"rate_bps\":%" PRIu64 ",\"queue_bytes\":%" PRIu64
			",\"burst_bytes\":%" PRIu64 ",\"delay_ns\":%" PRIu64
			",\"jitter_ns\":%" PRIu64 ",\"loss\":%" PRIu32 ",\"nth\":%" PRIu32
			",\"gemodel\":[%" PRIu32 ",%" PRIu32 ",%" PRIu32 ",%" PRIu32 "]"
			",\"duplicate\":%" PRIu32 ",\"corrupt\":%" PRIu32 ",\"seed\":%" PRIu64,
			d->rate_bps, d->queue_bytes, d->burst_bytes, d->delay_ns, d->jitter_ns,
			d->loss, d->nth, d->ge_p, d->ge_r, d->ge_bad, d->ge_good, d->duplicate,
			d->corrupt, d->seed);
}

static void
put_fault(FILE *f, const struct uvb_fault_shm *s, uint32_t handle)
{
	fprintf(f, "{\"handle\":%" PRIu32 ",\"port\":", handle);
	uvb_put_name(f, s->def.port);
	fprintf(f, ",\"dir\":\"%s\",\"filter\":", uvb_fault_dir_name(s->def.dir));
	put_text(f, s->def.text, sizeof(s->def.text));
	put_fault_terms(f, &s->def);
	fprintf(f,
		",\"matched\":%" PRIu64 ",\"hits\":%" PRIu64 ",\"held\":%" PRIu64
		",\"released\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"queue_full\":%" PRIu64 "}",
		uvb_load(&s->matched), uvb_load(&s->hits), uvb_load(&s->held),
		uvb_load(&s->released), uvb_load(&s->lost), uvb_load(&s->full));
}

static void
put_faults(FILE *f, const struct uvb_map *m)
{
	bool first = true;

	fputs("[", f);
	for (uint32_t i = 0; i < UVB_FAULTS_MAX; i++) {
		const struct uvb_fault_shm *s;
		uint32_t handle;

		if (atomic_load(&uvb_map_hdr(m)->fault_seq) == 0)
			break; /* there never was one: its pages do not exist */
		s = uvb_map_fault(m, i);
		handle = atomic_load_explicit(&s->handle, memory_order_acquire);
		if (handle == 0)
			continue;
		comma(f, &first);
		put_fault(f, s, handle);
	}
	fputs("]", f);
}

char *
uvb_view_faults_json(struct uvb_view *v)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (f == NULL)
		return NULL;
	put_faults(f, &v->map);
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

char *
uvb_view_json(struct uvb_view *v)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (f == NULL)
		return NULL;
	fputs("{", f);
	put_fabric(f, v);
	fputs(",", f);
	put_ports(f, &v->map);
	fputs(",", f);
	put_voqs(f, &v->map);
	fputs(",", f);
	put_pairs(f, &v->map);
	fputs(",", f);
	uvb_put_fdb(f, &v->map);
	fputs(",\"faults\":", f);
	put_faults(f, &v->map);
	fputs(",", f);
	uvb_put_switch(f, &v->map);
	fputs(",", f);
	put_ledger(f, &v->map);
	fputs("}", f);
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	return text;
}
