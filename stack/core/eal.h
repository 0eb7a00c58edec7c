/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/eal.h - DPDK's EAL inside an application that does not know of it.
 */
#ifndef STACK_CORE_EAL_H
#define STACK_CORE_EAL_H

#include "stack/conf/conf.h"

#include <stdbool.h>

/* What a process is to the others on its NIC. */
struct uvs_eal_role {
	bool primary; /* the manager that makes the host; else an application, or the next manager
		       */
	bool orphan;  /* the primary has died: nobody says which virtual devices there are */
	const char *prefix;
	const char *huge_dir;
	unsigned int memory_mb; /* the manager's */
};

/* Start EAL once for the process, with arguments made from the configuration, on a thread of its
 * own, so that affinity, signal mask, errno and getopt's variables of the caller stay as they are.
 * What EAL and drivers open becomes internal (fds.h). role NULL: the process has its NIC to itself.
 * 0 or a negative errno, logged. */
int uvs_eal_start(const struct uvs_conf *c, const struct uvs_eal_role *role);

/* rte_malloc() is the process's own memory, not EAL's shared heap (heap.c). Set by the start of EAL
 * in all but the primary. */
extern bool uvs_heap_private __attribute__((visibility("hidden")));

/* This thread starts EAL, which is not to load DPDK's drivers (drivers.c). */
extern __thread bool uvs_eal_own_driver
	__attribute__((visibility("hidden"), tls_model("initial-exec")));

/* A function of the driver that was loaded as a plugin, or NULL. */
void *uvs_eal_symbol(const char *name);

/* The first port that was probed; -ENODEV, logged. */
int uvs_eal_port(const struct uvs_conf *c);

/* Arguments as EAL will see them, for the log and for tests. Returns their number. */
#define UVS_EAL_MAX_ARGS 64
int uvs_eal_args(const struct uvs_conf *c, const struct uvs_eal_role *role,
		 char *argv[UVS_EAL_MAX_ARGS], char *text, size_t len);

/* Huge pages of 2 MiB that nobody has; 0 too where there are none. */
long uvs_eal_huge_pages_free(void);

/* Run fn on a fresh thread with all signals blocked; wait for it. Its result or -EAGAIN. */
int uvs_aside(int (*fn)(void *arg), void *arg);

/* Write what was traced, if anything was to be. Threads that are at work trace on. */
void uvs_eal_trace_save(const struct uvs_conf *c);

#endif /* STACK_CORE_EAL_H */
