/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Network namespaces: going into one, and coming back.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include "uvbridge/ports/netns.h"

#define NETNS_DIR "/run/netns"

/* A path as it is; digits: a process; anything else: a name. */
static void
netns_path(const char *netns, char path[PATH_MAX])
{
	if (strchr(netns, '/') != NULL)
		snprintf(path, PATH_MAX, "%s", netns);
	else if (strspn(netns, "0123456789") == strlen(netns))
		snprintf(path, PATH_MAX, "/proc/%s/ns/net", netns);
	else
		snprintf(path, PATH_MAX, NETNS_DIR "/%s", netns);
}

int
uvp_netns_enter(struct uvp_port *port, const char *netns, int *home)
{
	char path[PATH_MAX];
	int fd, rc;

	netns_path(netns, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return uvp_fail(port, "there is no network namespace %.100s: %s", netns,
				strerror(errno));
	*home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	rc = *home >= 0 ? setns(fd, CLONE_NEWNET) : -1;
	close(fd);
	if (rc == 0)
		return 0;
	if (errno == EPERM)
		return uvp_fail(port,
				"entering network namespace %.100s needs CAP_SYS_ADMIN: run "
				"this as root",
				netns);
	return uvp_fail(port, "cannot enter network namespace %.100s: %s", netns, strerror(errno));
}

int
uvp_netns_leave(struct uvp_port *port, int home)
{
	int rc = setns(home, CLONE_NEWNET);

	close(home);
	return rc == 0 ? 0
		       : uvp_fail(port, "cannot leave the network namespace: %s", strerror(errno));
}
