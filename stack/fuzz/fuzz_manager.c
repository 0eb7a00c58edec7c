/* SPDX-License-Identifier: BSD-3-Clause
 *
 * libFuzzer: the manager's control messages (stack/mgr/clients_play.h), chosen by the input's
 * bytes: who comes, goes and says what, well-formed or not.
 */
#include "stack/core/log.h"
#include "stack/mgr/clients_play.h"

/* Plays are many, and what they log says nothing new. */
void
uvs_log(enum uvs_conf_log level, const char *fmt, ...)
{
	(void)level;
	(void)fmt;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *at;
static size_t left;

/* The input chooses as long as there is some of it. */
static uint32_t
below(uint32_t n)
{
	uint32_t value = 0, bytes = n <= 256 ? 1 : sizeof(value);

	if (left < bytes)
		return n / 2;
	memcpy(&value, at, bytes);
	at += bytes;
	left -= bytes;
	return value % n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	at = data;
	left = size;
	clients_play(below);
	return 0;
}
