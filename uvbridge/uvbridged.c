/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridged - the daemon of one fabric. Control only: it hands out ports and cleans up after them.
 * Traffic does not need it to run.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "uvbridge/proc.h"
#include "uvbridge/uvbridged.h"

#define TICK_MS 200
#define BACKLOG 64
#define LOG_MAX (4 << 20) /* bytes */

/* ------------------------------------------------------------------------------------ event loop
 */

int
watch_add(struct daemon *d, struct watch *w)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = w};

	return epoll_ctl(d->epfd, EPOLL_CTL_ADD, w->fd, &ev) == 0 ? 0 : -errno;
}

void
watch_del(struct daemon *d, struct watch *w)
{
	epoll_ctl(d->epfd, EPOLL_CTL_DEL, w->fd, NULL);
}

void
log_line(struct daemon *d, const char *fmt, ...)
{
	struct timespec ts;
	struct tm tm;
	char when[32];
	va_list ap;

	if (d->log == NULL)
		return;
	/* Nobody can fill the file system by what he has the daemon say. */
	if (ftell(d->log) > LOG_MAX && ftruncate(fileno(d->log), 0) == 0) {
		rewind(d->log);
		fputs("the log was full and begins anew\n", d->log);
	}
	clock_gettime(CLOCK_REALTIME, &ts);
	localtime_r(&ts.tv_sec, &tm);
	strftime(when, sizeof(when), "%F %T", &tm);
	fprintf(d->log, "%s.%03ld ", when, ts.tv_nsec / 1000000);
	va_start(ap, fmt);
	vfprintf(d->log, fmt, ap);
	va_end(ap);
	fputc('\n', d->log);
	fflush(d->log);
}

static void
timer_ready(struct daemon *d, struct watch *w)
{
	uint64_t expired;

	if (read(w->fd, &expired, sizeof(expired)) == (ssize_t)sizeof(expired))
		ports_tick(d);
}

/* The fabric stays: ports go on, and `uvbridge up` takes it over. */
static void
signal_ready(struct daemon *d, struct watch *w)
{
	struct signalfd_siginfo si;

	if (read(w->fd, &si, sizeof(si)) != (ssize_t)sizeof(si))
		return;
	log_line(d, "signal %u from process %u: ending, the fabric stays", si.ssi_signo,
		 si.ssi_pid);
	d->done = true;
}

/* One event at a time: handling one may end what another is for. */
static void
loop(struct daemon *d)
{
	struct epoll_event ev;

	while (!d->done) {
		int n = epoll_wait(d->epfd, &ev, 1, -1);

		if (n == 1) {
			struct watch *w = ev.data.ptr;

			w->ready(d, w);
		} else if (n < 0 && errno != EINTR) {
			log_line(d, "epoll: %s", strerror(errno));
			return;
		}
	}
}

/* ---------------------------------------------------------------------------------------- set-up
 */

static int
open_timer(struct daemon *d)
{
	struct itimerspec every = {{0, TICK_MS * 1000000L}, {0, TICK_MS * 1000000L}};

	d->timer = (struct watch){timer_ready, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)};
	if (d->timer.fd < 0 || timerfd_settime(d->timer.fd, 0, &every, NULL) != 0)
		return -errno;
	return watch_add(d, &d->timer);
}

static int
open_signals(struct daemon *d)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	d->signals = (struct watch){signal_ready, signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
	return d->signals.fd < 0 ? -errno : watch_add(d, &d->signals);
}

/* Bound under another name and moved: clients find a socket that listens, or none. */
static int
open_listener(struct daemon *d)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	unlinkat(d->dirfd, "control.new", 0);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "/proc/self/fd/%d/control.new", d->dirfd);
	if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) != 0 || listen(fd, BACKLOG) != 0 ||
	    renameat(d->dirfd, "control.new", d->dirfd, "control") != 0) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	d->listener = (struct watch){control_accept, fd};
	return watch_add(d, &d->listener);
}

static int
make_directory(struct daemon *d, const char *name, char err[UVB_ERR_LEN])
{
	char dir[PATH_MAX];
	int rc = name[0] == '/' ? 0 : uvb_rundir(dir, true, err);

	if (rc == 0)
		rc = uvb_fabric_path(name, d->path, err);
	if (rc != 0)
		return rc;
	if (mkdir(d->path, 0700) != 0 && errno != EEXIST)
		return uvb_fail(err, -errno, "cannot make %.180s: %s", d->path, strerror(errno));
	d->dirfd = uvb_fabric_open(name, err);
	return d->dirfd < 0 ? d->dirfd : 0;
}

/* One daemon per fabric, for as long as it lives, stopped or not. */
static int
take_lock(struct daemon *d, char err[UVB_ERR_LEN])
{
	int fd = openat(d->dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return uvb_fail(err, -errno, "cannot lock %.180s: %s", d->path, strerror(errno));
	d->locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
	if (d->locked)
		return 0; /* held until the process ends */
	close(fd);
	if (uvb_map_open(&d->map, d->dirfd, false, NULL) != 0)
		return uvb_fail(err, -EEXIST, "another daemon is at it: try again");
	return uvb_fail(err, -EEXIST, "the fabric is up already: its daemon is process %u",
			atomic_load(&uvb_map_hdr(&d->map)->daemon_pid));
}

static int
make_or_adopt(struct daemon *d, struct uvb_hdr *shape, char err[UVB_ERR_LEN])
{
	const char *base = strrchr(d->path, '/');
	int rc;

	if (faccessat(d->dirfd, "segment", F_OK, 0) == 0) {
		rc = uvb_map_open(&d->map, d->dirfd, true, err);
		if (rc == 0)
			log_line(d, "taking over the fabric another daemon left");
	} else {
		if (!uvb_name_ok(base + 1))
			return uvb_fail(err, -EINVAL, "\"%.40s\" is no name for a fabric",
					base + 1);
		snprintf(shape->name, sizeof(shape->name), "%s", base + 1);
		rc = uvb_map_create(&d->map, d->dirfd, shape, err);
	}
	if (rc != 0)
		return rc;
	uvb_fdb_init(&d->fdb, &d->map);
	return 0;
}

static int
set_up(struct daemon *d, const char *name, struct uvb_hdr *shape, char err[UVB_ERR_LEN])
{
	int rc = make_directory(d, name, err);
	int logfd;

	if (rc == 0)
		rc = take_lock(d, err);
	if (rc != 0)
		return rc;
	logfd = openat(d->dirfd, "log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
		       0600);
	d->log = logfd >= 0 ? fdopen(logfd, "a") : NULL;
	d->epfd = epoll_create1(EPOLL_CLOEXEC);
	rc = make_or_adopt(d, shape, err);
	if (rc != 0)
		return rc;
	atomic_store(&uvb_map_hdr(&d->map)->daemon_pid, (uint32_t)getpid());
	atomic_store(&uvb_map_hdr(&d->map)->daemon_start, uvb_proc_start(getpid()));
	rc = ports_adopt(d);
	if (rc == 0)
		rc = open_timer(d);
	if (rc == 0)
		rc = open_signals(d);
	if (rc == 0)
		rc = open_listener(d);
	return rc == 0 ? 0 : uvb_fail(err, rc, "cannot set the daemon up: %s", strerror(-rc));
}

/* Everything that a fabric's directory may hold, and nothing else: never remove what is not ours.
 */
static void
remove_directory(struct daemon *d)
{
	static const char *const files[] = {"control", "segment", "log", "lock", "decisions.log"};
	char name[32];

	for (uint32_t p = 0; p < d->map.nb_ports; p++)
		for (uint32_t q = 0; q < d->map.nb_queues; q++) {
			snprintf(name, sizeof(name), "bell.%u.%u", p, q);
			unlinkat(d->dirfd, name, 0);
		}
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		unlinkat(d->dirfd, files[i], 0);
	rmdir(d->path);
}

/* Tell whoever started us: an empty line, or what is wrong. */
static void
report(int fd, const char *text)
{
	if (fd >= 0) {
		dprintf(fd, "%s\n", text);
		close(fd);
	} else if (text[0] != '\0') {
		fprintf(stderr, "uvbridged: %s\n", text);
	}
}

struct options {
	struct uvb_hdr shape;
	int ready_fd;
};

static void
usage(FILE *to)
{
	fprintf(to,
		"Usage: uvbridged [--ports N] [--queues N] [--cells N] [--voq N] [--age SECONDS]\n"
		"                 [--ready-fd FD] NAME\n"
		"The daemon of the fabric NAME, in the foreground. `uvbridge up` starts it; see "
		"there.\n"
		"  --ready-fd FD  write a line to FD when ready: empty, or what went wrong\n");
}

static bool
number(const char *text, uint32_t *n)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	*n = (uint32_t)v;
	return text[0] >= '0' && text[0] <= '9' && *end == '\0' && v <= UINT32_MAX;
}

static int
parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"ports", required_argument, NULL, 'p'},
		{"queues", required_argument, NULL, 'q'},
		{"cells", required_argument, NULL, 'c'},
		{"voq", required_argument, NULL, 'v'},
		{"age", required_argument, NULL, 'a'},
		{"fdb", required_argument, NULL, 'f'},
		{"ready-fd", required_argument, NULL, 'r'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	uint32_t fd;
	int opt;
	bool ok = true;

	while (ok && (opt = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		switch (opt) {
		case 'p':
			ok = number(optarg, &o->shape.nb_ports);
			break;
		case 'q':
			ok = number(optarg, &o->shape.nb_queues);
			break;
		case 'c':
			ok = number(optarg, &o->shape.cells_per_txq);
			break;
		case 'v':
			ok = number(optarg, &o->shape.voq_depth);
			break;
		case 'a':
			ok = number(optarg, &o->shape.fdb_age_s);
			break;
		case 'f':
			ok = number(optarg, &o->shape.fdb_buckets);
			break;
		case 'r':
			ok = number(optarg, &fd);
			o->ready_fd = (int)fd;
			break;
		case 'h':
			usage(stdout);
			exit(0);
		default:
			ok = false;
		}
	}
	return ok && optind + 1 == argc ? 0 : -1;
}

/* A connection and a pidfd for each process of each port. */
static void
most_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* Run at once when there is something to do: on a machine whose cores are all polled on, the others
 * would make whoever attaches wait for tens of milliseconds, and a daemon that has just been
 * started waits longest. Where that is not allowed (no CAP_SYS_NICE), the system's order has to do.
 */
static void
answer_at_once(void)
{
	const struct sched_param first = {.sched_priority = 1};

	sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &first);
}

int
main(int argc, char **argv)
{
	static struct daemon d;
	struct options o = {
		.shape = {.nb_ports = UVB_DEFAULT_PORTS,
			  .nb_queues = UVB_DEFAULT_QUEUES,
			  .cells_per_txq = UVB_DEFAULT_CELLS,
			  .voq_depth = UVB_DEFAULT_VOQ,
			  .fdb_buckets = UVB_DEFAULT_FDB,
			  .fdb_age_s = UVB_DEFAULT_AGE},
		.ready_fd = -1,
	};
	char err[UVB_ERR_LEN] = "";

	if (parse_options(argc, argv, &o) != 0) {
		usage(stderr);
		return 2;
	}
	umask(077);
	most_descriptors();
	answer_at_once();
	if (set_up(&d, argv[optind], &o.shape, err) != 0) {
		report(o.ready_fd, err);
		/* Leave no empty shell; what another daemon left is for the next attempt. */
		if (d.locked && faccessat(d.dirfd, "segment", F_OK, 0) != 0)
			remove_directory(&d);
		return 1;
	}
	log_line(&d, "ready, process %d", (int)getpid());
	report(o.ready_fd, "");
	loop(&d);
	if (d.remove)
		remove_directory(&d);
	return 0;
}
