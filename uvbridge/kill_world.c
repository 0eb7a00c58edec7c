/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Survivors and judges, see kill_world.h.
 */
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "uvbridge/kill_world.h"
#include "uvbridge/proc.h"
#include "uvbridge/test.h"

struct lab lab;
struct uvb_dev *dev[4];
bool daemon_is_victim;
bool naming;

static const char *const names[] = {"", "a", "b", "v"};

/* A thousand turns of a loop over private memory, or of one that does the same to each entry of a
 * table; and what only reads /proc. */
static const uintptr_t skip[] = {MARKER(uvb_rss_compile), MARKER(uvb_conf_fill),
				 MARKER(uvb_conf_check),  MARKER(uvb_fdb_flush),
				 MARKER(uvb_proc_start),  MARKER(uvb_proc_maps),
				 MARKER(uvb_proc_alive),  MARKER(uvb_copy_words),
				 MARKER(frame_make),      0};

/* ----------------------------------------------------------------------------------------- talk */

uint32_t
numbered(uint8_t *buf, uint8_t to, uint8_t from, uint32_t len, uint32_t seq)
{
	frame_make(buf, to, from, len, seq);
	if (to == 0xff)
		memset(buf, 0xff, 6);
	memcpy(buf + 14, &seq, sizeof(seq));
	return len;
}

void
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

uint32_t
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

bool
asleep(uint8_t at)
{
	return uvb_load(&uvb_map_rxq(&lab.daemon.map, uvb_id(dev[at]), 0)->armed) & 1;
}

uint32_t
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

void
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

struct uvb_port_shm *
port_of(uint8_t who)
{
	return uvb_map_port(&lab.daemon.map, uvb_id(dev[who]));
}

static uint32_t
published(uint8_t to)
{
	const struct uvb_voq_shm *v =
		uvb_map_voq(&lab.daemon.map, uvb_id(dev[to]), 0, uvb_id(dev[V]), 0);

	const struct uvb_desc *desc = uvb_map_cells(&lab.daemon.map, uvb_id(dev[V]), 0).desc;
	uint32_t mask = lab.daemon.map.voq_depth - 1, n = 0;

	/* The receiver may have taken some that stand behind others, which are not due yet. */
	for (uint32_t p = atomic_load(&v->tail); p != uvb_voq_head(v); p++) {
		uint64_t owner = atomic_load(&desc[atomic_load(&v->slot[p & mask])].owner);

		n += UVB_OWNER_ANY_GEN(owner) == UVB_OWNER(0, uvb_id(dev[to]), 0, p);
	}
	return n;
}

void
set_member(uint8_t who, uint32_t slot, pid_t pid)
{
	port_of(who)->member[slot].pid = (uint32_t)pid;
	port_of(who)->member[slot].start = uvb_proc_start(pid);
}

/* A sleeper is let sleep. */
void
frozen(pid_t victim)
{
	if (!daemon_is_victim)
		set_member(V, UVB_OWNER_SLOT, victim);
	if (!asleep(B) && !asleep(A)) {
		talk(A, B, 100);
		talk(B, A, LONG);
	}
	say(A, V, 100, 1);
	say(B, V, LONG, 2);
}

struct left
adopt(void)
{
	struct left left = {published(A), published(B)};

	lab_adopt(&lab);
	for (uint8_t who = A; who <= B; who++)
		if (UVB_LIFE_STATE(atomic_load(&port_of(who)->life)) != UVB_PORT_UP)
			kill_stall("%s has lost its port", names[who]);
	return left;
}

void
check_freed(uint32_t gen_before)
{
	if (UVB_LIFE_STATE(atomic_load(&port_of(V)->life)) != UVB_PORT_FREE)
		kill_leak("the port is not free");
	if (UVB_LIFE_GEN(atomic_load(&port_of(V)->life)) < gen_before)
		kill_leak("the port's generation went back");
}

void
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

void
check_talk(void)
{
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

/* The next owner of the name: nothing of the old one is left. */
void
check_reuse(void)
{
	uint32_t id = uvb_id(dev[V]);

	start_port(V);
	if (uvb_id(dev[V]) != id && !naming)
		kill_leak("the name does not get its port back");
	if (uvb_rx_count(uvb_rxq(dev[V], 0)) != 0 || hear(V, dev[A]) != 0)
		kill_leak("frames for the predecessor");
	check_talk();
}

void
check_heard(const struct left *left)
{
	uint32_t n = wake_and_hear(A, dev[V]);

	if (n != left->a)
		kill_stall("v had published %u frames for a, %u arrived", left->a, n);
	n = wake_and_hear(B, dev[V]);
	if (n != left->b)
		kill_stall("v had published %u frames for b, %u arrived", left->b, n);
	for (uint8_t who = A; who <= B; who++)
		if (asleep(who))
			uvb_rx_disarm(uvb_rxq(dev[who], 0));
	hear(A, dev[V]);
	hear(B, dev[V]);
}

void
dead(pid_t victim)
{
	uint32_t gen = UVB_LIFE_GEN(atomic_load(&port_of(V)->life));
	struct left left;

	(void)victim;
	left = adopt();
	check_freed(gen);
	check_heard(&left);
	check_reuse();
	check_ledger();
}

void
sleep_now(uint8_t at)
{
	hear(at, dev[V]);
	while (!uvb_rx_arm(uvb_rxq(dev[at], 0), false))
		hear(at, dev[V]);
}

/* --------------------------------------------------------------------------------------- program
 */

static void
world_up(void)
{
	static const struct uvb_hdr shape = {.nb_ports = 8,
					     .nb_queues = 1,
					     .cells_per_txq = 64,
					     .voq_depth = 32,
					     .fdb_buckets = UVB_FDB_MIN};

	lab_up(&lab, &shape);
	for (uint8_t who = A; who <= V; who++)
		start_port(who);
	/* Everybody has spoken to everybody: addresses, handles and pages are there. The last frame
	 * goes to all, so that no sender can go on where it stopped: that would hang on the second.
	 */
	for (uint8_t from = A; from <= V; from++)
		for (uint8_t to = A; to <= V; to++)
			if (from != to) {
				say(from, to, LONG, 2);
				say(from, 0xff, 60, 1);
			}
	for (uint8_t who = A; who <= V; who++)
		hear(who, dev[A]);
}

static void
world_down(void)
{
	lab_down(&lab);
}

static void
world_save(void)
{
	lab_save(&lab);
}

/* Bells are the kernel's: only a v that sleeps has been rung. And the second in
 * which an address was last seen: the way through uvb_fdb_learn() differs when it is another. */
static void
world_restore(void)
{
	struct uvb_fdb_bucket *bucket = uvb_map_fdb(&lab.daemon.map);

	lab_restore(&lab);
	for (uint32_t i = 0; i < lab.daemon.map.fdb_buckets; i++)
		for (uint32_t way = 0; way < UVB_FDB_WAYS; way++)
			atomic_store(&bucket[i].seen[way], 0);
	for (uint8_t who = A; who <= V; who++)
		uvb_bell_drain(dev[who]->bell[0]);
	if (asleep(V))
		uvb_bell_ring(dev[V]->bell[0]);
}

int
world_main(int argc, char **argv, const char *name, const struct kill_case *cases)
{
	struct kill_program program = {
		.name = name,
		.cases = cases,
		.skip = skip,
		.set_up = world_up,
		.tear_down = world_down,
		.save = world_save,
		.restore = world_restore,
	};

	return kill_main(argc, argv, &program);
}
