/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/fault.h - faults as a sender sees them: its compiled copy of the table, and what they
 * decide about a frame. The words in the segment, and who writes them, are in abi.h, "Faults".
 *
 * Everything here but uvb_fault_check() is private to the process and to the thread that transmits
 * on the queue. If the process dies, the table, its counters and the decisions already logged stay.
 */
#ifndef UVBRIDGE_FAULT_H
#define UVBRIDGE_FAULT_H

#include "uvbridge/internal.h"

/* NULL if a definition makes sense, else what is wrong with it. Believes nothing: for bytes that
 * came over a socket or out of the segment, however they were made. */
const char *uvb_fault_check(const struct uvb_fault_def *def);

/* A fault, compiled. */
struct uvb_fault {
	struct uvb_fault_shm *shm;
	uint32_t handle;
	uint64_t key; /* of its stream of random numbers */
	bool delays;
	struct uvb_fault_def def;
};

/* A queue's copy of the table: rules first, then models, each in the order they were made. Sets of
 * faults are words with a bit for each place in that order. */
struct uvb_faults {
	const struct uvb_map *map;
	struct uvb_decisions_shm *log;
	uint32_t seq; /* of the table when it was copied */
	uint32_t n;
	struct uvb_fault *fault[UVB_FAULTS_MAX];
	uint32_t port[UVB_FAULTS_MAX]; /* where it is, or UVB_FAULT_NO_PORT */
	uint64_t delaying;             /* those that can change when a frame arrives */
	/* Frames that are changed, or gathered to be looked at: on the way out and on the way in,
	 * because many may be on the way in from one that was changed on the way out. */
	struct uvb_frame frame[2];
	struct uvb_seg seg[2];
	uint8_t scratch[2][UVB_FRAME_MAX];
};

struct uvb_faults *uvb_faults_new(const struct uvb_map *map, struct uvb_decisions_shm *log);
void uvb_faults_free(struct uvb_faults *f);
/* Copy the table anew. false: the daemon is writing it, or there is no memory; the old copy stays,
 * try again with the next burst. */
bool uvb_faults_load(struct uvb_faults *f);
/* Those in one direction of a port. */
uint64_t uvb_faults_of(const struct uvb_faults *f, uint32_t port, enum uvb_fault_dir dir);

/* What becomes of a frame. */
struct uvb_fate {
	enum uvb_fault_verdict drop; /* 0, or DROP, LOSS, QUEUE */
	uint32_t copies;             /* beside the frame itself */
	uint32_t handle;             /* of the last fault that did something */
	uint32_t flip;               /* bit to flip, counted from the first, or UINT32_MAX */
	uint32_t len;                /* bytes left of it */
	uint8_t overtake;            /* as in the cell */
	uint64_t deliver_at;         /* as in the cell */
};

/* Let the faults in `set` decide about a frame (in one piece) that meets them at `now`, a time of
 * the fabric's clock, or at deliver_at if it is delayed already. Counts, and logs, every decision:
 * to be called once for a frame. */
void uvb_faults_decide(struct uvb_faults *f, uint64_t set, const uint8_t *frame, uint32_t len,
		       uint64_t now, uint64_t deliver_at, struct uvb_fate *fate);

#endif /* UVBRIDGE_FAULT_H */
