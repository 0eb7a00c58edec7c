/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/test.h - what the unit tests share: checks, a fabric to play with, frames.
 */
#ifndef UVBRIDGE_TEST_H
#define UVBRIDGE_TEST_H

#include <stdio.h>
#include <stdlib.h>

#include "uvbridge/internal.h"
#include "uvbridge/scratch.h"

#define CHECK(cond)                                                                              \
	do {                                                                                     \
		if (!(cond)) {                                                                   \
			fprintf(stderr, "%s:%d: %s: failed: %s\n", __FILE__, __LINE__, __func__, \
				#cond);                                                          \
			exit(1);                                                                 \
		}                                                                                \
	} while (0)

#define CHECK_EQ(a, b)                                                                             \
	do {                                                                                       \
		long long a_ = (long long)(a), b_ = (long long)(b);                                \
		if (a_ != b_) {                                                                    \
			fprintf(stderr, "%s:%d: %s: %s is %lld, %s is %lld\n", __FILE__, __LINE__, \
				__func__, #a, a_, #b, b_);                                         \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

#define RUN(test)                      \
	do {                           \
		printf("%s\n", #test); \
		fflush(stdout);        \
		test();                \
	} while (0)

/* A fabric in a run directory of its own; the daemon is build/uvbridge/uvbridged (argv of
 * `uvbridged` after the program's name, NULL at the end, may be empty). */
struct fabric {
	char dir[UVB_SCRATCH_LEN];
	pid_t daemon;
	const char *const *args;
};

void fabric_up(struct fabric *f, const char *const *args);
void fabric_restart(struct fabric *f); /* the daemon, after its death */
void fabric_down(struct fabric *f);    /* ends the daemon, checks the ledger, removes everything */
void fabric_check_ledger(void);        /* clean within a second */

#define FABRIC "test"

/* Attach and start; flags as promiscuous. Die on failure. */
struct uvb_dev *port_up(const char *name, uint16_t nb_rxq, uint16_t nb_txq, uint32_t flags);
struct uvb_dev *port_up_as(const struct uvb_attach *req, uint32_t flags, uint16_t mtu);

/* Repeatable: the seed is printed, and taken from UVB_SEED. */
void seed_init(void);
uint64_t rnd(void);

/* A frame to `dst` from `src` (last byte of 02:00:00:00:00:xx) of len bytes, filled with a pattern.
 */
uint32_t frame_make(uint8_t *buf, uint8_t dst, uint8_t src, uint32_t len, uint32_t seq);
/* Send one, whole. Returns what uvb_tx_burst() does. */
uint16_t send_one(struct uvb_dev *dev, uint16_t txq, const void *data, uint32_t len);
/* Receive and drop everything that waits. Returns how many. */
uint32_t receive_all(struct uvb_dev *dev, uint16_t rxq);

/* This process dies, by SIGKILL, when it passes point `point` (enum uvb_kill) for the (after + 1)th
 * time. */
void kill_arm(int point, int after);

#endif /* UVBRIDGE_TEST_H */
