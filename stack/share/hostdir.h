/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/share/hostdir.h - where shared hosts live: RUNDIR/NAME/, with the manager's socket, lock
 * and log. RUNDIR is $UVSTACK_RUNDIR, or /dev/shm/uvstack-UID. A name that begins with a slash is
 * the directory itself. It is its owner's alone (0700): who can write there could be the manager.
 *
 * Errors are sentences in err, and a negative errno is returned. Any thread.
 */
#ifndef STACK_SHARE_HOSTDIR_H
#define STACK_SHARE_HOSTDIR_H

#include <limits.h>
#include <stdbool.h>

#define UVS_HOST_NAME 64
#define UVS_ERR_LEN   256

/* Letters, digits, . _ -, not starting with a dot; or an absolute path. */
bool uvs_host_name_ok(const char *name);

/* The directory of all hosts. */
int uvs_rundir(char path[PATH_MAX], bool create, char err[UVS_ERR_LEN]);

/* The directory of one. */
int uvs_host_path(const char *name, char path[PATH_MAX], bool create, char err[UVS_ERR_LEN]);

/* A connection to its manager; the descriptor. */
int uvs_host_connect(const char *name, char err[UVS_ERR_LEN]);

/* vsnprintf into err; rc. */
int uvs_fail(char err[UVS_ERR_LEN], int rc, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif /* STACK_SHARE_HOSTDIR_H */
