/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Every configuration key, once. */
#include "stack/conf/conf.h"

#define AT(member) offsetof(struct uvs_conf, member)

static const char *const names_model[] = {"shared", "separate", NULL};
static const char *const names_app_cpus[] = {"any", "others", NULL};
static const char *const names_app_clock[] = {"fabric", "kernel", NULL};
static const char *const names_mode[] = {"exclusive", "shared", NULL};
static const char *const names_congestion[] = {"cubic", "reno", NULL};
static const char *const names_ecn[] = {"no", "yes", "if-asked", NULL};
static const char *const names_poll[] = {"adaptive", "busy", "interrupt", NULL};
static const char *const names_loopback[] = {"kernel", "stack", NULL};
static const char *const names_tristate[] = {"auto", "no", "yes", NULL};
static const char *const names_yes[] = {"no", "yes", NULL};
static const char *const names_log[] = {"error", "warning", "notice", "info", "debug", NULL};

static const char *
check_nic(const struct uvs_conf *c)
{
	struct uvs_conf_eal_nic unused;

	return uvs_conf_nic(c, &unused);
}

static const char *
check_mac(const struct uvs_conf *c)
{
	return c->mac.set && (c->mac.bytes[0] & 1) ? "is a multicast address" : NULL;
}

static const char *
bad_host4(const struct uvs_conf_net *n)
{
	uint32_t host = ntohl(n->v4.s_addr);

	if (host >> 24 == 0 || host >> 24 == 127 || host >> 28 >= 0xe)
		return "is not a unicast address a host can have";
	if (n->prefix == 0)
		return "the prefix must be 1 to 32";
	if (n->prefix < 31) {
		uint32_t low = host & (0xffffffffu >> n->prefix);

		if (low == 0 || low == 0xffffffffu >> n->prefix)
			return "is the network's own or its broadcast address";
	}
	return NULL;
}

static const char *
check_address(const struct uvs_conf *c)
{
	const char *bad = NULL;

	if (c->addresses.automatic && c->addresses.n != 0)
		return "dhcp gives the address: none beside it";
	for (unsigned int i = 0; bad == NULL && i < c->addresses.n; i++)
		bad = bad_host4(&c->addresses.net[i]);
	return bad;
}

static const char *
check_address6(const struct uvs_conf *c)
{
	for (unsigned int i = 0; i < c->addresses6.n; i++) {
		const struct in6_addr *a = &c->addresses6.net[i].v6;

		if (IN6_IS_ADDR_MULTICAST(a) || IN6_IS_ADDR_UNSPECIFIED(a) ||
		    IN6_IS_ADDR_LOOPBACK(a) || IN6_IS_ADDR_V4MAPPED(a))
			return "is not a unicast address a host can have";
		if (c->addresses6.net[i].prefix == 0)
			return "the prefix must be 1 to 128";
	}
	return NULL;
}

static const char *
check_gateway6(const struct uvs_conf *c)
{
	const struct in6_addr *a = &c->gateway6.v6;

	return IN6_IS_ADDR_MULTICAST(a) || IN6_IS_ADDR_UNSPECIFIED(a) || IN6_IS_ADDR_LOOPBACK(a)
		       ? "is not a unicast address a router can have"
		       : NULL;
}

static const char *
check_gateway(const struct uvs_conf *c)
{
	uint32_t host = ntohl(c->gateway.addr.s_addr);

	return host >> 24 == 0 || host >> 24 == 127 || host >> 28 >= 0xe
		       ? "is not a unicast address a router can have"
		       : NULL;
}

static const char *
check_stacks(const struct uvs_conf *c)
{
	if (c->stacks == 1)
		return NULL;
	if (c->mode == UVS_MODE_SHARED)
		return c->stacks > c->slots ? "are more than the host has slots" : NULL;
	return c->queues != c->stacks ? "each has a queue: queues must be the same number" : NULL;
}

static const char *
check_cpus(const struct uvs_conf *c)
{
	cpu_set_t unused;

	if (c->cpus[0] != '\0' && c->model != UVS_MODEL_SEPARATE)
		return "places the stack's threads, and there are none without model = separate";
	return uvs_conf_cpus(c, &unused);
}

static const char *
check_app_cpus(const struct uvs_conf *c)
{
	return c->app_cpus == UVS_APP_CPUS_OTHERS && c->cpus[0] == '\0' ? "needs cpus" : NULL;
}

/* clang-format off */
const struct uvs_conf_key uvs_conf_keys[] = {
	{"nic", UVS_CONF_STRING, AT(nic), "", 0, 0, NULL, "Network",
	 "The port. One of: uveth:fabric=NAME[,name=PORT][,...]; tap:NAME[,...]; "
	 "af_packet:iface=IF[,...]; ring[:...]; pci:BDF[,...]. What follows the colon is given to "
	 "the driver as its arguments. Required.", check_nic},
	{"plugin", UVS_CONF_STRING, AT(plugin), "", 0, 0, NULL, "Network",
	 "Driver to load before the port is probed: a shared object. For nic = uveth it is "
	 "librte_net_uveth.so, found beside the library unless given here.", NULL},
	{"mac", UVS_CONF_MAC, AT(mac), "", 0, 0, NULL, "Network",
	 "The port's Ethernet address, aa:bb:cc:dd:ee:ff. Empty: the device's own.", check_mac},
	{"queues", UVS_CONF_UINT, AT(queues), "1", 1, 64, NULL, "Network",
	 "Receive and transmit queues to use; RSS spreads connections over them. Fewer if the "
	 "device has fewer.", NULL},
	{"address", UVS_CONF_NETS4, AT(addresses), "", 0, 0, NULL, "Network",
	 "IPv4 addresses with their prefixes, or dhcp: the one that a server leases, with its router. "
	 "Required, unless address6 is given.",
	 check_address},
	{"address_probe", UVS_CONF_ENUM, AT(address_probe), "no", 0, 0, names_yes, "Network",
	 "yes: IPv4 addresses are asked for before they are used (RFC 5227); the program's first call "
	 "waits for that, four to seven seconds, and one that another host has is not used. no: used at "
	 "once and asked for meanwhile, as IPv6's are. Either way a conflict is logged, and the address "
	 "defended.", NULL},
	{"address6", UVS_CONF_NETS6, AT(addresses6), "", 0, 0, NULL, "Network",
	 "IPv6 addresses with their prefixes; auto: those that routers advertise (SLAAC). Either brings "
	 "the link-local address along. Empty: no IPv6, and such addresses are the kernel's.",
	 check_address6},
	{"gateway", UVS_CONF_ADDR, AT(gateway), "", 0, 0, NULL, "Network",
	 "Router for everything outside the prefix. Empty: none, and such addresses are the "
	 "kernel's.", check_gateway},
	{"gateway6", UVS_CONF_ADDR6, AT(gateway6), "", 0, 0, NULL, "Network",
	 "Router for IPv6 addresses outside the prefixes. Empty: those that routers advertise, if any "
	 "do.", check_gateway6},
	{"route", UVS_CONF_ROUTE, AT(routes), "", 0, 0, NULL, "Network",
	 "Networks behind other routers, both families: 10.9.0.0/16 via 10.0.0.3, fd09::/48 via fe80::3. "
	 "The longest prefix wins.", NULL},
	{"vlan", UVS_CONF_VLAN, AT(vlans), "", 0, 0, NULL, "Network",
	 "Interfaces for tagged frames, uv0.ID, each with addresses of both families and routers: "
	 "100 10.1.0.5/24 fd01::5/64 via 10.1.0.1, 200 10.2.0.5/24. Not with mode = shared.", NULL},
	{"mtu", UVS_CONF_UINT, AT(mtu), "1500", 68, 9216, NULL, "Network",
	 "Largest IP packet in bytes. Above 1900 packet buffers grow with it.", NULL},
	{"loopback", UVS_CONF_ENUM, AT(loopback), "kernel", 0, 0, names_loopback, "Network",
	 "Who owns 127.0.0.0/8. kernel: sockets for it are ordinary kernel sockets; "
	 "stack: they are the stack's.", NULL},

	{"mode", UVS_CONF_ENUM, AT(mode), "exclusive", 0, 0, names_mode, "Processes",
	 "Who uses the port. exclusive: each process its own; shared: all processes of this "
	 "configuration the same, which uvstackd has.", NULL},
	{"host", UVS_CONF_STRING, AT(host), "", 0, 0, NULL, "Processes",
	 "With mode = shared: name of the host that uvstackd manages, or the absolute path of its "
	 "directory. Required then.", NULL},
	{"slots", UVS_CONF_UINT, AT(slots), "8", 1, 60, NULL, "Processes",
	 "With mode = shared: how many stack threads all processes of the host may have together.",
	 NULL},
	{"connections", UVS_CONF_UINT, AT(connections), "4096", 16, 1048576, NULL, "Processes",
	 "With mode = shared: TCP connections of a stack thread, TIME_WAIT included.", NULL},
	{"huge_dir", UVS_CONF_STRING, AT(huge_dir), "", 0, 0, NULL, "Processes",
	 "With mode = shared: the hugetlbfs of the memory. Empty: the first that is mounted.", NULL},

	{"model", UVS_CONF_ENUM, AT(model), "shared", 0, 0, names_model, "Running",
	 "Who runs the stack. shared: the application's own threads, while they wait (run to "
	 "completion); separate: a thread of its own, which the application's threads call.", NULL},
	{"stacks", UVS_CONF_UINT, AT(stacks), "1", 1, 16, NULL, "Running",
	 "How many stacks a process runs, each with a queue of its own and, with model = separate, a "
	 "thread: queues must be the same number (mode = shared: each takes a slot). Connections are "
	 "spread over them by RSS; every thread may use every socket. mbufs and the limits are each "
	 "one's own.", check_stacks},
	{"cpus", UVS_CONF_STRING, AT(cpus), "", 0, 0, NULL, "Running",
	 "With model = separate: the CPUs of the stack's threads, the first thread on the first one "
	 "and so on: a list such as 2,4-7, or numa:NODE. Empty: anywhere.", check_cpus},
	{"app_cpus", UVS_CONF_ENUM, AT(app_cpus), "any", 0, 0, names_app_cpus, "Running",
	 "Where the application's own threads may run. others: not on those of cpus; they are moved "
	 "when the stack starts.", check_app_cpus},
	{"app_clock", UVS_CONF_ENUM, AT(app_clock), "fabric", 0, 0, names_app_clock, "Running",
	 "Whose time the application sees and sleeps by. fabric: that of the fabric its port is on, if "
	 "it is on one; the same as the kernel's unless a test has made it virtual. kernel: always the "
	 "kernel's.", NULL},
	{"poll", UVS_CONF_ENUM, AT(poll), "adaptive", 0, 0, names_poll, "Running",
	 "How a thread waits. adaptive: polls briefly, then sleeps on the port's interrupts; busy: "
	 "always polls, one core per host; interrupt: sleeps at once.", NULL},
	{"spin_us", UVS_CONF_UINT, AT(spin_us), "50", 0, 10000, NULL, "Running",
	 "Longest time in microseconds that poll = adaptive polls before it sleeps. It polls less "
	 "when that has lately been in vain.", NULL},
	{"budget", UVS_CONF_UINT, AT(budget), "128", 32, 65536, NULL, "Running",
	 "Frames of a receive queue that one round of a stack handles, in bursts of 32, before other "
	 "queues, timers and the application have their turn. What is left waits for the next round, "
	 "and is counted as squeezed (uvstack softnet).", NULL},

	{"memory_mb", UVS_CONF_UINT, AT(memory_mb), "0", 0, 65536, NULL, "Memory",
	 "Megabytes for DPDK. 0: as much as mbufs and the queues need.", NULL},
	{"mbufs", UVS_CONF_UINT, AT(mbufs), "0", 0, 4194304, NULL, "Memory",
	 "Packet buffers, about 2.4 KB each, with mtu above 1900 mtu and 600 bytes. 0: 8192, and more with more queues. With mode = shared "
	 "or several stacks: of each slot or stack; 0: 4096.", NULL},
	{"hugepages", UVS_CONF_ENUM, AT(hugepages), "auto", 0, 0, names_tristate, "Memory",
	 "Huge pages for DPDK's memory. auto: if enough are free. mode = shared needs them.", NULL},
	{"depot_mb", UVS_CONF_UINT, AT(depot_mb), "64", 0, 65536, NULL, "Memory",
	 "Megabytes of ordinary memory for packets when mbufs are short: unsent and unread data goes "
	 "there, and a socket that holds much of it gets no more when half is taken. 0: none.", NULL},

	{"tcp_sndbuf", UVS_CONF_SIZE, AT(tcp_sndbuf), "256k", 4096, 1048576, NULL, "Sockets",
	 "Send buffer of a new TCP socket in bytes (SO_SNDBUF changes it).", NULL},
	{"tcp_rcvbuf", UVS_CONF_SIZE, AT(tcp_rcvbuf), "1m", 4096, 1048576, NULL, "Sockets",
	 "Receive buffer, and so the largest window, of a new TCP socket in bytes.", NULL},
	{"tcp_congestion", UVS_CONF_ENUM, AT(tcp_congestion), "cubic", 0, 0, names_congestion, "Sockets",
	 "Congestion control of a new TCP socket (TCP_CONGESTION changes it): cubic (RFC 9438) or reno "
	 "(RFC 5681).", NULL},
	{"tcp_ecn", UVS_CONF_ENUM, AT(tcp_ecn), "if-asked", 0, 0, names_ecn, "Sockets",
	 "Explicit congestion notification (RFC 3168). yes: connections made here ask for it; if-asked: "
	 "those of peers that ask have it; no: none has. As Linux's net.ipv4.tcp_ecn: 1, 2 and 0.",
	 NULL},
	{"udp_sndbuf", UVS_CONF_SIZE, AT(udp_sndbuf), "208k", 4096, 16777216, NULL, "Sockets",
	 "SO_SNDBUF of a new UDP socket.", NULL},
	{"udp_rcvbuf", UVS_CONF_SIZE, AT(udp_rcvbuf), "208k", 4096, 16777216, NULL, "Sockets",
	 "Bytes a new UDP socket holds unread; more is dropped and counted.", NULL},
	{"somaxconn", UVS_CONF_UINT, AT(somaxconn), "4096", 1, 65535, NULL, "Sockets",
	 "Upper limit of listen()'s backlog.", NULL},
	{"exit_linger_ms", UVS_CONF_UINT, AT(exit_linger_ms), "2000", 0, 600000, NULL, "Sockets",
	 "How long exit() waits for unsent data and orderly closes.", NULL},

	{"tcp_max_connections", UVS_CONF_UINT, AT(tcp_max_connections), "262144", 0, 16777216, NULL,
	 "Limits",
	 "TCP connections of any state. At the limit the oldest one in TIME_WAIT makes room; if there "
	 "is none, SYNs are dropped and connect() says ENOBUFS. 0: no limit.", NULL},
	{"tcp_max_syn_backlog", UVS_CONF_UINT, AT(tcp_max_syn_backlog), "0", 0, 65535, NULL, "Limits",
	 "Connections in SYN_RCVD, of all listeners; each listener has its backlog as a limit, too. "
	 "More SYNs are answered by cookies. 0: an eighth of mbufs, for each keeps one.", NULL},
	{"tcp_max_tw_buckets", UVS_CONF_UINT, AT(tcp_max_tw_buckets), "65536", 0, 16777216, NULL,
	 "Limits", "Connections in TIME_WAIT; the oldest one ends early. 0: no limit.", NULL},
	{"tcp_synack_retries", UVS_CONF_UINT, AT(tcp_synack_retries), "5", 1, 11, NULL, "Limits",
	 "How often a SYN-ACK is sent again, after 1, 2, 4... seconds.", NULL},

	{"log_level", UVS_CONF_ENUM, AT(log_level), "warning", 0, 0, names_log, "Seen from outside",
	 "What to log. debug includes the statistics at exit.", NULL},
	{"log_file", UVS_CONF_STRING, AT(log_file), "", 0, 0, NULL, "Seen from outside",
	 "File to append the log to; %p is the process id. Empty: standard error.", NULL},
	{"stats_file", UVS_CONF_STRING, AT(stats_file), "", 0, 0, NULL, "Seen from outside",
	 "File to write the statistics to at exit, as JSON; %p is the process id. Empty: none.", NULL},
	{"latency", UVS_CONF_ENUM, AT(latency), "no", 0, 0, names_yes, "Seen from outside",
	 "Measure from the start how long packets wait at each stage (uvstack latency). With a uveth "
	 "port, that includes the way from the NIC.", NULL},
	{"telemetry", UVS_CONF_ENUM, AT(telemetry), "no", 0, 0, names_yes, "Seen from outside",
	 "DPDK's telemetry socket, for dpdk-telemetry.py: a thread of DPDK's answers. With mode = "
	 "shared: the manager's, and rte_metrics for dpdk-proc-info --metrics.", NULL},
	{"trace", UVS_CONF_STRING, AT(trace), "", 0, 0, NULL, "Seen from outside",
	 "Trace points to record, as DPDK's --trace: regular expressions, separated by commas, such as "
	 "uvstack.tcp.*, pmd.net.uveth.*. Empty: none.", NULL},
	{"trace_dir", UVS_CONF_STRING, AT(trace_dir), "uvstack-trace", 0, 0, NULL, "Seen from outside",
	 "Directory for traces, made if need be: in it one for each process, by its id, written when it "
	 "ends in order (uvstack trace).", NULL},
	{"eal", UVS_CONF_STRING, AT(eal), "", 0, 0, NULL, "Seen from outside",
	 "More arguments for DPDK's EAL, separated by spaces.", NULL},
};
/* clang-format on */

const unsigned int uvs_conf_nkeys = sizeof(uvs_conf_keys) / sizeof(uvs_conf_keys[0]);

_Static_assert(sizeof(uvs_conf_keys) / sizeof(uvs_conf_keys[0]) <= UVS_CONF_MAX_KEYS,
	       "raise UVS_CONF_MAX_KEYS");
