/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Making a tap interface, in a network namespace if asked, and following what becomes of it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "uvbridge/ports/netns.h"
#include "uvbridge/ports/tapdev.h"

#define TUN_DEVICE "/dev/net/tun"

/* The interface as the ioctls of AF_INET6 name it; its header does not go with netinet/in.h. */
struct address6 {
	struct in6_addr addr;
	uint32_t prefix;
	int ifindex;
};

/* ---------------------------------------------------------------------------------------- queues
 */

static int
open_failed(struct uvp_port *port, const struct uvp_tapdev *tap)
{
	switch (errno) {
	case EPERM:
	case EACCES:
		return uvp_fail(port,
				"making the interface %s needs CAP_NET_ADMIN: run this as "
				"root",
				tap->ifname);
	case EBUSY:
		return uvp_fail(port, "there is an interface %s already: choose another --ifname",
				tap->ifname);
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return uvp_fail(port, "there is no " TUN_DEVICE ": load the kernel's module tun");
	case E2BIG:
		return uvp_fail(port, "the kernel has no more queues for %s: ask for fewer",
				tap->ifname);
	default:
		return uvp_fail(port, "cannot make the interface %s: %s", tap->ifname,
				strerror(errno));
	}
}

static int
open_queue(struct uvp_port *port, struct uvp_tapdev *tap, uint16_t i)
{
	/* IFF_TUN_EXCL: never take over somebody else's interface; the other queues join ours. */
	struct ifreq ifr = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR |
						 IFF_MULTI_QUEUE | (i == 0 ? IFF_TUN_EXCL : 0))};
	unsigned long offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	int header = (int)sizeof(struct virtio_net_hdr);

	memcpy(ifr.ifr_name, tap->ifname, IFNAMSIZ);
	tap->fd[i] = open(TUN_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (tap->fd[i] < 0 || ioctl(tap->fd[i], TUNSETIFF, &ifr) != 0)
		return open_failed(port, tap);
	if (ioctl(tap->fd[i], TUNSETVNETHDRSZ, &header) != 0 ||
	    ioctl(tap->fd[i], TUNSETOFFLOAD, tap->no_offload ? 0 : offload) != 0)
		return uvp_fail(port,
				"the kernel does not know the offloads of a tap interface: "
				"%s",
				strerror(errno));
	return 0;
}

/* ------------------------------------------------------------------------------------- addresses
 */

/* "ADDRESS/PREFIX" taken apart: AF_INET, AF_INET6 or 0. */
static int
parse_address(const char *text, void *addr, uint32_t *prefix)
{
	char host[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	uint64_t n;

	if (slash == NULL || (size_t)(slash - text) >= sizeof(host))
		return 0;
	memcpy(host, text, (size_t)(slash - text));
	host[slash - text] = '\0';
	if (!uvp_number(slash + 1, 0, 128, &n))
		return 0;
	*prefix = (uint32_t)n;
	if (n <= 32 && inet_pton(AF_INET, host, addr) == 1)
		return AF_INET;
	return inet_pton(AF_INET6, host, addr) == 1 ? AF_INET6 : 0;
}

bool
uvp_tapdev_address_ok(const char *text)
{
	struct in6_addr addr;
	uint32_t prefix;

	return parse_address(text, &addr, &prefix) != 0;
}

static int
set_address4(int sock, struct ifreq *ifr, const void *addr, uint32_t prefix)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};

	memcpy(&sin.sin_addr, addr, sizeof(sin.sin_addr));
	memcpy(&ifr->ifr_addr, &sin, sizeof(sin));
	if (ioctl(sock, SIOCSIFADDR, ifr) != 0)
		return -1;
	sin.sin_addr.s_addr = htonl(prefix == 0 ? 0 : UINT32_MAX << (32 - prefix));
	memcpy(&ifr->ifr_netmask, &sin, sizeof(sin));
	return ioctl(sock, SIOCSIFNETMASK, ifr);
}

static int
set_address6(const struct uvp_tapdev *tap, const struct in6_addr *addr, uint32_t prefix)
{
	struct address6 req = {.addr = *addr, .prefix = prefix, .ifindex = tap->ifindex};
	int rc, sock = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (sock < 0)
		return -1;
	rc = ioctl(sock, SIOCSIFADDR, &req);
	close(sock);
	return rc;
}

/* The second IPv4 address of an interface goes on an alias of it, "tap0:1". */
static int
set_address(struct uvp_port *port, const struct uvp_tapdev *tap, int sock, unsigned i)
{
	struct in6_addr addr;
	struct ifreq ifr = {0};
	uint32_t prefix;
	int rc;

	if (i == 0)
		memcpy(ifr.ifr_name, tap->ifname, IFNAMSIZ);
	else
		snprintf(ifr.ifr_name, IFNAMSIZ, "%.13s:%u", tap->ifname, i);
	if (parse_address(tap->address[i], &addr, &prefix) == AF_INET)
		rc = set_address4(sock, &ifr, &addr, prefix);
	else
		rc = set_address6(tap, &addr, prefix);
	return rc == 0 ? 0
		       : uvp_fail(port, "cannot give %s the address %.60s: %s", tap->ifname,
				  tap->address[i], strerror(errno));
}

/* ----------------------------------------------------------------------------------------- set up
 */

static int
set_up_with(struct uvp_port *port, struct uvp_tapdev *tap, int sock)
{
	struct ifreq ifr = {0};
	int rc = 0;

	memcpy(ifr.ifr_name, tap->ifname, IFNAMSIZ);
	ifr.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	memcpy(ifr.ifr_hwaddr.sa_data, port->mac, sizeof(port->mac));
	if (ioctl(sock, SIOCSIFHWADDR, &ifr) != 0)
		return uvp_fail(port, "cannot set the address of %s: %s", tap->ifname,
				strerror(errno));
	ifr.ifr_mtu = port->mtu;
	if (ioctl(sock, SIOCSIFMTU, &ifr) != 0)
		return uvp_fail(port, "%s cannot have an MTU of %u: %s", tap->ifname, port->mtu,
				strerror(errno));
	ifr.ifr_flags = 0;
	if (ioctl(sock, SIOCGIFINDEX, &ifr) == 0)
		tap->ifindex = ifr.ifr_ifindex;
	if (ioctl(sock, SIOCGIFFLAGS, &ifr) == 0)
		ifr.ifr_flags |= IFF_UP;
	if (ioctl(sock, SIOCSIFFLAGS, &ifr) != 0)
		return uvp_fail(port, "cannot bring %s up: %s", tap->ifname, strerror(errno));
	for (unsigned i = 0; rc == 0 && i < tap->nb_addresses; i++)
		rc = set_address(port, tap, sock, i);
	return rc;
}

static int
set_up(struct uvp_port *port, struct uvp_tapdev *tap)
{
	int rc, sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (sock < 0)
		return uvp_fail(port, "cannot make a socket: %s", strerror(errno));
	rc = set_up_with(port, tap, sock);
	close(sock);
	return rc;
}

/* ---------------------------------------------------------------------------------------- watching
 */

/* Ask for the state of the interface; the answer comes like a message that it has changed. */
static void
ask_link(const struct uvp_port *port)
{
	const struct uvp_tapdev *tap = port->self;
	struct {
		struct nlmsghdr hdr;
		struct ifinfomsg info;
	} req = {
		.hdr = {.nlmsg_len = sizeof(req),
			.nlmsg_type = RTM_GETLINK,
			.nlmsg_flags = NLM_F_REQUEST},
		.info = {.ifi_family = AF_UNSPEC, .ifi_index = tap->ifindex},
	};

	if (send(port->watch.fd, &req, sizeof(req), 0) < 0)
		uvp_log(port, "cannot ask for the state of %s: %s", tap->ifname, strerror(errno));
}

static void
set_flag(struct uvb_conf *conf, uint32_t flag, bool on)
{
	conf->flags = on ? conf->flags | flag : conf->flags & ~flag;
}

static void
take_attribute(struct uvp_port *port, struct uvb_conf *conf, const struct rtattr *a)
{
	uint32_t n;

	if (a->rta_type == IFLA_ADDRESS && RTA_PAYLOAD(a) == 6) {
		memcpy(conf->mac[0], RTA_DATA(a), 6);
		return;
	}
	if (RTA_PAYLOAD(a) != sizeof(n))
		return;
	memcpy(&n, RTA_DATA(a), sizeof(n));
	if (a->rta_type == IFLA_PROMISCUITY)
		set_flag(conf, UVB_CONF_PROMISC, n != 0);
	if (a->rta_type != IFLA_MTU)
		return;
	if (n > UVB_FRAME_MAX - 18) {
		uvp_log(port, "the fabric carries no frames for an MTU of %u, only up to %d", n,
			UVB_FRAME_MAX - 18);
		n = UVB_FRAME_MAX - 18;
	}
	conf->mtu = (uint16_t)n;
}

void
uvp_tapdev_gone(struct uvp_port *port)
{
	struct uvp_tapdev *tap = port->self;

	if (!atomic_flag_test_and_set(&tap->gone))
		uvp_log(port, "the interface %s has been removed", tap->ifname);
	uvp_finish(port, UVP_EXIT_FAILED);
}

/* The port is in the fabric what the interface is in the kernel. */
static void
take_link(struct uvp_port *port, const struct nlmsghdr *nh)
{
	const struct ifinfomsg *info = NLMSG_DATA(nh);
	const struct uvp_tapdev *tap = port->self;
	struct uvb_conf conf = port->conf;
	int left = (int)IFLA_PAYLOAD(nh);

	if (nh->nlmsg_len < NLMSG_LENGTH(sizeof(*info)) || info->ifi_index != tap->ifindex)
		return;
	if (nh->nlmsg_type == RTM_DELLINK) {
		uvp_tapdev_gone(port);
		return;
	}
	for (struct rtattr *a = IFLA_RTA(info); RTA_OK(a, left); a = RTA_NEXT(a, left))
		take_attribute(port, &conf, a);
	set_flag(&conf, UVB_CONF_STARTED, info->ifi_flags & IFF_UP);
	if (memcmp(&conf, &port->conf, sizeof(conf)) == 0)
		return;
	port->conf = conf;
	if (uvp_publish(port) != 0)
		uvp_finish(port, UVP_EXIT_FAILED);
}

static void
link_changed(struct uvp_port *port)
{
	_Alignas(struct nlmsghdr) char buf[16384];
	ssize_t n;

	while ((n = recv(port->watch.fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
		unsigned int left = (unsigned int)n;

		for (struct nlmsghdr *nh = (struct nlmsghdr *)buf; NLMSG_OK(nh, left);
		     nh = NLMSG_NEXT(nh, left))
			if (nh->nlmsg_type == RTM_NEWLINK || nh->nlmsg_type == RTM_DELLINK)
				take_link(port, nh);
	}
	if (n < 0 && errno == ENOBUFS) /* some messages are lost: ask how things stand */
		ask_link(port);
}

static int
watch_link(struct uvp_port *port)
{
	struct sockaddr_nl nl = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0 || bind(fd, (struct sockaddr *)&nl, sizeof(nl)) != 0)
		return uvp_fail(port, "cannot watch the interface: %s", strerror(errno));
	port->watch = (struct uvp_watch){.fd = fd, .ready = link_changed};
	return 0;
}

/* ------------------------------------------------------------------------------------------- all
 */

static int
make_here(struct uvp_port *port, struct uvp_tapdev *tap)
{
	int rc = watch_link(port); /* first, so that nothing is missed */

	for (uint16_t i = 0; rc == 0 && i < port->nb_queues; i++)
		rc = open_queue(port, tap, i);
	return rc == 0 ? set_up(port, tap) : rc;
}

int
uvp_tapdev_make(struct uvp_port *port, struct uvp_tapdev *tap)
{
	int rc, home = -1;

	if (tap->ifname[0] == '\0') {
		if (strlen(port->name) >= IFNAMSIZ)
			return uvp_fail(port,
					"its name is too long for an interface: choose an "
					"--ifname of up to %d letters",
					IFNAMSIZ - 1);
		snprintf(tap->ifname, sizeof(tap->ifname), "%s", port->name);
	}
	if (tap->netns == NULL)
		return make_here(port, tap);
	rc = uvp_netns_enter(port, tap->netns, &home);
	if (rc != 0)
		return rc;
	/* Sockets and interface belong to the namespace from now on; this process need not. */
	rc = make_here(port, tap);
	return uvp_netns_leave(port, home) != 0 ? UVP_EXIT_FAILED : rc;
}

void
uvp_tapdev_close(struct uvp_port *port, struct uvp_tapdev *tap)
{
	for (uint16_t i = 0; i < port->nb_queues; i++)
		if (tap->fd[i] >= 0)
			close(tap->fd[i]);
	if (port->watch.fd >= 0)
		close(port->watch.fd);
}
