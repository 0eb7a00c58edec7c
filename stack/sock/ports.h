/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/sock/ports.h - which local ports are taken, by whom, and who may share them: bind(2)'s
 * EADDRINUSE by Linux's rules (SO_REUSEADDR, SO_REUSEPORT), and ephemeral ports.
 *
 * An entry lives as long as the port is in use: for TCP as long as the PCB, TIME_WAIT included
 * (lwIP tells us when it frees one, through the PCB's ext_args); for UDP as long as the socket.
 *
 * One table, by port, for each protocol and process (struct uvs_port_table), whose instances
 * each have a view of it (struct uvs_ports). An entry belongs to the view it was added through, and
 * only that instance adds, changes and removes it; all look at all. `lock` covers the buckets and
 * every word of an entry but `owner`, which is its instance's alone. It is held for a walk along a
 * bucket, under an instance and never around one, and by no other process; where there is one
 * instance, not at all.
 *
 * Where processes share an address, a port that this one uses is also claimed for the slot of the
 * instance (stack/share/claims.h), with the slot's first use of it until the last.
 */
#ifndef STACK_SOCK_PORTS_H
#define STACK_SOCK_PORTS_H

#include "stack/core/lock.h"
#include "stack/share/claims.h"
#include "stack/share/home.h"
#include "stack/sock/addr.h"

#define UVS_EPHEMERAL_FIRST 32768u
#define UVS_EPHEMERAL_LAST  60999u
#define UVS_PORT_BUCKETS    65536u /* one for each: is it in use, is a single look */

struct uvs_ports;

struct uvs_port_use {
	struct uvs_port_use *next, **prev; /* prev NULL: not in the table */
	struct uvs_addr local;
	struct uvs_addr remote; /* port 0: not connected */
	bool reuseaddr, reuseport, listening;
	bool chosen;            /* by connect(): others of its kind may have the port, too */
	bool open;              /* wants what opens connections: SYNs, datagrams */
	struct uvs_ports *view; /* it was added through */
	const void *party;      /* uses of one party do not exclude each other; NULL: of none */
	void *owner;            /* the socket; NULL once only lwIP's PCB is left */
};

struct uvs_port_table {
	struct uvs_lock lock;
	struct uvs_port_use *bucket[UVS_PORT_BUCKETS];
};

/* Constant once the instance is started. */
struct uvs_ports {
	struct uvs_port_table *all;
	bool tcp;                  /* a listener tolerates no SO_REUSEADDR */
	struct uvs_claims *claims; /* of all processes of a shared host; NULL: it is not shared */
	struct uvs_claimant who;
	const struct uvs_home *home; /* which ports' answers arrive at this slot; NULL: all */
};

/* Take u->local for u, or, its port being 0, choose one: for bind() one that nobody has; for
 * connect() (remote given), of those one whose answers come home, if there is one; if hardly any is
 * left, one that other connections have to other peers. 0, -EADDRINUSE (bind), -EADDRNOTAVAIL
 * (connect). */
int uvs_ports_bind(struct uvs_ports *p, struct uvs_port_use *u);

/* A connection that arrived: take it without a question, but of other processes. 0 or -EADDRINUSE.
 */
int uvs_ports_add(struct uvs_ports *p, struct uvs_port_use *u);

/* It wants what opens connections. 0, or -EADDRINUSE: another process listens. */
int uvs_ports_open(struct uvs_port_use *u);
/* It does not any more: UDP, it has a peer now. */
void uvs_ports_shut(struct uvs_port_use *u);
/* The same for a TCP listener, if no other is in its way here. */
int uvs_ports_listen(struct uvs_port_use *u);
/* It came to nothing. */
void uvs_ports_unlisten(struct uvs_port_use *u);
void uvs_ports_remove(struct uvs_port_use *u);

/* Its peer; of TCP no other use may have exactly this four-tuple: 0 or -EADDRNOTAVAIL. */
int uvs_ports_connect(struct uvs_port_use *u, const struct uvs_addr *remote);
void uvs_ports_disconnect(struct uvs_port_use *u);

/* For a socket that is bound by connecting: a port nobody has whose answers from u->remote to
 * u->local come home. 0: no port is better than another. Changes u->local.port only. */
uint16_t uvs_ports_home(struct uvs_ports *p, struct uvs_port_use *u);

/* Its address was any, and is known now; its socket's options; its party. */
void uvs_ports_locate(struct uvs_port_use *u, const ip_addr_t *ip);
void uvs_ports_share(struct uvs_port_use *u, bool reuseaddr, bool reuseport);
void uvs_ports_join(struct uvs_port_use *u, const void *party);

/* The use of this instance that a datagram from remote to local is for: the connected one, else the
 * one with the more particular address, else the newest; of those that share by SO_REUSEPORT, one
 * chosen by the flow. NULL: none. */
struct uvs_port_use *uvs_ports_find(const struct uvs_ports *p, const struct uvs_addr *local,
				    const struct uvs_addr *remote);

/* All of this instance that could have it, one after the other: u NULL begins. NULL: no more. */
struct uvs_port_use *uvs_ports_next(const struct uvs_ports *p, const struct uvs_port_use *u,
				    const struct uvs_addr *local, const struct uvs_addr *remote);

/* Of the instance of u, another listener of exactly this address that shares by SO_REUSEPORT; its
 * owner. */
void *uvs_ports_listener(const struct uvs_port_use *u);

#endif /* STACK_SOCK_PORTS_H */
