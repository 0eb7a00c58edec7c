/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/posix/tests/asleep.h - wait until another thread waits. Ordinary calls of the C library: on
 * the stack as on the kernel, who waits long sleeps in a system call.
 */
#ifndef STACK_POSIX_TESTS_ASLEEP_H
#define STACK_POSIX_TESTS_ASLEEP_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

/* Does the thread sleep? *times: how often it has gone to sleep by itself. */
static inline bool
sleeps(pid_t tid, unsigned long *times)
{
	char path[64], line[128], state = '?';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
	f = fopen(path, "re");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		sscanf(line, "State: %c", &state);
		sscanf(line, "voluntary_ctxt_switches: %lu", times);
	}
	if (f != NULL)
		fclose(f);
	return state == 'S';
}

/* It sleeps, and has not been awake for some looks: it is no lock that it waits for. After five
 * seconds so be it: the test goes on, and says what it sees. */
static inline void
wait_asleep(pid_t tid)
{
	unsigned long times = 0, before = 0;

	for (int look = 0, still = 0; look < 5000 && still < 4; look++) {
		still = sleeps(tid, &times) && times == before ? still + 1 : 0;
		before = times;
		usleep(1000);
	}
}

#endif /* STACK_POSIX_TESTS_ASLEEP_H */
