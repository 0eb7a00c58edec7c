/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Kills a port, or the daemon, at every instruction of the fabric's protocol (harness/step/kill.h).
 *
 * There are two survivors, a and b, and the victim v. While v stands still at the place of its
 * death, a and b talk, and a sends to v. Then v is killed, the daemon's own code adopts the fabric
 * as after a restart, and
 *  - every frame that v had published, and no other, is received by a and b, whole, by the rules:
 *    who sleeps looks only when its bell has rung;
 *  - v's port is free, the name attaches again, gets nothing that was for its predecessor, and
 *    talks to both;
 *  - at the end every cell of the fabric is free.
 */
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "harness/step/kill.h"
#include "uvbridge/lab.h"
#include "uvbridge/proc.h"
#include "uvbridge/test.h"

#define A      1 /* last bytes of MAC addresses, and places in dev[] */
#define B      2
#define V      3
#define NOBODY 0x3fffffff /* a process that there is not */
#define LONG   5000       /* bytes: three cells */

static struct lab lab;
static struct uvb_dev *dev[4];
static bool daemon_is_victim; /* and v is dead already */
static bool naming;           /* the name is being written to the slot: it may be lost */

static const char *const names[] = {"", "a", "b", "v"};

/* ----------------------------------------------------------------------------------------- talk */

/* A frame that carries its number. */
static uint32_t
numbered(uint8_t *buf, uint8_t to, uint8_t from, uint32_t len, uint32_t seq)
{
	frame_make(buf, to, from, len, seq);
	if (to == 0xff)
		memset(buf, 0xff, 6);
	memcpy(buf + 14, &seq, sizeof(seq));
	return len;
}

static void
say(uint8_t from, uint8_t to, uint32_t len, uint32_t seq)
{
	static uint8_t buf[UVB_FRAME_MAX];

	numbered(buf, to, from, len, seq);
	if (send_one(dev[from], 0, buf, len) != 1)
		kill_stall("%s cannot send", names[from]);
}

static void
check_whole(const struct uvb_rxq *q, const struct uvb_rx_frame *f)
{
	static uint8_t got[UVB_FRAME_MAX], want[UVB_FRAME_MAX];
	uint32_t seq;

	if (uvb_rx_read(q, f, 0, got, sizeof(got)) != f->len)
		kill_stall("a frame that ends early");
	memcpy(&seq, got + 14, sizeof(seq));
	numbered(want, got[5], got[11], f->len, seq);
	if (memcmp(got, want, f->len) != 0)
		kill_stall("a frame that is not as it was sent");
}

/* Everything that waits, as a receiver that polls. Returns how many frames of port `src`. */
static uint32_t
hear(uint8_t at, const struct uvb_dev *src)
{
	struct uvb_rxq *q = uvb_rxq(dev[at], 0);
	struct uvb_rx_frame f[16];
	uint32_t count = 0;
	uint16_t n;

	while ((n = uvb_rx_peek(q, f, 16)) != 0) {
		for (uint16_t i = 0; i < n; i++) {
			check_whole(q, &f[i]);
			count += f[i].src_port == uvb_id(src);
		}
		uvb_rx_done(q, 0);
	}
	return count;
}

static bool
asleep(uint8_t at)
{
	return uvb_load(&uvb_map_rxq(&lab.daemon.map, uvb_id(dev[at]), 0)->armed) & 1;
}

/* One that may be asleep gets up only when it is rung. */
static uint32_t
wake_and_hear(uint8_t at, const struct uvb_dev *src)
{
	struct pollfd pfd = {.fd = uvb_rxq_fd(uvb_rxq(dev[at], 0)), .events = POLLIN};

	if (asleep(at)) {
		if (poll(&pfd, 1, 0) == 0)
			return 0;
		uvb_rx_disarm(uvb_rxq(dev[at], 0));
	}
	return hear(at, src);
}

static void
talk(uint8_t from, uint8_t to, uint32_t len)
{
	static uint32_t seq = 100;
	uint32_t n;

	hear(to, dev[from]);
	say(from, to, len, seq++);
	n = hear(to, dev[from]);
	if (n != 1)
		kill_stall("frame %u, from %s to %s: %u arrived", seq - 1, names[from], names[to],
			   n);
}

/* ---------------------------------------------------------------------------------------- judge */

static struct uvb_port_shm *
port_of(uint8_t who)
{
	return uvb_map_port(&lab.daemon.map, uvb_id(dev[who]));
}

static uint32_t
published(uint8_t to)
{
	const struct uvb_voq_shm *v =
		uvb_map_voq(&lab.daemon.map, uvb_id(dev[to]), 0, uvb_id(dev[V]), 0);

	return atomic_load(&v->head) - atomic_load(&v->tail);
}

static void
set_owner(uint8_t who, pid_t pid)
{
	port_of(who)->member[UVB_OWNER_SLOT].pid = (uint32_t)pid;
	port_of(who)->member[UVB_OWNER_SLOT].start = uvb_proc_start(pid);
}

/* A sleeper is let sleep. */
static void
frozen(pid_t victim)
{
	if (!daemon_is_victim)
		set_owner(V, victim);
	if (!asleep(B) && !asleep(A)) {
		talk(A, B, 100);
		talk(B, A, LONG);
	}
	say(A, V, 100, 1);
	say(B, V, LONG, 2);
}

static void
reclaim(uint32_t *for_a, uint32_t *for_b)
{
	uint32_t gen = UVB_LIFE_GEN(atomic_load(&port_of(V)->life));

	*for_a = published(A);
	*for_b = published(B);
	lab_adopt(&lab);
	if (UVB_LIFE_STATE(atomic_load(&port_of(V)->life)) != UVB_PORT_FREE)
		kill_leak("the port is not free");
	if (UVB_LIFE_GEN(atomic_load(&port_of(V)->life)) < gen)
		kill_leak("the port's generation went back");
	for (uint8_t who = A; who <= B; who++)
		if (UVB_LIFE_STATE(atomic_load(&port_of(who)->life)) != UVB_PORT_UP)
			kill_stall("%s has lost its port", names[who]);
}

static void
check_ledger(void)
{
	struct uvb_ledger l = {.offenders = stdout};

	if (uvb_ledger(&lab.daemon.map, &l) != 0)
		kill_leak("no ledger");
	fflush(stdout);
	if (l.leaked != 0 || l.stale != 0 || l.in_flight != 0)
		kill_leak("%llu cells leaked, %llu stale, %llu in flight",
			  (unsigned long long)l.leaked, (unsigned long long)l.stale,
			  (unsigned long long)l.in_flight);
}

static void
start_port(uint8_t who)
{
	struct uvb_conf conf;
	char err[UVB_ERR_LEN] = "";

	dev[who] = lab_attach(&lab, names[who], 1, 1, UVB_KIND_WIRE);
	uvb_conf_default(dev[who], &conf);
	conf.flags = UVB_CONF_STARTED | UVB_CONF_PROMISC;
	conf.mtu = 9216;
	conf.rss_types = 0;
	CHECK_EQ(uvb_conf_set(dev[who], &conf, err), 0);
}

/* The next owner of the name: nothing of the old one is left, and a full ring each way works. */
static void
check_reuse(void)
{
	uint32_t id = uvb_id(dev[V]);

	start_port(V);
	if (uvb_id(dev[V]) != id && !naming)
		kill_leak("the name does not get its port back");
	if (uvb_rx_count(uvb_rxq(dev[V], 0)) != 0 || hear(V, dev[A]) != 0)
		kill_leak("frames for the predecessor");
	for (uint32_t i = 0; i < lab.daemon.map.voq_depth + 2; i++) {
		talk(V, A, 60 + i);
		talk(A, V, 60 + i);
	}
	for (uint8_t who = A; who <= B; who++) {
		talk(who, V, LONG);
		talk(V, who, LONG);
	}
	talk(A, B, LONG);
	talk(B, A, 60);
}

static void
dead(pid_t victim)
{
	uint32_t for_a, for_b, n;

	(void)victim;
	reclaim(&for_a, &for_b);
	n = wake_and_hear(A, dev[V]);
	if (n != for_a)
		kill_stall("v had published %u frames for a, %u arrived", for_a, n);
	n = wake_and_hear(B, dev[V]);
	if (n != for_b)
		kill_stall("v had published %u frames for b, %u arrived", for_b, n);
	for (uint8_t who = A; who <= B; who++)
		if (asleep(who))
			uvb_rx_disarm(uvb_rxq(dev[who], 0));
	hear(A, dev[V]);
	hear(B, dev[V]);
	check_reuse();
	check_ledger();
}

/* --------------------------------------------------------------------------------- cases: sender
 */

static void
send_one_frame(void *arg)
{
	(void)arg;
	say(V, A, 100, 1);
}

static void
send_burst(void *arg)
{
	static uint8_t buf[4][2000];
	struct uvb_seg seg[4];
	struct uvb_frame f[4];

	(void)arg;
	for (uint32_t i = 0; i < 4; i++) {
		seg[i] = (struct uvb_seg){buf[i],
					  numbered(buf[i], i & 1 ? A : B, V, 60 + 400 * i, i)};
		f[i] = (struct uvb_frame){&seg[i], 1, 0, seg[i].len};
	}
	uvb_tx_burst(uvb_txq(dev[V], 0), f, 4);
}

static void
send_flood(void *arg)
{
	(void)arg;
	say(V, 0xff, 100, 1);
}

static void
send_long(void *arg)
{
	(void)arg;
	say(V, A, LONG, 1);
}

static void
send_learning(void *arg)
{
	static uint8_t buf[64];

	(void)arg;
	numbered(buf, A, 77, 60, 1);
	send_one(dev[V], 0, buf, 60);
}

static void
sleep_a(void)
{
	hear(A, dev[V]);
	while (!uvb_rx_arm(uvb_rxq(dev[A], 0), false))
		hear(A, dev[V]);
}

static void
sleep_both(void)
{
	sleep_a();
	while (!uvb_rx_arm(uvb_rxq(dev[B], 0), false))
		hear(B, dev[V]);
}

/* v's ring to a has one place left, so that the second frame is dropped. */
static void
fill_ring(void)
{
	for (uint32_t i = 0; i + 1 < lab.daemon.map.voq_depth; i++)
		say(V, A, 60, i);
}

static void
send_two(void *arg)
{
	static uint8_t buf[2][100];
	struct uvb_seg seg[2];
	struct uvb_frame f[2];

	(void)arg;
	for (uint32_t i = 0; i < 2; i++) {
		seg[i] = (struct uvb_seg){buf[i], numbered(buf[i], A, V, 100, i)};
		f[i] = (struct uvb_frame){&seg[i], 1, 0, 100};
	}
	uvb_tx_burst(uvb_txq(dev[V], 0), f, 2);
}

/* A configuration of a's that v has not seen. */
static void
change_conf(void)
{
	struct uvb_conf conf;

	uvb_conf_default(dev[A], &conf);
	conf.flags = UVB_CONF_STARTED | UVB_CONF_PROMISC;
	conf.mtu = 9000;
	conf.rss_types = 0;
	conf.reta_size = 1;
	CHECK_EQ(uvb_conf_set(dev[A], &conf, NULL), 0);
}

/* ------------------------------------------------------------------------------- cases: receiver
 */

static struct uvb_rx_frame out[16];

static void
waiting_frames(void)
{
	say(A, V, 100, 1);
	say(A, V, LONG, 2);
	say(B, V, 200, 3);
}

static void
receive_peek(void *arg)
{
	(void)arg;
	uvb_rx_peek(uvb_rxq(dev[V], 0), out, 16);
}

static void
peeked_frames(void)
{
	waiting_frames();
	receive_peek(NULL);
}

static void
receive_done(void *arg)
{
	(void)arg;
	uvb_rx_done(uvb_rxq(dev[V], 0), 1);
}

static void
receive_flush(void *arg)
{
	(void)arg;
	uvb_rx_flush(uvb_rxq(dev[V], 0));
}

/* Sources that have been silent nearly long enough to be forgotten. */
static void
silent_sources(void)
{
	waiting_frames();
	hear(V, dev[A]);
	for (int i = 0; i < 60; i++)
		uvb_rx_peek(uvb_rxq(dev[V], 0), out, 16);
}

static void __attribute__((noinline)) peek_in_vain(void *arg)
{
	(void)arg;
	for (int i = 0; i < 8; i++)
		uvb_rx_peek(uvb_rxq(dev[V], 0), out, 16);
}

static void
arm(void *arg)
{
	(void)arg;
	uvb_rx_arm(uvb_rxq(dev[V], 0), true);
}

static void
disarm(void *arg)
{
	(void)arg;
	uvb_rx_disarm(uvb_rxq(dev[V], 0));
}

static void
armed_and_rung(void)
{
	hear(V, dev[A]);
	while (!uvb_rx_arm(uvb_rxq(dev[V], 0), false))
		hear(V, dev[A]);
	waiting_frames();
}

/* v's slot as its last owner's senders left it: frames with the number of another generation. */
static void
stale_frames(void)
{
	struct uvb_cell *cells = uvb_map_cells(&lab.daemon.map, uvb_id(dev[A]), 0);

	waiting_frames();
	for (uint32_t i = 0; i < lab.daemon.map.cells_per_txq; i++) {
		uint64_t owner = atomic_load(&cells[i].owner);

		if (owner != UVB_OWNER_FREE)
			atomic_store(&cells[i].owner, owner + UVB_OWNER(1, 0, 0, 0) - 0x80);
	}
}

/* --------------------------------------------------------------------------------- cases: others
 */

static void
publish_conf(void *arg)
{
	struct uvb_conf conf;

	(void)arg;
	uvb_conf_default(dev[V], &conf);
	conf.flags = UVB_CONF_STARTED;
	uvb_conf_set(dev[V], &conf, NULL);
}

/* v dies with frames on all ways, one cell that is in no ring, and one bit of two set. */
static void
dead_port(void)
{
	struct uvb_cell *cells = uvb_map_cells(&lab.daemon.map, uvb_id(dev[V]), 0);
	struct uvb_rxq_shm *rxq = uvb_map_rxq(&lab.daemon.map, uvb_id(dev[B]), 0);

	daemon_is_victim = true;
	waiting_frames();
	say(V, A, LONG, 1);
	say(V, B, 100, 2);
	atomic_store(&cells[40].owner, UVB_OWNER(dev[A]->gen, uvb_id(dev[A]), 0, 9));
	atomic_store(&rxq->summary, 0);
	set_owner(V, NOBODY);
}

static void
adopt(void *arg)
{
	(void)arg;
	ports_adopt(&lab.daemon);
}

static void
free_port(void)
{
	dead_port();
	lab_adopt(&lab);
	naming = true;
}

static void
attach(void *arg)
{
	struct uvb_ctl_attach req = {.nb_rxq = 1, .nb_txq = 1, .kind = UVB_KIND_WIRE, .name = "v"};
	struct client client = {.pid = NOBODY};
	struct uvb_ctl_answer ans = {0};

	(void)arg;
	port_attach(&lab.daemon, &client, &req, &ans);
}

static void
detach(void *arg)
{
	struct uvb_ctl_detach req = {.port = uvb_id(dev[V]), .gen = dev[V]->gen};
	struct member *owner = &lab.daemon.port[uvb_id(dev[V])].member[UVB_OWNER_SLOT];
	struct client client = {.member = owner, .pid = NOBODY};
	struct uvb_ctl_answer ans = {0};

	(void)arg;
	owner->client = &client;
	port_detach(&lab.daemon, &client, &req, &ans);
}

/* Frames for a port that is gone: from a sender that had not seen it yet. */
static void
late_frames(void)
{
	daemon_is_victim = true;
	waiting_frames();
	set_owner(V, NOBODY);
	atomic_store(&port_of(V)->life, UVB_LIFE(dev[V]->gen, UVB_PORT_FREE));
}

static void
tick(void *arg)
{
	(void)arg;
	lab.daemon.aged_ns = uvb_now_ns();
	ports_tick(&lab.daemon);
}

#define MARKER(f) (uintptr_t)(f)

static const struct kill_case cases[] = {
	{"tx", "sends a frame to one that polls", NULL, send_one_frame, MARKER(uvb_tx_burst),
	 frozen, dead},
	{"tx-sleeper", "sends a frame to one that sleeps", sleep_a, send_one_frame,
	 MARKER(uvb_tx_burst), frozen, dead},
	{"tx-burst", "sends four frames to two", NULL, send_burst, MARKER(uvb_tx_burst), frozen,
	 dead},
	{"tx-burst-sleepers", "sends four frames to two that sleep", sleep_both, send_burst,
	 MARKER(uvb_tx_burst), frozen, dead},
	{"tx-long", "sends a frame of three cells", NULL, send_long, MARKER(uvb_tx_burst), frozen,
	 dead},
	{"tx-flood", "sends a broadcast", NULL, send_flood, MARKER(uvb_tx_burst), frozen, dead},
	{"tx-learn", "sends from a new address", NULL, send_learning, MARKER(uvb_tx_burst), frozen,
	 dead},
	{"tx-conf", "sends to one whose configuration changed", change_conf, send_one_frame,
	 MARKER(uvb_tx_burst), frozen, dead},
	{"tx-full", "sends two frames where one has room", fill_ring, send_two,
	 MARKER(uvb_tx_burst), frozen, dead},
	{"rx-peek", "looks at three frames of two", waiting_frames, receive_peek,
	 MARKER(uvb_rx_peek), frozen, dead},
	{"rx-done", "gives three frames back", peeked_frames, receive_done, MARKER(uvb_rx_done),
	 frozen, dead},
	{"rx-flush", "throws three frames away", waiting_frames, receive_flush,
	 MARKER(uvb_rx_flush), frozen, dead},
	{"rx-stale", "meets frames for its predecessor", stale_frames, receive_flush,
	 MARKER(uvb_rx_flush), frozen, dead},
	{"rx-retire", "polls in vain until the sources are forgotten", silent_sources, peek_in_vain,
	 MARKER(peek_in_vain), frozen, dead},
	{"rx-arm", "asks for the bell", silent_sources, arm, MARKER(uvb_rx_arm), frozen, dead},
	{"rx-arm-busy", "asks for the bell, with frames waiting", waiting_frames, arm,
	 MARKER(uvb_rx_arm), frozen, dead},
	{"rx-disarm", "has been rung", armed_and_rung, disarm, MARKER(uvb_rx_disarm), frozen, dead},
	{"conf", "publishes a configuration", NULL, publish_conf, MARKER(uvb_conf_set), frozen,
	 dead},
	{"daemon-reclaim", "as the daemon, adopts a fabric with a dead port", dead_port, adopt,
	 MARKER(ports_adopt), NULL, dead},
	{"daemon-attach", "as the daemon, attaches a port", free_port, attach, MARKER(port_attach),
	 NULL, dead},
	{"daemon-detach", "as the daemon, detaches a port", dead_port, detach, MARKER(port_detach),
	 NULL, dead},
	{"daemon-tick", "as the daemon, drains what came late", late_frames, tick,
	 MARKER(ports_tick), NULL, dead},
	{0},
};

/* --------------------------------------------------------------------------------------- program
 */

static void
set_up(void)
{
	static const struct uvb_hdr shape = {.nb_ports = 4,
					     .nb_queues = 1,
					     .cells_per_txq = 64,
					     .voq_depth = 32,
					     .fdb_buckets = UVB_FDB_MIN};

	lab_up(&lab, &shape);
	for (uint8_t who = A; who <= V; who++)
		start_port(who);
	/* Everybody has spoken to everybody: addresses, handles and pages are there. */
	for (uint8_t from = A; from <= V; from++)
		for (uint8_t to = A; to <= V; to++)
			if (from != to) {
				say(from, 0xff, 60, 1);
				say(from, to, LONG, 2);
			}
	for (uint8_t who = A; who <= V; who++)
		hear(who, dev[A]);
}

static void
tear_down(void)
{
	lab_down(&lab);
}

static void
memory(void **base, size_t *len)
{
	*base = lab.daemon.map.base;
	*len = lab.daemon.map.off_rules; /* flow rules, megabytes of them, are nobody's here */
}

/* Bells are the kernel's: only a v that sleeps has been rung. And the second in
 * which an address was last seen: the way through uvb_fdb_learn() differs when it is another. */
static void
restored(void)
{
	struct uvb_fdb_bucket *bucket = uvb_map_fdb(&lab.daemon.map);

	for (uint32_t i = 0; i < lab.daemon.map.fdb_buckets; i++)
		for (uint32_t way = 0; way < UVB_FDB_WAYS; way++)
			atomic_store(&bucket[i].seen[way], 0);
	for (uint8_t who = A; who <= V; who++)
		uvb_bell_drain(uvb_rxq_fd(uvb_rxq(dev[who], 0)));
	if (asleep(V))
		uvb_bell_ring(uvb_rxq_fd(uvb_rxq(dev[V], 0)));
}

int
main(int argc, char **argv)
{
	/* A thousand turns of a loop over private memory, or of one that does the same to each
	 * entry of a table; and what only reads /proc. */
	static const uintptr_t skip[] = {MARKER(uvb_rss_compile), MARKER(uvb_conf_fill),
					 MARKER(uvb_conf_check),  MARKER(uvb_fdb_flush),
					 MARKER(uvb_proc_start),  MARKER(uvb_proc_maps),
					 MARKER(uvb_proc_alive),  0};
	static const struct kill_program program = {
		.name = "kill_fabric",
		.cases = cases,
		.skip = skip,
		.set_up = set_up,
		.tear_down = tear_down,
		.memory = memory,
		.restored = restored,
	};

	return kill_main(argc, argv, &program);
}
