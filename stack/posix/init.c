/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The constructor, and the log. Without UVS_CONFIG in the environment the library does nothing: the
 * table stays empty and every call goes to the kernel.
 */
#include "stack/posix/posix.h"

void
uvp_log(const char *fmt, ...)
{
	char line[512];
	int n, m, saved = errno;
	va_list ap;

	n = snprintf(line, sizeof(line), "uvnet[%d]: ", (int)getpid());
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	n += m < 0 ? 0 : m;
	if (n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n++] = '\n';
	if (R(write)(STDERR_FILENO, line, (size_t)n) < 0)
		errno = saved;
	errno = saved;
}

__attribute__((constructor(101))) static void
start(void)
{
	const char *config = getenv("UVS_CONFIG");

	uvp_real_resolve();
	if (!config || !*config)
		return;
	uvp_table_init();
	if (uvp_table_size != 0)
		uvp_fork_init();
}
