/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/share/model/claims.pml - who has a local port (stack/share/claims.h): the two words of one
 * port, processes that bind, listen and close it, with any flags, one socket each, a manager that
 * clears up after the dead and hands their slots out again. A process may die between any two
 * steps, the manager may die between any two steps and be started again. Checked by
 * `spin -run -safety` (run-model) for DEATHS deaths in all.
 *
 * Shown:
 *   - two processes hold the port only if both have said so by the same flag, and both listen only
 *     if both have said SO_REUSEPORT, whatever happened in the middle of a bind;
 *   - what a living process was given stays its own: nobody else's step takes its bit away;
 *   - whenever everything is at rest, the words name nobody but the living who hold and listen: no
 *     death leaves a port that cannot be had.
 * With -DSTORE a bind stores what it has worked out, instead of comparing first; with -DONE_WORD it
 * compares the word that it changes only, and a listen, too: another one may have closed the port,
 * bound it with other flags and listened meanwhile; with -DLEASE_EARLY the dead's slot is handed out
 * before its bits are cleared; with -DHALF_RECLAIM a new manager takes the dead's port for cleared
 * when its listening is: each of them fails.
 */
#ifndef DEATHS
#define DEATHS 2
#endif
#ifndef SLOTS
#define SLOTS 3
#endif
#ifndef BINDS
#define BINDS 2		 /* by all processes together */
#endif

/* Of the word `held`, behind a bit for each slot; and what a socket has set. */
#define PORT 8		 /* SO_REUSEPORT */
#define ADDR 16		 /* SO_REUSEADDR */
#define MASK 7
#define BIT(s) (1 << (s))

byte held, open;	 /* the two words */

bool alive[SLOTS] = true;
bool leased[SLOTS] = true; /* the slot is somebody's, dead or alive */
byte binds = BINDS;
byte deaths = DEATHS;

byte has[SLOTS];	 /* ghosts: 1 and the flags it was given the port with */
bool listens[SLOTS];
bool working[SLOTS];	 /* between two calls it is at rest */
bool reclaiming;

#define OTHERS(me) (MASK & ~BIT(me))
#define SHARE(a, b) (has[a] == 0 || has[b] == 0 || (has[a] & has[b] & (PORT | ADDR)) != 0)
#define LISTEN(a, b) (!listens[a] || !listens[b] || (has[a] & has[b] & PORT) != 0)
#define TRUE_TO(s) (!alive[s] || ((has[s] == 0 || (held & BIT(s)) != 0) && \
				  (!listens[s] || (open & BIT(s)) != 0)))

/* Of all pairs and slots; the dead have nothing. */
inline check() {
	assert(SHARE(0, 1) && LISTEN(0, 1) && TRUE_TO(0) && TRUE_TO(1));
#if SLOTS > 2
	assert(SHARE(0, 2) && SHARE(1, 2) && LISTEN(0, 2) && LISTEN(1, 2) && TRUE_TO(2))
#endif
}

/* A step of a process, unless it has died. */
#define STEP(me, what) if :: atomic { alive[me] -> what } :: !alive[me] -> goto gone fi

#define ADMITS(h, o, me, flags) \
	((h & OTHERS(me)) == 0 || (h & flags & PORT) != 0 || \
	 ((h & flags & ADDR) != 0 && (o & OTHERS(me)) == 0))
#define WANTED(h, me, flags) ((h & MASK) != 0 -> ((h & MASK) | BIT(me) | (h & flags)) : (BIT(me) | flags))

#ifdef ONE_WORD
#define CHANGED(word, was) (word != was)
#else
#define CHANGED(word, was) (held != h || open != o)
#endif

proctype Process(byte me) {
	byte h, o, flags;
again:
	/* uvs_claim_take(): reads both words, one after the other, decides, swaps */
	if
	:: atomic { alive[me] && binds > 0 -> binds--; working[me] = true; h = held;
		if
		:: flags = 0
		:: flags = PORT
		:: flags = ADDR
		:: flags = PORT | ADDR
		fi }
	:: !alive[me] -> goto gone
	fi;
	do
	:: STEP(me, o = open;
		if
		:: ADMITS(h, o, me, flags)
		:: else -> goto rest /* EADDRINUSE */
		fi);
		STEP(me,
#ifndef STORE
			if
			:: CHANGED(held, h) -> h = held
			:: else ->
#endif
				held = WANTED(h, me, flags); has[me] = 1 | flags; check(); break
#ifndef STORE
			fi
#endif
		)
	od;
	/* uvs_claim_open(), or not: the same */
	if
	:: goto drop
	:: STEP(me, o = open)
	fi;
	do
	:: STEP(me, h = held;
		if
		:: (o & h & OTHERS(me)) != 0 && (h & PORT) == 0 -> goto drop /* EADDRINUSE */
		:: else
		fi);
		STEP(me,
			if
			:: CHANGED(open, o) -> o = open
			:: else -> open = o | BIT(me); listens[me] = true; check(); break
			fi
		)
	od;
drop:	/* uvs_claim_drop(), sooner or later */
	STEP(me, h = 0; o = 0; flags = 0; working[me] = false);
	STEP(me, working[me] = true; listens[me] = false; open = open & ~BIT(me); check());
	STEP(me, has[me] = 0; held = held & ~BIT(me); check());
rest:	atomic { h = 0; o = 0; flags = 0; working[me] = false; goto again };
gone:	/* the slot's next process */
	atomic { !alive[me] && !leased[me] ->
		h = 0; o = 0; flags = 0; leased[me] = true; alive[me] = true; working[me] = false; goto again }
}

/* The manager: sees a death, clears both words (uvs_claims_reclaim()), and only then has the slot
 * ready for another process. It may die at each step; the next one begins anew. */
#define MANAGER_DIES if :: atomic { deaths > 0 -> deaths--; goto restart } :: true fi

proctype Manager() {
	byte s;
restart:
	reclaiming = false;
	s = 0;
end:	do
	:: atomic { !alive[0] && leased[0] -> s = 0; reclaiming = true }; goto reclaim
	:: atomic { !alive[1] && leased[1] -> s = 1; reclaiming = true }; goto reclaim
#if SLOTS > 2
	:: atomic { !alive[2] && leased[2] -> s = 2; reclaiming = true }; goto reclaim
#endif
	od;
reclaim:
#ifdef LEASE_EARLY
	leased[s] = false;
#endif
	MANAGER_DIES;
#ifdef HALF_RECLAIM
	if
	:: (open & BIT(s)) == 0 -> goto cleared
	:: else
	fi;
#endif
	atomic { open = open & ~BIT(s); check() };
	MANAGER_DIES;
	atomic { held = held & ~BIT(s); check() };
cleared:
	MANAGER_DIES;
	leased[s] = false;
	goto restart
}

inline dies(s) {
	deaths--; alive[s] = false; has[s] = 0; listens[s] = false
}

proctype World() {
end:	do
	:: atomic { deaths > 0 && alive[0] -> dies(0) }
	:: atomic { deaths > 0 && alive[1] -> dies(1) }
#if SLOTS > 2
	:: atomic { deaths > 0 && alive[2] -> dies(2) }
#endif
	od
}

#define AT_REST(s) (alive[s] && !working[s])
#define NAMES(word, s) ((word & BIT(s)) != 0)

/* Whenever nobody is in the middle of anything. */
proctype Rest() {
end:	do
	:: atomic { AT_REST(0) && AT_REST(1) &&
#if SLOTS > 2
		AT_REST(2) &&
#endif
		!reclaiming ->
		assert(NAMES(held, 0) == (has[0] != 0) && NAMES(open, 0) == listens[0]);
		assert(NAMES(held, 1) == (has[1] != 0) && NAMES(open, 1) == listens[1]);
#if SLOTS > 2
		assert(NAMES(held, 2) == (has[2] != 0) && NAMES(open, 2) == listens[2])
#endif
		}
	od
}

init {
	atomic {
		run Process(0);
		run Process(1);
#if SLOTS > 2
		run Process(2);
#endif
		run Manager();
		run World();
		run Rest()
	}
}
