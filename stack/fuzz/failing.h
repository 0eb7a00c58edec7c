/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/fuzz/failing.h - put before the sources of stack/sock (-include): their allocations fail
 * when the fuzzer says so (host_fail()).
 */
#ifndef STACK_FUZZ_FAILING_H
#define STACK_FUZZ_FAILING_H

#include <stdlib.h>

void *failing_malloc(size_t size);
void *failing_calloc(size_t count, size_t size);

#define malloc(size)        failing_malloc(size)
#define calloc(count, size) failing_calloc(count, size)

#endif /* STACK_FUZZ_FAILING_H */
