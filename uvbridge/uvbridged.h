/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/uvbridged.h - the daemon: what its files share.
 */
#ifndef UVBRIDGED_H
#define UVBRIDGED_H

#include <stdarg.h>

#include "uvbridge/control.h"
#include "uvbridge/internal.h"

struct daemon;

/* What epoll hands back. */
struct watch {
	void (*ready)(struct daemon *d, struct watch *w);
	int fd;
};

/* A client's connection. */
struct client {
	struct watch watch;
	struct member *member; /* whose life line it is, or NULL */
	uint32_t gen;          /* of the port it is a member of */
	pid_t pid;             /* 0: in another pid name space */
	uid_t uid;
	struct client *next;
};

/* A process of a port. */
struct member {
	struct watch pidfd; /* first; fd -1: none */
	struct client
		*client; /* its life line, or NULL (adopted, or lost while the process lives) */
	uint16_t port, slot;
	bool present;
};

/* What the daemon knows of a port beyond the segment. */
struct port {
	struct member member[UVB_MEMBERS_MAX];
	uint64_t freed_ns; /* when it was last detached */
};

/* decisions.log. */
struct decisions {
	FILE *file;
	uint64_t seen; /* hdr.decisions at the last look */
	uint64_t size; /* bytes written */
};

struct daemon {
	struct uvb_map map;
	struct uvb_fdb fdb;
	int dirfd;
	int epfd;
	FILE *log;
	char path[PATH_MAX];
	struct watch listener, timer, signals;
	struct client *clients;
	struct port port[UVB_MAX_PORTS];
	uint64_t aged_ns;
	struct decisions decisions;
	uint64_t statics[UVB_MAX_PORTS / 64]; /* ports with static addresses, a bit each */
	bool done;
	bool locked; /* the fabric's only daemon */
	bool remove; /* the directory, at the end */
};

/* uvbridged.c */
int watch_add(struct daemon *d, struct watch *w);
void watch_del(struct daemon *d, struct watch *w);
void log_line(struct daemon *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Refuse a request: a sentence into the answer; returns status. */
int refuse(struct uvb_ctl_answer *ans, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* daemon_ports.c */
int ports_adopt(struct daemon *d);
int port_attach(struct daemon *d, struct client *c, const struct uvb_ctl_attach *req,
		struct uvb_ctl_answer *ans);
int port_detach(struct daemon *d, struct client *c, const struct uvb_ctl_detach *req,
		struct uvb_ctl_answer *ans);
/* Pull the cable of an attached port for good: what is left is for its processes to close. */
int port_unplug(struct daemon *d, const char *name, struct uvb_ctl_answer *ans);
int port_join(struct daemon *d, struct client *c, const struct uvb_ctl_join *req,
	      struct uvb_ctl_answer *ans);
/* A member has gone: what becomes of the port. died: not by its own request. */
void port_settle(struct daemon *d, uint32_t id, bool died);
/* A slot for a port of that name that is not attached, or negative. */
int32_t port_choose_slot(struct daemon *d, const char *name);
void ports_tick(struct daemon *d);
void ports_end(struct daemon *d);
/* Names of those attached, for a sentence; returns how many. */
uint32_t ports_attached(struct daemon *d, char *text, size_t room);

/* daemon_members.c */
void member_add(struct daemon *d, uint32_t port, uint32_t slot, uint32_t gen, struct client *c);
void member_remove(struct daemon *d, struct member *m);
void member_gone(struct daemon *d, struct member *m); /* its port is settled */
void member_lifeline_cut(struct daemon *d, struct member *m);
void members_adopt(struct daemon *d, uint32_t port);
uint32_t members_count(const struct daemon *d, uint32_t port);
int32_t members_free_slot(const struct daemon *d, uint32_t port); /* not the owner's; -1: none */

/* daemon_clock.c */
int clock_request(struct daemon *d, uint32_t op, uint64_t ns, struct uvb_ctl_answer *ans);
void clock_tick(struct daemon *d);

/* daemon_faults.c */
void faults_adopt(struct daemon *d);
/* A port has come by its name, or has left the slot. */
void faults_bind(struct daemon *d, uint32_t id, const char *name);
int fault_add(struct daemon *d, const struct uvb_fault_def *def, struct uvb_ctl_answer *ans);
int fault_remove(struct daemon *d, uint32_t handle, struct uvb_ctl_answer *ans);
int fault_release(struct daemon *d, uint32_t handle, uint64_t count, struct uvb_ctl_answer *ans);
void decisions_write(struct daemon *d);
/* Ring whoever sleeps: what it waits for may have happened. */
void ring_sleepers(struct daemon *d);

/* daemon_policy.c */
void policies_adopt(struct daemon *d);
/* Slots that are kept for the port whose name they have. */
void slots_kept(const struct daemon *d, uint64_t kept[UVB_MAX_PORTS / 64]);
/* Why no port of that name may attach, or NULL. */
const char *policy_attach_problem(struct daemon *d, const char *name);
/* What ports say are their addresses does not age. */
void policies_keep_known(struct daemon *d, uint32_t now_s);
int handle_policy(struct daemon *d, struct uvb_ctl_policy *req, struct uvb_ctl_answer *ans);
int handle_fdb(struct daemon *d, struct uvb_ctl_fdb *req, struct uvb_ctl_answer *ans);
int handle_adapter(struct daemon *d, struct uvb_ctl_adapter *req, struct uvb_ctl_answer *ans);

/* daemon_control.c */
void control_accept(struct daemon *d, struct watch *w);

#endif /* UVBRIDGED_H */
