/* SPDX-License-Identifier: BSD-3-Clause */
/* The manager's loop, for tests that call its parts themselves: nothing is waited for, and no time
 * passes. */
#include "stack/mgr/mgr.h"

int
watch_add(struct mgr *mgr, struct watch *w)
{
	(void)mgr;
	(void)w;
	return 0;
}

void
watch_del(struct mgr *mgr, struct watch *w)
{
	(void)mgr;
	(void)w;
}

uint64_t
mgr_now(void)
{
	return 0;
}
