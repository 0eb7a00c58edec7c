/* SPDX-License-Identifier: BSD-3-Clause */
/* The hooks of uvl.h that ask who wants a packet, where there are no sockets (stack/sock). */
#include "uvl.h"

struct udp_pcb *
uvl_udp_find(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote, u16_t remote_port)
{
	(void)local;
	(void)local_port;
	(void)remote;
	(void)remote_port;
	return NULL;
}

void
uvl_icmp6_heard(const struct pbuf *p)
{
	(void)p;
}
