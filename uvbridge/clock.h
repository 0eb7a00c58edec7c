/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/clock.h - the fabric's clock: what delays, timestamps and captures read.
 *
 * Real: CLOCK_MONOTONIC plus hdr.clock_offset. Virtual: hdr.clock_ns, a word that stands still
 * until somebody moves it (`uvbridge clock`). Going over from one to the other the clock goes on
 * where it stood, and it never goes back: the offset is what virtual time was ahead.
 */
#ifndef UVBRIDGE_CLOCK_H
#define UVBRIDGE_CLOCK_H

#include <stdbool.h>
#include <time.h>

#include "uvbridge/abi.h"

typedef int (*uvb_gettime_fn)(clockid_t clock, struct timespec *ts);

/* ns. No system call, no lock; any thread. The offset is written before clock_ns becomes 0.
 * gettime: clock_gettime(), for a program that has put another one of that name in its place. */
static inline uint64_t
uvb_clock_ns_by(const struct uvb_hdr *hdr, uvb_gettime_fn gettime)
{
	uint64_t virtual_ns = atomic_load_explicit(&hdr->clock_ns, memory_order_acquire);
	struct timespec ts;

	if (virtual_ns != 0)
		return virtual_ns;
	gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec +
	       atomic_load_explicit(&hdr->clock_offset, memory_order_relaxed);
}

static inline uint64_t
uvb_clock_ns(const struct uvb_hdr *hdr)
{
	return uvb_clock_ns_by(hdr, clock_gettime);
}

static inline bool
uvb_clock_is_virtual(const struct uvb_hdr *hdr)
{
	return atomic_load_explicit(&hdr->clock_ns, memory_order_relaxed) != 0;
}

/* True if it shows something else than CLOCK_MONOTONIC: it is virtual, or was. */
static inline bool
uvb_clock_differs(const struct uvb_hdr *hdr)
{
	return uvb_clock_is_virtual(hdr) ||
	       atomic_load_explicit(&hdr->clock_offset, memory_order_relaxed) != 0;
}

/* The clock of a fabric for somebody who has no port on it: its header, mapped to be read, for as
 * long as the process lives; NULL: there is no such fabric, or it is of another build. `fabric` as
 * in the driver's fabric=: a name, or the absolute path of its directory. In clock_map.c. */
const struct uvb_hdr *uvb_clock_map(const char *fabric);

/* The clock of a port, for a program that follows it: what net_uveth's rte_pmd_uveth_clock() fills
 * in. Good until the port is closed. */
struct uvb_clock {
	const struct uvb_hdr *hdr;
	/* Before sleeping, interrupts enabled: nothing to do until then (UINT64_MAX: until a frame
	 * comes). UVB_BUSY after it. Moves the clock, if it is virtual and nobody else has anything
	 * to do earlier; the interrupt then comes at once. One thread at a time. */
	void (*idle)(void *port, uint64_t until);
	void *port;
};

/* The function of a driver that tells a port's clock, by its name: 0, or -ENODEV for a port it does
 * not drive. A program that was not linked with the driver looks it up. */
#define UVB_PORT_CLOCK "rte_pmd_uveth_clock"
typedef int (*uvb_port_clock_fn)(uint16_t port_id, struct uvb_clock *clock);

#endif /* UVBRIDGE_CLOCK_H */
