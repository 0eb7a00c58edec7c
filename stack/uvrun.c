/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvrun: run a command on the stack. Checks the configuration, finds the library, sets the
 * environment and executes; nothing of it stays. See docs/uvrun.md.
 */
#include "stack/conf/conf.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LIBRARY  "libuvstack.so"
#define EXTRA_FD 512 /* room for the library's descriptors beyond the application's limit */

/* As env(1) and timeout(1) have them. */
enum { EXIT_OURS = 125, EXIT_CANNOT = 126, EXIT_NOT_FOUND = 127 };

__attribute__((noreturn, format(printf, 2, 3))) static void
die(int status, const char *fmt, ...)
{
	va_list ap;

	fputs("uvrun: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(status);
}

static void
help(void)
{
	puts("Usage: uvrun --config FILE [--set KEY=VALUE]... [--] COMMAND [ARGUMENT...]\n"
	     "       uvrun --config FILE [--set KEY=VALUE]... --check-config | --print-config\n"
	     "\n"
	     "Run COMMAND, unmodified, with its TCP and UDP sockets on the stack that FILE "
	     "describes.\n"
	     "\n"
	     "  -c, --config FILE     configuration of the host; default: $" UVS_CONF_ENV "\n"
	     "  -s, --set KEY=VALUE   one key over what FILE says; may be repeated\n"
	     "      --trace PATTERN   --set trace=PATTERN: record trace points, see uvstack trace\n"
	     "      --check-config    say whether the configuration is good, and end\n"
	     "      --print-config    print the configuration with every key, and end\n"
	     "      --version\n"
	     "  -h, --help            this text, and every key\n"
	     "\n"
	     "Exit status: COMMAND's; 125 if uvrun fails, 126 if COMMAND cannot be run on the "
	     "stack,\n127 if it is not found.\n"
	     "\nConfiguration keys:\n");
	uvs_conf_help(stdout);
}

/* ------------------------------------------------------------------------------------ options */

struct options {
	const char *config;
	char *sets; /* lines of key=value, or NULL */
	bool check, print;
};

static void
add_set(struct options *o, const char *set)
{
	if (!strchr(set, '='))
		die(EXIT_OURS, "--set %s: not KEY=VALUE; --help lists the keys", set);
	if (uvs_conf_add_set(&o->sets, set) < 0)
		die(EXIT_OURS, "out of memory");
}

static void
add_trace(struct options *o, const char *pattern)
{
	char *set;

	if (asprintf(&set, "trace=%s", pattern) < 0)
		die(EXIT_OURS, "out of memory");
	add_set(o, set);
	free(set);
}

static void
parse(int argc, char **argv, struct options *o)
{
	enum { CHECK = 256, PRINT, VERSION, TRACE };
	static const struct option longs[] = {{"config", required_argument, NULL, 'c'},
					      {"set", required_argument, NULL, 's'},
					      {"check-config", no_argument, NULL, CHECK},
					      {"print-config", no_argument, NULL, PRINT},
					      {"trace", required_argument, NULL, TRACE},
					      {"version", no_argument, NULL, VERSION},
					      {"help", no_argument, NULL, 'h'},
					      {NULL, 0, NULL, 0}};
	int opt;

	while ((opt = getopt_long(argc, argv, "+c:s:h", longs, NULL)) != -1) {
		switch (opt) {
		case 'c':
			o->config = optarg;
			break;
		case 's':
			add_set(o, optarg);
			break;
		case TRACE:
			add_trace(o, optarg);
			break;
		case CHECK:
			o->check = true;
			break;
		case PRINT:
			o->print = true;
			break;
		case VERSION:
			puts("uvrun " UVS_VERSION);
			exit(0);
		case 'h':
			help();
			exit(0);
		default:
			die(EXIT_OURS, "see uvrun --help");
		}
	}
}

/* ------------------------------------------------------------------------------ what can be run */

/* The file that execvp() would take; not found: the end. */
static void
find_command(const char *name, char *out)
{
	const char *path = getenv("PATH"), *end;

	if (strchr(name, '/')) {
		snprintf(out, PATH_MAX, "%s", name);
		if (access(out, F_OK) < 0)
			die(EXIT_NOT_FOUND, "%s: %s", name, strerror(errno));
		return;
	}
	for (path = path ? path : "/usr/bin:/bin"; *path; path = *end ? end + 1 : end) {
		end = strchrnul(path, ':');
		snprintf(out, PATH_MAX, "%.*s/%s", (int)(end - path), path, name);
		if (access(out, X_OK) == 0)
			return;
	}
	die(EXIT_NOT_FOUND, "%s: not found in PATH", name);
}

/* The loader clears LD_PRELOAD for programs that gain rights. */
static void
check_rights(const char *path, const struct stat *st)
{
	char caps[64];

	if (access(path, X_OK) < 0)
		die(EXIT_CANNOT, "%s: %s", path, strerror(errno));
	if ((st->st_mode & S_ISUID && st->st_uid != geteuid()) ||
	    (st->st_mode & S_ISGID && st->st_gid != getegid()))
		die(EXIT_CANNOT,
		    "%s: is set-user-id or set-group-id, and such programs ignore preloaded "
		    "libraries; run it as its owner, or use a copy without the bit",
		    path);
	if (geteuid() != 0 && getxattr(path, "security.capability", caps, sizeof(caps)) > 0)
		die(EXIT_CANNOT,
		    "%s: has file capabilities, and such programs ignore preloaded libraries; use "
		    "a copy without them (cp drops them)",
		    path);
}

static bool
has_interpreter(int fd, const Elf64_Ehdr *eh)
{
	Elf64_Phdr ph;
	int i;

	for (i = 0; i < eh->e_phnum; i++) {
		off_t at = (off_t)eh->e_phoff + (off_t)i * eh->e_phentsize;

		if (pread(fd, &ph, sizeof(ph), at) != sizeof(ph))
			return false;
		if (ph.p_type == PT_INTERP)
			return true;
	}
	return false;
}

static void
check_elf(const char *path, int fd, const Elf64_Ehdr *eh)
{
	if (eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_machine != EM_X86_64)
		die(EXIT_CANNOT, "%s: is not a 64-bit x86 program, and the library is", path);
	if (!has_interpreter(fd, eh))
		die(EXIT_CANNOT,
		    "%s: is statically linked, so no library can be preloaded into it; use a "
		    "dynamically linked build",
		    path);
}

/* "#!/usr/bin/env python3" and the like: what matters is the interpreter. */
static bool
script_interpreter(const char *head, char *out)
{
	const char *p = head + 2;
	size_t n;

	if (head[0] != '#' || head[1] != '!')
		return false;
	p += strspn(p, " \t");
	n = strcspn(p, " \t\r\n");
	if (n == 0 || n >= PATH_MAX)
		return false;
	snprintf(out, PATH_MAX, "%.*s", (int)n, p);
	return true;
}

/* Says why if it would not end up on the stack. */
static void
check_command(const char *path, int depth)
{
	char interpreter[PATH_MAX];
	union {
		Elf64_Ehdr eh;
		char text[256];
	} head = {.text = ""};
	struct stat st;
	int fd;

	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		die(EXIT_CANNOT, "%s: not a program", path);
	check_rights(path, &st);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return; /* may be executed, not read: no way to tell */
	if (read(fd, head.text, sizeof(head.text) - 1) >= (ssize_t)sizeof(head.eh) &&
	    memcmp(head.text, ELFMAG, SELFMAG) == 0)
		check_elf(path, fd, &head.eh);
	else if (depth < 4 && script_interpreter(head.text, interpreter))
		check_command(interpreter, depth + 1);
	close(fd);
}

/* --------------------------------------------------------------------------------- environment */

/* Beside this program (a build directory), or where it was installed. */
static void
find_library(char *out)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n > 0) {
		self[n] = 0;
		*strrchr(self, '/') = 0;
		if (snprintf(out, PATH_MAX, "%s/" LIBRARY, self) < PATH_MAX &&
		    access(out, R_OK) == 0)
			return;
	}
	snprintf(out, PATH_MAX, "%s/" LIBRARY, UVS_LIBDIR);
	if (access(out, R_OK) < 0)
		die(EXIT_OURS, LIBRARY " is neither beside uvrun nor in " UVS_LIBDIR
				       ": build it (ninja -C build) or install it (meson install)");
	if (strpbrk(out, " :"))
		die(EXIT_OURS, "%s: LD_PRELOAD cannot name a path with a blank or a colon in it",
		    out);
}

static void
set_env(const char *name, const char *value)
{
	if (setenv(name, value, 1) < 0)
		die(EXIT_OURS, "environment: %s", strerror(errno));
}

static void
set_environment(const struct options *o)
{
	const char *already = getenv("LD_PRELOAD");
	char library[PATH_MAX], config[PATH_MAX], preload[2 * PATH_MAX];

	find_library(library);
	snprintf(preload, sizeof(preload), UVS_PRELOAD_FIRST "%s%s%s", library,
		 already && *already ? ":" : "", already ? already : "");
	set_env("LD_PRELOAD", preload);
	if (!realpath(o->config, config))
		die(EXIT_OURS, "%s: %s", o->config, strerror(errno));
	set_env(UVS_CONF_ENV, config);
	if (o->sets)
		set_env(UVS_CONF_SETS_ENV, o->sets);
	else
		unsetenv(UVS_CONF_SETS_ENV);
}

/* The library keeps its own descriptors at the end of the range: give it an end. */
static void
raise_limit(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) < 0 || rl.rlim_cur == RLIM_INFINITY)
		return;
	rl.rlim_cur += EXTRA_FD;
	if (rl.rlim_max != RLIM_INFINITY && rl.rlim_cur > rl.rlim_max)
		rl.rlim_cur = rl.rlim_max;
	setrlimit(RLIMIT_NOFILE, &rl);
}

int
main(int argc, char **argv)
{
	struct options o = {.config = getenv(UVS_CONF_ENV)};
	struct uvs_conf_error err;
	char path[PATH_MAX];
	struct uvs_conf conf;

	parse(argc, argv, &o);
	if (!o.config)
		die(EXIT_OURS, "no configuration: give --config FILE or set " UVS_CONF_ENV);
	if (uvs_conf_load_with(&conf, o.config, o.sets, &err) < 0)
		die(EXIT_OURS, "%s", err.text);
	if (o.print)
		uvs_conf_print(&conf, stdout);
	else if (o.check)
		printf("%s: good\n", o.config);
	if (o.print || o.check)
		return 0;
	if (optind == argc)
		die(EXIT_OURS, "no command; see uvrun --help");
	find_command(argv[optind], path);
	check_command(path, 0);
	set_environment(&o);
	raise_limit();
	execv(path, &argv[optind]);
	die(EXIT_CANNOT, "%s: %s", path, strerror(errno));
}
