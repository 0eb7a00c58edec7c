/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Kills a port, a process of a shared port, or the daemon, at every instruction of what the switch
 * does beyond carrying frames: faults, policies, flow rules, ports of several processes, the clock.
 * See kill_world.h.
 */
#include <poll.h>
#include <unistd.h>

#include "uvbridge/kill_world.h"
#include "uvbridge/test.h"

#define MS 1000000ULL

static struct uvb_ctl_answer answer;

static void
must(int rc)
{
	if (rc != 0)
		kill_stall("refused: %s", answer.text);
}

/* Time stands still, so that every victim goes the same way. */
static void
stop_time(void)
{
	must(clock_request(&lab.daemon, UVB_CLOCK_STOP, 0, &answer));
}

static void
pass_time(uint64_t ns)
{
	must(clock_request(&lab.daemon, UVB_CLOCK_WARP, ns, &answer));
}

static void
dead_v(void)
{
	daemon_is_victim = true;
	set_member(V, UVB_OWNER_SLOT, NOBODY);
}

/* --------------------------------------------------------------------------------------- faults
 */

/* BPF: the last byte of the source address is v's. */
static const struct uvb_bpf_insn from_v[] = {
	{0x30, 0, 0, 11}, {0x15, 0, 1, V}, {0x06, 0, 0, 65535}, {0x06, 0, 0, 0}};

static uint32_t
add_rule(const char *port, enum uvb_fault_dir dir, enum uvb_fault_verdict verdict, uint64_t skip,
	 uint32_t length)
{
	struct uvb_fault_def def = {.kind = UVB_FAULT_RULE,
				    .dir = (uint8_t)dir,
				    .verdict = (uint8_t)verdict,
				    .skip = skip,
				    .count = 1,
				    .nb_insns = 4};

	snprintf(def.port, sizeof(def.port), "%s", port);
	memcpy(def.insn, from_v, sizeof(from_v));
	def.delay_ns = verdict == UVB_FAULT_DELAY || verdict == UVB_FAULT_REORDER ? MS : 0;
	def.length = length;
	must(fault_add(&lab.daemon, &def, &answer));
	return answer.handle;
}

static void
add_model(void)
{
	struct uvb_fault_def def = {.port = "v",
				    .kind = UVB_FAULT_MODEL,
				    .dir = UVB_FAULT_TX,
				    .delay_ns = 5 * MS,
				    .jitter_ns = MS,
				    .rate_bps = 1000000,
				    .queue_bytes = 4000,
				    .loss = UVB_CERTAIN / 4,
				    .duplicate = UVB_CERTAIN / 4,
				    .ge_p = UVB_CERTAIN / 4,
				    .ge_r = UVB_CERTAIN / 4,
				    .ge_bad = UVB_CERTAIN,
				    .seed = 7};

	must(fault_add(&lab.daemon, &def, &answer));
}

static void
send_six(void *arg)
{
	static uint8_t buf[6][1000];
	struct uvb_seg seg[6];
	struct uvb_frame f[6];

	(void)arg;
	for (uint32_t i = 0; i < 6; i++) {
		seg[i] = (struct uvb_seg){buf[i],
					  numbered(buf[i], i & 1 ? A : B, V, 100 + 100 * i, i)};
		f[i] = (struct uvb_frame){&seg[i], 1, 0, seg[i].len};
	}
	uvb_tx_burst(uvb_txq(dev[V], 0), f, 6);
}

/* v's cable drops, doubles, delays, cuts and keeps; a's lets the next one pass. v has not compiled
 * any of it. */
static void
faults_new(void)
{
	stop_time();
	add_rule("v", UVB_FAULT_TX, UVB_FAULT_DROP, 0, 0);
	add_rule("v", UVB_FAULT_TX, UVB_FAULT_DUPLICATE, 0, 0);
	add_rule("v", UVB_FAULT_TX, UVB_FAULT_DELAY, 1, 0);
	add_rule("v", UVB_FAULT_TX, UVB_FAULT_TRUNCATE, 2, 64);
	add_rule("v", UVB_FAULT_TX, UVB_FAULT_HOLD, 3, 0);
	add_rule("a", UVB_FAULT_RX, UVB_FAULT_REORDER, 0, 1);
}

static void
faults_known(void)
{
	faults_new();
	for (uint32_t i = 0; i < 2; i++)
		say(V, 77, 60, i); /* to nobody: known from here on, and flooded */
	hear(A, dev[V]);
	hear(B, dev[V]);
	stop_time();
}

static void
models(void)
{
	stop_time();
	add_model();
	say(V, A, 60, 1);
	pass_time(1000 * MS);
	hear(A, dev[V]);
}

/* Frames on their way to v, half of them due. */
static void
parked(void)
{
	static const struct uvb_fault_def def = {
		.port = "v", .kind = UVB_FAULT_MODEL, .dir = UVB_FAULT_RX, .delay_ns = 5 * MS};

	stop_time();
	must(fault_add(&lab.daemon, &def, &answer));
	say(A, V, 100, 1);
	say(B, V, LONG, 2);
	pass_time(3 * MS);
	say(A, V, 200, 3);
	say(A, V, LONG, 4);
	hear(V, dev[A]);
	pass_time(3 * MS);
}

static void
receive(void *arg)
{
	struct uvb_rx_frame f[16];

	(void)arg;
	while (uvb_rx_peek(uvb_rxq(dev[V], 0), f, 16) != 0)
		uvb_rx_done(uvb_rxq(dev[V], 0), 0);
}

static uint32_t held;

static void
holding(void)
{
	stop_time();
	held = add_rule("v", UVB_FAULT_TX, UVB_FAULT_HOLD, 0, 0);
	add_rule("v", UVB_FAULT_TX, UVB_FAULT_DELAY, 1, 0);
	say(V, A, 100, 1);
	say(V, A, 100, 2);
	dead_v();
}

static void
add_fault(void *arg)
{
	(void)arg;
	add_rule("v", UVB_FAULT_RX, UVB_FAULT_DROP, 0, 0);
}

static void
remove_fault(void *arg)
{
	(void)arg;
	must(fault_remove(&lab.daemon, held, &answer));
}

static void
release_held(void *arg)
{
	(void)arg;
	must(fault_release(&lab.daemon, held, 1, &answer));
}

/* Whoever holds: the next daemon takes the faults over, can add and remove, and then nothing is
 * wrong with any cable. */
static void
dead_faults(pid_t victim)
{
	uint32_t gen = UVB_LIFE_GEN(atomic_load(&port_of(V)->life)), handle;
	struct left left = adopt();

	(void)victim;
	check_freed(gen);
	if (atomic_load(&uvb_map_hdr(&lab.daemon.map)->fault_seq) & 1)
		kill_stall("the fault table stays shut");
	handle = add_rule("v", UVB_FAULT_TX, UVB_FAULT_DROP, 0, 0);
	for (uint32_t i = 0; i < UVB_FAULTS_MAX; i++)
		if (atomic_load(&uvb_map_fault(&lab.daemon.map, i)->handle) > handle)
			kill_leak("fault %u is older than one that was made before", handle);
	must(fault_remove(&lab.daemon, 0, &answer));
	pass_time(10000 * MS);
	check_heard(&left);
	check_reuse();
	check_ledger();
}

/* -------------------------------------------------------------------------------------- policies
 */

static void
ask_policy(const char *port, uint32_t what, const struct uvb_policy *value, const char *mirror)
{
	struct uvb_ctl_policy req = {.what = what, .value = *value};

	snprintf(req.name, sizeof(req.name), "%s", port);
	snprintf(req.mirror, sizeof(req.mirror), "%s", mirror);
	must(handle_policy(&lab.daemon, &req, &answer));
}

/* All three in one VLAN; v is weighed, may not storm, and c sees what it sends. */
static void
set_policies(void *arg)
{
	const struct uvb_policy value = {.vlan_mode = UVB_VLAN_ACCESS,
					 .vlan = 5,
					 .weight = 3,
					 .storm = {[UVB_STORM_BROADCAST] = 1000}};

	(void)arg;
	ask_policy("a", UVB_CTLP_VLAN, &value, "");
	ask_policy("b", UVB_CTLP_VLAN, &value, "");
	ask_policy("v",
		   UVB_CTLP_VLAN | UVB_CTLP_WEIGHT | UVB_CTLP_STORM << UVB_STORM_BROADCAST |
			   UVB_CTLP_MIRROR_TX,
		   &value, "c");
}

/* And somebody to mirror to. */
static void
observed(void)
{
	lab_attach(&lab, "c", 1, 1, UVB_KIND_WIRE);
	stop_time();
}

static void
policies_new(void)
{
	observed();
	set_policies(NULL);
}

static void
policies_known(void)
{
	policies_new();
	for (uint8_t who = A; who <= V; who++)
		say(who, 0xff, 60, 1);
	for (uint8_t who = A; who <= V; who++)
		hear(who, dev[A]);
}

static void
send_broadcast_and_one(void *arg)
{
	(void)arg;
	say(V, 0xff, 100, 1);
	send_six(NULL);
}

static void __attribute__((noinline)) send_all(void *arg)
{
	send_broadcast_and_one(arg);
}

static void
dead_v_alone(void)
{
	observed();
	dead_v();
}

static void
make_adapter(void *arg)
{
	struct uvb_ctl_adapter req = {.name = "n", .op = UVB_CTLA_ADD, .nb_vfs = 1};

	(void)arg;
	must(handle_adapter(&lab.daemon, &req, &answer));
}

static void
dead_v_and_adapter(void)
{
	dead_v_alone();
	make_adapter(NULL);
}

static void
remove_adapter(void *arg)
{
	struct uvb_ctl_adapter req = {.name = "n", .op = UVB_CTLA_DEL};

	(void)arg;
	must(handle_adapter(&lab.daemon, &req, &answer));
}

static void
fix_address(void *arg)
{
	struct uvb_ctl_fdb req = {
		.op = UVB_CTLF_ADD, .vlan = 0, .port = "a", .mac = {2, 0, 0, 0, 0, 99}};

	(void)arg;
	must(handle_fdb(&lab.daemon, &req, &answer));
}

/* What was asked for is asked for again: now it is so. */
static void
dead_policies(pid_t victim)
{
	uint32_t gen = UVB_LIFE_GEN(atomic_load(&port_of(V)->life));
	struct left left = adopt();
	struct uvb_policy plain = {.vlan_mode = UVB_VLAN_NONE};

	(void)victim;
	check_freed(gen);
	set_policies(NULL);
	for (const char *port = "abv"; *port != '\0'; port++)
		ask_policy((const char[]){*port, '\0'},
			   UVB_CTLP_VLAN | UVB_CTLP_MIRROR_TX |
				   UVB_CTLP_STORM << UVB_STORM_BROADCAST,
			   &plain, "");
	check_heard(&left);
	check_reuse();
	check_ledger();
}

static void
dead_adapter(pid_t victim)
{
	struct uvb_ctl_adapter req = {.name = "n", .op = UVB_CTLA_DEL};

	(void)victim;
	lab_adopt(&lab);
	handle_adapter(&lab.daemon, &req, &answer); /* if it is there */
	make_adapter(NULL);
	remove_adapter(NULL);
	check_reuse();
	check_ledger();
}

/* ------------------------------------------------------------------------------------ flow rules
 */

/* Ethertype 0x88b5: to queue 0, marked and counted. */
static void
set_rule(uint8_t who, uint16_t slot)
{
	struct uvb_rule rule = {.fate = UVB_FATE_QUEUE,
				.flags = UVB_RULE_COUNT | UVB_RULE_MARK | UVB_RULE_FLAG,
				.mark = slot,
				.serial = slot,
				.nb_field = 1,
				.nb_queue = 1,
				.field[0] = {.anchor = UVB_AT_FRAME, .off = 12, .len = 2},
				.value = {0x88, 0xb5},
				.mask = {0xff, 0xff}};
	char err[UVB_ERR_LEN] = "";

	if (uvb_rule_set(dev[who], slot, &rule, err) != 0)
		kill_stall("no rule: %s", err);
}

static void
obey_rules(uint8_t who)
{
	struct uvb_conf conf;
	char err[UVB_ERR_LEN] = "";

	CHECK_EQ(uvb_conf_get(dev[who], &conf), 0);
	conf.flags |= UVB_CONF_RULES;
	CHECK_EQ(uvb_conf_set(dev[who], &conf, err), 0);
}

static void
rules_obeyed(void)
{
	obey_rules(V);
}

static void
own_rule(void *arg)
{
	(void)arg;
	set_rule(V, 0);
}

static void
rules_new(void)
{
	obey_rules(A);
	set_rule(A, 0);
	set_rule(A, 1);
}

static void
rules_known(void)
{
	rules_new();
	say(V, A, 60, 1);
	hear(A, dev[V]);
}

/* The next owner has no rules. */
static void
dead_rules(pid_t victim)
{
	uint64_t before, after, bytes;

	dead(victim);
	obey_rules(V);
	uvb_rule_count(dev[V], 0, &before, &bytes);
	talk(A, V, 60);
	uvb_rule_count(dev[V], 0, &after, &bytes);
	if (before != after)
		kill_leak("a rule of the predecessor is in force");
	set_rule(V, 1);
	talk(A, V, 60);
}

/* ---------------------------------------------------------------------- ports of several processes
 */

#define JOINED 1 /* member slot of who joins */

static struct uvb_dev *owner; /* of v's port, and it lives: v is a process that has joined it */

static void
share(void)
{
	owner = dev[V];
	dev[V] = lab_join(&lab, owner);
}

static void
shared_frames(void)
{
	share();
	say(A, V, 100, 1);
	say(B, V, LONG, 2);
}

static void
frozen_member(pid_t victim)
{
	set_member(V, JOINED, victim);
	daemon_is_victim = true; /* the owner of v's port stays who it is */
	frozen(victim);
}

static void
take_over(void)
{
	if (uvb_txq_reset(owner, 0) != 0 || uvb_rxq_reset(owner, 0) != 0 ||
	    uvb_txq_take(owner, 0) == NULL || uvb_rxq_take(owner, 0) == NULL)
		kill_stall("the owner does not get the queues");
	dev[V] = owner;
}

/* The port lives: its owner ends what the dead one left half done, and goes on where it was. */
static void
dead_member(pid_t victim)
{
	struct left left = adopt();

	(void)victim;
	if (UVB_LIFE_STATE(atomic_load(&port_of(V)->life)) != UVB_PORT_UP)
		kill_stall("the port has gone with one of its processes");
	if (port_of(V)->member[JOINED].pid != 0)
		kill_leak("the dead one is a member still");
	take_over();
	check_heard(&left);
	if (hear(V, dev[A]) != 0)
		kill_leak("frames for the dead one");
	check_talk();
	check_ledger();
}

/* v is the owner, and ends what another has left. */
static void
half_done(void)
{
	struct uvb_desc *desc = uvb_map_cells(&lab.daemon.map, uvb_id(dev[V]), 0).desc;

	say(V, A, 100, 1);
	say(V, B, LONG, 2);
	say(A, V, LONG, 3);
	atomic_store(&desc[40].owner, UVB_OWNER(dev[A]->gen, uvb_id(dev[A]), 0, 9));
	atomic_store(&uvb_map_rxq(&lab.daemon.map, uvb_id(dev[B]), 0)->summary, 0);
}

static void __attribute__((noinline)) reset_queues(void *arg)
{
	(void)arg;
	uvb_txq_reset(dev[V], 0);
	uvb_rxq_reset(dev[V], 0);
	uvb_txq_take(dev[V], 0);
	uvb_rxq_take(dev[V], 0);
}

static void
join(void *arg)
{
	struct uvb_ctl_join req = {.port = uvb_id(dev[V]), .gen = uvb_gen(dev[V])};
	struct client client = {.pid = NOBODY};

	(void)arg;
	must(port_join(&lab.daemon, &client, &req, &answer));
}

/* ---------------------------------------------------------------------------------------- clock
 */

/* a and b sleep, each until its time; v is the last that is awake. */
static void
all_but_one(void)
{
	stop_time();
	must(clock_request(&lab.daemon, UVB_CLOCK_AUTO, 0, &answer));
	uvb_idle(dev[V], UVB_BUSY);
	uvb_rx_arm(uvb_rxq(dev[V], 0), false);
	for (uint8_t who = A; who <= B; who++) {
		sleep_now(who);
		uvb_idle(dev[who], uvb_clock(dev[who]) + (who == A ? 10 : 20) * MS);
	}
}

static void
fall_asleep(void *arg)
{
	(void)arg;
	uvb_idle(dev[V], uvb_clock(dev[V]) + 30 * MS);
}

static bool
rung(uint8_t who)
{
	struct pollfd pfd = {.fd = uvb_rxq_fd(uvb_rxq(dev[who], 0)), .events = POLLIN};

	return poll(&pfd, 1, 0) != 0;
}

static uint64_t begun;

static void
frozen_mover(pid_t victim)
{
	set_member(V, UVB_OWNER_SLOT, victim);
	begun = uvb_clock(dev[A]);
}

/* Time goes on without v: a is rung at its time, then b. */
static void
dead_mover(pid_t victim)
{
	(void)victim;
	adopt();
	clock_tick(&lab.daemon);
	for (uint8_t who = A; who <= B; who++) {
		if (!rung(who))
			kill_stall("%u sleeps past its time", who);
		if (uvb_clock(dev[who]) < begun)
			kill_leak("time went back");
		uvb_rx_disarm(uvb_rxq(dev[who], 0));
		uvb_idle(dev[who], UVB_CLOCK_FREE); /* out of the way of the other */
		sleep_now(who);
		uvb_idle(dev[who], UVB_CLOCK_FREE);
		clock_tick(&lab.daemon);
	}
	for (uint8_t who = A; who <= B; who++)
		uvb_rx_disarm(uvb_rxq(dev[who], 0));
	must(clock_request(&lab.daemon, UVB_CLOCK_REAL, 0, &answer));
	check_reuse();
	check_ledger();
}

static void
sleepers_and_dead_v(void)
{
	all_but_one();
	must(clock_request(&lab.daemon, UVB_CLOCK_STOP, 0, &answer));
	dead_v();
}

static void
step_clock(void *arg)
{
	(void)arg;
	must(clock_request(&lab.daemon, UVB_CLOCK_STEP, 15 * MS, &answer));
}

static void
make_clock_real(void *arg)
{
	(void)arg;
	must(clock_request(&lab.daemon, UVB_CLOCK_REAL, 0, &answer));
}

/* Whatever it had done of it: the next daemon makes time what it is asked to, and it never goes
 * back. */
static void
dead_clock(pid_t victim)
{
	uint64_t seen = uvb_clock(dev[A]);

	(void)victim;
	adopt();
	stop_time();
	if (uvb_clock(dev[A]) < seen)
		kill_leak("time went back");
	seen = uvb_clock(dev[A]);
	must(clock_request(&lab.daemon, UVB_CLOCK_REAL, 0, &answer));
	if (uvb_clock(dev[A]) < seen)
		kill_leak("time went back");
	for (uint8_t who = A; who <= B; who++)
		uvb_rx_disarm(uvb_rxq(dev[who], 0));
	check_reuse();
	check_ledger();
}

static const struct kill_case cases[] = {
	{"fault-new", "sends through faults it has not seen", faults_new, send_six,
	 MARKER(uvb_tx_burst), frozen, dead_faults},
	{"fault-tx", "sends through faults", faults_known, send_six, MARKER(uvb_tx_burst), frozen,
	 dead_faults},
	{"fault-model", "sends over a slow line that loses and doubles", models, send_six,
	 MARKER(uvb_tx_burst), frozen, dead_faults},
	{"fault-parked", "receives what was delayed", parked, receive, MARKER(uvb_rx_peek), frozen,
	 dead_faults},
	{"fault-add", "as the daemon, adds a fault", holding, add_fault, MARKER(fault_add), NULL,
	 dead_faults},
	{"fault-remove", "as the daemon, removes a fault", holding, remove_fault,
	 MARKER(fault_remove), NULL, dead_faults},
	{"fault-release", "as the daemon, lets a held frame go", holding, release_held,
	 MARKER(fault_release), NULL, dead_faults},
	{"policy-new", "sends by policies it has not seen", policies_new, send_broadcast_and_one,
	 MARKER(uvb_tx_burst), frozen, dead_policies},
	{"policy-tx", "sends by policies: VLAN, storm limit, mirror", policies_known, send_all,
	 MARKER(send_all), frozen, dead_policies},
	{"policy-set", "as the daemon, sets policies", dead_v_alone, set_policies,
	 MARKER(set_policies), NULL, dead_policies},
	{"policy-fdb", "as the daemon, makes an address static", dead_v_alone, fix_address,
	 MARKER(handle_fdb), NULL, dead_policies},
	{"adapter-make", "as the daemon, makes an adapter", dead_v_alone, make_adapter,
	 MARKER(handle_adapter), NULL, dead_adapter},
	{"adapter-remove", "as the daemon, removes an adapter", dead_v_and_adapter, remove_adapter,
	 MARKER(handle_adapter), NULL, dead_adapter},
	{"rule-set", "publishes a flow rule", rules_obeyed, own_rule, MARKER(uvb_rule_set), frozen,
	 dead_rules},
	{"rule-new", "sends by flow rules it has not seen", rules_new, send_six,
	 MARKER(uvb_tx_burst), frozen, dead},
	{"rule-tx", "sends by flow rules", rules_known, send_six, MARKER(uvb_tx_burst), frozen,
	 dead},
	{"member-tx", "as a process of another's port, sends", share, send_six,
	 MARKER(uvb_tx_burst), frozen_member, dead_member},
	{"member-rx", "as a process of another's port, receives", shared_frames, receive,
	 MARKER(uvb_rx_peek), frozen_member, dead_member},
	{"member-reset", "ends what another process has left", half_done, reset_queues,
	 MARKER(reset_queues), frozen, dead},
	{"member-join", "as the daemon, lets a process join", dead_v_alone, join, MARKER(port_join),
	 NULL, dead},
	{"clock-turn", "falls asleep last, and moves the clock", all_but_one, fall_asleep,
	 MARKER(uvb_idle), frozen_mover, dead_mover},
	{"clock-step", "as the daemon, steps the clock", sleepers_and_dead_v, step_clock,
	 MARKER(clock_request), NULL, dead_clock},
	{"clock-real", "as the daemon, makes time real", sleepers_and_dead_v, make_clock_real,
	 MARKER(clock_request), NULL, dead_clock},
	{0},
};

int
main(int argc, char **argv)
{
	return world_main(argc, argv, "kill_switch", cases);
}
