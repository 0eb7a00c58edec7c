/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What all kinds of ports share: options, attaching, being ready, being supervised, ending.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "uvbridge/ports/ports.h"

#define LINK_CHECK_MS                                                               \
	200 /* without a daemon, the segment alone says whether we still are a port \
	     */

#define ETHDEV_PROGRAM "uvbridge-port-ethdev"

static const struct uvp_kind *const kinds[] = {&uvp_tap, &uvp_socket, &uvp_replay, &uvp_record};
#define NB_KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* -------------------------------------------------------------------------------------- speaking
 */

static void
say(const struct uvp_port *port, const char *text)
{
	/* One write: lines of threads stay whole. */
	char line[UVB_ERR_LEN + 2 * UVB_NAME_LEN + 16];

	snprintf(line, sizeof(line), "uvbridge port %s: %s: %s\n", port->kind_name,
		 port->name != NULL ? port->name : "?", text);
	if (write(STDERR_FILENO, line, strlen(line)) < 0)
		return;
}

void
uvp_log(const struct uvp_port *port, const char *fmt, ...)
{
	char text[UVB_ERR_LEN];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	say(port, text);
}

/* To whoever waits on --ready-fd: an empty line, or what is wrong. */
static void
tell_starter(struct uvp_port *port, const char *text)
{
	if (port->ready_fd < 0)
		return;
	dprintf(port->ready_fd, "%s\n", text);
	close(port->ready_fd);
	port->ready_fd = -1;
}

int
uvp_fail(struct uvp_port *port, const char *fmt, ...)
{
	char text[UVB_ERR_LEN];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	say(port, text);
	tell_starter(port, text);
	return UVP_EXIT_FAILED;
}

static void
say_ready(struct uvp_port *port)
{
	FILE *to = port->quiet_ready ? stderr : stdout;

	if (port->ready_fd >= 0) {
		tell_starter(port, "");
		return;
	}
	fprintf(to, "ready\n");
	fflush(to);
}

const char *
uvp_counter_name(const struct uvp_port *port, unsigned counter)
{
	return counter == UVP_UNSENT ? "unsent" : port->counter_name[counter];
}

/* Counters that have counted something, on one line. */
static void
report_counters(const struct uvp_port *port)
{
	char text[UVB_ERR_LEN] = "";
	size_t used = 0;

	for (unsigned c = 0; c < UVP_COUNTERS; c++) {
		uint64_t sum = 0;

		for (uint16_t i = 0; i < port->nb_queues; i++)
			sum += uvb_load(&port->pump[i].count[c]);
		if (sum != 0 && used < sizeof(text))
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s %llu",
						 used != 0 ? ", " : "", uvp_counter_name(port, c),
						 (unsigned long long)sum);
	}
	if (used != 0)
		uvp_log(port, "dropped: %s", text);
}

/* ------------------------------------------------------------------------------------- attaching
 */

static int
make_pumps(struct uvp_port *port)
{
	port->pump = calloc(port->nb_queues, sizeof(*port->pump));
	if (port->pump == NULL)
		return uvp_fail(port, "no memory for %u queues", port->nb_queues);
	for (uint16_t i = 0; i < port->nb_queues; i++) {
		struct uvp_pump *p = &port->pump[i];

		p->port = port;
		p->fd = -1;
		p->out_fd = -1;
		p->rxq = uvb_rxq(port->dev, i);
		p->txq = uvb_txq(port->dev, i);
		p->batch = calloc(1, sizeof(*p->batch));
		if (p->batch == NULL)
			return uvp_fail(port, "no memory for %u queues", port->nb_queues);
	}
	return 0;
}

int
uvp_attach(struct uvp_port *port)
{
	struct uvb_attach req = {
		.fabric = port->fabric,
		.name = port->name,
		.nb_rxq = port->nb_queues,
		.nb_txq = port->nb_queues,
		.kind = port->kind,
	};
	char err[UVB_ERR_LEN] = "";

	memcpy(req.mac, port->mac, sizeof(req.mac));
	if (uvb_open(&req, &port->dev, err) != 0)
		return uvp_fail(port, "%s", err);
	uvb_conf_default(port->dev, &port->conf);
	port->conf.flags = port->conf_flags;
	port->conf.mtu = port->mtu;
	memcpy(port->mac, uvb_mac(port->dev), sizeof(port->mac));
	port->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	port->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (port->stop_fd < 0 || port->done_fd < 0)
		return uvp_fail(port, "cannot make an eventfd: %s", strerror(errno));
	return make_pumps(port);
}

int
uvp_publish(struct uvp_port *port)
{
	char err[UVB_ERR_LEN] = "";

	atomic_store(&port->frame_max, port->conf.mtu + UVB_FRAME_MIN);
	if (uvb_conf_set(port->dev, &port->conf, err) == 0)
		return 0;
	/* An untrusted VF: it goes on without. */
	if (port->conf.flags & (UVB_CONF_PROMISC | UVB_CONF_ALLMULTI)) {
		uvp_log(port, "%s", err);
		port->conf.flags &= ~(UVB_CONF_PROMISC | UVB_CONF_ALLMULTI);
		if (uvb_conf_set(port->dev, &port->conf, err) == 0)
			return 0;
	}
	return uvp_fail(port, "%s", err);
}

void
uvp_detach(struct uvp_port *port)
{
	uvb_close(port->dev);
	port->dev = NULL;
	for (uint16_t i = 0; port->pump != NULL && i < port->nb_queues; i++)
		free(port->pump[i].batch);
	free(port->pump);
	port->pump = NULL;
}

/* ------------------------------------------------------------------------------------- supervising
 */

void
uvp_finish(struct uvp_port *port, enum uvp_exit status)
{
	uint64_t one = 1;

	atomic_store(&port->status, (int)status);
	if (write(port->done_fd, &one, sizeof(one)) < 0)
		return; /* it is readable already */
}

static int
start_pumps(struct uvp_port *port)
{
	for (; port->nb_pumps < port->nb_queues; port->nb_pumps++) {
		struct uvp_pump *p = &port->pump[port->nb_pumps];
		char name[16];
		int rc = pthread_create(&p->thread, NULL, uvp_pump_main, p);

		if (rc != 0)
			return uvp_fail(port, "cannot start a thread: %s", strerror(rc));
		snprintf(name, sizeof(name), "%.8s.%u", port->kind_name, port->nb_pumps);
		pthread_setname_np(p->thread, name);
	}
	return 0;
}

static void
stop_pumps(struct uvp_port *port)
{
	uint64_t one = 1;

	atomic_store(&port->stopping, true);
	if (write(port->stop_fd, &one, sizeof(one)) < 0)
		uvp_log(port, "cannot wake the queues: %s", strerror(errno));
	for (uint16_t i = 0; i < port->nb_pumps; i++)
		pthread_join(port->pump[i].thread, NULL);
	port->nb_pumps = 0;
}

/* A signal has come; true if it ends the port. */
static bool
take_signal(struct uvp_port *port, int fd)
{
	struct signalfd_siginfo info;

	if (read(fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return false;
	if (info.ssi_signo != SIGUSR1)
		return true;
	report_counters(port);
	return false;
}

enum { FD_SIGNAL, FD_DONE, FD_CONTROL, FD_PARENT, FD_WATCH, NB_FDS };

/* Wait for the end; returns the exit status. */
static int
supervise(struct uvp_port *port, int signals, int parent)
{
	struct pollfd pfd[NB_FDS] = {
		[FD_SIGNAL] = {.fd = signals, .events = POLLIN},
		[FD_DONE] = {.fd = port->done_fd, .events = POLLIN},
		[FD_CONTROL] = {.fd = uvb_control_fd(port->dev), .events = POLLIN},
		[FD_PARENT] = {.fd = parent, .events = POLLIN},
		[FD_WATCH] = {.fd = port->watch.fd, .events = POLLIN},
	};

	for (;;) {
		/* While the daemon lives it tells us by hanging up that something has changed. */
		int timeout = pfd[FD_CONTROL].fd < 0 ? LINK_CHECK_MS : -1;

		if (poll(pfd, NB_FDS, timeout) < 0 && errno != EINTR)
			return uvp_fail(port, "poll: %s", strerror(errno));
		if (pfd[FD_SIGNAL].revents && take_signal(port, signals))
			return UVP_EXIT_OK;
		if (pfd[FD_DONE].revents)
			return atomic_load(&port->status);
		if (pfd[FD_PARENT].revents)
			return UVP_EXIT_OK;
		if (pfd[FD_CONTROL].revents)
			pfd[FD_CONTROL].fd = -1;
		if (pfd[FD_CONTROL].fd < 0 && !uvb_link(port->dev)) {
			uvp_log(port, "the fabric %s has gone", port->fabric);
			return UVP_EXIT_FABRIC_GONE;
		}
		if (pfd[FD_WATCH].revents)
			port->watch.ready(port);
	}
}

/* Descriptor that becomes readable when our parent ends; it may have done so by now. */
static int
watch_parent(struct uvp_port *port, int *fd)
{
	pid_t parent = getppid();

	*fd = pidfd_open(parent, 0);
	if (*fd < 0 || getppid() != parent)
		return uvp_fail(port, "the process that started this one has ended");
	return 0;
}

static int
open_signals(struct uvp_port *port)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		uvp_fail(port, "cannot make a signalfd: %s", strerror(errno));
	return fd;
}

int
uvp_serve(struct uvp_port *port)
{
	int parent = -1, rc = UVP_EXIT_FAILED, signals = open_signals(port);

	if (signals >= 0 && (!port->die_with_parent || watch_parent(port, &parent) == 0) &&
	    start_pumps(port) == 0 && uvp_publish(port) == 0) {
		say_ready(port);
		rc = supervise(port, signals, parent);
	}
	stop_pumps(port);
	report_counters(port);
	if (parent >= 0)
		close(parent);
	if (signals >= 0)
		close(signals);
	return rc;
}

/* --------------------------------------------------------------------------------------- options
 */

bool
uvp_number(const char *text, uint64_t min, uint64_t max, uint64_t *n)
{
	char *end;

	errno = 0;
	*n = strtoull(text, &end, 10);
	return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *n >= min &&
	       *n <= max;
}

static bool
parse_mac(const char *text, uint8_t mac[6])
{
	int end = 0;

	if (sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &mac[0], &mac[1], &mac[2],
		   &mac[3], &mac[4], &mac[5], &end) != 6)
		return false;
	return text[end] == '\0' && !(mac[0] & 1);
}

static bool
common_option(struct uvp_port *port, int opt, const char *arg, char err[UVB_ERR_LEN])
{
	uint64_t n;

	switch (opt) {
	case UVP_OPT_MAC:
		if (parse_mac(arg, port->mac))
			return true;
		uvb_fail(err, 0, "--mac %.40s: give a unicast address, like 02:00:00:00:00:01",
			 arg);
		return false;
	case UVP_OPT_MTU:
		if (!uvp_number(arg, 68, UVB_FRAME_MAX - 18, &n)) {
			uvb_fail(err, 0, "--mtu %.40s: give 68 to %d", arg, UVB_FRAME_MAX - 18);
			return false;
		}
		port->mtu = (uint16_t)n;
		return true;
	case UVP_OPT_READY_FD:
		if (!uvp_number(arg, 0, INT_MAX, &n)) {
			uvb_fail(err, 0, "--ready-fd %.40s: give a descriptor's number", arg);
			return false;
		}
		port->ready_fd = (int)n;
		return true;
	default:
		port->die_with_parent = true;
		return true;
	}
}

static void
usage_kinds(FILE *to)
{
	fprintf(to, "Usage: uvbridge port KIND FABRIC NAME [OPTION...]\n"
		    "Be a port of a fabric, in the foreground, until SIGTERM or SIGINT.\n\n"
		    "  tap     a network interface of this kernel\n"
		    "  socket  frames as datagrams on an AF_UNIX socket\n"
		    "  replay  send what is in a pcap or pcapng file\n"
		    "  record  write what arrives to a pcap file\n"
		    "  ethdev  a port of DPDK: a network card, or net_ring, net_af_packet, ...\n"
		    "  set     what the switch does for a port: its weight, its limits\n\n"
		    "SIGUSR1 prints what a port has dropped, by name; the fabric counts the rest\n"
		    "(uvbridge show). `uvbridge port KIND --help` says more.\n");
}

static int
usage(const struct uvp_kind *kind, FILE *to)
{
	fprintf(to, "Usage: uvbridge port %s%s", kind->usage, UVP_COMMON_USAGE);
	return to == stdout ? UVP_EXIT_OK : UVP_EXIT_USAGE;
}

static int
bad_usage(struct uvp_port *port, const char *text)
{
	uvp_fail(port, "%s", text);
	fprintf(stderr, "Try `uvbridge port %s --help`.\n", port->kind_name);
	return UVP_EXIT_USAGE;
}

/* Options of one kind; UVP_EXIT_OK with *go unset: it was --help. */
static int
parse(const struct uvp_kind *kind, struct uvp_port *port, int argc, char **argv, bool *go)
{
	char err[UVB_ERR_LEN] = "";
	int opt;
	bool ok;

	optind = 0; /* the caller has used getopt for what came before */
	while ((opt = getopt_long(argc, argv, kind->shorts, kind->options, NULL)) != -1) {
		if (opt == 'h')
			return usage(kind, stdout);
		if (opt == '?')
			return usage(kind, stderr);
		if (opt >= UVP_OPT_MAC && opt < UVP_OPT_KIND)
			ok = common_option(port, opt, optarg, err);
		else
			ok = kind->option(port, opt, optarg, err);
		if (!ok)
			return bad_usage(port, err);
	}
	if (argc - optind != 2)
		return bad_usage(port, "name the fabric and the port, and nothing else");
	port->fabric = argv[optind];
	port->name = argv[optind + 1];
	*go = true;
	return UVP_EXIT_OK;
}

int
uvp_run_kind(const struct uvp_kind *kind, int argc, char **argv)
{
	static struct uvp_port port = {
		.mtu = 1500,
		.ready_fd = -1,
		.nb_queues = 1,
		.watch = {.fd = -1},
		.stop_fd = -1,
		.done_fd = -1,
	};
	bool go = false;
	int rc;

	port.kind_name = kind->name;
	kind->init(&port);
	rc = parse(kind, &port, argc, argv, &go);
	return go ? kind->run(&port) : rc;
}

/* A program of its own, the only one that has DPDK in it; it lies beside this one. */
static int
run_ethdev(char **argv)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - sizeof(ETHDEV_PROGRAM));
	char *slash;

	path[n > 0 ? n : 0] = '\0';
	slash = strrchr(path, '/');
	snprintf(slash != NULL ? slash + 1 : path, sizeof(ETHDEV_PROGRAM), "%s", ETHDEV_PROGRAM);
	execv(path, argv);
	fprintf(stderr, "uvbridge port ethdev: cannot run %s: %s\n", path, strerror(errno));
	return UVP_EXIT_FAILED;
}

int
uvp_main(int argc, char **argv)
{
	if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		usage_kinds(stdout);
		return UVP_EXIT_OK;
	}
	if (argc >= 2 && strcmp(argv[1], "ethdev") == 0)
		return run_ethdev(argv + 1);
	for (size_t i = 0; argc >= 2 && i < NB_KINDS; i++)
		if (strcmp(argv[1], kinds[i]->name) == 0)
			return uvp_run_kind(kinds[i], argc - 1, argv + 1);
	usage_kinds(stderr);
	return UVP_EXIT_USAGE;
}
