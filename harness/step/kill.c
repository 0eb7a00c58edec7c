/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The driver of programs that kill at every instruction, see kill.h.
 */
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness/step/kill.h"
#include "harness/step/step.h"

#define CASES_MAX     64
#define JUDGE_SECONDS 10 /* of its own time; a judgement takes a millisecond */
#define ALL           UINT64_MAX

enum verdict {
	GOOD = 0,
	LEAK = 10,
	STALL = 11,
	BROKEN = 12, /* the harness itself: a victim that does not come to its place */
};

struct tally {
	uint64_t places, kills, leaks, stalls, broken;
};

struct options {
	uint64_t sample; /* or ALL */
	uint64_t cases;  /* how many, or ALL */
	uint64_t seed;
	const char *only; /* case */
	uint64_t at;      /* place, or ALL */
	bool list, quiet;
};

/* Of `wanted` places among `total`. */
struct choice {
	uint64_t total, wanted;
	uint64_t met, chosen; /* so far */
	uint64_t random;
};

/* Of the whole run. `tally` is shared with the processes of the cases. */
struct run {
	const struct kill_program *program;
	struct options o;
	struct tally *tally;
	struct choice choice;
};

/* ---------------------------------------------------------------------------------------- verdicts
 */

static void __attribute__((noreturn)) end_judge(enum verdict v, const char *fmt, va_list ap)
{
	char text[512];
	int n = vsnprintf(text, sizeof(text) - 1, fmt, ap);

	if (n < 0 || n > (int)sizeof(text) - 2)
		n = (int)sizeof(text) - 2;
	text[n] = '\n';
	if (write(STDOUT_FILENO, text, (size_t)n + 1) < 0)
		_exit(BROKEN);
	_exit(v);
}

void
kill_leak(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	end_judge(LEAK, fmt, ap);
}

void
kill_stall(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	end_judge(STALL, fmt, ap);
}

/* ----------------------------------------------------------------------------------------- choice
 */

static uint64_t
splitmix(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* Each place once, in order, each with the same chance; exactly `wanted` of `total` are chosen. */
static bool
choose(struct run *r, uint64_t place)
{
	struct choice *c = &r->choice;
	bool yes;

	if (r->o.at != ALL)
		return place == r->o.at;
	yes = splitmix(&c->random) % (c->total - c->met) < c->wanted - c->chosen;
	c->met++;
	c->chosen += yes;
	return yes;
}

/* ------------------------------------------------------------------------------------------ kills
 */

static bool
among(const uintptr_t *list, uintptr_t marker)
{
	for (; list != NULL && *list != 0; list++)
		if (*list == marker)
			return true;
	return false;
}

static struct step_target
target_of(const struct run *r, const struct kill_case *c)
{
	return (struct step_target){.run = c->run,
				    .marker = c->marker,
				    .skip = r->program->skip,
				    .libraries = among(r->program->libraries, c->marker)};
}

static void __attribute__((noreturn))
judge(const struct run *r, const struct kill_case *c, const struct step_place *place)
{
	struct step_target t = target_of(r, c);
	pid_t victim;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(JUDGE_SECONDS);
	victim = step_to(&t, place);
	if (victim < 0) {
		printf("the victim did not come to its place: %s\n", strerror(-victim));
		fflush(stdout);
		_exit(BROKEN);
	}
	if (c->frozen != NULL)
		c->frozen(victim);
	step_kill(victim);
	c->dead(victim);
	_exit(GOOD);
}

static void
count(struct run *r, const struct kill_case *c, const struct step_place *place, uint64_t at,
      int status)
{
	const char *what = "leak";
	char where[STEP_NAME_LEN];

	r->tally->kills++;
	if (WIFEXITED(status) && WEXITSTATUS(status) == GOOD)
		return;
	if (WIFEXITED(status) && WEXITSTATUS(status) == LEAK) {
		r->tally->leaks++;
	} else if (WIFEXITED(status) && WEXITSTATUS(status) == BROKEN) {
		r->tally->broken++;
		what = "broken";
	} else {
		r->tally->stalls++;
		what = WIFEXITED(status) ? "stall" : strsignal(WTERMSIG(status));
	}
	step_where(place->pc, where);
	printf("%s: killed at place %llu, %s, time %u: %s; again: %s --case %s --at %llu\n",
	       c->name, (unsigned long long)at, where, place->visit + 1, what, r->program->name,
	       c->name, (unsigned long long)at);
}

static void
kill_one(struct run *r, const struct kill_case *c, const struct step_place *place, uint64_t at)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
		judge(r, c, place);
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		printf("no judge: %s\n", strerror(errno));
		r->tally->broken++;
		return;
	}
	count(r, c, place, at, status);
}

/* ------------------------------------------------------------------------------------------ cases
 */

/* A case has a process of its own, with the state that it prepared. It records, says how many
 * places there are, and waits until it is told which part of the choice is its. */
struct case_process {
	pid_t pid;
	int line;        /* a stream to it, and from it */
	uint64_t places; /* UINT64_MAX: it could not record */
};

static void __attribute__((noreturn)) case_main(struct run *r, const struct kill_case *c, int line)
{
	struct step_target t = target_of(r, c);
	struct step_trace trace = {0};
	uint64_t places;
	int rc;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (c->prepare != NULL)
		c->prepare();
	r->program->save();
	r->program->restore();
	rc = step_record(&t, &trace);
	if (rc != 0)
		printf("%s: cannot record: %s\n", c->name, strerror(-rc));
	fflush(stdout);
	places = rc == 0 ? trace.n : UINT64_MAX;
	if (write(line, &places, sizeof(places)) != sizeof(places) || rc != 0 ||
	    read(line, &r->choice, sizeof(r->choice)) != sizeof(r->choice))
		_exit(1);
	*r->tally = (struct tally){.places = places};
	for (uint64_t i = 0; i < places; i++) {
		if (!choose(r, i))
			continue;
		r->program->restore();
		kill_one(r, c, &trace.place[i], i);
	}
	fflush(stdout);
	_exit(0);
}

static int
case_start(struct run *r, const struct kill_case *c, struct case_process *p)
{
	int line[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line) != 0)
		return -1;
	fflush(stdout);
	p->pid = fork();
	if (p->pid == 0)
		case_main(r, c, line[1]);
	close(line[1]);
	p->line = line[0];
	if (p->pid < 0 || read(p->line, &p->places, sizeof(p->places)) != sizeof(p->places))
		return -1;
	return p->places != UINT64_MAX ? 0 : -1;
}

static int
case_go(struct run *r, const struct case_process *p)
{
	int status;

	if (write(p->line, &r->choice, sizeof(r->choice)) != sizeof(r->choice) ||
	    waitpid(p->pid, &status, 0) != p->pid)
		return -1;
	/* The choice goes on where this case leaves it. */
	for (uint64_t i = 0; i < p->places; i++)
		choose(r, i);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static void
add(struct tally *sum, const struct tally *t)
{
	sum->places += t->places;
	sum->kills += t->kills;
	sum->leaks += t->leaks;
	sum->stalls += t->stalls;
	sum->broken += t->broken;
}

static size_t
count_cases(const struct kill_program *p)
{
	size_t n = 0;

	while (p->cases[n].name != NULL)
		n++;
	return n;
}

/* One case by name, or --cases of them that follow each other, beginning where the seed says. */
static bool
selected(const struct run *r, const struct kill_case *c)
{
	size_t n = count_cases(r->program), place = (size_t)(c - r->program->cases);

	if (r->o.only != NULL)
		return strcmp(r->o.only, c->name) == 0;
	return r->o.cases >= n || (place + r->o.seed) % n < r->o.cases;
}

/* Each case prepares from the same memory. */
static int
start_all(struct run *r, struct case_process *process)
{
	int rc = 0;

	r->program->save();
	for (size_t i = 0; rc == 0 && r->program->cases[i].name != NULL; i++) {
		const struct kill_case *c = &r->program->cases[i];

		if (!selected(r, c))
			continue;
		r->program->restore();
		rc = case_start(r, c, &process[i]);
		r->choice.total += process[i].places;
		if (r->o.list && rc == 0)
			printf("%-18s %6llu  %s\n", c->name, (unsigned long long)process[i].places,
			       c->what);
	}
	return rc;
}

static void
print_tally(const struct kill_case *c, const struct tally *t)
{
	printf("%s: %llu places, %llu kills, %llu leaks, %llu stalls\n", c->name,
	       (unsigned long long)t->places, (unsigned long long)t->kills,
	       (unsigned long long)t->leaks, (unsigned long long)t->stalls);
}

static int
kill_all(struct run *r, const struct case_process *process, struct tally *sum)
{
	r->choice.wanted = r->o.sample < r->choice.total ? r->o.sample : r->choice.total;
	r->choice.random = r->o.seed;
	for (size_t i = 0; r->program->cases[i].name != NULL; i++) {
		const struct kill_case *c = &r->program->cases[i];

		if (!selected(r, c))
			continue;
		if (case_go(r, &process[i]) != 0) {
			printf("%s: its process died\n", c->name);
			return -1;
		}
		add(sum, r->tally);
		if (!r->o.quiet)
			print_tally(c, r->tally);
	}
	return 0;
}

static int
run_all(struct run *r, struct tally *sum)
{
	struct case_process process[CASES_MAX] = {0};
	int rc = start_all(r, process);

	if (rc == 0 && r->choice.total == 0) {
		printf("no such case, see --list\n");
		rc = -1;
	}
	if (rc == 0 && !r->o.list)
		rc = kill_all(r, process, sum);
	return rc;
}

/* ---------------------------------------------------------------------------------------- program
 */

static void
usage(FILE *to, const char *name)
{
	fprintf(to,
		"Usage: %s [--sample N] [--seed S] [--cases N]\n"
		"       [--case NAME [--at PLACE]] [--list] [--quiet]\n"
		"Kills a process at every instruction of the functions under test and checks what\n"
		"is left. The last line says: kills, leaks, stalls.\n"
		"  --sample N   kill at N places, chosen at random (default: at all of them)\n"
		"  --seed S     of that choice (default: from the clock, printed)\n"
		"  --case NAME  of this case only\n"
		"  --cases N    of N cases, chosen by the seed (default: all)\n"
		"  --at PLACE   once, there\n"
		"  --list       cases and how many places each has; the last line is their sum\n"
		"  --quiet      no line for each case\n",
		name);
}

static bool
number(const char *text, uint64_t *n)
{
	char *end;

	errno = 0;
	*n = strtoull(text, &end, 0);
	return errno == 0 && text[0] >= '0' && text[0] <= '9' && *end == '\0';
}

static bool
parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"sample", required_argument, NULL, 'n'},
		{"seed", required_argument, NULL, 's'},
		{"cases", required_argument, NULL, 'N'},
		{"case", required_argument, NULL, 'c'},
		{"at", required_argument, NULL, 'a'},
		{"list", no_argument, NULL, 'l'},
		{"quiet", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	bool ok = true;
	int opt;

	while (ok && (opt = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		switch (opt) {
		case 'n':
			ok = number(optarg, &o->sample);
			break;
		case 's':
			ok = number(optarg, &o->seed);
			break;
		case 'N':
			ok = number(optarg, &o->cases);
			break;
		case 'c':
			o->only = optarg;
			break;
		case 'a':
			ok = number(optarg, &o->at);
			break;
		case 'l':
			o->list = true;
			break;
		case 'q':
			o->quiet = true;
			break;
		case 'h':
			usage(stdout, argv[0]);
			exit(0);
		default:
			ok = false;
		}
	}
	return ok && optind == argc && (o->at == ALL || o->only != NULL);
}

/* One processor for all: victim and tracer take turns, and a turn is quick where nobody has to be
 * woken on another processor. */
static void
stay_here(void)
{
	cpu_set_t set;
	int cpu = sched_getcpu();

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

int
kill_main(int argc, char **argv, const struct kill_program *p)
{
	struct run r = {
		.program = p,
		.o = {.sample = ALL, .cases = ALL, .at = ALL, .seed = (uint64_t)time(NULL)}};
	struct tally sum = {0};
	int rc;

	if (!parse(argc, argv, &r.o)) {
		usage(stderr, argv[0]);
		return 2;
	}
	stay_here();
	r.tally = mmap(NULL, sizeof(*r.tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	if (r.tally == MAP_FAILED)
		return 1;
	if (r.o.sample != ALL)
		printf("%s --sample %llu --seed %llu", p->name, (unsigned long long)r.o.sample,
		       (unsigned long long)r.o.seed);
	if (r.o.sample != ALL && r.o.cases != ALL)
		printf(" --cases %llu", (unsigned long long)r.o.cases);
	if (r.o.sample != ALL)
		printf("\n");
	p->set_up();
	rc = run_all(&r, &sum);
	p->tear_down();
	if (r.o.list) {
		printf("%llu places\n", (unsigned long long)r.choice.total);
		return rc != 0;
	}
	printf("%llu kills, %llu leaks, %llu stalls\n", (unsigned long long)sum.kills,
	       (unsigned long long)sum.leaks, (unsigned long long)sum.stalls);
	return rc != 0 || sum.kills == 0 || sum.leaks + sum.stalls + sum.broken != 0;
}
