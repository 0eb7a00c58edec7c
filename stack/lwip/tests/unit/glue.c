/* SPDX-License-Identifier: BSD-3-Clause */
/* What turns lwIP's own unit tests, written for one global lwIP, into tests of an instance. */
#include <check.h>
#include <stdio.h>

#include "uvl.h"
#include "lwip/mem.h"

/* uvl_init() without lwip_init(). */
void uvl_prepare(struct uvl *mem, struct uvl_secret secret);

static union {
	struct uvl instance;
	char room[1024 * 1024];
} memory __attribute__((aligned(64)));

/* Before main(): the tests call tcpip_init() there, and each test forks from what that left. */
static void __attribute__((constructor)) unit_enter(void)
{
	if (uvl_size() > sizeof(memory)) {
		fprintf(stderr, "the unit tests reserve too little memory for an instance\n");
		abort();
	}
	/* A fixed secret: the tests expect the same run every time. */
	uvl_prepare(&memory.instance, (struct uvl_secret){1, 2});
	uvl_enter(&memory.instance);
}

/* As lwIP does without the hook. */
u32_t
unit_tcp_isn(const ip_addr_t *local_ip, u16_t local_port, const ip_addr_t *remote_ip,
	     u16_t remote_port)
{
	static u32_t iss = 6510;

	(void)local_ip;
	(void)local_port;
	(void)remote_ip;
	(void)remote_port;
	iss += tcp_ticks;
	return iss;
}

/* The tests look into lwIP's heap statistics, so pbufs stay in that heap. */
void *
uvl_pbuf_malloc(size_t size)
{
	return mem_malloc((mem_size_t)size);
}

void
uvl_pbuf_free(void *mem)
{
	mem_free(mem);
}

void *
uvl_pbuf_trim(void *mem, size_t size)
{
	return mem_trim(mem, (mem_size_t)size);
}

void
uvl_on_assert(const char *message, const char *file, int line)
{
	fprintf(stderr, "lwIP: assertion \"%s\" failed at %s:%d\n", message, file, line);
	ck_abort_msg("an lwIP assertion failed");
}
