/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/cli.h - the uvbridge program: what its verbs share.
 */
#ifndef UVBRIDGE_CLI_H
#define UVBRIDGE_CLI_H

#include <getopt.h>

#include "uvbridge/internal.h"
#include "uvbridge/view.h"

/* Exit statuses, documented in --help. */
enum {
	EXIT_OK = 0,
	EXIT_FAILED = 1, /* could not, or a ledger that is not clean */
	EXIT_USAGE = 2,
};

/* "uvbridge: " and a sentence to stderr; returns EXIT_FAILED. */
int cli_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same for a wrong command line, and where to read more; returns EXIT_USAGE. */
int cli_usage(const char *verb, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

bool cli_number(const char *text, uint64_t max, uint64_t *n);
/* Seconds with a fraction, more than 0. */
bool cli_seconds(const char *text, double *s);

/* cli_units.c: numbers with units, in the words of tc(8). false: that is none. */
bool cli_time(const char *text, uint64_t *ns);     /* 20ms, 5us, 100ns, 1s; 0 */
bool cli_rate(const char *text, uint64_t *bps);    /* 10mbit, 1gbit; 1mbps is 8mbit */
bool cli_bytes(const char *text, uint64_t *bytes); /* 1514, 1514b, 100kb, 100KiB, 1mb */
bool cli_percent(const char *text, uint32_t *p);   /* 1%, 0.05%; of 2^32 */

/* cli_filter.c: a filter in the words of tcpdump, pcap-filter(7), as instructions for whole
 * Ethernet frames: how many of at most `max` were written, or -1 after saying what is wrong with
 * it. */
int cli_filter(const char *verb, const char *text, struct uvb_bpf_insn *insn, uint32_t max);

/* cli_ask.c: put a request to a fabric's daemon. EXIT_OK, or EXIT_FAILED after saying why. */
struct uvb_ctl_answer;
struct uvb_ctl_hdr cli_ctl_hdr(unsigned type, size_t len);
int cli_ask(const char *fabric, const void *req, size_t len, struct uvb_ctl_answer *ans);

/* uvbridge.c: the verbs; NULL after the last one. */
const char *cli_verb(size_t i);

/* cli_completion.c */
int cli_completion(int argc, char **argv);

/* cli_daemon.c */
int cli_up(int argc, char **argv);
int cli_down(int argc, char **argv);
int cli_list(int argc, char **argv);

/* cli_unplug.c */
int cli_unplug(int argc, char **argv);

/* cli_show.c */
int cli_show(int argc, char **argv);
int cli_ledger(int argc, char **argv);
void cli_show_fdb(const struct uvb_view *view);

/* cli_watch.c */
int cli_watch(int argc, char **argv);

/* cli_capture.c */
int cli_capture(int argc, char **argv);

/* cli_clock.c */
int cli_clock(int argc, char **argv);

/* cli_fault.c */
int cli_fault(int argc, char **argv);
int cli_link(int argc, char **argv);

/* cli_switch.c */
int cli_vlan(int argc, char **argv);
int cli_fdb(int argc, char **argv);
int cli_port_set(int argc, char **argv);
int cli_mirror(int argc, char **argv);
int cli_adapter(int argc, char **argv);
int cli_vf(int argc, char **argv);
void cli_show_settings(const struct uvb_view *view);
void cli_show_adapters(const struct uvb_view *view);

#endif /* UVBRIDGE_CLI_H */
