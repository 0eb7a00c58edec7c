/* SPDX-License-Identifier: BSD-3-Clause */
/* Loss recovery, each case by what somebody at the other end notices: how long it took. */
#include "simtest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lwip/prot/ip4.h"
#include "lwip/prot/tcp.h"
#include "lwip/tcp.h"

#define MSEC    1000ull
#define ONE_WAY (5 * MSEC) /* us: a round trip of 10 ms */

/* A connection that has sent something, and what happens to the n-th of the next segments. */
struct run {
	struct sim sim;
	struct sim_stream s;
	uint32_t base; /* sequence number of segment 0 */
	struct {
		uint32_t segment, times;
	} lose[8];
	unsigned int seen;
};

static uint32_t
seqno(const unsigned char *packet)
{
	return lwip_ntohl(((const struct tcp_hdr *)(packet + IP_HLEN))->seqno);
}

static bool
has_data(const unsigned char *packet, uint32_t length)
{
	return length >
	       IP_HLEN + (uint32_t)TCPH_HDRLEN_BYTES((const struct tcp_hdr *)(packet + IP_HLEN));
}

static bool
lose_some(struct sim_host *host, const unsigned char *packet, uint32_t length, void *arg)
{
	struct run *r = arg;

	(void)host;
	if (!has_data(packet, length))
		return false;
	r->seen++;
	uint32_t n = (seqno(packet) - r->base) / r->s.client->mss;
	for (size_t i = 0; i < sizeof(r->lose) / sizeof(r->lose[0]); i++)
		if (r->lose[i].times > 0 && r->lose[i].segment == n) {
			r->lose[i].times--;
			return true;
		}
	return false;
}

/* What the marks of the segments say and the four sums must agree, whatever happened. */
static void
check_sums(const struct tcp_pcb *pcb)
{
	uint32_t sacked = 0, lost = 0, retrans = 0, todo = 0;

	if ((pcb->flags & TF_SACK) == 0)
		sacked = pcb->rec.sacked; /* a count of duplicates */
	for (const struct tcp_seg *seg = pcb->unacked; seg != NULL; seg = seg->next) {
		uint32_t len = TCP_TCPLEN(seg);

		if (seg->mark & UVL_SEG_SACKED)
			sacked += len;
		if (seg->mark & UVL_SEG_LOST)
			lost += len;
		if (seg->mark & UVL_SEG_RETRANS)
			retrans += len;
		else if (seg->mark & UVL_SEG_LOST)
			todo += len;
	}
	CHECK(sacked == pcb->rec.sacked && lost == pcb->rec.lost && retrans == pcb->rec.retrans &&
		      todo == pcb->rec.todo,
	      "sums %u %u %u %u, marks %u %u %u %u", pcb->rec.sacked, pcb->rec.lost,
	      pcb->rec.retrans, pcb->rec.todo, sacked, lost, retrans, todo);
}

static bool
done_and_sound(void *arg)
{
	struct sim_stream *s = arg;

	if (s->client != NULL)
		check_sums(s->client);
	return sim_stream_done(s);
}

static void
more(struct run *r, uint64_t bytes)
{
	sim_enter(r->s.from);
	r->base = r->s.client->snd_nxt;
	r->s.want += bytes;
	sim_stream_fill(&r->s);
}

/* The window has grown to some sixty segments, and nothing is on its way. */
static void
warm_up(struct run *r, bool sack)
{
	memset(r, 0, sizeof(*r));
	sim_init(&r->sim, 1);
	r->sim.host[0].out.delay = r->sim.host[1].out.delay = ONE_WAY;
	sim_stream_open(&r->s, &r->sim.host[0], &r->sim.host[1], 0);
	if (!sack) {
		tcp_clear_flags(r->s.client, TF_SACK);
		tcp_clear_flags(r->s.server, TF_SACK);
	}
	for (int i = 0; i < 3; i++) {
		more(r, 40000);
		CHECK(sim_run(&r->sim, 1000 * MSEC, sim_stream_done, &r->s), "does not arrive");
		sim_run(&r->sim, 100 * MSEC, NULL, NULL);
	}
	r->sim.host[0].filter = lose_some;
	r->sim.host[0].filter_arg = r;
}

static void
finish(struct run *r)
{
	CHECK(!r->s.failed && !r->s.wrong, "wrong data");
	simtest_no_asserts(&r->sim);
	sim_stream_close(&r->s);
	sim_exit(&r->sim);
}

/* ms until n segments have arrived. */
static unsigned int
transfer(struct run *r, unsigned int segments)
{
	uint64_t start = r->sim.now;

	more(r, (uint64_t)segments * r->s.client->mss);
	CHECK(sim_run(&r->sim, 600000 * MSEC, done_and_sound, &r->s), "lost for good");
	return (unsigned int)((r->sim.now - start) / MSEC);
}

/* Without any loss. */
static unsigned int
transfer_of(unsigned int segments)
{
	struct run r;

	warm_up(&r, true);
	unsigned int took = transfer(&r, segments);
	finish(&r);
	return took;
}

/* Any segment of thirty, and up to three of its retransmissions: a round trip and a little each. */
static void
test_lost_segment(void)
{
	unsigned int usual = transfer_of(400);

	for (uint32_t segment = 0; segment < 30; segment++)
		for (uint32_t times = 1; times <= 4; times++) {
			struct run r;

			warm_up(&r, true);
			r.lose[0].segment = segment;
			r.lose[0].times = times;
			/* There is more to send, so that acknowledgments keep coming. */
			unsigned int took = transfer(&r, 400);
			CHECK(took < usual + 150, "segment %u lost %u times took %u ms", segment,
			      times, took);
			CHECK(r.s.client->rec.retrans_segs <= times + 2, "%u retransmissions",
			      r.s.client->rec.retrans_segs);
			finish(&r);
		}
}

static void
test_many_lost(void)
{
	struct run r;

	warm_up(&r, true);
	for (uint32_t i = 0; i < 8; i++) {
		r.lose[i].segment = 3 * i + 1;
		r.lose[i].times = 1;
	}
	unsigned int took = transfer(&r, 30);
	CHECK(took < 40, "eight of thirty segments lost: %u ms", took);
	CHECK(r.s.client->rec.retrans_segs == 8, "%u retransmissions",
	      r.s.client->rec.retrans_segs);
	finish(&r);
}

/* The end of a request is lost: nothing comes after it that would tell. */
static void
test_lost_tail(void)
{
	for (uint32_t lost = 1; lost <= 6; lost++) {
		struct run r;

		warm_up(&r, true);
		for (uint32_t i = 0; i < lost; i++) {
			r.lose[i].segment = 9 - i;
			r.lose[i].times = 1;
		}
		unsigned int took = transfer(&r, 10);
		CHECK(took < 80, "the last %u of ten segments lost: %u ms", lost, took);
		finish(&r);
	}
}

/* All of a window: that is what the timer is for. Afterwards the rest goes at once. */
static void
test_lost_window(void)
{
	struct run r;

	warm_up(&r, true);
	for (uint32_t i = 0; i < 8; i++) {
		r.lose[i].segment = i;
		r.lose[i].times = i < 7 ? 1 : 2; /* the probe as well */
	}
	unsigned int took = transfer(&r, 8);
	CHECK(took >= 200 && took < 400, "eight of eight segments lost: %u ms", took);
	finish(&r);
}

/* Acknowledgments are lost, four of five: nothing is sent for nothing. */
static bool
lose_acks(struct sim_host *host, const unsigned char *packet, uint32_t length, void *arg)
{
	(void)host;
	(void)packet;
	(void)length;
	return ++*(unsigned int *)arg % 5 != 0;
}

static void
test_lost_acks(void)
{
	struct run r;
	unsigned int acks = 0;

	warm_up(&r, true);
	uint32_t cwnd = r.s.client->cwnd;
	r.sim.host[1].filter = lose_acks;
	r.sim.host[1].filter_arg = &acks;
	unsigned int took = transfer(&r, 300);
	CHECK(took < 200, "took %u ms", took);
	CHECK(r.s.client->rec.retrans_segs <= 1 && r.s.client->cwnd >= cwnd,
	      "%u retransmissions, window %u after %u", r.s.client->rec.retrans_segs,
	      r.s.client->cwnd, cwnd);
	finish(&r);
}

/* Every 16th segment takes 2 ms more than the others: found out once, and borne from then on. */
static bool
overtake(struct sim_host *host, const unsigned char *packet, uint32_t length, void *arg)
{
	struct run *r = arg;

	if (!has_data(packet, length) || ++r->seen % 16 != 0)
		return false;
	sim_delay(host, packet, length, 2 * MSEC);
	return true;
}

static void
test_reordering(void)
{
	struct run r;

	warm_up(&r, true);
	r.sim.host[0].filter = overtake;
	transfer(&r, 100);
	uint32_t first = r.s.client->rec.retrans_segs;
	transfer(&r, 2000);
	CHECK(r.s.client->rec.retrans_segs - first <= 8, "%u of 2000 segments sent for nothing",
	      r.s.client->rec.retrans_segs - first);
	CHECK(r.s.client->cwnd > 100000, "the window is %u", r.s.client->cwnd);
	finish(&r);
}

/* The path becomes slower by half a second: the time-out was for nothing, and is taken back. */
static void
test_time_out_for_nothing(void)
{
	struct run r;

	warm_up(&r, true);
	uint32_t cwnd = r.s.client->cwnd;
	r.sim.host[0].out.delay += 500 * MSEC;
	more(&r, 20000);
	sim_run(&r.sim, 480 * MSEC, done_and_sound, &r.s);
	CHECK(r.s.client->cwnd < cwnd, "the timer did not run out");
	r.sim.host[0].out.delay = ONE_WAY;
	CHECK(sim_run(&r.sim, 600000 * MSEC, done_and_sound, &r.s), "does not arrive");
	sim_run(&r.sim, 1000 * MSEC, NULL, NULL);
	CHECK(r.s.client->rec.undone == 1 && r.s.client->cwnd >= cwnd,
	      "window %u after %u, taken back %u times", r.s.client->cwnd, cwnd,
	      r.s.client->rec.undone);
	finish(&r);
}

/* The receiver throws away what it had acknowledged selectively. It may. */
static void
test_reneging(void)
{
	struct run r;

	warm_up(&r, true);
	r.lose[0].segment = 2;
	r.lose[0].times = 1;
	more(&r, 20ull * r.s.client->mss);
	sim_run(&r.sim, 5500, done_and_sound, &r.s);
	sim_enter(r.s.to);
	CHECK(r.s.server->ooseq != NULL, "nothing is out of order");
	tcp_free_ooseq(r.s.server);
	CHECK(sim_run(&r.sim, 2000 * MSEC, done_and_sound, &r.s), "the connection stands still");
	finish(&r);
}

/* A peer without SACK: several losses in a window, a round trip each. */
static void
test_without_sack(void)
{
	for (uint32_t losses = 1; losses <= 5; losses++) {
		struct run r;

		warm_up(&r, false);
		for (uint32_t i = 0; i < losses; i++) {
			r.lose[i].segment = 2 * i + 1;
			r.lose[i].times = 1;
		}
		unsigned int took = transfer(&r, 40);
		CHECK(took < 40 + losses * 12, "%u losses of 40 took %u ms", losses, took);
		finish(&r);
	}
}

/* Nobody answers any more: 200 ms, doubled up to two minutes, and then the application is told. */
static void
test_back_off_to_the_end(void)
{
	struct run r;

	warm_up(&r, true);
	r.sim.host[0].filter = NULL;
	r.sim.host[0].out.loss = 1000000;
	uint64_t start = r.sim.now, lost = r.sim.host[0].out.lost;

	more(&r, 100);
	sim_run(&r.sim, 7200000 * MSEC, done_and_sound, &r.s);
	uint64_t took = (r.sim.now - start) / 1000000;
	CHECK(r.s.failed, "the application was never told");
	CHECK(took > 100 && took < 600, "told after %u s", (unsigned int)took);
	/* The segment, a probe, and TCP_MAXRTX times again. */
	CHECK(r.sim.host[0].out.lost - lost == 2 + TCP_MAXRTX, "sent %u times",
	      (unsigned int)(r.sim.host[0].out.lost - lost));
	r.s.failed = false; /* told as it should be */
	finish(&r);
}

/* A long way and a wide wire: after a loss CUBIC is back at its window in seconds, Reno in minutes.
 */
static uint64_t
after_a_loss(const char *name)
{
	struct run r;

	warm_up(&r, true);
	r.sim.host[0].out.delay = r.sim.host[1].out.delay = 50 * MSEC;
	uvl_tcp_cc_set(r.s.client, uvl_tcp_cc_find(name));
	sim_enter(r.s.from);
	r.s.client->cwnd = 400u * r.s.client->mss;
	r.lose[0].segment = 300;
	r.lose[0].times = 1;
	transfer(&r, 12000);
	uint64_t received = r.s.received, took = r.sim.now;
	CHECK(r.s.client->rec.retrans_segs <= 2, "%u retransmissions",
	      r.s.client->rec.retrans_segs);
	finish(&r);
	return received * 1000 / took;
}

static void
test_cubic(void)
{
	uint64_t cubic = after_a_loss("cubic"), reno = after_a_loss("reno");

	CHECK(cubic > reno * 5 / 4, "CUBIC %llu, Reno %llu bytes per ms", (unsigned long long)cubic,
	      (unsigned long long)reno);
	CHECK(uvl_tcp_cc_find("bbr") == NULL, "there is something called bbr");
}

/* SACK blocks that make no sense change nothing. */
static void
test_nonsense(void)
{
	struct run r;
	uint64_t random = 1;

	warm_up(&r, true);
	/* Nothing comes through: the blocks below are all the sender hears. */
	r.sim.host[0].out.loss = 1000000;
	more(&r, 20ull * r.s.client->mss);
	const struct tcp_pcb *pcb = r.s.client;
	for (int i = 0; i < 5000 && !r.s.failed; i++) {
		struct segment segment = {
			.from = pcb->remote_port,
			.to = pcb->local_port,
			.seqno = pcb->rcv_nxt,
			.ackno = pcb->lastack +
				 (i % 7 == 0 ? (uint32_t)sim_chance(&random) % 3000 : 0),
			.flags = TCP_ACK,
			.window = 32767,
		};
		unsigned int blocks = (unsigned int)sim_chance(&random) % 5;
		uint8_t *o = segment.options;

		*o++ = 1;
		*o++ = 1;
		*o++ = 5;
		*o++ = (uint8_t)(2 + 8 * blocks);
		for (unsigned int b = 0; b < 2 * blocks; b++) {
			uint32_t edge = lwip_htonl(pcb->lastack - 20000 +
						   (uint32_t)sim_chance(&random) % 80000);

			memcpy(o, &edge, 4);
			o += 4;
		}
		segment.option_bytes = (uint8_t)(o - segment.options);
		simtest_segment(r.s.from, &segment);
		if (!r.s.failed)
			check_sums(pcb);
	}
	CHECK(!r.s.failed, "the connection is gone");
	finish(&r);
}

/* Loss, duplicates and reordering both ways, and data that must arrive as it was sent. */
static bool
bad_day(struct sim_host *host, const unsigned char *packet, uint32_t length, void *arg)
{
	uint64_t *random = arg;
	uint64_t chance = sim_chance(random) % 1000;

	if (chance < 30)
		return true;
	if (chance < 50)
		sim_delay(host, packet, length, sim_chance(random) % (20 * MSEC));
	if (chance >= 60)
		return false;
	sim_delay(host, packet, length, sim_chance(random) % (20 * MSEC));
	return true;
}

static void
test_bad_days(void)
{
	const char *seed = getenv("UVL_TEST_SEED");
	uint64_t first = seed != NULL ? strtoull(seed, NULL, 10) : 1,
		 last = seed != NULL ? first : 12;

	for (uint64_t day = first; day <= last; day++) {
		struct run r;
		uint64_t random[2] = {day, day + 1000};
		int before = simtest_failures;

		warm_up(&r, day % 4 != 0);
		for (int i = 0; i < 2; i++) {
			r.sim.host[i].filter = bad_day;
			r.sim.host[i].filter_arg = &random[i];
		}
		transfer(&r, 700);
		finish(&r);
		if (simtest_failures != before)
			printf("  replay with UVL_TEST_SEED=%llu\n", (unsigned long long)day);
	}
}

/* Packets that do not fit into the queue in the first second, at 100 Mbit/s and 20 ms: 166 are
 * under way, 200 more may wait, and 700 would be sent. */
static unsigned int
overshoot(const char *method)
{
	struct sim sim;
	struct sim_stream s;
	unsigned int dropped;

	sim_init(&sim, 1);
	for (int i = 0; i < 2; i++) {
		sim.host[i].out.delay = 10 * MSEC;
		sim.host[i].out.mbit = 20;
		sim.host[i].out.queue = 200;
	}
	sim_stream_open(&s, &sim.host[0], &sim.host[1], 0);
	uvl_tcp_cc_set(s.client, uvl_tcp_cc_find(method));
	s.want = 1u << 30;
	sim_enter(&sim.host[0]);
	sim_stream_fill(&s);
	sim_run(&sim, 1000 * MSEC, NULL, NULL);
	dropped = (unsigned int)sim.host[0].out.dropped;
	CHECK(s.received > 1500000, "%s: %u bytes in the first second", method,
	      (unsigned int)s.received);
	simtest_no_asserts(&sim);
	sim_stream_close(&s);
	sim_exit(&sim);
	return dropped;
}

/* Round trips grow before the queue overflows (RFC 9406). */
static void
test_slow_start_ends_in_time(void)
{
	unsigned int with = overshoot("cubic"), without = overshoot("reno");

	CHECK(with < without / 2, "%u packets did not fit, and %u without HyStart++", with,
	      without);
}

#define TEST(name)                 \
	{                          \
#name, test_##name \
	}
static const struct simtest tests[] = {
	TEST(lost_segment), TEST(many_lost),
	TEST(lost_tail),    TEST(lost_window),
	TEST(lost_acks),    TEST(reordering),
	TEST(reneging),     TEST(time_out_for_nothing),
	TEST(without_sack), TEST(back_off_to_the_end),
	TEST(nonsense),     TEST(bad_days),
	TEST(cubic),        TEST(slow_start_ends_in_time),
};

int
main(int argc, char **argv)
{
	return simtest_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
