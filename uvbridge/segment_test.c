/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Layout, making, mapping and refusing of segments; names and run directories.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "uvbridge/test.h"

static char dir[UVB_SCRATCH_LEN];
static int dirfd;
static char err[UVB_ERR_LEN];

static struct uvb_hdr
shape(uint32_t ports, uint32_t queues, uint32_t cells, uint32_t voq)
{
	return (struct uvb_hdr){.name = "seg",
				.nb_ports = ports,
				.nb_queues = queues,
				.cells_per_txq = cells,
				.voq_depth = voq,
				.fdb_buckets = 64};
}

static void
test_layout(void)
{
	static const uint32_t ports[] = {2, 3, 32, 64, 256}, queues[] = {1, 5, 8, 16};

	for (size_t p = 0; p < 5; p++)
		for (size_t q = 0; q < 4; q++) {
			struct uvb_hdr h = shape(ports[p], queues[q], 64, 32);
			uint64_t n = (uint64_t)ports[p] * queues[q];
			uint64_t off[] = {UVB_PAGE, h.off_ports, 0, 0, 0, 0, 0, 0, 0, 0, 0};

			CHECK_EQ(uvb_layout(&h, err), 0);
			memcpy(off,
			       (uint64_t[]){UVB_PAGE, h.off_ports, h.off_rxqs, h.off_txqs,
					    h.off_pairs, h.off_fdb, h.off_voqs, h.off_descs,
					    h.off_cells, h.off_rules, h.size},
			       sizeof(off));
			for (int i = 1; i < 11; i++) {
				CHECK(off[i] >= off[i - 1]);
				CHECK_EQ(off[i] % UVB_PAGE, 0);
			}
			CHECK(h.off_txqs - h.off_rxqs >= n * sizeof(struct uvb_rxq_shm));
			CHECK(h.off_voqs + n * n * h.voq_stride <= h.off_descs);
			CHECK_EQ(h.off_cells + n * 64 * sizeof(struct uvb_cell), h.off_rules);
			CHECK_EQ(h.off_rules + ports[p] * sizeof(struct uvb_rules_shm), h.size);
			CHECK_EQ(h.voq_stride % UVB_CACHE_LINE, 0);
		}
}

static void
test_bad_numbers(void)
{
	struct uvb_hdr bad[] = {shape(1, 1, 64, 32),       shape(257, 1, 64, 32),
				shape(2, 0, 64, 32),       shape(2, 17, 64, 32),
				shape(2, 1, 63, 32),       shape(2, 1, 32, 32),
				shape(2, 1, 1u << 17, 32), shape(2, 1, 64, 16),
				shape(2, 1, 64, 65536),    shape(2, 1, 64, 33)};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err[0] = '\0';
		CHECK_EQ(uvb_layout(&bad[i], err), -EINVAL);
		CHECK(err[0] != '\0');
	}
}

static void
test_create_and_open(void)
{
	struct uvb_hdr h = shape(4, 2, 64, 32);
	struct uvb_map rw, ro;

	CHECK_EQ(uvb_map_create(&rw, dirfd, &h, err), 0);
	CHECK_EQ(uvb_map_open(&ro, dirfd, false, err), 0);
	CHECK_EQ(ro.epoch, rw.epoch);
	CHECK(rw.epoch != 0);
	CHECK(strcmp(ro.name, "seg") == 0);
	/* Accessors do not overlap, and the last of each is inside. */
	CHECK((uint8_t *)uvb_map_port(&rw, 3) + sizeof(struct uvb_port_shm) <=
	      rw.base + rw.off_rxqs);
	CHECK((uint8_t *)uvb_map_pair(&rw, 3, 1, 3) + sizeof(struct uvb_pair_shm) <=
	      rw.base + rw.off_fdb);
	CHECK((uint8_t *)uvb_map_voq(&rw, 3, 1, 3, 1) + rw.voq_stride <= rw.base + rw.off_descs);
	CHECK((uint8_t *)(uvb_map_cells(&rw, 3, 1).cell + 64) == rw.base + rw.off_rules);
	CHECK((uint8_t *)uvb_map_rules(&rw, 4) == rw.base + rw.size);
	uvb_map_cells(&rw, 3, 1).cell[63].total = 77;
	CHECK_EQ(uvb_map_cells(&ro, 3, 1).cell[63].total, 77);
	CHECK((void *)(uvb_map_cells(&rw, 3, 1).desc + 64) <= (void *)(rw.base + rw.off_cells));
	/* What was touched exists, the rest does not. */
	{
		uint64_t *pages = uvb_map_resident(&ro, ro.off_cells, ro.off_rules - ro.off_cells);
		uint64_t last = (ro.off_rules - ro.off_cells) / UVB_PAGE - 1;

		CHECK(pages != NULL);
		CHECK((pages[last / 64] >> (last & 63) & 1) == 1);
		CHECK_EQ(pages[0], 0);
		free(pages);
	}
	uvb_map_close(&ro);
	uvb_map_close(&rw);
}

/* One word of the constant header changed, or the file cut: refused, with a sentence. */
static void
test_damaged(void)
{
	struct uvb_hdr h = shape(4, 2, 64, 32), bad;
	size_t words = offsetof(struct uvb_hdr, daemon_pid) / 4;
	struct uvb_map map;
	int fd;

	CHECK_EQ(uvb_map_create(&map, dirfd, &h, err), 0);
	uvb_map_close(&map);
	fd = openat(dirfd, "segment", O_RDWR);
	CHECK(fd >= 0);
	for (size_t w = 0; w < words; w++) {
		size_t at = w * 4;

		/* Free to change: epoch, name, age. */
		if ((at >= offsetof(struct uvb_hdr, epoch) &&
		     at < offsetof(struct uvb_hdr, size)) ||
		    (at >= offsetof(struct uvb_hdr, name) &&
		     at < offsetof(struct uvb_hdr, nb_ports)) ||
		    at == offsetof(struct uvb_hdr, fdb_age_s) ||
		    at >= offsetof(struct uvb_hdr, voq_stride) + 8)
			continue;
		bad = h;
		((uint32_t *)&bad)[w] ^= 0x40;
		CHECK(pwrite(fd, &bad, sizeof(bad), 0) == sizeof(bad));
		err[0] = '\0';
		CHECK_EQ(uvb_map_open(&map, dirfd, true, err), -EPROTO);
		CHECK(err[0] != '\0');
	}
	CHECK(pwrite(fd, &h, sizeof(h), 0) == sizeof(h));
	CHECK_EQ(ftruncate(fd, (off_t)h.size - 1), 0);
	CHECK_EQ(uvb_map_open(&map, dirfd, true, err), -EPROTO);
	CHECK_EQ(ftruncate(fd, 100), 0);
	CHECK_EQ(uvb_map_open(&map, dirfd, true, err), -EPROTO);
	close(fd);
	unlinkat(dirfd, "segment", 0);
	CHECK_EQ(uvb_map_open(&map, dirfd, true, err), -ENOENT);
}

static void
test_names(void)
{
	CHECK(uvb_name_ok("a"));
	CHECK(uvb_name_ok("web-1_x.y"));
	CHECK(uvb_name_ok("0123456789012345678901234567890"));
	CHECK(!uvb_name_ok("01234567890123456789012345678901"));
	CHECK(!uvb_name_ok(""));
	CHECK(!uvb_name_ok(".."));
	CHECK(!uvb_name_ok(".hidden"));
	CHECK(!uvb_name_ok("a/b"));
	CHECK(!uvb_name_ok("a b"));
	CHECK(!uvb_name_ok("\xc3\xa4"));
}

static void
test_rundir(void)
{
	char path[PATH_MAX], sub[100];

	setenv("UVNET_RUNDIR", "relative", 1);
	CHECK_EQ(uvb_rundir(path, false, err), -EINVAL);
	snprintf(sub, sizeof(sub), "%s/run", dir);
	setenv("UVNET_RUNDIR", sub, 1);
	CHECK_EQ(uvb_fabric_open("absent", err), -ENOENT);
	CHECK_EQ(uvb_rundir(path, true, err), 0);
	CHECK_EQ(uvb_rundir(path, true, err), 0);
	CHECK(chmod(sub, 0777) == 0);
	CHECK_EQ(uvb_rundir(path, true, err), -EACCES);
	CHECK(strstr(err, "chmod 700") != NULL);
	rmdir(sub);
	close(open(sub, O_CREAT | O_WRONLY, 0600));
	CHECK_EQ(uvb_rundir(path, true, err), -ENOTDIR);
	unlink(sub);
}

static void
test_fd_high(void)
{
	int low = open("/dev/null", O_RDONLY), high = uvb_fd_high(low);

	CHECK(high > low);
	CHECK(fcntl(high, F_GETFD) & FD_CLOEXEC);
	CHECK_EQ(fcntl(low, F_GETFD), -1);
	close(high);
	CHECK_EQ(uvb_fd_high(-1), -1);
}

/* What a killed test has left goes when the next one makes its own. */
static void
test_scratch(void)
{
	char left[UVB_SCRATCH_LEN], own[UVB_SCRATCH_LEN], file[UVB_SCRATCH_LEN + 8];
	int pipefd[2], status;
	pid_t child;

	CHECK_EQ(pipe(pipefd), 0);
	child = fork();
	if (child == 0) {
		CHECK_EQ(uvb_scratch_make(left), 0);
		snprintf(file, sizeof(file), "%s/x", left);
		CHECK_EQ(mkdir(file, 0700), 0);
		CHECK_EQ(write(pipefd[1], left, sizeof(left)), sizeof(left));
		raise(SIGKILL);
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(read(pipefd[0], left, sizeof(left)), sizeof(left));
	CHECK_EQ(access(left, F_OK), 0);
	CHECK_EQ(uvb_scratch_make(own), 0);
	CHECK_EQ(access(left, F_OK), -1);
	CHECK_EQ(access(dir, F_OK), 0); /* of a process that lives */
	uvb_scratch_remove(own);
	close(pipefd[0]);
	close(pipefd[1]);
}

int
main(void)
{
	CHECK_EQ(uvb_scratch_make(dir), 0);
	dirfd = open(dir, O_PATH | O_DIRECTORY);
	RUN(test_layout);
	RUN(test_bad_numbers);
	RUN(test_create_and_open);
	RUN(test_damaged);
	RUN(test_names);
	RUN(test_rundir);
	RUN(test_fd_high);
	RUN(test_scratch);
	uvb_scratch_remove(dir);
	return 0;
}
