/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/core/log.h"
#include "stack/core/clock.h"
#include "stack/core/fds.h"
#include "stack/core/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

static const char *const level_names[] = {"error", "warning", "notice", "info", "debug"};

static struct {
	int fd;
	uint32_t level;
} log_to = {.fd = STDERR_FILENO, .level = UVS_LOG_WARNING};

void
uvs_log_expand(const char *path, char *out, size_t len)
{
	const char *p = strstr(path, "%p");

	if (p == NULL)
		snprintf(out, len, "%s", path);
	else
		snprintf(out, len, "%.*s%d%s", (int)(p - path), path, getpid(), p + 2);
}

void
uvs_log_setup(const struct uvs_conf *c)
{
	char path[UVS_CONF_STR + 16];
	int fd;

	log_to.level = c->log_level;
	if (c->log_file[0] == '\0' || log_to.fd != STDERR_FILENO)
		return;
	uvs_log_expand(c->log_file, path, sizeof(path));
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0) {
		uvs_log(UVS_LOG_WARNING, "log_file %s: %s; logging to standard error", path,
			strerror(errno));
		return;
	}
	log_to.fd = uvs_fd_adopt(fd);
}

bool
uvs_log_wants(enum uvs_conf_log level)
{
	return level <= log_to.level;
}

int
uvs_log_fd(void)
{
	return log_to.fd;
}

void
uvs_log(enum uvs_conf_log level, const char *fmt, ...)
{
	uint64_t now = uvs_clock_ns();
	int saved = errno;
	char line[1024];
	va_list ap;
	int n;

	if (!uvs_log_wants(level))
		return;
	n = snprintf(line, sizeof(line), "uvstack[%d] %llu.%06llu %s: ", getpid(),
		     (unsigned long long)(now / UVS_NS_PER_S),
		     (unsigned long long)(now / UVS_NS_PER_US % 1000000), level_names[level]);
	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n++] = '\n';
	uvs_sys_write(log_to.fd, line, (size_t)n);
	errno = saved;
}
