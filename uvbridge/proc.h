/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/proc.h - what /proc says of a process.
 */
#ifndef UVBRIDGE_PROC_H
#define UVBRIDGE_PROC_H

#include "uvbridge/internal.h"

/* Field 22 of /proc/PID/stat, which tells a reused pid from the one it was; 0: no such process. */
uint64_t uvb_proc_start(pid_t pid);

bool uvb_proc_alive(pid_t pid, uint64_t start);

enum uvb_maps {
	UVB_MAPS_NO,
	UVB_MAPS_YES,
	UVB_MAPS_UNKNOWN, /* we may not look */
};

/* Does the process map the file behind fd? A process that is ending maps nothing any more. */
enum uvb_maps uvb_proc_maps(pid_t pid, int fd);

#endif /* UVBRIDGE_PROC_H */
