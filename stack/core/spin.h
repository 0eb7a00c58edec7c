/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/spin.h - the poll policy: how long to poll in vain before going to sleep.
 *
 * `ns` grows when something came soon after the sleep began and shrinks when nothing did. Between
 * two rounds the poller yields its core; a yield that took long means that others need it - perhaps
 * the very peer that is to answer. One alone is the kernel's own work, as on any machine, and means
 * nothing: to sleep would make the next answers late. If more come, it sleeps at once in the waits
 * that follow, twice as many each time, up to 32.
 *
 * One owner each: the driver's role (shared), a stack thread, a waiting thread (separate).
 */
#ifndef STACK_CORE_SPIN_H
#define STACK_CORE_SPIN_H

#include <stdint.h>

#include "stack/conf/conf.h"

struct uvs_spin {
	uint64_t ns;
	uint32_t crowded; /* waits for which to sleep at once */
	uint32_t penalty; /* as many, after the next long yield */
	uint32_t calm;    /* waits that polled since the last one */
};

void uvs_spin_init(struct uvs_spin *s, const struct uvs_conf *c);

/* For the wait that begins now, ns. */
uint64_t uvs_spin_budget(struct uvs_spin *s, const struct uvs_conf *c);

/* After a sleep of so many ns. */
void uvs_spin_learn(struct uvs_spin *s, const struct uvs_conf *c, uint64_t slept);

/* A yield took so many ns. */
void uvs_spin_yielded(struct uvs_spin *s, uint64_t ns);

/* Between two empty rounds, the last one at `now`; the time after it. */
uint64_t uvs_spin_relax(struct uvs_spin *s, uint64_t now);

#endif /* STACK_CORE_SPIN_H */
