/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/sock/ports.h - which local ports are taken, by whom, and who may share them: bind(2)'s
 * EADDRINUSE by Linux's rules (SO_REUSEADDR, SO_REUSEPORT), and ephemeral ports.
 *
 * An entry lives as long as the port is in use: for TCP as long as the PCB, TIME_WAIT included
 * (lwIP tells us when it frees one, through the PCB's ext_args); for UDP as long as the socket. One
 * hash table per protocol and instance, by port. Under the instance.
 *
 * Where processes share an address, a port that this one uses is also claimed for its slot
 * (stack/share/claims.h), with the first use of it until the last.
 */
#ifndef STACK_SOCK_PORTS_H
#define STACK_SOCK_PORTS_H

#include "stack/share/claims.h"
#include "stack/share/home.h"
#include "stack/sock/addr.h"

#define UVS_EPHEMERAL_FIRST 32768u
#define UVS_EPHEMERAL_LAST  60999u
#define UVS_PORT_BUCKETS    1024u

struct uvs_port_use {
	struct uvs_port_use *next, **prev;
	struct uvs_addr local;
	struct uvs_addr remote; /* port 0: not connected */
	bool reuseaddr, reuseport, listening;
	bool open;               /* wants what opens connections: SYNs, datagrams */
	struct uvs_ports *table; /* it is in; NULL: none */
	void *owner;             /* the socket; NULL once only lwIP's PCB is left */
};

struct uvs_ports {
	struct uvs_port_use *bucket[UVS_PORT_BUCKETS];
	bool tcp;                  /* a listener tolerates no SO_REUSEADDR */
	struct uvs_claims *claims; /* of all processes of a shared host; NULL: it is not shared */
	uint32_t slot;
	const struct uvs_home *home; /* which ports' answers arrive at this slot; NULL: all */
};

/* Would this use conflict? 0 or -EADDRINUSE. u itself is ignored. */
int uvs_ports_check(const struct uvs_ports *p, const struct uvs_port_use *u);

/* Take it, u->local.port given. No check, but of other processes: 0 or -EADDRINUSE. */
int uvs_ports_add(struct uvs_ports *p, struct uvs_port_use *u);
/* It wants what opens connections. 0, or -EADDRINUSE: another process listens. */
int uvs_ports_open(struct uvs_ports *p, struct uvs_port_use *u);
/* It does not any more: UDP, it has a peer now. */
void uvs_ports_shut(struct uvs_ports *p, struct uvs_port_use *u);
void uvs_ports_remove(struct uvs_port_use *u);

/* Choose a port for u: for bind() one that nobody has; for connect() (remote given), of those one
 * whose answers come home, if there is one; if nobody's is left, one whose four-tuple is free. 0,
 * -EADDRINUSE (bind), -EADDRNOTAVAIL (connect). */
int uvs_ports_choose(struct uvs_ports *p, struct uvs_port_use *u);

/* For a socket that is bound by connecting: a port nobody has whose answers from u->remote to
 * u->local come home. 0: no port is better than another. Changes u->local.port only. */
uint16_t uvs_ports_home(struct uvs_ports *p, struct uvs_port_use *u);

/* Is another use of exactly this four-tuple there? */
bool uvs_ports_connected(const struct uvs_ports *p, const struct uvs_port_use *u);

/* The use that a datagram from remote to local is for: the connected one, else the one with the
 * more particular address, else the newest; of those that share by SO_REUSEPORT, one chosen by the
 * flow. NULL: none. */
struct uvs_port_use *uvs_ports_find(const struct uvs_ports *p, const struct uvs_addr *local,
				    const struct uvs_addr *remote);

/* All that could have it, one after the other: u NULL begins. NULL: no more. */
struct uvs_port_use *uvs_ports_next(const struct uvs_ports *p, const struct uvs_port_use *u,
				    const struct uvs_addr *local, const struct uvs_addr *remote);

/* Another listener of exactly this address that shares by SO_REUSEPORT; its owner. */
void *uvs_ports_listener(const struct uvs_ports *p, const struct uvs_port_use *u);

#endif /* STACK_SOCK_PORTS_H */
