/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/mgr/kill_host.h - a shared host within one process, for programs that kill
 * (harness/step/kill.h): the manager's own code without its event loop, stacks without lwIP in its
 * slots, and a NIC that is played. Children share what processes of a host share.
 *
 * The NIC has two queues, which take buffers of their slot's pool when they start and give them
 * back when they stop, and a redirection table. Frames for it are sent by being freed.
 */
#ifndef STACK_MGR_KILL_HOST_H
#define STACK_MGR_KILL_HOST_H

#include "stack/core/instance.h"
#include "stack/core/share_priv.h"
#include "stack/mgr/mgr.h"

/* Slots, in the order in which their stacks come. */
#define A         1 /* has a queue; survives */
#define V         2 /* has a queue; the victim, or what the manager is at */
#define B         3 /* has none: lives on the others; survives */
#define SLOTS     4
#define NB_QUEUES 2
#define BUFFERS   16 /* of each slot's pool */

struct app {
	struct uvs_instance in;
	struct uvs_share *share;
	struct client *client;
};

extern struct mgr m;
extern struct app app[SLOTS + 1];

/* V's connection to the manager: its own end, and the manager's. */
extern int wire[2];
/* V's process has gone: a manager that looks for it does not find it. */
extern bool v_is_gone;
/* What restore() puts on the wire for V: the manager's answers. */
extern struct {
	union uvs_msg msg[2];
	uint32_t n;
} answers;

/* In kill_program's terms. Afterwards A, V and B are up. */
void host_set_up(void);
void host_tear_down(void);
void host_save(void);
void host_restore(void);

/* A process of slot `slot`, which is the next that is free, connects and has its turn; is given the
 * slot; has its stack ready; says something about its slot. V's connection is the wire. */
void app_come(uint32_t slot);
void app_attach(uint32_t slot);
void app_start(uint32_t slot);
void app_says(uint32_t slot, enum uvs_msg_type type);
/* The manager hears of its end. */
void app_ends(uint32_t slot);
/* This process is inside the stack of a slot from now on; 0: of none. */
void enter(uint32_t slot);

/* Slot `from` has a frame sent by slot `to`, which has a queue; it is on its way. */
void hand_over(uint32_t from, uint32_t to);
/* One round of a slot's loop. Returns how many references it took. */
uint32_t serve(uint32_t slot);

/* The next manager, after the death of this one. */
void heir(void);

/* Ends the judge: the redirection table names a stack that does not poll, or a buffer is in no
 * place. */
void check_running(const char *when);
/* The same; and when all that is on its way has arrived, a buffer is not at home, not free, or free
 * twice. Somebody holds none, but for the NIC. */
void check_host(const char *when);

#endif /* STACK_MGR_KILL_HOST_H */
