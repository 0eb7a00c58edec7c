/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/fuzz/peer.h"
#include "stack/fuzz/host.h"

#include "lwip/prot/tcp.h"
#include "lwip/tcp.h"

static struct tcp_pcb *
some_pcb(uint8_t which)
{
	struct tcp_pcb *pcb = tcp_active_pcbs;

	if (which & 0x80)
		pcb = tcp_tw_pcbs;
	for (which &= 15; pcb != NULL && pcb->next != NULL && which > 0; which--)
		pcb = pcb->next;
	return pcb;
}

/* Of 2^0 to 2^31, either way; mostly small. */
static uint32_t
offset(struct input *in)
{
	uint16_t v = input_u16(in);
	uint32_t n = (uint32_t)(v & 0x7ff) << (v >> 11 & 15);

	return v & 0x8000 ? -n : n;
}

static void
tcp_segment(struct input *in, uint32_t from, uint16_t sport, uint16_t dport, uint32_t seqno,
	    uint32_t ackno, uint8_t flags)
{
	static uint8_t segment[60 + 4096];
	struct tcp_hdr *tcp = (void *)segment;
	uint8_t options = input_u8(in) % 11 * 4;
	size_t length = input_u16(in) % 4096, split = input_u8(in) * 16u;

	memset(segment, 0, sizeof(segment));
	tcp->src = lwip_htons(sport);
	tcp->dest = lwip_htons(dport);
	tcp->seqno = lwip_htonl(seqno);
	tcp->ackno = lwip_htonl(ackno);
	TCPH_HDRLEN_FLAGS_SET(tcp, 5 + options / 4, flags);
	tcp->wnd = lwip_htons(input_u16(in));
	input_bytes(in, tcp + 1, options);
	host_ipv4(from, IP_PROTO_TCP, 0, 0, segment, TCP_HLEN + options + length, split);
}

void
peer_near(struct input *in)
{
	const struct tcp_pcb *pcb = some_pcb(input_u8(in));
	uint8_t flags = input_u8(in) & 0x3f;
	uint32_t seqno = offset(in), ackno = offset(in);

	uint32_t from;

	if (pcb == NULL || !IP_IS_V4_VAL(pcb->remote_ip))
		return;
	from = lwip_ntohl(ip_2_ip4(&pcb->remote_ip)->addr);
	if (from != FUZZ_HOST_IP) /* with itself the host speaks alone */
		tcp_segment(in, from, pcb->remote_port, pcb->local_port, pcb->rcv_nxt + seqno,
			    pcb->snd_nxt + ackno, flags);
}

void
peer_handshake(struct input *in, uint8_t which, uint16_t port, bool whole)
{
	uint32_t from = FUZZ_PEER_IP + which / 64 * 8;
	uint16_t sport = (uint16_t)(1000 + which % 64);

	tcp_segment(in, from, sport, port, 5000, 0, TCP_SYN);
	if (whole)
		tcp_segment(in, from, sport, port, 5001, host_isn + 1, TCP_ACK);
}

void
peer_frame(struct input *in, bool ipv6)
{
	uint8_t frame[1514] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1};
	size_t length = 14 + input_u16(in) % 1500, split = input_u8(in) * 8u;

	input_bytes(in, frame + (ipv6 ? 14 : 0), length - (ipv6 ? 14 : 0));
	if (ipv6) {
		frame[12] = 0x86;
		frame[13] = 0xdd;
	}
	host_frame(frame, length, ipv6 && split < 54 ? 0 : split);
}

void
peer_ipv4(struct input *in)
{
	uint8_t payload[2048], protocol = input_u8(in);
	uint16_t id = input_u8(in), where = input_u16(in);
	size_t length = input_u16(in) % sizeof(payload);

	length = input_bytes(in, payload, length);
	host_ipv4(FUZZ_PEER_IP, protocol, id, where, payload, length, 0);
}
