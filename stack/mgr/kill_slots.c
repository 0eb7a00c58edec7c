/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Kills a process of a shared host, or its manager, at every instruction of what slots, their pools
 * and their arenas are handed out, used and taken back with (harness/step/kill.h).
 *
 * Stacks A and B survive, B without a queue. While the victim stands still at the place of its
 * death they send through each other. Then it is killed:
 *  - a process: the manager hears what it had said last, or nothing, and of its end;
 *  - the manager: another one takes the host over; V's process goes on, and ends later, or has gone
 *    meanwhile.
 * Afterwards every buffer is in one place and none is free twice, the redirection table names
 * stacks that poll, and the next process has the slot, all of its buffers, and its traffic.
 */
#include <string.h>

#include "harness/step/kill.h"
#include "stack/mgr/kill_host.h"
#include "stack/share/client.h"

/* --------------------------------------------------------------------------------------- judge */

/* They go on whatever happens: B by way of A. */
static void
frozen(pid_t victim)
{
	(void)victim;
	hand_over(B, A);
	if (serve(A) == 0)
		kill_stall("what B sends does not get to A");
	hand_over(A, V); /* whoever that is */
}

/* Comes, sends, receives, has all of its buffers, and leaves in order. */
static void
check_successor(void)
{
	app_come(V);
	app_attach(V);
	app_start(V);
	hand_over(V, A);
	hand_over(A, V);
	hand_over(B, V);
	if (serve(V) != 2 || serve(A) == 0)
		kill_stall("the next stack of the slot is not reached, or does not reach others");
	check_host("with the slot's next process");
	if (UVS_LEASE_STATE(atomic_load(&m.host->lease[V - 1].word)) != UVS_LEASE_LIVE)
		kill_stall("the next stack of the slot does not get its queue");
	app_says(V, UVS_MSG_PARK);
	app_says(V, UVS_MSG_EMPTIED);
	check_host("after the slot's next process");
}

static void
check_free(void)
{
	if (slot_is_up(&m, V) || (m.used >> V & 1) != 0 ||
	    UVS_LEASE_STATE(atomic_load(&m.host->lease[V - 1].word)) != UVS_LEASE_FREE)
		kill_leak("the slot is still the dead's");
}

static void
bury(void)
{
	app_ends(V);
	check_free();
	check_host("after the death");
	check_successor();
}

/* The manager reads what V had said before it hears of its end. */
static void
dead(pid_t victim)
{
	struct client *c = app[V].client;

	(void)victim;
	for (int i = 0; i < 3 && c->socket.fd >= 0; i++)
		c->socket.ready(&m, &c->socket);
	if (m.stats.bad_messages != 0)
		kill_stall("the manager did not understand what the victim said");
	bury();
}

static void
dead_unheard(pid_t victim)
{
	(void)victim;
	bury();
}

/* V's process lives: what it has is its own, until it ends. */
static void
manager_dead(pid_t victim)
{
	(void)victim;
	heir();
	check_running("with another manager");
	if (app[V].client != NULL) {
		if (slot_is_up(&m, V) != ((m.used >> V & 1) != 0))
			kill_leak("the slot is up, and nobody's");
		app_ends(V);
	}
	check_free();
	check_host("after the death");
	check_successor();
}

/* V is just being given its slot back, and repeats what was not answered. */
static void
manager_dead_repeat(pid_t victim)
{
	(void)victim;
	heir();
	if (app[V].client != NULL) {
		app_says(V, UVS_MSG_PARK);
		app_says(V, UVS_MSG_EMPTIED);
		if (m.stats.bad_messages != 0)
			kill_stall("another manager refuses what V repeats");
	}
	check_free();
	check_host("after the end");
	check_successor();
}

static void
both_dead(pid_t victim)
{
	v_is_gone = true;
	manager_dead(victim);
}

/* ------------------------------------------------------------------------- V: its pool, its arena
 */

static struct rte_mbuf *had[8];

static void
inside_v(void)
{
	enter(V);
}

static void
get(void *arg)
{
	(void)arg;
	had[0] = rte_pktmbuf_alloc(app[V].in.mem.pool);
	rte_pktmbuf_alloc_bulk(app[V].in.mem.pool, &had[1], 3);
	uvl_pbuf_malloc(1000);
}

static void
has_own(void)
{
	enter(V);
	rte_pktmbuf_alloc_bulk(app[V].in.mem.pool, had, 5);
	rte_pktmbuf_chain(had[0], had[1]);
}

static void
put(void *arg)
{
	(void)arg;
	rte_pktmbuf_free(had[0]);
	rte_pktmbuf_free_bulk(&had[2], 2);
	rte_mbuf_raw_free(had[4]);
}

/* Frames of A and B that V is to send, and one of V's own on its way home. */
static void
frames_wait(void)
{
	hand_over(V, A);
	serve(A);
	hand_over(A, V);
	hand_over(A, V);
	hand_over(B, V);
	enter(V);
}

/* They are taken, sent, and brought home; V's own is put back. */
static void
serve_v(void *arg)
{
	(void)arg;
	uvs_share_poll(&app[V].in);
	uvs_share_flush(&app[V].in);
}

static struct uvs_softq *
way_home(void)
{
	return &m.host->x.softq[A * m.host->x.nb_slots + V];
}

/* A frame of A's is held, and the way home is full of what A does not take. */
static void
way_home_full(void)
{
	uvs_ref ref;

	hand_over(A, V);
	uvs_softq_take(&app[V].share->end, &ref, 1);
	had[0] = uvs_mbuf_of_label(m.host->x.pool[A].label_at[UVS_REF_INDEX(ref)]);
	app[V].share->end.head[A] += UVS_SOFTQ_DEPTH;
	atomic_store(&way_home()->head, app[V].share->end.head[A]);
	enter(V);
}

/* And is not any more. */
static void
free_homeless(void *arg)
{
	rte_pktmbuf_free(had[0]);
	atomic_store(&way_home()->tail, atomic_load(&way_home()->head));
	serve_v(arg);
}

/* What the ring was full of is not there. */
static void
dead_homeless(pid_t victim)
{
	atomic_store(&way_home()->tail, atomic_load(&way_home()->head));
	dead_unheard(victim);
}

static struct pbuf *kept;

/* A packet was received, a socket is to keep it, and buffers are short. */
static void
packet_waits(void)
{
	enter(V);
	had[0] = rte_pktmbuf_alloc(app[V].in.mem.pool);
	rte_pktmbuf_append(had[0], 60);
	kept = uvs_pbuf_wrap(had[0]);
	app[V].in.mem.low = BUFFERS;
}

static void
unpin(void *arg)
{
	(void)arg;
	pbuf_free(uvs_pbuf_unpin(&app[V].in.mem, kept));
}

static void
use_connections(void *arg)
{
	struct tcp_pcb *pcb[2];

	(void)arg;
	for (int i = 0; i < 2; i++) {
		pcb[i] = uvs_share_pcb(app[V].share, sizeof(*pcb[i]));
		pcb[i]->local_port = 80;
		pcb[i]->remote_port = (uint16_t)(4000 + i);
		pcb[i]->state = ESTABLISHED;
	}
	uvs_share_pcb_free(app[V].share, pcb[0]);
}

/* ---------------------------------------------------------------------- V: coming, going, its slot
 */

static void
answer(enum uvs_msg_type type)
{
	union uvs_msg *msg = &answers.msg[answers.n++];

	if (type == UVS_MSG_SLOTS)
		msg->slots = (struct uvs_msg_slots){
			.head = {type, sizeof(msg->slots)}, .n = 1, .s = {{V, 0}}};
	else
		msg->slot = (struct uvs_msg_slot){{type, sizeof(msg->slot)}, V, 0};
}

/* V has ended, and another one has its turn. */
static void
has_turn(void)
{
	app_ends(V);
	app_come(V);
	answer(UVS_MSG_SLOTS);
}

static void
say_attached(void *arg)
{
	struct uvs_msg_slots slots;
	int efd[UVS_PROTO_FDS_MAX];
	char err[UVS_ERR_LEN];

	(void)arg;
	uvs_client_attached(wire[0], &slots, efd, err);
}

static void
has_slot(void)
{
	app_ends(V);
	app_come(V);
	app_attach(V);
}

static void
start(void *arg)
{
	struct app *a = &app[V];

	(void)arg;
	uvs_inst_init(&a->in, &m.conf);
	a->share = uvs_share_new(m.host, V, UVS_LEASE_GEN(atomic_load(&m.host->lease[V - 1].word)));
	uvs_share_start(a->share, &a->in);
	uvs_share_ready(a->share);
}

/* It leaves with frames on their way to it. */
static void
may_go(void)
{
	frames_wait();
	answer(UVS_MSG_PARKED);
	answer(UVS_MSG_GONE);
}

static void
leave(void *arg)
{
	struct app *a = &app[V];

	(void)arg;
	uvs_client_say(wire[0], UVS_MSG_PARK, V, (char[UVS_ERR_LEN]){0});
	serve_v(NULL);
	uvs_share_close(a->share, &a->in);
}

/* ----------------------------------------------------------------------------------- the manager
 */

static void
lease(void *arg)
{
	(void)arg;
	app_says(V, UVS_MSG_ATTACHED);
}

static void
turn_begun(void)
{
	app_ends(V);
	app_come(V);
}

static void
ready(void *arg)
{
	(void)arg;
	app_says(V, UVS_MSG_READY);
}

/* V holds frames of others, others hold its own, and something is on every way. */
static void
in_the_middle(void)
{
	uvs_ref ref[4];

	frames_wait();
	hand_over(V, A);
	enter(V);
	uvs_softq_take(&app[V].share->end, ref, 2);
	enter(0);
}

static void
park(void *arg)
{
	(void)arg;
	app_says(V, UVS_MSG_PARK);
}

static void
parked(void)
{
	in_the_middle();
	app_says(V, UVS_MSG_PARK);
}

static void
release(void *arg)
{
	(void)arg;
	app_says(V, UVS_MSG_EMPTIED);
}

static void
hear_of_end(void *arg)
{
	(void)arg;
	app_ends(V);
}

static void
stall(void *arg)
{
	(void)arg;
	slot_stall(&m, V, true);
	slot_stall(&m, V, false);
}

/* --------------------------------------------------------------------------------------- cases */

#define MARKER(function) .run = function, .marker = (uintptr_t)(function)

static const struct kill_case cases[] = {
	{"pool-get", "takes buffers out of its pool", inside_v, MARKER(get), frozen, dead_unheard},
	{"pool-put", "puts them back", has_own, MARKER(put), frozen, dead_unheard},
	{"pool-home", "frees buffers of others, has its own back", frames_wait, MARKER(serve_v),
	 frozen, dead_unheard},
	{"pool-homeless", "the same, the way home is full", way_home_full, MARKER(free_homeless),
	 frozen, dead_homeless},
	{"pool-depot", "moves a packet to plain memory", packet_waits, MARKER(unpin), frozen,
	 dead_unheard},
	{"arena", "has connections", inside_v, MARKER(use_connections), frozen, dead_unheard},
	{"slot-ask", "attaches: asks for a slot", has_turn, MARKER(say_attached), frozen, dead},
	{"slot-ask-unheard", "the same, its end is seen first", has_turn, MARKER(say_attached),
	 frozen, dead_unheard},
	{"slot-start", "attaches: makes the slot its own", has_slot, MARKER(start), frozen, dead},
	{"slot-start-unheard", "the same, its end is seen first", has_slot, MARKER(start), frozen,
	 dead_unheard},
	{"slot-leave", "gives its slot back", may_go, MARKER(leave), frozen, dead},
	{"slot-leave-unheard", "the same, its end is seen first", may_go, MARKER(leave), frozen,
	 dead_unheard},
	{"lease", "the manager, handing a slot out", turn_begun, MARKER(lease), frozen,
	 manager_dead},
	{"lease-both", "the same, and the process dies, too", turn_begun, MARKER(lease), frozen,
	 both_dead},
	{"ready", "the manager, directing traffic to it", has_slot, MARKER(ready), frozen,
	 manager_dead},
	{"stall", "the manager, while a process is stopped", NULL, MARKER(stall), frozen,
	 manager_dead},
	{"park", "the manager, directing it elsewhere", in_the_middle, MARKER(park), frozen,
	 manager_dead_repeat},
	{"release", "the manager, taking a slot back", parked, MARKER(release), frozen,
	 manager_dead_repeat},
	{"reclaim", "the manager, clearing up after a death", in_the_middle, MARKER(hear_of_end),
	 frozen, both_dead},
	{0},
};

int
main(int argc, char **argv)
{
	/* kill_steer's business, and a sweep over 4 MB. */
	static const uintptr_t skip[] = {(uintptr_t)uvs_steer_reclaim, 0};
	/* A library calls back, to fill pools. */
	static const uintptr_t libraries[] = {(uintptr_t)lease, (uintptr_t)release,
					      (uintptr_t)hear_of_end, 0};
	static const struct kill_program program = {
		.name = "kill_slots",
		.cases = cases,
		.skip = skip,
		.libraries = libraries,
		.set_up = host_set_up,
		.tear_down = host_tear_down,
		.save = host_save,
		.restore = host_restore,
	};

	return kill_main(argc, argv, &program);
}
