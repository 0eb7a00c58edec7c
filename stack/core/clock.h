/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/clock.h - the one clock of the stack: ns of CLOCK_MONOTONIC, read without a system
 * call. Everything that times in stack/ reads this and nothing else.
 */
#ifndef STACK_CORE_CLOCK_H
#define STACK_CORE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define UVS_NS_PER_US 1000ull
#define UVS_NS_PER_MS 1000000ull
#define UVS_NS_PER_S  1000000000ull

static inline uint64_t
uvs_clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UVS_NS_PER_S + (uint64_t)t.tv_nsec;
}

static inline struct timespec
uvs_clock_timespec(uint64_t ns)
{
	return (struct timespec){.tv_sec = (time_t)(ns / UVS_NS_PER_S),
				 .tv_nsec = (long)(ns % UVS_NS_PER_S)};
}

#endif /* STACK_CORE_CLOCK_H */
