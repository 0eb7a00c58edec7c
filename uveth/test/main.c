/* SPDX-License-Identifier: BSD-3-Clause
 *
 * main.c - raise a fabric, start EAL, run the tables, take it down.
 *
 * Usage: uveth_test UVBRIDGED PMD [NAME-PART]
 */
#include <dirent.h>
#include <dlfcn.h>
#include <stdarg.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_interrupts.h>
#include <rte_log.h>

#include "uvbridge/scratch.h"
#include "uveth/test/test.h"

const char *test_fabric = "unit";
static const char *uvbridged;
static const char *running = "set-up";
static char rundir[UVB_SCRATCH_LEN];
static pid_t daemon_pid;

/* The daemon leaves the segment behind, for the next daemon to take over. */
static void
fabric_down(void)
{
	kill(daemon_pid, SIGTERM);
	waitpid(daemon_pid, NULL, 0);
	uvb_scratch_remove(rundir);
}

void
test_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s:%d: %s: ", file, line, running);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	if (daemon_pid > 0)
		fabric_down();
	_exit(1);
}

static void
daemon_exec(int ready)
{
	char fd[12];

	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that crashes leaves nobody behind */
	snprintf(fd, sizeof(fd), "%d", ready);
	execl(uvbridged, uvbridged, "--ports", "8", "--queues", "8", "--cells", "1024", "--voq",
	      "256", "--ready-fd", fd, test_fabric, NULL);
	perror(uvbridged);
	_exit(127);
}

/* The daemon says on a descriptor when it is ready, or in a sentence why not. */
static void
fabric_up(void)
{
	char line[300] = "";
	int ready[2];

	CHECK_EQ(uvb_scratch_make(rundir), 0);
	setenv("UVNET_RUNDIR", rundir, 1);
	CHECK_EQ(pipe(ready), 0);
	daemon_pid = fork();
	CHECK(daemon_pid >= 0);
	if (daemon_pid == 0)
		daemon_exec(ready[1]);
	close(ready[1]);
	if (read(ready[0], line, sizeof(line) - 1) <= 0 || line[0] != '\n')
		test_fail(__FILE__, __LINE__, "%s: %s", uvbridged, line);
	close(ready[0]);
}

static void
eal_up(const char *pmd)
{
	struct rte_epoll_event ev;
	char *argv[] = {"uveth_test", "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry",
			"-m",         "256",       "-l",          "0"};

	rte_log_set_global_level(RTE_LOG_WARNING);
	/* Not by EAL's -d, which refuses what lies below a world-writable directory: a clone in
	 * /tmp. */
	if (dlopen(pmd, RTLD_NOW) == NULL)
		test_fail(__FILE__, __LINE__, "%s", dlerror());
	CHECK(rte_eal_init(RTE_DIM(argv), argv) >= 0);
	/* EAL makes this thread's epoll descriptor at its first use, and keeps it. */
	CHECK_EQ(rte_epoll_wait(RTE_EPOLL_PER_THREAD, &ev, 1, 0), 0);
}

/* The descriptors this process has open, as a sum that two different sets hardly share. */
static unsigned long
descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned long sum = 0;
	struct dirent *e;

	CHECK(dir != NULL);
	while ((e = readdir(dir)) != NULL)
		if (e->d_name[0] != '.')
			sum += 1000003 + strtoul(e->d_name, NULL, 10);
	closedir(dir);
	return sum;
}

static unsigned int
run_table(const struct test *t, const char *part)
{
	unsigned long before = descriptors();
	unsigned int n = 0;

	for (; t->name != NULL; t++) {
		if (part != NULL && strstr(t->name, part) == NULL)
			continue;
		running = t->name;
		t->run();
		CHECK_EQ(rte_eth_dev_count_avail(), 0);
		CHECK_EQ(descriptors(), before); /* none leaked, none of others closed */
		printf("ok %s\n", t->name);
		n++;
	}
	return n;
}

int
main(int argc, char **argv)
{
	const struct test *tables[] = {devargs_tests, burst_tests, control_tests, rss_tests,
				       csum_tests,    vlan_tests,  tso_tests,     time_tests,
				       stats_tests,   intr_tests,  flow_tests};
	const char *part = argc > 3 ? argv[3] : NULL;
	unsigned int n = 0;

	if (argc < 3) {
		fprintf(stderr, "usage: %s UVBRIDGED PMD [NAME-PART]\n", argv[0]);
		return 2;
	}
	uvbridged = argv[1];
	fabric_up();
	eal_up(argv[2]);
	for (size_t i = 0; i < RTE_DIM(tables); i++)
		n += run_table(tables[i], part);
	rte_eal_cleanup();
	fabric_down();
	printf("%u tests passed\n", n);
	return n > 0 ? 0 : 1;
}
