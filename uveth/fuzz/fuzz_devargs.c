/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Fuzzing uveth's devargs: the input is the text after "net_uveth0,". What is accepted is within
 * bounds; what is not leaves nothing behind.
 */
#include "uveth/uveth.c"

#include "uvbridge/fuzz/fuzz.h"

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	rte_log_set_global_level(RTE_LOG_EMERG);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct uveth_args args = {0};
	char *text = malloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	if (args_parse(text, &args) == 0)
		read_all(&args, sizeof(args));
	free(text);
	return 0;
}
