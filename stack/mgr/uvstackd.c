/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvstackd - the manager of one shared host; see mgr.h and docs/uvstack.md.
 */
#include "stack/mgr/mgr.h"
#include "stack/core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define TICK_MS 100

/* ------------------------------------------------------------------------------------ event loop
 */

int
watch_add(struct mgr *m, struct watch *w)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = w};

	return epoll_ctl(m->epfd, EPOLL_CTL_ADD, w->fd, &ev) == 0 ? 0 : -errno;
}

void
watch_del(struct mgr *m, struct watch *w)
{
	epoll_ctl(m->epfd, EPOLL_CTL_DEL, w->fd, NULL);
}

uint64_t
mgr_now(void)
{
	return uvs_clock_kernel_ns();
}

static void
timer_ready(struct mgr *m, struct watch *w)
{
	uint64_t n;

	if (read(w->fd, &n, sizeof(n)) != (ssize_t)sizeof(n))
		return;
	clients_tick(m);
	slots_tick(m);
	metrics_tick(m);
}

/* A stack has something for slot 0: buffers that come home to nobody, requests. */
static void
bell_ready(struct mgr *m, struct watch *w)
{
	char rings[256];

	if (read(w->fd, rings, sizeof(rings)) > 0)
		slots_tick(m);
}

static void
signal_ready(struct mgr *m, struct watch *w)
{
	struct signalfd_siginfo si;

	if (read(w->fd, &si, sizeof(si)) != (ssize_t)sizeof(si))
		return;
	uvs_log(UVS_LOG_NOTICE, "signal %u from process %u: ending", si.ssi_signo, si.ssi_pid);
	m->done = true;
}

/* One event at a time: handling one may end what another is for. */
static void
loop(struct mgr *m)
{
	struct epoll_event ev;

	while (!m->done) {
		int n = epoll_wait(m->epfd, &ev, 1, -1);

		if (n == 1) {
			struct watch *w = ev.data.ptr;

			w->ready(m, w);
		} else if (n < 0 && errno != EINTR) {
			uvs_log(UVS_LOG_ERROR, "epoll: %s", strerror(errno));
			return;
		}
	}
}

/* ---------------------------------------------------------------------------------------- set-up
 */

static int
open_timer(struct mgr *m)
{
	struct itimerspec every = {{0, TICK_MS * 1000000L}, {0, TICK_MS * 1000000L}};

	m->timer = (struct watch){timer_ready, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)};
	if (m->timer.fd < 0 || timerfd_settime(m->timer.fd, 0, &every, NULL) != 0)
		return -errno;
	return watch_add(m, &m->timer);
}

static void
block_signals(sigset_t *set)
{
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigprocmask(SIG_BLOCK, set, NULL);
}

static int
open_signals(struct mgr *m)
{
	sigset_t set;

	block_signals(&set);
	m->signals = (struct watch){signal_ready, signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
	return m->signals.fd < 0 ? -errno : watch_add(m, &m->signals);
}

static void
bell_name(uint32_t slot, char name[16])
{
	snprintf(name, 16, UVS_HOST_BELL, slot);
}

/* A bell for each slot; slot 0's is the manager's own. They have names, so that another manager
 * finds those that its predecessor gave to the stacks. */
static int
open_bells(struct mgr *m)
{
	char name[16];

	for (uint32_t i = 0; i < m->host->nb_slots; i++) {
		bell_name(i, name);
		if (mkfifoat(m->dirfd, name, 0600) != 0 && errno != EEXIST)
			return -errno;
		m->bells[i] = openat(m->dirfd, name, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
		if (m->bells[i] < 0)
			return -errno;
	}
	m->bell = (struct watch){bell_ready, m->bells[UVS_SLOT_BOSS]};
	return watch_add(m, &m->bell);
}

static void
remove_bells(const struct mgr *m)
{
	char name[16];

	for (uint32_t i = 0; i < m->host->nb_slots; i++) {
		bell_name(i, name);
		unlinkat(m->dirfd, name, 0);
	}
}

static int
take_lock(struct mgr *m, char err[UVS_ERR_LEN])
{
	int fd = openat(m->dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	char pid[16] = "";

	if (fd < 0)
		return uvs_fail(err, -errno, "cannot lock %.180s: %s", m->path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
		/* Held until the process ends. */
		snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
		if (ftruncate(fd, 0) != 0 || write(fd, pid, strlen(pid)) < 0)
			return uvs_fail(err, -errno, "%.180s/lock: %s", m->path, strerror(errno));
		return 0;
	}
	if (read(fd, pid, sizeof(pid) - 1) > 0)
		pid[strcspn(pid, "\n")] = '\0';
	close(fd);
	return uvs_fail(err, -EEXIST, "the host has a manager already: process %s", pid);
}

static int
open_directory(struct mgr *m, char err[UVS_ERR_LEN])
{
	int rc = uvs_host_path(m->conf.host, m->path, true, err);

	if (rc < 0)
		return rc;
	m->dirfd = open(m->path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (m->dirfd < 0)
		return uvs_fail(err, -errno, "%.180s: %s", m->path, strerror(errno));
	return take_lock(m, err);
}

/* What the manager before this one has left. */
static void
take_over(struct mgr *m)
{
	if (!m->heir)
		return;
	clients_adopt(m);
	slots_wake(m, m->to_wake);
	uvs_log(UVS_LOG_NOTICE, "took the host over from a manager that has ended");
}

static int
set_up(struct mgr *m, char err[UVS_ERR_LEN])
{
	int rc = open_directory(m, err);

	if (rc == 0)
		rc = memory_make(m, err);
	if (rc < 0)
		return rc;
	metrics_start(m);
	m->epfd = epoll_create1(EPOLL_CLOEXEC);
	rc = open_timer(m);
	if (rc == 0)
		rc = open_signals(m);
	if (rc == 0)
		rc = open_bells(m);
	if (rc == 0) {
		take_over(m);
		rc = standin_stay(m);
	}
	if (rc == 0) {
		rc = clients_listen(m);
	}
	return rc == 0 ? 0 : uvs_fail(err, rc, "cannot set the manager up: %s", strerror(-rc));
}

/* ----------------------------------------------------------------------------------------- main */

struct options {
	const char *config;
	char *sets;
	int ready_fd;
};

static void
usage(FILE *to)
{
	fputs("Usage: uvstackd --config FILE [--set KEY=VALUE]... [--ready-fd FD]\n"
	      "\n"
	      "The manager of the host that FILE describes (mode = shared), in the foreground: it "
	      "has the\nport, and the processes that uvrun starts with the same FILE share it.\n"
	      "\n"
	      "  -c, --config FILE     configuration of the host; default: $" UVS_CONF_ENV "\n"
	      "  -s, --set KEY=VALUE   one key over what FILE says; may be repeated\n"
	      "      --ready-fd FD     write a line to FD when ready: empty, or what went wrong\n"
	      "      --version\n"
	      "  -h, --help\n"
	      "\n"
	      "uvrun --help lists the keys; uvstack looks at the host while it runs.\n",
	      to);
}

static int
parse(int argc, char **argv, struct options *o)
{
	enum { READY = 256, VERSION };
	static const struct option longs[] = {{"config", required_argument, NULL, 'c'},
					      {"set", required_argument, NULL, 's'},
					      {"ready-fd", required_argument, NULL, READY},
					      {"version", no_argument, NULL, VERSION},
					      {"help", no_argument, NULL, 'h'},
					      {NULL, 0, NULL, 0}};
	int opt;

	while ((opt = getopt_long(argc, argv, "c:s:h", longs, NULL)) != -1) {
		switch (opt) {
		case 'c':
			o->config = optarg;
			break;
		case 's':
			if (uvs_conf_add_set(&o->sets, optarg) < 0)
				abort();
			break;
		case READY:
			o->ready_fd = atoi(optarg);
			break;
		case VERSION:
			puts("uvstackd " UVS_VERSION);
			exit(0);
		case 'h':
			usage(stdout);
			exit(0);
		default:
			return -1;
		}
	}
	return optind == argc ? 0 : -1;
}

/* Tell whoever started us: an empty line, or what is wrong. */
static void
report(int fd, const char *text)
{
	if (fd >= 0) {
		dprintf(fd, "%s\n", text);
		close(fd);
	}
	if (text[0] != '\0')
		fprintf(stderr, "uvstackd: %s\n", text);
}

static int
read_conf(struct mgr *m, const struct options *o, char err[UVS_ERR_LEN])
{
	struct uvs_conf_error e;

	if (o->config == NULL)
		return uvs_fail(err, -EINVAL,
				"no configuration: give --config FILE or set " UVS_CONF_ENV);
	if (uvs_conf_load_with(&m->conf, o->config, o->sets, &e) < 0)
		return uvs_fail(err, -EINVAL, "%.250s", e.text);
	if (m->conf.mode != UVS_MODE_SHARED)
		return uvs_fail(err, -EINVAL,
				"%.180s: mode is exclusive, and such a host has no manager: mode = "
				"shared",
				o->config);
	return 0;
}

static bool
is_ready_fd(const char *word)
{
	return strncmp(word, "--ready-fd", strlen("--ready-fd")) == 0;
}

/* The program anew, with the same arguments and the same process number. To those that run nothing
 * happens: what they have lives on, and the new image takes it over. Whoever started us has been
 * told. */
static int
follow(char **argv)
{
	char **out = argv;

	for (char **in = argv; *in != NULL; in++)
		if (is_ready_fd(*in))
			in += strchr(*in, '=') == NULL;
		else
			*out++ = *in;
	*out = NULL;
	/* EAL's sockets are no good to anybody, and would look as if a primary lived. */
	close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC);
	execvp(argv[0], argv);
	uvs_log(UVS_LOG_ERROR, "%s: %s: the host has no manager now", argv[0], strerror(errno));
	return 1;
}

int
main(int argc, char **argv)
{
	struct options o = {.config = getenv(UVS_CONF_ENV), .ready_fd = -1};
	static struct mgr m = {.clients = TAILQ_HEAD_INITIALIZER(m.clients)};
	char err[UVS_ERR_LEN] = "";
	sigset_t set;

	if (parse(argc, argv, &o) != 0) {
		usage(stderr);
		return 2;
	}
	umask(077);
	block_signals(&set); /* EAL's threads too */
	if (read_conf(&m, &o, err) < 0) {
		report(o.ready_fd, err);
		return 2;
	}
	uvs_log_setup(&m.conf);
	m.started_ns = mgr_now();
	if (set_up(&m, err) < 0) {
		report(o.ready_fd, err);
		return 1;
	}
	uvs_log(UVS_LOG_INFO, "ready: %u slots, %u queues", m.host->nb_slots - 1,
		m.host->nb_queues);
	report(o.ready_fd, "");
	loop(&m);
	standin_end(&m);
	if (m.reload)
		return follow(argv);
	remove_bells(&m);
	memory_end(&m);
	unlinkat(m.dirfd, UVS_HOST_SOCKET, 0);
	unlinkat(m.dirfd, "lock", 0);
	rmdir(m.path);
	return 0;
}
