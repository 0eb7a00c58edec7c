/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Stepping, see step.h.
 */
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/step/step.h"

#define INT3       0xccUL
#define RANGES_MAX 32

/* ------------------------------------------------------------------------------------ own code */

/* The code that is stepped: the program and its own libraries. */
struct ranges {
	struct {
		uintptr_t from, to;
	} r[RANGES_MAX];
	size_t n;
	bool libraries;
};

static bool
of_the_system(const char *path)
{
	return strncmp(path, "/lib", 4) == 0 || strncmp(path, "/usr/", 5) == 0;
}

/* Its way depends on the time. */
static bool
of_the_kernel(const char *path)
{
	return strstr(path, "vdso") != NULL;
}

static int
add_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct ranges *own = arg;

	(void)size;
	if (of_the_kernel(info->dlpi_name) || (!own->libraries && of_the_system(info->dlpi_name)))
		return 0;
	for (int i = 0; i < info->dlpi_phnum && own->n < RANGES_MAX; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];

		if (p->p_type != PT_LOAD || !(p->p_flags & PF_X))
			continue;
		own->r[own->n].from = info->dlpi_addr + p->p_vaddr;
		own->r[own->n++].to = info->dlpi_addr + p->p_vaddr + p->p_memsz;
	}
	return 0;
}

static bool
to_step(const struct ranges *own, const struct step_target *t, uintptr_t pc)
{
	for (const uintptr_t *skip = t->skip; skip != NULL && *skip != 0; skip++)
		if (pc == *skip)
			return false;
	for (size_t i = 0; i < own->n; i++)
		if (pc >= own->r[i].from && pc < own->r[i].to)
			return true;
	return false;
}

/* -------------------------------------------------------------------------------------- victims */

/* Until it stops by SIGTRAP. Anything else is not what this victim was started for. */
static int
wait_trap(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP ? 0 : -ESRCH;
}

static int
resume(pid_t pid, int how)
{
	return ptrace(how, pid, NULL, NULL) == 0 ? wait_trap(pid) : -errno;
}

static int
registers(pid_t pid, struct user_regs_struct *regs)
{
	return ptrace(PTRACE_GETREGS, pid, NULL, regs) == 0 ? 0 : -errno;
}

static int
peek(pid_t pid, uintptr_t at, unsigned long *word)
{
	errno = 0;
	*word = (unsigned long)ptrace(PTRACE_PEEKDATA, pid, at, NULL);
	return -errno;
}

static int
poke(pid_t pid, uintptr_t at, unsigned long word)
{
	return ptrace(PTRACE_POKEDATA, pid, at, word) == 0 ? 0 : -errno;
}

/* On until the instruction at `at` is the next one. */
static int
run_to(pid_t pid, uintptr_t at)
{
	struct user_regs_struct regs;
	unsigned long word;
	int rc = peek(pid, at, &word);

	if (rc == 0)
		rc = poke(pid, at, (word & ~0xffUL) | INT3);
	if (rc == 0)
		rc = resume(pid, PTRACE_CONT);
	if (rc == 0)
		rc = registers(pid, &regs);
	if (rc != 0)
		return rc;
	if (regs.rip != at + 1)
		return -ESRCH;
	regs.rip = at;
	if (ptrace(PTRACE_SETREGS, pid, NULL, &regs) != 0)
		return -errno;
	return poke(pid, at, word);
}

/* One instruction; a repeated string instruction with all its repetitions. */
static int
step(pid_t pid, struct user_regs_struct *regs)
{
	uintptr_t pc = regs->rip;
	int rc;

	do {
		rc = resume(pid, PTRACE_SINGLESTEP);
		if (rc == 0)
			rc = registers(pid, regs);
	} while (rc == 0 && regs->rip == pc);
	return rc;
}

void
step_kill(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static pid_t
start(const struct step_target *t)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
			_exit(1);
		raise(SIGSTOP);
		t->run(t->arg);
		_exit(0);
	}
	if (pid < 0)
		return -errno;
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		return -EPERM;
	ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)PTRACE_O_EXITKILL);
	return pid;
}

/* A fresh victim at the marker. */
static pid_t
start_at_marker(const struct step_target *t)
{
	pid_t pid = start(t);
	int rc = pid > 0 ? run_to(pid, t->marker) : pid;

	if (rc == 0)
		return pid;
	if (pid > 0)
		step_kill(pid);
	return rc;
}

/* --------------------------------------------------------------------------------------- record */

static int
trace_add(struct step_trace *trace, size_t *room, uintptr_t pc)
{
	if (trace->n == *room) {
		size_t more = *room != 0 ? 2 * *room : 1024;
		struct step_place *place = realloc(trace->place, more * sizeof(*place));

		if (place == NULL)
			return -ENOMEM;
		trace->place = place;
		*room = more;
	}
	trace->place[trace->n++] = (struct step_place){pc, 0};
	return 0;
}

/* From the marker's first instruction to its return. */
static int
record(const struct step_target *t, const struct ranges *own, pid_t pid, struct step_trace *trace)
{
	struct user_regs_struct regs;
	unsigned long home, back;
	size_t room = 0;
	uint64_t frame;
	int rc = registers(pid, &regs);

	if (rc == 0)
		rc = peek(pid, regs.rsp, &home);
	frame = regs.rsp;
	while (rc == 0 && !(regs.rip == home && regs.rsp > frame)) {
		if (to_step(own, t, regs.rip)) {
			rc = trace_add(trace, &room, regs.rip);
			if (rc == 0)
				rc = step(pid, &regs);
			continue;
		}
		/* At the entry of something that is run through: its return address is on top. */
		rc = peek(pid, regs.rsp, &back);
		if (rc == 0)
			rc = run_to(pid, back);
		if (rc == 0)
			rc = registers(pid, &regs);
	}
	return rc;
}

static int
by_pc(const void *a, const void *b)
{
	const struct step_place *x = *(struct step_place *const *)a;
	const struct step_place *y = *(struct step_place *const *)b;

	if (x->pc != y->pc)
		return x->pc < y->pc ? -1 : 1;
	return x < y ? -1 : x > y;
}

/* How often each place was passed before. */
static int
count_visits(struct step_trace *trace)
{
	struct step_place **sorted = calloc(trace->n + 1, sizeof(*sorted));

	if (sorted == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < trace->n; i++)
		sorted[i] = &trace->place[i];
	qsort(sorted, trace->n, sizeof(*sorted), by_pc);
	for (size_t i = 1; i < trace->n; i++)
		if (sorted[i]->pc == sorted[i - 1]->pc)
			sorted[i]->visit = sorted[i - 1]->visit + 1;
	free(sorted);
	return 0;
}

int
step_record(const struct step_target *t, struct step_trace *trace)
{
	struct ranges own = {.libraries = t->libraries};
	pid_t pid = start_at_marker(t);
	int rc;

	*trace = (struct step_trace){0};
	if (pid < 0)
		return pid;
	dl_iterate_phdr(add_object, &own);
	rc = record(t, &own, pid, trace);
	step_kill(pid);
	if (rc == 0)
		rc = count_visits(trace);
	if (rc != 0)
		free(trace->place);
	return rc;
}

static int
go_to(pid_t pid, const struct step_place *place)
{
	struct user_regs_struct regs;
	uint32_t been = 0;
	int rc;

	for (;;) {
		rc = registers(pid, &regs);
		if (rc == 0 && regs.rip == place->pc) {
			if (been++ == place->visit)
				return 0;
			rc = step(pid, &regs);
		}
		if (rc == 0)
			rc = run_to(pid, place->pc);
		if (rc != 0)
			return rc;
	}
}

pid_t
step_to(const struct step_target *t, const struct step_place *place)
{
	pid_t pid = start_at_marker(t);
	int rc;

	if (pid < 0)
		return pid;
	rc = go_to(pid, place);
	if (rc == 0)
		return pid;
	step_kill(pid);
	return rc;
}

/* -------------------------------------------------------------------------------------- symbols */

/* This program's file, mapped; NULL when it cannot be read. */
static const uint8_t *
own_file(void)
{
	static const uint8_t *file;
	struct stat st;
	void *map;
	int fd;

	if (file != NULL)
		return file;
	fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0) {
		map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (map != MAP_FAILED)
			file = map;
	}
	close(fd);
	return file;
}

static int
first_base(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	*(uintptr_t *)arg = info->dlpi_addr;
	return 1; /* the program itself comes first */
}

static bool
find_symbol(const uint8_t *file, const ElfW(Shdr) * table, const char *names, uintptr_t at,
	    char name[STEP_NAME_LEN])
{
	const ElfW(Sym) *sym = (const ElfW(Sym) *)(file + table->sh_offset);

	for (size_t i = 0; i < table->sh_size / sizeof(*sym); i++) {
		if (ELF64_ST_TYPE(sym[i].st_info) != STT_FUNC || at < sym[i].st_value ||
		    at >= sym[i].st_value + sym[i].st_size)
			continue;
		snprintf(name, STEP_NAME_LEN, "%s+0x%lx", names + sym[i].st_name,
			 (unsigned long)(at - sym[i].st_value));
		return true;
	}
	return false;
}

/* Of a library: "function+0x12" if it exports it, else "library.so+0x1234". */
static void
name_of_library(uintptr_t pc, char name[STEP_NAME_LEN])
{
	const char *of;
	uintptr_t at;
	Dl_info info;

	snprintf(name, STEP_NAME_LEN, "0x%lx", (unsigned long)pc);
	if (dladdr((const void *)pc, &info) == 0)
		return;
	of = strrchr(info.dli_fname, '/');
	of = info.dli_sname != NULL ? info.dli_sname : of != NULL ? of + 1 : info.dli_fname;
	at = (uintptr_t)(info.dli_sname != NULL ? info.dli_saddr : info.dli_fbase);
	snprintf(name, STEP_NAME_LEN, "%.40s+0x%lx", of, (unsigned long)(pc - at));
}

void
step_where(uintptr_t pc, char name[STEP_NAME_LEN])
{
	const uint8_t *file = own_file();
	const ElfW(Ehdr) *elf = (const ElfW(Ehdr) *)file;
	const ElfW(Shdr) * section;
	uintptr_t base = 0;

	name_of_library(pc, name);
	if (file == NULL)
		return;
	dl_iterate_phdr(first_base, &base);
	section = (const ElfW(Shdr) *)(file + elf->e_shoff);
	for (int i = 0; i < elf->e_shnum; i++)
		if (section[i].sh_type == SHT_SYMTAB &&
		    find_symbol(file, &section[i],
				(const char *)file + section[section[i].sh_link].sh_offset,
				pc - base, name))
			return;
}
