/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/view.h - a fabric mapped read-only, as the CLI uses it beyond port.h.
 */
#ifndef UVBRIDGE_VIEW_H
#define UVBRIDGE_VIEW_H

#include "uvbridge/internal.h"

struct uvb_view {
	struct uvb_map map;
};

/* Does the daemon's process exist? (It may be stopped.) */
bool uvb_view_daemon_alive(const struct uvb_view *view);

/* The faults alone, as a JSON list; from malloc. */
char *uvb_view_faults_json(struct uvb_view *view);

#endif /* UVBRIDGE_VIEW_H */
