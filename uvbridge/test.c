/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the unit tests share.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "uvbridge/test.h"

static uint64_t state;

void
seed_init(void)
{
	const char *env = getenv("UVB_SEED");
	uint64_t seed = 0;

	if (env != NULL)
		seed = strtoull(env, NULL, 0);
	else if (getrandom(&seed, sizeof(seed), 0) < 0)
		seed = uvb_now_ns();
	printf("UVB_SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
	state = seed;
}

uint64_t
rnd(void) /* splitmix64 */
{
	uint64_t z = (state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* ---------------------------------------------------------------------------------------- fabric
 */

static void
daemon_exec(const struct fabric *f, int ready)
{
	const char *exe = getenv("UVBRIDGED");
	const char *argv[24] = {exe, "--ready-fd"};
	char fd[12];
	int n = 2;

	CHECK(exe != NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
	snprintf(fd, sizeof(fd), "%d", ready);
	argv[n++] = fd;
	for (int i = 0; f->args != NULL && f->args[i] != NULL && n < 22; i++)
		argv[n++] = f->args[i];
	argv[n++] = FABRIC;
	execv(exe, (char *const *)argv);
	perror(exe);
	_exit(127);
}

static void
daemon_start(struct fabric *f)
{
	int pipefd[2];
	char line[300] = "";

	CHECK(pipe(pipefd) == 0);
	fcntl(pipefd[0], F_SETFD, FD_CLOEXEC);
	f->daemon = fork();
	CHECK(f->daemon >= 0);
	if (f->daemon == 0)
		daemon_exec(f, pipefd[1]);
	close(pipefd[1]);
	CHECK(read(pipefd[0], line, sizeof(line) - 1) > 0);
	close(pipefd[0]);
	if (line[0] != '\n')
		fprintf(stderr, "uvbridged: %s", line);
	CHECK(line[0] == '\n');
}

static char dir_made[UVB_SCRATCH_LEN];
static pid_t dir_maker;

static void
remove_dir_made(void)
{
	if (getpid() == dir_maker) /* and not a child of a test */
		uvb_scratch_remove(dir_made);
}

void
fabric_up(struct fabric *f, const char *const *args)
{
	CHECK_EQ(uvb_scratch_make(f->dir), 0);
	setenv("UVNET_RUNDIR", f->dir, 1);
	memcpy(dir_made, f->dir, sizeof(dir_made));
	dir_maker = getpid();
	atexit(remove_dir_made);
	f->args = args;
	daemon_start(f);
}

void
fabric_restart(struct fabric *f)
{
	CHECK(waitpid(f->daemon, NULL, 0) == f->daemon);
	daemon_start(f);
}

void
fabric_check_ledger(void)
{
	struct uvb_ledger l;
	struct uvb_map map;
	char err[UVB_ERR_LEN];
	int dirfd = uvb_fabric_open(FABRIC, err);

	CHECK(dirfd >= 0);
	CHECK_EQ(uvb_map_open(&map, dirfd, false, err), 0);
	for (int i = 0; i < 20; i++) { /* late frames wait for the daemon's tick */
		l = (struct uvb_ledger){.offenders = i == 19 ? stderr : NULL};
		CHECK_EQ(uvb_ledger(&map, &l), 0);
		if (l.leaked == 0 && l.stale == 0)
			break;
		nanosleep(&(struct timespec){0, 50000000}, NULL);
	}
	CHECK_EQ(l.leaked, 0);
	CHECK_EQ(l.stale, 0);
	uvb_map_close(&map);
	close(dirfd);
}

void
fabric_down(struct fabric *f)
{
	fabric_check_ledger();
	kill(f->daemon, SIGTERM);
	CHECK(waitpid(f->daemon, NULL, 0) == f->daemon);
}

/* ----------------------------------------------------------------------------------------- ports
 */

struct uvb_dev *
port_up_as(const struct uvb_attach *req, uint32_t flags, uint16_t mtu)
{
	char err[UVB_ERR_LEN] = "";
	struct uvb_conf conf;
	struct uvb_dev *dev;

	if (uvb_open(req, &dev, err) != 0) {
		fprintf(stderr, "%s: %s\n", req->name, err);
		exit(1);
	}
	uvb_conf_default(dev, &conf);
	conf.flags = UVB_CONF_STARTED | flags;
	conf.mtu = mtu;
	CHECK_EQ(uvb_conf_set(dev, &conf, err), 0);
	return dev;
}

struct uvb_dev *
port_up(const char *name, uint16_t nb_rxq, uint16_t nb_txq, uint32_t flags)
{
	const struct uvb_attach req = {.fabric = FABRIC,
				       .name = name,
				       .nb_rxq = nb_rxq,
				       .nb_txq = nb_txq,
				       .kind = UVB_KIND_WIRE};

	return port_up_as(&req, flags, 9216);
}

uint32_t
frame_make(uint8_t *buf, uint8_t dst, uint8_t src, uint32_t len, uint32_t seq)
{
	static const uint8_t prefix[5] = {2, 0, 0, 0, 0};

	memcpy(buf, prefix, 5);
	buf[5] = dst;
	memcpy(buf + 6, prefix, 5);
	buf[11] = src;
	buf[12] = 0x88; /* an ethertype for experiments: not hashed */
	buf[13] = 0xb5;
	for (uint32_t i = 14; i < len; i++)
		buf[i] = (uint8_t)(seq * 7 + i);
	return len;
}

uint16_t
send_one(struct uvb_dev *dev, uint16_t txq, const void *data, uint32_t len)
{
	struct uvb_seg seg = {data, len};
	struct uvb_frame f = {&seg, 1, 0, len};

	return uvb_tx_burst(uvb_txq(dev, txq), &f, 1);
}

uint32_t
receive_all(struct uvb_dev *dev, uint16_t rxq)
{
	struct uvb_rx_frame f[64];
	uint32_t total = 0;
	uint16_t n;

	while ((n = uvb_rx_peek(uvb_rxq(dev, rxq), f, 64)) != 0) {
		uvb_rx_done(uvb_rxq(dev, rxq), 0);
		total += n;
	}
	return total;
}

/* ------------------------------------------------------------------------------------- kill points
 */

static int kill_at, kill_after;

void
kill_arm(int point, int after)
{
	kill_at = point;
	kill_after = after;
}

void
uvb_kill_point(int n)
{
	if (n == kill_at && kill_after-- <= 0)
		raise(SIGKILL);
}
