/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Death at every numbered point of the protocol (enum uvb_kill), as sender and receiver, under
 * traffic with a survivor: the survivor goes on, what it receives is whole and in order, the ledger
 * is clean. And the death of the daemon.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "uvbridge/test.h"

#define VICTIM   7 /* last bytes of MAC addresses */
#define SURVIVOR 1
#define THIRD    2
#define DEADLINE 5000000000ULL

static struct uvb_dev *survivor, *third;
static uint8_t buf[16384];

/* Send a frame that carries its number; now and then a long one. */
static void
send_numbered(struct uvb_dev *dev, uint8_t to, uint8_t from, uint32_t seq)
{
	uint32_t len = seq % 5 == 0 ? 5000 : 60 + seq % 1400;

	frame_make(buf, to, from, len, seq);
	memcpy(buf + 14, &seq, sizeof(seq));
	send_one(dev, 0, buf, len);
}

/* Take what is there. Of one source the numbers only grow, and every byte is as it was sent. */
static uint32_t
receive_checked(struct uvb_dev *dev, uint8_t from, uint32_t *last)
{
	static uint8_t got[16384], want[16384];
	struct uvb_rxq *q = uvb_rxq(dev, 0);
	struct uvb_rx_frame f[8];
	uint16_t n = uvb_rx_peek(q, f, 8);
	uint32_t count = 0, seq;

	for (uint16_t i = 0; i < n; i++) {
		CHECK_EQ(uvb_rx_read(q, &f[i], 0, got, sizeof(got)), f[i].len);
		if (got[11] != from)
			continue;
		memcpy(&seq, got + 14, sizeof(seq));
		CHECK(seq > *last);
		*last = seq;
		frame_make(want, got[5], from, f[i].len, seq);
		memcpy(want + 14, &seq, sizeof(seq));
		CHECK(memcmp(got, want, f[i].len) == 0);
		count++;
	}
	uvb_rx_done(q, 0);
	return count;
}

static void
sleep_a_little(struct uvb_dev *dev)
{
	struct uvb_rxq *q = uvb_rxq(dev, 0);
	struct pollfd pfd = {.fd = uvb_rxq_fd(q), .events = POLLIN};

	if (!uvb_rx_arm(q, false))
		return;
	poll(&pfd, 1, 1);
	uvb_rx_disarm(q);
}

/* The child: everything a port does, until it dies. */
static void
victim_run(int point, int after)
{
	struct uvb_dev *dev = port_up("victim", 1, 1, UVB_CONF_PROMISC);
	struct uvb_rule rule = {.serial = 1, .fate = UVB_FATE_PASS, .flags = UVB_RULE_COUNT};
	struct uvb_conf conf;
	uint32_t seq = 1, last = 0;

	uvb_conf_default(dev, &conf);
	conf.flags = UVB_CONF_STARTED | UVB_CONF_PROMISC | UVB_CONF_RULES;
	conf.mtu = 9000;
	kill_arm(point, after);
	for (uint64_t end = uvb_now_ns() + DEADLINE; uvb_now_ns() < end; seq++) {
		send_numbered(dev, SURVIVOR, VICTIM, seq);
		receive_checked(dev, SURVIVOR, &last);
		if (seq % 7 == 0)
			sleep_a_little(dev);
		if (seq % 16 == 0)
			uvb_conf_set(dev, &conf, NULL);
		if (seq % 16 == 8)
			uvb_rule_set(dev, (uint16_t)(seq / 16 % 8), &rule, NULL);
	}
	_exit(3); /* the point was never passed */
}

static void
survive_until_death(pid_t pid, uint32_t *seq)
{
	uint32_t last = 0;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		send_numbered(survivor, VICTIM, SURVIVOR, (*seq)++);
		receive_checked(survivor, VICTIM, &last);
		if (*seq % 5 == 0)
			sleep_a_little(survivor);
	}
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	for (int i = 0; i < 100; i++)
		receive_checked(survivor, VICTIM, &last);
}

static const struct uvb_port_shm *
find_port(const char *name)
{
	for (uint32_t i = 0; i < survivor->map.nb_ports; i++)
		if (strcmp(uvb_map_port(&survivor->map, i)->name, name) == 0)
			return uvb_map_port(&survivor->map, i);
	return NULL;
}

static void
wait_free(const char *name)
{
	const struct uvb_port_shm *p = find_port(name);
	uint64_t end = uvb_now_ns() + DEADLINE;

	while (p != NULL && UVB_LIFE_STATE(atomic_load(&p->life)) != UVB_PORT_FREE) {
		CHECK(uvb_now_ns() < end);
		nanosleep(&(struct timespec){0, 100000}, NULL);
	}
}

static void
check_survivors_talk(void)
{
	uint32_t last = 0;

	receive_all(survivor, 0);
	receive_all(third, 0);
	send_numbered(third, SURVIVOR, THIRD, 5);
	CHECK_EQ(receive_checked(survivor, THIRD, &last), 1);
	last = 0;
	send_numbered(survivor, THIRD, SURVIVOR, 5);
	CHECK_EQ(receive_checked(third, SURVIVOR, &last), 1);
}

static void
die_at(int point, int after)
{
	uint32_t seq = 1;
	pid_t pid;

	printf("  point %d, time %d\n", point, after);
	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		victim_run(point, after);
	survive_until_death(pid, &seq);
	wait_free("victim");
	/* A late frame to a slot that is not there any more. */
	send_numbered(survivor, VICTIM, SURVIVOR, seq);
	check_survivors_talk();
	fabric_check_ledger();
	CHECK_EQ(uvb_tx_free(uvb_txq(survivor, 0)), uvb_hdr(survivor)->cells_per_txq);
}

static void
test_die_everywhere(void)
{
	for (int point = UVB_KILL_NONE + 1; point < UVB_KILL_MAX; point++)
		for (int i = 0; i < 4; i++)
			die_at(point, i < 2 ? i : (int)(rnd() % 40));
}

/* ----------------------------------------------------------------------------------------- daemon
 */

static struct fabric fabric;

static pid_t
child_port(const char *name, int *line)
{
	int fds[2];
	pid_t pid;
	char c;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	pid = fork();
	if (pid == 0) {
		port_up(name, 1, 1, UVB_CONF_PROMISC);
		if (write(fds[1], "", 1) != 1 || read(fds[1], &c, 1) < 0)
			_exit(1);
		_exit(0);
	}
	CHECK(read(fds[0], &c, 1) == 1);
	close(fds[1]);
	*line = fds[0];
	return pid;
}

static void
kill_wait(pid_t pid)
{
	kill(pid, SIGKILL);
	CHECK(waitpid(pid, NULL, 0) == pid);
}

/* Ports live on without a daemon; the next one keeps those that live and reclaims those that died.
 */
static void
test_daemon_dies(void)
{
	struct uvb_attach req = {
		.fabric = FABRIC, .name = "late", .nb_rxq = 1, .nb_txq = 1, .kind = UVB_KIND_WIRE};
	char err[UVB_ERR_LEN];
	struct uvb_dev *late;
	struct pollfd pfd = {.fd = uvb_control_fd(survivor), .events = POLLIN};
	pid_t dies;
	int go;

	dies = child_port("dies", &go);
	kill(fabric.daemon, SIGKILL);
	CHECK_EQ(poll(&pfd, 1, 2000), 1); /* it is told */
	CHECK(uvb_link(survivor));
	check_survivors_talk();
	CHECK_EQ(uvb_open(&req, &late, err), -ECONNREFUSED);
	kill_wait(dies);
	close(go);
	CHECK_EQ(UVB_LIFE_STATE(atomic_load(&find_port("dies")->life)), UVB_PORT_UP);
	fabric_restart(&fabric);
	CHECK_EQ(UVB_LIFE_STATE(atomic_load(&find_port("dies")->life)), UVB_PORT_FREE);
	CHECK(uvb_link(survivor));
	check_survivors_talk();
	CHECK_EQ(uvb_open(&req, &late, err), 0);
	/* Attached under the old daemon, detached under the new one. */
	uvb_close(third);
	CHECK_EQ(UVB_LIFE_STATE(atomic_load(&find_port("third")->life)), UVB_PORT_FREE);
	third = port_up("third", 1, 1, UVB_CONF_PROMISC);
	check_survivors_talk();
	uvb_close(late);
}

/* An adopted port has no connection; its death is seen all the same. */
static void
test_adopted_port_dies(void)
{
	int go;
	pid_t pid = child_port("adopted", &go);

	kill(fabric.daemon, SIGKILL);
	fabric_restart(&fabric);
	CHECK_EQ(UVB_LIFE_STATE(atomic_load(&find_port("adopted")->life)), UVB_PORT_UP);
	kill_wait(pid);
	close(go);
	wait_free("adopted");
}

static void
test_traffic_while_stopped(void)
{
	kill(fabric.daemon, SIGSTOP);
	for (int i = 0; i < 100; i++)
		check_survivors_talk();
	CHECK(uvb_link(survivor));
	kill(fabric.daemon, SIGCONT);
}

/* An application that closes all descriptors it knows nothing of does not lose its port. */
static void
test_connection_closed_by_owner(void)
{
	uint64_t end;

	close(third->control);
	end = uvb_now_ns() + 100000000ULL;
	while (uvb_now_ns() < end)
		check_survivors_talk();
	CHECK(uvb_link(third));
	third->control = -1;
	uvb_close(third);
	CHECK_EQ(UVB_LIFE_STATE(atomic_load(&find_port("third")->life)), UVB_PORT_FREE);
	third = port_up("third", 1, 1, UVB_CONF_PROMISC);
}

/* A forked child is not the port: its end is not the port's. */
static void
test_fork(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		uvb_close(survivor);
		uvb_forget(third);
		_exit(0);
	}
	CHECK(waitpid(pid, NULL, 0) == pid);
	check_survivors_talk();
	CHECK(uvb_link(survivor));
}

int
main(void)
{
	static const char *const args[] = {"--ports", "8",     "--queues", "2", "--cells",
					   "256",     "--voq", "64",       NULL};

	seed_init();
	fabric_up(&fabric, args);
	survivor = port_up("survivor", 1, 1, UVB_CONF_PROMISC);
	third = port_up("third", 1, 1, UVB_CONF_PROMISC);
	RUN(test_die_everywhere);
	RUN(test_daemon_dies);
	RUN(test_adopted_port_dies);
	RUN(test_traffic_while_stopped);
	RUN(test_connection_closed_by_owner);
	RUN(test_fork);
	uvb_close(survivor);
	uvb_close(third);
	fabric_down(&fabric);
	return 0;
}
