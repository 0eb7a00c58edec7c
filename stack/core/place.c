/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/core/place.h"
#include "stack/core/log.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* -------------------------------------------------------------------- the application's threads */

/* A thread may end while we look; that is no failure. */
static int
move_off(pid_t tid, const cpu_set_t *cpus)
{
	cpu_set_t allowed, rest;

	if (sched_getaffinity(tid, sizeof(allowed), &allowed) < 0)
		return errno == ESRCH ? 0 : -errno;
	CPU_AND(&rest, &allowed, cpus);
	CPU_XOR(&rest, &allowed, &rest);
	if (CPU_COUNT(&rest) == 0)
		return -ENOSPC;
	if (sched_setaffinity(tid, sizeof(rest), &rest) < 0 && errno != ESRCH)
		return -errno;
	return 0;
}

static int
move_application(const cpu_set_t *cpus)
{
	DIR *tasks = opendir("/proc/self/task");
	const struct dirent *d;
	int r = 0;

	if (tasks == NULL)
		return -errno;
	while (r == 0 && (d = readdir(tasks)) != NULL) {
		if (d->d_name[0] != '.')
			r = move_off((pid_t)strtol(d->d_name, NULL, 10), cpus);
	}
	closedir(tasks);
	return r;
}

/* ---------------------------------------------------------------------------------- the stack's */

/* What this process may use, before anything is moved. */
static int
check_allowed(const struct uvs_place *p)
{
	cpu_set_t allowed, both;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		return -errno;
	CPU_AND(&both, &allowed, &p->cpus);
	if (CPU_EQUAL(&both, &p->cpus))
		return 0;
	uvs_log(UVS_LOG_ERROR, "cpus: not all of them are there for this process (taskset, "
			       "cgroups); see Cpus_allowed_list in /proc/self/status");
	return -EINVAL;
}

int
uvs_place_init(struct uvs_place *p, const struct uvs_conf *c)
{
	const char *reason = uvs_conf_cpus(c, &p->cpus);
	int r;

	if (reason != NULL) {
		uvs_log(UVS_LOG_ERROR, "cpus: %s %s", c->cpus, reason);
		return -EINVAL;
	}
	if (CPU_COUNT(&p->cpus) == 0)
		return 0;
	r = check_allowed(p);
	if (r < 0 || c->app_cpus != UVS_APP_CPUS_OTHERS)
		return r;
	r = move_application(&p->cpus);
	if (r < 0)
		uvs_log(UVS_LOG_ERROR,
			"app_cpus = others: the application cannot leave the CPUs of the stack: %s",
			r == -ENOSPC ? "it may use no others" : strerror(-r));
	return r;
}

static int
nth(const cpu_set_t *set, unsigned int n)
{
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, set) && n-- == 0)
			return cpu;
	return -1;
}

bool
uvs_place_thread(const struct uvs_place *p, unsigned int i, pthread_attr_t *attr)
{
	unsigned int n = (unsigned int)CPU_COUNT(&p->cpus);
	cpu_set_t one;

	if (n == 0)
		return false;
	CPU_ZERO(&one);
	CPU_SET(nth(&p->cpus, i % n), &one);
	pthread_attr_setaffinity_np(attr, sizeof(one), &one);
	return true;
}
