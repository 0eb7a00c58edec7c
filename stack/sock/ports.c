/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/sock/ports.h"

#include <errno.h>

static unsigned int
slot(uint16_t port)
{
	return port % UVS_PORT_BUCKETS;
}

/* SO_REUSEADDR lets two share, but nobody a port on which TCP listens already. */
static bool
conflicts(const struct uvs_ports *p, const struct uvs_port_use *u, const struct uvs_port_use *other)
{
	if (other == u || other->local.port != u->local.port)
		return false;
	if (!uvs_addr_overlap(&other->local.ip, &u->local.ip))
		return false;
	if (u->reuseport && other->reuseport)
		return false;
	return !u->reuseaddr || !other->reuseaddr || (p->tcp && other->listening);
}

int
uvs_ports_check(const struct uvs_ports *p, const struct uvs_port_use *u)
{
	for (struct uvs_port_use *o = p->bucket[slot(u->local.port)]; o != NULL; o = o->next)
		if (conflicts(p, u, o))
			return -EADDRINUSE;
	return 0;
}

void
uvs_ports_add(struct uvs_ports *p, struct uvs_port_use *u)
{
	struct uvs_port_use **head = &p->bucket[slot(u->local.port)];

	u->next = *head;
	u->prev = head;
	if (u->next != NULL)
		u->next->prev = &u->next;
	*head = u;
}

void
uvs_ports_remove(struct uvs_port_use *u)
{
	if (u->prev == NULL)
		return;
	*u->prev = u->next;
	if (u->next != NULL)
		u->next->prev = u->prev;
	u->prev = NULL;
}

bool
uvs_ports_connected(const struct uvs_ports *p, const struct uvs_port_use *u)
{
	for (struct uvs_port_use *o = p->bucket[slot(u->local.port)]; o != NULL; o = o->next)
		if (o != u && o->local.port == u->local.port && o->remote.port == u->remote.port &&
		    ip_addr_cmp(&o->remote.ip, &u->remote.ip) &&
		    uvs_addr_overlap(&o->local.ip, &u->local.ip))
			return true;
	return false;
}

void *
uvs_ports_listener(const struct uvs_ports *p, const struct uvs_port_use *u)
{
	for (struct uvs_port_use *o = p->bucket[slot(u->local.port)]; o != NULL; o = o->next)
		if (o != u && o->listening && o->reuseport && o->owner != NULL &&
		    o->local.port == u->local.port && ip_addr_cmp(&o->local.ip, &u->local.ip))
			return o->owner;
	return NULL;
}

static bool
in_use(const struct uvs_ports *p, uint16_t port)
{
	for (struct uvs_port_use *o = p->bucket[slot(port)]; o != NULL; o = o->next)
		if (o->local.port == port)
			return true;
	return false;
}

/* Random start, then one after the other: an attacker cannot guess, and a free one is found. */
static bool
search(struct uvs_ports *p, struct uvs_port_use *u, bool by_tuple)
{
	unsigned int range = UVS_EPHEMERAL_LAST - UVS_EPHEMERAL_FIRST + 1;
	unsigned int start = uvl_rand() % range;

	for (unsigned int i = 0; i < range; i++) {
		u->local.port = (uint16_t)(UVS_EPHEMERAL_FIRST + (start + i) % range);
		if (by_tuple ? !uvs_ports_connected(p, u) && uvs_ports_check(p, u) == 0
			     : !in_use(p, u->local.port))
			return true;
	}
	u->local.port = 0;
	return false;
}

int
uvs_ports_choose(struct uvs_ports *p, struct uvs_port_use *u)
{
	bool connecting = u->remote.port != 0;
	bool reuseaddr = u->reuseaddr;

	if (search(p, u, false))
		return 0;
	if (!connecting)
		return -EADDRINUSE;
	u->reuseaddr = true;
	bool found = search(p, u, true);
	u->reuseaddr = reuseaddr;
	return found ? 0 : -EADDRNOTAVAIL;
}
