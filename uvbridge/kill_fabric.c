/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Kills a port, or the daemon, at every instruction of the fabric's protocol: cells, rings, bells,
 * configurations, the life of a port. See kill_world.h.
 */
#include "uvbridge/kill_world.h"
#include "uvbridge/test.h"

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

/* A burst goes on where the last one stopped if that was in the same second: every victim does, or
 * none. */
static void
stop_time(void)
{
	struct uvb_ctl_answer answer;

	if (clock_request(&lab.daemon, UVB_CLOCK_STOP, 0, &answer) != 0)
		kill_stall("refused: %s", answer.text);
}

static void
sent_before(void)
{
	stop_time();
	say(V, A, 100, 1);
	hear(A, dev[V]);
}

static void
sleep_a(void)
{
	sleep_now(A);
}

static void
sleep_both(void)
{
	sleep_now(A);
	sleep_now(B);
}

/* v's ring to a has one place left, so that the second frame is dropped. */
static void
fill_ring(void)
{
	stop_time();
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
	struct uvb_desc *desc = uvb_map_cells(&lab.daemon.map, uvb_id(dev[A]), 0).desc;

	waiting_frames();
	for (uint32_t i = 0; i < lab.daemon.map.cells_per_txq; i++) {
		uint64_t owner = atomic_load(&desc[i].owner);

		if (owner != UVB_OWNER_FREE)
			atomic_store(&desc[i].owner, owner + UVB_OWNER(1, 0, 0, 0) - 0x80);
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
	struct uvb_desc *desc = uvb_map_cells(&lab.daemon.map, uvb_id(dev[V]), 0).desc;
	struct uvb_rxq_shm *rxq = uvb_map_rxq(&lab.daemon.map, uvb_id(dev[B]), 0);

	daemon_is_victim = true;
	waiting_frames();
	say(V, A, LONG, 1);
	say(V, B, 100, 2);
	atomic_store(&desc[40].owner, UVB_OWNER(dev[A]->gen, uvb_id(dev[A]), 0, 9));
	atomic_store(&rxq->summary, 0);
	set_member(V, UVB_OWNER_SLOT, NOBODY);
}

static void
adopt_fabric(void *arg)
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
	set_member(V, UVB_OWNER_SLOT, NOBODY);
	atomic_store(&port_of(V)->life, UVB_LIFE(dev[V]->gen, UVB_PORT_FREE));
}

static void
tick(void *arg)
{
	(void)arg;
	lab.daemon.aged_ns = uvb_now_ns();
	ports_tick(&lab.daemon);
}

static const struct kill_case cases[] = {
	{"tx", "sends a frame to one that polls", NULL, send_one_frame, MARKER(uvb_tx_burst),
	 frozen, dead},
	{"tx-again", "sends a frame where it sent the last one", sent_before, send_one_frame,
	 MARKER(uvb_tx_burst), frozen, dead},
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
	{"daemon-reclaim", "as the daemon, adopts a fabric with a dead port", dead_port,
	 adopt_fabric, MARKER(ports_adopt), NULL, dead},
	{"daemon-attach", "as the daemon, attaches a port", free_port, attach, MARKER(port_attach),
	 NULL, dead},
	{"daemon-detach", "as the daemon, detaches a port", dead_port, detach, MARKER(port_detach),
	 NULL, dead},
	{"daemon-tick", "as the daemon, drains what came late", late_frames, tick,
	 MARKER(ports_tick), NULL, dead},
	{0},
};

int
main(int argc, char **argv)
{
	return world_main(argc, argv, "kill_fabric", cases);
}
