/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/seen/page.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool
uvs_seen_is_alive(pid_t pid)
{
	char path[64], line[PATH_MAX + 256], file[32];
	bool maps = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	snprintf(file, sizeof(file), "/" UVS_SEEN_DIR "/%d", pid);
	f = fopen(path, "re");
	while (f != NULL && !maps && fgets(line, sizeof(line), f) != NULL)
		maps = strstr(line, file) != NULL;
	if (f != NULL)
		fclose(f);
	return maps;
}

pid_t
uvs_seen_pid_of(const char *file)
{
	char *end;
	long pid = strtol(file, &end, 10);

	return *end == '\0' && pid > 0 && pid <= INT_MAX ? (pid_t)pid : 0;
}

int
uvs_seen_dir(char path[PATH_MAX], bool create, char err[UVS_ERR_LEN])
{
	int rc = uvs_rundir(path, create, err);
	size_t n;

	if (rc < 0)
		return rc;
	n = strlen(path);
	snprintf(path + n, PATH_MAX - n, "/" UVS_SEEN_DIR);
	if (create && mkdir(path, 0700) != 0 && errno != EEXIST)
		return uvs_fail(err, -errno, "cannot make %.180s: %s", path, strerror(errno));
	return 0;
}
