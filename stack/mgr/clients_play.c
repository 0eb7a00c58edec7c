/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/mgr/clients_play.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define CLIENTS 4
#define SLOTS   4
#define STEPS   64

static struct mgr m;
static struct uvs_host host;
static struct client *client[CLIENTS];
static uint32_t (*chance)(uint32_t n);

#define CHECK(cond)                                                                \
	do {                                                                       \
		if (!(cond)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
			abort();                                                   \
		}                                                                  \
	} while (0)

/* --------------------------------------------------------------------------------- played parts */

uint32_t
slots_free(const struct mgr *mgr)
{
	return SLOTS - (uint32_t)__builtin_popcountll(mgr->used);
}

int
slots_lease(struct mgr *mgr, struct client *c, uint32_t n, struct uvs_msg_slots *msg)
{
	CHECK(c->state == CLIENT_ATTACHING && c->slots == 0);
	CHECK(n >= 1 && n <= UVS_STACKS_MAX);
	if (n > slots_free(mgr))
		return -1;
	for (uint32_t slot = 1; slot <= SLOTS && msg->n < n; slot++) {
		if ((mgr->used >> slot & 1) != 0)
			continue;
		msg->s[msg->n++].slot = slot;
		mgr->used |= 1ULL << slot;
		c->slots |= 1ULL << slot;
	}
	return 0;
}

static void
check_its_own(const struct client *c, uint32_t slot)
{
	CHECK(c->state == CLIENT_UP);
	CHECK(slot >= 1 && slot <= SLOTS && (c->slots >> slot & 1) != 0);
}

int
slot_ready(struct mgr *mgr, struct client *c, uint32_t slot)
{
	(void)mgr;
	check_its_own(c, slot);
	return 0;
}

int
slot_park(struct mgr *mgr, struct client *c, uint32_t slot)
{
	(void)mgr;
	check_its_own(c, slot);
	c->parked |= 1ULL << slot;
	return 0;
}

int
slot_emptied(struct mgr *mgr, struct client *c, uint32_t slot)
{
	check_its_own(c, slot);
	if ((c->parked >> slot & 1) == 0)
		return -1;
	c->slots &= ~(1ULL << slot);
	mgr->used &= ~(1ULL << slot);
	return 0;
}

void
slot_stall(struct mgr *mgr, uint32_t slot, bool stalled)
{
	(void)mgr;
	(void)slot;
	(void)stalled;
}

void
slots_reclaim(struct mgr *mgr, struct client *c)
{
	mgr->used &= ~c->slots;
	c->slots = 0;
}

void
slots_finish(struct mgr *mgr)
{
	(void)mgr;
}

void
slots_adopt(struct mgr *mgr, struct client *c)
{
	(void)mgr;
	(void)c;
}

void
memory_forget(struct mgr *mgr, pid_t pid)
{
	(void)mgr;
	(void)pid;
}

bool
memory_is_mapped(const struct mgr *mgr, pid_t pid)
{
	(void)mgr;
	(void)pid;
	return true;
}

uint32_t
locks_free(void)
{
	return 0;
}

void
show_answer(struct mgr *mgr, struct client *c, const struct uvs_msg_text *ask)
{
	(void)mgr;
	CHECK(c->state == CLIENT_TOOL);
	CHECK(ask->head.type == UVS_MSG_ASK);
}

/* ------------------------------------------------------------------------------------- the play */

static void
come(int i)
{
	client[i] = calloc(1, sizeof(*client[i]));
	client[i]->socket.fd = client[i]->process.fd = -1;
	client[i]->pid = i + 1;
	TAILQ_INSERT_TAIL(&m.clients, client[i], next);
}

static void
go(int i)
{
	slots_reclaim(&m, client[i]);
	if (m.attaching == client[i])
		m.attaching = NULL;
	TAILQ_REMOVE(&m.clients, client[i], next);
	free(client[i]);
	client[i] = NULL;
	clients_next(&m);
}

static size_t
length_of(uint32_t type)
{
	if (type == UVS_MSG_HELLO)
		return sizeof(struct uvs_msg_hello);
	return type == UVS_MSG_ASK ? sizeof(struct uvs_msg_text) : sizeof(struct uvs_msg_slot);
}

/* Mostly well-formed, with contents of chance; or bytes of chance. */
static size_t
write_message(union uvs_msg *msg)
{
	uint32_t type = chance(10);
	size_t len = length_of(type);

	memset(msg, (int)chance(256), sizeof(*msg));
	msg->head = (struct uvs_msg_head){type, (uint32_t)len};
	if (type == UVS_MSG_HELLO) {
		msg->hello.version = chance(8) == 0 ? chance(4) : UVS_PROTO_VERSION;
		msg->hello.stacks = chance(8) == 0 ? chance(UINT32_MAX) : chance(4);
	} else if (type != UVS_MSG_ASK) {
		msg->slot.slot = chance(8) == 0 ? chance(UINT32_MAX) : chance(SLOTS + 2);
	}
	if (chance(8) == 0)
		len = chance(sizeof(*msg) + 64);
	if (chance(8) == 0)
		msg->head.len = chance(UINT32_MAX);
	return len;
}

static void
check_all(void)
{
	uint64_t all = 0;
	int attaching = 0;

	for (int i = 0; i < CLIENTS; i++) {
		if (client[i] == NULL)
			continue;
		CHECK((all & client[i]->slots) == 0); /* nobody shares one */
		all |= client[i]->slots;
		attaching += client[i]->state == CLIENT_ATTACHING;
		CHECK(client[i]->slots == 0 || client[i]->state == CLIENT_UP);
	}
	CHECK(all == m.used);
	CHECK(attaching == (m.attaching != NULL));
}

void
clients_play(uint32_t (*below)(uint32_t n))
{
	union uvs_msg msg;

	TAILQ_INIT(&m.clients);
	host.nb_slots = SLOTS + 1;
	m.host = &host;
	chance = below;

	for (int step = 0; step < STEPS; step++) {
		int i = (int)chance(CLIENTS);

		if (client[i] == NULL) {
			come(i);
		} else if (chance(16) == 0) {
			go(i);
		} else {
			size_t len = write_message(&msg);

			client_said(&m, client[i], &msg, len);
		}
		check_all();
	}
	for (int i = 0; i < CLIENTS; i++)
		if (client[i] != NULL)
			go(i);
	CHECK(m.used == 0);
}

uint64_t
clients_played(void)
{
	return m.stats.attaches;
}
