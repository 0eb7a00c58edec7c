/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Directories of test programs, see scratch.h.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "uvbridge/proc.h"
#include "uvbridge/scratch.h"

#define PLACE  "/dev/shm"
#define PREFIX "uvnet-unit-"

void
uvb_scratch_remove(const char *path)
{
	char inside[PATH_MAX];
	struct dirent *e;
	DIR *d = opendir(path);

	while (d != NULL && (e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (snprintf(inside, sizeof(inside), "%s/%s", path, e->d_name) <
			    (int)sizeof(inside) &&
		    unlink(inside) != 0)
			uvb_scratch_remove(inside);
	}
	if (d != NULL)
		closedir(d);
	rmdir(path);
}

/* Of a process that is no more? Names are PREFIX PID-START-XXXXXX, see uvb_proc_start(). */
static int
abandoned(const char *name)
{
	unsigned long long start;
	int pid, n = 0;

	return sscanf(name, PREFIX "%d-%llu-%n", &pid, &start, &n) == 2 && n > 0 &&
	       !uvb_proc_alive(pid, start);
}

static void
remove_abandoned(void)
{
	char path[sizeof(PLACE) + NAME_MAX + 1];
	struct dirent *e;
	DIR *d = opendir(PLACE);

	while (d != NULL && (e = readdir(d)) != NULL) {
		if (!abandoned(e->d_name))
			continue;
		snprintf(path, sizeof(path), PLACE "/%s", e->d_name);
		uvb_scratch_remove(path);
	}
	if (d != NULL)
		closedir(d);
}

int
uvb_scratch_make(char path[UVB_SCRATCH_LEN])
{
	remove_abandoned();
	snprintf(path, UVB_SCRATCH_LEN, PLACE "/" PREFIX "%d-%llu-XXXXXX", (int)getpid(),
		 (unsigned long long)uvb_proc_start(getpid()));
	return mkdtemp(path) != NULL ? 0 : -errno;
}
