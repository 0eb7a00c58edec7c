/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/lab.h - a fabric within one process, for harnesses: a segment, the daemon's own handlers
 * (daemon_*.c) without its event loop, and as many ports as wanted. No other process, no waiting:
 * thousands of them in a second.
 */
#ifndef UVBRIDGE_LAB_H
#define UVBRIDGE_LAB_H

#include "uvbridge/scratch.h"
#include "uvbridge/uvbridged.h"

struct lab {
	struct daemon daemon; /* watches are never told: call the handlers */
	char dir[UVB_SCRATCH_LEN];
	uint8_t *saved; /* the segment, see lab_save() */
};

/* All of these end the process with a message when something fails. */

/* A fabric of this shape (numbers only), in a directory of its own. */
void lab_up(struct lab *lab, const struct uvb_hdr *shape);
void lab_down(struct lab *lab); /* the directory is gone; ports must be forgotten before */

/* Through the daemon's handler; the port's process is this one. The caller's, to uvb_forget(). */
struct uvb_dev *lab_attach(struct lab *lab, const char *name, uint16_t nb_rxq, uint16_t nb_txq,
			   enum uvb_port_kind kind);

/* A further member of its port; the queues are taken. */
struct uvb_dev *lab_join(struct lab *lab, const struct uvb_dev *owner);

/* Keep the segment as it is, and put it back: the words of other files and of this process
 * (handles, the daemon's own) are the caller's business. */
void lab_save(struct lab *lab);
void lab_restore(struct lab *lab);

/* What a daemon does that is started after the last one died. */
void lab_adopt(struct lab *lab);

#endif /* UVBRIDGE_LAB_H */
