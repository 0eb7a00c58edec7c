/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/fds.h - the descriptors that are the stack's own: EAL's, the driver's, the waiters'
 * eventfds, the log. stack/posix keeps the application's close, dup2, close_range and closefrom
 * off them.
 *
 * A bitmap over descriptor numbers; each word is changed by atomic or/and, read by anybody with one
 * load. Numbers beyond the bitmap are not recorded, and so not protected.
 */
#ifndef STACK_CORE_FDS_H
#define STACK_CORE_FDS_H

#include <stdbool.h>

bool uvs_fd_internal(int fd);
void uvs_fd_set_internal(int fd, bool internal);

/* Make fd internal, out of the way of the numbers applications use: moved above UVS_FD_FLOOR if the
 * limit allows, close-on-exec. Returns the number it has now; fd itself if it could not be moved.
 */
int uvs_fd_adopt(int fd);

/* Close an internal descriptor. */
void uvs_fd_close(int fd);

/* Everything that was opened between two snapshots, by whatever library, becomes internal. */
struct uvs_fd_snapshot {
	unsigned long open[1024];
};
void uvs_fd_snapshot(struct uvs_fd_snapshot *s);
void uvs_fd_adopt_since(const struct uvs_fd_snapshot *before);

#endif /* STACK_CORE_FDS_H */
