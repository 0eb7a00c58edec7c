/* SPDX-License-Identifier: BSD-3-Clause */
/* The Internet checksum for lwIP, where the NIC did not do it. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "arch/cc.h"

/*
 * One's complement sum of the bytes as 16-bit words in memory order, folded, not inverted: what
 * lwIP's lwip_standard_chksum() returns, whatever the alignment. Four 64-bit sums of 32-bit words
 * leave the compiler free to vectorise, and cannot overflow for any length lwIP has.
 */
uint16_t
uvl_chksum(const void *data, int length)
{
	const unsigned char *in = data;
	size_t left = (size_t)length;
	uint64_t sum = 0;

	if (left >= 32) {
		uint64_t lane[8] = {0};

		for (; left >= 32; left -= 32, in += 32) {
			uint32_t word[8];

			memcpy(word, in, sizeof(word));
			for (int i = 0; i < 8; i++)
				lane[i] += word[i];
		}
		for (int i = 0; i < 8; i++)
			sum += lane[i];
	}
	for (; left >= 4; left -= 4, in += 4) {
		uint32_t word;

		memcpy(&word, in, sizeof(word));
		sum += word;
	}
	if (left != 0) {
		uint32_t word = 0;

		memcpy(&word, in, left);
		sum += word;
	}
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}
