/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two lwIP instances and the wire between them, in virtual time, on one thread, repeatable to the
 * byte: what the tests of TCP's behaviour run on. Time jumps from event to event.
 */
#ifndef UVL_SIM_H
#define UVL_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "uvl.h"

struct sim;

struct sim_packet {
	struct sim_packet *next;
	uint64_t arrival; /* us */
	uint32_t length;
	unsigned char data[];
};

/* One direction of the wire, from the host it is a part of to the other. */
struct sim_link {
	uint32_t delay;   /* us, one way */
	uint32_t mbit;    /* rate; 0: infinite */
	uint32_t queue;   /* packets that may wait for the wire; 0: no limit */
	uint32_t loss;    /* packets lost in a million, at random */
	uint64_t random;  /* state of that chance */
	uint64_t free_at; /* ns; when the wire has sent what it was given */
	struct sim_packet *first, **last;
	uint64_t latest; /* us; arrival of the last one */
	uint64_t sent, lost, dropped;
};

struct sim_host {
	struct sim *sim;
	struct sim_host *peer;
	struct uvl *uvl;
	struct netif netif;
	ip_addr_t address;
	struct sim_link out;
	/* Sees each IP packet before it is sent, and keeps it from being sent by returning true. */
	bool (*filter)(struct sim_host *host, const unsigned char *packet, uint32_t length,
		       void *arg);
	void *filter_arg;
};

struct sim {
	uint64_t now; /* us */
	struct sim_host host[2];
};

/* Hosts 10.0.0.1 and 10.0.0.2, a wire of 100 us without limits or loss. */
void sim_init(struct sim *sim, uint64_t seed);
void sim_exit(struct sim *sim);

/* Enter a host's instance, until the next call into the simulator. */
void sim_enter(struct sim_host *host);

/* Runs until done(arg) or for so many us; whether done() was true. done may be NULL. */
bool sim_run(struct sim *sim, uint64_t duration, bool (*done)(void *arg), void *arg);

/* For filters: the packet, which must be lost then, arrives at the peer so many us later than the
 * wire would take. */
void sim_delay(struct sim_host *host, const void *packet, uint32_t length, uint64_t more);

/* The next of a sequence of random numbers; any state will do. */
uint64_t sim_chance(uint64_t *state);

/* A packet (from the IP header on) arrives at the host now, without checksums being looked at. */
void sim_inject(struct sim_host *host, const void *packet, uint32_t length);

/* ---- TCP as a fixed part of the tests: one connection, data one way -----------------------------
 */

struct sim_stream {
	struct sim_host *from, *to;
	struct tcp_pcb *client, *listener, *server;
	uint64_t want, written, received;
	bool established, failed, wrong;
	bool keep; /* the receiving application does not read */
	struct pbuf *kept;
};

/* to listens, from connects and writes want bytes; after two minutes open() returns anyhow. */
void sim_stream_open(struct sim_stream *s, struct sim_host *from, struct sim_host *to,
		     uint64_t want);
/* Writes what want asks for and fits, with s->from entered. */
void sim_stream_fill(struct sim_stream *s);
/* The receiving application reads what it kept. */
void sim_stream_read(struct sim_stream *s);
bool sim_stream_done(void *stream);
void sim_stream_close(struct sim_stream *s);

#endif /* UVL_SIM_H */
