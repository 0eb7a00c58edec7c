/* SPDX-License-Identifier: BSD-3-Clause */
/* Making instances, and what lwIP asks of its port: random numbers, sequence numbers, asserts. */
#include "uvl.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "lwip/init.h"
#include "lwip/memp.h"

#include "siphash.h"

__thread struct uvl *uvl_self;

/* etharp.c knows the size of its entries. */
size_t uvl_etharp_size(void);
int uvl_etharp_find(const void *table, u32_t addr, u8_t *mac);

#define UVL_PORTS    65536
#define UVL_ALIGN(n) (((n) + 63) & ~(size_t)63)

size_t
uvl_size(void)
{
	return UVL_ALIGN(sizeof(struct uvl)) + UVL_ALIGN(uvl_etharp_size()) +
	       UVL_TCP_HASH_SIZE * sizeof(struct tcp_pcb *) + UVL_PORTS * sizeof(uint32_t);
}

/* Everything but lwip_init(): lwIP's own unit tests call that themselves. */
void uvl_prepare(struct uvl *mem, struct uvl_secret secret);

void
uvl_prepare(struct uvl *mem, struct uvl_secret secret)
{
	struct uvl *before = uvl_self;

	memset(mem, 0, uvl_size());
	mem->secret = secret;
	char *table = (char *)mem + UVL_ALIGN(sizeof(struct uvl));
	mem->arp_table_ = table;
	table += UVL_ALIGN(uvl_etharp_size());
	mem->tcp_hash_ = (struct tcp_pcb **)table;
	table += UVL_TCP_HASH_SIZE * sizeof(struct tcp_pcb *);
	mem->tcp_ports_ = (uint32_t *)table;

	/* What lwIP's definitions initialise to something other than zero. */
	mem->tcp_pcb_lists_[0] = &mem->tcp_listen_pcbs_.pcbs;
	mem->tcp_pcb_lists_[1] = &mem->tcp_bound_pcbs_;
	mem->tcp_pcb_lists_[2] = &mem->tcp_active_pcbs_;
	mem->tcp_pcb_lists_[3] = &mem->tcp_tw_pcbs_;
	mem->tcp_port_ = 0xc000;
	mem->udp_port_ = 0xc000;
	mem->nd6_reachable_time_ = LWIP_ND6_REACHABLE_TIME;
	mem->nd6_retrans_timer_ = LWIP_ND6_RETRANS_TIMER;

	uvl_self = mem;
	/* Fragments of two instances that share an address must not be mixed up by a receiver. */
	for (unsigned int i = 0; i < UVL_IP_IDS; i++)
		mem->ip_ids[i] = (u16_t)uvl_rand();
	mem->ip6_frag_identification_ = uvl_rand();
	uvl_self = before;
}

void
uvl_init_secret(struct uvl *mem, struct uvl_secret secret)
{
	struct uvl *before = uvl_self;

	uvl_prepare(mem, secret);
	/* A round trip timed from tick 0 would count as not timed. */
	mem->tcp_ticks_ = 1;
	uvl_self = mem;
	lwip_init();
	uvl_self = before;
}

void
uvl_init(struct uvl *mem)
{
	struct uvl_secret secret;

	/* 16 bytes are never delivered in part; before the pool is initialised this waits. */
	while (getrandom(&secret, sizeof(secret), 0) != (ssize_t)sizeof(secret) && errno == EINTR)
		;
	uvl_init_secret(mem, secret);
}

void
uvl_exit(struct uvl *mem)
{
	struct uvl *before = uvl_self;

	uvl_self = mem;
	for (int i = 1; i < NUM_TCP_PCB_LISTS; i++) {
		while (*tcp_pcb_lists[i] != NULL) {
			(*tcp_pcb_lists[i])->errf = NULL;
			tcp_abandon(*tcp_pcb_lists[i], 0);
		}
	}
	while (tcp_listen_pcbs.pcbs != NULL)
		tcp_close(tcp_listen_pcbs.pcbs);
	while (udp_pcbs != NULL)
		udp_remove(udp_pcbs);
#if LWIP_RAW
	while (mem->raw_pcbs_ != NULL)
		raw_remove(mem->raw_pcbs_);
#endif
	while (netif_list != NULL)
		netif_remove(netif_list);
	uvl_mcast_forget_all();
	/* Each tick ages what waits for its fragments, and nothing new can come. */
	while (mem->ip_reassdatagrams_ != NULL)
		ip_reass_tmr();
	while (mem->ip6_reassdatagrams_ != NULL)
		ip6_reass_tmr();
	while (mem->next_timeout_ != NULL) {
		struct sys_timeo *timeout = mem->next_timeout_;

		mem->next_timeout_ = timeout->next;
		uvl_timeout_give(timeout);
	}
	uvl_self = before;
}

struct sys_timeo *
uvl_timeout_take(void)
{
	struct uvl *self = uvl_self;
	int free_one = __builtin_ffs((int)~self->timeouts_taken) - 1;

	if (free_one < 0)
		return NULL;
	self->timeouts_taken |= 1u << free_one;
	return &self->timeouts[free_one];
}

void
uvl_timeout_give(struct sys_timeo *timeout)
{
	uvl_self->timeouts_taken &= ~(1u << (timeout - uvl_self->timeouts));
}

bool
uvl_neighbour(const struct uvl *mem, uint32_t addr, uint8_t mac[6])
{
	return uvl_etharp_find((const char *)mem + UVL_ALIGN(sizeof(*mem)), addr, mac) != 0;
}

static bool
is_ip6(const ip6_addr_t *a, const uint32_t addr[4])
{
	return memcmp(a->addr, addr, sizeof(a->addr)) == 0;
}

static bool
neighbour6(const struct uvl *mem, const uint32_t addr[4], uint8_t mac[6])
{
	for (int i = 0; i < LWIP_ND6_NUM_NEIGHBORS; i++) {
		const struct nd6_neighbor_cache_entry *n = &mem->neighbor_cache_[i];

		if (n->state < ND6_REACHABLE || !is_ip6(&n->next_hop_address, addr))
			continue;
		memcpy(mac, n->lladdr, 6);
		return true;
	}
	return false;
}

bool
uvl_next_hop6(const struct uvl *mem, const uint32_t addr[4], uint8_t mac[6])
{
	for (int i = 0; i < LWIP_ND6_NUM_DESTINATIONS; i++) {
		const struct nd6_destination_cache_entry *d = &mem->destination_cache_[i];

		if (is_ip6(&d->destination_addr, addr))
			return neighbour6(mem, d->next_hop_addr.addr, mac);
	}
	return false;
}

u32_t
uvl_rand(void)
{
	struct uvl *self = uvl_self;

	if (self->rand_has_left) {
		self->rand_has_left = false;
		return self->rand_left;
	}
	uint64_t bits = uvl_siphash(self->secret.k0, self->secret.k1, &self->rand_counter,
				    sizeof(self->rand_counter));
	self->rand_counter++;
	self->rand_left = (uint32_t)(bits >> 32);
	self->rand_has_left = true;
	return (u32_t)bits;
}

_Static_assert(UVL_IP_IDS == 1024, "ten bits are taken of the hash");

u16_t
uvl_ip_id(const ip4_addr_t *dest)
{
	struct uvl *self = uvl_self;
	uint64_t mixed = (dest->addr ^ self->secret.k0) * (self->secret.k1 | 1);

	return self->ip_ids[mixed * 0x9e3779b97f4a7c15 >> 54]++;
}

u32_t
uvl_tcp_isn(const ip_addr_t *local_ip, u16_t local_port, const ip_addr_t *remote_ip,
	    u16_t remote_port)
{
	struct {
		uint32_t local[4], remote[4];
		uint16_t local_port, remote_port;
		uint32_t domain; /* keeps these inputs apart from uvl_rand()'s */
	} tuple = {
		.local_port = local_port,
		.remote_port = remote_port,
		.domain = 0x49534e31,
	};

	if (IP_IS_V6(local_ip)) {
		memcpy(tuple.local, ip_2_ip6(local_ip)->addr, sizeof(tuple.local));
		memcpy(tuple.remote, ip_2_ip6(remote_ip)->addr, sizeof(tuple.remote));
	} else {
		tuple.local[0] = ip_2_ip4(local_ip)->addr;
		tuple.remote[0] = ip_2_ip4(remote_ip)->addr;
	}
	uint64_t hash =
		uvl_siphash(uvl_self->secret.k0, uvl_self->secret.k1, &tuple, sizeof(tuple));
	return (u32_t)hash + sys_now() * 250;
}

void
uvl_assert_failed(const char *message, const char *file, int line)
{
	if (uvl_self != NULL)
		uvl_self->assert_failures++;
	uvl_on_assert(message, file, line);
}
