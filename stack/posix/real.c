/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/posix/real.h"

#include <dlfcn.h>

struct uvp_real uvp_real;

const struct uvp_real *
uvp_real_resolve(void)
{
#define UVP_REAL_LOOKUP(name) uvp_real.name = (__typeof__(uvp_real.name))dlsym(RTLD_NEXT, #name);
	UVP_REAL_LIST(UVP_REAL_LOOKUP)
#undef UVP_REAL_LOOKUP
	return &uvp_real;
}

long
uvp_raw_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}
