/* SPDX-License-Identifier: BSD-3-Clause */
/* lwIP's view of the compiler and the machine. */
#ifndef UVL_ARCH_CC_H
#define UVL_ARCH_CC_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/time.h>

#define LWIP_TIMEVAL_PRIVATE  0
#define LWIP_ERRNO_STDINCLUDE 1

/* Builtins: lwIP's default is a function call per conversion, in the hot path. */
#if BYTE_ORDER != LITTLE_ENDIAN
#error "written for little-endian machines"
#endif
#define lwip_htons(x) ((u16_t)__builtin_bswap16(x))
#define lwip_ntohs(x) ((u16_t)__builtin_bswap16(x))
#define lwip_htonl(x) ((u32_t)__builtin_bswap32(x))
#define lwip_ntohl(x) ((u32_t)__builtin_bswap32(x))

#define PACK_STRUCT_STRUCT __attribute__((packed))

uint32_t uvl_rand(void);
uint16_t uvl_chksum(const void *data, int length);
void uvl_assert_failed(const char *message, const char *file, int line) __attribute__((cold));

#define LWIP_RAND() uvl_rand()
#define LWIP_CHKSUM uvl_chksum

/* Counts and logs; never ends the process, since what a packet holds can make an assert fail. */
#define LWIP_PLATFORM_ASSERT(message)                           \
	do {                                                    \
		uvl_assert_failed(message, __FILE__, __LINE__); \
	} while (0)

#endif /* UVL_ARCH_CC_H */
