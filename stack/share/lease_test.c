/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The life of a lease, every state and event; the redirection table that follows.
 */
#include <errno.h>
#include <string.h>

#include "stack/share/lease.h"
#include "uvbridge/test.h"

/* One letter for each state an event leads to; '.': refused. */
static const char *const expected[UVS_LEASE_STATES] = {
	/*            G R P E S R D R    grant ready park emptied stall resume death reset */
	/* free      */ "g.......",
	/* granted   */ ".lr...r.",
	/* live      */ "..p.s.r.",
	/* parked    */ "...r..r.",
	/* stalled   */ ".....lr.",
	/* resetting */ ".......f",
};

static enum uvs_lease_state
state_of(char letter)
{
	static const char letters[] = "fglpsr";
	const char *at = strchr(letters, letter);

	return letter == '.' ? UVS_LEASE_REFUSED : (enum uvs_lease_state)(at - letters);
}

static void
every_state_and_event(void)
{
	for (int s = 0; s < UVS_LEASE_STATES; s++)
		for (int e = 0; e < UVS_LEASE_EVENTS; e++) {
			enum uvs_lease_state want = state_of(expected[s][e]);
			struct uvs_lease l = {UVS_LEASE_WORD(5, s), 3};

			CHECK_EQ(uvs_lease_next((enum uvs_lease_state)s, (enum uvs_lease_event)e),
				 want);
			if (e == UVS_LEASE_GRANT)
				continue; /* says to whom: below */
			CHECK_EQ(uvs_lease_move(&l, (enum uvs_lease_event)e),
				 want == UVS_LEASE_REFUSED ? -EPROTO : 0);
			CHECK_EQ(l.word, UVS_LEASE_WORD(5, want == UVS_LEASE_REFUSED
								   ? (enum uvs_lease_state)s
								   : want));
			CHECK_EQ(l.slot, 3);
		}
	CHECK_EQ(uvs_lease_next(UVS_LEASE_STATES, UVS_LEASE_GRANT), UVS_LEASE_REFUSED);
	CHECK_EQ(uvs_lease_next(UVS_LEASE_FREE, UVS_LEASE_EVENTS), UVS_LEASE_REFUSED);
}

/* Whatever has happened, a death and a reset make a queue free; nothing else makes it so. */
static void
always_back_to_free(void)
{
	for (int s = UVS_LEASE_GRANTED; s < UVS_LEASE_STATES; s++) {
		struct uvs_lease l = {UVS_LEASE_WORD(1, s), 0};

		if (s != UVS_LEASE_RESETTING) {
			CHECK_EQ(uvs_lease_move(&l, UVS_LEASE_DEATH), 0);
			CHECK(!uvs_lease_mine(&l, 1));
		}
		CHECK_EQ(uvs_lease_move(&l, UVS_LEASE_RESET), 0);
		CHECK_EQ(UVS_LEASE_STATE(l.word), UVS_LEASE_FREE);
		CHECK(!uvs_lease_mine(&l, 1));
	}
}

static void
grants(void)
{
	struct uvs_lease l = {0};

	CHECK_EQ(uvs_lease_grant(&l, 4), 1);
	CHECK(l.slot == 4 && uvs_lease_mine(&l, 1) && !uvs_lease_mine(&l, 0));
	CHECK_EQ(uvs_lease_grant(&l, 4), 1); /* the answer was lost */
	CHECK_EQ(uvs_lease_grant(&l, 5), -EPROTO);
	CHECK_EQ(uvs_lease_move(&l, UVS_LEASE_READY), 0);
	CHECK_EQ(uvs_lease_grant(&l, 4), -EPROTO);
	CHECK_EQ(uvs_lease_move(&l, UVS_LEASE_DEATH), 0);
	CHECK_EQ(uvs_lease_grant(&l, 5), -EPROTO); /* not reset yet */
	CHECK_EQ(uvs_lease_move(&l, UVS_LEASE_RESET), 0);
	CHECK_EQ(uvs_lease_grant(&l, 5), 2);
	CHECK(!uvs_lease_mine(&l, 1));
	l.word = UVS_LEASE_WORD(0xffffff, UVS_LEASE_FREE);
	CHECK_EQ(uvs_lease_grant(&l, 5), 0); /* generations wrap, states do not */
	CHECK_EQ(UVS_LEASE_STATE(l.word), UVS_LEASE_GRANTED);
}

/* --------------------------------------------------------------------------------------- RETA */

#define QUEUES 8
#define SIZE   128

static void
set_live(struct uvs_lease *lease, uint32_t mask)
{
	for (uint32_t q = 0; q < QUEUES; q++)
		lease[q].word =
			UVS_LEASE_WORD(1, mask >> q & 1 ? UVS_LEASE_LIVE : UVS_LEASE_PARKED);
}

/* Even, and nobody lost an entry without need. */
static void
check_follow(const uint16_t *before, const uint16_t *after, uint32_t mask, uint32_t changed)
{
	uint32_t live = (uint32_t)__builtin_popcount(mask), had[QUEUES] = {0}, has[QUEUES] = {0};
	uint32_t moved = 0, needed = 0, gone = 0, most = (SIZE + live - 1) / live, spare;

	for (uint32_t i = 0; i < SIZE; i++) {
		CHECK(after[i] < QUEUES && (mask >> after[i] & 1));
		has[after[i]]++;
		if (before[i] < QUEUES && (mask >> before[i] & 1))
			had[before[i]]++;
		else
			gone++;
		moved += before[i] != after[i];
	}
	CHECK_EQ(moved, changed);
	spare = SIZE % live; /* so many may have one more */
	for (uint32_t q = 0; q < QUEUES; q++) {
		uint32_t over;

		if (!(mask >> q & 1))
			continue;
		CHECK(has[q] == SIZE / live || has[q] == most);
		over = had[q] > SIZE / live ? had[q] - SIZE / live : 0;
		if (over > 0 && spare > 0) {
			over--;
			spare--;
		}
		needed += over;
	}
	CHECK_EQ(moved, needed + gone);
}

static void
reta_follows(void)
{
	struct uvs_lease lease[QUEUES] = {{0}};
	uint16_t reta[SIZE], before[SIZE];
	uint32_t mask = 0;

	memset(reta, 0xff, sizeof(reta));
	set_live(lease, 0);
	CHECK_EQ(uvs_reta_follow(reta, SIZE, lease, QUEUES), 0);
	for (int i = 0; i < 2000; i++) {
		uint32_t next = (uint32_t)rnd() & ((1 << QUEUES) - 1);
		uint32_t changed;

		if (i % 3 != 0) /* mostly one comes or goes */
			next = mask ^ 1u << rnd() % QUEUES;
		memcpy(before, reta, sizeof(reta));
		set_live(lease, next);
		changed = uvs_reta_follow(reta, SIZE, lease, QUEUES);
		if (next == 0)
			CHECK(changed == 0 && memcmp(before, reta, sizeof(reta)) == 0);
		else
			check_follow(before, reta, next, changed);
		mask = next;
	}
}

int
main(void)
{
	seed_init();
	RUN(every_state_and_event);
	RUN(always_back_to_free);
	RUN(grants);
	RUN(reta_follows);
	return 0;
}
