/* SPDX-License-Identifier: BSD-3-Clause */
/* Congestion control, see uvl_tcp.h. */
#include "uvl.h"

#include <string.h>

#include "lwip/tcp.h"

/* ---- Reno: RFC 5681 ---------------------------------------------------------------------------*/

static void
reno_grow(struct tcp_pcb *pcb, u32_t acked)
{
	if (pcb->cwnd < pcb->ssthresh) {
		pcb->cwnd += LWIP_MIN(acked, LWIP_MAX(pcb->ssthresh - pcb->cwnd, 2u * pcb->mss));
		return;
	}
	pcb->bytes_acked += acked;
	if (pcb->bytes_acked >= pcb->cwnd) {
		pcb->bytes_acked -= pcb->cwnd;
		pcb->cwnd += pcb->mss;
	}
}

static u32_t
reno_shrink(struct tcp_pcb *pcb)
{
	return pcb->cwnd / 2;
}

/* ---- HyStart++: RFC 9406, whose names these are -------------------------------------------------
 *
 * The first slow start ends when round trips grow, which they do before a queue overflows.
 */

#define MIN_RTT_THRESH     4000u /* us */
#define MAX_RTT_THRESH     16000u
#define MIN_RTT_DIVISOR    8
#define N_RTT_SAMPLE       8
#define CSS_GROWTH_DIVISOR 4
#define CSS_ROUNDS         5

enum { SLOW, CONSERVATIVE, OVER };

struct hystart {
	u32_t window_end;        /* of this round */
	u32_t last_min, now_min; /* round trip of the last round and of this one; 0: unknown */
	u32_t base_min;          /* when conservative slow start began */
	u8_t samples, rounds, phase;
	bool begun;
};

static void
hystart_round(struct tcp_pcb *pcb, struct hystart *h)
{
	if (h->begun && TCP_SEQ_LT(pcb->lastack, h->window_end))
		return;
	if (h->phase == CONSERVATIVE && ++h->rounds >= CSS_ROUNDS)
		pcb->ssthresh = pcb->cwnd;
	h->last_min = h->now_min;
	h->now_min = 0;
	h->samples = 0;
	h->window_end = pcb->snd_nxt;
	h->begun = true;
}

static void
hystart_sample(struct hystart *h, s32_t rtt)
{
	u32_t thresh =
		LWIP_MIN(LWIP_MAX(h->last_min / MIN_RTT_DIVISOR, MIN_RTT_THRESH), MAX_RTT_THRESH);

	if (rtt <= 0)
		return;
	if (h->now_min == 0 || (u32_t)rtt < h->now_min)
		h->now_min = (u32_t)rtt;
	if (h->samples < N_RTT_SAMPLE)
		h->samples++;
	if (h->samples < N_RTT_SAMPLE)
		return;
	if (h->phase == SLOW && h->last_min != 0 && h->now_min >= h->last_min + thresh) {
		h->phase = CONSERVATIVE;
		h->base_min = h->now_min;
		h->rounds = 0;
	} else if (h->phase == CONSERVATIVE && h->now_min < h->base_min) {
		h->phase = SLOW; /* it was a coincidence */
	}
}

static void
hystart_grow(struct tcp_pcb *pcb, struct hystart *h, u32_t acked)
{
	if (h->phase == OVER) {
		reno_grow(pcb, acked);
		return;
	}
	hystart_round(pcb, h);
	hystart_sample(h, uvl_self->tcp_ack_.rtt_last);
	reno_grow(pcb, h->phase == CONSERVATIVE ? acked / CSS_GROWTH_DIVISOR : acked);
}

/* ---- CUBIC: RFC 9438, whose names these are -----------------------------------------------------
 *
 * In bytes and milliseconds, without fractions: C is 0.4 segments per second cubed, beta 0.7.
 */

struct cubic {
	u32_t w_max, w_max_before; /* before the last reduction; and before that, to undo it */
	u32_t origin, k;           /* the plateau, and ms from the epoch until it is reached */
	u32_t epoch;               /* sys_now() when this growth began; 0: it has not */
	u32_t last;                /* sys_now() when it was last looked at */
	u32_t w_est, est_acked;    /* what Reno would have, and bytes towards its next segment */
	struct hystart start;
};

_Static_assert(sizeof(struct cubic) <= sizeof(((struct uvl_tcp_rec *)0)->cc_data),
	       "cc_data is too small");

static struct cubic *
cubic_of(struct tcp_pcb *pcb)
{
	return (struct cubic *)(void *)pcb->rec.cc_data;
}

static u32_t
cube_root(u64_t n)
{
	u32_t low = 0, high = 2642245; /* of 2^64 */

	while (low < high) {
		u32_t middle = (low + high + 1) / 2;

		if ((u64_t)middle * middle * middle <= n)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

static void
cubic_begin(struct tcp_pcb *pcb, struct cubic *c)
{
	c->epoch = LWIP_MAX(sys_now(), 1u);
	c->last = c->epoch;
	c->w_est = pcb->cwnd;
	c->est_acked = 0;
	c->origin = LWIP_MAX(c->w_max, pcb->cwnd);
	/* K = cbrt((W_max - cwnd) / C), in ms: 10^9 / 0.4 */
	c->k = cube_root((u64_t)(c->origin - pcb->cwnd) * 2500000000u / pcb->mss);
}

/* W_cubic(t + RTT), bytes. */
static u32_t
cubic_target(const struct tcp_pcb *pcb, const struct cubic *c)
{
	s64_t t = (s64_t)(sys_now() - c->epoch) + pcb->rec.srtt / 8 / 1000 - c->k, w;

	t = LWIP_MIN(LWIP_MAX(t, -100000), 100000);
	w = (s64_t)c->origin + t * t * t / 1000 * pcb->mss / 2500000;
	w = LWIP_MAX(w, (s64_t)pcb->cwnd);
	return (u32_t)LWIP_MIN(w, (s64_t)pcb->cwnd + pcb->cwnd / 2);
}

/* As fast as Reno would be with this beta; and as Reno is, once what was lost is regained. */
static void
cubic_estimate(const struct tcp_pcb *pcb, struct cubic *c, u32_t acked)
{
	c->est_acked += c->w_est < c->w_max ? (u32_t)((u64_t)acked * 9 / 17) : acked;
	while (c->est_acked >= pcb->cwnd) {
		c->est_acked -= pcb->cwnd;
		c->w_est += pcb->mss;
	}
}

static void
cubic_grow(struct tcp_pcb *pcb, u32_t acked)
{
	struct cubic *c = cubic_of(pcb);
	u32_t now = sys_now(), target;

	if (pcb->cwnd < pcb->ssthresh) {
		hystart_grow(pcb, &c->start, acked);
		return;
	}
	if (c->epoch == 0)
		cubic_begin(pcb, c);
	/* While there was nothing to send, no time has passed (5.8). */
	if (now - c->last > 200 + pcb->rec.srtt / 8 / 500)
		c->epoch += now - c->last;
	c->last = now;
	cubic_estimate(pcb, c, acked);
	target = cubic_target(pcb, c);
	pcb->cwnd += (u32_t)((u64_t)(target - pcb->cwnd) * acked / pcb->cwnd);
	pcb->cwnd = LWIP_MAX(pcb->cwnd, c->w_est);
}

static u32_t
cubic_shrink(struct tcp_pcb *pcb)
{
	struct cubic *c = cubic_of(pcb);
	u32_t cwnd = pcb->cwnd;

	c->epoch = 0;
	c->start.phase = OVER;
	c->w_max_before = c->w_max;
	/* Fast convergence: who has less than before leaves room for others. */
	c->w_max = cwnd < c->w_max ? (u32_t)((u64_t)cwnd * 17 / 20) : cwnd;
	return (u32_t)((u64_t)cwnd * 7 / 10);
}

static void
cubic_undo(struct tcp_pcb *pcb)
{
	struct cubic *c = cubic_of(pcb);

	c->w_max = c->w_max_before;
	c->epoch = 0;
}

/* The first is the default. */
static const struct uvl_tcp_cc methods[] = {
	{.name = "cubic", .grow = cubic_grow, .shrink = cubic_shrink, .undo = cubic_undo},
	{.name = "reno", .grow = reno_grow, .shrink = reno_shrink},
};

#define METHODS (sizeof(methods) / sizeof(methods[0]))

const struct uvl_tcp_cc *
uvl_tcp_cc_find(const char *name)
{
	for (size_t i = 0; i < METHODS; i++)
		if (strcmp(methods[i].name, name) == 0)
			return &methods[i];
	return NULL;
}

const struct uvl_tcp_cc *
uvl_tcp_cc(const struct tcp_pcb *pcb)
{
	return pcb->rec.cc != NULL ? pcb->rec.cc : &methods[0];
}

void
uvl_tcp_cc_set(struct tcp_pcb *pcb, const struct uvl_tcp_cc *cc)
{
	pcb->rec.cc = cc;
	memset(pcb->rec.cc_data, 0, sizeof(pcb->rec.cc_data));
}
