/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/share/hostdir.h"
#include "stack/share/proto.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int
uvs_fail(char err[UVS_ERR_LEN], int rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, UVS_ERR_LEN, fmt, ap);
	va_end(ap);
	return rc;
}

bool
uvs_host_name_ok(const char *name)
{
	size_t n = strlen(name);

	if (name[0] == '/')
		return n < UVS_PROTO_PATH - 16;
	if (n == 0 || n >= UVS_HOST_NAME || name[0] == '.')
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)name[i]) && strchr("_.-", name[i]) == NULL)
			return false;
	return true;
}

static int
not_ours(const char *path, char err[UVS_ERR_LEN])
{
	return uvs_fail(
		err, -EACCES,
		"the host at %.120s is another user's, and a host is its user's alone: be that "
		"user, or start a manager of your own (uvstackd, with another host = NAME)",
		path);
}

/* Whoever can write here can say that he is the manager. */
static int
check_private(const char *path, char err[UVS_ERR_LEN])
{
	struct stat st;

	if (lstat(path, &st) != 0)
		return errno == EACCES ? not_ours(path, err)
				       : uvs_fail(err, -errno, "%.180s: %s", path, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return uvs_fail(err, -ENOTDIR, "%.180s is not a directory: remove it", path);
	if (st.st_uid != geteuid() && geteuid() != 0)
		return not_ours(path, err);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return uvs_fail(err, -EACCES, "%.150s can be written by others: chmod 700 it",
				path);
	return 0;
}

static int
make_private(const char *path, bool create, char err[UVS_ERR_LEN])
{
	if (create && mkdir(path, 0700) != 0 && errno != EEXIST)
		return uvs_fail(err, -errno, "cannot make %.180s: %s", path, strerror(errno));
	if (!create && access(path, F_OK) != 0 && errno != EACCES)
		return 0; /* what is not there is not wrong: the caller will not find its host */
	return check_private(path, err);
}

int
uvs_rundir(char path[PATH_MAX], bool create, char err[UVS_ERR_LEN])
{
	const char *env = getenv("UVSTACK_RUNDIR");
	int n;

	if (env != NULL && env[0] != '\0')
		n = snprintf(path, PATH_MAX, "%s", env);
	else
		n = snprintf(path, PATH_MAX, "/dev/shm/uvstack-%u", (unsigned int)geteuid());
	if (n >= UVS_PROTO_PATH - UVS_HOST_NAME || path[0] != '/')
		return uvs_fail(err, -EINVAL,
				"UVSTACK_RUNDIR has to be an absolute path of fewer than %d bytes",
				UVS_PROTO_PATH - UVS_HOST_NAME);
	return make_private(path, create, err);
}

int
uvs_host_path(const char *name, char path[PATH_MAX], bool create, char err[UVS_ERR_LEN])
{
	char dir[PATH_MAX];
	int rc;

	if (!uvs_host_name_ok(name))
		return uvs_fail(err, -EINVAL,
				"\"%.40s\" is no name for a host: use 1 to %d letters, digits, . _ "
				"-, not starting with a dot, or an absolute path",
				name, UVS_HOST_NAME - 1);
	if (name[0] == '/') {
		snprintf(path, PATH_MAX, "%s", name);
		return make_private(path, create, err);
	}
	rc = uvs_rundir(dir, create, err);
	if (rc == 0 && snprintf(path, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
		rc = uvs_fail(err, -ENAMETOOLONG, "the path of host %s is too long", name);
	return rc == 0 ? make_private(path, create, err) : rc;
}

static int
open_host(const char *name, char path[PATH_MAX], char err[UVS_ERR_LEN])
{
	int rc = uvs_host_path(name, path, false, err), fd;

	if (rc < 0)
		return rc;
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT)
		return uvs_fail(err, -ENOENT,
				"there is no host at %.120s: start its manager, uvstackd --config "
				"FILE",
				path);
	return fd >= 0 ? fd : uvs_fail(err, -errno, "%.180s: %s", path, strerror(errno));
}

int
uvs_host_connect(const char *name, char err[UVS_ERR_LEN])
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	char path[PATH_MAX];
	int dir = open_host(name, path, err), fd, rc;

	if (dir < 0)
		return dir;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		rc = -errno;
		close(dir);
		return uvs_fail(err, rc, "no socket: %s", strerror(-rc));
	}
	/* However long the path is. */
	snprintf(sun.sun_path, sizeof(sun.sun_path), "/proc/self/fd/%d/" UVS_HOST_SOCKET, dir);
	rc = connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0 ? 0 : -errno;
	close(dir);
	if (rc == 0)
		return fd;
	close(fd);
	if (rc == -EACCES)
		return not_ours(path, err);
	if (rc == -ECONNREFUSED || rc == -ENOENT)
		return uvs_fail(err, rc,
				"the manager of the host at %.120s does not run: start it, "
				"uvstackd --config FILE",
				path);
	return uvs_fail(err, rc, "%.180s: %s", path, strerror(-rc));
}
