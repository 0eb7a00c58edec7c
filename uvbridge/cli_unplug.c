/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge unplug: take a port away from whoever has it, as one pulls a card.
 */
#include "uvbridge/cli.h"
#include "uvbridge/control.h"

static int
unplug(const char *fabric, const char *port)
{
	struct uvb_ctl_unplug msg = {.hdr = cli_ctl_hdr(UVB_CTL_UNPLUG, sizeof(msg))};
	struct uvb_ctl_answer ans;
	int rc;

	snprintf(msg.name, sizeof(msg.name), "%s", port);
	rc = cli_ask(fabric, &msg, sizeof(msg), &ans);
	if (rc == EXIT_OK)
		printf("port %s is unplugged from fabric %s\n", port, fabric);
	return rc;
}

int
cli_unplug(int argc, char **argv)
{
	static const struct option longs[] = {{NULL, 0, NULL, 0}};

	if (getopt_long(argc, argv, "", longs, NULL) != -1)
		return EXIT_USAGE;
	if (optind + 2 != argc)
		return cli_usage("unplug", "a fabric and a port's name are wanted");
	if (!uvb_name_ok(argv[optind + 1]))
		return cli_fail("\"%.40s\" is no name of a port", argv[optind + 1]);
	return unplug(argv[optind], argv[optind + 1]);
}
