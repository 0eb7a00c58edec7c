/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/mgr/mgr.h - uvstackd, the manager of a shared host: EAL's primary, and nobody's
 * application.
 *
 * It makes everything that the host's processes share (memory.c), hands out slots over its control
 * socket (clients.c, slots.c), clears up after whoever ends (reclaim.c), and answers tools
 * (show*.c). In between it sleeps. Frames never wait for it.
 *
 * One thread runs all of it; EAL has its own for its messages.
 */
#ifndef STACK_MGR_MGR_H
#define STACK_MGR_MGR_H

#include <limits.h>
#include <stdarg.h>
#include <sys/queue.h>

#include "stack/core/port.h"
#include "stack/mgr/nicrules.h"
#include "stack/share/host.h"
#include "stack/share/hostdir.h"
#include "stack/share/proto.h"

struct mgr;

/* Something epoll watches. ready() may end it. */
struct watch {
	void (*ready)(struct mgr *m, struct watch *w);
	int fd;
};

enum client_state {
	CLIENT_NEW,       /* has said nothing yet */
	CLIENT_WAITING,   /* for its turn to attach */
	CLIENT_ATTACHING, /* EAL's locks may be its */
	CLIENT_UP,        /* has slots */
	CLIENT_TOOL,
};

/* A connection, and the process at its other end. */
struct client {
	struct watch socket;  /* fd -1: closed, but the process lives */
	struct watch process; /* pidfd */
	TAILQ_ENTRY(client) next;
	enum client_state state;
	pid_t pid;
	char name[UVS_COMM_LEN];
	uint32_t stacks;     /* it wants */
	uint64_t since;      /* ns, of this state */
	uint64_t turn;       /* ns, when it was let attach; 0: by another manager */
	uint64_t slots;      /* a bit each */
	uint64_t ready;      /* of them, those whose stack polls */
	uint64_t parked;     /* of them, those that were asked to be given back */
	bool stopped;        /* by SIGSTOP, for too long */
	uint64_t stopped_ns; /* since when, 0: it runs */
};
TAILQ_HEAD(client_list, client);

/* The last durations of something, us. */
#define SPAN_SAMPLES 1024
struct span {
	uint32_t us[SPAN_SAMPLES];
	uint64_t n; /* ever noted */
};

struct mgr {
	struct uvs_conf conf;
	char path[PATH_MAX]; /* of the host's directory */
	int dirfd;
	char prefix[64], runtime[UVS_PROTO_PATH], huge_dir[UVS_PROTO_PATH];
	uint32_t memory_mb;

	struct uvs_host *host;
	struct uvs_port port;
	struct uvs_softq_end boss;
	struct uvs_steer_map map;
	struct uvs_rules_writer rules;
	struct uvs_nicrules nic_rules;
	uint32_t reta_size;
	uint16_t reta[RTE_ETH_RSS_RETA_SIZE_512]; /* queue of each entry, as in force */
	int bells[UVS_PROTO_FDS_MAX];             /* FIFO that wakes the stack of a slot */
	uint16_t arp_queue;                       /* where frames go that are not hashed */
	struct rte_flow *arp_rule;                /* NULL: none is needed */
	uint64_t used;                            /* slots somebody has, a bit each */
	uint64_t to_wake;                         /* at the start: by whoever was before */
	bool held;                                /* buffers that could not go home yet */

	int epfd;
	bool done;
	bool reload;   /* be followed by another image of the program */
	bool heir;     /* another manager has made the host; it is gone */
	bool draining; /* no new processes */
	struct watch listener, signals, timer, bell;
	struct client_list clients;
	struct client *attaching;

	uint64_t started_ns;
	struct uvs_manager_stats stats;
	struct span attach;  /* from a process's turn until its stacks poll */
	struct span reclaim; /* of a slot after a death */
	struct standin {
		uint32_t slot; /* 0: it does not stand in */
		struct uvs_softq_end end;
		struct uvs_steer steer;
		struct watch timer, bell, port;
	} standin;
};

/* uvstackd.c */
int watch_add(struct mgr *m, struct watch *w);
void watch_del(struct mgr *m, struct watch *w);
uint64_t mgr_now(void);

/* span.c */
void span_note(struct span *s, uint64_t ns);
/* The p-th percentile of those noted last, us; 0: there are none. */
uint32_t span_percentile(const struct span *s, uint32_t p);

/* memory.c: EAL, port, shared memory. 0, or a negative errno with a sentence. */
int memory_make(struct mgr *m, char err[UVS_ERR_LEN]);
/* What EAL keeps of a process that is gone: sockets, files. */
void memory_forget(struct mgr *m, pid_t pid);
/* Has the process the host's memory mapped? One that executed another program has not. */
bool memory_is_mapped(const struct mgr *m, pid_t pid);
/* Files that EAL keeps for the host, without an heir's own. */
uint32_t memory_files(const struct mgr *m);
/* The end: if nobody is left, nothing is. */
void memory_end(struct mgr *m);

/* zones.c: the host's memory, once EAL is up; by memory_make(). 0, or a negative errno with a
 * sentence. */
int zones_make(struct mgr *m, char err[UVS_ERR_LEN]);
/* mbufs of a slot, and bytes of all. */
uint32_t zones_mbufs(const struct mgr *m);
size_t zones_bytes(const struct mgr *m);

/* locks.c: EAL's locks. Find them, before anybody attaches: how many there are. */
uint32_t locks_find(struct mgr *m);
/* After the death of who was attaching. Returns how many it held. */
uint32_t locks_free(void);

/* clients.c */
int clients_listen(struct mgr *m);
/* The processes that a manager before this one has left. */
void clients_adopt(struct mgr *m);
/* A process that is new here, with its pidfd or -1, at the other end of fd or -1. */
void client_meet(struct mgr *m, struct client *c, pid_t pid, int pidfd, int fd);
/* A message, whatever it may be: also for the fuzzer. */
void client_said(struct mgr *m, struct client *c, const union uvs_msg *msg, size_t len);
void client_refuse(struct mgr *m, struct client *c, int rc, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void client_send(struct client *c, const void *msg, size_t len);
/* Let the next one attach, if nobody does. */
void clients_next(struct mgr *m);
/* Whoever has been stopped, or has been attaching, for too long. */
void clients_tick(struct mgr *m);
struct client *client_of(struct mgr *m, pid_t pid);

/* slots.c */
uint32_t slots_free(const struct mgr *m);
/* Hand n out, those with queues first. */
int slots_lease(struct mgr *m, struct client *c, uint32_t n, struct uvs_msg_slots *msg);
/* For the manager itself, whose slot becomes live; and the end of that. */
void slot_take(struct mgr *m, uint32_t slot);
void slot_give(struct mgr *m, uint32_t slot);
bool slot_is_up(const struct mgr *m, uint32_t slot);
int slot_ready(struct mgr *m, struct client *c, uint32_t slot);
int slot_park(struct mgr *m, struct client *c, uint32_t slot);
int slot_emptied(struct mgr *m, struct client *c, uint32_t slot);
void slot_stall(struct mgr *m, uint32_t slot, bool stalled);
/* Of a manager that has died: what it had begun to reclaim is reclaimed; what `c` has is `c`'s. */
void slots_finish(struct mgr *m);
void slots_adopt(struct mgr *m, struct client *c);
/* The process is gone, or does not touch its slots any more. */
void slots_reclaim(struct mgr *m, struct client *c);
/* Buffers that could not go home yet. */
void slots_tick(struct mgr *m);
void slots_wake(struct mgr *m, uint64_t slots);
/* The NIC's redirection table as in m->reta. 0, or what the driver says. */
int reta_write(struct mgr *m);

/* standin.c: is somebody to stand in for a stack with a queue, after slots have changed? */
void standin_follow(struct mgr *m);
/* At the start: be the only one who polls the port, if its driver wants that. 0, or a negative
 * errno. */
int standin_stay(struct mgr *m);
/* Make room: its slot is free afterwards. */
void standin_end(struct mgr *m);

/* unhashed.c: where ARP goes, after the leases have changed. */
void unhashed_follow(struct mgr *m);

/* reset.c: RST to the peers of a dead stack. Returns how many. */
uint32_t reset_peers(struct mgr *m, uint32_t slot);

/* metrics.c: for telemetry = yes. The parts of a slot that has ever been leased, or of the manager.
 */
struct uvs_view;
bool metrics_view(void *mgr, uint32_t slot, struct uvs_view *v);
void metrics_start(struct mgr *m);
void metrics_tick(struct mgr *m);

/* show.c */
void show_answer(struct mgr *m, struct client *c, const struct uvs_msg_text *ask);

#endif /* STACK_MGR_MGR_H */
