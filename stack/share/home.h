/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/share/home.h - source ports for connections whose answers come home.
 *
 * The NIC's hash of a connection's incoming frames can be foretold: it is Toeplitz of addresses and
 * ports with a key that is known (rte_softrss), and the redirection table says which slot's queue
 * it leads to. connect() may choose its port, so it chooses one that leads here: then nobody ever
 * forwards for that connection. With q queues one port in q does.
 *
 * A host that is not shared, a NIC that does not hash ports, a slot without a queue: no port is
 * better than another, and uvs_home_next() says 0.
 *
 * The table may change between the choice and the first answer: the connection is found all the
 * same, by its port's claim (steer.h).
 */
#ifndef STACK_SHARE_HOME_H
#define STACK_SHARE_HOME_H

#include "stack/share/steer.h"

#define UVS_RSS_KEY_MIN 40 /* bytes: what an IPv6 tuple takes */
#define UVS_RSS_KEY_MAX 64

/* Private to a process, constant. */
struct uvs_home {
	const struct uvs_steer_map *map;
	uint32_t self;
	bool hashes_ports[2][2]; /* [family is 6][protocol is UDP] */
	uint8_t key[UVS_RSS_KEY_MAX] __attribute__((aligned(8)));
};

/* hf: RTE_ETH_RSS_ flags in force; key, key_len as of rte_eth_dev_rss_hash_conf_get(). -EINVAL: the
 * key is too short or too long; then no port is better than another. */
int uvs_home_open(struct uvs_home *h, const struct uvs_steer_map *m, uint32_t self, uint64_t hf,
		  const uint8_t *key, uint32_t key_len);

/* What the NIC will say of frames from f->remote to f->local. */
uint32_t uvs_home_hash(const struct uvs_home *h, const struct uvs_flow *f);

/* The next port that comes home to this slot, from `port` on, around within first..last, with f's
 * other three. 0: there is none, or it cannot be known. */
uint16_t uvs_home_next(const struct uvs_home *h, const struct uvs_flow *f, uint16_t port,
		       uint16_t first, uint16_t last);

#endif /* STACK_SHARE_HOME_H */
