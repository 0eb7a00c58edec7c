/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Verbs that deal with daemons: up, down, list.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "uvbridge/cli.h"
#include "uvbridge/control.h"
#include "uvbridge/proc.h"

#define READY_MS 10000 /* for a daemon to come up */
#define END_MS   5000  /* for one to go */

/* --------------------------------------------------------------------------------- starting one */

/* Beside this program (a build directory, an installation's bin), then where PATH says. */
static void
exec_daemon(char **argv)
{
	static const char *const places[] = {"uvbridged", "../libexec/uvnet/uvbridged"};
	char self[PATH_MAX], path[PATH_MAX + 32], *slash;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	for (size_t i = 0; slash != NULL && i < sizeof(places) / sizeof(places[0]); i++) {
		slash[1] = '\0';
		snprintf(path, sizeof(path), "%s%s", self, places[i]);
		execv(path, argv);
	}
	execvp(argv[0], argv);
}

/* In the child: away from the terminal, with nothing of ours open but the pipe. */
static void
become_daemon(char **argv, int ready)
{
	int null = open("/dev/null", O_RDWR);
	char text[300];

	setsid();
	if (null >= 0) {
		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
	}
	dup2(ready, 3);
	close_range(4, ~0U, 0);
	if (chdir("/") != 0)
		_exit(1);
	/* Its parent is to be init, not whoever runs this command. */
	if (fork() != 0)
		_exit(0);
	exec_daemon(argv);
	snprintf(text, sizeof(text), "cannot start uvbridged (%s): it belongs beside uvbridge\n",
		 strerror(errno));
	if (write(3, text, strlen(text)) < 0)
		_exit(1);
	_exit(1);
}

/* What the daemon reports: an empty line when it is ready. */
static int
wait_ready(int fd, char *line, size_t room)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	ssize_t n;

	if (poll(&pfd, 1, READY_MS) <= 0) {
		snprintf(line, room, "the daemon did not get ready within %d s", READY_MS / 1000);
		return -1;
	}
	n = read(fd, line, room - 1);
	line[n > 0 ? n : 0] = '\0';
	if (n <= 0)
		snprintf(line, room, "the daemon ended before it was ready");
	if (n > 0 && line[n - 1] == '\n')
		line[n - 1] = '\0';
	return n > 0 && line[0] == '\0' ? 0 : -1;
}

static int
start_daemon(char **argv, char *line, size_t room)
{
	int fds[2], rc;
	pid_t pid;

	if (pipe(fds) != 0 || (pid = fork()) < 0) {
		snprintf(line, room, "%s", strerror(errno));
		return -1;
	}
	if (pid == 0)
		become_daemon(argv, fds[1]);
	close(fds[1]);
	waitpid(pid, NULL, 0);
	rc = wait_ready(fds[0], line, room);
	close(fds[0]);
	return rc;
}

int
cli_up(int argc, char **argv)
{
	static const struct option longs[] = {
		{"ports", required_argument, NULL, 'o'},
		{"queues", required_argument, NULL, 'o'},
		{"cells", required_argument, NULL, 'o'},
		{"voq", required_argument, NULL, 'o'},
		{"fdb", required_argument, NULL, 'o'},
		{"age", required_argument, NULL, 'o'},
		{NULL, 0, NULL, 0},
	};
	char *daemon_argv[24] = {"uvbridged", "--ready-fd", "3"}, path[PATH_MAX], line[300];
	static char words[6][40];
	int opt, index, n = 3, given = 0;
	uint64_t value;
	char err[UVB_ERR_LEN];

	while ((opt = getopt_long(argc, argv, "", longs, &index)) != -1) {
		if (opt != 'o')
			return EXIT_USAGE;
		if (!cli_number(optarg, UINT32_MAX, &value))
			return cli_usage("up", "--%s wants a number, not \"%s\"", longs[index].name,
					 optarg);
		if (given == 6)
			return cli_usage("up", "an option was given twice");
		snprintf(words[given], sizeof(words[0]), "--%s=%u", longs[index].name,
			 (unsigned)value);
		daemon_argv[n++] = words[given++];
	}
	if (optind + 1 != argc)
		return cli_usage("up", "one fabric's name is wanted");
	daemon_argv[n] = argv[optind];
	if (start_daemon(daemon_argv, line, sizeof(line)) != 0)
		return cli_fail("%s: %s", argv[optind], line);
	if (uvb_fabric_path(argv[optind], path, err) == 0)
		printf("fabric %s is up in %s\n", argv[optind], path);
	return EXIT_OK;
}

/* ----------------------------------------------------------------------------------- ending one */

static int
request_down(int fd, bool force, struct uvb_ctl_answer *ans)
{
	struct uvb_ctl_down msg = {
		.hdr = {UVB_CTL_MAGIC, UVB_CTL_VERSION, UVB_CTL_DOWN, sizeof(msg), UVB_ABI_VERSION},
		.force = force,
	};

	return uvb_control_call(fd, &msg, sizeof(msg), ans, sizeof(*ans), UVB_CTL_WAIT_MS);
}

/* The daemon hangs up when everything is gone. */
static void
wait_hangup(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};

	poll(&pfd, 1, END_MS);
}

static int
down_by_daemon(const char *name, int fd, bool force)
{
	struct uvb_ctl_answer ans;
	int rc = request_down(fd, force, &ans);

	if (rc == 0 && ans.status == 0) {
		wait_hangup(fd);
		printf("fabric %s is down\n", name);
		return EXIT_OK;
	}
	if (rc == -ETIMEDOUT)
		return -ETIMEDOUT;
	if (rc != 0)
		return cli_fail("%s: its daemon hung up: %s", name, strerror(-rc));
	ans.text[UVB_CTL_TEXT - 1] = '\0';
	return cli_fail("%s: %s; end %s first, or use --force", name, ans.text,
			ans.status == -EBUSY ? "them" : "what uses it");
}

static void
kill_daemon(const char *name)
{
	struct uvb_view *view;
	pid_t pid;

	if (uvb_view_open(name, &view, NULL) != 0)
		return;
	pid = (pid_t)atomic_load(&uvb_map_hdr(&view->map)->daemon_pid);
	if (uvb_view_daemon_alive(view))
		kill(pid, SIGKILL);
	for (int i = 0; i < END_MS && uvb_view_daemon_alive(view); i++)
		nanosleep(&(struct timespec){0, 1000000}, NULL);
	uvb_view_close(view);
}

/* A fabric without a daemon is taken over by one, which then ends it: it knows how. */
static int
down_by_new_daemon(const char *name, bool force)
{
	char *argv[] = {"uvbridged", "--ready-fd", "3", (char *)name, NULL}, line[300];
	char path[PATH_MAX], err[UVB_ERR_LEN];
	int fd, rc;

	if (start_daemon(argv, line, sizeof(line)) != 0)
		return cli_fail("%s: %s", name, line);
	if (uvb_fabric_path(name, path, err) != 0)
		return cli_fail("%s: %s", name, err);
	fd = uvb_control_connect(path, err);
	if (fd < 0)
		return cli_fail("%s: %s", name, err);
	rc = down_by_daemon(name, fd, force);
	close(fd);
	return rc;
}

int
cli_down(int argc, char **argv)
{
	static const struct option longs[] = {{"force", no_argument, NULL, 'f'},
					      {NULL, 0, NULL, 0}};
	char err[UVB_ERR_LEN], path[PATH_MAX];
	bool force = false;
	const char *name;
	int opt, fd, rc;

	while ((opt = getopt_long(argc, argv, "f", longs, NULL)) != -1) {
		if (opt != 'f')
			return EXIT_USAGE;
		force = true;
	}
	if (optind + 1 != argc)
		return cli_usage("down", "one fabric's name is wanted");
	name = argv[optind];
	if (uvb_fabric_path(name, path, err) != 0)
		return cli_fail("%s", err);
	fd = uvb_control_connect(path, err);
	rc = fd >= 0 ? down_by_daemon(name, fd, force) : fd;
	if (fd >= 0)
		close(fd);
	if (rc == -ETIMEDOUT && !force)
		return cli_fail(
			"%s: its daemon does not answer (stopped?): continue it, or use --force "
			"to kill it",
			name);
	if (rc == -ETIMEDOUT)
		kill_daemon(name);
	if (rc == -ETIMEDOUT || rc == -ECONNREFUSED)
		return down_by_new_daemon(name, force);
	return rc < 0 ? cli_fail("%s", err) : rc;
}

/* ----------------------------------------------------------------------------------------- list */

/* A line of the list. */
struct listed {
	const char *name;
	char path[PATH_MAX + 300];
	bool usable, alive;
	uint32_t pid, ports;
};

static void
list_look(struct listed *l)
{
	struct uvb_view *view;
	char err[UVB_ERR_LEN];

	l->usable = uvb_view_open(l->name, &view, err) == 0;
	if (!l->usable)
		return;
	for (uint32_t i = 0; i < view->map.nb_ports; i++)
		l->ports += UVB_LIFE_STATE(atomic_load(&uvb_map_port(&view->map, i)->life)) ==
			    UVB_PORT_UP;
	l->alive = uvb_view_daemon_alive(view);
	l->pid = atomic_load(&uvb_map_hdr(&view->map)->daemon_pid);
	uvb_view_close(view);
}

static void
list_line(const struct listed *l)
{
	char daemon[16] = "dead", ports[12] = "-";

	if (!l->usable)
		snprintf(daemon, sizeof(daemon), "unusable");
	else if (l->alive)
		snprintf(daemon, sizeof(daemon), "%u", l->pid);
	if (l->usable)
		snprintf(ports, sizeof(ports), "%u", l->ports);
	printf("%-20s %-16s %5s  %s\n", l->name, daemon, ports, l->path);
}

static void
list_json(const struct listed *l, bool first)
{
	printf("%s{\"fabric\":\"%s\",\"directory\":\"", first ? "" : ",", l->name);
	for (const char *p = l->path; *p != '\0'; p++)
		printf(*p == '"' || *p == '\\' ? "\\%c" : (unsigned char)*p < ' ' ? "?" : "%c", *p);
	printf("\",\"usable\":%s,\"daemon\":%s,\"daemon_pid\":%u,\"ports\":%u}",
	       l->usable ? "true" : "false", l->alive ? "\"alive\"" : "\"dead\"", l->pid, l->ports);
}

int
cli_list(int argc, char **argv)
{
	bool json = argc == 2 && strcmp(argv[1], "--json") == 0, first = true;
	char dir[PATH_MAX], err[UVB_ERR_LEN];
	struct dirent *e;
	DIR *d;

	if (argc != 1 && !json)
		return cli_usage("list", "it takes --json or nothing");
	if (uvb_rundir(dir, false, err) != 0)
		return cli_fail("%s", err);
	if (json)
		printf("[");
	else
		printf("%-20s %-16s %5s  %s\n", "fabric", "daemon", "ports", "directory");
	d = opendir(dir);
	while (d != NULL && (e = readdir(d)) != NULL) {
		struct listed l = {.name = e->d_name};
		char segment[sizeof(l.path) + 16];

		snprintf(l.path, sizeof(l.path), "%s/%s", dir, e->d_name);
		snprintf(segment, sizeof(segment), "%s/segment", l.path);
		if (!uvb_name_ok(e->d_name) || access(segment, F_OK) != 0)
			continue;
		list_look(&l);
		if (json)
			list_json(&l, first);
		else
			list_line(&l);
		first = false;
	}
	if (d != NULL)
		closedir(d);
	if (json)
		printf("]\n");
	return EXIT_OK;
}
