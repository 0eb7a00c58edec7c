/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/sock/stack.h - the stack of this process: its configuration, its instance, its model.
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

/* The process's instance: usable for sockets before it is started. */
struct uvs_instance *uvs_stack_instance(void);

/* Start the stack if `in` is the process's instance and it is not running. 0 or a negative errno.
 */
int uvs_stack_ready(struct uvs_instance *in);

/* Changes with uvs_stack_forget(): sockets of another epoch are the parent's. */
uint32_t uvs_stack_epoch(void);

/* Ports below 1024: CAP_NET_BIND_SERVICE or the kernel's ip_unprivileged_port_start. */
bool uvs_stack_may_bind_low(void);

/* Make an instance of a port, or in a slot of a shared host, ready for sockets (tests: several
 * instances in a process). EAL is up. */
int uvs_stack_attach(struct uvs_instance *in, uint16_t port_id, struct uvs_share *share);
/* The opposite: connections are dropped without a word, sockets must be gone. */
void uvs_stack_detach(struct uvs_instance *in);

/* Counters of an instance as one JSON object; the length, as snprintf. Any thread. */
int uvs_stats_json(struct uvs_instance *in, char *buf, size_t len);

#endif /* STACK_SOCK_STACK_H */
