/* SPDX-License-Identifier: BSD-3-Clause
 *
 * harness/step/step.h - stop a process at any one instruction, and kill it there.
 *
 * A victim is a fork of the calling process, so everything that has to be prepared for it is
 * prepared once, before. It runs a function of the caller's until it enters the marker, a function
 * whose instructions are the ones of interest, together with those of all it calls. step_record()
 * single-steps (ptrace) one victim from the marker's first instruction to its return and notes the
 * way it took; step_to() then brings a fresh victim to any place on that way, with a breakpoint and
 * in microseconds.
 *
 * What belongs to the system's libraries (/lib, /usr) is run through, not stepped, unless asked;
 * so are the functions listed in `skip` (which may not call what is stepped). The child has one
 * thread, as fork() leaves it. The way has to be the same each time: a victim that does not come to
 * the place is an error.
 *
 * x86-64 Linux; symbols bound at start (-z now, which step_dep sees to): lazy binding leaves the
 * return address of a call where nobody looks for it. A victim is the child of the thread that
 * started it, which alone may use it; it is killed when that thread ends.
 */
#ifndef UVNET_STEP_H
#define UVNET_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define STEP_NAME_LEN 64

struct step_target {
	void (*run)(void *arg); /* what the victim does */
	void *arg;
	uintptr_t marker;      /* entry of the marker; its first call counts */
	const uintptr_t *skip; /* entries of functions to run through, 0 at the end; or NULL */
	bool libraries;        /* step through the system's libraries, too */
};

/* A place: an instruction, and how often the victim has been there before. */
struct step_place {
	uintptr_t pc;
	uint32_t visit;
};

struct step_trace {
	struct step_place *place; /* in the order of execution; from malloc */
	size_t n;
};

/* Note the way from the marker to its return. 0, or -ENOMEM, -ESRCH (the victim ended or met a
 * signal before it was there), -EPERM (ptrace is not allowed), another negative errno. */
int step_record(const struct step_target *t, struct step_trace *trace);

/* A fresh victim, stopped before it executes the instruction at `place`. Its pid, or an error as
 * above. */
pid_t step_to(const struct step_target *t, const struct step_place *place);

/* SIGKILL, and wait until it is dead. */
void step_kill(pid_t pid);

/* "function+0x12" of an instruction of this program, static functions included, or of a library. */
void step_where(uintptr_t pc, char name[STEP_NAME_LEN]);

#endif /* UVNET_STEP_H */
