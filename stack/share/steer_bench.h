/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/share/steer_bench.h - the measurements of steer_bench; each prints one JSON object.
 */
#ifndef STACK_SHARE_STEER_BENCH_H
#define STACK_SHARE_STEER_BENCH_H

#include <stdint.h>

int bench_cost(uint32_t processes, uint32_t rules, double seconds);
int bench_lookup(uint32_t rules, double seconds);
int bench_rate(uint32_t bytes, double seconds);

#endif /* STACK_SHARE_STEER_BENCH_H */
