/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What /proc says of a process.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "uvbridge/proc.h"

uint64_t
uvb_proc_start(pid_t pid)
{
	char path[64], line[1024];
	char *p;
	unsigned long long start = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (f == NULL)
		return 0;
	p = fgets(line, sizeof(line), f);
	fclose(f);
	/* Field 2, the name, may hold anything: count from its closing bracket. */
	p = p != NULL ? strrchr(line, ')') : NULL;
	if (p != NULL &&
	    sscanf(p + 1,
		   " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
		   "%*d %llu",
		   &start) != 1)
		start = 0;
	return start;
}

bool
uvb_proc_alive(pid_t pid, uint64_t start)
{
	return pid > 0 && uvb_proc_start(pid) == start && start != 0;
}

enum uvb_maps
uvb_proc_maps(pid_t pid, int fd)
{
	char path[64], line[PATH_MAX + 256];
	unsigned int major, minor;
	unsigned long inode;
	enum uvb_maps found = UVB_MAPS_NO;
	struct stat st;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	if (fstat(fd, &st) != 0)
		return UVB_MAPS_UNKNOWN;
	f = fopen(path, "re");
	if (f == NULL)
		return errno == ENOENT || errno == ESRCH ? UVB_MAPS_NO : UVB_MAPS_UNKNOWN;
	while (found == UVB_MAPS_NO && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "%*s %*s %*s %x:%x %lu", &major, &minor, &inode) == 3 &&
		    inode == st.st_ino && makedev(major, minor) == st.st_dev)
			found = UVB_MAPS_YES;
	if (ferror(f) && errno != ESRCH)
		found = UVB_MAPS_UNKNOWN;
	fclose(f);
	return found;
}
