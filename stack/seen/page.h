/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/seen/page.h - the file that a process with its own NIC counts in (seen.h). One thread of a
 * process makes and removes it.
 */
#ifndef STACK_SEEN_PAGE_H
#define STACK_SEEN_PAGE_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "stack/seen/seen.h"
#include "stack/share/hostdir.h"

/* $UVSTACK_RUNDIR/.seen. 0, or a negative errno with a sentence. */
int uvs_seen_dir(char path[PATH_MAX], bool create, char err[UVS_ERR_LEN]);

/* Of a file's name; 0: it is none of ours. */
pid_t uvs_seen_pid_of(const char *file);
/* Has it its page mapped? A later process of that number has not. */
bool uvs_seen_is_alive(pid_t pid);

/* The page of this process, zeroed, struct uvl behind it at UVS_SEEN_LWIP. NULL, with a sentence:
 * there is none, and the stack runs unseen. */
struct uvs_seen *uvs_seen_make(const struct uvs_conf *c, char err[UVS_ERR_LEN]);

/* An orderly end. The memory stays mapped, for threads that are still at work. */
void uvs_seen_remove(void);

#endif /* STACK_SEEN_PAGE_H */
