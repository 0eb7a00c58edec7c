/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One port, several processes: who keeps it alive, and what the death of one of them does to the
 * others. A member dies at every numbered point of the protocol (enum uvb_kill), its queues are
 * reset by the port's owner and used again at once, while the owner's own queue goes on.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "uvbridge/test.h"

#define DEADLINE   5000000000ULL
#define OWN_QUEUE  0 /* of the shared port: its owner's */
#define THEIRS     1 /* of who joins */
#define SHARED_MAC 5 /* last byte of the shared port's address */
#define PEER_MAC   6
#define OWNERS     0x80000000u /* in the numbers of frames that the shared port's owner sends */

static struct fabric fabric;
static struct uvb_dev *owner, *peer;
static uint8_t buf[16384];

static void
nap(void)
{
	nanosleep(&(struct timespec){0, 200000}, NULL);
}

static void
wait_for(bool (*done)(uint32_t port), uint32_t port)
{
	uint64_t end = uvb_now_ns() + DEADLINE;

	while (!done(port)) {
		CHECK(uvb_now_ns() < end);
		nap();
	}
}

/* ---------------------------------------------------------------------------------- the two ports
 */

/* All to one queue: frames without a hash go to queue 0, so the RETA does not matter; what is for
 * THEIRS is hashed. */
static void
configure(struct uvb_dev *dev, uint8_t mac, bool all_to_theirs)
{
	struct uvb_conf conf;
	char err[UVB_ERR_LEN] = "";

	uvb_conf_default(dev, &conf);
	conf.flags = UVB_CONF_STARTED;
	conf.mtu = 9000;
	memcpy(conf.mac[0], (const uint8_t[]){2, 0, 0, 0, 0, mac}, 6);
	for (uint32_t i = 0; all_to_theirs && i < conf.reta_size; i++)
		conf.reta[i] = THEIRS;
	CHECK_EQ(uvb_conf_set(dev, &conf, err), 0);
}

static struct uvb_dev *
attach(const char *name, uint16_t queues, bool shared)
{
	struct uvb_attach req = {.fabric = FABRIC,
				 .name = name,
				 .nb_rxq = queues,
				 .nb_txq = queues,
				 .kind = UVB_KIND_WIRE,
				 .joinable = true,
				 .shared = shared};
	char err[UVB_ERR_LEN] = "";
	struct uvb_dev *dev;
	int rc = uvb_open(&req, &dev, err);

	if (rc != 0)
		fprintf(stderr, "%s\n", err);
	CHECK_EQ(rc, 0);
	return dev;
}

static struct uvb_join
join_of(const struct uvb_dev *dev)
{
	return (struct uvb_join){.fabric = uvb_path(dev),
				 .epoch = uvb_hdr(dev)->epoch,
				 .gen = uvb_gen(dev),
				 .port = uvb_id(dev)};
}

static struct uvb_dev *
join(const struct uvb_join *req)
{
	char err[UVB_ERR_LEN] = "";
	struct uvb_dev *dev;
	int rc = uvb_join(req, &dev, err);

	if (rc != 0)
		fprintf(stderr, "%s\n", err);
	CHECK_EQ(rc, 0);
	return dev;
}

/* Frames that are hashed: IPv4 with addresses. */
static uint32_t
make(uint8_t dst, uint8_t src, uint32_t len, uint32_t seq)
{
	frame_make(buf, dst, src, len, seq);
	buf[12] = 8;
	buf[13] = 0;
	buf[14] = 0x45;
	memcpy(buf + 40, &seq, sizeof(seq));
	return len;
}

static bool
send_numbered(struct uvb_dev *dev, uint16_t txq, uint8_t dst, uint8_t src, uint32_t seq)
{
	uint32_t len = make(dst, src, seq % 5 == 0 ? 5000 : 60 + seq % 1400, seq);

	return send_one(dev, txq, buf, len) == 1;
}

/* Take what is there. The numbers of one sender only grow: those of the owner have the highest bit
 * set. */
static uint32_t
receive_numbered(struct uvb_dev *dev, uint16_t rxq, uint32_t last[2])
{
	struct uvb_rxq *q = uvb_rxq(dev, rxq);
	struct uvb_rx_frame f[8];
	uint16_t n = uvb_rx_peek(q, f, 8);
	uint32_t seq;

	for (uint16_t i = 0; i < n; i++) {
		CHECK_EQ(uvb_rx_read(q, &f[i], 40, &seq, sizeof(seq)), sizeof(seq));
		CHECK(seq > last[seq >> 31]);
		last[seq >> 31] = seq;
	}
	uvb_rx_done(q, 0);
	return n;
}

/* --------------------------------------------------------------------------------- other processes
 */

/* A child that runs until the test lets go of it. */
struct child {
	pid_t pid;
	int line;
};

static void
say(int line)
{
	CHECK_EQ(write(line, "", 1), 1);
}

static bool
heard(int line)
{
	char c;

	return read(line, &c, 1) == 1;
}

static struct child
spawn(void (*run)(const struct uvb_join *req, int line), const struct uvb_join *req)
{
	struct child c;
	int fds[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	c.pid = fork();
	CHECK(c.pid >= 0);
	if (c.pid == 0) {
		close(fds[0]);
		run(req, fds[1]);
		_exit(0);
	}
	close(fds[1]);
	c.line = fds[0];
	CHECK(heard(c.line));
	return c;
}

static void
end_child(struct child *c, int sig)
{
	if (sig != 0)
		kill(c->pid, sig);
	close(c->line);
	CHECK(waitpid(c->pid, NULL, 0) == c->pid);
}

static void
idle_member(const struct uvb_join *req, int line)
{
	struct uvb_dev *dev = join(req);

	say(line);
	heard(line);
	uvb_close(dev);
}

/* ------------------------------------------------------------------------------- life of the port
 */

static bool
is_free(uint32_t port)
{
	return UVB_LIFE_STATE(atomic_load(&uvb_map_port(&peer->map, port)->life)) == UVB_PORT_FREE;
}

static bool
is_down(uint32_t port)
{
	return UVB_LIFE_STATE(atomic_load(&uvb_map_port(&peer->map, port)->life)) == UVB_PORT_DOWN;
}

static bool
alone(uint32_t port)
{
	for (uint32_t i = UVB_OWNER_SLOT + 1; i < UVB_MEMBERS_MAX; i++)
		if (uvb_map_port(&peer->map, port)->member[i].pid != 0)
			return false;
	return true;
}

static bool
ownerless(uint32_t port)
{
	return uvb_map_port(&peer->map, port)->member[UVB_OWNER_SLOT].pid == 0;
}

/* A child that attaches a port, tells which, and dies when told. */
struct told {
	struct uvb_join join;
	char path[PATH_MAX];
};

static bool owned_is_shared;

/* Attach, tell the test which port it is, and go on when it says so. */
static struct uvb_dev *
own(int line, bool shared)
{
	struct uvb_dev *dev = attach("owned", 2, shared);
	struct told t = {.join = join_of(dev)};

	configure(dev, 9, true);
	snprintf(t.path, sizeof(t.path), "%s", uvb_path(dev));
	say(line);
	CHECK_EQ(write(line, &t, sizeof(t)), sizeof(t));
	heard(line);
	return dev;
}

static void
owner_run(const struct uvb_join *unused, int line)
{
	(void)unused;
	uvb_close(own(line, owned_is_shared));
}

static struct child
spawn_owner(bool shared, struct told *t)
{
	struct child c;

	owned_is_shared = shared;
	c = spawn(owner_run, NULL);
	CHECK_EQ(read(c.line, t, sizeof(*t)), sizeof(*t));
	t->join.fabric = t->path;
	return c;
}

static bool
gets_through(struct uvb_dev *dev, uint8_t mac)
{
	uint32_t last[2] = {0};

	CHECK(send_numbered(peer, 0, mac, PEER_MAC, 1));
	return receive_numbered(dev, THEIRS, last) == 1;
}

static void
talk_both_ways(struct uvb_dev *dev, uint8_t mac)
{
	uint32_t last[2] = {0};

	CHECK(gets_through(dev, mac));
	CHECK(send_numbered(dev, THEIRS, PEER_MAC, mac, 1));
	CHECK_EQ(receive_numbered(peer, 0, last), 1);
}

static void
wait_ticks(int n)
{
	const struct uvb_hdr *h = uvb_map_hdr(&peer->map);

	while (n-- > 0)
		for (uint64_t beat = uvb_load(&h->daemon_beat); uvb_load(&h->daemon_beat) == beat;)
			nap();
}

/* The link goes with the owner; the slot is free when the last process has left. */
static void
test_owner_dies(void)
{
	struct told t;
	struct child c = spawn_owner(false, &t);
	struct uvb_dev *dev = join(&t.join);
	struct uvb_rx_frame f;

	CHECK(uvb_rxq_take(dev, THEIRS) != NULL && uvb_txq_take(dev, THEIRS) != NULL);
	talk_both_ways(dev, 9);
	/* Asleep, so that what comes is announced. */
	CHECK(uvb_rx_arm(uvb_rxq(dev, THEIRS), false));
	CHECK(send_numbered(peer, 0, 9, PEER_MAC, 2));
	end_child(&c, SIGKILL);
	wait_for(is_down, t.join.port);
	CHECK(!uvb_link(dev));
	wait_ticks(2);
	CHECK_EQ(uvb_rx_count(uvb_rxq(dev, THEIRS)), 1); /* still the member's queue */
	CHECK_EQ(uvb_rx_peek(uvb_rxq(dev, THEIRS), &f, 1), 0);
	CHECK_EQ(send_one(dev, THEIRS, buf, make(PEER_MAC, 9, 60, 1)), 0);
	CHECK_EQ(uvb_rxq_reset(dev, THEIRS), -ENODEV);
	uvb_close(dev);
	wait_for(is_free, t.join.port);
	fabric_check_ledger();
}

/* A shared port lives on, its configuration cannot be changed, somebody can adopt it. */
static void
test_shared_port_lives_on(void)
{
	struct told t;
	struct child c = spawn_owner(true, &t);
	struct uvb_dev *dev = join(&t.join), *heir;
	struct uvb_attach adopt = {.fabric = FABRIC,
				   .name = "owned",
				   .kind = UVB_KIND_WIRE,
				   .shared = true,
				   .adopt = true};
	struct uvb_conf conf, kept;
	char err[UVB_ERR_LEN];

	CHECK(uvb_rxq_take(dev, THEIRS) != NULL && uvb_txq_take(dev, THEIRS) != NULL);
	CHECK_EQ(uvb_open(&adopt, &heir, err), -EBUSY);
	end_child(&c, SIGKILL);
	wait_for(ownerless, t.join.port);
	CHECK(uvb_link(dev));
	talk_both_ways(dev, 9);
	CHECK_EQ(uvb_conf_get(dev, &kept), 0);
	CHECK_EQ(uvb_conf_set(dev, &kept, err), -EPERM);

	CHECK_EQ(uvb_open(&adopt, &heir, err), 0);
	CHECK_EQ(uvb_gen(heir), t.join.gen);
	CHECK(uvb_rxq(heir, THEIRS) == NULL); /* not taken: another's */
	CHECK_EQ(uvb_conf_get(heir, &conf), 0);
	CHECK(memcmp(&conf, &kept, sizeof(conf)) == 0);
	conf.mac[0][5] = 10;
	CHECK_EQ(uvb_conf_set(heir, &conf, err), 0);
	talk_both_ways(dev, 10);
	/* Its end by its own wish is the port's. */
	uvb_close(heir);
	wait_for(is_down, t.join.port);
	uvb_close(dev);
	wait_for(is_free, t.join.port);
	CHECK_EQ(uvb_open(&adopt, &heir, err), -ENOENT);
	fabric_check_ledger();
}

/* Without an owner it dies with the last member, in whichever way that goes. */
static void
test_last_member_goes(void)
{
	static const int how[] = {0, SIGKILL};

	for (size_t i = 0; i < 2; i++) {
		struct told t;
		struct child c = spawn_owner(true, &t), m = spawn(idle_member, &t.join);

		end_child(&c, SIGKILL);
		wait_for(ownerless, t.join.port);
		CHECK(!is_free(t.join.port) && !is_down(t.join.port));
		end_child(&m, how[i]);
		wait_for(is_free, t.join.port);
	}
	fabric_check_ledger();
}

/* The next daemon finds the members that live, and misses those that do not. */
static void
test_daemon_restarts(void)
{
	struct told t;
	struct child c = spawn_owner(true, &t), m = spawn(idle_member, &t.join);
	struct child stays = spawn(idle_member, &t.join);
	struct uvb_dev *dev = join(&t.join);

	kill(fabric.daemon, SIGKILL);
	end_child(&c, SIGKILL);
	end_child(&m, SIGKILL);
	fabric_restart(&fabric);
	wait_for(ownerless, t.join.port);
	CHECK(uvb_link(dev));
	uvb_close(dev); /* joined under the old daemon, leaves under the new one */
	CHECK(!is_free(t.join.port));
	end_child(&stays, SIGKILL);
	wait_for(is_free, t.join.port);
}

static void
test_refusals(void)
{
	struct uvb_join req = join_of(owner);
	struct uvb_dev *dev, *many[UVB_MEMBERS_MAX];
	char err[UVB_ERR_LEN];
	uint32_t n = 0;
	int rc;

	req.gen++;
	CHECK_EQ(uvb_join(&req, &dev, err), -ESTALE);
	req = join_of(owner);
	req.epoch++;
	CHECK_EQ(uvb_join(&req, &dev, err), -ESTALE);
	CHECK(strstr(err, "up again") != NULL);
	req = join_of(owner);
	req.port = UVB_MAX_PORTS;
	CHECK_EQ(uvb_join(&req, &dev, err), -ESTALE);

	req = join_of(peer);
	CHECK_EQ(uvb_join(&req, &dev, err), -EPERM);
	CHECK(strstr(err, "may join") != NULL);

	req = join_of(owner);
	while ((rc = uvb_join(&req, &many[n], err)) == 0)
		n++;
	CHECK_EQ(rc, -ENOSPC);
	CHECK_EQ(n, UVB_MEMBERS_MAX - 1);
	while (n-- > 0)
		uvb_close(many[n]);
	CHECK(alone(uvb_id(owner)));

	/* Who only looks needs no daemon and has no queues. */
	req.look = true;
	kill(fabric.daemon, SIGSTOP);
	dev = join(&req);
	CHECK(uvb_link(dev));
	CHECK(uvb_rxq_take(dev, 0) == NULL && uvb_txq_take(dev, 0) == NULL);
	CHECK_EQ(uvb_rxq_reset(dev, 0), -EPERM);
	uvb_close(dev);
	kill(fabric.daemon, SIGCONT);
	CHECK(uvb_link(owner));
}

/* Who has said that it follows the clock is waited for, in a queue that it takes later as well. */
static void
test_follower_takes_a_queue(void)
{
	struct uvb_join req = join_of(owner);
	struct uvb_dev *dev = join(&req);
	const struct uvb_rxq_shm *q = uvb_map_rxq(&dev->map, dev->id, THEIRS);

	CHECK(uvb_rxq_take(dev, THEIRS) != NULL);
	CHECK_EQ(atomic_load(&q->idle_until), 0);
	uvb_idle(dev, UVB_BUSY);
	CHECK_EQ(atomic_load(&q->idle_until), UVB_BUSY);
	CHECK(uvb_rxq_take(dev, THEIRS) != NULL);
	CHECK_EQ(atomic_load(&q->idle_until), UVB_BUSY);
	uvb_close(dev);
	CHECK(alone(uvb_id(owner)));
}

/* --------------------------------------------------------------------------------- death in a
 * queue
 */

static int kill_point, kill_time;

/* Everything a member does with its queues, until it dies. */
static void
victim_run(const struct uvb_join *req, int line)
{
	struct uvb_dev *dev = join(req);
	struct uvb_rxq *q = uvb_rxq_take(dev, THEIRS);
	uint32_t seq = 1, last[2] = {0};

	CHECK(q != NULL && uvb_txq_take(dev, THEIRS) != NULL);
	say(line);
	kill_arm(kill_point, kill_time);
	for (uint64_t end = uvb_now_ns() + DEADLINE; uvb_now_ns() < end; seq++) {
		send_numbered(dev, THEIRS, PEER_MAC, SHARED_MAC, seq);
		receive_numbered(dev, THEIRS, last);
		if (seq % 7 == 0 && uvb_rx_arm(q, false))
			uvb_rx_disarm(q);
	}
	_exit(3);
}

/* Frames ever published to a queue; what its counters say has become of them. */
static uint64_t
published(const struct uvb_dev *dev, uint16_t rxq)
{
	uint64_t n = 0;

	for (uint32_t s = 0; s < dev->map.nb_ports; s++)
		for (uint32_t t = 0; t < dev->map.nb_queues; t++)
			n += uvb_load(&uvb_map_voq(&dev->map, dev->id, rxq, s, t)->packets);
	return n;
}

static uint64_t
accounted(const struct uvb_dev *dev, uint16_t rxq)
{
	struct uvb_rxq_stats s;

	uvb_rxq_stats(dev, rxq, &s);
	return s.packets + s.nombuf + s.stale + s.bad + s.lost;
}

/* The owner's own queue goes on while the victim runs and dies. */
static void
serve_until_death(struct child *c)
{
	uint32_t seq = 0, last[2] = {0};
	int status;

	while (waitpid(c->pid, &status, WNOHANG) == 0) {
		send_numbered(peer, 0, SHARED_MAC, PEER_MAC, ++seq);
		CHECK(send_numbered(owner, OWN_QUEUE, PEER_MAC, SHARED_MAC, OWNERS | seq));
		while (last[1] != (OWNERS | seq))
			receive_numbered(peer, 0, last);
		if (uvb_rx_arm(uvb_rxq(peer, 0), false)) {
			nap(); /* for somebody to ring */
			uvb_rx_disarm(uvb_rxq(peer, 0));
		}
	}
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	close(c->line);
}

/* What the owner does for a dead member, itself killed in the midst of it now and then. */
static void
repair(void)
{
	CHECK_EQ(uvb_rxq_reset(owner, THEIRS), 0);
	CHECK_EQ(uvb_txq_reset(owner, THEIRS), 0);
}

static void
repairer_run(const struct uvb_join *req, int line)
{
	struct uvb_dev *dev = join(req);

	say(line);
	kill_arm(kill_point, kill_time);
	uvb_rxq_reset(dev, THEIRS);
	uvb_txq_reset(dev, THEIRS);
	_exit(3);
}

static void
queues_are_as_new(void)
{
	struct uvb_join req = join_of(owner);
	struct uvb_dev *next = join(&req);

	CHECK(uvb_rxq_take(next, THEIRS) != NULL && uvb_txq_take(next, THEIRS) != NULL);
	CHECK_EQ(uvb_rx_count(uvb_rxq(next, THEIRS)), 0);
	CHECK_EQ(uvb_tx_free(uvb_txq(next, THEIRS)), uvb_hdr(next)->cells_per_txq);
	/* Whatever the last one had announced or armed: the next one hears of what is for it. */
	CHECK(uvb_rx_arm(uvb_rxq(next, THEIRS), false));
	CHECK(send_numbered(peer, 0, SHARED_MAC, PEER_MAC, 3));
	uvb_rx_disarm(uvb_rxq(next, THEIRS));
	CHECK_EQ(receive_all(next, THEIRS), 1);
	talk_both_ways(next, SHARED_MAC);
	uvb_close(next);
}

static void
empty_peer(void)
{
	while (receive_all(peer, 0) != 0)
		;
}

static void
die_at(int point, int after, bool repairer_dies)
{
	struct uvb_join req = join_of(owner);
	struct child c;
	uint64_t before = accounted(owner, THEIRS), sent = published(owner, THEIRS);

	printf("  point %d, time %d%s\n", point, after, repairer_dies ? ", and its repairer" : "");
	fflush(stdout);
	kill_point = point;
	kill_time = after;
	c = spawn(victim_run, &req);
	serve_until_death(&c);
	wait_for(alone, uvb_id(owner));
	CHECK(uvb_link(owner));
	if (repairer_dies) {
		kill_point = UVB_KILL_RESET_VOQ +
			     (int)(rnd() % (UVB_KILL_RESET_MAX - UVB_KILL_RESET_VOQ));
		kill_time = 0;
		c = spawn(repairer_run, &req);
		end_child(&c, 0);
		wait_for(alone, uvb_id(owner));
	}
	repair();
	empty_peer();
	fabric_check_ledger();
	/* Every frame has a counter, but for those the dead had in their hands. */
	sent = published(owner, THEIRS) - sent;
	before = accounted(owner, THEIRS) - before;
	CHECK(before <= sent + 8 && sent <= before + (repairer_dies ? 64 : 8));
	queues_are_as_new();
}

static void
test_die_everywhere(void)
{
	/* From there on they are the owner's alone. */
	for (int point = UVB_KILL_NONE + 1; point < UVB_KILL_CONF; point++)
		for (int i = 0; i < 3; i++)
			die_at(point, i < 2 ? i : (int)(rnd() % 40), i == 1);
}

static void
conf_writer_run(const struct uvb_join *unused, int line)
{
	struct uvb_dev *dev = own(line, true);

	(void)unused;
	kill_arm(UVB_KILL_CONF, 0);
	configure(dev, 11, true);
	_exit(3);
}

/* A configuration that was being written when its writer died was never in force. */
static void
test_owner_dies_configuring(void)
{
	struct child c = spawn(conf_writer_run, NULL);
	struct uvb_dev *dev;
	struct told t;

	CHECK_EQ(read(c.line, &t, sizeof(t)), sizeof(t));
	t.join.fabric = t.path;
	dev = join(&t.join);
	CHECK(uvb_rxq_take(dev, THEIRS) != NULL && uvb_txq_take(dev, THEIRS) != NULL);
	end_child(&c, 0);
	wait_for(ownerless, t.join.port);
	/* Also for a sender that has not sent to it before. */
	uvb_close(peer);
	peer = port_up("peer", 1, 1, 0);
	configure(peer, PEER_MAC, false);
	talk_both_ways(dev, 9);
	uvb_close(dev);
	wait_for(is_free, t.join.port);
}

int
main(void)
{
	static const char *const args[] = {"--ports", "8",     "--queues", "2", "--cells",
					   "256",     "--voq", "64",       NULL};

	seed_init();
	fabric_up(&fabric, args);
	peer = port_up("peer", 1, 1, 0);
	configure(peer, PEER_MAC, false);
	owner = attach("shared", 2, false);
	configure(owner, SHARED_MAC, true);
	RUN(test_owner_dies);
	RUN(test_shared_port_lives_on);
	RUN(test_last_member_goes);
	RUN(test_daemon_restarts);
	RUN(test_refusals);
	RUN(test_follower_takes_a_queue);
	RUN(test_die_everywhere);
	RUN(test_owner_dies_configuring);
	uvb_close(owner);
	uvb_close(peer);
	fabric_down(&fabric);
	return 0;
}
