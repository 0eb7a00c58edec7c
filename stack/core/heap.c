/* SPDX-License-Identifier: BSD-3-Clause
 *
 * rte_malloc() and its like, in an application beside a manager: the process's own memory.
 *
 * EAL's heap is in shared memory under a lock that all processes share. Who is killed holding it
 * stops all others, and what a process that is gone had allocated is nobody's to free; EAL alone
 * leaves 150 KB for each. A process of a shared host has nothing to share but what the manager made
 * beforehand. So here, in the library that is loaded first, these functions come before EAL's. In a
 * process that has its NIC to itself they are EAL's.
 *
 * A thread's trace buffer EAL takes from its heap by a function that cannot be replaced, and from
 * the process's own memory where the heap has none. It has none, and its lock is not taken, on a
 * socket that does not exist; which one it is EAL asks rte_socket_id(). */
#include "stack/core/eal.h"

#include <dlfcn.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_trace_point.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

bool uvs_heap_private;

/* EAL's own function of that name. */
#define EALS(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

static void *
private_alloc(size_t size, unsigned int align)
{
	void *p;

	if (align < RTE_CACHE_LINE_SIZE)
		align = RTE_CACHE_LINE_SIZE;
	if (posix_memalign(&p, align, size) != 0)
		return NULL;
	memset(p, 0, size);
	return p;
}

EXPORT void *
rte_malloc_socket(const char *type, size_t size, unsigned int align, int socket)
{
	if (uvs_heap_private)
		return private_alloc(size, align);
	return EALS(rte_malloc_socket)(type, size, align, socket);
}

EXPORT void *
rte_zmalloc_socket(const char *type, size_t size, unsigned int align, int socket)
{
	if (uvs_heap_private)
		return private_alloc(size, align);
	return EALS(rte_zmalloc_socket)(type, size, align, socket);
}

EXPORT void *
rte_calloc_socket(const char *type, size_t num, size_t size, unsigned int align, int socket)
{
	if (uvs_heap_private)
		return num != 0 && size > SIZE_MAX / num ? NULL : private_alloc(num * size, align);
	return EALS(rte_calloc_socket)(type, num, size, align, socket);
}

EXPORT void *
rte_malloc(const char *type, size_t size, unsigned int align)
{
	return rte_malloc_socket(type, size, align, SOCKET_ID_ANY);
}

EXPORT void *
rte_zmalloc(const char *type, size_t size, unsigned int align)
{
	return rte_zmalloc_socket(type, size, align, SOCKET_ID_ANY);
}

EXPORT void *
rte_calloc(const char *type, size_t num, size_t size, unsigned int align)
{
	return rte_calloc_socket(type, num, size, align, SOCKET_ID_ANY);
}

EXPORT void
rte_free(void *p)
{
	if (uvs_heap_private)
		free(p);
	else
		EALS(rte_free)(p);
}

#define NO_SOCKET ((unsigned int)RTE_MAX_NUMA_NODES * 1024)

static __thread bool in_trace_buffer __attribute__((tls_model("initial-exec")));

EXPORT void
__rte_trace_mem_per_thread_alloc(void) /* NOLINT(bugprone-reserved-identifier): EAL's name */
{
	in_trace_buffer = uvs_heap_private;
	EALS(__rte_trace_mem_per_thread_alloc)();
	in_trace_buffer = false;
}

EXPORT unsigned int
rte_socket_id(void)
{
	return in_trace_buffer ? NO_SOCKET : EALS(rte_socket_id)();
}
