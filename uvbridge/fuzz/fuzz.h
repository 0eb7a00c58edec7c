/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/fuzz/fuzz.h - what the fuzz targets share (libFuzzer; ci/fuzz builds and runs them).
 */
#ifndef UVBRIDGE_FUZZ_H
#define UVBRIDGE_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input, taken from the front. What is not there is zero. */
struct input {
	const uint8_t *data;
	size_t left;
};

static inline size_t
input_bytes(struct input *in, void *to, size_t n)
{
	size_t have = n < in->left ? n : in->left;

	memset(to, 0, n);
	memcpy(to, in->data, have);
	in->data += have;
	in->left -= have;
	return have;
}

static inline uint8_t
input_u8(struct input *in)
{
	uint8_t v;

	input_bytes(in, &v, sizeof(v));
	return v;
}

static inline uint16_t
input_u16(struct input *in)
{
	uint16_t v;

	input_bytes(in, &v, sizeof(v));
	return v;
}

/* The memory is there, whatever it holds. */
static inline void
read_all(const void *data, size_t n)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < n; i++)
		(void)*(const volatile uint8_t *)&p[i];
}

#endif /* UVBRIDGE_FUZZ_H */
