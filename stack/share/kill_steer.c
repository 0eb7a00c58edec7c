/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Kills a stack, or the manager, at every instruction of steering (harness/step/kill.h).
 *
 * Stacks A and B survive. While the victim V stands still at the place of its death, frames for A
 * and B find them, and ports are claimed. Then V is killed and the manager buries it:
 *  - connections of A and B are found as before;
 *  - nothing of V's is left: no port, no rule, no group, no request; a port that was V's alone is
 * A's for the asking;
 *  - every buffer is at home; the slot is handed out again, and its new stack has a port, a rule
 * and frames.
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "harness/step/kill.h"
#include "stack/share/steer_lab.h"

#define A 1
#define V 2
#define B 3

enum {
	PORT_SHARED = 80, /* held by all; A, V and B have a connection each */
	PORT_V,           /* V's alone */
	PORT_A,           /* A's alone */
	PORT_NEW,         /* nobody's */
	PORTS_END,
};

static struct steer_lab lab;
static uint8_t bytes[STEER_FRAME];
static const uint8_t group_mac[6] = {1, 0, 0x5e, 1, 2, 3};

/* The claims are the part of the shared memory that is too large to be copied for each kill. */
static struct {
	uint64_t held, open;
} claimed[PORTS_END - PORT_SHARED];

/* ---------------------------------------------------------------------------------- preparation */

static struct uvs_claim *
claim(uint32_t port)
{
	return &lab.map.claims->port[UVS_CLAIM_TCP4][port];
}

static void *kept;

static void
save(void)
{
	size_t len = lab.size - sizeof(struct uvs_claims);

	if (kept == NULL && (kept = malloc(len)) == NULL)
		abort();
	memcpy(kept, (char *)lab.memory + sizeof(struct uvs_claims), len);
	for (uint32_t port = PORT_SHARED; port < PORTS_END; port++) {
		claimed[port - PORT_SHARED].held = atomic_load(&claim(port)->held);
		claimed[port - PORT_SHARED].open = atomic_load(&claim(port)->open);
	}
}

static void
restore(void)
{
	memcpy((char *)lab.memory + sizeof(struct uvs_claims), kept,
	       lab.size - sizeof(struct uvs_claims));
	for (uint32_t port = PORT_SHARED; port < PORTS_END; port++) {
		atomic_store(&claim(port)->held, claimed[port - PORT_SHARED].held);
		atomic_store(&claim(port)->open, claimed[port - PORT_SHARED].open);
	}
}

static int
take(uint32_t slot, uint16_t port, bool shared)
{
	return uvs_claim_take(lab.map.claims, UVS_CLAIM_TCP4, port, uvs_claimant_alone(slot),
			      shared ? UVS_CLAIM_REUSEPORT : 0);
}

static void
hold_port(uint32_t slot, uint16_t port, bool shared)
{
	if (take(slot, port, shared) < 0 ||
	    uvs_claim_open(lab.map.claims, UVS_CLAIM_TCP4, port, uvs_claimant_alone(slot)) < 0)
		kill_stall("%u cannot have port %u", slot, port);
}

/* The connection of a slot on the shared port. */
static struct uvs_flow
connection(uint32_t slot)
{
	return steer_flow(4, IPPROTO_TCP, PORT_SHARED, (uint8_t)slot, 4000);
}

static void
peace(void)
{
	for (uint32_t slot = A; slot <= B; slot++) {
		struct uvs_flow f = connection(slot);

		hold_port(slot, PORT_SHARED, true);
		steer_lab_connect(&lab, slot, &f);
	}
	hold_port(V, PORT_V, false);
	hold_port(A, PORT_A, false);
	uvs_steer_join(&lab.map, V, group_mac);
}

/* --------------------------------------------------------------------------------------- judge */

static uint32_t
arrives(uint32_t at, const struct uvs_flow *f)
{
	return steer_lab_where(&lab, at, bytes, steer_frame(bytes, f, STEER_ACK));
}

/* The survivors' connections, by way of survivors. */
static void
check_survivors(const char *when)
{
	struct uvs_flow a = connection(A), b = connection(B);
	struct uvs_flow alone = steer_flow(4, IPPROTO_TCP, PORT_A, 9, 4000);

	steer_lab_settle(&lab); /* what the victim had published */
	if (arrives(A, &a) != A || arrives(B, &b) != B || arrives(B, &alone) != A)
		kill_stall("%s, a frame did not find its stack", when);
}

/* And by way of others that hold the port: not while one of them stands still. */
static void
check_wanderers(void)
{
	struct uvs_flow a = connection(A), b = connection(B);

	if (arrives(B, &a) != A || arrives(A, &b) != B)
		kill_stall("a frame lost its way to its stack");
}

static void
frozen(pid_t victim)
{
	(void)victim;
	lab.absent = 1u << V;
	check_survivors("while the victim stands still");
	if (take(B, PORT_NEW, true) == 0)
		uvs_claim_drop(lab.map.claims, UVS_CLAIM_TCP4, PORT_NEW, B);
}

static void
no_rule_of_v(void *arg, const struct uvs_flow *f, uint32_t slot)
{
	(void)arg;
	(void)f;
	if (slot == V)
		kill_leak("a rule still leads to the dead");
}

static void
check_nothing_left(void)
{
	uint64_t bit = 1u << V;

	for (uint32_t port = PORT_SHARED; port < PORTS_END; port++)
		if ((atomic_load(&claim(port)->held) | atomic_load(&claim(port)->open)) & bit)
			kill_leak("port %u is still the dead's", port);
	for (uint32_t i = 0; i < UVS_GROUPS; i++)
		if (atomic_load(&lab.map.group[i].members) & bit)
			kill_leak("the dead is still a member of a group");
	uvs_rules_walk(&lab.map.rules, no_rule_of_v, NULL);
	if (uvs_rules_waiting(&lab.map.rules))
		kill_leak("requests of the dead are left");
	if (take(A, PORT_V, false) < 0 || take(A, PORT_NEW, false) < 0)
		kill_leak("a port of the dead cannot be had");
}

static void
check_successor(void)
{
	struct uvs_flow f = steer_flow(4, IPPROTO_TCP, PORT_SHARED, 77, 4000);
	uint8_t state = 0;

	lab_lease(&lab.lab, V);
	steer_lab_start(&lab, V);
	lab.absent = 0;
	lab.conns[V].n = 0;
	hold_port(V, PORT_SHARED, true);
	steer_lab_connect(&lab, V, &f);
	uvs_steer_connected(&lab.steer[V], &f, &state);
	uvs_rules_serve(&lab.writer, 100);
	if (state != 1 ||
	    uvs_rules_find(&lab.map.rules, uvs_flow_hash(&f, lab.map.rules.secret)) != V)
		kill_stall("the next stack of the slot does not get a rule");
	if (arrives(A, &f) != V || arrives(B, &f) != V)
		kill_stall("the next stack of the slot does not get its frames");
}

static void
check_home(void)
{
	uint32_t missing = lab_settle(&lab.lab);

	if (missing != 0)
		kill_leak("%u buffers are not at home", missing);
	for (uint32_t at = A; at <= B; at += B - A)
		if (atomic_load(&lab.lab.x.inbox[at].bad) != 0)
			kill_leak("%u met references that made no sense", at);
}

static void
dead(pid_t victim)
{
	(void)victim;
	lab_bury(&lab.lab, V);
	uvs_rules_serve(&lab.writer, 100); /* requests that it made are carried out first */
	uvs_steer_reclaim(&lab.writer, &lab.map, V);
	check_nothing_left();
	check_survivors("after the death");
	check_wanderers();
	check_home();
	check_successor();
	check_home();
}

/* ------------------------------------------------------------------------------- V's own doing */

static struct uvs_frame burst[10];
static uint32_t nb_burst;

static void
add_frame(const struct uvs_flow *f, uint8_t flags)
{
	uint32_t len = f != NULL ? steer_frame(bytes, f, flags) : steer_frame_arp(bytes);

	burst[nb_burst] = steer_lab_frame(&lab, V, nb_burst, bytes, len);
	nb_burst++;
}

/* One frame of each kind in V's NIC. */
static void
frames_wait(void)
{
	struct uvs_flow own = connection(V), ruled = connection(B), asked = connection(A);
	struct uvs_flow other = steer_flow(4, IPPROTO_TCP, PORT_A, 9, 4000);

	peace();
	uvs_claim_shut(lab.map.claims, UVS_CLAIM_TCP4, PORT_SHARED, V); /* SYNs are for A and B */
	if (uvs_rules_add(&lab.writer, &ruled, B) < 0)
		kill_stall("no room for a rule");
	nb_burst = 0;
	add_frame(&own, STEER_ACK);
	add_frame(&ruled, STEER_ACK);
	add_frame(&asked, STEER_ACK); /* no rule: asks around */
	add_frame(&other, STEER_ACK);
	own.rport++;
	add_frame(&own, STEER_SYN);
	add_frame(NULL, 0);
	for (uint32_t i = 0; i < 2; i++) { /* a datagram's fragments, the later one first */
		uint32_t len = steer_frame_fragment(bytes, &other, 5, i == 0 ? 1480 : 0, i != 0);

		burst[nb_burst] = steer_lab_frame(&lab, V, nb_burst, bytes, len);
		nb_burst++;
	}
}

static void
receive(void *arg)
{
	(void)arg;
	steer_lab_receive(&lab, V, burst, nb_burst);
}

/* A frame for V's connection came over A: V asks for a rule. */
static void
forwarded_waits(void)
{
	struct uvs_flow f = connection(V);
	struct uvs_frame frame;

	peace();
	frame = steer_lab_frame(&lab, A, 9, bytes, steer_frame(bytes, &f, STEER_ACK));
	lab.absent = 1u << V;
	/* A's to V or, by way of B, to V. */
	steer_lab_receive(&lab, A, &frame, 1);
	steer_lab_settle(&lab);
	lab.absent = 0;
}

static void
serve(void *arg)
{
	(void)arg;
	steer_lab_serve(&lab, V);
	uvs_steer_wake_manager(&lab.steer[V]);
}

static void
manager_sleeps(void)
{
	forwarded_waits();
	uvs_softq_arm(&lab.lab.end[UVS_SLOT_BOSS]);
}

static void
end_connection(void *arg)
{
	struct uvs_flow f = connection(V);

	(void)arg;
	uvs_steer_ended(&lab.steer[V], &f, &lab.conns[V].conn[0].state);
}

static void
with_rule(void)
{
	struct uvs_flow f = connection(V);

	peace();
	lab.conns[V].conn[0].state = 1;
	if (uvs_rules_add(&lab.writer, &f, V) < 0)
		kill_stall("no room for a rule");
}

static void
bind_and_close(void *arg)
{
	struct uvs_claims *c = lab.map.claims;

	(void)arg;
	uvs_claim_take(c, UVS_CLAIM_TCP4, PORT_NEW, uvs_claimant_alone(V), UVS_CLAIM_REUSEPORT);
	uvs_claim_open(c, UVS_CLAIM_TCP4, PORT_NEW, uvs_claimant_alone(V));
	uvs_claim_shut(c, UVS_CLAIM_TCP4, PORT_NEW, V);
	uvs_claim_drop(c, UVS_CLAIM_TCP4, PORT_NEW, V);
	uvs_claim_drop(c, UVS_CLAIM_TCP4, PORT_V, V);
}

static void
join_and_leave(void *arg)
{
	static const uint8_t mac[6] = {1, 0, 0x5e, 7, 7, 7};

	(void)arg;
	uvs_steer_join(&lab.map, V, mac);
	uvs_steer_leave(&lab.map, V, group_mac);
}

/* ---------------------------------------------------------------------------- the manager's doing
 */

/* Peers whose rules belong in one line: the table is used at its edges. */
static struct uvs_flow
crowded(uint32_t i)
{
	struct uvs_flow f = steer_flow(4, IPPROTO_TCP, PORT_SHARED, 1, 1);

	for (uint32_t n = 0;; f.rport++)
		if (uvs_flow_hash(&f, lab.map.rules.secret) % lab.map.rules.lines == 3 && n++ == i)
			return f;
}

#define CROWD 11

/* Of A's rules, those that stay; all that were put past its line go. */
static bool
stays(uint32_t i)
{
	return i == 1 || i == 3;
}

/* A has more rules than one line holds and gives most of them back; B asks for as many. */
static void
requests_wait(void)
{
	peace();
	for (uint32_t i = 0; i < CROWD; i++) {
		struct uvs_flow f = crowded(i);

		if (uvs_rules_add(&lab.writer, &f, A) < 0)
			kill_stall("no room for a rule");
	}
	for (uint32_t i = 0; i < CROWD; i++) {
		struct uvs_flow old = crowded(i), new = crowded(CROWD + i);

		if (!stays(i))
			uvs_rules_revoke(&lab.steer[A].asks, &old);
		if (!uvs_rules_ask(&lab.steer[B].asks, &new))
			kill_stall("no room for a request");
	}
}

static void
serve_requests(void *arg)
{
	(void)arg;
	uvs_rules_serve(&lab.writer, 100);
}

static uint32_t
rule_of(uint32_t i)
{
	struct uvs_flow f = crowded(i);

	return uvs_rules_find(&lab.map.rules, uvs_flow_hash(&f, lab.map.rules.secret));
}

/* Whatever was half done, a rule leads where it should, or is not there. */
static void
readers_go_on(pid_t victim)
{
	(void)victim;
	for (uint32_t i = 0; i < 2 * CROWD; i++) {
		uint32_t slot = rule_of(i), want = i < CROWD ? A : B;

		if (slot != want && (slot != 0 || stays(i)))
			kill_leak("rule %u leads to %u", i, slot);
	}
	check_survivors("while the manager stands still");
}

/* A new one goes on where the old one was, and nothing that was asked for is lost. */
static void
manager_dead(pid_t victim)
{
	uint64_t left = 0;

	(void)victim;
	if (uvs_rules_adopt(&lab.writer, &lab.map.rules, lab.map.claims) < 0)
		kill_stall("no memory");
	uvs_rules_serve(&lab.writer, 100);
	for (uint32_t i = 0; i < 2 * CROWD; i++)
		if (rule_of(i) != (i >= CROWD ? B : stays(i) ? A : 0u))
			kill_leak("rule %u leads to %u after all was served", i, rule_of(i));
	uvs_rules_reclaim(&lab.writer, A);
	uvs_rules_reclaim(&lab.writer, B);
	for (uint32_t i = 0; i < lab.map.rules.lines * 8; i++)
		left += atomic_load(&lab.map.rules.word[i]) != 0;
	if (left != 0)
		kill_leak("%llu places of the table are lost", (unsigned long long)left);
	check_survivors("after the manager's death");
	check_home();
}

static void
reclaim_rules(void *arg)
{
	(void)arg;
	uvs_rules_reclaim(&lab.writer, V);
}

/* The dead has rules among others, and requests. */
static void
dead_with_rules(void)
{
	peace();
	for (uint32_t i = 0; i < CROWD; i++) {
		struct uvs_flow f = crowded(i);

		if (uvs_rules_add(&lab.writer, &f, i % 2 ? V : A) < 0 ||
		    !uvs_rules_ask(&lab.steer[V].asks, &f))
			kill_stall("no room for a rule");
	}
}

static void
reclaimer_dead(pid_t victim)
{
	if (uvs_rules_adopt(&lab.writer, &lab.map.rules, lab.map.claims) < 0)
		kill_stall("no memory");
	for (uint32_t i = 0; i < CROWD; i += 2)
		if (rule_of(i) != A)
			kill_leak("a rule of the living is gone");
	dead(victim);
}

#define MARKER(function) .run = function, .marker = (uintptr_t)(function)

static const struct kill_case cases[] = {
	{"steer", "a burst with a frame of each kind", frames_wait, MARKER(receive), frozen, dead},
	{"steer-ask", "takes a forwarded frame, asks for a rule", forwarded_waits, MARKER(serve),
	 frozen, dead},
	{"steer-ask-asleep", "the same, the manager sleeps", manager_sleeps, MARKER(serve), frozen,
	 dead},
	{"steer-end", "ends a connection that has a rule", with_rule, MARKER(end_connection),
	 frozen, dead},
	{"steer-port", "binds, listens, closes", peace, MARKER(bind_and_close), frozen, dead},
	{"steer-group", "joins and leaves groups", peace, MARKER(join_and_leave), frozen, dead},
	{"steer-serve", "the manager, carrying out requests", requests_wait, MARKER(serve_requests),
	 readers_go_on, manager_dead},
	{"steer-reclaim", "the manager, reclaiming rules", dead_with_rules, MARKER(reclaim_rules),
	 NULL, reclaimer_dead},
	{0},
};

static void
set_up(void)
{
	steer_lab_open(&lab);
}

static void
tear_down(void)
{
	steer_lab_close(&lab);
	free(kept);
}

int
main(int argc, char **argv)
{
	static const struct kill_program program = {
		.name = "kill_steer",
		.cases = cases,
		.set_up = set_up,
		.tear_down = tear_down,
		.save = save,
		.restore = restore,
	};

	return kill_main(argc, argv, &program);
}
