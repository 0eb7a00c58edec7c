/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/core/eal.h"
#include "stack/core/log.h"
#include "stack/core/mem.h"
#include "stack/share/host.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_log.h>
#include <rte_trace.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HUGE_FREE "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"

/* ------------------------------------------------------------------------------------ arguments */

struct args {
	char **argv;
	int n;
	char *text;
	size_t left;
};

static void __attribute__((format(printf, 2, 3))) add(struct args *a, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(a->text, a->left, fmt, ap);
	va_end(ap);
	if ((size_t)n >= a->left || a->n >= UVS_EAL_MAX_ARGS - 1)
		return;
	a->argv[a->n++] = a->text;
	a->argv[a->n] = NULL;
	a->text += n + 1;
	a->left -= (size_t)n + 1;
}

/* mbufs, rings of the driver, and what EAL itself takes. */
static unsigned int
memory_needed(const struct uvs_conf *c)
{
	unsigned int mbufs = c->mbufs != 0 ? c->mbufs : RTE_MAX(8192u, 2048 * c->queues);

	if (c->memory_mb != 0)
		return c->memory_mb;
	if (c->stacks > 1)
		mbufs = c->stacks * (c->mbufs != 0 ? c->mbufs : UVS_SLOT_MBUFS);
	return 26 + 2 * c->queues + (unsigned int)(uvs_mem_bytes(mbufs, c->mtu) >> 20);
}

long
uvs_eal_huge_pages_free(void)
{
	FILE *f = fopen(HUGE_FREE, "re");
	long n = 0;

	if (f == NULL)
		return 0;
	if (fscanf(f, "%ld", &n) != 1)
		n = 0;
	fclose(f);
	return n;
}

static bool
use_huge_pages(const struct uvs_conf *c)
{
	if (c->hugepages == UVS_AUTO)
		return geteuid() == 0 && uvs_eal_huge_pages_free() >= memory_needed(c);
	return c->hugepages == UVS_YES;
}

/* One lcore that may run wherever this process may: EAL then makes no worker threads. */
static void
add_lcore(struct args *a)
{
	cpu_set_t set;
	char list[256] = "";
	size_t used = 0;

	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return;
	for (int cpu = 0; cpu < CPU_SETSIZE && used + 8 < sizeof(list); cpu++)
		if (CPU_ISSET(cpu, &set))
			used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%d",
						 used ? "," : "", cpu);
	add(a, "--lcores=0@(%s)", list);
}

static void
add_extra(struct args *a, const char *extra)
{
	while (*extra != '\0') {
		size_t n = strcspn(extra, " \t");

		if (n > 0)
			add(a, "%.*s", (int)n, extra);
		extra += n;
		extra += strspn(extra, " \t");
	}
}

/* The manager runs no stack. */
static void
add_trace(struct args *a, const struct uvs_conf *c, const struct uvs_eal_role *role)
{
	const char *p = c->trace;

	if (*p == '\0' || (role != NULL && role->primary))
		return;
	while (*p != '\0') {
		size_t n = strcspn(p, ", ");

		if (n > 0)
			add(a, "--trace=%.*s", (int)n, p);
		p += n;
		p += strspn(p, ", ");
	}
	add(a, "--trace-dir=%s/%d", c->trace_dir, getpid());
}

static const char *
eal_level(const struct uvs_conf *c)
{
	static const char *const names[] = {"critical", "error", "warning", "info", "debug"};

	return names[c->log_level];
}

/* Memory that others map, at the manager's addresses; it is never more than at the start. */
static void
add_shared_memory(struct args *a, const struct uvs_eal_role *role)
{
	add(a, "--file-prefix=%s", role->prefix);
	add(a, "--huge-dir=%s", role->huge_dir);
	add(a, "--proc-type=%s", role->primary ? "primary" : "secondary");
	if (role->primary)
		add(a, "-m%u", role->memory_mb);
}

static void
add_own_memory(struct args *a, const struct uvs_conf *c)
{
	/* Nothing is kept in EAL's runtime directory: all processes may name the same. */
	add(a, "--file-prefix=uvstack");
	if (use_huge_pages(c)) {
		add(a, "--in-memory");
	} else {
		add(a, "--no-huge");
		add(a, "--no-shconf"); /* EAL refuses --in-memory with --no-huge */
		add(a, "-m%u", memory_needed(c));
	}
}

int
uvs_eal_args(const struct uvs_conf *c, const struct uvs_eal_role *role,
	     char *argv[UVS_EAL_MAX_ARGS], char *text, size_t len)
{
	struct args a = {argv, 0, text, len};
	struct uvs_conf_eal_nic nic;

	if (uvs_conf_nic(c, &nic) != NULL)
		return -EINVAL;
	add(&a, "uvstack");
	/* A secondary is looked at by its manager. */
	if (!c->telemetry || (role != NULL && !role->primary))
		add(&a, "--no-telemetry");
	add(&a, "--log-level=%s", eal_level(c));
	add_lcore(&a);
	if (role != NULL)
		add_shared_memory(&a, role);
	else
		add_own_memory(&a, c);
	/* A secondary hears of virtual devices from the primary. */
	if (nic.vdev[0] != '\0' && (role == NULL || role->primary || role->orphan))
		add(&a, "--vdev=%s", nic.vdev);
	if (nic.allow[0] != '\0')
		add(&a, "-a%s", nic.allow);
	else
		add(&a, "--no-pci");
	add_trace(&a, c, role);
	add_extra(&a, c->eal);
	return a.n;
}

/* ----------------------------------------------------------------------------------------- aside
 */

struct aside {
	int (*fn)(void *arg);
	void *arg;
	int result;
};

static void *
aside_main(void *arg)
{
	struct aside *a = arg;

	a->result = a->fn(a->arg);
	return NULL;
}

int
uvs_aside(int (*fn)(void *arg), void *arg)
{
	struct aside a = {fn, arg, 0};
	sigset_t all, before;
	pthread_t t;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&t, NULL, aside_main, &a);
	if (r == 0)
		pthread_join(t, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r != 0 ? -EAGAIN : a.result;
}

/* ----------------------------------------------------------------------------------------- start
 */

/* EAL logs where the stack does; what it says before rte_eal_init() parses its level counts too. */
static void
redirect_log(void)
{
	FILE *f = fdopen(dup(uvs_log_fd()), "a");

	if (f == NULL)
		return;
	setvbuf(f, NULL, _IOLBF, 0);
	rte_openlog_stream(f);
}

static void
log_args(char *const argv[])
{
	char line[1024];
	size_t used = 0;

	for (int i = 0; argv[i] != NULL && used < sizeof(line); i++)
		used += (size_t)snprintf(line + used, sizeof(line) - used, "%s%s", i ? " " : "",
					 argv[i]);
	uvs_log(UVS_LOG_INFO, "EAL: %s", line);
}

/* A driver registers itself when it is loaded, so it need not go through EAL's -d. That option
 * refuses every file below a world-writable directory, /tmp with its sticky bit included; who can
 * replace the driver here can replace this library beside it as well. */
static void *driver; /* from dlopen(); for as long as the process lives */

static int
load_driver(const struct uvs_conf *c)
{
	struct uvs_conf_eal_nic nic;

	if (uvs_conf_nic(c, &nic) != NULL)
		return -EINVAL;
	if (nic.plugin[0] != '\0')
		driver = dlopen(nic.plugin, RTLD_NOW);
	if (nic.plugin[0] == '\0' || driver != NULL)
		return 0;
	uvs_log(UVS_LOG_ERROR, "the driver of nic %s cannot be loaded: %s (see plugin)", c->nic,
		dlerror());
	return -ENOENT;
}

/* EAL makes one more directory in it, and no other. */
static int
make_trace_dir(const struct uvs_conf *c)
{
	char path[UVS_CONF_STR + 16];

	snprintf(path, sizeof(path), "%s/%d", c->trace_dir, getpid());
	if ((mkdir(c->trace_dir, 0755) == 0 || errno == EEXIST) &&
	    (mkdir(path, 0755) == 0 || errno == EEXIST))
		return 0;
	uvs_log(UVS_LOG_ERROR, "trace_dir %s: %s", path, strerror(errno));
	return -errno;
}

struct start {
	const struct uvs_conf *c;
	const struct uvs_eal_role *role;
};

static int
eal_main(void *arg)
{
	const struct start *s = arg;
	char *argv[UVS_EAL_MAX_ARGS], text[4096];
	int n = uvs_eal_args(s->c, s->role, argv, text, sizeof(text)), r;

	if (n < 0)
		return n;
	log_args(argv);
	redirect_log();
	uvs_heap_private = s->role != NULL && !s->role->primary;
	r = load_driver(s->c);
	if (r < 0)
		return r;
	if (s->c->trace[0] != '\0')
		r = make_trace_dir(s->c);
	if (r < 0)
		return r;
	/* DPDK's tools, which load all drivers, look for what theirs have made in the primary. */
	uvs_eal_own_driver = driver != NULL && (s->role == NULL || !s->role->primary);
	r = rte_eal_init(n, argv);
	uvs_eal_own_driver = false;
	return r < 0 ? -rte_errno : 0;
}

void *
uvs_eal_symbol(const char *name)
{
	return driver != NULL ? dlsym(driver, name) : NULL;
}

int
uvs_eal_start(const struct uvs_conf *c, const struct uvs_eal_role *role)
{
	struct start s = {c, role};
	int r = uvs_aside(eal_main, &s);

	if (r < 0)
		uvs_log(UVS_LOG_ERROR,
			"DPDK does not start: %s (log_level = info shows its arguments)",
			strerror(-r));
	else if (!rte_eal_has_hugepages())
		uvs_log(UVS_LOG_NOTICE, "no huge pages in use");
	return r;
}

int
uvs_eal_port(const struct uvs_conf *c)
{
	uint16_t id;

	RTE_ETH_FOREACH_DEV (id)
		return id;
	uvs_log(UVS_LOG_ERROR, "nic %s: no port was found", c->nic);
	return -ENODEV;
}

void
uvs_eal_trace_save(const struct uvs_conf *c)
{
	if (c->trace[0] != '\0' && rte_trace_save() < 0)
		uvs_log(UVS_LOG_WARNING, "the trace could not be written to %s", c->trace_dir);
}
