/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/share/model/lease.pml - the life of one hardware queue (stack/share/lease.h): two stacks that
 * want it, a manager, the NIC's redirection table. A stack may die between any two steps, be stopped
 * and go on; the manager may die between any two steps and be started again. Checked by
 * `spin -run -safety` (run-model) for DEATHS deaths in all.
 *
 * Shown:
 *   - never do two processes touch the queue at once, the manager that resets it included;
 *   - nobody is given a queue with something of another in it;
 *   - whenever everything is at rest the table directs nothing at a queue nobody polls;
 *   - a queue whose stack is gone is free again: somebody who asks for it gets it.
 * With -DGRANT_EARLY the manager grants a queue before it is reset, with -DTAKE_STALLED it resets the
 * queue of a process that is only stopped, with -DNO_ADOPT its successor does not work the table out
 * anew: each of them fails.
 */
#ifndef DEATHS
#define DEATHS 3
#endif
#define STACKS 2

mtype = { Free, Granted, Live, Parked, Stalled, Resetting };

mtype state = Free;
byte gen;
byte owner;		 /* slot that has it: 0, 1 */
bool reta;		 /* the table directs traffic at it */

bool alive[STACKS] = true;
bool stopped[STACKS];
bool wants[STACKS];	 /* has asked */
bool ready[STACKS];	 /* says that it polls */
bool leaves[STACKS];	 /* says that it wants to go */
bool emptied[STACKS];	 /* says that it does not touch the queue any more */
bool answered[STACKS];	 /* knows its generation */
byte mygen[STACKS];

bool touching[STACKS];	 /* ghosts: is inside the queue */
bool resetting;
bool busy = true;		 /* the manager is in the middle of something */
bool dirty;		 /* something of a stack is in the queue */
byte deaths = DEATHS;
byte served;		 /* how often a stack got as far as polling */

#define MINE(s) (gen == mygen[s] && state != Free && state != Resetting)

/* A step of a stack: only while its process runs. */
#define RUNS(me) (alive[me] && !stopped[me])
#define STEP(me, what) if :: atomic { RUNS(me) -> what } :: !alive[me] -> goto gone fi

/* A stack: asks, sets itself up, polls, perhaps leaves. */
proctype Stack(byte me) {
	STEP(me, wants[me] = true);
	if
	:: RUNS(me) && answered[me]
	:: !alive[me] -> goto gone
	fi;
	STEP(me, ready[me] = true);
	do
	:: !alive[me] -> break
	/* a burst: a look at the word; then, perhaps much later, the queue */
	:: atomic { RUNS(me) -> assert(MINE(me)) };
		STEP(me, touching[me] = true; dirty = true; assert(!(touching[1 - me] && alive[1 - me]) && !resetting));
		STEP(me, touching[me] = false)
	:: atomic { RUNS(me) && state == Live && served < 3 -> leaves[me] = true }
	:: atomic { RUNS(me) && state == Parked -> emptied[me] = true }; break
	od;
gone:	skip
}

/* The world: deaths and stops. */
proctype World() {
end:	do
	:: atomic { deaths > 0 && alive[0] -> alive[0] = false; deaths-- }
	:: atomic { deaths > 0 && alive[1] -> alive[1] = false; deaths-- }
	:: atomic { alive[0] && !stopped[0] && state == Live -> stopped[0] = true }
	:: atomic { alive[0] && stopped[0] -> stopped[0] = false }
	od
}

/* What the manager can do, and when. */
#define ASKS(s) (wants[s] && alive[s] && !answered[s])
#define ASKED (ASKS(0) || ASKS(1))
#define HERE (alive[owner])
#ifdef GRANT_EARLY
#define CAN_GRANT ((state == Free || state == Resetting) && ASKED)
#else
#define CAN_GRANT (state == Free && ASKED)
#endif
#define CAN_ANSWER (state == Granted && HERE && !answered[owner])
#define CAN_START (state == Granted && HERE && ready[owner])
#define CAN_PARK (state == Live && HERE && leaves[owner])
#define CAN_STALL (state == Live && HERE && stopped[owner])
#define CAN_RESUME (state == Stalled && HERE && !stopped[owner])
#define CAN_TAKE (state == Parked && HERE && emptied[owner])
#define CAN_BURY (state != Free && state != Resetting && !HERE)
#define CAN_RESET (state == Resetting)
#define NOTHING_TO_DO !(CAN_GRANT || CAN_ANSWER || CAN_START || CAN_PARK || CAN_STALL || CAN_RESUME || \
			CAN_TAKE || CAN_BURY || CAN_RESET)

/* Every line is a step at which it may die. A new manager begins at the top: all it knows is in the
 * shared words. */
#define DIE if :: atomic { deaths > 0 -> deaths--; goto restart } :: true fi

proctype Manager() {
	byte s;
restart:
	resetting = false;
#ifndef NO_ADOPT
	reta = (state == Live);
#endif
idle:
	busy = false;
end:	do
	/* grant: the slot, then the word */
	:: atomic { CAN_GRANT -> busy = true };
		if
		:: ASKS(0) -> s = 0
		:: ASKS(1) -> s = 1
		:: !ASKED -> goto idle /* died meanwhile */
		fi;
		owner = s;
		DIE;
		atomic { assert(!dirty); gen++; state = Granted };
		DIE;
		goto idle
	/* the answer, again if need be */
	:: atomic { CAN_ANSWER -> busy = true };
		mygen[owner] = gen;
		answered[owner] = true;
		DIE;
		goto idle
	:: atomic { CAN_START -> busy = true };
		atomic { state = Live; served++ };
		DIE;
		reta = true;
		goto idle
	/* out of the table first, then the word */
	:: atomic { CAN_PARK -> busy = true };
		reta = false;
		DIE;
		state = Parked;
		goto idle
	:: atomic { CAN_STALL -> busy = true };
		reta = false;
		DIE;
		state = Stalled;
		goto idle
	:: atomic { CAN_RESUME -> busy = true };
		state = Live;
		DIE;
		reta = true;
		goto idle
	:: atomic { CAN_TAKE -> state = Resetting }
	:: atomic { CAN_BURY -> busy = true };
		reta = false;
		DIE;
		state = Resetting;
		goto idle
#ifdef TAKE_STALLED
	:: state == Stalled -> state = Resetting
#endif
	:: atomic { CAN_RESET -> busy = true };
		resetting = true;
		assert(!(touching[0] && alive[0]) && !(touching[1] && alive[1]));
		DIE;
		atomic { resetting = false; dirty = false };
		DIE;
		state = Free;
		goto idle
	od
}

/* Whenever the manager has nothing to do, all is well. */
proctype Rest() {
end:	do
	:: atomic { !busy && NOTHING_TO_DO ->
		assert(reta == (state == Live));
		assert(state == Free || alive[owner]) }
	od
}

init {
	atomic {
		run Stack(0);
		run Stack(1);
		run Manager();
		run World();
		run Rest()
	}
}
