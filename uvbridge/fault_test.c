/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Filters, checks of definitions, and what faults decide, without a fabric around them.
 */
#include <stddef.h>

#include "uvbridge/bpf.h"
#include "uvbridge/clock.h"
#include "uvbridge/delay.h"
#include "uvbridge/fault.h"
#include "uvbridge/test.h"

/* ------------------------------------------------------------------------------------------ bpf */

#define LDH_ABS 0x28
#define LDB_ABS 0x30
#define LDB_IND 0x50
#define LDX_MSH 0xb1
#define LDX_IMM 0x01
#define DIV_X   0x3c
#define DIV_K   0x34
#define JA_K    0x05
#define JEQ_K   0x15
#define ST_MEM  0x02
#define RET_K   0x06
#define RET_AC  0x16

#define CHECK_BPF(...)                                                     \
	uvb_bpf_check((const struct uvb_bpf_insn[]){__VA_ARGS__},          \
		      sizeof((const struct uvb_bpf_insn[]){__VA_ARGS__}) / \
			      sizeof(struct uvb_bpf_insn))

static void
test_bpf_check(void)
{
	CHECK(CHECK_BPF({RET_K, 0, 0, 1}));
	CHECK(!uvb_bpf_check(NULL, 0));
	CHECK(!CHECK_BPF({LDH_ABS, 0, 0, 12}));                        /* runs off the end */
	CHECK(!CHECK_BPF({JEQ_K, 0, 1, 0}, {RET_K, 0, 0, 1}));         /* jumps off the end */
	CHECK(!CHECK_BPF({JA_K, 0, 0, UINT32_MAX}, {RET_K, 0, 0, 1})); /* jumps back */
	CHECK(!CHECK_BPF({DIV_K, 0, 0, 0}, {RET_K, 0, 0, 1}));
	CHECK(!CHECK_BPF({ST_MEM, 0, 0, 16}, {RET_K, 0, 0, 1}));
	CHECK(!CHECK_BPF({0xffff, 0, 0, 0}, {RET_K, 0, 0, 1}));
}

static void
test_bpf_run(void)
{
	/* IPv4, and the first word behind its header, options and all, is 80 */
	static const struct uvb_bpf_insn port80[] = {
		{LDH_ABS, 0, 0, 12}, {JEQ_K, 0, 4, 0x800}, {LDX_MSH, 0, 0, 14}, {0x48, 0, 0, 14},
		{JEQ_K, 0, 1, 80},   {RET_K, 0, 0, 7},     {RET_K, 0, 0, 0}};
	static const struct uvb_bpf_insn divide[] = {
		{LDX_IMM, 0, 0, 0}, {DIV_X, 0, 0, 0}, {RET_K, 0, 0, 1}};
	static const struct uvb_bpf_insn far[] = {
		{LDX_IMM, 0, 0, UINT32_MAX}, {LDB_IND, 0, 0, UINT32_MAX}, {RET_K, 0, 0, 1}};
	static const struct uvb_bpf_insn acc[] = {{LDB_ABS, 0, 0, 3}, {RET_AC, 0, 0, 0}};
	uint8_t frame[60] = {[3] = 9, [12] = 8, [14] = 0x46, [14 + 24 + 1] = 80};

	CHECK(uvb_bpf_check(port80, 7) && uvb_bpf_check(divide, 3) && uvb_bpf_check(far, 3));
	CHECK_EQ(uvb_bpf_run(port80, frame, sizeof(frame)), 7);
	CHECK_EQ(uvb_bpf_run(port80, frame, 39), 0); /* cut short: does not match */
	frame[39] = 81;
	CHECK_EQ(uvb_bpf_run(port80, frame, sizeof(frame)), 0);
	CHECK_EQ(uvb_bpf_run(divide, frame, sizeof(frame)), 0);
	CHECK_EQ(uvb_bpf_run(far, frame, sizeof(frame)), 0);
	CHECK_EQ(uvb_bpf_run(acc, frame, sizeof(frame)), 9);
}

/* Programs made of random instructions: what passes the check ends, and reads nothing it should
 * not (the sanitizers watch). */
static void
test_bpf_random(void)
{
	struct uvb_bpf_insn insn[12];
	uint8_t frame[40];
	uint32_t passed = 0;

	memset(frame, 0x45, sizeof(frame));
	for (int round = 0; round < 300000; round++) {
		uint32_t n = 1 + (uint32_t)rnd() % 12;

		for (uint32_t i = 0; i < n; i++)
			insn[i] = (struct uvb_bpf_insn){(uint16_t)(rnd() & 0xff),
							(uint8_t)(rnd() % 8), (uint8_t)(rnd() % 8),
							rnd() % 2 != 0 ? (uint32_t)rnd() % 64
								       : (uint32_t)rnd()};
		insn[n - 1].code = RET_K;
		if (!uvb_bpf_check(insn, n))
			continue;
		passed++;
		uvb_bpf_run(insn, frame, (uint32_t)rnd() % sizeof(frame));
	}
	CHECK(passed > 1000);
}

/* --------------------------------------------------------------------------------------- checks */

static struct uvb_fault_def
a_rule(enum uvb_fault_verdict verdict)
{
	struct uvb_fault_def d = {.port = "a", .kind = UVB_FAULT_RULE, .verdict = (uint8_t)verdict};

	return d;
}

static void
test_check(void)
{
	struct uvb_fault_def d = a_rule(UVB_FAULT_DROP);

	CHECK(uvb_fault_check(&d) == NULL);
	memset(d.port, 'x', sizeof(d.port));
	CHECK(uvb_fault_check(&d) != NULL);
	d = a_rule(UVB_FAULT_DROP);
	memset(d.text, 'x', sizeof(d.text));
	CHECK(uvb_fault_check(&d) != NULL);
	d = a_rule(UVB_FAULT_DROP);
	d.nb_insns = UINT32_MAX;
	CHECK(uvb_fault_check(&d) != NULL);
	d = a_rule(UVB_FAULT_LOSS); /* a word of the log, not a verdict */
	CHECK(uvb_fault_check(&d) != NULL);
	d = a_rule(UVB_FAULT_TRUNCATE);
	d.length = 13;
	CHECK(uvb_fault_check(&d) != NULL);
	d = a_rule(UVB_FAULT_DELAY);
	d.delay_ns = UINT64_MAX;
	CHECK(uvb_fault_check(&d) != NULL);
}

/* Any bytes: refused, or harmless to compile and run. */
static void
test_check_random(void)
{
	static struct uvb_fault_def d;
	uint8_t *p = (uint8_t *)&d;

	for (int round = 0; round < 2000; round++) {
		d = a_rule((enum uvb_fault_verdict)(1 + rnd() % 7));
		for (int i = 0; i < 8; i++)
			p[rnd() % offsetof(struct uvb_fault_def, insn)] = (uint8_t)rnd();
		if (uvb_fault_check(&d) == NULL)
			CHECK(d.nb_insns <= UVB_FAULT_INSNS && d.dir <= 1 &&
			      strnlen(d.text, sizeof(d.text)) < sizeof(d.text));
	}
}

/* ---------------------------------------------------------------------------------------- parked
 */

static void
test_parked_order(void)
{
	struct uvb_delay d = {0};
	struct uvb_parked p;
	uint64_t last_at = 0, last_order = 0;
	uint32_t n = 0;

	for (uint32_t i = 0; i < 1000; i++)
		CHECK(uvb_delay_park(&d, (struct uvb_parked){.at = 1 + rnd() % 100, .pos = i}));
	CHECK(uvb_delay_park(&d, (struct uvb_parked){.at = UVB_HELD(3, 7)}));
	CHECK_EQ(uvb_delay_count(&d), 1001);
	for (uint64_t now = 0; now <= 100; now++)
		while (uvb_delay_due(&d, now, &p)) {
			CHECK_EQ(p.at, now);
			CHECK(p.at > last_at || p.order > last_order || n == 0);
			last_at = p.at;
			last_order = p.order;
			n++;
		}
	CHECK_EQ(n, 1000);
	CHECK_EQ(uvb_delay_next(&d), UINT64_MAX);
	uvb_delay_release(&d, 0);
	CHECK(uvb_delay_due(&d, 1, &p));
	CHECK_EQ(uvb_delay_count(&d), 0);
	uvb_delay_free(&d);
}

static void
test_held_word(void)
{
	uint64_t at = UVB_HELD(0xabcdef, 0x7123456789);

	CHECK(UVB_HELD_IS(at));
	CHECK_EQ(UVB_HELD_HANDLE(at), 0xabcdef);
	CHECK_EQ(UVB_HELD_NUMBER(at), 0x7123456789);
	CHECK(!UVB_HELD_IS(uvb_now_ns()));
}

/* --------------------------------------------------------------------------------------- decide */

/* A table in ordinary memory. */
static struct uvb_map map;

static void
table_make(void)
{
	struct uvb_hdr shape = {.nb_ports = 2,
				.nb_queues = 1,
				.cells_per_txq = 64,
				.voq_depth = 32,
				.fdb_buckets = UVB_FDB_MIN};

	CHECK_EQ(uvb_layout(&shape, NULL), 0);
	map = (struct uvb_map){.nb_ports = 2,
			       .nb_queues = 1,
			       .off_faults = shape.off_faults,
			       .off_decisions = shape.off_decisions,
			       .base = calloc(1, shape.off_voqs)};
	CHECK(map.base != NULL);
}

static void
table_add(uint32_t handle, const struct uvb_fault_def *def)
{
	struct uvb_fault_shm *f = uvb_map_fault(&map, handle % UVB_FAULTS_MAX);

	memset(f, 0, sizeof(*f));
	f->def = *def;
	atomic_store(&f->handle, handle);
	atomic_fetch_add(&uvb_map_hdr(&map)->fault_seq, 2);
}

static void
test_load(void)
{
	struct uvb_fault_def rule = a_rule(UVB_FAULT_DROP),
			     model = {.port = "a", .kind = UVB_FAULT_MODEL};
	struct uvb_faults *f;
	struct uvb_fault *kept;

	table_make();
	f = uvb_faults_new(&map, uvb_map_decisions(&map, 0, 0));
	CHECK(f != NULL);
	table_add(1, &model);
	table_add(2, &rule);
	CHECK(uvb_faults_load(f));
	CHECK_EQ(f->n, 2);
	CHECK_EQ(f->fault[0]->handle, 2); /* rules first */
	CHECK_EQ(uvb_faults_of(f, 0, UVB_FAULT_TX), 3);
	CHECK_EQ(uvb_faults_of(f, 0, UVB_FAULT_RX), 0);
	kept = f->fault[0];
	/* Met in the middle of a change: the copy stays. */
	atomic_fetch_add(&uvb_map_hdr(&map)->fault_seq, 1);
	CHECK(!uvb_faults_load(f));
	CHECK_EQ(f->n, 2);
	atomic_fetch_add(&uvb_map_hdr(&map)->fault_seq, 1);
	/* A scribbled definition is nobody's fault. */
	table_add(3, &rule);
	uvb_map_fault(&map, 3)->def.verdict = 99;
	atomic_store(&uvb_map_fault(&map, 1)->handle, 0);
	CHECK(uvb_faults_load(f));
	CHECK_EQ(f->n, 1);
	CHECK(f->fault[0] == kept);
	uvb_faults_free(f);
	free(map.base);
}

/* Two senders that take turns as they like draw the same numbers as one. */
static void
test_chance_is_shared(void)
{
	struct uvb_fault_def model = {.port = "a",
				      .kind = UVB_FAULT_MODEL,
				      .seed = 5,
				      .loss = UVB_CERTAIN / 2,
				      .ge_p = UVB_CERTAIN / 10,
				      .ge_r = UVB_CERTAIN / 10,
				      .ge_bad = UVB_CERTAIN};
	uint8_t frame[60] = {0}, fate_of[2][300];
	struct uvb_faults *f[2];
	struct uvb_fate fate;

	table_make();
	for (int pass = 0; pass < 2; pass++) {
		table_add(1, &model); /* from the start */
		for (int i = 0; i < 2; i++) {
			f[i] = uvb_faults_new(&map, uvb_map_decisions(&map, (uint32_t)i, 0));
			CHECK(f[i] != NULL && uvb_faults_load(f[i]));
		}
		for (int n = 0; n < 300; n++) {
			uvb_faults_decide(f[pass == 0 ? 0 : rnd() % 2], 1, frame, sizeof(frame), 1,
					  0, &fate);
			fate_of[pass][n] = (uint8_t)fate.drop;
		}
		uvb_faults_free(f[0]);
		uvb_faults_free(f[1]);
	}
	CHECK(memcmp(fate_of[0], fate_of[1], sizeof(fate_of[0])) == 0);
	CHECK(memchr(fate_of[0], 0, sizeof(fate_of[0])) != NULL);
	free(map.base);
}

/* A full log loses entries, counted, and nothing else. */
static void
test_log_overflow(void)
{
	struct uvb_fault_def rule = a_rule(UVB_FAULT_DROP);
	struct uvb_decisions_shm *log;
	struct uvb_faults *f;
	struct uvb_fate fate;
	uint8_t frame[60] = {0};

	table_make();
	table_add(1, &rule);
	log = uvb_map_decisions(&map, 0, 0);
	f = uvb_faults_new(&map, log);
	CHECK(f != NULL && uvb_faults_load(f));
	for (int i = 0; i < UVB_DECISIONS + 5; i++) {
		uvb_faults_decide(f, 1, frame, sizeof(frame), 1, 0, &fate);
		CHECK_EQ(fate.drop, UVB_FAULT_DROP);
	}
	CHECK_EQ(atomic_load(&log->head), UVB_DECISIONS);
	CHECK_EQ(uvb_load(&log->lost), 5);
	uvb_faults_free(f);
	free(map.base);
}

int
main(void)
{
	seed_init();
	RUN(test_bpf_check);
	RUN(test_bpf_run);
	RUN(test_bpf_random);
	RUN(test_check);
	RUN(test_check_random);
	RUN(test_parked_order);
	RUN(test_held_word);
	RUN(test_load);
	RUN(test_chance_is_shared);
	RUN(test_log_overflow);
	return 0;
}
