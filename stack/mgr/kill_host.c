/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/mgr/kill_host.h"

#include <errno.h>
#include <rte_eal.h>
#include <rte_flow.h>
#include <rte_malloc.h>
#include <rte_memzone.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/step/kill.h"

#define RETA_SIZE  8
#define NIC_KEEPS  4 /* buffers in a queue */
#define ZONES_MAX  64
#define CONNECTION 4 /* of a slot */

struct mgr m;
struct app app[SLOTS + 1];
int wire[2];
bool v_is_gone;
__typeof__(answers) answers;

static pid_t process[SLOTS + 1]; /* they only have a number */

static void
must(bool ok, const char *what)
{
	if (!ok)
		kill_stall("%s: %s", what, strerror(errno));
}

/* ----------------------------------------------------------------------------------- the NIC */

static struct nic {
	struct {
		struct rte_mbuf *in[NIC_KEEPS];
		uint32_t n;
	} rxq[NB_QUEUES];
	uint16_t reta[RETA_SIZE];
} * nic;

static uint16_t
nic_rx(void *queue, struct rte_mbuf **frame, uint16_t n)
{
	(void)queue;
	(void)frame;
	(void)n;
	return 0;
}

static uint16_t
nic_tx(void *queue, struct rte_mbuf **frame, uint16_t n)
{
	(void)queue;
	rte_pktmbuf_free_bulk(frame, n);
	return n;
}

static void
open_nic(void)
{
	static void *data[NB_QUEUES], *callbacks[NB_QUEUES];
	struct rte_eth_fp_ops *ops = &rte_eth_fp_ops[0];
	const struct rte_memzone *z =
		rte_memzone_reserve("uvs_nic", sizeof(*nic), SOCKET_ID_ANY, 0);

	must(z != NULL, "no memory for the NIC");
	nic = z->addr;
	memset(nic, 0, sizeof(*nic));
	ops->rx_pkt_burst = nic_rx;
	ops->tx_pkt_burst = nic_tx;
	ops->rxq.data = ops->txq.data = data;
	ops->rxq.clbk = ops->txq.clbk = callbacks;
}

/* What manager and stacks call of ethdev comes here. */

int
rte_eth_dev_info_get(uint16_t port, struct rte_eth_dev_info *info)
{
	(void)port;
	*info = (struct rte_eth_dev_info){.driver_name = "played"};
	return 0;
}

int
rte_eth_dev_rx_queue_start(uint16_t port, uint16_t q)
{
	struct rte_mempool *pool = m.host->slot[q + 1].pool;

	(void)port;
	for (nic->rxq[q].n = 0; nic->rxq[q].n < NIC_KEEPS; nic->rxq[q].n++)
		if ((nic->rxq[q].in[nic->rxq[q].n] = rte_mbuf_raw_alloc(pool)) == NULL)
			return -ENOMEM;
	return 0;
}

int
rte_eth_dev_rx_queue_stop(uint16_t port, uint16_t q)
{
	(void)port;
	for (; nic->rxq[q].n > 0; nic->rxq[q].n--)
		rte_pktmbuf_free_seg(nic->rxq[q].in[nic->rxq[q].n - 1]);
	return 0;
}

int
rte_eth_dev_tx_queue_start(uint16_t port, uint16_t q)
{
	(void)port;
	(void)q;
	return 0;
}

int
rte_eth_dev_tx_queue_stop(uint16_t port, uint16_t q)
{
	(void)port;
	(void)q;
	return 0;
}

int
rte_eth_dev_rss_reta_update(uint16_t port, struct rte_eth_rss_reta_entry64 *group, uint16_t size)
{
	(void)port;
	for (uint16_t i = 0; i < size; i++)
		nic->reta[i] = group[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE];
	return 0;
}

struct rte_flow *
rte_flow_create(uint16_t port, const struct rte_flow_attr *attr,
		const struct rte_flow_item pattern[], const struct rte_flow_action actions[],
		struct rte_flow_error *error)
{
	(void)port;
	(void)attr;
	(void)pattern;
	(void)error;
	return (struct rte_flow *)(uintptr_t)actions;
}

int
rte_flow_destroy(uint16_t port, struct rte_flow *flow, struct rte_flow_error *error)
{
	(void)port;
	(void)flow;
	(void)error;
	return 0;
}

/* ------------------------------------------------------- parts of the manager that are played */

void
memory_forget(struct mgr *mgr, pid_t pid)
{
	(void)mgr;
	(void)pid;
}

bool
memory_is_mapped(const struct mgr *mgr, pid_t pid)
{
	(void)mgr;
	return !v_is_gone || pid != process[V];
}

uint32_t
locks_free(void)
{
	return 0;
}

void
show_answer(struct mgr *mgr, struct client *c, const struct uvs_msg_text *ask)
{
	(void)mgr;
	(void)c;
	(void)ask;
}

/* -------------------------------------------------------------------------------------- stacks */

void
enter(uint32_t slot)
{
	uvs_self = slot != 0 ? &app[slot].in : NULL;
}

void
app_says(uint32_t slot, enum uvs_msg_type type)
{
	union uvs_msg msg = {
		.slot = {.head = {type, sizeof(msg.slot)},
			 .slot = type == UVS_MSG_ATTACHED ? 0 : slot},
	};

	client_said(&m, app[slot].client, &msg, sizeof(msg.slot));
}

void
app_come(uint32_t slot)
{
	union uvs_msg msg = {.hello = {{UVS_MSG_HELLO, sizeof(msg.hello)}, UVS_PROTO_VERSION, 1}};
	struct client *c = calloc(1, sizeof(*c));

	must(c != NULL, "no memory for a client");
	client_meet(&m, c, process[slot], -1, slot == V ? dup(wire[1]) : -1);
	app[slot].client = c;
	client_said(&m, c, &msg, sizeof(msg.hello));
	if (c->state != CLIENT_ATTACHING)
		kill_stall("process %u does not have its turn", slot);
}

void
app_attach(uint32_t slot)
{
	app_says(slot, UVS_MSG_ATTACHED);
	if (app[slot].client->slots != 1ULL << slot)
		kill_stall("the next process does not get slot %u", slot);
}

static uint32_t
generation(uint32_t slot)
{
	int q = uvs_slot_queue(m.host, slot);

	return q >= 0 ? UVS_LEASE_GEN(atomic_load(&m.host->lease[q].word)) : 0;
}

void
app_start(uint32_t slot)
{
	struct app *a = &app[slot];

	uvs_inst_init(&a->in, &m.conf);
	a->share = uvs_share_new(m.host, slot, generation(slot));
	if (a->share == NULL || uvs_share_start(a->share, &a->in) != 0)
		kill_stall("the stack of slot %u does not start", slot);
	a->in.mem.depot = 1 << 20;
	app_says(slot, UVS_MSG_READY);
}

void
app_ends(uint32_t slot)
{
	struct client *c = app[slot].client;

	app[slot].client = NULL;
	c->process.ready(&m, &c->process);
}

/* Of the NIC's own; or handed over, if the slot has no queue. */
void
hand_over(uint32_t from, uint32_t to)
{
	struct app *a = &app[from];
	struct rte_mbuf *mbuf;

	enter(from);
	mbuf = rte_pktmbuf_alloc(a->in.mem.pool);
	if (mbuf == NULL)
		kill_leak("the stack of slot %u has no buffer left", from);
	rte_pktmbuf_append(mbuf, 60);
	uvs_mbuf_priv(mbuf)->way = UVS_WAY_OUT;
	if (!uvs_softq_stage(&a->share->end, to, uvs_mbuf_priv(mbuf)->label.ref))
		kill_stall("slot %u cannot send to slot %u", from, to);
	uvs_share_flush(&a->in);
	enter(0);
}

uint32_t
serve(uint32_t slot)
{
	uint32_t n;

	enter(slot);
	n = uvs_share_poll(&app[slot].in);
	uvs_share_flush(&app[slot].in);
	enter(0);
	return n;
}

/* ------------------------------------------------------------------------------------ manager */

static void
take_memory(void)
{
	uint64_t wake;

	m.reta_size = RETA_SIZE;
	memcpy(m.reta, nic->reta, sizeof(nic->reta));
	uvs_softq_take_over(&m.boss, &m.host->x, &wake);
	uvs_steer_map(&m.map, &m.host->steer, m.host->steer_memory);
	must(uvs_rules_adopt(&m.rules, &m.map.rules, m.map.claims) == 0, "no memory for rules");
	uvs_nicrules_start(&m.nic_rules, m.port.id, m.host, &m.rules);
	TAILQ_INIT(&m.clients);
}

static struct client *
client_of_slot(uint32_t slot)
{
	struct client *c;

	TAILQ_FOREACH (c, &m.clients, next)
		if ((c->slots >> slot & 1) != 0)
			return c;
	return NULL;
}

void
heir(void)
{
	struct mgr dead = m;

	m = (struct mgr){.conf = dead.conf, .host = dead.host, .heir = true};
	memcpy(m.bells, dead.bells, sizeof(m.bells));
	take_memory();
	clients_adopt(&m);
	for (uint32_t slot = 1; slot <= SLOTS; slot++)
		app[slot].client = client_of_slot(slot);
}

/* -------------------------------------------------------------------------------------- checks */

static bool
is_up(uint32_t slot)
{
	return app[slot].client != NULL && slot_is_up(&m, slot) &&
	       app[slot].share->gen == generation(slot);
}

static void
settle(void)
{
	for (int round = 0; round < 4; round++) { /* there, back, and the manager's */
		slots_tick(&m);
		for (uint32_t slot = 1; slot <= SLOTS; slot++)
			if (is_up(slot))
				serve(slot);
	}
}

/* Once only. */
static void
note_buffer(bool *seen, uint32_t slot, const struct rte_mbuf *mbuf)
{
	uvs_ref ref = uvs_mbuf_priv(mbuf)->label.ref;

	if (UVS_REF_POOL(ref) != slot || UVS_REF_INDEX(ref) >= BUFFERS)
		kill_leak("the pool of slot %u has another's buffer", slot);
	if (seen[UVS_REF_INDEX(ref)])
		kill_leak("buffer %u of slot %u is free twice", UVS_REF_INDEX(ref), slot);
	if (rte_mbuf_refcnt_read(mbuf) != 1 || mbuf->next != NULL || mbuf->nb_segs != 1)
		kill_leak("buffer %u of slot %u is free, and not as new", UVS_REF_INDEX(ref), slot);
	seen[UVS_REF_INDEX(ref)] = true;
}

/* Free, or the NIC's. */
static void
check_pool(uint32_t slot, const char *when)
{
	int q = uvs_slot_queue(m.host, slot);
	struct rte_mempool *pool = m.host->slot[slot].pool;
	bool seen[BUFFERS] = {false};
	void *obj[BUFFERS + 1];
	uint32_t n = 0, kept = q >= 0 ? nic->rxq[q].n : 0;

	enter(slot);
	while (n <= BUFFERS && rte_mempool_get(pool, &obj[n]) == 0)
		note_buffer(seen, slot, obj[n++]);
	for (uint32_t i = 0; i < kept; i++)
		note_buffer(seen, slot, nic->rxq[q].in[i]);
	rte_mempool_put_bulk(pool, obj, n);
	enter(0);
	if (n + kept != BUFFERS)
		kill_leak("%s, %u of %d buffers of slot %u are free, %u the NIC's", when, n,
			  BUFFERS, slot, kept);
}

static void
check_ledger(uint32_t slot, bool at_rest, const char *when)
{
	struct uvs_softq_ledger l;

	uvs_softq_ledger(&m.host->x, slot, &l);
	if (l.lost != 0 || (at_rest && l.home != l.total))
		kill_leak("%s, of %u buffers of slot %u %u are at home, %u held, %u lost", when,
			  l.total, slot, l.home, l.held, l.lost);
	if (atomic_load(&m.host->x.inbox[slot].bad) != 0)
		kill_leak("%s, slot %u has met references that made no sense", when, slot);
}

static void
check_reta(const char *when)
{
	for (uint32_t i = 0; i < RETA_SIZE; i++)
		if (!uvs_lease_in_reta(
			    UVS_LEASE_STATE(atomic_load(&m.host->lease[nic->reta[i]].word))))
			kill_stall("%s, traffic is directed at queue %u, which nobody polls", when,
				   nic->reta[i]);
}

void
check_running(const char *when)
{
	settle();
	check_reta(when);
	for (uint32_t slot = 1; slot <= SLOTS; slot++)
		check_ledger(slot, false, when);
}

void
check_host(const char *when)
{
	settle();
	check_reta(when);
	for (uint32_t slot = 1; slot <= SLOTS; slot++) {
		check_ledger(slot, true, when);
		if (is_up(slot))
			check_pool(slot, when);
	}
}

/* -------------------------------------------------------------------------------------- memory */

static struct {
	void *at, *kept;
	size_t len;
} zone[ZONES_MAX];
static uint32_t nb_zones;

static void
add_memory(void *at, size_t len)
{
	must(nb_zones < ZONES_MAX, "too many zones");
	zone[nb_zones].at = at;
	zone[nb_zones].len = len;
	zone[nb_zones].kept = malloc(len);
	must(zone[nb_zones++].kept != NULL, "no memory to keep a zone in");
}

/* Of the table of ports nothing is used. */
static void
note_zone(const struct rte_memzone *z, void *arg)
{
	size_t claims = strcmp(z->name, "uvs_steer") == 0 ? sizeof(struct uvs_claims) : 0;

	(void)arg;
	if (strstr(z->name, "uvs_") != NULL)
		add_memory((char *)z->addr + claims, z->len - claims);
}

static void
note_memory(void)
{
	rte_memzone_walk(note_zone, NULL);
	for (uint32_t slot = 1; slot <= SLOTS; slot++) {
		void *list = ((struct rte_mempool *)m.host->slot[slot].pool)->pool_data;
		size_t len = 0;

		must(rte_malloc_validate(list, &len) == 0, "a pool's list is elsewhere");
		add_memory(list, len);
	}
}

void
host_save(void)
{
	for (uint32_t i = 0; i < nb_zones; i++)
		memcpy(zone[i].kept, zone[i].at, zone[i].len);
}

/* What victims have said and heard is off the wire, the answers are on it. */
static void
restore_wire(void)
{
	char rest[sizeof(union uvs_msg)];

	for (int end = 0; end < 2; end++)
		while (recv(wire[end], rest, sizeof(rest), MSG_DONTWAIT) > 0)
			;
	for (uint32_t i = 0; i < answers.n; i++)
		must(send(wire[1], &answers.msg[i], answers.msg[i].head.len, 0) > 0,
		     "an answer for V");
}

void
host_restore(void)
{
	for (uint32_t i = 0; i < nb_zones; i++)
		memcpy(zone[i].at, zone[i].kept, zone[i].len);
	restore_wire();
}

/* -------------------------------------------------------------------------------------- set-up */

static void
start_eal(void)
{
	char *argv[] = {"kill",           "--no-huge",         "--no-shconf",
			"--no-telemetry", "--no-pci",          "-m48",
			"--lcores=0",     "--log-level=error", NULL};

	must(rte_eal_init((int)RTE_DIM(argv) - 1, argv) >= 0, "EAL does not start");
}

static pid_t
idle_process(void)
{
	pid_t pid = fork();

	must(pid >= 0, "no process");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return pid;
}

void
host_set_up(void)
{
	char err[UVS_ERR_LEN];

	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, wire) == 0, "no wire");
	start_eal();
	uvs_conf_defaults(&m.conf);
	m.conf.slots = SLOTS;
	m.conf.mbufs = BUFFERS;
	m.conf.connections = CONNECTION;
	m.conf.poll = UVS_POLL_BUSY;
	if (zones_make(&m, err) < 0)
		kill_stall("%s", err);
	m.host->nb_queues = NB_QUEUES;
	open_nic();
	take_memory();
	for (uint32_t slot = 0; slot <= SLOTS; slot++) {
		uvs_link_up.efd[slot] = m.bells[slot] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		process[slot] = idle_process();
	}
	uvs_link_up.control = wire[0];
	for (uint32_t slot = A; slot <= B; slot++) {
		app_come(slot);
		app_attach(slot);
		app_start(slot);
	}
	note_memory();
}

void
host_tear_down(void)
{
	for (uint32_t slot = 0; slot <= SLOTS; slot++) {
		kill(process[slot], SIGKILL);
		waitpid(process[slot], NULL, 0);
	}
}
