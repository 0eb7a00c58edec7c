/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/seen/stages.h - the stages of latency, as tools call them.
 */
#ifndef STACK_SEEN_STAGES_H
#define STACK_SEEN_STAGES_H

#include "stack/seen/seen.h"

struct uvs_stage_name {
	const char *name, *help;
};

extern const struct uvs_stage_name uvs_stages[UVS_STAGES];

#endif /* STACK_SEEN_STAGES_H */
