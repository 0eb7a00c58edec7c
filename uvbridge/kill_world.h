/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/kill_world.h - what programs that kill the fabric's processes at every instruction share
 * (harness/step/kill.h): the fabric, who survives, and how they judge.
 *
 * There are two survivors, a and b, and the victim v. While v stands still at the place of its
 * death, a and b talk, and a sends to v. Then v is killed, the daemon's own code adopts the fabric
 * as after a restart, and
 *  - every frame that v had published, and no other, is received by a and b, whole, by the rules:
 *    who sleeps looks only when its bell has rung;
 *  - v's port is free, the name attaches again, gets nothing that was for its predecessor, and
 *    talks to both;
 *  - at the end every cell of the fabric is free.
 */
#ifndef UVBRIDGE_KILL_WORLD_H
#define UVBRIDGE_KILL_WORLD_H

#include "harness/step/kill.h"
#include "uvbridge/lab.h"

#define A      1 /* last bytes of MAC addresses, and places in dev[] */
#define B      2
#define V      3
#define NOBODY 0x3fffffff /* a process that there is not */
#define LONG   5000       /* bytes: three cells */

#define MARKER(f) (uintptr_t)(f)

extern struct lab lab;
extern struct uvb_dev *dev[4];
extern bool daemon_is_victim; /* and v is dead already */
extern bool naming;           /* the name is being written to the slot: it may be lost */

/* The program: kills in a fabric in which everybody has spoken to everybody. */
int world_main(int argc, char **argv, const char *name, const struct kill_case *cases);

struct uvb_port_shm *port_of(uint8_t who);
/* A process of the port is another. */
void set_member(uint8_t who, uint32_t slot, pid_t pid);

/* A frame that carries its number; `to` 0xff: to everybody. */
uint32_t numbered(uint8_t *buf, uint8_t to, uint8_t from, uint32_t len, uint32_t seq);
void say(uint8_t from, uint8_t to, uint32_t len, uint32_t seq);
/* Everything that waits, as a receiver that polls. Returns how many frames of port `src`. */
uint32_t hear(uint8_t at, const struct uvb_dev *src);
bool asleep(uint8_t at);
void sleep_now(uint8_t at);
/* One that may be asleep gets up only when it is rung. */
uint32_t wake_and_hear(uint8_t at, const struct uvb_dev *src);
/* Exactly one frame. */
void talk(uint8_t from, uint8_t to, uint32_t len);

/* What v had published, when it was dead. */
struct left {
	uint32_t a, b;
};

/* The parts of dead(): the next daemon takes over; v's frames arrive; its name is used again; no
 * cell is lost. */
struct left adopt(void);
void check_freed(uint32_t gen_before);
void check_heard(const struct left *left);
void check_talk(void); /* all with all, a full ring each way */
void check_reuse(void);
void check_ledger(void);

/* Of a case: the victim is v, or (daemon_is_victim) the daemon. */
void frozen(pid_t victim);
void dead(pid_t victim);

#endif /* UVBRIDGE_KILL_WORLD_H */
