/* SPDX-License-Identifier: BSD-3-Clause
 *
 * `uvbridge port record`: write what arrives at a port to a pcap file. A port as others: it gets
 * what is flooded and what is for its address. (`uvbridge capture` sees every frame of the fabric.)
 */
#include <errno.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "uvbridge/ports/ports.h"

#define SNAPLEN_DEFAULT 65553

static const char *const record_counters[UVP_COUNTERS] = {NULL};

static struct record {
	const char *path;
	pcap_t *pcap;
	pcap_dumper_t *file;
	uint64_t count; /* frames to write before it ends; 0: until it is told to */
	uint64_t snaplen;
	uint64_t frames, bytes;
	bool dirty; /* something is in libpcap's buffer */
} self = {.snaplen = SNAPLEN_DEFAULT};

static uint8_t bounce[UVB_FRAME_MAX];

/* --------------------------------------------------------------------------------------- writing
 */

static void
write_failed(struct uvp_pump *p)
{
	uvp_log(p->port, "cannot write to %s: %s", self.path, strerror(errno));
	uvp_finish(p->port, UVP_EXIT_FAILED);
}

static void
write_frame(struct uvp_pump *p, const struct uvb_rx_frame *f)
{
	struct pcap_pkthdr h = {.len = f->len};
	const uint8_t *data = f->data;
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	h.ts.tv_sec = ts.tv_sec;
	h.ts.tv_usec = ts.tv_nsec; /* the file says that these are nanoseconds */
	h.caplen = f->len < self.snaplen ? f->len : (uint32_t)self.snaplen;
	if (f->len > UVB_CELL_ROOM) {
		h.caplen = uvb_rx_read(p->rxq, f, 0, bounce, h.caplen);
		data = bounce;
	}
	pcap_dump((uint8_t *)self.file, &h, data);
	self.dirty = true;
	self.frames++;
	self.bytes += f->len;
}

static void
record_idle(struct uvp_pump *p)
{
	if (self.dirty && pcap_dump_flush(self.file) != 0)
		write_failed(p);
	self.dirty = false;
}

static uint16_t
record_deliver(struct uvp_pump *p, const struct uvb_rx_frame *frame, uint16_t n)
{
	for (uint16_t i = 0; i < n && (self.count == 0 || self.frames < self.count); i++)
		write_frame(p, &frame[i]);
	if (self.count != 0 && self.frames == self.count)
		uvp_finish(p->port, UVP_EXIT_OK);
	if (ferror(pcap_dump_file(self.file)))
		write_failed(p);
	return n;
}

static const struct uvp_ops record_ops = {.deliver = record_deliver, .idle = record_idle};

/* ------------------------------------------------------------------------------------------ verb
 */

enum {
	OPT_SNAPLEN = UVP_OPT_KIND,
};

static const struct option record_options[] = {
	{"write", required_argument, NULL, 'w'},
	{"count", required_argument, NULL, 'c'},
	{"snaplen", required_argument, NULL, OPT_SNAPLEN},
	UVP_COMMON_OPTIONS,
};

static const char record_usage[] =
	"record FABRIC NAME -w FILE [OPTION...]\n"
	"Write what arrives at port NAME to a pcap file with times in nanoseconds: what is "
	"flooded\n"
	"and what is for its address. (`uvbridge capture` sees every frame of the fabric.)\n\n"
	"  uvbridge port record lab listener -w flood.pcap --mtu 9000\n\n"
	"  -w, --write FILE   the file, which is overwritten; - is standard output\n"
	"  -c, --count N      end after N frames\n"
	"  --snaplen N        bytes kept of each frame (default: all)\n";

static void
record_init(struct uvp_port *port)
{
	port->kind = UVB_KIND_PCAP;
	port->conf_flags = UVB_CONF_STARTED | UVB_CONF_PROMISC;
	port->counter_name = record_counters;
}

static bool
record_option(struct uvp_port *port, int opt, const char *arg, char err[UVB_ERR_LEN])
{
	(void)port;
	switch (opt) {
	case 'w':
		self.path = arg;
		return true;
	case 'c':
		if (uvp_number(arg, 1, UINT64_MAX, &self.count))
			return true;
		uvb_fail(err, 0, "--count %.40s: give a number of frames", arg);
		return false;
	default:
		if (uvp_number(arg, 1, UVB_FRAME_MAX, &self.snaplen))
			return true;
		uvb_fail(err, 0, "--snaplen %.40s: give 1 to %d", arg, UVB_FRAME_MAX);
		return false;
	}
}

static int
open_file(struct uvp_port *port)
{
	if (self.path == NULL) {
		uvp_fail(port, "give the file to write: -w FILE");
		return UVP_EXIT_USAGE;
	}
	port->quiet_ready = strcmp(self.path, "-") == 0;
	self.pcap = pcap_open_dead_with_tstamp_precision(DLT_EN10MB, (int)self.snaplen,
							 PCAP_TSTAMP_PRECISION_NANO);
	if (self.pcap == NULL)
		return uvp_fail(port, "no memory for a capture");
	self.file = pcap_dump_open(self.pcap, self.path);
	if (self.file == NULL)
		return uvp_fail(port, "cannot write the capture: %s", pcap_geterr(self.pcap));
	/* The header at once: a reader finds a capture, if an empty one. */
	pcap_dump_flush(self.file);
	return 0;
}

static void
close_file(struct uvp_port *port)
{
	if (self.file != NULL) {
		if (pcap_dump_flush(self.file) != 0)
			uvp_log(port, "cannot write to %s: %s", self.path, strerror(errno));
		pcap_dump_close(self.file);
	}
	if (self.pcap != NULL)
		pcap_close(self.pcap);
}

static int
record_run(struct uvp_port *port)
{
	int rc = open_file(port);

	if (rc == 0)
		rc = uvp_attach(port);
	if (rc == 0) {
		port->pump[0].ops = &record_ops;
		rc = uvp_serve(port);
		fprintf(port->quiet_ready ? stderr : stdout, "wrote %llu frames, %llu bytes\n",
			(unsigned long long)self.frames, (unsigned long long)self.bytes);
	}
	uvp_detach(port);
	close_file(port);
	return rc;
}

const struct uvp_kind uvp_record = {
	.name = "record",
	.usage = record_usage,
	.shorts = "hw:c:",
	.options = record_options,
	.option = record_option,
	.run = record_run,
	.init = record_init,
};
