/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/fuzz/peer.h - what the fuzzer sends to the host (host.h): raw frames find the parsers;
 * made-up segments, placed relative to what a connection expects, find the state machine.
 */
#ifndef STACK_FUZZ_PEER_H
#define STACK_FUZZ_PEER_H

#include <stdbool.h>

#include "uvbridge/fuzz/fuzz.h"

/* A whole Ethernet frame, its type of the input's choice; or IPv6 to the host. */
void peer_frame(struct input *in, bool ipv6);

/* An IPv4 packet, or a fragment of one. */
void peer_ipv4(struct input *in);

/* A connection to `port` from one of the peers, as `which` says: its SYN; and if whole, the
 * ACK, too. */
void peer_handshake(struct input *in, uint8_t which, uint16_t port, bool whole);

/* A segment of a connection that there is, near what is expected. */
void peer_near(struct input *in);

#endif /* STACK_FUZZ_PEER_H */
