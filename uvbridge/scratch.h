/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/scratch.h - a directory on tmpfs for a test program, named after the process that made
 * it: what a killed one leaves is removed when the next makes its own.
 */
#ifndef UVBRIDGE_SCRATCH_H
#define UVBRIDGE_SCRATCH_H

#define UVB_SCRATCH_LEN 80

/* Returns 0 or a negative errno. */
int uvb_scratch_make(char path[UVB_SCRATCH_LEN]);
/* Remove it and all that is in it. */
void uvb_scratch_remove(const char *path);

#endif /* UVBRIDGE_SCRATCH_H */
