/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/core/trace.h"
#include "stack/sock/ports.h"

#include <errno.h>
#include <string.h>

static struct uvs_port_use **
bucket(const struct uvs_ports *p, uint16_t port)
{
	return &p->all->bucket[port];
}

/* SO_REUSEADDR lets two share, but nobody a port on which TCP listens already. */
static bool
conflicts(const struct uvs_ports *p, const struct uvs_port_use *u, const struct uvs_port_use *other)
{
	if (other == u || other->local.port != u->local.port)
		return false;
	if (!uvs_addr_overlap(&other->local.ip, &u->local.ip))
		return false;
	if (u->party != NULL && u->party == other->party)
		return false;
	if (u->chosen && other->chosen)
		return false; /* their peers tell them apart */
	if (u->reuseport && other->reuseport)
		return false;
	return !u->reuseaddr || !other->reuseaddr || (p->tcp && other->listening);
}

static int
check(const struct uvs_ports *p, const struct uvs_port_use *u)
{
	for (struct uvs_port_use *o = *bucket(p, u->local.port); o != NULL; o = o->next)
		if (conflicts(p, u, o))
			return -EADDRINUSE;
	return 0;
}

/* -------------------------------------------------------------------------- claims of processes */

static bool
has_family(const struct uvs_port_use *u, uint8_t family)
{
	if (IP_IS_ANY_TYPE_VAL(u->local.ip))
		return true;
	return IP_IS_V6_VAL(u->local.ip) == (family == 6);
}

static enum uvs_claim_space
space(const struct uvs_ports *p, uint8_t family)
{
	return uvs_claim_space(p->tcp ? IPPROTO_TCP : IPPROTO_UDP, family);
}

static uint64_t
claim_flags(const struct uvs_port_use *u)
{
	return (u->reuseport ? UVS_CLAIM_REUSEPORT : 0) | (u->reuseaddr ? UVS_CLAIM_REUSEADDR : 0);
}

/* A connection of a port that is ours already does not make it any stricter. */
static int
claim_family(struct uvs_ports *p, const struct uvs_port_use *u, uint8_t family)
{
	uint64_t held = uvs_claim_held(p->claims, space(p, family), u->local.port);
	int r;

	if (u->remote.port != 0 && (held >> p->who.slot & 1) != 0)
		return 0;
	r = uvs_claim_take(p->claims, space(p, family), u->local.port, p->who, claim_flags(u));
	UVS_TRACE(steer_claim, (uint8_t)space(p, family), u->local.port, r);
	return r;
}

/* Does this instance use its port otherwise, for that family and for what it was needed? */
static bool
another(const struct uvs_port_use *u, uint8_t family, bool open)
{
	const struct uvs_port_use *o = *bucket(u->view, u->local.port);

	for (; o != NULL; o = o->next)
		if (o != u && o->view == u->view && o->local.port == u->local.port &&
		    has_family(o, family) && (o->open || !open))
			return true;
	return false;
}

static void
unclaim_family(const struct uvs_port_use *u, uint8_t family)
{
	struct uvs_ports *p = u->view;

	if (!another(u, family, false))
		uvs_claim_drop(p->claims, space(p, family), u->local.port, p->who.slot);
	else if (u->open && !another(u, family, true))
		uvs_claim_shut(p->claims, space(p, family), u->local.port, p->who.slot);
}

static void
unclaim(const struct uvs_port_use *u)
{
	for (uint8_t family = 4; family <= 6; family += 2)
		if (has_family(u, family))
			unclaim_family(u, family);
}

/* All families or none. u is in the table. */
static int
claim(struct uvs_ports *p, struct uvs_port_use *u)
{
	for (uint8_t family = 4; family <= 6; family += 2) {
		int r = has_family(u, family) ? claim_family(p, u, family) : 0;

		if (r == 0)
			continue;
		if (family == 6 && has_family(u, 4))
			unclaim_family(u, 4);
		return r;
	}
	return 0;
}

static int
open_use(struct uvs_port_use *u)
{
	struct uvs_ports *p = u->view;
	int r = 0;

	if (p->claims == NULL)
		return 0;
	u->open = true;
	for (uint8_t family = 4; family <= 6 && r == 0; family += 2)
		if (has_family(u, family))
			r = uvs_claim_open(p->claims, space(p, family), u->local.port, p->who);
	if (r < 0)
		u->open = false;
	return r;
}

static void
shut_use(struct uvs_port_use *u)
{
	struct uvs_ports *p = u->view;

	if (!u->open)
		return;
	for (uint8_t family = 4; family <= 6; family += 2)
		if (has_family(u, family) && !another(u, family, true))
			uvs_claim_shut(p->claims, space(p, family), u->local.port, p->who.slot);
	u->open = false;
}

/* Does another process have it? */
static bool
foreign(const struct uvs_ports *p, const struct uvs_port_use *u, uint16_t port)
{
	uint64_t held = 0;

	if (p->claims == NULL)
		return false;
	for (uint8_t family = 4; family <= 6; family += 2)
		if (has_family(u, family))
			held |= uvs_claim_held(p->claims, space(p, family), port);
	return (held & ~p->who.kin) != 0;
}

/* ------------------------------------------------------------------------------------ the table */

static void
insert(struct uvs_ports *p, struct uvs_port_use *u)
{
	struct uvs_port_use **head = bucket(p, u->local.port);

	u->view = p;
	u->next = *head;
	u->prev = head;
	if (u->next != NULL)
		u->next->prev = &u->next;
	*head = u;
}

static void
take_out(struct uvs_port_use *u)
{
	*u->prev = u->next;
	if (u->next != NULL)
		u->next->prev = u->prev;
	u->prev = NULL;
}

static int
add(struct uvs_ports *p, struct uvs_port_use *u)
{
	int r;

	insert(p, u);
	r = p->claims != NULL ? claim(p, u) : 0;
	if (r < 0)
		take_out(u);
	return r;
}

/* Has another use exactly this four-tuple? */
static bool
connected(const struct uvs_ports *p, const struct uvs_port_use *u, const struct uvs_addr *remote)
{
	for (struct uvs_port_use *o = *bucket(p, u->local.port); o != NULL; o = o->next)
		if (o != u && o->local.port == u->local.port && o->remote.port == remote->port &&
		    ip_addr_cmp(&o->remote.ip, &remote->ip) &&
		    uvs_addr_overlap(&o->local.ip, &u->local.ip))
			return true;
	return false;
}

/* ------------------------------------------------------------------------ whose is a datagram? */

#define NOT_FOR_IT -1

static int
score_of_local(const struct uvs_port_use *u, const struct uvs_addr *local)
{
	if (IP_IS_ANY_TYPE_VAL(u->local.ip))
		return 0;
	if (IP_GET_TYPE(&u->local.ip) != IP_GET_TYPE(&local->ip))
		return NOT_FOR_IT;
	if (ip_addr_isany(&u->local.ip))
		return 1;
	return ip_addr_cmp(&u->local.ip, &local->ip) ? 2 : NOT_FOR_IT;
}

static int
score(const struct uvs_ports *p, const struct uvs_port_use *u, const struct uvs_addr *local,
      const struct uvs_addr *remote)
{
	int s;

	if (u->view != p || u->local.port != local->port || u->owner == NULL)
		return NOT_FOR_IT;
	s = score_of_local(u, local);
	if (s == NOT_FOR_IT || u->remote.port == 0)
		return s;
	return u->remote.port == remote->port && ip_addr_cmp(&u->remote.ip, &remote->ip)
		       ? s + 4
		       : NOT_FOR_IT;
}

static uint32_t
flow_hash(const struct uvs_addr *local, const struct uvs_addr *remote)
{
	uint64_t h = uvl_self->secret.k0 ^ remote->port ^ (uint64_t)local->port << 16;

	for (unsigned int i = 0; i < (IP_IS_V6_VAL(remote->ip) ? 4u : 1u); i++)
		h = (h ^ ip_2_ip6(&remote->ip)->addr[i]) * 0x9e3779b97f4a7c15u;
	return (uint32_t)(h >> 32);
}

/* The n-th of those that share `best` by SO_REUSEPORT. */
static struct uvs_port_use *
of_group(const struct uvs_ports *p, const struct uvs_addr *local, const struct uvs_addr *remote,
	 int best, unsigned int n)
{
	for (struct uvs_port_use *u = *bucket(p, local->port); u != NULL; u = u->next)
		if (u->reuseport && score(p, u, local, remote) == best && n-- == 0)
			return u;
	return NULL;
}

static struct uvs_port_use *
find(const struct uvs_ports *p, const struct uvs_addr *local, const struct uvs_addr *remote)
{
	struct uvs_port_use *found = NULL;
	unsigned int sharing = 0;
	int best = NOT_FOR_IT;

	for (struct uvs_port_use *u = *bucket(p, local->port); u != NULL; u = u->next) {
		int is = score(p, u, local, remote);

		if (is > best) {
			best = is;
			found = u;
			sharing = 0;
		}
		sharing += is == best && is != NOT_FOR_IT && u->reuseport;
	}
	if (sharing > 1 && found->reuseport)
		return of_group(p, local, remote, best, flow_hash(local, remote) % sharing);
	return found;
}

static bool
in_use(const struct uvs_ports *p, uint16_t port)
{
	return *bucket(p, port) != NULL;
}

static bool
usable(const struct uvs_ports *p, const struct uvs_port_use *u, bool by_tuple)
{
	if (foreign(p, u, u->local.port))
		return false;
	return by_tuple ? !connected(p, u, &u->remote) && check(p, u) == 0
			: !in_use(p, u->local.port);
}

#define EPHEMERAL (UVS_EPHEMERAL_LAST - UVS_EPHEMERAL_FIRST + 1)

/* Random start, then one after the other: an attacker cannot guess, and a free one is found, if it
 * is among so many. */
static bool
search(struct uvs_ports *p, struct uvs_port_use *u, bool by_tuple, unsigned int tries)
{
	unsigned int start = uvl_rand() % EPHEMERAL;

	for (unsigned int i = 0; i < tries; i++) {
		u->local.port = (uint16_t)(UVS_EPHEMERAL_FIRST + (start + i) % EPHEMERAL);
		if (usable(p, u, by_tuple))
			return true;
	}
	u->local.port = 0;
	return false;
}

static struct uvs_flow
flow_of(const struct uvs_ports *p, const struct uvs_port_use *u)
{
	bool v6 = IP_IS_V6_VAL(u->remote.ip);
	struct uvs_flow f = {.rport = u->remote.port,
			     .proto = p->tcp ? IPPROTO_TCP : IPPROTO_UDP,
			     .family = v6 ? 6 : 4};

	memcpy(f.local, &u->local.ip, v6 ? 16 : 4);
	memcpy(f.remote, &u->remote.ip, v6 ? 16 : 4);
	return f;
}

/* A few tries: where so many are taken, others will do. */
#define FEW_TRIES 32

/* The same among ports whose answers come home. */
static bool
search_home(struct uvs_ports *p, struct uvs_port_use *u, bool by_tuple)
{
	struct uvs_flow f = flow_of(p, u);
	uint16_t port = (uint16_t)(UVS_EPHEMERAL_FIRST + uvl_rand() % EPHEMERAL);

	for (int i = 0; i < FEW_TRIES; i++) {
		port = uvs_home_next(p->home, &f, port, UVS_EPHEMERAL_FIRST, UVS_EPHEMERAL_LAST);
		u->local.port = port;
		if (port == 0 || usable(p, u, by_tuple))
			return port != 0;
		port = port == UVS_EPHEMERAL_LAST ? (uint16_t)UVS_EPHEMERAL_FIRST
						  : (uint16_t)(port + 1);
	}
	u->local.port = 0;
	return false;
}

static bool
come_home(struct uvs_ports *p, struct uvs_port_use *u, bool by_tuple)
{
	return p->home != NULL && search_home(p, u, by_tuple);
}

static int
choose_for_connection(struct uvs_ports *p, struct uvs_port_use *u)
{
	u->chosen = true;
	if (come_home(p, u, false) || search(p, u, false, FEW_TRIES) || come_home(p, u, true) ||
	    search(p, u, true, EPHEMERAL))
		return 0;
	return -EADDRNOTAVAIL;
}

static int
choose(struct uvs_ports *p, struct uvs_port_use *u)
{
	if (u->remote.port != 0)
		return choose_for_connection(p, u);
	return search(p, u, false, EPHEMERAL) ? 0 : -EADDRINUSE;
}

/* -------------------------------------------------------------------------- what sockets may ask
 */

/* NULL: the process has one instance, and that one is entered. */
static struct uvs_lock *
lock(const struct uvs_ports *p)
{
	struct uvs_lock *l = (p->who.kin & (p->who.kin - 1)) != 0 ? &p->all->lock : NULL;

	if (l != NULL)
		uvs_lock_take(l);
	return l;
}

static void
unlock(struct uvs_lock *l)
{
	if (l != NULL)
		uvs_lock_give(l);
}

int
uvs_ports_bind(struct uvs_ports *p, struct uvs_port_use *u)
{
	struct uvs_lock *l = lock(p);
	bool any = u->local.port == 0;
	int r;

	do
		r = any ? choose(p, u) : check(p, u);
	while (r == 0 && (r = add(p, u)) < 0 && any); /* another process was faster */
	unlock(l);
	return r;
}

int
uvs_ports_add(struct uvs_ports *p, struct uvs_port_use *u)
{
	struct uvs_lock *l = lock(p);
	int r = add(p, u);

	unlock(l);
	return r;
}

int
uvs_ports_open(struct uvs_port_use *u)
{
	struct uvs_lock *l = lock(u->view);
	int r = open_use(u);

	unlock(l);
	return r;
}

void
uvs_ports_shut(struct uvs_port_use *u)
{
	struct uvs_lock *l = lock(u->view);

	shut_use(u);
	unlock(l);
}

uint16_t
uvs_ports_home(struct uvs_ports *p, struct uvs_port_use *u)
{
	struct uvs_lock *l = lock(p);
	uint16_t port = come_home(p, u, false) ? u->local.port : 0;

	unlock(l);
	return port;
}

int
uvs_ports_listen(struct uvs_port_use *u)
{
	struct uvs_lock *l = lock(u->view);
	int r;

	u->chosen = false;
	r = check(u->view, u);
	if (r == 0)
		r = open_use(u);
	u->listening = r == 0;
	unlock(l);
	return r;
}

void
uvs_ports_unlisten(struct uvs_port_use *u)
{
	struct uvs_lock *l = lock(u->view);

	u->listening = false;
	shut_use(u);
	unlock(l);
}

void
uvs_ports_remove(struct uvs_port_use *u)
{
	struct uvs_lock *l;

	if (u->prev == NULL)
		return;
	l = lock(u->view);
	if (u->view->claims != NULL)
		unclaim(u);
	take_out(u);
	unlock(l);
}

int
uvs_ports_connect(struct uvs_port_use *u, const struct uvs_addr *remote)
{
	struct uvs_lock *l = lock(u->view);
	int r = u->view->tcp && connected(u->view, u, remote) ? -EADDRNOTAVAIL : 0;

	if (r == 0)
		u->remote = *remote;
	else
		u->remote.port = 0;
	unlock(l);
	return r;
}

void
uvs_ports_disconnect(struct uvs_port_use *u)
{
	struct uvs_lock *l = lock(u->view);

	u->remote.port = 0;
	unlock(l);
}

void
uvs_ports_locate(struct uvs_port_use *u, const ip_addr_t *ip)
{
	struct uvs_lock *l = lock(u->view);

	u->local.ip = *ip;
	unlock(l);
}

void
uvs_ports_share(struct uvs_port_use *u, bool reuseaddr, bool reuseport)
{
	struct uvs_lock *l;

	if (u->reuseaddr == reuseaddr && u->reuseport == reuseport)
		return;
	l = lock(u->view);
	u->reuseaddr = reuseaddr;
	u->reuseport = reuseport;
	unlock(l);
}

void
uvs_ports_join(struct uvs_port_use *u, const void *party)
{
	struct uvs_lock *l = lock(u->view);

	u->party = party;
	unlock(l);
}

void *
uvs_ports_listener(const struct uvs_port_use *u)
{
	struct uvs_lock *l = lock(u->view);
	struct uvs_port_use *o = *bucket(u->view, u->local.port);

	while (o != NULL && (o == u || o->view != u->view || !o->listening || !o->reuseport ||
			     o->owner == NULL || o->local.port != u->local.port ||
			     !ip_addr_cmp(&o->local.ip, &u->local.ip)))
		o = o->next;
	unlock(l);
	return o != NULL ? o->owner : NULL;
}

struct uvs_port_use *
uvs_ports_find(const struct uvs_ports *p, const struct uvs_addr *local,
	       const struct uvs_addr *remote)
{
	struct uvs_lock *l = lock(p);
	struct uvs_port_use *found = find(p, local, remote);

	unlock(l);
	return found;
}

struct uvs_port_use *
uvs_ports_next(const struct uvs_ports *p, const struct uvs_port_use *u,
	       const struct uvs_addr *local, const struct uvs_addr *remote)
{
	struct uvs_lock *l = lock(p);
	struct uvs_port_use *next = u == NULL ? *bucket(p, local->port) : u->next;

	while (next != NULL && score(p, next, local, remote) == NOT_FOR_IT)
		next = next->next;
	unlock(l);
	return next;
}
