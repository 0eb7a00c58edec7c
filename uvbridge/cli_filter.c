/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Filters in the words of tcpdump, compiled by libpcap.
 */
#include <pcap/pcap.h>

#include "uvbridge/cli.h"

static int
copy(const char *verb, const struct bpf_program *prog, struct uvb_bpf_insn *insn, uint32_t max)
{
	_Static_assert(sizeof(struct bpf_insn) == sizeof(struct uvb_bpf_insn), "as libpcap's");
	if (prog->bf_len > max) {
		cli_usage(verb,
			  "--filter: %u instructions; %u are the most: say less at once, or use "
			  "several",
			  prog->bf_len, max);
		return -1;
	}
	memcpy(insn, prog->bf_insns, prog->bf_len * sizeof(insn[0]));
	return (int)prog->bf_len;
}

int
cli_filter(const char *verb, const char *text, struct uvb_bpf_insn *insn, uint32_t max)
{
	struct bpf_program prog;
	pcap_t *p = pcap_open_dead(DLT_EN10MB, UVB_FRAME_MAX);
	int n = -1;

	if (p != NULL && pcap_compile(p, &prog, text, 1, PCAP_NETMASK_UNKNOWN) == 0) {
		n = copy(verb, &prog, insn, max);
		pcap_freecode(&prog);
	} else {
		cli_usage(verb, "--filter \"%s\": %s", text,
			  p != NULL ? pcap_geterr(p) : "no memory");
	}
	if (p != NULL)
		pcap_close(p);
	return n;
}
