/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/share/home.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include <rte_ethdev.h>
#include <rte_thash.h>

int
uvs_home_open(struct uvs_home *h, const struct uvs_steer_map *m, uint32_t self, uint64_t hf,
	      const uint8_t *key, uint32_t key_len)
{
	static const uint64_t flags[2][2] = {
		{RTE_ETH_RSS_NONFRAG_IPV4_TCP, RTE_ETH_RSS_NONFRAG_IPV4_UDP},
		{RTE_ETH_RSS_NONFRAG_IPV6_TCP, RTE_ETH_RSS_NONFRAG_IPV6_UDP},
	};

	*h = (struct uvs_home){.map = m, .self = self};
	if (key_len < UVS_RSS_KEY_MIN || key_len > UVS_RSS_KEY_MAX)
		return -EINVAL;
	for (int v6 = 0; v6 < 2; v6++)
		for (int udp = 0; udp < 2; udp++)
			h->hashes_ports[v6][udp] = (hf & flags[v6][udp]) != 0;
	memcpy(h->key, key, key_len);
	return 0;
}

uint32_t
uvs_home_hash(const struct uvs_home *h, const struct uvs_flow *f)
{
	uint32_t words = f->family == 6 ? 4 : 1, tuple[9], n = 0;

	for (uint32_t i = 0; i < words; i++)
		tuple[n++] = ntohl(f->remote[i]);
	for (uint32_t i = 0; i < words; i++)
		tuple[n++] = ntohl(f->local[i]);
	tuple[n++] = (uint32_t)f->rport << 16 | f->lport;
	return rte_softrss(tuple, n, h->key);
}

uint16_t
uvs_home_next(const struct uvs_home *h, const struct uvs_flow *f, uint16_t port, uint16_t first,
	      uint16_t last)
{
	struct uvs_flow try = *f;
	uint32_t range = (uint32_t)last - first + 1;

	if (!h->hashes_ports[f->family == 6][f->proto == IPPROTO_UDP])
		return 0;
	for (uint32_t i = 0; i < range; i++) {
		try.lport = (uint16_t)(first + ((uint32_t)(port - first) + i) % range);
		if (uvs_steer_home(h->map, uvs_home_hash(h, &try)) == h->self)
			return try.lport;
	}
	return 0;
}
