/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/ports/ports.h - ports that are not DPDK: `uvbridge port KIND FABRIC NAME ...`.
 *
 * Each is an ordinary process attached with uvb_open(): when it dies, however it dies, the daemon
 * reclaims it like any port. A port has one pump for each of its queue pairs, each a thread, which
 * moves frames between its queues and a descriptor of the other side (a queue of a tap interface, a
 * socket, a file) and sleeps on both when there is nothing to move. The main thread supervises:
 * signals, the fabric's link, and what else a kind of port wants watched.
 *
 *        other side           pump                                   fabric
 *     descriptor p->fd --- ops->fill() --> batch --- uvb_tx_burst() ---> txq
 *     descriptor p->fd <-- ops->deliver() --------- uvb_rx_peek() <----- rxq
 *
 * Neither direction can stop the other. Frames that the other side does not take stay in the
 * fabric, where a full VOQ drops them under a name; frames the fabric has no cells for stay with
 * the other side.
 */
#ifndef UVBRIDGE_PORTS_H
#define UVBRIDGE_PORTS_H

#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "uvbridge/internal.h"
#include "uvbridge/ports/offload.h"

#define UVP_BATCH    128 /* frames on their way into the fabric */
#define UVP_BURST    64  /* frames looked at together on the way out */
#define UVP_COUNTERS 16  /* named counters of a port: those of its kind, */
#define UVP_UNSENT   15  /* and frames it had not handed to the fabric when it ended */

/* Exit statuses of a port process. */
enum uvp_exit {
	UVP_EXIT_OK = 0,
	UVP_EXIT_FAILED = 1,
	UVP_EXIT_USAGE = 2,
	UVP_EXIT_FABRIC_GONE = 3,
};

struct uvp_port;
struct uvp_pump;

/* Frames gathered for uvb_tx_burst(). Each has a header of its own or none, and bytes that stay
 * where they are until the batch is empty. */
struct uvp_batch {
	uint32_t n;    /* frames in it */
	uint32_t sent; /* of these, taken by the fabric */
	struct uvb_frame frame[UVP_BATCH];
	struct uvb_seg seg[UVP_BATCH][2];
	uint8_t header[UVP_BATCH][UVP_HEADER_MAX];
};

/* What a kind of port does. All of it runs on the pump's thread. */
struct uvp_ops {
	/* Move what the other side has to say into p->batch, which is empty: without waiting, at
	 * most a batch. May set p->fill_at. NULL: the port only receives. */
	void (*fill)(struct uvp_pump *p);
	/* Hand n frames to the other side; returns how many it took or refused for good. Fewer
	 * than n: it takes no more now, come again when p->out_fd is writable, or at p->deliver_at
	 * if it has set that. NULL: only sends. */
	uint16_t (*deliver)(struct uvp_pump *p, const struct uvb_rx_frame *frame, uint16_t n);
	/* About to sleep: nothing has happened for a moment. May be NULL. */
	void (*idle)(struct uvp_pump *p);
};

/* One queue pair, served by one thread. */
struct uvp_pump {
	struct uvp_port *port;
	const struct uvp_ops *ops;
	void *self; /* the kind's own */
	struct uvb_rxq *rxq;
	struct uvb_txq *txq;
	int fd;            /* of the other side, readable when it has something; -1: none */
	int out_fd;        /* writable when it takes something */
	uint64_t fill_at;  /* CLOCK_MONOTONIC ns: no fill() before; UINT64_MAX: wait for fd */
	uint64_t retry_at; /* no uvb_tx_burst() before; 0: at once */
	struct uvp_batch *batch;
	struct uvb_rx_frame rx[UVP_BURST]; /* peeked, */
	uint16_t nb_rx;                    /* this many, */
	uint16_t rx_done;                  /* and so many of them delivered */
	bool rx_blocked;                   /* the other side takes no more for now */
	uint64_t deliver_at;               /* where out_fd cannot tell: try again then */
	pthread_t thread;
	/* Frames that are dropped here, by the names of the kind. Writer: the thread. */
	_Atomic uint64_t count[UVP_COUNTERS];
};

/* Something the main thread waits for besides signals and the fabric. */
struct uvp_watch {
	int fd;
	void (*ready)(struct uvp_port *port);
};

struct uvp_port {
	/* Filled in by the options every kind has. */
	const char *kind_name;
	const char *fabric;
	const char *name;
	uint8_t mac[6];
	uint16_t mtu;
	int ready_fd;
	bool die_with_parent;
	bool quiet_ready; /* "ready" goes to stderr: stdout is taken */

	/* Filled in by the kind. */
	enum uvb_port_kind kind;
	uint16_t nb_queues;
	uint32_t conf_flags;             /* UVB_CONF_* */
	const char *const *counter_name; /* [UVP_COUNTERS], NULL where there is none */
	struct uvp_watch watch;
	void *self;

	struct uvb_dev *dev;
	struct uvb_conf conf;
	uint16_t nb_pumps; /* that were started */
	struct uvp_pump *pump;
	_Atomic uint32_t frame_max; /* Ethernet header and MTU; pumps read it */
	int stop_fd;                /* readable: pumps end */
	int done_fd;                /* a pump writes: the port has done what it was for */
	_Atomic int status;         /* for the end that done_fd announces */
	_Atomic bool stopping;
	atomic_flag complained[UVP_COUNTERS];
};

/* ------------------------------------------------------------------------------------- common.c */

/* What getopt_long() hands back for the options of every kind, out of the way of letters. */
enum uvp_option {
	UVP_OPT_MAC = 0x100,
	UVP_OPT_MTU,
	UVP_OPT_READY_FD,
	UVP_OPT_DIE,
	UVP_OPT_KIND, /* and the following: of one kind */
};
#define UVP_COMMON_OPTIONS                                                                       \
	{"ready-fd", required_argument, NULL, UVP_OPT_READY_FD},                                 \
		{"die-with-parent", no_argument, NULL, UVP_OPT_DIE},                             \
		{"mac", required_argument, NULL, UVP_OPT_MAC},                                   \
		{"mtu", required_argument, NULL, UVP_OPT_MTU}, {"help", no_argument, NULL, 'h'}, \
	{                                                                                        \
		NULL, 0, NULL, 0                                                                 \
	}
#define UVP_COMMON_USAGE                                                                           \
	"  --mac M            address of the port (default: derived from its name)\n"              \
	"  --mtu N            bytes of payload of the longest frame (default: 1500)\n"             \
	"  --ready-fd N       when frames flow, write an empty line to descriptor N, or one "      \
	"that\n"                                                                                   \
	"                     says what is wrong; without it, \"ready\" goes to standard output\n" \
	"  --die-with-parent  end when the process that started this one ends\n"                   \
	"  -h, --help         this text\n"

struct uvp_kind {
	const char *name;
	const char *usage;  /* after "Usage: uvbridge port " */
	const char *shorts; /* one-letter options, "h" among them */
	const struct option *options;
	/* An option of this kind; false: its argument makes no sense (the text says why not). */
	bool (*option)(struct uvp_port *port, int opt, const char *arg, char err[UVB_ERR_LEN]);
	/* After all options; attaches and runs. Returns enum uvp_exit. */
	int (*run)(struct uvp_port *port);
	void (*init)(struct uvp_port *port); /* defaults */
};

extern const struct uvp_kind uvp_tap, uvp_socket, uvp_replay, uvp_record;

/* Be a port of this kind; argv[0] is its name. Returns the exit status. */
int uvp_run_kind(const struct uvp_kind *kind, int argc, char **argv);

/* `uvbridge port ...`; argv[0] is "port". Returns the exit status. */
int uvp_main(int argc, char **argv);

bool uvp_number(const char *text, uint64_t min, uint64_t max, uint64_t *n);

/* Say something on stderr, as this port. */
void uvp_log(const struct uvp_port *port, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Say why the port cannot be, on stderr and to whoever waits; returns UVP_EXIT_FAILED. */
int uvp_fail(struct uvp_port *port, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Attach, with port->kind and so on filled in, and make a pump for each queue; 0 or exit status. */
int uvp_attach(struct uvp_port *port);
/* Publish port->conf. */
int uvp_publish(struct uvp_port *port);
/* Start the pumps, say that the port is ready, and supervise until it ends. Returns exit status. */
int uvp_serve(struct uvp_port *port);
/* Detach; the frames in flight still arrive. */
void uvp_detach(struct uvp_port *port);

/* From any thread: the port ends, with this exit status. */
void uvp_finish(struct uvp_port *port, enum uvp_exit status);

/* --------------------------------------------------------------------------------------- pump.c */

void *uvp_pump_main(void *pump);
/* Room for another frame in the batch? */
static inline bool
uvp_batch_room(const struct uvp_batch *b)
{
	return b->n < UVP_BATCH;
}
/* Add a frame that is in one piece. */
void uvp_batch_add(struct uvp_batch *b, const void *data, uint32_t len, uint16_t flags);
/* Add a frame whose header the caller has written to b->header[b->n]. */
void uvp_batch_add_split(struct uvp_batch *b, uint32_t header_len, const void *data, uint32_t len,
			 uint16_t flags);

/* Its name, among the port's. */
const char *uvp_counter_name(const struct uvp_port *port, unsigned counter);

/* Count a frame that is dropped here; the first one of each kind is logged. */
void uvp_count(struct uvp_pump *p, unsigned counter);

#endif /* UVBRIDGE_PORTS_H */
