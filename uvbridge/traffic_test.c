/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Threads at the same time: conservation under random traffic while configurations change, and no
 * wake-up lost.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "uvbridge/control.h"
#include "uvbridge/test.h"

#define PORTS  3
#define QUEUES 2
#define FRAMES 60000 /* of each sender */
#define PINGS  20000

static struct uvb_dev *dev[PORTS];
static atomic_bool stop;
static bool faulty;          /* frames are damaged, and late */
static _Atomic uint64_t end; /* when the last was sent, ns */

#define LATE_NS 100000000 /* none is later */

/* ----------------------------------------------------------------------------------- conservation
 */

struct sender {
	struct uvb_dev *dev;
	uint16_t txq;
	uint64_t seed;
	uint64_t copies; /* of frames taken, one for each receiver there is */
};

static uint64_t
next(uint64_t *s)
{
	*s = *s * 6364136223846793005ULL + 1442695040888963407ULL;
	return *s >> 33;
}

/* Frames to any port, to all, to nobody; UDP over IPv4 so that they spread over the queues. */
static uint32_t
make_random(uint8_t *buf, uint8_t from, uint64_t *seed)
{
	uint32_t kind = (uint32_t)next(seed) % 8, len = 60 + (uint32_t)next(seed) % 3000;

	frame_make(buf, (uint8_t)(1 + next(seed) % PORTS), from, len, (uint32_t)next(seed));
	if (kind == 0)
		memset(buf, 0xff, 6);
	if (kind == 1)
		buf[5] = 99;
	buf[12] = 0x08;
	buf[13] = 0;
	buf[14] = 0x45;
	buf[20] = buf[21] = 0;
	buf[23] = 17;
	for (int i = 26; i < 38; i++)
		buf[i] = (uint8_t)next(seed);
	return len;
}

static void *
send_random(void *arg)
{
	struct sender *s = arg;
	uint8_t *buf = malloc(16 * 4096);
	struct uvb_seg seg[16];
	struct uvb_frame f[16];
	uint16_t id = uvb_id(s->dev);

	CHECK(buf != NULL);
	for (uint32_t sent = 0; sent < FRAMES;) {
		uint16_t n = 1 + (uint16_t)(next(&s->seed) % 16), done;

		for (uint16_t i = 0; i < n; i++) {
			seg[i].base = buf + 4096 * i;
			seg[i].len = make_random(buf + 4096 * i, (uint8_t)(id + 1), &s->seed);
			f[i] = (struct uvb_frame){&seg[i], 1, 0, seg[i].len};
		}
		done = uvb_tx_burst(uvb_txq(s->dev, s->txq), f, n);
		sent += done;
		if (done < n)
			sched_yield();
	}
	free(buf);
	return NULL;
}

struct receiver {
	struct uvb_dev *dev;
	uint16_t rxq;
	uint64_t frames, nombuf;
};

static void *
receive_random(void *arg)
{
	struct receiver *r = arg;
	struct uvb_rxq *q = uvb_rxq(r->dev, r->rxq);
	struct uvb_rx_frame f[32];
	uint8_t last[2];

	for (;;) {
		bool over = atomic_load(&stop); /* before the look, so that the look is the last */
		uint16_t n = uvb_rx_peek(q, f, 32), lost = n / 16;

		for (uint16_t i = 0; i < n; i++) {
			if (faulty)
				continue;
			CHECK(f[i].len >= 60 && f[i].len < 3100);
			CHECK_EQ(uvb_rx_read(q, &f[i], f[i].len - 2, last, 2), 2);
			CHECK_EQ((uint8_t)(last[0] + 1), last[1]);
			CHECK_EQ(f[i].flags & UVB_CELL_HASH, UVB_CELL_HASH);
		}
		uvb_rx_done(q, lost);
		r->frames += n - lost;
		r->nombuf += lost;
		if (n == 0 && over && (!faulty || uvb_now_ns() > atomic_load(&end) + LATE_NS))
			return NULL;
		if (n == 0)
			sched_yield();
	}
}

static void
conf_random(struct uvb_dev *d, uint64_t *seed)
{
	struct uvb_conf conf;

	uvb_conf_default(d, &conf);
	memcpy(conf.mac[0], (const uint8_t[]){2, 0, 0, 0, 0, (uint8_t)(uvb_id(d) + 1)}, 6);
	conf.mtu = next(seed) % 4 == 0 ? 1500 : 9000;
	conf.flags = next(seed) % 8 == 0 ? 0 : UVB_CONF_STARTED;
	conf.flags |= next(seed) % 2 == 0 ? UVB_CONF_PROMISC : 0;
	for (int i = 0; i < 40; i++)
		conf.key[i] = (uint8_t)next(seed);
	conf.reta_size = (uint16_t)(1 << next(seed) % 10);
	for (int i = 0; i < conf.reta_size; i++)
		conf.reta[i] = (uint16_t)(next(seed) % QUEUES);
	CHECK_EQ(uvb_conf_set(d, &conf, NULL), 0);
}

/* Anything that can be asked of a port, but to wait. There is no daemon who writes policies as long
 * as nobody asks it to. */
static void
policy_random(struct uvb_dev *d, uint64_t *seed)
{
	struct uvb_policy p = {
		.vlan_mode = (uint8_t)(next(seed) % 3),
		.vlan = (uint16_t)(5 + next(seed) % 2),
		.vlan_allowed = {1u << 5 | 1u << 6},
		.isolation = (uint16_t)(next(seed) % 4),
		.mirror_tx = (uint16_t)(next(seed) % (PORTS + 1)),
		.mirror_rx = (uint16_t)(next(seed) % (PORTS + 1)),
		.weight = (uint16_t)(next(seed) % UVB_WEIGHT_MAX),
		.mac = {2, 0, 0, 0, 0, 1},
	};

	for (int s = 0; s < UVB_STORM_MAX; s++)
		p.storm[s] = next(seed) % 2 == 0 ? 0 : 10000;
	p.flags = (uint32_t)next(seed) &
		  (UVB_POL_MAC | UVB_POL_SPOOFCHK | UVB_POL_UNTRUSTED | UVB_POL_LINK_DOWN);
	p.adapter = (uint16_t)(next(seed) % 3);
	p.uplink = next(seed) % 2 == 0 ? 0 : 1000000000;
	p.flags |= p.adapter != 0 && next(seed) % 4 == 0 ? UVB_POL_UPLINK_DOWN : 0;
	/* Out of an adapter with a rate the sender has to wait; it does not, here. */
	p.uplink = p.adapter == 1 ? 0 : p.uplink;
	uvb_policy_write(&d->map, uvb_id(d), next(seed) % 3 == 0 ? &(struct uvb_policy){0} : &p);
	uvb_policy_announce(&d->map);
}

static bool managed; /* policies change, too */

static void *
change_conf(void *arg)
{
	uint64_t seed = *(uint64_t *)arg;

	while (!atomic_load(&stop)) {
		if (managed)
			policy_random(dev[next(&seed) % PORTS], &seed);
		else
			conf_random(dev[next(&seed) % PORTS], &seed);
		nanosleep(&(struct timespec){0, 200000}, NULL);
	}
	return NULL;
}

/* Every frame taken is one copy per receiver of it: received, dropped by the receiver, or counted.
 */
static uint64_t
accounted(void)
{
	uint64_t n = 0;

	for (int p = 0; p < PORTS; p++)
		for (uint16_t q = 0; q < QUEUES; q++) {
			struct uvb_txq_stats tx;
			struct uvb_rxq_stats rx;

			uvb_txq_stats(dev[p], q, &tx);
			uvb_rxq_stats(dev[p], q, &rx);
			n += rx.packets + rx.nombuf + rx.stale + rx.bad + tx.full;
			for (int i = 0; i < UVB_TXD_MAX; i++)
				n += tx.drops[i];
			for (int i = 0; i < UVB_PD_MAX; i++)
				n += tx.pair_drops[i];
		}
	return n;
}

static uint64_t
taken(void)
{
	uint64_t n = 0;

	for (int p = 0; p < PORTS; p++)
		for (uint16_t q = 0; q < QUEUES; q++) {
			struct uvb_txq_stats tx;

			uvb_txq_stats(dev[p], q, &tx);
			n += tx.packets + tx.copies + tx.fault_dups;
		}
	return n;
}

static void
conserve(void)
{
	struct receiver r[PORTS * QUEUES];
	struct sender s[PORTS * QUEUES];
	pthread_t rt[PORTS * QUEUES], st[PORTS * QUEUES], ct;
	uint64_t seed = rnd();
	char name[4];

	atomic_store(&stop, false);
	for (int p = 0; p < PORTS; p++) {
		snprintf(name, sizeof(name), "p%d", p);
		dev[p] = port_up(name, QUEUES, QUEUES, 0);
		conf_random(dev[p], &seed);
	}
	for (int i = 0; i < PORTS * QUEUES; i++) {
		struct uvb_rxq_stats rx; /* counts from the first owner of the slot on */

		uvb_rxq_stats(dev[i / QUEUES], (uint16_t)(i % QUEUES), &rx);
		r[i] = (struct receiver){dev[i / QUEUES], (uint16_t)(i % QUEUES), rx.packets,
					 rx.nombuf};
		s[i] = (struct sender){dev[i / QUEUES], (uint16_t)(i % QUEUES), rnd(), 0};
		CHECK_EQ(pthread_create(&rt[i], NULL, receive_random, &r[i]), 0);
		CHECK_EQ(pthread_create(&st[i], NULL, send_random, &s[i]), 0);
	}
	CHECK_EQ(pthread_create(&ct, NULL, change_conf, &seed), 0);
	for (int i = 0; i < PORTS * QUEUES; i++)
		pthread_join(st[i], NULL);
	atomic_store(&end, uvb_now_ns());
	atomic_store(&stop, true);
	pthread_join(ct, NULL);
	for (int i = 0; i < PORTS * QUEUES; i++) {
		struct uvb_rxq_stats rx;

		pthread_join(rt[i], NULL);
		uvb_rxq_stats(r[i].dev, r[i].rxq, &rx);
		CHECK_EQ(rx.packets, r[i].frames);
		CHECK_EQ(rx.nombuf, r[i].nombuf);
		CHECK_EQ(rx.bad + rx.stale, 0);
	}
	for (int i = 0; i < PORTS * QUEUES; i++)
		CHECK_EQ(uvb_rx_count(uvb_rxq(dev[i / QUEUES], (uint16_t)(i % QUEUES))), 0);
	CHECK_EQ(accounted(), taken());
	for (uint32_t p = 0; managed && p < PORTS; p++)
		uvb_policy_write(&dev[p]->map, uvb_id(dev[p]), &(struct uvb_policy){0});
	uvb_policy_announce(&dev[0]->map);
	for (int p = 0; p < PORTS; p++) {
		CHECK_EQ(uvb_tx_free(uvb_txq(dev[p], 0)), uvb_hdr(dev[p])->cells_per_txq);
		uvb_close(dev[p]);
	}
}

static void
test_conservation_managed(void)
{
	managed = true;
	conserve();
	managed = false;
}

static void
test_conservation(void)
{
	conserve();
}

/* The same with everything going wrong on the cables that faults can make go wrong. */
static void
add_fault(const struct uvb_fault_def *def)
{
	struct uvb_ctl_fault_add req = {.hdr = {UVB_CTL_MAGIC, UVB_CTL_VERSION, UVB_CTL_FAULT_ADD,
						sizeof(req), UVB_ABI_VERSION},
					.def = *def};
	struct uvb_ctl_answer ans;
	char path[PATH_MAX];
	int fd;

	CHECK_EQ(uvb_fabric_path(FABRIC, path, NULL), 0);
	fd = uvb_control_connect(path, NULL);
	CHECK(fd >= 0);
	CHECK_EQ(uvb_control_call(fd, &req, sizeof(req), &ans, sizeof(ans), UVB_CTL_WAIT_MS), 0);
	CHECK_EQ(ans.status, 0);
	close(fd);
}

static void
test_conservation_on_bad_cables(void)
{
	static const struct uvb_fault_def bad[] = {
		{.port = "p0",
		 .kind = UVB_FAULT_MODEL,
		 .dir = UVB_FAULT_TX,
		 .loss = UVB_CERTAIN / 20,
		 .duplicate = UVB_CERTAIN / 20,
		 .corrupt = UVB_CERTAIN / 20,
		 .delay_ns = 200000,
		 .jitter_ns = 200000,
		 .flags = UVB_FAULT_REORDERS},
		{.port = "p1",
		 .kind = UVB_FAULT_MODEL,
		 .dir = UVB_FAULT_RX,
		 .nth = 7,
		 .rate_bps = 2000000000,
		 .queue_bytes = 20000,
		 .duplicate = UVB_CERTAIN / 10},
		{.port = "p1",
		 .kind = UVB_FAULT_RULE,
		 .dir = UVB_FAULT_TX,
		 .verdict = UVB_FAULT_REORDER,
		 .length = 2,
		 .delay_ns = 1000000,
		 .count = 5000},
		{.port = "p2",
		 .kind = UVB_FAULT_RULE,
		 .dir = UVB_FAULT_RX,
		 .verdict = UVB_FAULT_TRUNCATE,
		 .length = 40,
		 .skip = 100,
		 .count = 5000},
		{.port = "p2",
		 .kind = UVB_FAULT_RULE,
		 .dir = UVB_FAULT_TX,
		 .verdict = UVB_FAULT_DROP,
		 .count = 1000},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		add_fault(&bad[i]);
	faulty = true;
	conserve();
	faulty = false;
}

/* --------------------------------------------------------------------------------------- wake-ups
 */

static _Atomic uint32_t pongs;

static void *
sleeper(void *arg)
{
	struct uvb_rxq *q = uvb_rxq(arg, 0);
	struct pollfd pfd = {.fd = uvb_rxq_fd(q), .events = POLLIN};

	for (uint32_t got = 0; got < PINGS;) {
		struct uvb_rx_frame f[8];
		uint16_t n = uvb_rx_peek(q, f, 8);

		uvb_rx_done(q, 0);
		got += n;
		atomic_store(&pongs, got);
		if (n != 0 || !uvb_rx_arm(q, false))
			continue;
		/* Two seconds without a bell, while the sender waits for this frame: it was lost.
		 */
		CHECK_EQ(poll(&pfd, 1, 2000), 1);
		uvb_rx_disarm(q);
	}
	return NULL;
}

static void
test_no_wakeup_lost(void)
{
	struct uvb_dev *a = port_up("a", 1, 1, 0), *b = port_up("b", 1, 1, UVB_CONF_PROMISC);
	uint8_t buf[64];
	pthread_t t;

	frame_make(buf, 2, 1, 60, 0);
	atomic_store(&pongs, 0);
	CHECK_EQ(pthread_create(&t, NULL, sleeper, b), 0);
	for (uint32_t i = 0; i < PINGS; i++) {
		for (uint64_t spin = rnd() % 400; spin > 0; spin--)
			__asm__ volatile("" ::: "memory");
		CHECK_EQ(send_one(a, 0, buf, 60), 1);
		while (atomic_load(&pongs) <= i)
			if (rnd() % 8 == 0)
				sched_yield();
	}
	pthread_join(t, NULL);
	uvb_close(a);
	uvb_close(b);
}

int
main(void)
{
	static const char *const args[] = {"--ports", "4",     "--queues", "2", "--cells",
					   "256",     "--voq", "64",       NULL};
	struct fabric f;

	seed_init();
	fabric_up(&f, args);
	RUN(test_conservation);
	RUN(test_conservation_managed);
	RUN(test_conservation_on_bad_cables);
	RUN(test_no_wakeup_lost);
	fabric_down(&f);
	return 0;
}
