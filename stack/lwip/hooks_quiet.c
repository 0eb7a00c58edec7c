/* SPDX-License-Identifier: BSD-3-Clause */
/* The hooks of uvl.h that tell what happens, for whoever has nothing to say: tests and fuzz
 * targets.
 */
#include "uvl.h"

void
uvl_on_drop(enum uvl_drop what)
{
	(void)what;
}

void
uvl_on_tcp_state(const struct tcp_pcb *pcb, enum tcp_state to)
{
	(void)pcb;
	(void)to;
}

void
uvl_on_tcp_retransmit(const struct tcp_pcb *pcb, u32_t seq, u16_t len)
{
	(void)pcb;
	(void)seq;
	(void)len;
}

err_t
uvl_loop_input(struct pbuf *p, struct netif *netif)
{
	return ip_input(p, netif);
}

void
uvl_on_conflict(const ip4_addr_t *addr, const u8_t *mac, bool kept)
{
	(void)addr;
	(void)mac;
	(void)kept;
}
