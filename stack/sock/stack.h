/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/sock/stack.h - the stacks of this process: their configuration, instances, model.
 */
#ifndef STACK_SOCK_STACK_H
#define STACK_SOCK_STACK_H

#include "stack/core/instance.h"

/* As applications see the port: SIOCGIF*, IP_PKTINFO. */
#define UVS_IFNAME  "uv0"
#define UVS_IFINDEX UVS_IFINDEX_PORT

/* Read the configuration that UVS_CONF_ENV names, once. NULL: there is none, or it is wrong; said
 * once in the log. Pure otherwise: starts nothing. */
const struct uvs_conf *uvs_stack_conf(void);

/* The process's instances, *n of them, usable for sockets before they are started. */
struct uvs_instance *const *uvs_stack_instances(unsigned int *n);

bool uvs_stack_has(const struct uvs_instance *in);

/* Start the stack if `in` is one of the process's instances and it is not running. 0 or a negative
 * errno. */
int uvs_stack_ready(struct uvs_instance *in);

/* Changes with uvs_stack_forget(): sockets of another epoch are the parent's. */
uint32_t uvs_stack_epoch(void);

/* Ports below 1024: CAP_NET_BIND_SERVICE or the kernel's ip_unprivileged_port_start. */
bool uvs_stack_may_bind_low(void);

/* Ports that sockets of several instances have in common. */
struct uvs_sock_ports;
struct uvs_sock_ports *uvs_sock_ports_new(void);

/* Make an instance of a port, or in a slot of a host, ready for sockets. EAL is up. all: the ports
 * of the instance and its kin, whose slots are `kin`, a bit each; NULL: the instance is another
 * host than the others of this process (tests). */
int uvs_stack_attach(struct uvs_instance *in, uint16_t port_id, struct uvs_share *share,
		     struct uvs_sock_ports *all, uint64_t kin);
/* The opposite: connections are dropped without a word, sockets must be gone. */
void uvs_stack_detach(struct uvs_instance *in);

/* Counters as one JSON object: the sums of n instances and, of more than one, each one's own in the
 * array "stacks". The length, as snprintf. Any thread. */
int uvs_stats_json(struct uvs_instance *const *in, unsigned int n, char *buf, size_t len);

#endif /* STACK_SOCK_STACK_H */
