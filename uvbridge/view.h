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

/* Pieces of the JSON object. */
void uvb_put_name(FILE *f, const char *name);
void uvb_put_fdb(FILE *f, const struct uvb_map *map);    /* "fdb":[...] */
void uvb_put_switch(FILE *f, const struct uvb_map *map); /* "settings":[...],"adapters":[...] */

/* view_switch.c: a port's policy if it has one that is not all zero; names; "10,20-30". */
bool uvb_view_policy(const struct uvb_map *map, uint32_t port, struct uvb_policy *policy);
const char *uvb_vlan_mode_name(uint32_t mode);
const char *uvb_vf_state_name(uint32_t state);
void uvb_vlan_list(const uint32_t *set, char *text, size_t room);

#endif /* UVBRIDGE_VIEW_H */
