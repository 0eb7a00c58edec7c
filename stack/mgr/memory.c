/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Everything that the host's processes share, made before anybody comes: EAL, the port, the pools,
 * the soft queues, the arenas. Nothing is allocated afterwards. */
#include "stack/core/eal.h"
#include "stack/core/instance.h"
#include "stack/core/log.h"
#include "stack/core/share.h"
#include "stack/mgr/mgr.h"

#include <dirent.h>
#include <errno.h>
#include <mntent.h>
#include <rte_eal.h>
#include <rte_flow.h>
#include <rte_version.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define LOCKS_KNOWN 6 /* of EAL and ethdev */
#define PAGE_MB     2
#define EAL_MB      24 /* what EAL, ethdev and the driver take */

/* ---------------------------------------------------------------------------------- huge pages */

static int
find_memory(struct mgr *m, char err[UVS_ERR_LEN])
{
	uint32_t mb = (uint32_t)(zones_bytes(m) >> 20) + EAL_MB;
	long pages;

	m->memory_mb = m->conf.memory_mb != 0 ? m->conf.memory_mb : mb;
	pages = (m->memory_mb + PAGE_MB - 1) / PAGE_MB;
	if (m->conf.hugepages == UVS_NO)
		return uvs_fail(err, -EINVAL,
				"hugepages = no: a shared host needs huge pages, for its memory is "
				"mapped by several processes");
	if (uvs_eal_huge_pages_free() >= pages)
		return 0;
	return uvs_fail(err, -ENOMEM,
			"%u slots of %u mbufs take %ld huge pages of 2 MB, and %ld are free: as "
			"root, sysctl vm.nr_hugepages=%ld; or fewer slots, or fewer mbufs",
			m->conf.slots, zones_mbufs(m), pages, uvs_eal_huge_pages_free(),
			pages + 16);
}

static bool
is_ours_to_use(const char *dir)
{
	struct statfs fs;

	return statfs(dir, &fs) == 0 && fs.f_bsize == PAGE_MB << 20 &&
	       access(dir, W_OK | X_OK) == 0;
}

static int
find_huge_dir(struct mgr *m, char err[UVS_ERR_LEN])
{
	struct mntent *e;
	FILE *f;

	snprintf(m->huge_dir, sizeof(m->huge_dir), "%.*s", UVS_PROTO_PATH - 1, m->conf.huge_dir);
	if (m->huge_dir[0] != '\0') {
		if (is_ours_to_use(m->huge_dir))
			return 0;
		return uvs_fail(err, -EINVAL,
				"huge_dir: %.120s is no hugetlbfs of 2 MB pages that this user can "
				"write to",
				m->huge_dir);
	}
	f = setmntent("/proc/self/mounts", "re");
	while (f != NULL && (e = getmntent(f)) != NULL)
		if (strcmp(e->mnt_type, "hugetlbfs") == 0 && is_ours_to_use(e->mnt_dir)) {
			snprintf(m->huge_dir, sizeof(m->huge_dir), "%s", e->mnt_dir);
			break;
		}
	if (f != NULL)
		endmntent(f);
	if (m->huge_dir[0] != '\0')
		return 0;
	return uvs_fail(err, -ENOENT,
			"no hugetlbfs of 2 MB pages is mounted that this user can write to: as "
			"root, mkdir -p /dev/hugepages && mount -t hugetlbfs none /dev/hugepages");
}

/* ------------------------------------------------------------------------------------------ EAL */

/* Where EAL keeps its files. */
static void
find_runtime(struct mgr *m)
{
	const char *dir = getenv("RUNTIME_DIRECTORY");
	const char *base = strrchr(m->path, '/');

	if (dir == NULL)
		dir = getuid() == 0 ? "/var/run" : getenv("XDG_RUNTIME_DIR");
	if (dir == NULL)
		dir = "/tmp";
	snprintf(m->runtime, sizeof(m->runtime), "%s", dir);
	snprintf(m->prefix, sizeof(m->prefix), "uvs-%.56s", base + 1);
}

/* Has the process memory of this host mapped? */
static bool
maps_host(const struct mgr *m, const char *pid)
{
	char path[64], line[PATH_MAX + 256], file[PATH_MAX];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.16s/maps", pid);
	snprintf(file, sizeof(file), "%s/%smap_", m->huge_dir, m->prefix);
	f = fopen(path, "re");
	while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL)
		found = strstr(line, file) != NULL;
	if (f != NULL)
		fclose(f);
	return found;
}

bool
memory_is_mapped(const struct mgr *m, pid_t pid)
{
	char name[16];

	snprintf(name, sizeof(name), "%d", pid);
	return maps_host(m, name);
}

/* Processes of a manager that has died. */
static bool
has_survivors(const struct mgr *m)
{
	DIR *proc = opendir("/proc");
	struct dirent *d;
	bool found = false;

	while (proc != NULL && !found && (d = readdir(proc)) != NULL)
		found = d->d_name[0] >= '1' && d->d_name[0] <= '9' && maps_host(m, d->d_name);
	if (proc != NULL)
		closedir(proc);
	return found;
}

static int
start_eal(struct mgr *m, char err[UVS_ERR_LEN])
{
	struct uvs_eal_role role = {.primary = !m->heir,
				    .orphan = m->heir,
				    .prefix = m->prefix,
				    .huge_dir = m->huge_dir,
				    .memory_mb = m->memory_mb};
	int rc = uvs_eal_start(&m->conf, &role), id;

	if (rc < 0)
		return uvs_fail(err, rc, "DPDK does not start: %s (the log says why)",
				strerror(-rc));
	id = uvs_eal_port(&m->conf);
	if (id < 0)
		return uvs_fail(err, id, "nic %.200s: no port was found", m->conf.nic);
	m->port.id = (uint16_t)id;
	/* What an heir makes from now on (flow rules) is the port's, and the next heir's. What EAL
	 * made as it started is the process's, and never freed. */
	uvs_heap_private = false;
	return 0;
}

static int
probe_port(struct mgr *m, char err[UVS_ERR_LEN])
{
	int rc = uvs_port_probe(&m->port, m->port.id, &m->conf);

	if (rc < 0)
		return uvs_fail(err, rc, "the port cannot be used: %s", strerror(-rc));
	if (m->port.alone == NULL)
		return 0;
	m->port.queues = 1;
	if (m->conf.slots < 2)
		return uvs_fail(err, -EINVAL,
				"slots = 1 is none for a process: %s is polled by the manager, "
				"which takes one (%s)",
				m->port.driver, m->port.alone);
	uvs_log(UVS_LOG_NOTICE, "the manager polls %s for all processes: %s", m->port.driver,
		m->port.alone);
	return 0;
}

/* ---------------------------------------------------------------------------------------- port */

static void
describe(struct mgr *m)
{
	struct uvs_host *h = m->host;

	uvs_share_describe(h, &m->port);
	h->address = m->conf.address.addr.s_addr;
	h->prefix = m->conf.address.prefix;
	h->gateway = m->conf.gateway.addr.s_addr;
	h->by_manager = m->port.alone != NULL;
}

/* A slot's pool is filled anew for each process; what the NIC receives into is not in it only
 * while the queue is stopped. */
static int
check_restart(struct mgr *m, char err[UVS_ERR_LEN])
{
	int rc = rte_eth_dev_rx_queue_stop(m->port.id, 0);

	if (rc == 0)
		rc = rte_eth_dev_rx_queue_start(m->port.id, 0);
	if (rc == 0)
		return 0;
	return uvs_fail(
		err, rc,
		"%s cannot be shared: its queues cannot be stopped one by one (%s), and the "
		"buffers of a process that died not be had back; mode = exclusive",
		m->port.driver, strerror(-rc));
}

static int
start_port(struct mgr *m, char err[UVS_ERR_LEN])
{
	struct rte_mempool *pool[UVS_QUEUES_MAX];
	int rc;

	if (m->port.queues > m->conf.slots)
		m->port.queues = (uint16_t)m->conf.slots;
	for (uint16_t q = 0; q < m->port.queues; q++)
		pool[q] = m->host->slot[q + 1].pool;
	rc = uvs_port_start(&m->port, &m->conf, pool);
	if (rc < 0)
		return uvs_fail(err, rc, "the port does not start: %s", strerror(-rc));
	rc = m->port.alone == NULL ? check_restart(m, err) : 0;
	if (rc < 0)
		return rc;
	m->reta_size = uvs_port_reta(&m->port, m->reta);
	describe(m);
	return 0;
}

/* ------------------------------------------------------------------------------------- clean-up */

static void
remove_files(const char *dir, bool (*is_its)(const char *name, const void *arg), const void *arg)
{
	struct dirent *e;
	DIR *d = opendir(dir);

	while (d != NULL && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.' && is_its(e->d_name, arg))
			unlinkat(dirfd(d), e->d_name, 0);
	if (d != NULL)
		closedir(d);
}

/* mp_socket_PID_TICKS, fbarray_NAME_PID */
static bool
is_of_process(const char *name, const void *arg)
{
	char socket[32], array[32];
	size_t len = strlen(name), n;

	snprintf(socket, sizeof(socket), "mp_socket_%d_", *(const pid_t *)arg);
	n = (size_t)snprintf(array, sizeof(array), "_%d", *(const pid_t *)arg);
	return strncmp(name, socket, strlen(socket)) == 0 ||
	       (strncmp(name, "fbarray_", 8) == 0 && len > n && strcmp(name + len - n, array) == 0);
}

/* Number of the process at the end of `name`, or behind "mp_socket_". 0: it is of none. */
static pid_t
process_of(const char *name)
{
	const char *at = strrchr(name, '_');

	if (strncmp(name, "mp_socket_", 10) == 0)
		at = name + 9;
	else if (strncmp(name, "fbarray_", 8) != 0)
		return 0;
	return (pid_t)strtol(at + 1, NULL, 10);
}

static bool
is_of_the_dead(const char *name, const void *arg)
{
	const struct mgr *m = arg;
	pid_t pid = process_of(name);

	return pid > 0 && pid != getpid() && !memory_is_mapped(m, pid);
}

/* What those left that died when there was no manager, and the managers before this one. */
static void
forget_the_dead(struct mgr *m)
{
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%s/dpdk/%s", m->runtime, m->prefix);
	remove_files(dir, is_of_the_dead, m);
}

/* PREFIXmap_N */
static bool
is_page(const char *name, const void *arg)
{
	const struct mgr *m = arg;
	size_t n = strlen(m->prefix);

	return strncmp(name, m->prefix, n) == 0 && strncmp(name + n, "map_", 4) == 0;
}

/* ------------------------------------------------------------------------------------ take-over
 *
 * DPDK has one primary process, and a second one would clear the memory under those that live. But
 * memory, port and queues outlive the primary, and whoever attaches as a secondary process sees all
 * of it: so an heir is one, and controls the port from there. What that takes of a driver: queues
 * stopped and started, and the redirection table changed, by a secondary process.
 */

static void
take_port(struct mgr *m)
{
	const struct uvs_host *h = m->host;
	struct uvs_port *p = &m->port;
	struct rte_flow_error error;
	struct rte_eth_dev_info info;

	if (rte_eth_dev_info_get(p->id, &info) == 0)
		snprintf(p->driver, sizeof(p->driver), "%s", info.driver_name);
	p->epfd = -1;
	p->queues = (uint16_t)h->nb_queues;
	p->mtu = h->mtu;
	p->rss_hf = h->rss_hf;
	p->intr = h->intr;
	memcpy(p->mac.addr_bytes, h->mac, sizeof(h->mac));
	rte_flow_flush(p->id, &error); /* they are made anew where they are needed */
	m->reta_size = uvs_port_reta(p, m->reta);
}

/* Can the driver do for a secondary what an heir does? The table is written as it is. */
static int
check_control(struct mgr *m, char err[UVS_ERR_LEN])
{
	int rc = m->reta_size != 0 ? reta_write(m) : 0;

	if (rc == 0)
		return 0;
	return uvs_fail(err, rc,
			"the manager before this one has died, processes of the host live on, and "
			"%.60s lets no secondary process control the port (%s): they serve on "
			"without a manager; start it when they have ended",
			m->port.driver, strerror(-rc));
}

static int
card_is_gone(char err[UVS_ERR_LEN], int rc, const char *why)
{
	return uvs_fail(err, rc,
			"the manager before this one has died, and the network card with it "
			"(%.200s): start the manager when the processes of the host have ended",
			why);
}

static int
take_host(struct mgr *m, char err[UVS_ERR_LEN])
{
	char why[UVS_ERR_LEN];
	int rc = start_eal(m, why);

	if (rc < 0)
		return card_is_gone(err, rc, why);
	m->host = uvs_share_host();
	if (m->host == NULL)
		return uvs_fail(err, -EPROTO,
				"the manager before this one has died, and its host cannot be "
				"taken over (the log says why): its processes serve on; start the "
				"manager when they have ended");
	if (m->host->by_manager)
		return card_is_gone(err, -ENOTSUP, "it alone polled it");
	take_port(m);
	forget_the_dead(m);
	return check_control(m, err);
}

static int
make_all(struct mgr *m, char err[UVS_ERR_LEN])
{
	int rc;

	/* What a host has left of which nobody lives. */
	remove_files(m->huge_dir, is_page, m);
	rc = find_memory(m, err);
	if (rc == 0)
		rc = start_eal(m, err);
	if (rc == 0)
		rc = probe_port(m, err);
	if (rc == 0)
		rc = zones_make(m, err);
	return rc == 0 ? start_port(m, err) : rc;
}

int
memory_make(struct mgr *m, char err[UVS_ERR_LEN])
{
	int rc = find_huge_dir(m, err);

	if (rc < 0)
		return rc;
	find_runtime(m);
	m->heir = has_survivors(m);
	rc = m->heir ? take_host(m, err) : make_all(m, err);
	if (rc < 0)
		return rc;
	uvs_softq_take_over(&m->boss, &m->host->x, &m->to_wake);
	uvs_steer_map(&m->map, &m->host->steer, m->host->steer_memory);
	rc = uvs_rules_adopt(&m->rules, &m->map.rules, m->map.claims);
	if (rc < 0)
		return uvs_fail(err, rc, "no memory for the rules");
	uvs_nicrules_start(&m->nic_rules, m->port.id, m->host, &m->rules);
	if (locks_find(m) < LOCKS_KNOWN)
		return uvs_fail(err, -EPROTO,
				"DPDK %s keeps its locks elsewhere than this build expects: build "
				"against the DPDK that is installed",
				rte_version());
	m->host->magic = UVS_HOST_MAGIC;
	return 0;
}

/* ------------------------------------------------------------------------------------- the end */

void
memory_forget(struct mgr *m, pid_t pid)
{
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%s/dpdk/%s", m->runtime, m->prefix);
	remove_files(dir, is_of_process, &pid);
}

uint32_t
memory_files(const struct mgr *m)
{
	char dir[PATH_MAX];
	struct dirent *e;
	uint32_t n = 0;
	DIR *d;

	snprintf(dir, sizeof(dir), "%s/dpdk/%s", m->runtime, m->prefix);
	d = opendir(dir);
	while (d != NULL && (e = readdir(d)) != NULL)
		n += process_of(e->d_name) != getpid();
	if (d != NULL)
		closedir(d);
	return n;
}

static bool
is_any(const char *name, const void *arg)
{
	(void)name;
	(void)arg;
	return true;
}

void
memory_end(struct mgr *m)
{
	char dir[PATH_MAX];

	if (!TAILQ_EMPTY(&m->clients) && m->used != 0) {
		uvs_log(UVS_LOG_WARNING, "processes of the host live on without a manager");
		return;
	}
	/* An heir's port ends with the last process that has it. */
	if (!m->heir) {
		uvs_port_stop(&m->port);
		rte_eal_cleanup();
	}
	snprintf(dir, sizeof(dir), "%s/dpdk/%s", m->runtime, m->prefix);
	remove_files(dir, is_any, NULL);
	rmdir(dir);
	remove_files(m->huge_dir, is_page, m);
}
