/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/share/lab.h - a crossbar with buffers that are only numbers, for tests.
 */
#ifndef STACK_SHARE_LAB_H
#define STACK_SHARE_LAB_H

#include "stack/share/softq.h"

#define LAB_SLOTS   4
#define LAB_BUFFERS 64 /* of each pool but the manager's, which has none */

struct lab {
	struct uvs_crossbar x;
	void *memory; /* shared with children */
	size_t size;
	struct uvs_label *label; /* [slot][buffer] */
	struct uvs_softq_end end[LAB_SLOTS];
};

/* All slots up. In zeroed memory of the caller's, lab_size() bytes of it that children share,
 * aligned to UVS_LINE; or in some of its own. */
size_t lab_size(void);
void lab_open_in(struct lab *lab, void *memory);
void lab_open(struct lab *lab);
void lab_close(struct lab *lab);

/* Slot `from` sends its buffer `index` to slot `to`; publish apart. */
bool lab_stage(struct lab *lab, uint32_t from, uint32_t to, uint32_t index);

/* Make buffers first to first + n - 1 of slot `from` one frame, to be staged by its first. */
void lab_tie(struct lab *lab, uint32_t from, uint32_t first, uint32_t n);

void lab_untie(struct lab *lab, uvs_ref ref);

/* Slot `at` takes what waits and sends home what is not its own. Returns how many frames. */
uint32_t lab_serve(struct lab *lab, uint32_t at);

/* The manager buries a slot, and gives it to somebody else. */
uint64_t lab_bury(struct lab *lab, uint32_t slot); /* returns who is to be woken */
void lab_lease(struct lab *lab, uint32_t slot);

/* Let everything go home. Returns buffers that are not there afterwards. */
uint32_t lab_settle(struct lab *lab);

#endif /* STACK_SHARE_LAB_H */
