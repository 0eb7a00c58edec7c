/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How a packet finds its process: ports, rules, listeners, everything that is not a connection.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "stack/share/steer_lab.h"
#include "uvbridge/test.h"

#define A 1
#define B 2
#define C 3

static struct steer_lab lab;
static uint8_t bytes[STEER_FRAME];

/* ---------------------------------------------------------------------------------------- tools */

static void
hold_port(uint32_t slot, uint8_t family, uint8_t proto, uint16_t port, bool open)
{
	enum uvs_claim_space space = uvs_claim_space(proto, family);

	CHECK_EQ(uvs_claim_take(lab.map.claims, space, port, uvs_claimant_alone(slot),
				UVS_CLAIM_REUSEPORT),
		 0);
	if (open)
		CHECK_EQ(uvs_claim_open(lab.map.claims, space, port, uvs_claimant_alone(slot)), 0);
}

static uint32_t
arrives(uint32_t at, const struct uvs_flow *f, uint8_t tcp_flags)
{
	return steer_lab_where(&lab, at, bytes, steer_frame(bytes, f, tcp_flags));
}

static uint64_t
counted(uint32_t slot, enum uvs_steer_count c)
{
	return steer_lab_count(&lab, slot, c);
}

static void
each(void (*test)(void))
{
	steer_lab_open(&lab);
	test();
	CHECK_EQ(lab_settle(&lab.lab), 0); /* every buffer is at home */
	for (uint32_t slot = 1; slot < LAB_SLOTS; slot++)
		CHECK_EQ(atomic_load(&lab.lab.x.inbox[slot].bad), 0);
	steer_lab_close(&lab);
}

static void
both_families(void (*test)(uint8_t family))
{
	test(4);
	test(6);
}

/* ---------------------------------------------------------------------------------------- ports */

static void
one_holder_gets_it(uint8_t family)
{
	for (int i = 0; i < 2; i++) {
		uint8_t proto = i == 0 ? IPPROTO_TCP : IPPROTO_UDP;
		struct uvs_flow f = steer_flow(family, proto, 80, 9, 4000);

		hold_port(B, family, proto, 80, true);
		CHECK_EQ(arrives(A, &f, STEER_SYN), B);
		CHECK_EQ(arrives(A, &f, STEER_ACK), B);
		CHECK_EQ(arrives(B, &f, STEER_ACK), B);
		f.lport = 81;
		CHECK_EQ(arrives(A, &f, STEER_SYN), A); /* and lwIP says: closed */
	}
	CHECK(counted(A, UVS_STEER_TO_HOLDER) % 4 == 0 && counted(A, UVS_STEER_NOBODY) % 2 == 0);
}

static void
one_holder(void)
{
	both_families(one_holder_gets_it);
}

/* IPv4 and IPv6, TCP and UDP are different ports. */
static void
spaces_are_apart(void)
{
	struct uvs_flow f = steer_flow(6, IPPROTO_TCP, 80, 9, 4000);

	hold_port(B, 4, IPPROTO_TCP, 80, true);
	CHECK_EQ(arrives(A, &f, STEER_SYN), A);
	f = steer_flow(4, IPPROTO_UDP, 80, 9, 4000);
	CHECK_EQ(arrives(A, &f, 0), A);
}

/* ------------------------------------------------------------------------------ shared ports */

static void
syns_go_to_listeners(void)
{
	static const uint8_t reta[] = {A, B, C};
	uint32_t to[LAB_SLOTS] = {0};

	uvs_steer_reta(&lab.map, reta, 3);
	hold_port(B, 4, IPPROTO_TCP, 80, true);
	hold_port(C, 4, IPPROTO_TCP, 80, true);
	for (uint16_t port = 1; port <= 200; port++) {
		struct uvs_flow f = steer_flow(4, IPPROTO_TCP, 80, 9, port);
		uint32_t who = arrives(A, &f, STEER_SYN);

		CHECK(who == B || who == C);
		CHECK_EQ(arrives(A, &f, STEER_SYN), who); /* again: the same */
		CHECK_EQ(arrives(B, &f, STEER_SYN), B);   /* who listens takes what it gets */
		to[who]++;
		if (port <= 20) {
			steer_lab_connect(&lab, who, &f);
			CHECK_EQ(arrives(A, &f, STEER_ACK), who); /* and what follows */
		}
	}
	CHECK(to[B] > 60 && to[C] > 60);
}

/* Who joins takes a share of each, who leaves gives only its own away. */
static void
rendezvous(void)
{
	uint32_t moved = 0, to_new = 0;

	for (uint64_t i = 0; i < 3000; i++) {
		uint64_t hash = uvs_mix(i + 1, 0x9e3779b97f4a7c15ULL);
		uint32_t two = uvs_flow_rendezvous(hash, 0x60);
		uint32_t three = uvs_flow_rendezvous(hash, 0x68);

		moved += two != three && three != 3;
		to_new += three == 3;
		CHECK_EQ(uvs_flow_rendezvous(hash, 0x20), 5);
	}
	CHECK_EQ(moved, 0);
	CHECK(to_new > 900 && to_new < 1100);
}

/* More who listen than queues: whoever has a queue does not keep all of it. */
static void
listener_without_queue(void)
{
	static const uint8_t reta[] = {A, B};
	uint32_t to[LAB_SLOTS] = {0};

	uvs_steer_reta(&lab.map, reta, 2);
	for (uint32_t slot = A; slot <= C; slot++) {
		hold_port(slot, 4, IPPROTO_TCP, 80, true);
		hold_port(slot, 4, IPPROTO_UDP, 80, true);
	}
	for (uint16_t port = 1; port <= 300; port++) {
		struct uvs_flow f =
			steer_flow(4, port % 2 ? IPPROTO_TCP : IPPROTO_UDP, 80, 9, port);
		uint32_t who = arrives(A, &f, STEER_SYN);

		CHECK(who != 0);
		CHECK_EQ(arrives(B, &f, STEER_SYN), who); /* wherever it arrives */
		to[who]++;
	}
	CHECK(to[A] > 70 && to[B] > 70 && to[C] > 70);
}

/* The listener set changes; what is connected stays where it is, rules or not. */
static void
listeners_change(void)
{
	static const uint8_t reta[] = {A, B, C};
	struct uvs_flow f[40];

	uvs_steer_reta(&lab.map, reta, 3);
	hold_port(B, 4, IPPROTO_TCP, 80, true);
	for (uint16_t i = 0; i < 40; i++) {
		f[i] = steer_flow(4, IPPROTO_TCP, 80, 9, (uint16_t)(1000 + i));
		CHECK_EQ(arrives(A, &f[i], STEER_SYN), B);
		steer_lab_connect(&lab, B, &f[i]);
	}
	hold_port(C, 4, IPPROTO_TCP, 80, true);
	hold_port(A, 4, IPPROTO_TCP, 80, true);
	for (int i = 0; i < 40; i++)
		for (uint32_t at = A; at <= C; at++)
			CHECK_EQ(arrives(at, &f[i], STEER_ACK), B);
	/* A segment that took the long way asked for a rule; with it there is one hop. */
	CHECK(uvs_rules_serve(&lab.writer, 100) == 40);
	CHECK_EQ(lab.writer.nb_rules[B], 40);
	for (int i = 0; i < 40; i++)
		CHECK_EQ(arrives(C, &f[i], STEER_ACK), B);
	CHECK_EQ(counted(C, UVS_STEER_TO_RULE), 40);
	/* B does not listen any more, its connections go on. */
	uvs_claim_shut(lab.map.claims, UVS_CLAIM_TCP4, 80, B);
	CHECK_EQ(arrives(C, &f[7], STEER_ACK), B);
	f[7].rport = 999;
	CHECK_EQ(arrives(C, &f[7], STEER_SYN), C);
	CHECK(arrives(B, &f[7], STEER_SYN) != B);
}

/* Nobody's: everybody who might have it was asked, once. */
static void
strays(void)
{
	struct uvs_flow f = steer_flow(4, IPPROTO_TCP, 80, 9, 4000);

	hold_port(A, 4, IPPROTO_TCP, 80, true);
	hold_port(B, 4, IPPROTO_TCP, 80, true);
	hold_port(C, 4, IPPROTO_TCP, 80, true);
	CHECK(arrives(A, &f, STEER_ACK) != 0);
	CHECK_EQ(counted(A, UVS_STEER_STRAY) + counted(B, UVS_STEER_STRAY) +
			 counted(C, UVS_STEER_STRAY),
		 1);
	CHECK_EQ(counted(B, UVS_STEER_ARRIVED) + counted(C, UVS_STEER_ARRIVED), 2);
}

/* The redirection table has moved flows; where they were before is asked first. */
static void
reta_moved(void)
{
	static const uint8_t before[4] = {A, B, A, B}, now[4] = {A, C, A, B};
	struct uvs_flow f = steer_flow(4, IPPROTO_TCP, 80, 9, 4000);

	for (uint32_t slot = A; slot <= C; slot++)
		hold_port(slot, 4, IPPROTO_TCP, 80, true);
	steer_lab_connect(&lab, B, &f);
	uvs_steer_reta(&lab.map, before, 4);
	uvs_steer_reta(&lab.map, now, 4);
	CHECK_EQ(uvs_steer_home(&lab.map, 5), C);
	CHECK_EQ(steer_lab_where_hashed(&lab, C, bytes, steer_frame(bytes, &f, STEER_ACK), 5), B);
	CHECK_EQ(counted(C, UVS_STEER_TO_BEFORE), 1);
}

/* A rule that is out of date costs a SYN a hop, a datagram itself. */
static void
stale_rules(void)
{
	struct uvs_flow f = steer_flow(4, IPPROTO_TCP, 80, 9, 4000);

	hold_port(A, 4, IPPROTO_TCP, 80, false);
	hold_port(B, 4, IPPROTO_TCP, 80, false);
	hold_port(C, 4, IPPROTO_TCP, 80, true);
	CHECK_EQ(uvs_rules_add(&lab.writer, &f, B), 0);
	CHECK_EQ(arrives(A, &f, STEER_SYN), C);
	CHECK_EQ(arrives(C, &f, STEER_SYN), C);
	CHECK_EQ(counted(B, UVS_STEER_ARRIVED), 1);
	f.proto = IPPROTO_UDP;
	hold_port(A, 4, IPPROTO_UDP, 80, true);
	hold_port(B, 4, IPPROTO_UDP, 80, false);
	CHECK_EQ(uvs_rules_add(&lab.writer, &f, B), 0);
	CHECK_EQ(arrives(A, &f, 0), 0);
	CHECK_EQ(atomic_load(&lab.map.stats[B].drop[UVS_DROP_STALE]), 1);
}

/* A socket that has a peer gets its datagrams before those that have none, with or without a rule.
 */
static void
connected_datagrams(void)
{
	struct uvs_flow f = steer_flow(4, IPPROTO_UDP, 80, 9, 4000);

	hold_port(A, 4, IPPROTO_UDP, 80, true);
	hold_port(B, 4, IPPROTO_UDP, 80, false);
	hold_port(C, 4, IPPROTO_UDP, 80, true);
	steer_lab_connect(&lab, B, &f);
	uvs_steer_connected(&lab.steer[B], &f, &lab.conns[B].conn[0].state);
	CHECK_EQ(arrives(A, &f, 0), B);
	CHECK_EQ(arrives(C, &f, 0), B);
	CHECK_EQ(arrives(B, &f, 0), B);
	CHECK_EQ(uvs_rules_serve(&lab.writer, 8), 1);
	CHECK_EQ(arrives(A, &f, 0), B);
	CHECK_EQ(counted(A, UVS_STEER_TO_RULE), 1);
	/* Anybody's: to one who wants them. */
	for (uint16_t port = 5000; port < 5016; port++)
		for (uint32_t at = A; at <= C; at++) {
			uint32_t who;

			f = steer_flow(4, IPPROTO_UDP, 80, 9, port);
			who = arrives(at, &f, 0);
			CHECK(who == A || who == C);
		}
}

/* ------------------------------------------------------------------------------------ the dead */

static void
the_dead_get_nothing(void)
{
	struct uvs_flow f = steer_flow(4, IPPROTO_TCP, 80, 9, 4000);
	_Atomic uint32_t *life = &lab.lab.x.inbox[B].life;

	hold_port(B, 4, IPPROTO_TCP, 80, true);
	steer_lab_connect(&lab, B, &f);
	CHECK_EQ(uvs_rules_add(&lab.writer, &f, B), 0);
	atomic_store(life, (atomic_load(life) & ~0xffu) | UVS_LIFE_DOWN);
	CHECK_EQ(arrives(A, &f, STEER_ACK), A); /* and lwIP resets it */
	hold_port(C, 4, IPPROTO_TCP, 80, true);
	CHECK_EQ(arrives(A, &f, STEER_SYN), C);
	CHECK_EQ(arrives(A, &f, STEER_ACK), C);
	lab_bury(&lab.lab, B);
	CHECK_EQ(uvs_steer_reclaim(&lab.writer, &lab.map, B), 2);
	CHECK_EQ(uvs_steer_reclaim(&lab.writer, &lab.map, B), 0);
	CHECK_EQ(uvs_claim_held(lab.map.claims, UVS_CLAIM_TCP4, 80), 1u << C);
	lab_lease(&lab.lab, B);
}

/* --------------------------------------------------------------------------- neither TCP nor UDP
 */

static void
arp_goes_to_everybody(void)
{
	struct uvs_frame f = steer_lab_frame(&lab, A, 0, bytes, steer_frame_arp(bytes));

	steer_lab_receive(&lab, A, &f, 1);
	CHECK_EQ(steer_lab_settle(&lab), LAB_SLOTS - 2);
	for (uint32_t slot = A; slot <= C; slot++)
		CHECK_EQ(lab.got[slot].n, 1);
}

static void
errors_find_their_flow(uint8_t family)
{
	struct uvs_flow f = steer_flow(family, IPPROTO_UDP, 53, 9, 4000);

	hold_port(C, family, IPPROTO_UDP, 53, true);
	CHECK_EQ(steer_lab_where(&lab, A, bytes, steer_frame_error(bytes, &f, family == 6 ? 1 : 3)),
		 C);
}

static void
errors(void)
{
	both_families(errors_find_their_flow);
}

static const uint8_t group_mac[6] = {1, 0, 0x5e, 1, 2, 3};

static void
groups(void)
{
	static const uint8_t all[6] = {255, 255, 255, 255, 255, 255};
	struct uvs_flow f = steer_flow(4, IPPROTO_UDP, 5353, 9, 5353);
	uint32_t len = steer_frame_group(bytes, &f, group_mac);

	hold_port(A, 4, IPPROTO_UDP, 5353, true);
	hold_port(B, 4, IPPROTO_UDP, 5353, true);
	hold_port(C, 4, IPPROTO_UDP, 5353, true);
	uvs_steer_join(&lab.map, B, group_mac);
	CHECK_EQ(steer_lab_where(&lab, A, bytes, len), B);
	uvs_steer_join(&lab.map, A, group_mac);
	CHECK_EQ(steer_lab_where(&lab, C, bytes, len), 0); /* two of them */
	CHECK(lab.got[A].n == 1 && lab.got[B].n == 2 && lab.got[C].n == 0);
	uvs_steer_leave(&lab.map, B, group_mac);
	CHECK_EQ(steer_lab_where(&lab, C, bytes, len), A);
	len = steer_frame_group(bytes, &f, all);
	CHECK_EQ(steer_lab_where(&lab, C, bytes, len), 0);
	CHECK(lab.got[A].n == 3 && lab.got[B].n == 3 && lab.got[C].n == 1);
}

/* ------------------------------------------------------------------------------------- fragments
 */

static void
fragments_follow_the_first(uint8_t family)
{
	struct uvs_flow f = steer_flow(family, IPPROTO_UDP, 7000, 9, 4000);
	uint32_t got = lab.got[B].n;

	hold_port(B, family, IPPROTO_UDP, 7000, true);
	CHECK_EQ(steer_lab_where(&lab, A, bytes, steer_frame_fragment(bytes, &f, 77, 0, true)), B);
	CHECK_EQ(steer_lab_where(&lab, A, bytes, steer_frame_fragment(bytes, &f, 77, 1480, false)),
		 B);
	/* The last one first: it waits. */
	for (uint32_t i = 0; i < 2; i++) {
		uint32_t len = steer_frame_fragment(bytes, &f, 78, i == 0 ? 1480 : 0, i != 0);
		struct uvs_frame frame = steer_lab_frame(&lab, A, i, bytes, len);

		steer_lab_receive(&lab, A, &frame, 1);
		steer_lab_settle(&lab);
		CHECK_EQ(lab.got[B].n, got + 2 + i * 2);
	}
}

static void
fragments(void)
{
	both_families(fragments_follow_the_first);
}

static void
fragments_do_not_wait_for_ever(void)
{
	struct uvs_flow f = steer_flow(4, IPPROTO_UDP, 7000, 9, 4000);
	struct uvs_steer *s = &lab.steer[A];
	struct uvs_frame late[4];

	for (uint32_t i = 0; i < UVS_HELD + 1; i++) {
		uint32_t len = steer_frame_fragment(bytes, &f, i, 1480, false);
		struct uvs_frame frame = steer_lab_frame(&lab, A, i, bytes, len);

		steer_lab_receive(&lab, A, &frame, 1);
	}
	CHECK_EQ(atomic_load(&lab.map.stats[A].drop[UVS_DROP_FRAGMENT]), 1);
	CHECK_EQ(uvs_steer_late(s, late, 4), 0);
	s->now = UVS_HOLD_NS;
	CHECK_EQ(uvs_steer_late(s, late, 4), 4);
	CHECK(late[0].verdict == UVS_DROP && late[0].reason == UVS_DROP_FRAGMENT);
	while (uvs_steer_late(s, late, 4) != 0)
		;
	CHECK_EQ(s->nb_held + s->nb_late, 0);
	CHECK_EQ(atomic_load(&lab.map.stats[A].drop[UVS_DROP_FRAGMENT]), UVS_HELD + 1);
}

/* ---------------------------------------------------------------------------------------------- */

static void
full_queue(void)
{
	struct uvs_flow f = steer_flow(4, IPPROTO_UDP, 7000, 9, 4000);
	struct uvs_softq *q = &lab.lab.x.softq[B * LAB_SLOTS + A];
	struct uvs_frame frame;

	hold_port(B, 4, IPPROTO_UDP, 7000, true);
	lab.lab.end[A].head[B] = UVS_SOFTQ_DEPTH;
	atomic_store(&q->head, UVS_SOFTQ_DEPTH);
	frame = steer_lab_frame(&lab, A, 0, bytes, steer_frame(bytes, &f, 0));
	uvs_steer_burst(&lab.steer[A], &frame, 1);
	CHECK(frame.verdict == UVS_DROP && frame.reason == UVS_DROP_FULL);
	CHECK_EQ(atomic_load(&lab.map.stats[A].drop[UVS_DROP_FULL]), 1);
	atomic_store(&q->tail, UVS_SOFTQ_DEPTH);
}

static void
manager_is_woken_if_it_sleeps(void)
{
	struct uvs_flow f = steer_flow(4, IPPROTO_UDP, 7000, 9, 4000);
	struct uvs_steer *s = &lab.steer[A];
	uint8_t state = 0;

	hold_port(A, 4, IPPROTO_UDP, 7000, true);
	uvs_steer_connected(s, &f, &state);
	CHECK(state == 0 && !uvs_steer_wake_manager(s)); /* not shared: no rule */
	hold_port(B, 4, IPPROTO_UDP, 7000, true);
	CHECK(uvs_softq_arm(&lab.lab.end[UVS_SLOT_BOSS]) && !uvs_rules_waiting(&lab.map.rules));
	uvs_steer_connected(s, &f, &state);
	CHECK(state == 1 && uvs_steer_wake_manager(s) && !uvs_steer_wake_manager(s));
	CHECK(uvs_rules_waiting(&lab.map.rules));
	uvs_softq_disarm(&lab.lab.end[UVS_SLOT_BOSS]);
	CHECK_EQ(uvs_rules_serve(&lab.writer, 10), 1);
	CHECK_EQ(arrives(B, &f, 0), A);
	uvs_steer_ended(s, &f, &state);
	CHECK(state == 0 && !uvs_steer_wake_manager(s)); /* it does not sleep */
	CHECK_EQ(uvs_rules_serve(&lab.writer, 10), 1);
	arrives(B, &f, 0);
	CHECK_EQ(counted(B, UVS_STEER_TO_RULE), 1);
}

static void
names(void)
{
	for (int i = 0; i < UVS_STEER_COUNTS; i++)
		CHECK(strlen(uvs_steer_count_name((enum uvs_steer_count)i)) > 2);
	for (int i = 0; i < UVS_DROPS; i++)
		CHECK(strlen(uvs_drop_name((enum uvs_drop)i)) > 2);
	CHECK(strcmp(uvs_drop_name(UVS_DROPS), "?") == 0);
}

static void
sizes(void)
{
	struct uvs_steer_map m;

	for (uint32_t i = 0; i < 6; i++) {
		static const struct uvs_steer_size bad[] = {
			{1, 64, 0}, {62, 64, 0},      {4, 63, 0},
			{4, 65, 0}, {4, 1u << 25, 0}, {4, 32, 0},
		};

		CHECK_EQ(uvs_steer_map(&m, &bad[i], NULL), -EINVAL);
	}
}

#define EACH(test)                     \
	do {                           \
		printf("%s\n", #test); \
		fflush(stdout);        \
		each(test);            \
	} while (0)

int
main(void)
{
	EACH(one_holder);
	EACH(spaces_are_apart);
	EACH(syns_go_to_listeners);
	EACH(listener_without_queue);
	EACH(listeners_change);
	EACH(strays);
	EACH(reta_moved);
	EACH(stale_rules);
	EACH(connected_datagrams);
	EACH(the_dead_get_nothing);
	EACH(arp_goes_to_everybody);
	EACH(errors);
	EACH(groups);
	EACH(fragments);
	EACH(fragments_do_not_wait_for_ever);
	EACH(full_queue);
	EACH(manager_is_woken_if_it_sleeps);
	RUN(rendezvous);
	RUN(names);
	RUN(sizes);
	return 0;
}
