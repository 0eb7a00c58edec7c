/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a process knows of its children's waiting.
 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stack/core/clock.h"
#include "stack/core/family.h"
#include "uvbridge/test.h"

#define NOW 1000

static struct uvb_hdr fabric;

/* A child that waits until then, or runs; returns when it has begun. */
static pid_t
have_child(uint64_t until)
{
	int begun[2];
	char c;
	pid_t pid;

	CHECK(pipe(begun) == 0);
	uvs_family_prepare();
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		uvs_family_join();
		uvs_family_waits(until);
		CHECK(write(begun[1], "x", 1) == 1);
		for (volatile bool computing = until == 0; computing;)
			;
		for (;;)
			pause();
	}
	CHECK(read(begun[0], &c, 1) == 1);
	close(begun[0]);
	close(begun[1]);
	return pid;
}

/* Until it sleeps, a child is seen to run. */
static void
becomes(uint64_t next)
{
	while (uvs_family_next(NOW) != next)
		usleep(100);
}

static void
end_child(pid_t pid)
{
	CHECK(kill(pid, SIGKILL) == 0);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

static void
test_nobody_is_waited_for(void)
{
	CHECK_EQ(uvs_family_next(NOW), UINT64_MAX);
	uvs_family_waits(NOW + 5); /* no child itself */
	CHECK_EQ(uvs_family_next(NOW), UINT64_MAX);
}

static void
test_the_earliest_of_those_that_wait(void)
{
	pid_t a = have_child(NOW + 20), b = have_child(NOW + 10), c = have_child(UINT64_MAX);

	becomes(NOW + 10);
	end_child(b);
	becomes(NOW + 20);
	end_child(a);
	end_child(c);
	becomes(UINT64_MAX);
}

static void
test_one_that_runs_holds_the_clock(void)
{
	pid_t pid = have_child(0);

	CHECK_EQ(uvs_family_next(NOW), (uint64_t)NOW);
	end_child(pid);
	becomes(UINT64_MAX);
}

static void
test_not_in_real_time(void)
{
	pid_t pid = have_child(NOW + 10);

	becomes(NOW + 10);
	atomic_store(&fabric.clock_ns, 0);
	CHECK_EQ(uvs_family_next(NOW), UINT64_MAX);
	atomic_store(&fabric.clock_ns, NOW);
	end_child(pid);
}

/* More children than there are places: dead ones give theirs back. */
static void
test_places_come_back(void)
{
	pid_t pid;

	for (int i = 0; i < 300; i++)
		end_child(have_child(NOW + 10));
	CHECK_EQ(uvs_family_next(NOW), UINT64_MAX);
	pid = have_child(NOW + 10);
	becomes(NOW + 10);
	end_child(pid);
}

int
main(void)
{
	atomic_store(&fabric.clock_ns, NOW);
	uvs_clock_fabric = &fabric;
	RUN(test_nobody_is_waited_for);
	RUN(test_the_earliest_of_those_that_wait);
	RUN(test_one_that_runs_holds_the_clock);
	RUN(test_not_in_real_time);
	RUN(test_places_come_back);
	return 0;
}
