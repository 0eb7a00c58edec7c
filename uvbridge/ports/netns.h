/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/ports/netns.h - network namespaces.
 */
#ifndef UVBRIDGE_PORTS_NETNS_H
#define UVBRIDGE_PORTS_NETNS_H

#include "uvbridge/ports/ports.h"

/* Take this thread into a namespace: the name `ip netns` gave it, the number of a process that is
 * in it, or a path. *home leads back. Returns 0 or, having said what is wrong, an exit status. */
int uvp_netns_enter(struct uvp_port *port, const char *netns, int *home);
int uvp_netns_leave(struct uvp_port *port, int home);

#endif /* UVBRIDGE_PORTS_NETNS_H */
