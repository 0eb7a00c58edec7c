/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/core/spin.h"
#include "stack/core/clock.h"
#include "stack/core/sys.h"

#include <sys/param.h>

#define FLOOR_NS      (2 * UVS_NS_PER_US)
#define SOON_NS       (150 * UVS_NS_PER_US)
#define LONG_YIELD_NS (30 * UVS_NS_PER_US)
#define CROWDED_WAITS 32u
#define CALM_WAITS    64u

void
uvs_spin_init(struct uvs_spin *s, const struct uvs_conf *c)
{
	*s = (struct uvs_spin){.ns = c->spin_us * UVS_NS_PER_US};
}

uint64_t
uvs_spin_budget(struct uvs_spin *s, const struct uvs_conf *c)
{
	if (uvs_clock_is_virtual())
		return 0; /* it stands still while anybody polls */
	if (c->poll == UVS_POLL_BUSY)
		return UINT64_MAX / 2;
	if (c->poll == UVS_POLL_INTERRUPT)
		return 0;
	if (s->crowded > 0) {
		s->crowded--;
		return 0;
	}
	if (++s->calm > CALM_WAITS)
		s->penalty = 0;
	return s->ns;
}

void
uvs_spin_learn(struct uvs_spin *s, const struct uvs_conf *c, uint64_t slept)
{
	uint64_t most = c->spin_us * UVS_NS_PER_US;

	if (slept < SOON_NS)
		s->ns = MIN(MAX(s->ns * 2, FLOOR_NS), most);
	else if (slept > 4 * SOON_NS)
		s->ns = MAX(s->ns / 2, MIN(FLOOR_NS, most));
}

void
uvs_spin_yielded(struct uvs_spin *s, uint64_t ns)
{
	if (ns <= LONG_YIELD_NS)
		return;
	s->crowded = s->penalty;
	s->penalty = s->penalty == 0 ? 1 : MIN(2 * s->penalty, CROWDED_WAITS);
	s->calm = 0;
}

uint64_t
uvs_spin_relax(struct uvs_spin *s, uint64_t now)
{
	uint64_t after;

	uvs_sys_yield();
	after = uvs_clock_ns();
	uvs_spin_yielded(s, after - now);
	return after;
}
