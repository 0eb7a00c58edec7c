/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/model/voq.pml - the cell, ring, bell and reclaim protocol of uvbridge/abi.h, with one
 * sender, one receiver and the daemon, either port killed between any two shared accesses and
 * attached again. Checked by `spin -run -safety` (see run-model): every interleaving of MSGS frames
 * and CRASHES deaths.
 *
 * x86 and C11 let a store pass a later load: the sender's head, and the receiver's armed, go through
 * a one-entry store buffer that may be flushed at any time and is flushed by a fence. Built with
 * -DNO_FENCE the sender has no fence; the model then finds the lost wake-up.
 *
 * With -DDELAY the receiver may park a frame: it frees later ones before it, and tail waits.
 *
 * Shown, at every quiet end:
 *   - every cell is FREE (no leak, whoever died),
 *   - every frame that was published was delivered, or its receiver died,
 *   - the receiver does not sleep while its ring holds something.
 */
#ifndef MSGS
#define MSGS 3
#endif
#ifndef CRASHES
#define CRASHES 2
#endif
#define CELLS 2
#define DEPTH 2

/* The owner word: FREE, or the receiver's generation (1, 2, ...) and the position in the ring. */
#define FREE 0
#ifdef NO_POSITION
#define OWNER(gen, pos) (gen)
#else
#define OWNER(gen, pos) ((gen) * 16 + (pos) % 16)
#endif
#define OWNER_POS(o) ((o) % 16)

byte owner[CELLS];
byte slot[DEPTH];
byte head, tail;	    /* running, modulo 256 */
bool pend, armed, bell;
byte r_gen = 1;		    /* life word of the receiver's port */
bool r_up = true;

bool head_buffered;	    /* the sender's store buffer: head is head_new for itself only */
byte head_new;
bool armed_buffered;	    /* the receiver's */

bool parked;		    /* the receiver has seen a frame whose time has not come */

bool s_dead, r_dead;	    /* died, not reclaimed yet */
bool s_done;		    /* has sent MSGS attempts */
bool asleep;
byte crashes = CRASHES;
byte published, delivered, discarded; /* ghosts */

/* Is cell c the one that stands at position p? Without the position in the owner word a cell that
 * was freed, and taken again before the tail moved on, cannot be told from the one in the ring. */
#ifdef NO_POSITION
#define OWNED_AT(c, p) (owner[c] != FREE)
#else
#define OWNED_AT(c, p) (owner[c] != FREE && OWNER_POS(owner[c]) == (p) % 16)
#endif
inline FREE_IF_AT(c, p) {
	if
	:: OWNED_AT(c, p) -> owner[c] = FREE
	:: else
	fi
}

/* A step at which the process may be killed instead. */
#define DIE(who) if :: true :: atomic { (crashes > 0) -> crashes-- }; goto who fi

/* The sender's stores become visible in order: slot and owner before the head. */
inline flush_head() {
	atomic {
		if
		:: head_buffered -> head = head_new; head_buffered = false
		:: else
		fi
	}
}

inline flush_armed() {
	atomic {
		if
		:: armed_buffered -> armed = true; armed_buffered = false
		:: else
		fi
	}
}

proctype StoreBuffers() {
end:	do
	:: atomic { head_buffered -> head = head_new; head_buffered = false }
	:: atomic { armed_buffered -> armed = true; armed_buffered = false }
	od
}

proctype Sender() {
	byte n, c, gen, h;
again:
	flush_head();
	h = head;
	do
	:: n == MSGS -> break
	:: n < MSGS ->
		n++;
		/* life, once per burst */
		atomic { if :: r_up -> gen = r_gen :: else -> gen = 0 fi }
		if
		:: gen == 0 -> goto next
		:: else
		fi;
		DIE(dead);
		if
		:: owner[0] == FREE -> c = 0
		:: owner[0] != FREE && owner[1] == FREE -> c = 1
		:: else -> goto next /* no cell */
		fi;
		if
		:: (h - tail) % 256 == DEPTH -> goto next /* full: dropped, counted */
		:: else
		fi;
		DIE(dead);
		owner[c] = OWNER(gen, h);
		DIE(dead);
		slot[h % DEPTH] = c;
		DIE(dead);
		h = (h + 1) % 256;
		flush_head(); /* one entry: an older store leaves first */
		atomic { head_new = h; head_buffered = true; published++ }
		DIE(dead);
#ifndef NO_FENCE
		flush_head();
#endif
		if
		:: !pend -> DIE(dead); flush_head(); pend = true
		:: pend
		fi;
		DIE(dead);
		if
		:: armed -> bell = true
		:: !armed
		fi;
next:		skip
	od;
	s_done = true;
	goto out;
dead:
	/* What is in the store buffer of a killed process still becomes visible. */
	flush_head();
	s_dead = true;
	(!s_dead); /* reclaimed: attached again */
	goto again;
out:	skip
}

proctype Receiver() {
	byte t, c, h, gen, p_pos, p_cell;
again:
	flush_armed();
	atomic { gen = r_gen; armed = false; t = tail; parked = false }
end_loop:
	do
	:: parked ->
		/* now it has: shown, freed, and the tail goes as far as it may */
		owner[p_cell] = FREE;
		delivered++;
		DIE(dead);
		parked = false;
		tail = t
	:: pend || head != t ->
		/* clear the bit (a read-modify-write: a full fence), then look */
		flush_armed();
		pend = false;
		DIE(dead);
		do
		:: h = head;
		   if
		   :: h == t -> break
		   :: else
		   fi;
		   c = slot[t % DEPTH];
		   DIE(dead);
		   if
		   :: owner[c] == OWNER(gen, t) -> delivered++; owner[c] = FREE
#ifdef DELAY
		   :: owner[c] == OWNER(gen, t) && !parked ->
			atomic { parked = true; p_pos = t; p_cell = c }
#endif
		   :: owner[c] != OWNER(gen, t) ->
			/* stale: sent to an earlier generation, or freed before its receiver died */
			discarded++;
			FREE_IF_AT(c, t)
		   fi;
		   DIE(dead);
		   t = (t + 1) % 256;
		   if
		   :: parked -> tail = p_pos
		   :: !parked -> tail = t
		   fi
		od;
		DIE(dead)
	:: !pend && !armed && !armed_buffered ->
		DIE(dead);
		armed_buffered = true;
		DIE(dead);
		flush_armed();
		/* fence, then look again */
		if
		:: pend -> armed = false
		:: !pend ->
			asleep = true;
end_sleep:		if
			:: atomic { bell -> bell = false; asleep = false }
			:: atomic { parked -> asleep = false } /* its timer */
			:: atomic { (crashes > 0) -> crashes--; asleep = false }; goto dead
			fi;
			armed = false
		fi
	od;
dead:
	flush_armed();
	r_dead = true;
	(!r_dead);
	goto again
}

/* abi.h "Reclaim". */
proctype Daemon() {
	byte i, t;
	bool in_ring;
end:	do
	:: r_dead ->
		r_up = false;
		/* as the receiver: drain. Twice, for what a sender had in hand meanwhile: the tick */
		do
		:: tail != head ->
			FREE_IF_AT(slot[tail % DEPTH], tail);
			discarded++;
			tail = (tail + 1) % 256
		:: tail == head -> break
		od;
		atomic { armed = false; bell = false; r_gen++; r_up = true; r_dead = false }
	:: s_dead ->
		/* as the sender: cells that have an owner and stand in no ring */
		i = 0;
		do
		:: i < CELLS ->
			in_ring = false;
			t = tail;
			do
			:: t != head ->
				if
				:: slot[t % DEPTH] == i && OWNED_AT(i, t) -> in_ring = true
				:: else
				fi;
				t = (t + 1) % 256
			:: t == head -> break
			od;
			if
			:: !in_ring && owner[i] != FREE -> owner[i] = FREE
			:: else
			fi;
			i++
		:: i == CELLS -> break
		od;
		if
		:: tail != head -> pend = true; if :: armed -> bell = true :: else fi
		:: else
		fi;
		s_dead = false
	od
}

#define quiet (s_done && !s_dead && !r_dead && asleep && !parked && !bell && !head_buffered && !armed_buffered)

proctype Judge() {
end:	if
	:: atomic {
		quiet ->
		assert(head == tail);
		assert(owner[0] == FREE && owner[1] == FREE);
		assert(published == delivered + discarded || crashes < CRASHES);
		assert(delivered <= published)
	   }
	fi
}

init {
	atomic {
		run StoreBuffers(); run Sender(); run Receiver(); run Daemon(); run Judge()
	}
}
