/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The page of a process: a file in memory that anybody of the same user maps. */
#include "stack/seen/page.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stack/lwip/uvl.h"

static struct {
	char path[PATH_MAX + 16];
	pid_t pid; /* whose it is: not a forked child's */
} page;

/* ---------------------------------------------------------------------------------- of the dead */

struct dead {
	char name[16];
	int64_t since;
};

static int
newest_first(const void *a, const void *b)
{
	const struct dead *x = a, *y = b;

	return (x->since < y->since) - (x->since > y->since);
}

/* Nobody waits for a process that was killed: who starts clears up, within limits. Two who do so at
 * once remove the same files. */
static void
forget_old(const char *dir)
{
	struct dead dead[256];
	struct dirent *e;
	struct stat st;
	size_t n = 0;
	DIR *d = opendir(dir);

	while (d != NULL && (e = readdir(d)) != NULL && n < sizeof(dead) / sizeof(dead[0])) {
		pid_t pid = uvs_seen_pid_of(e->d_name);

		if (pid == 0 || uvs_seen_is_alive(pid) || fstatat(dirfd(d), e->d_name, &st, 0) != 0)
			continue;
		snprintf(dead[n].name, sizeof(dead[n].name), "%d", pid);
		dead[n++].since = st.st_ctim.tv_sec * 1000000000LL + st.st_ctim.tv_nsec;
	}
	qsort(dead, n, sizeof(dead[0]), newest_first);
	for (size_t i = UVS_SEEN_DEAD; i < n; i++)
		unlinkat(dirfd(d), dead[i].name, 0);
	if (d != NULL)
		closedir(d);
}

/* --------------------------------------------------------------------------------------- our own
 */

static void *
map_new(const char *path, size_t size)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	void *p = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, (off_t)size) == 0)
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	return p != MAP_FAILED ? p : NULL;
}

struct uvs_seen *
uvs_seen_make(const struct uvs_conf *c, char err[UVS_ERR_LEN])
{
	struct uvs_seen *s;
	char dir[PATH_MAX];

	if (uvs_seen_dir(dir, true, err) < 0)
		return NULL;
	forget_old(dir);
	snprintf(page.path, sizeof(page.path), "%s/%d", dir, getpid());
	unlink(page.path); /* of an earlier process of this number */
	s = map_new(page.path, UVS_SEEN_LWIP + uvl_size());
	if (s == NULL) {
		uvs_fail(err, -errno, "%.180s: %s", page.path, strerror(errno));
		return NULL;
	}
	page.pid = getpid();
	uvs_seen_begin(s, c);
	return s;
}

void
uvs_seen_remove(void)
{
	if (page.pid == getpid())
		unlink(page.path);
	page.pid = 0;
}
