/* SPDX-License-Identifier: BSD-3-Clause
 *
 * `uvbridge port replay`: send what is in a capture file, at the times it was captured or faster.
 */
#include <errno.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <unistd.h>

#include "uvbridge/ports/ports.h"

#define ARENA (2u * UVB_FRAME_MAX)
#define LATE  1000u /* ns ahead of its time that a frame may go: less than a sleep costs */

enum {
	REPLAY_TRUNCATED, /* the capture has not all of it */
	REPLAY_OVERSIZE,  /* longer than any frame */
};

static const char *const replay_counters[UVP_COUNTERS] = {
	[REPLAY_TRUNCATED] = "truncated",
	[REPLAY_OVERSIZE] = "oversize",
};

static struct replay {
	const char *path;
	pcap_t *file;
	double speed;
	bool fast;
	bool pad;
	uint64_t loops; /* times to play it; 0: without end */
	uint64_t played;
	bool ended;
	enum uvp_exit status; /* then */
	uint64_t in_loop;     /* frames of this round */
	uint64_t frames, bytes;
	bool begun;     /* this round */
	uint64_t first; /* time of its first frame in the file, ns, */
	uint64_t start; /* and on our clock */
	/* A frame that is read, and not due yet or not in the batch for want of room. */
	bool held;
	uint64_t due;
	const uint8_t *data;
	uint32_t len;
	uint32_t used; /* bytes of the arena that frames in the batch stand in */
} self = {.speed = 1, .loops = 1};

static uint8_t arena[ARENA];

/* ------------------------------------------------------------------------------------------ file
 */

static int
open_file(struct uvp_port *port)
{
	char err[PCAP_ERRBUF_SIZE] = "";

	if (self.file != NULL)
		pcap_close(self.file);
	self.file =
		pcap_open_offline_with_tstamp_precision(self.path, PCAP_TSTAMP_PRECISION_NANO, err);
	if (self.file == NULL)
		return uvp_fail(port, "cannot read the capture: %s", err);
	if (pcap_datalink(self.file) != DLT_EN10MB)
		return uvp_fail(port, "%s has no Ethernet frames, its link type is %s", self.path,
				pcap_datalink_val_to_name(pcap_datalink(self.file)));
	self.begun = false;
	self.in_loop = 0;
	return 0;
}

/* When a frame of the file is to go. A clock that has jumped back in the file does not wait. */
static uint64_t
due_time(const struct pcap_pkthdr *h)
{
	uint64_t ts = (uint64_t)h->ts.tv_sec * 1000000000ULL + (uint64_t)h->ts.tv_usec;

	if (self.fast)
		return 0;
	if (!self.begun) {
		self.begun = true;
		self.first = ts;
		self.start = uvb_now_ns();
	}
	if (ts < self.first)
		return self.start;
	return self.start + (uint64_t)((double)(ts - self.first) / self.speed);
}

/* What the file has of the frame: kept to be sent, or counted. */
static void
take_record(struct uvp_pump *p, const struct pcap_pkthdr *h, const uint8_t *data)
{
	self.in_loop++;
	if (h->len > UVB_FRAME_MAX) {
		uvp_count(p, REPLAY_OVERSIZE);
		return;
	}
	if (h->caplen < h->len && !self.pad) {
		uvp_count(p, REPLAY_TRUNCATED);
		return;
	}
	self.held = true;
	self.due = due_time(h);
	self.data = data; /* libpcap's until the next one is read */
	self.len = h->caplen;
	if (h->caplen < h->len) {
		memset(arena + self.used, 0, h->len);
		memcpy(arena + self.used, data, h->caplen);
		self.data = arena + self.used;
		self.len = h->len;
	}
}

/* That was all: told once the last frame has been taken by the fabric, and not before. */
static void
replay_end(struct uvp_pump *p, enum uvp_exit status)
{
	self.ended = true;
	self.status = status;
	if (p->batch->n != 0)
		return;
	uvp_finish(p->port, status);
	p->fill_at = UINT64_MAX;
}

/* The end of the file: from the start, or that was it. */
static void
end_of_file(struct uvp_pump *p)
{
	self.played++;
	if (self.in_loop == 0 || (self.loops != 0 && self.played == self.loops))
		replay_end(p, UVP_EXIT_OK);
	else if (open_file(p->port) != 0)
		replay_end(p, UVP_EXIT_FAILED);
}

/* Read on until a frame is held. False: there is none, or there has been enough of looking. */
static bool
next_frame(struct uvp_pump *p)
{
	struct pcap_pkthdr *h;
	const uint8_t *data;

	if (self.held)
		return true;
	switch (pcap_next_ex(self.file, &h, &data)) {
	case 1:
		take_record(p, h, data);
		return true;
	case PCAP_ERROR_BREAK:
		end_of_file(p);
		return !self.ended;
	default:
		uvp_log(p->port, "%s is damaged after frame %llu: %s", self.path,
			(unsigned long long)self.in_loop, pcap_geterr(self.file));
		replay_end(p, UVP_EXIT_FAILED);
		return false;
	}
}

/* --------------------------------------------------------------------------------------- sending
 */

static void
send_held(struct uvp_pump *p)
{
	uint8_t *to = arena + self.used;

	if (self.data != to)
		memcpy(to, self.data, self.len);
	uvp_batch_add(p->batch, to, self.len, 0);
	self.used += self.len;
	self.frames++;
	self.bytes += self.len;
	self.held = false;
}

static void
replay_fill(struct uvp_pump *p)
{
	uint64_t now = self.fast ? 0 : uvb_now_ns();

	/* The padded copy of a held frame stands where `used` was. */
	if (self.held && self.data == arena + self.used)
		memmove(arena, self.data, self.len), self.data = arena;
	self.used = 0;
	p->fill_at = 0;
	if (self.ended) {
		replay_end(p, self.status);
		return;
	}
	while (uvp_batch_room(p->batch) && self.used + UVB_FRAME_MAX <= ARENA && next_frame(p)) {
		if (!self.held)
			continue;
		if (self.due > now + LATE) {
			p->fill_at = self.due;
			return;
		}
		send_held(p);
	}
}

static const struct uvp_ops replay_ops = {.fill = replay_fill};

/* ------------------------------------------------------------------------------------------ verb
 */

enum {
	OPT_SPEED = UVP_OPT_KIND,
	OPT_FAST,
	OPT_LOOP,
	OPT_PAD,
};

static const struct option replay_options[] = {
	{"read", required_argument, NULL, 'r'}, {"speed", required_argument, NULL, OPT_SPEED},
	{"fast", no_argument, NULL, OPT_FAST},  {"loop", required_argument, NULL, OPT_LOOP},
	{"pad", no_argument, NULL, OPT_PAD},    UVP_COMMON_OPTIONS,
};

static const char replay_usage[] =
	"replay FABRIC NAME -r FILE [OPTION...]\n"
	"Send the frames of a pcap or pcapng file as they are, at the intervals they were "
	"captured\n"
	"at, then end. The port does not receive.\n\n"
	"  uvbridge port replay lab player -r incident.pcapng --speed 10\n\n"
	"  -r, --read FILE    the capture; - is standard input\n"
	"  --speed X          X times as fast (default: 1)\n"
	"  --fast             as fast as the fabric takes them\n"
	"  --loop N           play it N times, 0: without end (default: 1)\n"
	"  --pad              fill frames that were captured in part with zeros up to their "
	"length\n"
	"                     (default: leave them out, and count them)\n";

static void
replay_init(struct uvp_port *port)
{
	port->kind = UVB_KIND_PCAP;
	port->conf_flags = 0; /* not started: frames to it drop as "rx_stopped" */
	port->counter_name = replay_counters;
}

static bool
option_speed(const char *arg, char err[UVB_ERR_LEN])
{
	char *end;

	self.speed = strtod(arg, &end);
	if (*end == '\0' && end != arg && self.speed > 1e-6 && self.speed < 1e9)
		return true;
	uvb_fail(err, 0, "--speed %.40s: give a factor, like 10 or 0.5", arg);
	return false;
}

static bool
replay_option(struct uvp_port *port, int opt, const char *arg, char err[UVB_ERR_LEN])
{
	(void)port;
	switch (opt) {
	case 'r':
		self.path = arg;
		return true;
	case OPT_SPEED:
		return option_speed(arg, err);
	case OPT_FAST:
		self.fast = true;
		return true;
	case OPT_LOOP:
		if (uvp_number(arg, 0, UINT32_MAX, &self.loops))
			return true;
		uvb_fail(err, 0, "--loop %.40s: give a number of times", arg);
		return false;
	default:
		self.pad = true;
		return true;
	}
}

static int
check_file(struct uvp_port *port)
{
	if (self.path == NULL) {
		uvp_fail(port, "give the capture to read: -r FILE");
		return UVP_EXIT_USAGE;
	}
	if (strcmp(self.path, "-") == 0 && self.loops != 1) {
		uvp_fail(port, "standard input can be played only once: --loop needs a file");
		return UVP_EXIT_USAGE;
	}
	return open_file(port);
}

static int
replay_run(struct uvp_port *port)
{
	int rc = check_file(port);

	if (rc == 0)
		rc = uvp_attach(port);
	if (rc == 0) {
		port->pump[0].ops = &replay_ops;
		rc = uvp_serve(port);
		printf("sent %llu frames, %llu bytes\n", (unsigned long long)self.frames,
		       (unsigned long long)self.bytes);
	}
	uvp_detach(port);
	if (self.file != NULL)
		pcap_close(self.file);
	return rc;
}

const struct uvp_kind uvp_replay = {
	.name = "replay",
	.usage = replay_usage,
	.shorts = "hr:",
	.options = replay_options,
	.option = replay_option,
	.run = replay_run,
	.init = replay_init,
};
