/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A process whose NIC brings its driver along does without DPDK's own; but a manager, which others
 * may attach to that have them.
 *
 * Where EAL is a shared library it loads whatever is in the directory that it was built with: 128
 * libraries in Debian's, a hundred milliseconds and 60 MB for nothing, before every start. No
 * option says otherwise. But it first asks if there is that directory; here, in the library that is
 * loaded first, stat64() comes before the C library's, and for as long as EAL starts there is none.
 */
#include "stack/core/eal.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define EXPORT __attribute__((visibility("default")))

__thread bool uvs_eal_own_driver __attribute__((tls_model("initial-exec")));

/* RTE_EAL_PMD_PATH, which programs are not told, ends in dpdk/pmds-VERSION. */
static bool
is_of_drivers(const char *path)
{
	return strstr(path, "/dpdk/pmds-") != NULL;
}

EXPORT int
stat64(const char *path, struct stat64 *st)
{
	static __typeof__(&stat64) next;

	if (__builtin_expect(uvs_eal_own_driver, false) && is_of_drivers(path)) {
		errno = ENOENT;
		return -1;
	}
	if (next == NULL)
		next = (__typeof__(&stat64))dlsym(RTLD_NEXT, "stat64");
	return next(path, st);
}
