/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/core/family.h"
#include "stack/core/clock.h"
#include "stack/core/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <unistd.h>

#define PLACES 256

static struct place {
	int32_t pid, tid; /* tid 0: free; pid is written right after it */
	uint64_t until;
} * page;

/* This process is a child that has joined. */
static bool child;
static _Thread_local struct place *mine __attribute__((tls_model("initial-exec")));

void
uvs_family_prepare(void)
{
	void *p;

	if (page != NULL || uvs_clock_source() == NULL)
		return;
	p = mmap(NULL, PLACES * sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		 -1, 0);
	page = p != MAP_FAILED ? p : NULL;
}

static void
take_place(void)
{
	int32_t none;

	for (struct place *p = page; p < page + PLACES; p++) {
		none = 0;
		if (!__atomic_compare_exchange_n(&p->tid, &none, gettid(), false, __ATOMIC_ACQ_REL,
						 __ATOMIC_RELAXED))
			continue;
		__atomic_store_n(&p->until, UINT64_MAX, __ATOMIC_RELEASE);
		__atomic_store_n(&p->pid, getpid(), __ATOMIC_RELEASE);
		mine = p;
		return;
	}
}

void
uvs_family_join(void)
{
	mine = NULL;
	child = page != NULL;
	if (child)
		take_place();
}

void
uvs_family_leave(void)
{
	if (mine != NULL)
		__atomic_store_n(&mine->tid, 0, __ATOMIC_RELEASE);
	mine = NULL;
	child = false;
}

void
uvs_family_waits(uint64_t until)
{
	if (!child)
		return;
	if (mine == NULL)
		take_place();
	if (mine != NULL)
		__atomic_store_n(&mine->until, until, __ATOMIC_RELEASE);
}

/* As in proc(5), of /proc/PID/task/TID/stat: what stands behind the name in brackets. 0: no more.
 */
static char
state_of(int32_t pid, int32_t tid)
{
	char path[64], text[64 + 32], *end;
	long n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)pid, (int)tid);
	fd = (int)uvs_syscall5(SYS_open, (long)path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
	if (fd < 0)
		return 0;
	n = uvs_sys_read(fd, text, sizeof(text) - 1);
	uvs_sys_close(fd);
	text[n > 0 ? n : 0] = '\0';
	end = strrchr(text, ')');
	return end != NULL && end[1] == ' ' ? end[2] : 0;
}

static uint64_t
waits_until(struct place *p, int32_t tid, uint64_t now)
{
	int32_t pid = __atomic_load_n(&p->pid, __ATOMIC_ACQUIRE);
	uint64_t until = __atomic_load_n(&p->until, __ATOMIC_ACQUIRE);

	switch (state_of(pid, tid)) {
	case 0:
	case 'Z':
	case 'X':
		__atomic_compare_exchange_n(&p->tid, &tid, 0, false, __ATOMIC_ACQ_REL,
					    __ATOMIC_RELAXED);
		return UINT64_MAX;
	case 'S':
	case 'T': /* stopped, by a signal or a debugger */
	case 't':
		return until;
	default:
		return now;
	}
}

uint64_t
uvs_family_next(uint64_t now)
{
	uint64_t first = UINT64_MAX;
	int32_t tid;

	if (page == NULL || child || !uvs_clock_is_virtual())
		return first;
	for (struct place *p = page; p < page + PLACES && first > now; p++) {
		tid = __atomic_load_n(&p->tid, __ATOMIC_ACQUIRE);
		if (tid != 0)
			first = MIN(first, waits_until(p, tid, now));
	}
	return first;
}
