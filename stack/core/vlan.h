/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/vlan.h - interfaces for tagged frames (802.1Q) on the instance's port.
 *
 * Each is a netif of lwIP's beside the port's own. The port puts tags on and takes them off where
 * it can; else it is done here. Either way a received frame comes to lwIP without its tag, and what
 * it said stands in the mbuf (vlan_tci), which goes with it from stack to stack.
 *
 * Threads: all under the instance.
 */
#ifndef STACK_CORE_VLAN_H
#define STACK_CORE_VLAN_H

#include "stack/core/port.h"

#include "lwip/netif.h"

#define UVS_VLAN_ID 0xfffu /* of a tag's 16 bits */

struct uvs_vlan {
	struct netif netif;
	uint16_t id;
};

struct uvs_instance;

/* Before a frame leaves, its offloads being described: the tag. */
void uvs_vlan_tag(const struct uvs_port *p, struct rte_mbuf *m, uint16_t id);

/* Received frames: tags are off afterwards, as if the port had done it. */
void uvs_vlan_strip(const struct uvs_port *p, struct rte_mbuf **m, uint16_t n);

/* The interface that a received frame is for; NULL: it is in a VLAN that the host is not in. */
struct netif *uvs_vlan_netif(struct uvs_instance *in, const struct rte_mbuf *m);

#endif /* STACK_CORE_VLAN_H */
