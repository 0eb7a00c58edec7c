/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Two hosts in one process for tests: two instances, their ports joined by a pair of rte_rings
 * (net_ring), driven by this thread. Also a small check macro.
 */
#ifndef STACK_SOCK_TESTS_PAIR_H
#define STACK_SOCK_TESTS_PAIR_H

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "stack/sock/sock_priv.h"
#include "stack/sock/stack.h"

#define CHECK(cond)                                                                              \
	do {                                                                                     \
		if (!(cond)) {                                                                   \
			fprintf(stderr, "%s:%d: %s: failed: %s\n", __FILE__, __LINE__, __func__, \
				#cond);                                                          \
			exit(1);                                                                 \
		}                                                                                \
	} while (0)

#define CHECK_EQ(a, b)                                                                       \
	do {                                                                                 \
		long long a_ = (long long)(a), b_ = (long long)(b);                          \
		if (a_ != b_) {                                                              \
			fprintf(stderr, "%s:%d: %s: %s is %lld (%#llx), not %lld (%#llx)\n", \
				__FILE__, __LINE__, __func__, #a, a_, a_, b_, b_);           \
			exit(1);                                                             \
		}                                                                            \
	} while (0)

/* hosts[0] is 10.0.0.1, hosts[1] 10.0.0.2. */
extern struct uvs_instance *hosts[2];

/* Trace points to be recorded, never written; before pair_start(). */
void pair_trace(const char *points);

/* EAL, ports, instances. mbufs: per host, 0 for the default. */
void pair_start(uint32_t mbufs);

void pair_stop(void);

/* How whoever waits does it: enum uvs_conf_poll. */
void pair_policy(uint32_t poll);

/* How many frames a round handles: the budget of uvs_conf. */
void pair_budget(uint32_t frames);

/* Run both hosts for a round. */
void pair_poll(void);

/* Run both until cond(arg) or 5 s have passed; what it was. */
bool pair_until(bool (*cond)(void *arg), void *arg);

/* Run both for about ms milliseconds. */
void pair_run(unsigned int ms);

/* Move both hosts' clocks forward: lwIP's timers run as if the time had passed. */
void pair_warp(unsigned int ms);

/* Frames between the hosts may be held back: drop the next n frames sent by a host. */
void pair_drop(int host, unsigned int n);

struct sockaddr_in pair_addr(int host, uint16_t port);
struct uvs_sock *pair_socket(int host, int type);
/* Listening on port on host 1. */
struct uvs_sock *pair_listener(uint16_t port, int backlog);
/* A connected pair: *client on host 0, *server on host 1, the listener closed again. */
void pair_connect(struct uvs_sock **client, struct uvs_sock **server);

ssize_t pair_send(struct uvs_sock *s, const void *data, size_t len);
ssize_t pair_recv(struct uvs_sock *s, void *data, size_t len);

#endif /* STACK_SOCK_TESTS_PAIR_H */
