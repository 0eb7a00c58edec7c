/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/fds.h - the descriptors that are the library's own: EAL's, the driver's, the waiters'
 * eventfds, the log, the placeholders' templates. stack/posix keeps the application's close, dup2,
 * close_range and closefrom off them.
 *
 * What drivers and EAL open is noticed as they open it: stack/posix sees every call that opens a
 * descriptor and knows whether its thread is inside the stack (uvs_fd_take). What the library opens
 * by itself it hands to uvs_fd_adopt().
 *
 * Two bitmaps over descriptor numbers; each word is changed by atomic or/and, read by anybody with
 * one load. Numbers beyond the bitmap are not recorded, and so not protected.
 */
#ifndef STACK_CORE_FDS_H
#define STACK_CORE_FDS_H

#include <stdbool.h>

bool uvs_fd_internal(int fd);

/* Make fd internal: moved to the end of the range that RLIMIT_NOFILE gives, if there is room,
 * close-on-exec. Returns the number it has now. A negative fd is handed back. A child after fork()
 * keeps what was adopted, and closes what was taken: the port must not live on in it. */
int uvs_fd_adopt(int fd);
int uvs_fd_take(int fd);

/* Close an internal descriptor. */
void uvs_fd_close(int fd);
/* It was closed by somebody who was entitled to. */
void uvs_fd_closed(int fd);

/* No internal number is higher; -1: there are none. */
int uvs_fd_highest(void);

/* In the child after fork(). */
void uvs_fd_forget(void);

#endif /* STACK_CORE_FDS_H */
