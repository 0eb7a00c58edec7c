/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The configuration: what is accepted, what is refused and with which words, and that printing and
 * parsing agree. With an argument: compare docs/config.md (the argument) with the table. */
#include "stack/conf/conf.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

static int failures;

#define OK(cond, ...)                                                   \
	do {                                                            \
		if (!(cond)) {                                          \
			failures++;                                     \
			fprintf(stderr, "%s:%d: ", __FILE__, __LINE__); \
			fprintf(stderr, __VA_ARGS__);                   \
			fputc('\n', stderr);                            \
		}                                                       \
	} while (0)

#define BASE "nic = ring\naddress = 10.0.0.1/24\n"

/* Text that must be refused, and the end of the message. */
static const struct {
	const char *text, *message;
} bad[] = {
	{"", "t: nic: required"},
	{"nic = ring\n", "t: address: required"},
	{BASE "colour = red\n", "t:3: colour: unknown key"},
	{BASE "mtu\n", "t:3: \"mtu\" is not key = value"},
	{BASE "mtu = many\n", "t:3: mtu: \"many\" is not a number"},
	{BASE "mtu = -5\n", "t:3: mtu: \"-5\" is not a number"},
	{BASE "mtu = 67\n", "t:3: mtu: 67 is not between 68 and 9216"},
	{BASE "mtu = 99999999999999999999\n",
	 "t:3: mtu: 99999999999999999999 is not between 68 and 9216"},
	{BASE "mtu = 15k\n", "t:3: mtu: \"15k\" is not a number"},
	{BASE "\n# comment\nmtu = 1400\nmtu = 1400\n", "t:6: mtu: already set in line 5"},
	{BASE "queues = 0\n", "t:3: queues: 0 is not between 1 and 64"},
	{BASE "stacks = 2\n", "t:3: stacks: each has a queue: queues must be the same number"},
	{BASE "mode = shared\nhost = h\nslots = 2\nstacks = 3\n",
	 "t:6: stacks: are more than the host has slots"},
	{BASE "poll = often\n", "t:3: poll: \"often\" is none of: adaptive, busy, interrupt"},
	{BASE "poll =\n", "t:3: poll: \"\" is none of: adaptive, busy, interrupt"},
	{BASE "poll = busy\nspin_us = 5\n",
	 "t:4: spin_us: has a meaning with poll = adaptive only"},
	{BASE "tcp_rcvbuf = 2m\n", "t:3: tcp_rcvbuf: 2m is not between 4096 and 1048576"},
	{BASE "tcp_rcvbuf = 9999999999999999999m\n",
	 "t:3: tcp_rcvbuf: 9999999999999999999m is not between 4096 and 1048576"},
	{BASE "tcp_rcvbuf = 64q\n",
	 "t:3: tcp_rcvbuf: \"64q\" is not a number (with k or m for KiB or MiB)"},
	{"nic = wifi:x\naddress = 10.0.0.1/24\n",
	 "t:1: nic: is none of uveth:, tap:, af_packet:, ring, pci:"},
	{"nic = uveth:name=a\naddress = 10.0.0.1/24\n", "t:1: nic: uveth needs fabric=NAME"},
	{"nic = af_packet\naddress = 10.0.0.1/24\n", "t:1: nic: af_packet needs iface=INTERFACE"},
	{"nic = pci:\naddress = 10.0.0.1/24\n",
	 "t:1: nic: pci needs an address, such as pci:0000:3b:00.0"},
	{"nic = tap:a b\naddress = 10.0.0.1/24\n",
	 "t:1: nic: has a space in the driver's arguments"},
	{"nic = ring\naddress = 10.0.0.1\n",
	 "t:2: address: \"10.0.0.1\" is not an IPv4 address with a prefix, a.b.c.d/n"},
	{"nic = ring\naddress = 10.0.0.1/33\n",
	 "t:2: address: \"10.0.0.1/33\" is not an IPv4 address with a prefix, a.b.c.d/n"},
	{"nic = ring\naddress = 10.0.0.1/24x\n",
	 "t:2: address: \"10.0.0.1/24x\" is not an IPv4 address with a prefix, a.b.c.d/n"},
	{"nic = ring\naddress = 10.0.0.0/24\n",
	 "t:2: address: is the network's own or its broadcast address"},
	{"nic = ring\naddress = 10.0.0.255/24\n",
	 "t:2: address: is the network's own or its broadcast address"},
	{"nic = ring\naddress = 127.0.0.1/8\n",
	 "t:2: address: is not a unicast address a host can have"},
	{"nic = ring\naddress = 224.0.0.1/8\n",
	 "t:2: address: is not a unicast address a host can have"},
	{"nic = ring\naddress = 10.0.0.1/0\n", "t:2: address: the prefix must be 1 to 32"},
	{"nic = ring\naddress = dhcp, 10.0.0.1/24\n",
	 "t:2: address: dhcp gives the address: none beside it"},
	{"nic = ring\naddress = dhcp\nmode = shared\nhost = h\n",
	 "t:2: address: with mode = shared it cannot be dhcp: give the host's address"},
	{BASE "gateway = 10.0.1.1\n", "t:3: gateway: is not within address's prefix"},
	{BASE "gateway = 10.0.0.1\n", "t:3: gateway: is the host's own address"},
	{BASE "gateway = 10.0.0.1/24\n", "t:3: gateway: \"10.0.0.1/24\" is not an IPv4 address"},
	{BASE "address6 = fd00::1\n",
	 "t:3: address6: \"fd00::1\" is not an IPv6 address with a prefix, a:b::c/n"},
	{BASE "address6 = ff02::1/64\n", "t:3: address6: is not a unicast address a host can have"},
	{BASE "address6 = fd00::1/64\nmtu = 1279\n",
	 "t:4: mtu: IPv6 (address6) needs at least 1280"},
	{BASE "gateway6 = fd00::1\n", "t:3: gateway6: needs address6"},
	{BASE "address6 = fd00::1/64\ngateway6 = fd01::1\n",
	 "t:4: gateway6: is not within a prefix of address6"},
	{BASE "route = 10.9.0.0/16\n",
	 "t:3: route: \"10.9.0.0/16\" is not DESTINATION/n via ROUTER"},
	{BASE "route = 10.9.0.0/16 via 10.7.0.1\n",
	 "t:3: route: a router is in none of the host's networks"},
	{BASE "route = fd09::/48 via fe80::1\n", "t:3: route: a route for IPv6 needs address6"},
	{BASE "mac = 02:00:00:00:00\n",
	 "t:3: mac: \"02:00:00:00:00\" is not an Ethernet address, aa:bb:cc:dd:ee:ff"},
	{BASE "mac = 01:00:5e:00:00:01\n", "t:3: mac: is a multicast address"},
	{BASE "queues = 8\nmbufs = 2000\n", "t:4: mbufs: 8 queues need at least 8192"},
};

static void
test_bad(void)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct uvs_conf_error err = {""};
		struct uvs_conf c;
		int r = uvs_conf_parse(&c, bad[i].text, "t", &err);

		OK(r == -1, "accepted:\n%s", bad[i].text);
		OK(strcmp(err.text, bad[i].message) == 0, "said \"%s\" instead of \"%s\"", err.text,
		   bad[i].message);
	}
}

static void
test_good(void)
{
	static const char text[] = "  # a host\n"
				   "nic=uveth:fabric=f,name=web#1 # the colour of the port\r\n"
				   "address\t=\t10.1.2.3/16\n"
				   "mac = 02:AA:0b:00:00:01\n"
				   "gateway = 10.1.0.1\n"
				   "mtu = 1400\n"
				   "queues = 4\n"
				   "poll = interrupt\n"
				   "tcp_sndbuf = 64k\n"
				   "tcp_rcvbuf = 100000";
	struct uvs_conf_error err;
	struct uvs_conf c;

	OK(uvs_conf_parse(&c, text, "t", &err) == 0, "%s", err.text);
	OK(strcmp(c.nic, "uveth:fabric=f,name=web#1") == 0, "nic is %s", c.nic);
	OK(c.address.addr.s_addr == inet_addr("10.1.2.3") && c.address.prefix == 16, "address");
	OK(c.mac.set && c.mac.bytes[1] == 0xaa && c.mac.bytes[2] == 0x0b, "mac");
	OK(c.gateway.addr.s_addr == inet_addr("10.1.0.1"), "gateway");
	OK(c.mtu == 1400 && c.queues == 4 && c.poll == UVS_POLL_INTERRUPT, "numbers");
	OK(c.tcp_sndbuf == 65536 && c.tcp_rcvbuf == 100000, "sizes");
	OK(c.log_level == UVS_LOG_WARNING, "default of log_level");
	OK(uvs_conf_set(&c, "mtu", "1300", &err) == 0 && c.mtu == 1300, "set over the file");
	OK(uvs_conf_set(&c, "mtu", "x", &err) == -1, "bad value by set");
	OK(uvs_conf_set(&c, "nope", "x", &err) == -1, "unknown key by set");
}

/* What --print-config prints is a file that means the same. */
static void
test_round_trip(void)
{
	char *printed, *again;
	size_t len, len2;
	struct uvs_conf_error err;
	struct uvs_conf a, b;
	FILE *f = open_memstream(&printed, &len), *g = open_memstream(&again, &len2);

	OK(uvs_conf_parse(&a,
			  BASE "gateway = 10.0.0.254\naddress6 = auto, fd00::1/64\n"
			       "route = 10.9.0.0/16 via 10.0.0.3, fd09::/48 via fe80::3\n"
			       "mac = 02:00:00:00:00:07\npoll = busy\n",
			  "t", &err) == 0,
	   "%s", err.text);
	uvs_conf_print(&a, f);
	fclose(f);
	/* spin_us stands there with its default value. */
	OK(uvs_conf_parse(&b, printed, "printed", &err) == 0, "%s\n%s", err.text, printed);
	uvs_conf_print(&b, g);
	fclose(g);
	OK(strcmp(printed, again) == 0, "%s\nis not\n%s", printed, again);
	free(printed);
	free(again);
}

static void
test_table(void)
{
	struct uvs_conf c;

	uvs_conf_defaults(&c);
	for (unsigned int i = 0; i < uvs_conf_nkeys; i++) {
		const struct uvs_conf_key *k = &uvs_conf_keys[i];
		char text[UVS_CONF_TEXT];

		OK(strlen(k->help) > 20, "%s has no help", k->name);
		uvs_conf_format(&c, k, text, sizeof(text));
		OK(strcmp(text, k->def) == 0, "%s: default is \"%s\", the table says \"%s\"",
		   k->name, text, k->def);
		for (unsigned int j = 0; j < i; j++)
			OK(strcmp(k->name, uvs_conf_keys[j].name) != 0, "%s twice", k->name);
	}
}

static const struct {
	const char *nic, *rest, *vdev, *allow;
} nics[] = {
	{"uveth:fabric=f,name=a", "queues = 2\n", "net_uveth0,fabric=f,name=a,rxq=2,txq=2", ""},
	{"uveth:fabric=f,mac=02:00:00:00:00:09,rxq=1", "mac = 02:00:00:00:00:01\n",
	 "net_uveth0,fabric=f,mac=02:00:00:00:00:09,rxq=1,txq=1", ""},
	{"uveth:fabric=f", "mac = 02:00:00:00:00:01\n",
	 "net_uveth0,fabric=f,mac=02:00:00:00:00:01,rxq=1,txq=1", ""},
	{"tap:uv7", "", "net_tap0,iface=uv7", ""},
	{"tap:iface=uv7", "", "net_tap0,iface=uv7", ""},
	{"tap", "", "net_tap0", ""},
	{"af_packet:iface=veth1", "queues = 2\n", "net_af_packet0,iface=veth1,qpairs=2", ""},
	{"af_packet:iface=veth1", "queues = 2\nmode = shared\nhost = h\n",
	 "net_af_packet0,iface=veth1,qpairs=1", ""},
	{"ring", "", "net_ring0", ""},
	{"pci:0000:3b:00.1", "", "", "0000:3b:00.1"},
};

static void
test_nics(void)
{
	for (size_t i = 0; i < sizeof(nics) / sizeof(nics[0]); i++) {
		struct uvs_conf_eal_nic out;
		struct uvs_conf_error err;
		struct uvs_conf c;
		char text[512];

		snprintf(text, sizeof(text), "nic = %s\naddress = 10.0.0.1/24\n%s", nics[i].nic,
			 nics[i].rest);
		OK(uvs_conf_parse(&c, text, "t", &err) == 0, "%s", err.text);
		OK(uvs_conf_nic(&c, &out) == NULL, "%s refused", nics[i].nic);
		OK(strcmp(out.vdev, nics[i].vdev) == 0, "%s became %s", nics[i].nic, out.vdev);
		OK(strcmp(out.allow, nics[i].allow) == 0, "%s became -a %s", nics[i].nic,
		   out.allow);
	}
}

static char *
read_all(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = calloc(1, 1 << 20);

	if (f == NULL || text == NULL || fread(text, 1, (1 << 20) - 1, f) == 0) {
		perror(path);
		exit(1);
	}
	fclose(f);
	return text;
}

static void
test_page(const char *path)
{
	char *page = read_all(path), *expected;
	size_t len;
	FILE *f = open_memstream(&expected, &len);

	uvs_conf_markdown(f);
	fclose(f);
	OK(strcmp(page, expected) == 0,
	   "%s is not what the table says; to make it anew: test-conf --markdown > %s", path, path);
	free(page);
	free(expected);
}

int
main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--markdown") == 0) {
		uvs_conf_markdown(stdout);
		return 0;
	}
	test_table();
	test_bad();
	test_good();
	test_round_trip();
	test_nics();
	if (argc > 1)
		test_page(argv[1]);
	return failures != 0;
}
