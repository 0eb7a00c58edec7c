/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The daemon's side of the clock: it says what time is, and how far it may go.
 */
#include <errno.h>

#include "uvbridge/uvbridged.h"

/* The longest step: clocks of centuries have other troubles. */
#define NS_MAX 1000000000000000000ULL

static void
make_virtual(struct uvb_hdr *h)
{
	uint64_t now = uvb_clock_ns(h);

	atomic_store(&h->clock_until, 0);
	if (uvb_clock_is_virtual(h))
		return;
	atomic_store(&h->clock_base, now);
	atomic_store(&h->clock_ns, now);
}

/* It goes on from where it stands. */
static void
make_real(struct uvb_hdr *h)
{
	atomic_store(&h->clock_until, 0);
	if (!uvb_clock_is_virtual(h))
		return;
	atomic_store(&h->clock_offset, atomic_load(&h->clock_ns) - uvb_now_ns());
	atomic_store(&h->clock_ns, 0);
}

static void
let_go(struct daemon *d, uint64_t until)
{
	atomic_store(&uvb_map_hdr(&d->map)->clock_until, until);
	while (uvb_clock_turn(&d->map, d->dirfd))
		;
}

static void
move(struct daemon *d, uint64_t ns)
{
	struct uvb_hdr *h = uvb_map_hdr(&d->map);

	atomic_store(&h->clock_until, 0);
	atomic_fetch_add(&h->clock_ns, ns);
}

int
clock_request(struct daemon *d, uint32_t op, uint64_t ns, struct uvb_ctl_answer *ans)
{
	struct uvb_hdr *h = uvb_map_hdr(&d->map);

	if (op < UVB_CLOCK_REAL || op > UVB_CLOCK_AUTO || ns > NS_MAX)
		return refuse(ans, -EINVAL, "not something to do with a clock");
	if (op >= UVB_CLOCK_STEP && !uvb_clock_is_virtual(h))
		return refuse(ans, -EINVAL,
			      "time is real: `uvbridge clock %.31s stop` makes it virtual",
			      d->map.name);
	ans->clock = atomic_load(&h->clock_ns) + ns;
	if (op == UVB_CLOCK_REAL)
		make_real(h);
	else if (op == UVB_CLOCK_STOP)
		make_virtual(h);
	else if (op == UVB_CLOCK_WARP)
		move(d, ns);
	else
		let_go(d, op == UVB_CLOCK_AUTO ? UVB_CLOCK_FREE : ans->clock);
	/* Sleepers may have to sleep in another way, or not at all. */
	if (op != UVB_CLOCK_STEP)
		ring_sleepers(d);
	return 0;
}

void
clock_tick(struct daemon *d)
{
	struct uvb_hdr *h = uvb_map_hdr(&d->map);

	if (!uvb_clock_is_virtual(h))
		return;
	while (uvb_clock_turn(&d->map, d->dirfd))
		;
	/* For whoever moved it and did not live to ring. */
	uvb_clock_ring(&d->map, d->dirfd);
}
