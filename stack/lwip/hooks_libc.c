/* SPDX-License-Identifier: BSD-3-Clause */
/* The hooks of uvl.h on the C library, for tests. sys_now() is left to the test: it owns time. */
#include <stdio.h>
#include <stdlib.h>

#include "uvl.h"

void *
uvl_malloc(size_t size)
{
	return malloc(size);
}

void *
uvl_calloc(size_t count, size_t size)
{
	return calloc(count, size);
}

void
uvl_free(void *mem)
{
	free(mem);
}

void *
uvl_tcp_pcb_malloc(size_t size)
{
	return malloc(size);
}

void
uvl_tcp_pcb_free(void *mem)
{
	free(mem);
}

void *
uvl_pbuf_malloc(size_t size)
{
	return malloc(size);
}

void
uvl_pbuf_free(void *mem)
{
	free(mem);
}

void *
uvl_pbuf_trim(void *mem, size_t size)
{
	(void)size;
	return mem;
}

void
uvl_on_assert(const char *message, const char *file, int line)
{
	fprintf(stderr, "lwIP: assertion \"%s\" failed at %s:%d\n", message, file, line);
}
