/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Classic BPF: check and run.
 */
#include "uvbridge/bpf.h"

#define MEM_WORDS 16

/* The fields of a code, as in <linux/bpf_common.h>. */
#define CLASS(c) ((c)&0x07)
#define SIZE(c)  ((c)&0x18)
#define MODE(c)  ((c)&0xe0)
#define OP(c)    ((c)&0xf0)
#define BY_X_BIT 0x08
#define BY_X(c)  ((c)&BY_X_BIT)
enum class {
	LD,
	LDX,
	ST,
	STX,
	ALU,
	JMP,
	RET,
	MISC,
};
enum { SIZE_W = 0x00, SIZE_H = 0x08, SIZE_B = 0x10 };
enum { IMM = 0x00, ABS = 0x20, IND = 0x40, MEM = 0x60, LEN = 0x80, MSH = 0xa0 };
enum {
	ADD = 0x00,
	SUB = 0x10,
	MUL = 0x20,
	DIV = 0x30,
	OR = 0x40,
	AND = 0x50,
	LSH = 0x60,
	RSH = 0x70,
	NEG = 0x80,
	MOD = 0x90,
	XOR = 0xa0,
};
enum { JA = 0x00, JEQ = 0x10, JGT = 0x20, JGE = 0x30, JSET = 0x40 };
enum { TXA = 0x80, RET_A = 0x10 };

/* ---------------------------------------------------------------------------------------- check */

static bool
check_load(const struct uvb_bpf_insn *i)
{
	switch (MODE(i->code)) {
	case IMM:
	case LEN:
		return SIZE(i->code) == SIZE_W;
	case MEM:
		return SIZE(i->code) == SIZE_W && i->k < MEM_WORDS;
	case ABS:
	case IND:
		return CLASS(i->code) == LD && SIZE(i->code) <= SIZE_B;
	case MSH:
		return CLASS(i->code) == LDX && SIZE(i->code) == SIZE_B;
	default:
		return false;
	}
}

static bool
check_alu(const struct uvb_bpf_insn *i)
{
	if (OP(i->code) > XOR || i->code == (ALU | NEG | BY_X_BIT))
		return false;
	if (BY_X(i->code))
		return true;
	if (OP(i->code) == DIV || OP(i->code) == MOD)
		return i->k != 0;
	return (OP(i->code) != LSH && OP(i->code) != RSH) || i->k < 32;
}

/* `left`: instructions that follow this one. Jumps go forward only. */
static bool
check_jump(const struct uvb_bpf_insn *i, uint32_t left)
{
	if (OP(i->code) == JA)
		return !BY_X(i->code) && i->k < left;
	return OP(i->code) <= JSET && i->jt < left && i->jf < left;
}

/* Spelled as libpcap spells it, without bits that mean nothing. */
static bool
check_insn(const struct uvb_bpf_insn *i, uint32_t left)
{
	if (i->code > 0xff)
		return false;
	switch ((enum class)CLASS(i->code)) {
	case LD:
	case LDX:
		return check_load(i);
	case ST:
	case STX:
		return i->code == CLASS(i->code) && i->k < MEM_WORDS;
	case ALU:
		return check_alu(i);
	case JMP:
		return check_jump(i, left);
	case RET:
		return i->code == RET || i->code == (RET | RET_A);
	case MISC:
		return i->code == MISC || i->code == (MISC | TXA);
	}
	return false;
}

bool
uvb_bpf_check(const struct uvb_bpf_insn *insn, uint32_t n)
{
	if (n == 0 || n > UVB_FAULT_INSNS)
		return false;
	for (uint32_t i = 0; i < n; i++)
		if (!check_insn(&insn[i], n - 1 - i))
			return false;
	return CLASS(insn[n - 1].code) == RET;
}

/* ------------------------------------------------------------------------------------------ run */

struct machine {
	const uint8_t *frame;
	uint32_t len;
	uint32_t a, x;
	uint32_t mem[MEM_WORDS];
};

/* Bytes at `at`, in network order. false: the frame ends before them. */
static bool
fetch(const struct machine *m, uint64_t at, uint32_t size, uint32_t *v)
{
	uint32_t bytes = size == SIZE_W ? 4 : size == SIZE_H ? 2 : 1;

	if (at + bytes > m->len)
		return false;
	*v = 0;
	for (uint32_t i = 0; i < bytes; i++)
		*v = *v << 8 | m->frame[at + i];
	return true;
}

/* false: beyond the frame, which then does not match. */
static bool
load(struct machine *m, const struct uvb_bpf_insn *i)
{
	uint32_t *to = CLASS(i->code) == LD ? &m->a : &m->x;

	switch (MODE(i->code)) {
	case IMM:
		*to = i->k;
		return true;
	case LEN:
		*to = m->len;
		return true;
	case MEM:
		*to = m->mem[i->k];
		return true;
	case MSH: /* the length of an IPv4 header */
		if (i->k >= m->len)
			return false;
		*to = (m->frame[i->k] & 0xfu) << 2;
		return true;
	case IND:
		return fetch(m, (uint64_t)m->x + i->k, SIZE(i->code), to);
	default:
		return fetch(m, i->k, SIZE(i->code), to);
	}
}

/* false: division by zero. */
static bool
compute(struct machine *m, const struct uvb_bpf_insn *i)
{
	uint32_t v = BY_X(i->code) ? m->x : i->k;

	switch (OP(i->code)) {
	case ADD:
		m->a += v;
		return true;
	case SUB:
		m->a -= v;
		return true;
	case MUL:
		m->a *= v;
		return true;
	case DIV:
		m->a = v != 0 ? m->a / v : 0;
		return v != 0;
	case MOD:
		m->a = v != 0 ? m->a % v : 0;
		return v != 0;
	case OR:
		m->a |= v;
		return true;
	case AND:
		m->a &= v;
		return true;
	case XOR:
		m->a ^= v;
		return true;
	case LSH:
		m->a = v < 32 ? m->a << v : 0;
		return true;
	case RSH:
		m->a = v < 32 ? m->a >> v : 0;
		return true;
	default:
		m->a = -m->a;
		return true;
	}
}

/* How many instructions to skip. */
static uint32_t
jump(const struct machine *m, const struct uvb_bpf_insn *i)
{
	uint32_t v = BY_X(i->code) ? m->x : i->k;
	bool is;

	switch (OP(i->code)) {
	case JA:
		return i->k;
	case JEQ:
		is = m->a == v;
		break;
	case JGT:
		is = m->a > v;
		break;
	case JGE:
		is = m->a >= v;
		break;
	default:
		is = (m->a & v) != 0;
		break;
	}
	return is ? i->jt : i->jf;
}

uint32_t
uvb_bpf_run(const struct uvb_bpf_insn *insn, const uint8_t *frame, uint32_t len)
{
	struct machine m = {.frame = frame, .len = len};

	for (const struct uvb_bpf_insn *i = insn;; i++) {
		switch ((enum class)CLASS(i->code)) {
		case LD:
		case LDX:
			if (!load(&m, i))
				return 0;
			break;
		case ST:
			m.mem[i->k] = m.a;
			break;
		case STX:
			m.mem[i->k] = m.x;
			break;
		case ALU:
			if (!compute(&m, i))
				return 0;
			break;
		case JMP:
			i += jump(&m, i);
			break;
		case RET:
			return (i->code & 0x18) == RET_A ? m.a : i->k;
		case MISC:
			if (OP(i->code) & TXA)
				m.a = m.x;
			else
				m.x = m.a;
			break;
		}
	}
}
