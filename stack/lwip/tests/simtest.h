/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests on the simulated wire share: checks, segments made by hand, and an ear. */
#ifndef UVL_SIMTEST_H
#define UVL_SIMTEST_H

#include "sim.h"

extern const char *simtest_name;
extern int simtest_failures;

void __attribute__((format(printf, 2, 3))) simtest_failed(int line, const char *format, ...);

#define CHECK(condition, ...)                                  \
	do {                                                   \
		if (!(condition))                              \
			simtest_failed(__LINE__, __VA_ARGS__); \
	} while (0)

void simtest_no_asserts(const struct sim *sim);

struct simtest {
	const char *name;
	void (*run)(void);
};

/* Runs those whose name is argv[1], or all; the exit status. */
int simtest_main(int argc, char **argv, const struct simtest *tests, size_t number);

/* A TCP segment that nobody's lwIP made. */
struct segment {
	uint16_t from, to; /* ports */
	uint32_t seqno, ackno;
	uint8_t flags;
	uint16_t window, length; /* of the data, zeros */
	uint8_t options[40], option_bytes;
	uint32_t address; /* of the sender; 0: the host's peer */
};

/* It arrives at the host now. */
void simtest_segment(struct sim_host *host, const struct segment *segment);

/* A packet arrives, without checksums being looked at, and its last byte is followed by a page that
 * nobody may read: who reads beyond it ends the test. input: as the netif's. */
void simtest_at_edge(struct sim_host *host, err_t (*input)(struct pbuf *p, struct netif *netif),
		     const void *packet, uint32_t length);

/* Counts what a host sends; of the last one, the header in host order. */
struct ear {
	unsigned int syn_acks, resets, acks, all;
	struct segment last;
	bool deaf; /* what was heard does not go on to the peer */
};

void simtest_listen_in(struct sim_host *host, struct ear *ear);

#endif /* UVL_SIMTEST_H */
