/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/mgr/mgr.h"
#include "stack/mgr/pcbs.h"
#include "stack/seen/out.h"
#include "stack/seen/sample.h"

#include <arpa/inet.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define US 1000

static uint64_t
load(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static bool
is_used(const struct mgr *m, uint32_t slot)
{
	return (m->used >> slot & 1) != 0;
}

/* ------------------------------------------------------------------------------------------- ps */

static const char *
client_state_name(const struct client *c)
{
	static const char *const names[] = {"new", "waiting", "attaching", "up", "tool"};

	return c->stopped ? "stopped" : names[c->state];
}

static void
slot_list(uint64_t slots, char *text, size_t len)
{
	size_t used = 0;

	text[0] = '\0';
	for (; slots != 0 && used + 4 < len; slots &= slots - 1)
		used += (size_t)snprintf(text + used, len - used, "%s%d", used != 0 ? "," : "",
					 __builtin_ctzll(slots));
}

static void
show_ps(struct mgr *m, struct out *o)
{
	char slots[64];
	struct client *c;

	out_table(o, "processes");
	TAILQ_FOREACH (c, &m->clients, next) {
		if (c->state == CLIENT_TOOL || c->state == CLIENT_NEW)
			continue;
		slot_list(c->slots, slots, sizeof(slots));
		out_row(o);
		out_num(o, "pid", 7, (uint64_t)c->pid);
		out_str(o, "name", -15, c->name);
		out_str(o, "state", -9, client_state_name(c));
		out_num(o, "seconds", 7, (mgr_now() - c->since) / UVS_NS_PER_S);
		out_str(o, "slots", 0, slots);
		out_row_end(o);
	}
	out_table_end(o, "no processes");
}

/* --------------------------------------------------------------------------------------- queues */

static uint32_t
reta_share(const struct mgr *m, int q)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < m->reta_size; i++)
		n += m->reta[i] == q;
	return n;
}

static uint64_t
forwarded(const struct uvs_steer_stats *st)
{
	uint64_t n = 0;

	for (int c = UVS_STEER_TO_HOLDER; c <= UVS_STEER_TO_NEXT; c++)
		n += load(&st->count[c]);
	return n;
}

static void
show_slot(struct mgr *m, struct out *o, uint32_t slot)
{
	const struct uvs_steer_stats *st = &m->map.stats[slot];
	const struct uvs_slot *s = &m->host->slot[slot];
	int q = uvs_slot_queue(m->host, slot);
	const struct uvs_inbox *in = &m->host->x.inbox[slot];
	char queue[16] = "-";

	if (q >= 0)
		snprintf(queue, sizeof(queue), "%d", q);
	out_row(o);
	out_num(o, "slot", 4, slot);
	out_str(o, "queue", 5, queue);
	out_str(o, "state", -9,
		q < 0 ? (is_used(m, slot) ? "soft" : "free")
		      : uvs_lease_state_name(
				UVS_LEASE_STATE(atomic_load(&m->host->lease[q].word))));
	out_num(o, "reta", 4, q >= 0 ? reta_share(m, q) : 0);
	out_num(o, "pid", 7, is_used(m, slot) ? (uint64_t)atomic_load(&s->pid) : 0);
	out_str(o, "name", -15, is_used(m, slot) ? s->name : "");
	out_num(o, "direct", 11, load(&s->c.direct));
	out_num(o, "forwarded", 11, forwarded(st));
	out_num(o, "taken", 11, load(&in->taken));
	out_num(o, "lost", 6,
		load(&st->count[UVS_STEER_DROPPED]) + load(&s->c.copy_nombuf) +
			load(&s->c.proxy_full) + load(&s->c.proxy_none));
	out_num(o, "leases", 6, s->leases);
	out_num(o, "reclaims", 8, s->reclaims);
	out_num(o, "reclaim_us", 10, s->reclaim_ns / US);
	out_row_end(o);
}

static void
show_queues(struct mgr *m, struct out *o)
{
	out_table(o, "queues");
	for (uint32_t slot = 1; slot < m->host->nb_slots; slot++)
		show_slot(m, o, slot);
	out_table_end(o, "no slots");
}

/* -------------------------------------------------------------------------- pools and the ledger
 */

static void
show_pool(struct mgr *m, struct out *o, uint32_t slot, const struct uvs_softq_ledger *l)
{
	struct rte_mempool *pool = m->host->slot[slot].pool;

	out_row(o);
	out_num(o, "slot", 4, slot);
	out_num(o, "total", 7, l->total);
	out_num(o, "home", 7, l->home);
	out_num(o, "free", 7, rte_mempool_avail_count(pool));
	out_num(o, "on_rings", 8, l->in_ring);
	out_num(o, "held", 6, l->held);
	out_num(o, "lost", 6, l->lost);
	out_row_end(o);
}

static void
show_pools(struct mgr *m, struct out *o)
{
	struct uvs_softq_ledger l;

	out_table(o, "pools");
	for (uint32_t slot = 1; slot < m->host->nb_slots; slot++) {
		uvs_softq_ledger(&m->host->x, slot, &l);
		show_pool(m, o, slot, &l);
	}
	out_table_end(o, "no pools");
}

/* At rest: every buffer in one place, and those of slots that nobody has at home and free. */
static int
show_ledger(struct mgr *m, struct out *o)
{
	uint32_t wrong = 0;

	slots_tick(m);
	show_pools(m, o);
	out_table(o, "findings");
	for (uint32_t slot = 1; slot < m->host->nb_slots; slot++) {
		struct rte_mempool *pool = m->host->slot[slot].pool;
		struct uvs_softq_ledger l;
		uint32_t free = rte_mempool_avail_count(pool);

		uvs_softq_ledger(&m->host->x, slot, &l);
		if (l.lost == 0 && (is_used(m, slot) || l.home + l.held + l.in_ring == l.total) &&
		    free <= l.home)
			continue;
		wrong++;
		out_row(o);
		out_num(o, "slot", 4, slot);
		out_str(o, "finding", 0,
			l.lost != 0 ? "buffers that are in no place"
				    : "buffers that are neither free nor away");
		out_row_end(o);
	}
	out_table_end(o, "clean: every buffer is in exactly one place");
	return wrong != 0;
}

/* ---------------------------------------------------------------------------------------- rules */

static const char *const space_name[UVS_CLAIM_SPACES] = {"tcp", "udp", "tcp6", "udp6"};

struct rules_of {
	struct mgr *m;
	struct out *o;
};

/* Also of a NIC that takes none. */
static const char *
taken_kinds(const struct uvs_nicrules *n)
{
	static char text[32];
	size_t used = 0;

	snprintf(text, sizeof(text), "none");
	for (int kind = 0; kind < UVS_CLAIM_SPACES; kind++)
		if (n->takes[kind])
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s",
						 used != 0 ? "," : "", space_name[kind]);
	return text;
}

static void
show_slots_of(struct out *o, const char *title, uint64_t slots)
{
	char text[64];

	slot_list(slots, text, sizeof(text));
	out_str(o, title, -12, text);
}

static void
show_port(struct mgr *m, struct out *o, enum uvs_claim_space space, uint16_t port)
{
	uint64_t held = uvs_claim_held(m->map.claims, space, port);

	if (held == 0)
		return;
	out_row(o);
	out_str(o, "proto", -5, space_name[space]);
	out_num(o, "port", 5, port);
	show_slots_of(o, "held_by", held);
	show_slots_of(o, "open_in", uvs_claim_opened(m->map.claims, space, port));
	out_row_end(o);
}

static void
flow_address(const struct uvs_flow *f, const uint32_t *addr, uint16_t port, char *text, size_t len)
{
	char ip[INET6_ADDRSTRLEN];

	inet_ntop(f->family == 6 ? AF_INET6 : AF_INET, addr, ip, sizeof(ip));
	snprintf(text, len, f->family == 6 ? "[%s]:%u" : "%s:%u", ip, port);
}

/* Is the rule in the NIC, too, and how many frames has it brought? */
static void
show_nic_rule(const struct rules_of *of, const struct uvs_flow *f)
{
	char frames[24] = "-";
	uint64_t n;
	bool there = uvs_nicrules_query(&of->m->nic_rules, f, &n);

	if (there && n != UINT64_MAX)
		snprintf(frames, sizeof(frames), "%lu", n);
	out_str(of->o, "nic", -3, there ? "yes" : "no");
	out_str(of->o, "frames", 0, frames);
}

static void
show_rule(void *arg, const struct uvs_flow *f, uint32_t slot)
{
	char local[64], remote[64];
	const struct rules_of *of = arg;
	struct out *o = of->o;

	flow_address(f, f->local, f->lport, local, sizeof(local));
	flow_address(f, f->remote, f->rport, remote, sizeof(remote));
	out_row(o);
	out_str(o, "proto", -5, f->proto == IPPROTO_TCP ? "tcp" : "udp");
	out_str(o, "local", -21, local);
	out_str(o, "remote", -21, remote);
	out_num(o, "slot", 4, slot);
	show_nic_rule(of, f);
	out_row_end(o);
}

static void
show_nic(struct mgr *m, struct out *o)
{
	const struct uvs_nicrules *n = &m->nic_rules;

	out_table(o, "nic");
	out_row(o);
	out_str(o, "driver", -15, m->port.driver);
	out_str(o, "takes", -19, taken_kinds(n));
	out_num(o, "rules", 6, n->n);
	out_num(o, "made", 8, n->made);
	out_num(o, "refused", 8, n->refused);
	out_str(o, "why", 0, n->why);
	out_row_end(o);
	out_table_end(o, "");
}

static void
show_rules(struct mgr *m, struct out *o)
{
	struct rules_of of = {m, o};

	out_table(o, "ports");
	for (int space = 0; space < UVS_CLAIM_SPACES; space++)
		for (uint32_t port = 1; port < 65536; port++)
			show_port(m, o, (enum uvs_claim_space)space, (uint16_t)port);
	out_table_end(o, "no ports");
	out_table(o, "rules");
	uvs_rules_walk(&m->map.rules, show_rule, &of);
	out_table_end(o, "no rules: every connection is found by its port");
	show_nic(m, o);
}

/* ------------------------------------------------------------------------------------------- ss */

static void
endpoint(const struct pcb_view *v, bool local, char *text, size_t len)
{
	char addr[INET6_ADDRSTRLEN];

	if (v->is_v4)
		inet_ntop(AF_INET, local ? &v->local : &v->remote, addr, sizeof(addr));
	else
		inet_ntop(AF_INET6, local ? v->local6 : v->remote6, addr, sizeof(addr));
	snprintf(text, len, v->is_v4 ? "%s:%u" : "[%s]:%u", addr, local ? v->lport : v->rport);
}

static void
show_connection(struct mgr *m, struct out *o, uint32_t slot, const struct pcb_view *v)
{
	const struct uvs_slot *s = &m->host->slot[slot];
	char local[64], remote[64];

	endpoint(v, true, local, sizeof(local));
	endpoint(v, false, remote, sizeof(remote));
	out_row(o);
	out_str(o, "state", -10, pcb_state_name(v->state));
	out_num(o, "unacked", 8, v->unacked);
	out_str(o, "local", -21, local);
	out_str(o, "remote", -21, remote);
	out_num(o, "slot", 4, slot);
	out_num(o, "pid", 7, (uint64_t)atomic_load(&s->pid));
	out_str(o, "name", -15, s->name);
	out_str(o, "process", 0, is_used(m, slot) ? "alive" : "dead");
	out_row_end(o);
}

static void
show_ss(struct mgr *m, struct out *o)
{
	struct pcb_view v;

	out_table(o, "connections");
	for (uint32_t slot = 1; slot < m->host->nb_slots; slot++)
		for (uint32_t i = 0; i < m->host->nb_pcbs; i++)
			if (pcb_read(m->host, slot, i, &v) && v.rport != 0)
				show_connection(m, o, slot, &v);
	out_table_end(o, "no connections");
}

/* --------------------------------------------------------------------------------------- status */

/* Of EAL's shared heaps: whatever a process that is gone has left there. */
static uint64_t
heap_bytes(void)
{
	struct rte_malloc_socket_stats stats;
	uint64_t n = 0;

	for (unsigned int i = 0; i < rte_socket_count(); i++)
		if (rte_malloc_get_socket_stats(rte_socket_id_by_idx(i), &stats) == 0)
			n += stats.heap_allocsz_bytes;
	return n;
}

static void
show_status(struct mgr *m, struct out *o)
{
	char addr[INET_ADDRSTRLEN], cidr[32];

	inet_ntop(AF_INET, &m->host->address, addr, sizeof(addr));
	snprintf(cidr, sizeof(cidr), "%s/%u", addr, m->host->prefix);
	out_table(o, "host");
	out_row(o);
	out_str(o, "address", -18, cidr);
	out_str(o, "driver", -10, m->port.driver);
	out_num(o, "queues", 6, m->host->nb_queues);
	out_num(o, "slots", 5, m->host->nb_slots - 1);
	out_num(o, "free", 4, slots_free(m));
	out_str(o, "accepts", -7, m->draining ? "no" : "yes");
	out_num(o, "attaches", 8, m->stats.attaches);
	out_num(o, "exits", 6, m->stats.exits);
	out_num(o, "deaths", 6, m->stats.deaths);
	out_num(o, "refused", 7, m->stats.refused);
	out_num(o, "returned", 8, m->stats.returned);
	out_num(o, "resets", 6, m->stats.resets);
	out_num(o, "locks", 5, m->stats.locks);
	out_num(o, "attach_p50_us", 13, span_percentile(&m->attach, 50));
	out_num(o, "attach_p99_us", 13, span_percentile(&m->attach, 99));
	out_num(o, "reclaim_p50_us", 14, span_percentile(&m->reclaim, 50));
	out_num(o, "reclaim_p99_us", 14, span_percentile(&m->reclaim, 99));
	out_num(o, "seconds", 7, (mgr_now() - m->started_ns) / UVS_NS_PER_S);
	out_num(o, "heap", 9, heap_bytes());
	out_num(o, "files", 5, memory_files(m));
	out_num(o, "manager", 7, (uint64_t)getpid());
	out_row_end(o);
	out_table_end(o, "");
}

/* -------------------------------------------------------------------- seen (stack/seen/sample.h)
 */

/* False: nobody has had that slot. */
static bool
sample_slot(struct mgr *m, uint32_t slot, struct uvs_sample *s)
{
	struct uvs_view v;

	memset(s, 0, sizeof(*s));
	if (!metrics_view(m, slot, &v))
		return false;
	s->slot = slot;
	s->is_manager = slot == UVS_SLOT_BOSS;
	s->alive = s->is_manager || is_used(m, slot);
	uvs_sample_take(&v, s);
	if (s->is_manager)
		s->pid = getpid();
	else
		memcpy(s->seen.name, m->host->slot[slot].name, sizeof(s->seen.name));
	return true;
}

static uint32_t
leased_slots(const struct mgr *m)
{
	uint32_t n = 0;

	for (uint32_t slot = 1; slot < m->host->nb_slots; slot++)
		n += m->host->slot[slot].leases != 0;
	return n;
}

static void
write_nic(FILE *f, const struct rte_eth_xstat_name *names, const struct rte_eth_xstat *values,
	  uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct uvs_nic_counter c = {.value = values[i].value};

		snprintf(c.name, sizeof(c.name), "%s", names[values[i].id].name);
		fwrite(&c, sizeof(c), 1, f);
	}
}

/* Everything that is counted, as it stands: the tool makes tables of it. */
static void
show_seen(struct mgr *m, FILE *f)
{
	int n = rte_eth_xstats_get(m->port.id, NULL, 0);
	uint32_t nb_nic = n > 0 ? (uint32_t)n : 0;
	struct rte_eth_xstat_name *names = calloc(nb_nic, sizeof(*names));
	struct rte_eth_xstat *values = calloc(nb_nic, sizeof(*values));
	struct uvs_sample *s = calloc(1, sizeof(*s));
	struct uvs_samples_head head = {sizeof(*s), uvs_nb_counters, 1 + leased_slots(m), nb_nic};

	if (names == NULL || values == NULL || s == NULL ||
	    rte_eth_xstats_get_names(m->port.id, names, nb_nic) != n ||
	    rte_eth_xstats_get(m->port.id, values, nb_nic) != n)
		head.nb_nic = 0;
	fwrite(&head, sizeof(head), 1, f);
	for (uint32_t slot = 0; s != NULL && slot < m->host->nb_slots; slot++)
		if (sample_slot(m, slot, s))
			fwrite(s, sizeof(*s), 1, f);
	write_nic(f, names, values, head.nb_nic);
	free(names);
	free(values);
	free(s);
}

static void
set_latency(const struct mgr *m, bool on)
{
	for (uint32_t slot = 1; slot < m->host->nb_slots; slot++) {
		struct uvs_seen *seen = m->host->slot[slot].seen;

		atomic_store_explicit(&seen->latency, on, memory_order_relaxed);
	}
}

/* ------------------------------------------------------------------------------------- answering
 */

/* Nobody new comes in; who is there stays. */
static void
set_draining(struct mgr *m, struct out *o, bool draining)
{
	m->draining = draining;
	show_status(m, o);
}

static bool
has_processes(const struct mgr *m)
{
	return (m->used & ~(1ULL << m->standin.slot)) != 0;
}

/* Not while somebody attaches: he would have to begin again. Not if the card would go with us. */
static int
reload(struct mgr *m, struct out *o)
{
	m->reload = m->done = m->attaching == NULL && !(m->host->by_manager && has_processes(m));
	show_status(m, o);
	return m->reload ? 0 : 1;
}

static int
tell(struct mgr *m, struct out *o, const char *word)
{
	if (strcmp(word, "status") == 0)
		show_status(m, o);
	else if (strcmp(word, "ps") == 0)
		show_ps(m, o);
	else if (strcmp(word, "queues") == 0)
		show_queues(m, o);
	else if (strcmp(word, "pools") == 0)
		show_pools(m, o);
	else if (strcmp(word, "ss") == 0)
		show_ss(m, o);
	else if (strcmp(word, "rules") == 0)
		show_rules(m, o);
	else if (strcmp(word, "drain") == 0)
		set_draining(m, o, true);
	else if (strcmp(word, "accept") == 0)
		set_draining(m, o, false);
	else if (strcmp(word, "reload") == 0)
		return reload(m, o);
	else if (strcmp(word, "seen") == 0)
		show_seen(m, o->f);
	else if (strcmp(word, "latency on") == 0)
		set_latency(m, true);
	else if (strcmp(word, "latency off") == 0)
		set_latency(m, false);
	else if (strcmp(word, "ledger") == 0)
		return show_ledger(m, o);
	else
		return -1;
	return 0;
}

/* However long it is, the manager does not wait for its reader: it is a file. */
static void
send_answer(struct client *c, int fd, int32_t status)
{
	struct uvs_msg_text end = {.head = {UVS_MSG_END, sizeof(end)}, .status = status};
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {.room = ""};
	struct iovec iov = {.iov_base = &end, .iov_len = sizeof(end)};
	struct msghdr h = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control.room,
			   .msg_controllen = sizeof(control.room)};
	struct cmsghdr *cm = CMSG_FIRSTHDR(&h);

	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cm), &fd, sizeof(int));
	sendmsg(c->socket.fd, &h, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void
show_answer(struct mgr *m, struct client *c, const struct uvs_msg_text *ask)
{
	int fd = memfd_create("uvstack", MFD_CLOEXEC), status;
	FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
	char word[32];
	struct out o;

	snprintf(word, sizeof(word), "%.*s", (int)strnlen(ask->text, sizeof(word) - 1), ask->text);
	if (f == NULL) {
		client_refuse(m, c, -ENOMEM, "no memory for an answer");
		return;
	}
	out_begin(&o, f, ask->json != 0);
	status = tell(m, &o, word);
	out_end(&o);
	if (status < 0)
		client_refuse(m, c, -EINVAL, "it knows nothing about \"%s\"", word);
	else if (fflush(f) == 0)
		send_answer(c, fd, status);
	fclose(f);
}
