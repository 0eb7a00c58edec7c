/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Kills a stack, or the manager, at every instruction of the soft queues (harness/step/kill.h).
 *
 * Stacks A and B survive. While the victim V stands still at the place of its death, they talk, and
 * A sends to V. Then V is killed and the manager buries it:
 *  - what V had published, and no more, arrives at A and B; who sleeps is woken;
 *  - every buffer of A and B that V had comes home, every one of V's that they had, too;
 *  - the slot is handed out again, works both ways, and at the end every buffer is at home.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/step/kill.h"
#include "stack/share/lab.h"

#define A 1
#define V 2
#define B 3

/* Buffers from here on are for what the survivors say to each other. */
#define TALK 40

static struct lab lab;

/* --------------------------------------------------------------------------------------- judge */

static uint32_t
waiting(uint32_t to, uint32_t from)
{
	const struct uvs_softq *q = &lab.x.softq[to * LAB_SLOTS + from];

	return atomic_load(&q->head) - atomic_load(&q->tail);
}

static bool
asleep(uint32_t slot)
{
	return atomic_load(&lab.x.inbox[slot].armed) & 1;
}

static void
talk(uint32_t from, uint32_t to, uint32_t index)
{
	lab_serve(&lab, to);
	if (!lab_stage(&lab, from, to, index))
		kill_stall("%u cannot send to %u", from, to);
	uvs_softq_publish(&lab.end[from]);
	if (lab_serve(&lab, to) != 1)
		kill_stall("a frame from %u to %u did not arrive", from, to);
}

static void
frozen(pid_t victim)
{
	(void)victim;
	if (!asleep(A) && !asleep(B)) {
		talk(A, B, TALK);
		talk(B, A, TALK);
	}
	lab_stage(&lab, A, V, TALK + 1);
	uvs_softq_publish(&lab.end[A]);
}

/* What V published for a survivor arrives; a sleeper only looks when it was woken. */
static void
check_arrival(uint32_t at, uint64_t wake)
{
	uint32_t want = waiting(at, V), got = 0, n;
	uvs_ref ref[64];

	if (asleep(at) && !(wake >> at & 1)) {
		if (want != 0)
			kill_stall("%u sleeps, %u references wait", at, want);
		return;
	}
	uvs_softq_disarm(&lab.end[at]);
	while ((n = uvs_softq_take(&lab.end[at], ref, 64)) != 0)
		for (uint32_t i = 0; i < n; i++) {
			lab_untie(&lab, ref[i]);
			got += UVS_REF_INDEX(ref[i]) < TALK;
			if (UVS_REF_POOL(ref[i]) != at)
				uvs_softq_stage(&lab.end[at], UVS_REF_POOL(ref[i]), ref[i]);
		}
	uvs_softq_publish(&lab.end[at]);
	if (got < want)
		kill_stall("%u references for %u were published, %u arrived", want, at, got);
}

static void
check_home(const char *when)
{
	uint32_t missing = lab_settle(&lab);

	if (missing != 0)
		kill_leak("%s, %u buffers are not at home", when, missing);
	for (uint32_t at = A; at <= B; at++)
		if (atomic_load(&lab.x.inbox[at].bad) != 0)
			kill_leak("%u met references that made no sense", at);
}

static void
dead(pid_t victim)
{
	uint64_t wake = lab_bury(&lab, V);

	(void)victim;
	check_arrival(A, wake);
	check_arrival(B, wake);
	uvs_softq_disarm(&lab.end[A]);
	uvs_softq_disarm(&lab.end[B]);
	check_home("after the death");
	lab_lease(&lab, V);
	for (uint32_t i = 0; i < 3; i++) {
		talk(V, A, i);
		talk(B, V, i);
	}
	check_home("after its successor's first frames");
}

/* --------------------------------------------------------------------------------------- cases */

static void
send_frames(void *arg)
{
	(void)arg;
	uvs_softq_stage(&lab.end[V], A, UVS_REF(V, 0));
	uvs_softq_stage(&lab.end[V], B, UVS_REF(V, 1));
	uvs_softq_stage(&lab.end[V], A, UVS_REF(V, 2));
	uvs_softq_publish(&lab.end[V]);
}

/* A frame of three buffers, and one behind it. */
static void
tie_frame(void)
{
	lab_tie(&lab, V, 0, 3);
}

static void
send_large(void *arg)
{
	(void)arg;
	uvs_softq_stage(&lab.end[V], A, UVS_REF(V, 0));
	uvs_softq_stage(&lab.end[V], A, UVS_REF(V, 6));
	uvs_softq_publish(&lab.end[V]);
}

static void
sleep_both(void)
{
	uvs_softq_arm(&lab.end[A]);
	uvs_softq_arm(&lab.end[B]);
}

static uvs_ref taken[64];
static uint32_t nb_taken;

/* Frames of both, and one of V's own on its way home. */
static void
frames_wait(void)
{
	lab_stage(&lab, V, A, 5);
	uvs_softq_publish(&lab.end[V]);
	lab_serve(&lab, A);
	lab_stage(&lab, A, V, 0);
	lab_stage(&lab, A, V, 1);
	uvs_softq_publish(&lab.end[A]);
	lab_stage(&lab, B, V, 0);
	uvs_softq_publish(&lab.end[B]);
}

static void
take_frames(void *arg)
{
	(void)arg;
	nb_taken = uvs_softq_take(&lab.end[V], taken, 64);
}

static void
large_waits(void)
{
	lab_tie(&lab, A, 0, 3);
	lab_stage(&lab, A, V, 0);
	uvs_softq_publish(&lab.end[A]);
}

/* Taken, and handed on to a third one. */
static void
hand_on(void *arg)
{
	take_frames(arg);
	uvs_softq_stage(&lab.end[V], B, taken[0]);
	uvs_softq_publish(&lab.end[V]);
}

static void
frames_taken(void)
{
	frames_wait();
	take_frames(NULL);
}

static void
send_home(void *arg)
{
	(void)arg;
	for (uint32_t i = 0; i < nb_taken; i++)
		if (UVS_REF_POOL(taken[i]) != V)
			uvs_softq_stage(&lab.end[V], UVS_REF_POOL(taken[i]), taken[i]);
	uvs_softq_publish(&lab.end[V]);
}

static void
go_to_sleep(void *arg)
{
	(void)arg;
	uvs_softq_arm(&lab.end[V]);
}

static void
rings_empty(void)
{
	frames_wait();
	lab_serve(&lab, V);
	lab_settle(&lab);
}

/* ------------------------------------------------------------------- cases: the manager dies, too
 */

/* V is dead, with something everywhere: held, staged, published, waiting. */
static void
dead_with_everything(void)
{
	frames_taken();
	send_frames(NULL);
	uvs_softq_stage(&lab.end[V], B, UVS_REF(V, 9)); /* and never publishes it */
	lab_stage(&lab, A, V, 11);
	uvs_softq_publish(&lab.end[A]);
}

static void
bury(void *arg)
{
	(void)arg;
	lab_bury(&lab, V);
}

static void
tick(void *arg)
{
	uint64_t wake;

	(void)arg;
	uvs_softq_tick(&lab.end[UVS_SLOT_BOSS], &wake);
}

/* The manager could not get rid of what V had: the way home was full. */
static void
manager_holds(void)
{
	struct uvs_softq *q = &lab.x.softq[A * LAB_SLOTS + UVS_SLOT_BOSS];

	dead_with_everything();
	lab.end[UVS_SLOT_BOSS].head[A] += UVS_SOFTQ_DEPTH;
	atomic_store(&q->head, UVS_SOFTQ_DEPTH);
	lab_bury(&lab, V);
	atomic_store(&q->tail, UVS_SOFTQ_DEPTH);
}

/* A new manager buries what the old one had begun to. */
static void
manager_dead(pid_t victim)
{
	uint64_t wake;

	uvs_softq_take_over(&lab.end[UVS_SLOT_BOSS], &lab.x, &wake);
	dead(victim);
}

#define MARKER(function) .run = function, .marker = (uintptr_t)(function)

static const struct kill_case cases[] = {
	{"send", "hands frames to two others", NULL, MARKER(send_frames), frozen, dead},
	{"send-asleep", "the same, they sleep", sleep_both, MARKER(send_frames), frozen, dead},
	{"take", "takes frames of two, and one of its own", frames_wait, MARKER(take_frames),
	 frozen, dead},
	{"send-large", "hands a frame of three buffers over", tie_frame, MARKER(send_large), frozen,
	 dead},
	{"hand-on-large", "takes a frame of three buffers, and hands it on", large_waits,
	 MARKER(hand_on), frozen, dead},
	{"home", "brings buffers home", frames_taken, MARKER(send_home), frozen, dead},
	{"arm", "goes to sleep", rings_empty, MARKER(go_to_sleep), frozen, dead},
	{"arm-waiting", "goes to sleep, frames wait", frames_wait, MARKER(go_to_sleep), frozen,
	 dead},
	{"bury", "the manager, burying", dead_with_everything, MARKER(bury), NULL, manager_dead},
	{"tick", "the manager, with buffers it holds", manager_holds, MARKER(tick), NULL,
	 manager_dead},
	{0},
};

static void
set_up(void)
{
	lab_open(&lab);
}

static void
tear_down(void)
{
	lab_close(&lab);
}

static void *saved;

static void
save(void)
{
	free(saved);
	saved = malloc(lab.size);
	if (saved == NULL)
		abort();
	memcpy(saved, lab.memory, lab.size);
}

static void
restore(void)
{
	memcpy(lab.memory, saved, lab.size);
}

int
main(int argc, char **argv)
{
	static const struct kill_program program = {
		.name = "kill_softq",
		.cases = cases,
		.set_up = set_up,
		.tear_down = tear_down,
		.save = save,
		.restore = restore,
	};

	return kill_main(argc, argv, &program);
}
