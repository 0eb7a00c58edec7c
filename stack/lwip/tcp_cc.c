/* SPDX-License-Identifier: BSD-3-Clause */
/* Congestion control, see uvl_tcp.h. */
#include "uvl.h"

#include <string.h>

#include "lwip/tcp.h"

/* ---- Reno: RFC 5681 ---------------------------------------------------------------------------*/

static void
reno_grow(struct tcp_pcb *pcb, u32_t acked)
{
	if (pcb->cwnd < pcb->ssthresh) {
		pcb->cwnd += LWIP_MIN(acked, LWIP_MAX(pcb->ssthresh - pcb->cwnd, 2u * pcb->mss));
		return;
	}
	pcb->bytes_acked += acked;
	if (pcb->bytes_acked >= pcb->cwnd) {
		pcb->bytes_acked -= pcb->cwnd;
		pcb->cwnd += pcb->mss;
	}
}

static u32_t
reno_shrink(struct tcp_pcb *pcb)
{
	return pcb->cwnd / 2;
}

static const struct uvl_tcp_cc methods[] = {
	{.name = "reno", .grow = reno_grow, .shrink = reno_shrink},
};

#define METHODS (sizeof(methods) / sizeof(methods[0]))

const struct uvl_tcp_cc *
uvl_tcp_cc_find(const char *name)
{
	for (size_t i = 0; i < METHODS; i++)
		if (strcmp(methods[i].name, name) == 0)
			return &methods[i];
	return NULL;
}

const struct uvl_tcp_cc *
uvl_tcp_cc(const struct tcp_pcb *pcb)
{
	return pcb->rec.cc != NULL ? pcb->rec.cc : &methods[0];
}

void
uvl_tcp_cc_set(struct tcp_pcb *pcb, const struct uvl_tcp_cc *cc)
{
	pcb->rec.cc = cc;
	memset(pcb->rec.cc_data, 0, sizeof(pcb->rec.cc_data));
}
