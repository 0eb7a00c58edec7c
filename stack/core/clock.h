/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/clock.h - the one clock of the stack: ns, read without a system call. Everything that
 * times in stack/ reads this and nothing else.
 *
 * It is CLOCK_MONOTONIC; or, when the port is uveth, the fabric's clock, from the start of the
 * process on, which a test can make virtual. Time may then stand still until all who follow it
 * sleep: what sleeps in the kernel has to look at the clock again every UVS_VIRTUAL_LOOK_NS of real
 * time, and the policy of polling, which is about real processors, goes by the kernel's clock.
 */
#ifndef STACK_CORE_CLOCK_H
#define STACK_CORE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "uvbridge/clock.h"

#define UVS_NS_PER_US 1000ull
#define UVS_NS_PER_MS 1000000ull
#define UVS_NS_PER_S  1000000000ull

#define UVS_VIRTUAL_LOOK_NS (20 * UVS_NS_PER_MS)

/* The fabric whose clock is followed, or NULL. Atomic; written by the thread that starts or stops
 * the port (port.c), and by a fresh child. */
extern const struct uvb_hdr *uvs_clock_fabric __attribute__((visibility("hidden")));
/* The same fabric, as it was mapped before there was a port; NULL: none, or the application is not
 * to follow (app_clock). Written once, by the constructor of the library (stack/posix/init.c). */
extern const struct uvb_hdr *uvs_clock_watched __attribute__((visibility("hidden")));
/* The C library's clock_gettime(). Written once, by that constructor: in the preloaded library the
 * name is one that stack/posix takes over. */
extern uvb_gettime_fn uvs_clock_gettime __attribute__((visibility("hidden")));

/* Follow a fabric's clock, or go back to what there is without a port. */
static inline void
uvs_clock_follow(const struct uvb_hdr *fabric)
{
	__atomic_store_n(&uvs_clock_fabric, fabric != NULL ? fabric : uvs_clock_watched,
			 __ATOMIC_RELAXED);
}

static inline const struct uvb_hdr *
uvs_clock_source(void)
{
	return __atomic_load_n(&uvs_clock_fabric, __ATOMIC_RELAXED);
}

static inline uint64_t
uvs_clock_kernel_ns(void)
{
	struct timespec t;

	uvs_clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UVS_NS_PER_S + (uint64_t)t.tv_nsec;
}

static inline uint64_t
uvs_clock_ns(void)
{
	const struct uvb_hdr *fabric = uvs_clock_source();

	return fabric != NULL ? uvb_clock_ns_by(fabric, uvs_clock_gettime) : uvs_clock_kernel_ns();
}

static inline bool
uvs_clock_is_virtual(void)
{
	const struct uvb_hdr *fabric = uvs_clock_source();

	return __builtin_expect(fabric != NULL && uvb_clock_is_virtual(fabric), 0);
}

static inline struct timespec
uvs_clock_timespec(uint64_t ns)
{
	return (struct timespec){.tv_sec = (time_t)(ns / UVS_NS_PER_S),
				 .tv_nsec = (long)(ns % UVS_NS_PER_S)};
}

#endif /* STACK_CORE_CLOCK_H */
