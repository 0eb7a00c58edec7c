/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvstack top: what each stack does now. */
#include "stack/seen/show.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_SECONDS 1.0

static volatile sig_atomic_t interrupted;

static void
on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

struct readings {
	struct uvs_samples before, now;
};

static double
rate(const struct readings *r, const struct uvs_sample *s, const char *name)
{
	int i = uvs_counter_find(name);

	return i >= 0 ? uvs_show_counter_rate(&r->before, &r->now, s, (unsigned int)i) : 0;
}

/* Part of a second, in percent. */
static double
share(const struct readings *r, const struct uvs_sample *s, const char *name)
{
	return rate(r, s, name) / 1e9 * 100;
}

static double
drop_rate(const struct readings *r, const struct uvs_sample *s)
{
	double all = 0;

	for (unsigned int i = 0; i < uvs_nb_counters; i++)
		if (uvs_counters[i].type == UVS_DROPS_COUNTER)
			all += uvs_show_counter_rate(&r->before, &r->now, s, i);
	return all;
}

static void
row(struct out *o, const struct readings *r, const struct uvs_sample *s)
{
	out_row(o);
	uvs_show_who(o, s);
	out_real(o, "rx_pps", 8, 0, rate(r, s, "port.rx_packets"));
	out_real(o, "tx_pps", 8, 0, rate(r, s, "port.tx_packets"));
	out_real(o, "rx_mbit", 8, 1, rate(r, s, "port.rx_bytes") * 8 / 1e6);
	out_real(o, "tx_mbit", 8, 1, rate(r, s, "port.tx_bytes") * 8 / 1e6);
	out_real(o, "busy%", 5, 1, share(r, s, "loop.busy_ns"));
	out_real(o, "spin%", 5, 1, share(r, s, "loop.spin_ns"));
	out_real(o, "sleep%", 6, 1, share(r, s, "loop.asleep_ns"));
	out_real(o, "calls/s", 8, 0, rate(r, s, "loop.calls"));
	out_real(o, "retr/s", 6, 0, rate(r, s, "lwip.tcp_retransmits"));
	out_real(o, "drops/s", 7, 0, drop_rate(r, s));
	out_num(o, "conns", 6, uvs_sample_value(s, "limits.tcp_pcbs"));
	out_num(o, "free", 6, uvs_sample_value(s, "memory.mbufs_free"));
	out_num(o, "mbufs", 6, uvs_sample_value(s, "memory.mbufs"));
	out_row_end(o);
}

static int
frame(const struct uvs_show *show)
{
	struct readings r;
	struct out o;

	if (uvs_show_read(show, &r.before, &r.now) < 0)
		return 1;
	if (!show->once && !show->json && isatty(STDOUT_FILENO))
		fputs("\033[H\033[J", stdout);
	out_begin(&o, stdout, show->json);
	out_table(&o, "stacks");
	for (uint32_t i = 0; i < r.now.n; i++)
		if (!r.now.sample[i].is_manager)
			row(&o, &r, &r.now.sample[i]);
	out_table_end(&o, "no stacks");
	out_end(&o);
	uvs_samples_free(&r.before);
	uvs_samples_free(&r.now);
	return fflush(stdout) == 0 ? 0 : 1;
}

int
uvs_show_top(const struct uvs_show *o)
{
	struct sigaction stop = {.sa_handler = on_signal};
	struct uvs_show show = *o;
	int status;

	if (show.interval <= 0)
		show.interval = DEFAULT_SECONDS;
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	do
		status = frame(&show);
	while (status == 0 && !show.once && !interrupted);
	return status;
}
