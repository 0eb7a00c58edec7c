/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The segment as a file: its layout, making it, mapping it, and checking that what was mapped is
 * what it says it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "uvbridge/internal.h"

static uint64_t
page_align(uint64_t n)
{
	return (n + UVB_PAGE - 1) & ~(uint64_t)(UVB_PAGE - 1);
}

static bool
pow2_within(uint32_t n, uint32_t lo, uint32_t hi)
{
	return n >= lo && n <= hi && (n & (n - 1)) == 0;
}

static int
check_numbers(const struct uvb_hdr *h, char err[UVB_ERR_LEN])
{
	if (h->nb_ports < 2 || h->nb_ports > UVB_MAX_PORTS)
		return uvb_fail(err, -EINVAL, "%u ports: give 2 to %u", h->nb_ports, UVB_MAX_PORTS);
	if (h->nb_queues < 1 || h->nb_queues > UVB_MAX_QUEUES)
		return uvb_fail(err, -EINVAL, "%u queues: give 1 to %u", h->nb_queues,
				UVB_MAX_QUEUES);
	if (!pow2_within(h->cells_per_txq, 64, 65536))
		return uvb_fail(err, -EINVAL, "%u cells: give a power of two from 64 to 65536",
				h->cells_per_txq);
	if (!pow2_within(h->voq_depth, 32, 32768))
		return uvb_fail(err, -EINVAL, "a voq of %u: give a power of two from 32 to 32768",
				h->voq_depth);
	if (!pow2_within(h->fdb_buckets, UVB_FDB_MIN, 1 << 20))
		return uvb_fail(err, -EINVAL, "%u FDB buckets: give a power of two from %u to %u",
				h->fdb_buckets, UVB_FDB_MIN, 1 << 20);
	return 0;
}

int
uvb_layout(struct uvb_hdr *h, char err[UVB_ERR_LEN])
{
	uint64_t queues, off = UVB_PAGE;
	int rc = check_numbers(h, err);

	if (rc != 0)
		return rc;
	queues = (uint64_t)h->nb_ports * h->nb_queues;
	h->off_ports = off;
	off += page_align(h->nb_ports * sizeof(struct uvb_port_shm));
	h->off_rxqs = off;
	off += page_align(queues * sizeof(struct uvb_rxq_shm));
	h->off_txqs = off;
	off += page_align(queues * sizeof(struct uvb_txq_shm));
	h->off_pairs = off;
	off += page_align(queues * h->nb_ports * sizeof(struct uvb_pair_shm));
	h->off_fdb = off;
	off += page_align(h->fdb_buckets * sizeof(struct uvb_fdb_bucket));
	h->off_policies = off;
	off += page_align(h->nb_ports * sizeof(struct uvb_policy_shm));
	h->off_adapters = off;
	off += page_align(UVB_ADAPTERS_MAX * sizeof(struct uvb_adapter_shm));
	h->voq_stride = sizeof(struct uvb_voq_shm) + h->voq_depth * sizeof(uint32_t);
	h->off_faults = off;
	off += page_align(UVB_FAULTS_MAX * sizeof(struct uvb_fault_shm));
	h->off_decisions = off;
	off += page_align(queues * sizeof(struct uvb_decisions_shm));
	h->off_voqs = off;
	off += page_align(queues * queues * h->voq_stride);
	h->off_descs = off;
	off += page_align(queues * h->cells_per_txq * sizeof(struct uvb_desc));
	h->off_cells = off;
	off += page_align(queues * h->cells_per_txq * sizeof(struct uvb_cell));
	h->off_rules = off;
	off += h->nb_ports * sizeof(struct uvb_rules_shm);
	h->size = off;
	return 0;
}

static void
map_take_numbers(struct uvb_map *map, const struct uvb_hdr *h)
{
	map->size = h->size;
	map->nb_ports = h->nb_ports;
	map->nb_queues = h->nb_queues;
	map->cells_per_txq = h->cells_per_txq;
	map->voq_depth = h->voq_depth;
	map->fdb_buckets = h->fdb_buckets;
	map->off_ports = h->off_ports;
	map->off_rxqs = h->off_rxqs;
	map->off_txqs = h->off_txqs;
	map->off_pairs = h->off_pairs;
	map->off_fdb = h->off_fdb;
	map->off_policies = h->off_policies;
	map->off_adapters = h->off_adapters;
	map->off_voqs = h->off_voqs;
	map->off_descs = h->off_descs;
	map->off_cells = h->off_cells;
	map->off_faults = h->off_faults;
	map->off_decisions = h->off_decisions;
	map->off_rules = h->off_rules;
	map->voq_stride = h->voq_stride;
	map->epoch = h->epoch;
	memcpy(map->name, h->name, sizeof(map->name));
	map->name[UVB_NAME_LEN - 1] = '\0';
}

static int
map_file(struct uvb_map *map, int fd, bool writable)
{
	int prot = writable ? PROT_READ | PROT_WRITE : PROT_READ;
	void *base = mmap(NULL, map->size, prot, MAP_SHARED | MAP_NORESERVE, fd, 0);

	if (base == MAP_FAILED)
		return -errno;
	/* Gigabytes of holes and other processes' frames: not for core files. */
	madvise(base, map->size, MADV_DONTDUMP);
	map->base = base;
	return 0;
}

/* Is the header one that this build can use, and the file as long as it says? */
static int
check_header(const struct uvb_hdr *h, uint64_t file_size, char err[UVB_ERR_LEN])
{
	struct uvb_hdr want = *h;

	if (h->magic != UVB_ABI_MAGIC)
		return uvb_fail(err, -EPROTO,
				"its segment is not one of a fabric: remove its directory");
	if (h->abi_version != UVB_ABI_VERSION || h->hdr_size != sizeof(*h))
		return uvb_fail(err, -EPROTO,
				"the fabric speaks ABI %u and this program %u: use programs of one "
				"build, after `uvbridge down` and `up`",
				h->abi_version, UVB_ABI_VERSION);
	if (uvb_layout(&want, err) != 0)
		return -EPROTO;
	if (memcmp(&want, h, offsetof(struct uvb_hdr, daemon_pid)) != 0 || want.size != file_size)
		return uvb_fail(
			err, -EPROTO,
			"the segment's header contradicts itself or its size: it was damaged; "
			"`uvbridge down --force` and `up` make a new one");
	return 0;
}

static int
read_header(int fd, struct uvb_hdr *h, char err[UVB_ERR_LEN])
{
	struct stat st;

	if (fstat(fd, &st) != 0 || pread(fd, h, sizeof(*h), 0) != (ssize_t)sizeof(*h))
		return uvb_fail(err, -EPROTO, "its segment is too short: remove its directory");
	return check_header(h, (uint64_t)st.st_size, err);
}

int
uvb_map_open(struct uvb_map *map, int dirfd, bool writable, char err[UVB_ERR_LEN])
{
	struct uvb_hdr h;
	int rc, fd = openat(dirfd, "segment",
			    (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW);

	memset(map, 0, sizeof(*map));
	map->fd = -1;
	if (fd < 0)
		return uvb_fail(err, -errno, "cannot open the fabric's segment: %s",
				strerror(errno));
	rc = read_header(fd, &h, err);
	if (rc == 0) {
		map_take_numbers(map, &h);
		rc = map_file(map, fd, writable);
		if (rc != 0)
			uvb_fail(err, rc,
				 "cannot map the segment (%llu bytes of address space): %s",
				 (unsigned long long)map->size, strerror(-rc));
	}
	if (rc != 0)
		close(fd);
	else
		map->fd = uvb_fd_high(fd);
	return rc;
}

/* tmpfs hands out pages when they are touched, and kills who touches one that is not there. Better
 * to be told before. */
static int
check_room(int dirfd, const struct uvb_hdr *h, char err[UVB_ERR_LEN])
{
	struct statvfs vfs;
	uint64_t want = h->off_voqs + 2ULL * h->cells_per_txq * sizeof(struct uvb_cell);
	uint64_t have;

	if (fstatvfs(dirfd, &vfs) != 0)
		return 0;
	have = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	if (have >= want)
		return 0;
	return uvb_fail(
		err, -ENOSPC,
		"the file system of the fabric's directory has %llu MiB left and two ports need "
		"%llu: free some, or set UVNET_RUNDIR to a tmpfs with room",
		(unsigned long long)(have >> 20), (unsigned long long)(want >> 20) + 1);
}

int
uvb_map_create(struct uvb_map *map, int dirfd, struct uvb_hdr *h, char err[UVB_ERR_LEN])
{
	int fd, rc = uvb_layout(h, err);

	memset(map, 0, sizeof(*map));
	map->fd = -1;
	if (rc == 0)
		rc = check_room(dirfd, h, err);
	if (rc != 0)
		return rc;
	h->magic = UVB_ABI_MAGIC;
	h->abi_version = UVB_ABI_VERSION;
	h->hdr_size = sizeof(*h);
	if (getrandom(&h->epoch, sizeof(h->epoch), 0) != (ssize_t)sizeof(h->epoch))
		h->epoch = uvb_now_ns();
	/* Under another name until it is whole: nobody maps half a fabric. */
	unlinkat(dirfd, "segment.new", 0);
	fd = openat(dirfd, "segment.new", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return uvb_fail(err, -errno, "cannot make the segment: %s", strerror(errno));
	if (ftruncate(fd, (off_t)h->size) != 0 ||
	    pwrite(fd, h, sizeof(*h), 0) != (ssize_t)sizeof(*h) ||
	    renameat(dirfd, "segment.new", dirfd, "segment") != 0) {
		rc = uvb_fail(err, -errno, "cannot make the segment: %s", strerror(errno));
		close(fd);
		return rc;
	}
	close(fd);
	return uvb_map_open(map, dirfd, true, err);
}

void
uvb_map_close(struct uvb_map *map)
{
	if (map->base != NULL)
		munmap(map->base, map->size);
	if (map->fd >= 0)
		close(map->fd);
	map->base = NULL;
	map->fd = -1;
}

void
uvb_copy_words(void *to, const void *from, size_t size)
{
	uint32_t *t = to;
	const uint32_t *f = from;

	for (size_t i = 0; i < size / sizeof(*t); i++)
		__atomic_store_n(&t[i], __atomic_load_n(&f[i], __ATOMIC_RELAXED), __ATOMIC_RELAXED);
}

uint64_t *
uvb_map_resident(const struct uvb_map *map, uint64_t off, uint64_t len)
{
	uint64_t pages = page_align(len) / UVB_PAGE;
	uint64_t *bits = map->fd < 0 ? NULL : calloc(pages / 64 + 1, sizeof(*bits));
	off_t at = (off_t)off, end = (off_t)(off + len), hole;

	while (bits != NULL && at < end) {
		at = lseek(map->fd, at, SEEK_DATA);
		if (at < 0 || at >= end)
			break;
		hole = lseek(map->fd, at, SEEK_HOLE);
		if (hole < 0 || hole > end)
			hole = end;
		for (uint64_t p = ((uint64_t)at - off) / UVB_PAGE;
		     p < ((uint64_t)hole - off + UVB_PAGE - 1) / UVB_PAGE; p++)
			bits[p / 64] |= 1ULL << (p & 63);
		at = hole;
	}
	return bits;
}

struct uvb_voq_pages
uvb_voq_pages(const struct uvb_map *map, uint32_t dst, uint32_t rxq)
{
	return uvb_voq_pages_from(map, dst, rxq, 0, map->nb_ports * map->nb_queues);
}

struct uvb_voq_pages
uvb_voq_pages_from(const struct uvb_map *map, uint32_t dst, uint32_t rxq, uint32_t first,
		   uint32_t nb)
{
	uint64_t from = map->off_voqs + uvb_map_voq_off(map, dst, rxq, first);
	uint64_t to = map->off_voqs + uvb_map_voq_off(map, dst, rxq, first + nb);
	struct uvb_voq_pages e;

	e.first = from & ~(uint64_t)(UVB_PAGE - 1);
	e.pages = uvb_map_resident(map, e.first, to - e.first);
	return e;
}

bool
uvb_voq_exists(const struct uvb_map *map, const struct uvb_voq_pages *e, uint32_t dst, uint32_t rxq,
	       uint32_t source)
{
	return uvb_page_exists(e->pages,
			       map->off_voqs + uvb_map_voq_off(map, dst, rxq, source) - e->first);
}
