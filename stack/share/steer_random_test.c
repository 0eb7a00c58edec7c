/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Steering under random events beside a plain model of who has what; and with garbage in everything
 * that it reads.
 *
 * What has to hold, whatever rules, tables and deaths there are:
 *  - a segment of a connection ends at the process that has it, wherever it arrives;
 *  - a SYN ends at a live listener, if there is one;
 *  - every frame ends at exactly one, who is alive; every buffer is at home afterwards.
 */
#include <netinet/in.h>
#include <string.h>

#include "stack/share/steer_lab.h"
#include "uvbridge/test.h"

#define PORTS 4
#define PEERS 24
#define STEPS 30000

static struct steer_lab lab;
static uint8_t bytes[STEER_FRAME];

static uint32_t
pick(uint32_t n)
{
	return (uint32_t)(rnd() % n);
}

static uint32_t
any_slot(void)
{
	return 1 + pick(LAB_SLOTS - 1);
}

/* ---------------------------------------------------------------------------------- the model */

static bool alive[LAB_SLOTS];
static bool listens[LAB_SLOTS][PORTS];
static uint32_t uses[LAB_SLOTS][PORTS]; /* connections, and the listener */
static uint32_t owner[PORTS][PEERS];    /* 0: no such connection */

static struct uvs_flow
flow(uint32_t port, uint32_t peer)
{
	return steer_flow(peer % 3 ? 4 : 6, IPPROTO_TCP, (uint16_t)(80 + port), (uint8_t)peer, 999);
}

static enum uvs_claim_space
space(uint32_t family)
{
	return family == 6 ? UVS_CLAIM_TCP6 : UVS_CLAIM_TCP4;
}

static void
use(uint32_t slot, uint32_t port)
{
	if (uses[slot][port]++ != 0)
		return;
	for (uint32_t family = 4; family <= 6; family += 2)
		CHECK_EQ(uvs_claim_take(lab.map.claims, space(family), (uint16_t)(80 + port),
					uvs_claimant_alone(slot), UVS_CLAIM_REUSEPORT),
			 0);
}

static void
unuse(uint32_t slot, uint32_t port)
{
	if (--uses[slot][port] != 0)
		return;
	for (uint32_t family = 4; family <= 6; family += 2)
		uvs_claim_drop(lab.map.claims, space(family), (uint16_t)(80 + port), slot);
}

static void
toggle_listener(uint32_t slot, uint32_t port)
{
	listens[slot][port] = !listens[slot][port];
	if (listens[slot][port]) {
		use(slot, port);
		for (uint32_t family = 4; family <= 6; family += 2)
			CHECK_EQ(uvs_claim_open(lab.map.claims, space(family),
						(uint16_t)(80 + port), uvs_claimant_alone(slot)),
				 0);
		return;
	}
	for (uint32_t family = 4; family <= 6; family += 2)
		uvs_claim_shut(lab.map.claims, space(family), (uint16_t)(80 + port), slot);
	unuse(slot, port);
}

static bool
somebody_listens(uint32_t port)
{
	for (uint32_t slot = 1; slot < LAB_SLOTS; slot++)
		if (alive[slot] && listens[slot][port])
			return true;
	return false;
}

/* --------------------------------------------------------------------------------------- events */

static uint32_t
arrives(const struct uvs_flow *f, uint8_t flags, uint32_t *at)
{
	uint32_t len = steer_frame(bytes, f, flags), who;

	do
		*at = any_slot();
	while (!alive[*at]);
	who = steer_lab_where_hashed(&lab, *at, bytes, len, (uint32_t)rnd());
	CHECK(who != 0 && alive[who]);
	return who;
}

static void
begin(uint32_t port, uint32_t peer)
{
	struct uvs_flow f = flow(port, peer);
	uint32_t at, who = arrives(&f, STEER_SYN, &at);

	if (!somebody_listens(port))
		return;
	CHECK(listens[who][port]);
	owner[port][peer] = who;
	use(who, port);
	steer_lab_connect(&lab, who, &f);
}

static void
end(uint32_t port, uint32_t peer)
{
	struct uvs_flow f = flow(port, peer);
	uint32_t slot = owner[port][peer];
	struct steer_conns *c = &lab.conns[slot];
	uint32_t i = 0;

	while (memcmp(&c->conn[i].flow, &f, sizeof(f)) != 0)
		CHECK(++i < c->n);
	uvs_steer_ended(&lab.steer[slot], &f, &c->conn[i].state);
	c->conn[i] = c->conn[--c->n];
	owner[port][peer] = 0;
	unuse(slot, port);
}

static void
segment(uint32_t port, uint32_t peer)
{
	struct uvs_flow f = flow(port, peer);
	uint32_t at, who = arrives(&f, STEER_ACK, &at);

	if (owner[port][peer] != 0)
		CHECK_EQ(who, owner[port][peer]);
}

static void
die(uint32_t slot)
{
	uint32_t others = 0;

	for (uint32_t i = 1; i < LAB_SLOTS; i++)
		others += i != slot && alive[i];
	if (others == 0)
		return;
	uvs_steer_close(&lab.steer[slot]);
	lab_bury(&lab.lab, slot);
	uvs_steer_reclaim(&lab.writer, &lab.map, slot);
	CHECK_EQ(lab.writer.nb_rules[slot], 0);
	alive[slot] = false;
	lab.conns[slot].n = 0;
	memset(listens[slot], 0, sizeof(listens[slot]));
	memset(uses[slot], 0, sizeof(uses[slot]));
	for (uint32_t port = 0; port < PORTS; port++)
		for (uint32_t peer = 0; peer < PEERS; peer++)
			if (owner[port][peer] == slot)
				owner[port][peer] = 0;
}

static void
come(uint32_t slot)
{
	lab_lease(&lab.lab, slot);
	steer_lab_start(&lab, slot);
	alive[slot] = true;
}

static void
move_reta(void)
{
	uint8_t to[16];

	for (int i = 0; i < 16; i++)
		to[i] = (uint8_t)any_slot();
	uvs_steer_reta(&lab.map, to, 16);
}

static void
step(void)
{
	uint32_t port = pick(PORTS), peer = pick(PEERS), slot = any_slot(), what = pick(100);

	if (what < 50) {
		segment(port, peer);
	} else if (what < 80) {
		if (owner[port][peer] == 0)
			begin(port, peer);
		else if (what < 60)
			end(port, peer);
	} else if (what < 88) {
		uvs_rules_serve(&lab.writer, 1 + pick(4));
	} else if (what < 94) {
		if (alive[slot])
			toggle_listener(slot, port);
	} else if (what < 97) {
		move_reta();
	} else if (what < 98) {
		uvs_rules_close(&lab.writer); /* the manager is another */
		CHECK_EQ(uvs_rules_adopt(&lab.writer, &lab.map.rules, lab.map.claims), 0);
	} else if (alive[slot]) {
		die(slot);
	} else {
		come(slot);
	}
}

static void
beside_the_model(void)
{
	uint64_t rules = 0, hops = 0;

	steer_lab_open(&lab);
	for (uint32_t slot = 1; slot < LAB_SLOTS; slot++)
		alive[slot] = true;
	for (int i = 0; i < STEPS; i++)
		step();
	CHECK_EQ(lab_settle(&lab.lab), 0);
	for (uint32_t slot = 1; slot < LAB_SLOTS; slot++) {
		CHECK_EQ(atomic_load(&lab.lab.x.inbox[slot].bad), 0);
		rules += steer_lab_count(&lab, slot, UVS_STEER_TO_RULE);
		hops += steer_lab_count(&lab, slot, UVS_STEER_TO_NEXT);
	}
	CHECK(rules > 0 && hops > 0); /* it has been where it matters */
	steer_lab_close(&lab);
}

/* -------------------------------------------------------------------------------------- garbage */

static void
scribble(void *at, size_t len)
{
	uint64_t *w = at;

	for (size_t i = 0; i < len / sizeof(*w); i++)
		w[i] = rnd() % 3 ? rnd() : rnd() % 2 ? ~0ULL : 0;
}

static uint32_t
random_bytes(uint8_t *to)
{
	struct uvs_flow f = flow(pick(PORTS), pick(PEERS));
	uint32_t len = pick(2) ? steer_frame(to, &f, (uint8_t)rnd())
			       : steer_frame_error(to, &f, f.family == 6 ? 1 : 3);

	if (pick(3) == 0)
		len = steer_frame_fragment(to, &f, pick(4), pick(3) * 8, pick(2) != 0);
	for (uint32_t i = pick(4); i > 0; i--)
		to[pick(len)] = (uint8_t)rnd();
	return pick(4) ? len : pick(len + 1);
}

/* One burst; nothing but its verdicts is looked at, and who is up. */
static void
garbage_burst(struct uvs_steer *s)
{
	struct uvs_frame frame[16], late[UVS_HELD];
	uint32_t n;

	for (uint32_t i = 0; i < 16; i++) {
		frame[i] = steer_lab_frame(&lab, 1, i, bytes, random_bytes(bytes));
		frame[i].flags = pick(8);
		frame[i].hash = (uint32_t)rnd();
		*frame[i].trail = rnd();
	}
	s->now += rnd() % (2 * UVS_HOLD_NS);
	uvs_steer_burst(s, frame, 16);
	n = uvs_steer_late(s, late, UVS_HELD);
	for (uint32_t i = 0; i < 16 + n; i++) {
		const struct uvs_frame *f = i < 16 ? &frame[i] : &late[i - 16];

		CHECK(f->verdict <= UVS_HELD_BACK);
		CHECK(f->verdict != UVS_COPY || f->copies == 1u << 3);
		CHECK(f->verdict != UVS_DROP || f->reason < UVS_DROPS);
	}
}

static void
garbage(void)
{
	_Atomic uint32_t *life;

	steer_lab_open(&lab);
	life = &lab.lab.x.inbox[2].life;
	atomic_store(life, (atomic_load(life) & ~0xffu) | UVS_LIFE_DOWN);
	for (int round = 0; round < 60; round++) {
		for (uint32_t p = 0; p < PORTS; p++)
			for (int sp = 0; sp < UVS_CLAIM_SPACES; sp++)
				scribble(&lab.map.claims->port[sp][80 + p],
					 sizeof(struct uvs_claim));
		scribble((char *)lab.memory + sizeof(struct uvs_claims),
			 lab.size - sizeof(struct uvs_claims) - lab.private);
		for (int burst = 0; burst < 20; burst++)
			garbage_burst(&lab.steer[1]);
		uvs_rules_serve(&lab.writer, 100);
		/* Nobody takes: the lab's buffers are all in use at once otherwise. */
		lab.lab.end[1].touched = 0;
		for (uint32_t to = 0; to < LAB_SLOTS; to++) {
			CHECK(to == 3 || lab.lab.end[1].head[to] == 0); /* 2 is down */
			lab.lab.end[1].head[to] = 0;
		}
	}
	steer_lab_close(&lab);
}

int
main(void)
{
	seed_init();
	RUN(beside_the_model);
	RUN(garbage);
	return 0;
}
