/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvstack - look at a shared host, and tell its manager what to do. See docs/uvstack.md.
 */
#include "stack/conf/conf.h"
#include "stack/seen/show.h"
#include "stack/share/client.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int (*show_fn)(const struct uvs_show *o);

static const struct command {
	const char *name, *help;
	show_fn show; /* NULL: asked of the manager of a shared host */
} commands[] = {
	{"top", "what each stack does now: packets, load, connections, drops", uvs_show_top},
	{"drops", "what was lost: why, where, how often, the last frame", uvs_show_drops},
	{"latency", "how long packets wait at each stage; latency on|off: measure",
	 uvs_show_latency},
	{"softnet", "polls, packets, budgets, sleeps of each receive queue", uvs_show_softnet},
	{"metrics", "everything that is counted, as Prometheus text", uvs_show_metrics},
	{"counters", "what there is to be counted: name, unit, meaning", uvs_show_counters},
	{"status", "the host: address, slots, what its manager has done", NULL},
	{"ps", "processes", NULL},
	{"queues", "slots and hardware queues: state, share of the RETA, frames, reclaims", NULL},
	{"pools", "packet buffers of each slot, by place", NULL},
	{"ss", "TCP connections, also of a process that has died", NULL},
	{"rules", "ports and who holds them; connections that are found by a rule", NULL},
	{"drain", "let no new process in; those that are there stay", NULL},
	{"accept", "let new processes in again", NULL},
	{"reload", "replace the manager by the program as it is now; processes go on", NULL},
	{"ledger", "is every buffer in exactly one place? Exit status 1: no", NULL},
};
#define NB_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void
print_commands(FILE *to, bool of_all)
{
	for (size_t i = 0; i < NB_COMMANDS; i++)
		if ((commands[i].show != NULL) == of_all)
			fprintf(to, "  %-10s  %s\n", commands[i].name, commands[i].help);
}

static void
usage(FILE *to)
{
	fputs("Usage: uvstack [OPTION]... COMMAND\n"
	      "\n"
	      "Look at stacks from outside. Of every process that runs or has just been killed, "
	      "with "
	      "its\nown NIC or in a shared host:\n\n",
	      to);
	print_commands(to, true);
	fputs("\nOf a shared host, which uvstackd manages:\n\n", to);
	print_commands(to, false);
	fputs("\n  trace       what uvrun --trace has recorded; see uvstack trace --help\n"
	      "  nic         what a network card can do, and what the stack makes of it; see "
	      "uvstack nic --help\n"
	      "  completion  a bash completion script: eval \"$(uvstack completion)\"\n"
	      "\n"
	      "  -H, --host NAME      name of a shared host, or its directory; default: the only "
	      "one there\n                       is, and for the first group everything\n"
	      "  -c, --config FILE    that host, or the processes with that NIC; default: "
	      "$" UVS_CONF_ENV "\n"
	      "  -p, --pid PID        that process alone (first group)\n"
	      "  -d, --delay SECONDS  top: between two tables, 1; drops, latency: of so many "
	      "seconds\n"
	      "      --once           top: one table\n"
	      "      --json           for programs\n"
	      "      --version\n"
	      "  -h, --help\n"
	      "\n"
	      "Exit status: 0; 1 if the command says so or fails; 2 for wrong usage.\n",
	      to);
}

static void
completion(void)
{
	puts("_uvstack() {\n"
	     "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
	     "\tcase $prev in\n"
	     "\t-c|--config) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n"
	     "\t-H|--host) COMPREPLY=($(compgen -W \"$(ls "
	     "\"${UVSTACK_RUNDIR:-/dev/shm/uvstack-$(id -u)}\" 2>/dev/null)\" -- \"$cur\")); "
	     "return ;;\n"
	     "\t-p|--pid) COMPREPLY=($(compgen -W \"$(ls "
	     "\"${UVSTACK_RUNDIR:-/dev/shm/uvstack-$(id -u)}/" UVS_SEEN_DIR
	     "\" 2>/dev/null)\" -- \"$cur\")); return ;;\n"
	     "\t-d|--delay) return ;;\n"
	     "\tlatency) COMPREPLY=($(compgen -W \"on off\" -- \"$cur\")); return ;;\n"
	     "\tesac");
	printf("\tCOMPREPLY=($(compgen -W \"--host --config --pid --delay --once --json --version "
	       "--help");
	for (size_t i = 0; i < NB_COMMANDS; i++)
		printf(" %s", commands[i].name);
	puts(" trace nic completion\" -- \"$cur\"))\n}\ncomplete -F _uvstack uvstack");
}

struct options {
	char host[UVS_CONF_STR];
	char nic[UVS_CONF_STR]; /* of a configuration with a NIC of its own; else empty */
	const char *config;
	struct uvs_show show;
};

static int
parse_delay(const char *text, double *seconds)
{
	char *end;

	*seconds = strtod(text, &end);
	if (*end == '\0' && *seconds >= 0.01 && *seconds <= 86400)
		return 0;
	fprintf(stderr, "uvstack: --delay %s: seconds, from 0.01 to 86400\n", text);
	return -1;
}

static int
parse_pid(const char *text, pid_t *pid)
{
	char *end;
	long n = strtol(text, &end, 10);

	*pid = (pid_t)n;
	if (*end == '\0' && n > 0 && n <= INT_MAX)
		return 0;
	fprintf(stderr, "uvstack: --pid %s: not the number of a process\n", text);
	return -1;
}

static int
parse(int argc, char **argv, struct options *o)
{
	enum { JSON = 256, VERSION, ONCE };
	static const struct option longs[] = {{"host", required_argument, NULL, 'H'},
					      {"config", required_argument, NULL, 'c'},
					      {"json", no_argument, NULL, JSON},
					      {"version", no_argument, NULL, VERSION},
					      {"pid", required_argument, NULL, 'p'},
					      {"delay", required_argument, NULL, 'd'},
					      {"once", no_argument, NULL, ONCE},
					      {"help", no_argument, NULL, 'h'},
					      {NULL, 0, NULL, 0}};
	int opt;

	while ((opt = getopt_long(argc, argv, "H:c:p:d:h", longs, NULL)) != -1) {
		switch (opt) {
		case 'H':
			snprintf(o->host, sizeof(o->host), "%s", optarg);
			break;
		case 'c':
			o->config = optarg;
			break;
		case 'p':
			if (parse_pid(optarg, &o->show.whom.pid) < 0)
				return -1;
			break;
		case 'd':
			if (parse_delay(optarg, &o->show.interval) < 0)
				return -1;
			break;
		case ONCE:
			o->show.once = true;
			break;
		case JSON:
			o->show.json = true;
			break;
		case VERSION:
			puts("uvstack " UVS_VERSION);
			exit(0);
		case 'h':
			usage(stdout);
			exit(0);
		default:
			return -1;
		}
	}
	if (optind + 1 < argc && strcmp(argv[optind], "latency") == 0)
		o->show.word = argv[optind + 1];
	return optind + 1 + (o->show.word != NULL) == argc ? 0 : -1;
}

/* The name of the shared host, or the NIC of a process that has one to itself. */
static int
read_config(struct options *o, char err[UVS_ERR_LEN])
{
	struct uvs_conf_error e;
	struct uvs_conf c;

	if (uvs_conf_load(&c, o->config, &e) < 0)
		return uvs_fail(err, -1, "%.250s", e.text);
	if (c.mode == UVS_MODE_SHARED)
		memcpy(o->host, c.host, sizeof(o->host));
	else
		memcpy(o->nic, c.nic, sizeof(o->nic));
	return 0;
}

static int
host_of_config(struct options *o, char err[UVS_ERR_LEN])
{
	if (read_config(o, err) < 0)
		return -1;
	if (o->host[0] == '\0')
		return uvs_fail(err, -1, "%.180s: mode is exclusive: that host has no manager",
				o->config);
	return 0;
}

/* The only host there is. */
static int
find_host(struct options *o, char err[UVS_ERR_LEN])
{
	char dir[PATH_MAX];
	struct dirent *e;
	DIR *d;

	if (uvs_rundir(dir, false, err) < 0)
		return -1;
	d = opendir(dir);
	while (d != NULL && (e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		if (o->host[0] != '\0') {
			closedir(d);
			return uvs_fail(err, -1,
					"there are several hosts in %.150s: say --host NAME", dir);
		}
		snprintf(o->host, sizeof(o->host), "%s", e->d_name);
	}
	if (d != NULL)
		closedir(d);
	if (o->host[0] != '\0')
		return 0;
	return uvs_fail(err, -1, "there is no host in %.150s: uvstackd --config FILE starts one",
			dir);
}

static int
choose_host(struct options *o, char err[UVS_ERR_LEN])
{
	if (o->host[0] != '\0')
		return 0;
	if (o->config == NULL)
		o->config = getenv(UVS_CONF_ENV);
	return o->config != NULL ? host_of_config(o, err) : find_host(o, err);
}

static int
print_answer(int fd)
{
	char text[16384];
	off_t at = 0;
	ssize_t n;

	while ((n = pread(fd, text, sizeof(text), at)) > 0) {
		if (fwrite(text, 1, (size_t)n, stdout) != (size_t)n)
			return -1;
		at += n;
	}
	return fflush(stdout) == 0 && n == 0 ? 0 : -1;
}

static const struct command *
find_command(const char *word)
{
	for (size_t i = 0; i < NB_COMMANDS; i++)
		if (strcmp(commands[i].name, word) == 0)
			return &commands[i];
	return NULL;
}

/* Of everything there is, or of what was named. */
static int
look(struct options *o, show_fn show)
{
	char err[UVS_ERR_LEN];

	if (o->config != NULL && o->host[0] == '\0' && read_config(o, err) < 0) {
		fprintf(stderr, "uvstack: %s\n", err);
		return 1;
	}
	if (o->host[0] != '\0')
		o->show.whom.host = o->host;
	else if (o->nic[0] != '\0')
		o->show.whom.nic = o->nic;
	return show(&o->show);
}

static int
ask(struct options *o, const char *word)
{
	char err[UVS_ERR_LEN];
	int fd, status = 0;

	if (choose_host(o, err) < 0 ||
	    (fd = uvs_client_ask(o->host, word, o->show.json, &status, err)) < 0) {
		fprintf(stderr, "uvstack: %s\n", err);
		return 1;
	}
	return print_answer(fd) < 0 ? 1 : status;
}

/* Another program, which stands beside this one and has its name with a suffix. */
static int
run_beside(const char *suffix, char **argv)
{
	char path[PATH_MAX + 8];
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);

	if (n > 0)
		strcpy(path + n, suffix);
	argv[0] = path; /* by which it finds what is beside it, too */
	execv(path, argv);
	fprintf(stderr, "uvstack: %s: %s\n", n > 0 ? path : suffix, strerror(errno));
	return 1;
}

int
main(int argc, char **argv)
{
	struct options o = {.config = NULL};
	const struct command *c;

	if (argc > 1 && strcmp(argv[1], "trace") == 0)
		return run_beside("-trace", argv + 1);
	if (argc > 1 && strcmp(argv[1], "nic") == 0)
		return run_beside("-nic", argv + 1);
	if (parse(argc, argv, &o) != 0) {
		usage(stderr);
		return 2;
	}
	if (strcmp(argv[optind], "completion") == 0) {
		completion();
		return 0;
	}
	c = find_command(argv[optind]);
	if (c == NULL) {
		fprintf(stderr, "uvstack: there is no command \"%s\"; see uvstack --help\n",
			argv[optind]);
		return 2;
	}
	return c->show != NULL ? look(&o, c->show) : ask(&o, c->name);
}
