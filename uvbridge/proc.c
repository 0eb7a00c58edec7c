/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What /proc says of a process.
 */
#include <errno.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "uvbridge/proc.h"

/* State (field 3) and start time (field 22) of a process. */
static bool
read_stat(pid_t pid, char *state, uint64_t *start)
{
	char path[64], line[1024];
	unsigned long long ticks;
	char *p;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	p = fgets(line, sizeof(line), f);
	fclose(f);
	/* Field 2, the name, may hold anything: count from its closing bracket. */
	p = p != NULL ? strrchr(line, ')') : NULL;
	if (p == NULL ||
	    sscanf(p + 1,
		   " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
		   "%*d %llu",
		   state, &ticks) != 2)
		return false;
	*start = ticks;
	return true;
}

uint64_t
uvb_proc_start(pid_t pid)
{
	uint64_t start;
	char state;

	return read_stat(pid, &state, &start) ? start : 0;
}

bool
uvb_proc_alive(pid_t pid, uint64_t start)
{
	uint64_t have;
	char state;

	return pid > 0 && read_stat(pid, &state, &have) && have == start && state != 'Z' &&
	       state != 'X';
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
