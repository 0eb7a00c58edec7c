/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/place.h - where the stack's threads run, and where the application's do not.
 *
 * `cpus` names the CPUs of the stack's threads: the first thread has the first one to itself, and
 * so on, from the beginning again if there are more threads. With `app_cpus = others` the
 * application's threads are moved off them as the stack starts, each keeping the rest of what it
 * was allowed; threads made later inherit that. An application that sets its own affinity
 * afterwards has its way.
 */
#ifndef STACK_CORE_PLACE_H
#define STACK_CORE_PLACE_H

#include <pthread.h>
#include <sched.h>

#include "stack/conf/conf.h"

struct uvs_place {
	cpu_set_t cpus; /* empty: anywhere */
};

/* Read the configuration; move the application's threads if it says so. By the thread that starts
 * the stack, before the stack's threads are there. 0 or a negative errno, logged. */
int uvs_place_init(struct uvs_place *p, const struct uvs_conf *c);

/* Where the i-th thread will run, into its attributes. True: no other thread of the stack has that
 * CPU, and the application neither. */
bool uvs_place_thread(const struct uvs_place *p, unsigned int i, pthread_attr_t *attr);

#endif /* STACK_CORE_PLACE_H */
