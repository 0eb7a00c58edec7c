/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvstack - look at a shared host, and tell its manager what to do. See docs/uvstack.md.
 */
#include "stack/conf/conf.h"
#include "stack/share/client.h"

#include <dirent.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct command {
	const char *name, *help;
} commands[] = {
	{"status", "the host: address, slots, what its manager has done"},
	{"ps", "processes"},
	{"queues", "slots and hardware queues: state, share of the RETA, frames, reclaims"},
	{"pools", "packet buffers of each slot, by place"},
	{"ss", "TCP connections, also of a process that has died"},
	{"rules", "ports and who holds them; connections that are found by a rule"},
	{"drain", "let no new process in; those that are there stay"},
	{"accept", "let new processes in again"},
	{"reload", "replace the manager by the program as it is now; processes go on"},
	{"ledger", "is every buffer in exactly one place? Exit status 1: no"},
};
#define NB_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void
usage(FILE *to)
{
	fputs("Usage: uvstack [--host NAME | --config FILE] [--json] COMMAND\n"
	      "\n"
	      "Look at a shared host, which uvstackd manages.\n\n",
	      to);
	for (size_t i = 0; i < NB_COMMANDS; i++)
		fprintf(to, "  %-10s  %s\n", commands[i].name, commands[i].help);
	fputs("  completion  a bash completion script: eval \"$(uvstack completion)\"\n"
	      "\n"
	      "  -H, --host NAME    name of the host, or its directory; default: the only one "
	      "there is\n"
	      "  -c, --config FILE  configuration of the host; default: $" UVS_CONF_ENV "\n"
	      "      --json         for programs\n"
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
	     "\tesac");
	printf("\tCOMPREPLY=($(compgen -W \"--host --config --json --version --help");
	for (size_t i = 0; i < NB_COMMANDS; i++)
		printf(" %s", commands[i].name);
	puts(" completion\" -- \"$cur\"))\n}\ncomplete -F _uvstack uvstack");
}

struct options {
	char host[UVS_CONF_STR];
	const char *config;
	bool json;
};

static int
parse(int argc, char **argv, struct options *o)
{
	enum { JSON = 256, VERSION };
	static const struct option longs[] = {
		{"host", required_argument, NULL, 'H'}, {"config", required_argument, NULL, 'c'},
		{"json", no_argument, NULL, JSON},      {"version", no_argument, NULL, VERSION},
		{"help", no_argument, NULL, 'h'},       {NULL, 0, NULL, 0}};
	int opt;

	while ((opt = getopt_long(argc, argv, "H:c:h", longs, NULL)) != -1) {
		switch (opt) {
		case 'H':
			snprintf(o->host, sizeof(o->host), "%s", optarg);
			break;
		case 'c':
			o->config = optarg;
			break;
		case JSON:
			o->json = true;
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
	return optind + 1 == argc ? 0 : -1;
}

static int
host_of_config(struct options *o, char err[UVS_ERR_LEN])
{
	struct uvs_conf_error e;
	struct uvs_conf c;

	if (uvs_conf_load(&c, o->config, &e) < 0)
		return uvs_fail(err, -1, "%.250s", e.text);
	if (c.mode != UVS_MODE_SHARED)
		return uvs_fail(err, -1, "%.180s: mode is exclusive: that host has no manager",
				o->config);
	memcpy(o->host, c.host, sizeof(o->host));
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

static bool
is_command(const char *word)
{
	for (size_t i = 0; i < NB_COMMANDS; i++)
		if (strcmp(commands[i].name, word) == 0)
			return true;
	return false;
}

int
main(int argc, char **argv)
{
	struct options o = {.config = NULL};
	char err[UVS_ERR_LEN];
	int fd, status = 0;

	if (parse(argc, argv, &o) != 0) {
		usage(stderr);
		return 2;
	}
	if (strcmp(argv[optind], "completion") == 0) {
		completion();
		return 0;
	}
	if (!is_command(argv[optind])) {
		fprintf(stderr, "uvstack: there is no command \"%s\"; see uvstack --help\n",
			argv[optind]);
		return 2;
	}
	if (choose_host(&o, err) < 0 ||
	    (fd = uvs_client_ask(o.host, argv[optind], o.json, &status, err)) < 0) {
		fprintf(stderr, "uvstack: %s\n", err);
		return 1;
	}
	return print_answer(fd) < 0 ? 1 : status;
}
