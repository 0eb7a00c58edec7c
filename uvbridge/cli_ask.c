/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Asking a fabric's daemon.
 */
#include <errno.h>
#include <unistd.h>

#include "uvbridge/cli.h"
#include "uvbridge/control.h"

struct uvb_ctl_hdr
cli_ctl_hdr(unsigned type, size_t len)
{
	return (struct uvb_ctl_hdr){UVB_CTL_MAGIC, UVB_CTL_VERSION, (uint16_t)type, (uint32_t)len,
				    UVB_ABI_VERSION};
}

int
cli_ask(const char *fabric, const void *req, size_t len, struct uvb_ctl_answer *ans)
{
	char path[PATH_MAX], err[UVB_ERR_LEN];
	int rc, fd;

	if (uvb_fabric_path(fabric, path, err) != 0)
		return cli_fail("%s", err);
	fd = uvb_control_connect(path, err);
	if (fd < 0)
		return cli_fail("%s", err);
	rc = uvb_control_call(fd, req, len, ans, sizeof(*ans), UVB_CTL_WAIT_MS);
	close(fd);
	if (rc == -ETIMEDOUT)
		return cli_fail("%s: its daemon does not answer: is it stopped?", fabric);
	if (rc != 0)
		return cli_fail("%s: its daemon hung up: %s", fabric, strerror(-rc));
	ans->text[UVB_CTL_TEXT - 1] = '\0';
	return ans->status == 0 ? EXIT_OK : cli_fail("%s: %s", fabric, ans->text);
}
