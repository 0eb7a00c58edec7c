/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Fuzzing filters: whatever instructions pass the check can be run on any frame, come to an end,
 * and say what libpcap's machine says of the same.
 *
 * Input: the number of instructions, as many of 8 bytes, the frame.
 */
#include <pcap/pcap.h>
#include <stdlib.h>

#include "uvbridge/bpf.h"
#include "uvbridge/fuzz/fuzz.h"

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

/* libpcap's scratch memory is what happened to be on its stack. */
static bool
reads_memory(const struct bpf_insn *insn, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if ((BPF_CLASS(insn[i].code) == BPF_LD || BPF_CLASS(insn[i].code) == BPF_LDX) &&
		    BPF_MODE(insn[i].code) == BPF_MEM)
			return true;
	return false;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint32_t n = input_u8(&in) % UVB_FAULT_INSNS, len, got;
	struct uvb_bpf_insn *insn = calloc(n + 1, sizeof(*insn));
	struct bpf_insn *same = calloc(n + 1, sizeof(*same));
	uint8_t *frame;

	_Static_assert(sizeof(*insn) == sizeof(*same), "the same instructions");
	input_bytes(&in, insn, n * sizeof(*insn));
	memcpy(same, insn, n * sizeof(*same));
	len = (uint32_t)in.left;
	frame = malloc(len != 0 ? len : 1);
	input_bytes(&in, frame, len);
	if (uvb_bpf_check(insn, n)) {
		got = uvb_bpf_run(insn, frame, len);
		if (!bpf_validate(same, (int)n))
			abort(); /* more than libpcap would take */
		if (!reads_memory(same, n) && got != bpf_filter(same, frame, len, len))
			abort();
	}
	free(frame);
	free(same);
	free(insn);
	return 0;
}
