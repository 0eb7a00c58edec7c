/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/bpf.h - classic BPF on frames: what libpcap's compiler makes of a tcpdump filter.
 *
 * Run here and not by libpcap, because this is in every process that sends, and libpcap would bring
 * half a dozen libraries along. The machine is that of McCanne and Jacobson (USENIX 1993) as
 * pcap-filter(7) programs it, without the extensions of any kernel.
 */
#ifndef UVBRIDGE_BPF_H
#define UVBRIDGE_BPF_H

#include <stdbool.h>
#include <stdint.h>

#include "uvbridge/abi.h"

/* Does it end, stay within itself and its memory, and divide by no constant zero? A program that
 * passes can be run on any bytes. */
bool uvb_bpf_check(const struct uvb_bpf_insn *insn, uint32_t n);

/* Run a checked program on the `len` bytes of a whole frame. 0: the filter does not match. */
uint32_t uvb_bpf_run(const struct uvb_bpf_insn *insn, const uint8_t *frame, uint32_t len);

#endif /* UVBRIDGE_BPF_H */
