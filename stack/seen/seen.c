/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/seen/seen.h"

#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "stack/conf/conf.h"
#include "stack/lwip/uvl.h"
#include "stack/seen/counters.h"

void
uvs_seen_begin(struct uvs_seen *s, const struct uvs_conf *c)
{
	s->seen_size = sizeof(*s);
	s->lwip_size = (uint32_t)sizeof(struct uvl);
	s->nb_counters = uvs_nb_counters;
	s->pid = getpid();
	s->started_s = (uint64_t)time(NULL);
	prctl(PR_GET_NAME, s->name);
	snprintf(s->nic, sizeof(s->nic), "%.*s", UVS_SEEN_NIC - 1, c->nic);
	atomic_store_explicit(&s->latency, c->latency, memory_order_relaxed);
	atomic_store_explicit(&s->magic, UVS_SEEN_MAGIC, memory_order_release);
}

void
uvs_seen_last(struct uvs_seen *s, enum uvs_lost why, const void *frame, uint32_t len,
	      uint32_t readable, uint64_t now_ns)
{
	struct uvs_lost_frame *last = &s->lost[why].last;
	uint32_t turn = atomic_load_explicit(&last->turn, memory_order_relaxed);

	if (frame == NULL)
		return;
	atomic_store_explicit(&last->turn, turn | 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	last->len = len;
	last->when_ns = now_ns;
	memcpy(last->header, frame, readable < UVS_SEEN_HEADER ? readable : UVS_SEEN_HEADER);
	atomic_store_explicit(&last->turn, (turn | 1) + 1, memory_order_release);
}
