/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The constructor. Without UVS_CONFIG in the environment the library does nothing: the
 * table stays empty and every call goes to the kernel.
 */
#include "stack/posix/posix.h"

__attribute__((constructor(101))) static void
start(void)
{
	const char *config = getenv(UVS_CONF_ENV);

	uvp_real_resolve();
	if (!config || !*config)
		return;
	uvp_table_init();
	if (uvp_table_size == 0)
		return;
	uvp_fork_init();
	uvp_time_init();
}
