/* SPDX-License-Identifier: BSD-3-Clause
 *
 * harness/step/kill.h - a program that kills at every instruction and looks at what is left.
 *
 * The author gives a table of cases. For each one the driver
 *  - forks, and has prepare() bring processes' private state and the shared memory to where the
 *    victim starts; saves the shared memory;
 *  - records the victim's way through the marker (step.h): each place on it is a kill;
 *  - for each kill that was asked for: restores the shared memory, forks a judge, which starts a
 *    victim, stops it at the place, calls frozen(), kills it with SIGKILL, and calls dead().
 * The judge has copies of all that prepare() made, its survivors included; it does what the others
 * do and looks at what they would notice. It ends well, or with kill_leak() or kill_stall(), or is
 * ended by the driver's deadline, which counts as a stall.
 *
 * `ci/kill` runs all programs of this kind.
 */
#ifndef UVNET_KILL_H
#define UVNET_KILL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct kill_case {
	const char *name;
	const char *what;      /* the victim does, for --list */
	void (*prepare)(void); /* or NULL */
	void (*run)(void *arg);
	uintptr_t marker;             /* its first call in run() */
	void (*frozen)(pid_t victim); /* in the judge: the victim stands still; or NULL */
	void (*dead)(pid_t victim);   /* in the judge: it is dead */
};

struct kill_program {
	const char *name;
	const struct kill_case *cases; /* ends with a case without a name */
	const uintptr_t *skip;         /* as in struct step_target */
	/* Markers of the cases in which the system's libraries are stepped, too, 0 at the end; or
	 * NULL. */
	const uintptr_t *libraries;
	void (*set_up)(void); /* once: the shared memory, the survivors */
	void (*tear_down)(void);
	/* Keep what victims and survivors share as it is now, in place of what was kept before; put
	 * it back. */
	void (*save)(void);
	void (*restore)(void);
};

/* The program: options as in its --help. Returns its exit status. */
int kill_main(int argc, char **argv, const struct kill_program *p);

/* In a judge: something was not given back; somebody waits for ever, or misses what was sent. */
void kill_leak(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
void kill_stall(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif /* UVNET_KILL_H */
