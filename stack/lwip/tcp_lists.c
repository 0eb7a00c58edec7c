/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How lwIP's TCP finds PCBs, in place of walks along all of them.
 *
 * lists  lwIP's own (active, TIME_WAIT, bound, listening), linked both ways: a PCB leaves its list
 *        in one step, and leaving twice does no harm, which lwIP does on some paths.
 * hash   active and TIME_WAIT PCBs by address and port of both ends. Keyed, so that nobody outside
 *        can choose connections that fall into one bucket.
 * ports  how many PCBs, of any list, have each local port.
 * When timers look at them, tcp_timers.c says.
 */
#include "uvl.h"

#include <string.h>

#include "lwip/tcp.h"

static uint64_t
mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static u32_t
hash_of(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote, u16_t remote_port)
{
	const struct uvl *self = uvl_self;
	uint64_t a = (uint64_t)local_port << 48 | (uint64_t)remote_port << 32, b = 0;

	if (IP_IS_V6(local)) {
		const u32_t *l = ip_2_ip6(local)->addr, *r = ip_2_ip6(remote)->addr;

		b = mix(((uint64_t)l[0] << 32 | l[1]) ^ self->secret.k1,
			((uint64_t)r[0] << 32 | r[1]) ^ self->secret.k0);
		b ^= mix(((uint64_t)l[2] << 32 | l[3]) ^ self->secret.k0,
			 ((uint64_t)r[2] << 32 | r[3]) ^ ~self->secret.k1);
	} else {
		a |= ip_2_ip4(remote)->addr;
		b = ip_2_ip4(local)->addr;
	}
	uint64_t h = mix(a ^ self->secret.k0, b ^ self->secret.k1);
	return (u32_t)(h ^ h >> 32);
}

static struct tcp_pcb **
bucket(u32_t hash)
{
	return &uvl_self->tcp_hash_[hash & (UVL_TCP_HASH_SIZE - 1)];
}

void
uvl_tcp_reg(struct tcp_pcb **list, struct tcp_pcb *pcb)
{
	struct uvl *self = uvl_self;

	pcb->next = *list;
	if (pcb->next != NULL)
		pcb->next->list_prev = &pcb->next;
	pcb->list_prev = list;
	*list = pcb;
	self->tcp_ports_[pcb->local_port]++;
	if (list == &self->tcp_listen_pcbs_.pcbs)
		uvl_listen_reg((struct tcp_pcb_listen *)pcb);
	if (list == &self->tcp_active_pcbs_ || list == &self->tcp_tw_pcbs_) {
		struct tcp_pcb **head;

		pcb->hash =
			hash_of(&pcb->local_ip, pcb->local_port, &pcb->remote_ip, pcb->remote_port);
		head = bucket(pcb->hash);
		pcb->hash_next = *head;
		if (pcb->hash_next != NULL)
			pcb->hash_next->hash_prev = &pcb->hash_next;
		pcb->hash_prev = head;
		*head = pcb;
	}
	if (list == &self->tcp_tw_pcbs_)
		uvl_time_wait_reg(pcb);
	else if (list == &self->tcp_active_pcbs_)
		uvl_tcp_due(pcb);
}

void
uvl_tcp_rmv(struct tcp_pcb **list, struct tcp_pcb *pcb)
{
	struct uvl *self = uvl_self;

	if (pcb->list_prev == NULL)
		return;
	if (list == &self->tcp_listen_pcbs_.pcbs)
		uvl_listen_rmv((struct tcp_pcb_listen *)pcb);
	else if (list == &self->tcp_tw_pcbs_)
		uvl_time_wait_rmv(pcb);
	*pcb->list_prev = pcb->next;
	if (pcb->next != NULL)
		pcb->next->list_prev = pcb->list_prev;
	pcb->list_prev = NULL;
	pcb->next = NULL;
	self->tcp_ports_[pcb->local_port]--;
	if (list != &self->tcp_active_pcbs_ && list != &self->tcp_tw_pcbs_)
		return;
	*pcb->hash_prev = pcb->hash_next;
	if (pcb->hash_next != NULL)
		pcb->hash_next->hash_prev = pcb->hash_prev;
	pcb->hash_prev = NULL;
	uvl_tcp_undue(pcb);
	uvl_tcp_not_soon(pcb);
	if (UVL_TCP_RECOVERY)
		uvl_tcp_fine_cancel(pcb);
}

struct tcp_pcb *
uvl_tcp_find(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote, u16_t remote_port,
	     const struct netif *netif)
{
	u32_t hash = hash_of(local, local_port, remote, remote_port);

	/* The hash first: of one that only shares the bucket, no more than its line is fetched. */
	for (struct tcp_pcb *pcb = *bucket(hash); pcb != NULL; pcb = pcb->hash_next)
		if (pcb->hash == hash && pcb->remote_port == remote_port &&
		    pcb->local_port == local_port && ip_addr_cmp(&pcb->remote_ip, remote) &&
		    ip_addr_cmp(&pcb->local_ip, local) &&
		    (pcb->netif_idx == NETIF_NO_INDEX || netif == NULL ||
		     pcb->netif_idx == netif_get_index(netif)))
			return pcb;
	return NULL;
}

struct tcp_pcb *const *
uvl_tcp_slot(const uint8_t *ip, size_t len)
{
	ip_addr_t local = {0}, remote = {0};
	size_t at = 20;
	u16_t port[2];

	if (len >= 24 && ip[0] == 0x45 && ip[9] == IP_PROTO_TCP) {
		memcpy(&ip_2_ip4(&remote)->addr, ip + 12, 4);
		memcpy(&ip_2_ip4(&local)->addr, ip + 16, 4);
	} else if (len >= 44 && ip[0] >> 4 == 6 && ip[6] == IP_PROTO_TCP) {
		at = 40;
		memcpy(ip_2_ip6(&remote)->addr, ip + 8, 16);
		memcpy(ip_2_ip6(&local)->addr, ip + 24, 16);
		IP_SET_TYPE_VAL(local, IPADDR_TYPE_V6);
	} else {
		return NULL;
	}
	memcpy(port, ip + at, sizeof(port));
	return bucket(hash_of(&local, lwip_ntohs(port[1]), &remote, lwip_ntohs(port[0])));
}
