/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/ports/tapdev.h - a network interface of the kernel: making it and watching it.
 */
#ifndef UVBRIDGE_PORTS_TAPDEV_H
#define UVBRIDGE_PORTS_TAPDEV_H

#include <net/if.h>

#include "uvbridge/ports/ports.h"

#define UVP_ADDRESSES 8

struct uvp_tapdev {
	char ifname[IFNAMSIZ]; /* empty: the port's name */
	const char *netns;     /* name, process, path or NULL */
	const char *address[UVP_ADDRESSES];
	unsigned nb_addresses;
	bool no_offload;
	int ifindex;
	atomic_flag gone;       /* it has been removed, and that was said */
	int fd[UVB_MAX_QUEUES]; /* a queue of the interface each; -1: none */
};

/* Make the interface with the port's queues, address and MTU, up. It goes when this process does.
 * Watches it: what its owner changes there (MTU, address, promiscuous mode, up and down) is what
 * the port is like in the fabric. Returns 0 or, having said what is wrong, an exit status. */
int uvp_tapdev_make(struct uvp_port *port, struct uvp_tapdev *tap);
void uvp_tapdev_close(struct uvp_port *port, struct uvp_tapdev *tap);

/* The kernel has taken the interface away: that is the end of the port. From any thread. */
void uvp_tapdev_gone(struct uvp_port *port);

/* Is this an address with a prefix length that make() will understand? */
bool uvp_tapdev_address_ok(const char *text);

#endif /* UVBRIDGE_PORTS_TAPDEV_H */
