/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Where fabrics live: RUNDIR/NAME/.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "uvbridge/internal.h"

bool
uvb_name_ok(const char *name)
{
	size_t n = strnlen(name, UVB_NAME_LEN);

	if (n == 0 || n == UVB_NAME_LEN || name[0] == '.')
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)name[i]) && strchr("_.-", name[i]) == NULL)
			return false;
	return true;
}

/* Whoever can write here can be a port of any fabric: it has to be ours, and ours only. */
static int
check_private(const char *path, char err[UVB_ERR_LEN])
{
	struct stat st;

	if (lstat(path, &st) != 0)
		return uvb_fail(err, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return uvb_fail(err, -ENOTDIR, "%s is not a directory: remove it", path);
	if (st.st_uid != geteuid() && geteuid() != 0)
		return uvb_fail(
			err, -EACCES,
			"%s belongs to another user: set UVNET_RUNDIR to a directory of yours",
			path);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return uvb_fail(err, -EACCES, "%s can be written by others: chmod 700 it", path);
	return 0;
}

int
uvb_rundir(char path[PATH_MAX], bool create, char err[UVB_ERR_LEN])
{
	const char *env = getenv("UVNET_RUNDIR");
	int n;

	if (env != NULL && env[0] != '\0')
		n = snprintf(path, PATH_MAX, "%s", env);
	else
		n = snprintf(path, PATH_MAX, "/dev/shm/uvnet-%u", (unsigned)geteuid());
	if (n >= PATH_MAX)
		return uvb_fail(err, -ENAMETOOLONG, "UVNET_RUNDIR is too long");
	if (path[0] != '/')
		return uvb_fail(err, -EINVAL, "UVNET_RUNDIR is \"%s\": give an absolute path",
				path);
	if (create && mkdir(path, 0700) != 0 && errno != EEXIST)
		return uvb_fail(err, -errno, "cannot make %s: %s", path, strerror(errno));
	if (access(path, F_OK) != 0 && !create)
		return 0; /* nothing there is nothing wrong: the caller will not find its fabric */
	return check_private(path, err);
}

int
uvb_fabric_path(const char *fabric, char path[PATH_MAX], char err[UVB_ERR_LEN])
{
	char dir[PATH_MAX];
	int rc;

	if (fabric == NULL || fabric[0] == '\0')
		return uvb_fail(err, -EINVAL, "no fabric named");
	if (fabric[0] == '/') {
		if (snprintf(path, PATH_MAX, "%s", fabric) >= PATH_MAX)
			return uvb_fail(err, -ENAMETOOLONG, "the fabric's path is too long");
		return 0;
	}
	if (!uvb_name_ok(fabric))
		return uvb_fail(
			err, -EINVAL,
			"\"%.40s\" is no name for a fabric: use 1 to %d letters, digits, . _ -, "
			"not starting with a dot",
			fabric, UVB_NAME_LEN - 1);
	rc = uvb_rundir(dir, false, err);
	if (rc != 0)
		return rc;
	if (snprintf(path, PATH_MAX, "%s/%s", dir, fabric) >= PATH_MAX)
		return uvb_fail(err, -ENAMETOOLONG, "UVNET_RUNDIR is too long");
	return 0;
}

int
uvb_fabric_open(const char *fabric, char err[UVB_ERR_LEN])
{
	char path[PATH_MAX];
	int fd, rc = uvb_fabric_path(fabric, path, err);

	if (rc != 0)
		return rc;
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT)
		return uvb_fail(err, -ENOENT, "no fabric at %.150s: `uvbridge up NAME` makes one",
				path);
	if (fd < 0)
		return uvb_fail(err, -errno, "%.180s: %s", path, strerror(errno));
	return fd;
}
