/* SPDX-License-Identifier: BSD-3-Clause
 *
 * capture: a port that receives copies of all frames and writes them down.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "uvbridge/bpf.h"
#include "uvbridge/cli.h"
#include "uvbridge/pcapng.h"

#define BURST      256
#define SNAP_MAX   262144
#define IDLE_MS    200       /* how often to look whether the link is still there */
#define FILE_CHUNK (1 << 20) /* bytes gathered before they are written */
#define INSNS_MAX  4096      /* of a filter: BPF_MAXINSNS of every kernel */
#define RING_MAX   99999     /* files: what the five digits of their names count */
#define ROOM_MIN   1024      /* bytes of a file beside the largest frame */

struct options {
	const char *file;
	uint64_t snaplen, max_size;
	uint64_t ring; /* so many files of max_size are kept; 0: one file, which ends the capture */
	double seconds;
};

struct recorder {
	const struct options *o;
	struct uvb_dev *dev;
	struct uvb_rxq *q;
	struct uvb_map *map;
	struct pcapng out;
	uint8_t *buffer; /* of one frame */
	uint64_t epoch;  /* ns of 1970 at the zero of CLOCK_MONOTONIC */
	uint64_t frames;
	uint64_t end_ns; /* 0: when told */
	int signals;
	int32_t interface[UVB_MAX_PORTS]; /* of each source port in the file, or -1 */
	uint64_t bytes;                   /* of the files before this one */
	uint32_t file;                    /* the number of this one, in a ring */
	char path[PATH_MAX];              /* of this one */
	struct uvb_bpf_insn insn[INSNS_MAX];
	int nb_insns; /* 0: every frame is wanted */
};

/* --------------------------------------------------------------------------------------- files */

/* "lab.pcapng" is "lab-00007.pcapng" in a ring. */
static int
name_file(const struct options *o, uint32_t number, char path[PATH_MAX])
{
	const char *base = strrchr(o->file, '/'),
		   *dot = strrchr(base != NULL ? base : o->file, '.');
	int stem = (int)(dot != NULL ? (size_t)(dot - o->file) : strlen(o->file));
	int n = o->ring == 0 ? snprintf(path, PATH_MAX, "%s", o->file)
			     : snprintf(path, PATH_MAX, "%.*s-%05u%s", stem, o->file, number,
					dot != NULL ? dot : "");

	return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* The next file; in a ring the oldest makes room for it. */
static int
open_file(struct recorder *r)
{
	const struct options *o = r->o;
	char oldest[PATH_MAX];
	FILE *f;
	int rc;

	r->file = r->file % RING_MAX + 1;
	rc = name_file(o, r->file, r->path);
	if (rc == 0 && o->ring != 0 && o->ring < RING_MAX)
		rc = name_file(o, (r->file + RING_MAX - 1 - (uint32_t)o->ring) % RING_MAX + 1,
			       oldest);
	if (rc < 0)
		return rc;
	if (o->ring != 0 && o->ring < RING_MAX && unlink(oldest) != 0 && errno != ENOENT)
		return -errno;
	f = strcmp(o->file, "-") == 0 ? stdout : fopen(r->path, "we");
	if (f == NULL || setvbuf(f, NULL, _IOFBF, FILE_CHUNK) != 0)
		return -errno;
	for (uint32_t i = 0; i < UVB_MAX_PORTS; i++)
		r->interface[i] = -1;
	return pcapng_begin(&r->out, f, (uint32_t)o->snaplen, o->max_size, "uvbridge capture")
		       ? 0
		       : -EIO;
}

static int
close_file(struct recorder *r)
{
	r->bytes += r->out.size;
	return fclose(r->out.f) == 0 ? 0 : -errno;
}

/* ------------------------------------------------------------------------------------- frames */

static uint64_t
wall_minus_monotonic(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec - uvb_now_ns();
}

static const char *
name_of(const struct recorder *r, uint32_t port)
{
	return port < r->map->nb_ports ? uvb_map_port(r->map, port)->name : "?";
}

/* "src=web:0 dst=load:2 hash=1a2b3c4d verdict=delivered" */
static void
make_comment(const struct recorder *r, const struct uvb_rx_frame *f, char *text, size_t room)
{
	const struct uvb_cell *c = f->cell;
	char dst[UVB_NAME_LEN + 8] = "-", hash[16] = "-", fault[20] = "";

	if (c->cap_dst < r->map->nb_ports)
		snprintf(dst, sizeof(dst), "%.31s:%u", name_of(r, c->cap_dst), c->cap_rxq);
	else if (c->cap_verdict == UVB_V_DELIVERED)
		snprintf(dst, sizeof(dst), "flood");
	if (f->flags & UVB_CELL_HASH)
		snprintf(hash, sizeof(hash), "%08x", f->hash);
	if (c->cap_fault != 0)
		snprintf(fault, sizeof(fault), " fault=%u", c->cap_fault);
	snprintf(text, room, "src=%.31s:%u dst=%s hash=%s verdict=%s%s", name_of(r, f->src_port),
		 c->cap_txq, dst, hash, uvb_verdict_name(c->cap_verdict), fault);
}

/* What the filter says of the frame, whole. */
static bool
wanted(struct recorder *r, const struct uvb_rx_frame *f)
{
	uint32_t whole;

	if (r->nb_insns == 0)
		return true;
	whole = uvb_rx_read(r->q, f, 0, r->buffer, f->len < SNAP_MAX ? f->len : SNAP_MAX);
	return uvb_bpf_run(r->insn, r->buffer, whole) != 0;
}

static bool
write_frame(struct recorder *r, const struct uvb_rx_frame *f)
{
	uint32_t kept = f->len < r->out.snaplen ? f->len : r->out.snaplen;
	uint64_t at = f->cell->sent_at;
	char comment[200];

	if (r->interface[f->src_port] < 0) {
		if (!pcapng_interface(&r->out, name_of(r, f->src_port)))
			return false;
		r->interface[f->src_port] = (int32_t)r->out.nb_interfaces - 1;
	}
	kept = uvb_rx_read(r->q, f, 0, r->buffer, kept);
	make_comment(r, f, comment, sizeof(comment));
	return pcapng_frame(&r->out, (uint32_t)r->interface[f->src_port], r->epoch + at, r->buffer,
			    kept, f->len, comment);
}

/* 0; -ENOSPC: the file is as large as it may be, and there is to be no other. */
static int
record(struct recorder *r, const struct uvb_rx_frame *f)
{
	int rc = 0;

	if (!wanted(r, f))
		return 0;
	if (!write_frame(r, f)) {
		if (ferror(r->out.f))
			return -EIO;
		if (r->o->ring == 0)
			return -ENOSPC;
		rc = close_file(r);
		if (rc == 0)
			rc = open_file(r);
		if (rc == 0 && !write_frame(r, f))
			rc = -EIO;
	}
	r->frames += rc == 0;
	return rc;
}

static int
by_time(const void *a, const void *b)
{
	const struct uvb_rx_frame *x = a, *y = b;

	if (x->cell->sent_at != y->cell->sent_at)
		return x->cell->sent_at < y->cell->sent_at ? -1 : 1;
	return x->index < y->index ? -1 : 1;
}

/* Everything that waits. 0, or as record(). */
static int
take_all(struct recorder *r)
{
	struct uvb_rx_frame f[BURST];
	uint16_t n;
	int rc = 0;

	while (rc == 0 && (n = uvb_rx_peek(r->q, f, BURST)) != 0) {
		/* The queues of all senders, served in turn: put them in order. */
		qsort(f, n, sizeof(f[0]), by_time);
		for (uint16_t i = 0; i < n && rc == 0; i++)
			rc = record(r, &f[i]);
		uvb_rx_done(r->q, 0);
	}
	return rc;
}

static int
wait_ms(const struct recorder *r)
{
	uint64_t now = uvb_now_ns();

	if (r->end_ns == 0)
		return IDLE_MS;
	if (now >= r->end_ns)
		return 0;
	return r->end_ns - now > IDLE_MS * 1000000ULL ? IDLE_MS
						      : (int)((r->end_ns - now) / 1000000) + 1;
}

/* Until told to end, the time is over, the file is full or the fabric gone. */
static int
capture_loop(struct recorder *r)
{
	struct pollfd pfd[2] = {{.fd = r->signals, .events = POLLIN},
				{.fd = uvb_rxq_fd(r->q), .events = POLLIN}};

	while (uvb_link(r->dev)) {
		bool over = r->end_ns != 0 && uvb_now_ns() >= r->end_ns;
		int rc = take_all(r);

		if (rc != 0)
			return rc == -ENOSPC ? 0 : rc;
		if (over || pfd[0].revents != 0)
			return 0;
		if (!uvb_rx_arm(r->q, false))
			continue;
		/* Nothing to do: let readers of the file have what there is. */
		if (fflush(r->out.f) != 0)
			return -errno;
		poll(pfd, 2, wait_ms(r));
		uvb_rx_disarm(r->q);
	}
	return 0;
}

static int
open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int
fail(const struct recorder *r, int rc)
{
	return cli_fail("%s: %s", r->path, strerror(-rc));
}

/* The port is there, and the first file. */
static int
run(struct recorder *r)
{
	int rc, end;

	r->q = uvb_rxq(r->dev, 0);
	r->map = &r->dev->map;
	r->epoch = wall_minus_monotonic();
	if (r->o->seconds > 0)
		r->end_ns = uvb_now_ns() + (uint64_t)(r->o->seconds * 1e9);
	rc = capture_loop(r);
	end = close_file(r);
	if (rc < 0 || end < 0)
		return fail(r, rc < 0 ? rc : end);
	fprintf(stderr, "%llu frames, %llu bytes in %s\n", (unsigned long long)r->frames,
		(unsigned long long)r->bytes, r->o->file);
	return EXIT_OK;
}

static int
attach_and_run(struct recorder *r, const char *fabric)
{
	struct uvb_attach req = {.fabric = fabric,
				 .name = "capture",
				 .nb_rxq = 1,
				 .nb_txq = 1,
				 .kind = UVB_KIND_CAPTURE};
	char err[UVB_ERR_LEN];
	int rc = open_file(r);

	if (rc < 0)
		return fail(r, rc);
	if (uvb_open(&req, &r->dev, err) != 0)
		return cli_fail("%s", err);
	rc = run(r);
	uvb_close(r->dev);
	return rc;
}

static int
check(const struct options *o)
{
	if (o->file == NULL)
		return cli_usage("capture", "-w FILE is wanted");
	if (o->ring != 0 && strcmp(o->file, "-") == 0)
		return cli_usage("capture", "--ring: standard output is no ring of files");
	if (o->ring != 0 && o->max_size < o->snaplen + ROOM_MIN)
		return cli_usage("capture",
				 "--ring: --max-size of its files is wanted, %llu bytes at least "
				 "with this --snaplen",
				 (unsigned long long)o->snaplen + ROOM_MIN);
	return EXIT_OK;
}

int
cli_capture(int argc, char **argv)
{
	static const struct option longs[] = {{"write", required_argument, NULL, 'w'},
					      {"snaplen", required_argument, NULL, 's'},
					      {"max-size", required_argument, NULL, 'm'},
					      {"seconds", required_argument, NULL, 't'},
					      {"filter", required_argument, NULL, 'f'},
					      {"ring", required_argument, NULL, 'r'},
					      {NULL, 0, NULL, 0}};
	struct options o = {.snaplen = SNAP_MAX};
	static struct recorder r;
	static uint8_t buffer[SNAP_MAX];
	bool ok = true;
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "w:s:", longs, NULL)) != -1) {
		if (opt == 'w')
			o.file = optarg;
		else if (opt == 's')
			ok = cli_number(optarg, SNAP_MAX, &o.snaplen) && o.snaplen > 0;
		else if (opt == 'm')
			ok = cli_number(optarg, UINT64_MAX, &o.max_size);
		else if (opt == 't')
			ok = cli_seconds(optarg, &o.seconds);
		else if (opt == 'r')
			ok = cli_number(optarg, RING_MAX, &o.ring) && o.ring > 0;
		else if (opt == 'f')
			r.nb_insns = cli_filter("capture", optarg, r.insn, INSNS_MAX);
		else
			return EXIT_USAGE;
		if (r.nb_insns < 0)
			return EXIT_USAGE;
		if (!ok)
			return cli_usage("capture", "\"%s\" is out of range", optarg);
	}
	if (optind + 1 != argc)
		return cli_usage("capture", "one fabric's name is wanted");
	rc = check(&o);
	if (rc != EXIT_OK)
		return rc;
	r.o = &o;
	r.buffer = buffer;
	r.signals = open_signals();
	return attach_and_run(&r, argv[optind]);
}
