/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/mgr/pcbs.h"

#include <string.h>

#include "stack/lwip/uvl.h"

bool
pcb_read(const struct uvs_host *h, uint32_t slot, uint32_t i, struct pcb_view *v)
{
	const struct uvs_slot *s = &h->slot[slot];
	struct tcp_pcb pcb;

	if (atomic_load_explicit(&s->pcb_used[i], memory_order_acquire) != 1)
		return false;
	/* A copy: what is checked does not change afterwards. */
	memcpy(&pcb, (const char *)s->pcb + (size_t)i * sizeof(pcb), sizeof(pcb));
	*v = (struct pcb_view){
		.is_v4 = IP_IS_V4_VAL(pcb.remote_ip),
		.lport = pcb.local_port,
		.rport = pcb.remote_port,
		.state = (unsigned int)pcb.state <= TIME_WAIT ? (uint8_t)pcb.state : 255,
		.snd_nxt = pcb.snd_nxt,
		.rcv_nxt = pcb.rcv_nxt,
		.unacked = pcb.snd_nxt - pcb.lastack,
	};
	if (v->is_v4) {
		v->local = ip_2_ip4(&pcb.local_ip)->addr;
		v->remote = ip_2_ip4(&pcb.remote_ip)->addr;
	} else {
		memcpy(v->local6, ip_2_ip6(&pcb.local_ip)->addr, sizeof(v->local6));
		memcpy(v->remote6, ip_2_ip6(&pcb.remote_ip)->addr, sizeof(v->remote6));
	}
	return true;
}

const char *
pcb_state_name(uint8_t state)
{
	static const char *const names[] = {
		"CLOSE",      "LISTEN",     "SYN-SENT", "SYN-RECV", "ESTAB",     "FIN-WAIT-1",
		"FIN-WAIT-2", "CLOSE-WAIT", "CLOSING",  "LAST-ACK", "TIME-WAIT",
	};

	return state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}

bool
neighbour_find(const struct uvs_host *h, uint32_t slot, uint32_t addr, uint8_t mac[6])
{
	return uvl_neighbour(h->slot[slot].lwip, addr, mac);
}

bool
next_hop6_find(const struct uvs_host *h, uint32_t slot, const uint32_t addr[4], uint8_t mac[6])
{
	return uvl_next_hop6(h->slot[slot].lwip, addr, mac);
}
