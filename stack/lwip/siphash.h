/* SPDX-License-Identifier: BSD-3-Clause */
/* SipHash-2-4 (Aumasson, Bernstein), 64-bit output. */
#ifndef UVL_SIPHASH_H
#define UVL_SIPHASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t
uvl_rotl64(uint64_t x, unsigned int n)
{
	return x << n | x >> (64 - n);
}

static inline void
uvl_sipround(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = uvl_rotl64(v[1], 13) ^ v[0];
	v[0] = uvl_rotl64(v[0], 32);
	v[2] += v[3];
	v[3] = uvl_rotl64(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = uvl_rotl64(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = uvl_rotl64(v[1], 17) ^ v[2];
	v[2] = uvl_rotl64(v[2], 32);
}

static inline uint64_t
uvl_siphash(uint64_t k0, uint64_t k1, const void *data, size_t length)
{
	const unsigned char *in = data;
	uint64_t v[4] = {
		k0 ^ 0x736f6d6570736575,
		k1 ^ 0x646f72616e646f6d,
		k0 ^ 0x6c7967656e657261,
		k1 ^ 0x7465646279746573,
	};
	uint64_t word;
	size_t left;

	for (left = length; left >= 8; left -= 8, in += 8) {
		memcpy(&word, in, 8);
		v[3] ^= word;
		uvl_sipround(v);
		uvl_sipround(v);
		v[0] ^= word;
	}
	word = (uint64_t)length << 56;
	for (size_t i = 0; i < left; i++)
		word |= (uint64_t)in[i] << (8 * i);
	v[3] ^= word;
	uvl_sipround(v);
	uvl_sipround(v);
	v[0] ^= word;
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		uvl_sipround(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif /* UVL_SIPHASH_H */
