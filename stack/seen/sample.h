/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/seen/sample.h - what a tool has read of a stack at one moment, and whom it can read.
 *
 * A sample is plain data without pointers: the manager of a shared host hands out an array of them,
 * one for itself (slot 0) and one for each slot that has ever been leased, in a file
 * (struct uvs_samples_head, samples, NIC counters). Pages of processes are read here.
 */
#ifndef STACK_SEEN_SAMPLE_H
#define STACK_SEEN_SAMPLE_H

#include "stack/seen/counters.h"
#include "stack/share/hostdir.h"

#include <sys/types.h>

#define UVS_HOST_LABEL 128
#define UVS_NIC_NAME   64 /* RTE_ETH_XSTATS_NAME_SIZE */

struct uvs_sample {
	char host[UVS_HOST_LABEL]; /* of a shared host: its name; else empty */
	int32_t pid;
	uint32_t slot; /* 0: of no shared host, or the manager itself */
	bool alive;
	bool is_manager; /* then seen is empty */
	bool has[UVS_COUNTERS_MAX];
	uint64_t value[UVS_COUNTERS_MAX];
	struct uvs_seen seen;
};

/* A counter of the NIC, by its driver's name. */
struct uvs_nic_counter {
	char host[UVS_HOST_LABEL];
	char name[UVS_NIC_NAME];
	uint64_t value;
};

struct uvs_samples_head {
	uint32_t sample_size; /* of the build */
	uint32_t nb_counters;
	uint32_t nb_samples, nb_nic;
};

/* Everything read at one moment. */
struct uvs_samples {
	uint64_t when_ns; /* CLOCK_MONOTONIC */
	uint32_t n, nb_nic;
	struct uvs_sample *sample;
	struct uvs_nic_counter *nic;
};

/* Whom to read. */
struct uvs_whom {
	const char *host; /* this shared host alone; NULL: all there are */
	const char *nic;  /* processes with this nic = alone; NULL: all */
	pid_t pid;        /* this process alone; 0: all */
};

/* Read a stack's parts. */
void uvs_sample_take(const struct uvs_view *v, struct uvs_sample *s);

/* 0, or a negative errno with a sentence; what could not be read is said on standard error. */
int uvs_samples_read(const struct uvs_whom *whom, struct uvs_samples *s, char err[UVS_ERR_LEN]);
void uvs_samples_free(struct uvs_samples *s);

/* The same stack in an earlier reading; NULL. */
const struct uvs_sample *uvs_samples_before(const struct uvs_samples *before,
					    const struct uvs_sample *s);

/* Names of counters that tools add up and divide by. */
uint64_t uvs_sample_value(const struct uvs_sample *s, const char *name);

/* Measure latency, or do so no more: pages of processes here, slots by their manager. */
int uvs_latency_switch(const struct uvs_whom *whom, bool on, char err[UVS_ERR_LEN]);

#endif /* STACK_SEEN_SAMPLE_H */
