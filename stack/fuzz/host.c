/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/fuzz/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "lwip/prot/ethernet.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/tcp.h"
#include "netif/ethernet.h"

struct uvl *fuzz_uvl;
uint32_t host_isn;
size_t host_spare;

static struct netif *netif;
static uint32_t now_ms;
static unsigned int fail_in;
static long allocated;

static const uint8_t host_mac[6] = {2, 0, 0, 0, 0, 2}, peer_mac[6] = {2, 0, 0, 0, 0, 1};

/* ---- hooks ------------------------------------------------------------------------------------
 */

u32_t
sys_now(void)
{
	return now_ms;
}

uint64_t
uvl_now_us(void)
{
	return (uint64_t)now_ms * 1000;
}

bool
host_fails(void)
{
	return fail_in != 0 && --fail_in == 0;
}

void *
uvl_malloc(size_t size)
{
	void *p = host_fails() ? NULL : malloc(size);

	allocated += p != NULL;
	return p;
}

void *
uvl_calloc(size_t count, size_t size)
{
	void *p = host_fails() ? NULL : calloc(count, size);

	allocated += p != NULL;
	return p;
}

void
uvl_free(void *mem)
{
	allocated -= mem != NULL;
	free(mem);
}

void *
uvl_tcp_pcb_malloc(size_t size)
{
	return uvl_malloc(size);
}

void
uvl_tcp_pcb_free(void *mem)
{
	uvl_free(mem);
}

void *
uvl_pbuf_malloc(size_t size)
{
	struct host_packet *p = uvl_malloc(sizeof(*p) + size);

	if (p == NULL)
		return NULL;
	p->size = size;
	return p + 1;
}

void
uvl_pbuf_free(void *mem)
{
	uvl_free((struct host_packet *)mem - 1);
}

void *
uvl_pbuf_trim(void *mem, size_t size)
{
	(void)size;
	return mem;
}

void
uvl_on_assert(const char *message, const char *file, int line)
{
	fprintf(stderr, "lwIP: assertion \"%s\" failed at %s:%d\n", message, file, line);
	abort();
}

/* ---- the wire ---------------------------------------------------------------------------------
 */

/* Whatever is sent must be there: the sanitizers look at every byte. */
static err_t
link_output(struct netif *n, struct pbuf *p)
{
	uint8_t frame[SIZEOF_ETH_HDR + IP_HLEN + TCP_HLEN];
	const struct tcp_hdr *tcp = (const void *)(frame + SIZEOF_ETH_HDR + IP_HLEN);
	static volatile uint8_t sum;

	(void)n;
	for (const struct pbuf *q = p; q != NULL; q = q->next)
		for (uint32_t i = 0; i < q->len; i++)
			sum += ((const uint8_t *)q->payload)[i];
	if (pbuf_copy_partial(p, frame, sizeof(frame), 0) == sizeof(frame) && frame[12] == 8 &&
	    frame[13] == 0 && frame[23] == IP_PROTO_TCP &&
	    (TCPH_FLAGS(tcp) & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK))
		host_isn = lwip_ntohl(tcp->seqno);
	return ERR_OK;
}

static err_t
netif_up(struct netif *n)
{
	n->name[0] = 'f';
	n->name[1] = 'z';
	n->mtu = 1500;
	n->hwaddr_len = ETH_HWADDR_LEN;
	memcpy(n->hwaddr, host_mac, ETH_HWADDR_LEN);
	n->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET |
		   NETIF_FLAG_IGMP | NETIF_FLAG_MLD6 | NETIF_FLAG_LINK_UP;
	n->output = etharp_output;
	n->output_ip6 = ethip6_output;
	n->linkoutput = link_output;
	NETIF_SET_CHECKSUM_CTRL(n, NETIF_CHECKSUM_DISABLE_ALL);
	return ERR_OK;
}

void
host_up(struct netif *n)
{
	ip4_addr_t address, mask, gateway;

	netif = n;
	allocated = 0;
	fail_in = 0;
	now_ms = 1000;
	fuzz_uvl = aligned_alloc(64, uvl_size());
	if (fuzz_uvl == NULL)
		abort();
	uvl_init_secret(fuzz_uvl, (struct uvl_secret){0x0123456789abcdef, 0xfedcba9876543210});
	uvl_enter(fuzz_uvl);
	address.addr = lwip_htonl(FUZZ_HOST_IP);
	mask.addr = lwip_htonl(0xffffff00);
	gateway.addr = lwip_htonl(FUZZ_PEER_IP);
	netif_add(netif, &address, &mask, &gateway, NULL, netif_up, ethernet_input);
	netif_set_default(netif);
	netif_create_ip6_linklocal_address(netif, 1);
	netif_ip6_addr_set_state(netif, 0, IP6_ADDR_PREFERRED);
	netif_set_up(netif);
	/* The peers' Ethernet address, as their ARP would have told it. */
	static const uint8_t arp[] = {2,  0, 0, 0, 0, 2, 2, 0, 0, 0, 0,  1, 8, 6,
				      0,  1, 8, 0, 6, 4, 0, 2, 2, 0, 0,  0, 0, 1,
				      10, 0, 0, 1, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2};
	host_frame(arp, sizeof(arp), 0);
}

void
host_down(void)
{
	fail_in = 0;
	uvl_exit(fuzz_uvl);
	uvl_enter(NULL);
	free(fuzz_uvl);
	if (allocated != 0) {
		fprintf(stderr, "%ld allocations are left\n", allocated);
		abort();
	}
}

void
host_fail(unsigned int n)
{
	fail_in = n;
}

void
host_wait(uint32_t ms)
{
	uint32_t end = now_ms + ms;

	while ((int32_t)(end - now_ms) > 0) {
		uint32_t sleep = sys_timeouts_sleeptime(), left = end - now_ms;

		now_ms += sleep < left ? sleep : left;
		sys_check_timeouts();
		if (sleep == 0)
			now_ms++;
	}
}

static struct pbuf *
buffer(const void *data, size_t length)
{
	struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)(length + host_spare), PBUF_RAM);

	if (p == NULL)
		return NULL;
	p->len = p->tot_len = (u16_t)length;
	pbuf_take(p, data, (u16_t)length);
	return p;
}

void
host_frame(const void *frame, size_t length, size_t split)
{
	struct pbuf *p, *rest;

	/* as a NIC delivers it: headers of Ethernet and IP are in the first buffer */
	if (split < SIZEOF_ETH_HDR + IP_HLEN || split >= length)
		split = length;
	p = buffer(frame, split);
	if (p == NULL)
		return;
	if (split < length) {
		rest = buffer((const char *)frame + split, length - split);
		if (rest == NULL) {
			pbuf_free(p);
			return;
		}
		pbuf_cat(p, rest);
	}
	if (netif->input(p, netif) != ERR_OK)
		pbuf_free(p);
}

void
host_ipv4(uint32_t from, uint8_t protocol, uint16_t id, uint16_t offset, const void *payload,
	  size_t length, size_t split)
{
	static uint8_t frame[SIZEOF_ETH_HDR + IP_HLEN + 65535];
	struct ip_hdr *ip = (void *)(frame + SIZEOF_ETH_HDR);

	memcpy(frame, host_mac, 6);
	memcpy(frame + 6, peer_mac, 6);
	frame[12] = 8;
	frame[13] = 0;
	memset(ip, 0, IP_HLEN);
	IPH_VHL_SET(ip, 4, 5);
	IPH_LEN_SET(ip, lwip_htons((u16_t)(IP_HLEN + length)));
	IPH_ID_SET(ip, lwip_htons(id));
	IPH_OFFSET_SET(ip, lwip_htons(offset));
	IPH_TTL_SET(ip, 64);
	IPH_PROTO_SET(ip, protocol);
	ip->src.addr = lwip_htonl(from);
	ip->dest.addr = lwip_htonl(FUZZ_HOST_IP);
	memcpy(ip + 1, payload, length);
	host_frame(frame, SIZEOF_ETH_HDR + IP_HLEN + length, split);
}
