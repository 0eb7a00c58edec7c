/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvstack-nic - `uvstack nic`, which is a program of its own because it is linked to DPDK. */
#include "stack/nic/nic.h"

#include "stack/core/log.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define PCI_ADDRESS sizeof("0000:00:00.0")

static void
usage(FILE *to)
{
	fputs("Usage: uvstack nic check [--json] [--set KEY=VALUE]... DEVICE\n"
	      "       uvstack nic check [--json] [--set KEY=VALUE]... --config FILE\n"
	      "\n"
	      "What a port can and cannot do, and what the stack will do about it. DEVICE is a PCI "
	      "address\n(0000:3b:00.0) or a value of the key nic (uveth:fabric=lab, tap:tap0, "
	      "af_packet:iface=eth1);\nwith --config it is that of FILE.\n"
	      "\n"
	      "A device that the kernel has, or that a process uses, is left alone: what can be "
	      "known of it\nwithout opening it is said. Any other is opened, started and stopped "
	      "again.\n"
	      "\n"
	      "  -c, --config FILE    configuration of a host\n"
	      "  -s, --set KEY=VALUE  a key of the configuration, e.g. queues=4; may be repeated\n"
	      "      --json           for programs\n"
	      "  -h, --help\n"
	      "\n"
	      "Exit status: 0 the stack can use it, 1 it cannot, 2 wrong usage.\n",
	      to);
}

__attribute__((noreturn)) static void
wrong(const char *text)
{
	fprintf(stderr, "uvstack: %s\n", text);
	exit(2);
}

struct options {
	const char *config;
	char *sets;
	bool json;
};

/* The number of words that are options; the rest: "check" and the device. */
static void
parse(int argc, char **argv, struct options *o)
{
	enum { JSON = 256 };
	static const struct option longs[] = {{"config", required_argument, NULL, 'c'},
					      {"set", required_argument, NULL, 's'},
					      {"json", no_argument, NULL, JSON},
					      {"help", no_argument, NULL, 'h'},
					      {NULL, 0, NULL, 0}};
	int opt;

	while ((opt = getopt_long(argc, argv, "c:s:h", longs, NULL)) != -1) {
		switch (opt) {
		case 'c':
			o->config = optarg;
			break;
		case 's':
			if (uvs_conf_add_set(&o->sets, optarg) < 0)
				abort();
			break;
		case JSON:
			o->json = true;
			break;
		case 'h':
			usage(stdout);
			exit(0);
		default:
			exit(2);
		}
	}
}

/* [DOMAIN:]BUS:DEVICE.FUNCTION, in full as sysfs has it; false: it is none. */
static bool
pci_address(const char *text, char out[PCI_ADDRESS])
{
	unsigned int domain = 0, bus, device, function;
	int used = 0;

	if (sscanf(text, "%4x:%2x:%2x.%1x%n", &domain, &bus, &device, &function, &used) != 4) {
		domain = 0;
		if (sscanf(text, "%2x:%2x.%1x%n", &bus, &device, &function, &used) != 3)
			return false;
	}
	snprintf(out, PCI_ADDRESS, "%04x:%02x:%02x.%x", domain & 0xffff, bus & 0xff, device & 0xff,
		 function & 0xf);
	return text[used] == '\0' || text[used] == ',';
}

static void
set_keys(struct uvs_conf *c, char *sets)
{
	struct uvs_conf_error e;
	char *line, *rest = sets;

	while ((line = strsep(&rest, "\n")) != NULL && *line != '\0') {
		char *value = strchr(line, '=');

		if (value == NULL)
			wrong("--set wants KEY=VALUE");
		*value++ = '\0';
		if (uvs_conf_set(c, line, value, &e) < 0)
			wrong(e.text);
	}
}

/* DEVICE as a configuration: a host needs an address, which nobody will hear of. */
static void
of_device(struct uvs_conf *c, const struct options *o, const char *device)
{
	char address[PCI_ADDRESS], *text;
	struct uvs_conf_error e;

	if (asprintf(&text, "nic = %s%s\naddress = 192.0.2.1/24\n",
		     pci_address(device, address) ? "pci:" : "", device) < 0)
		abort();
	if (uvs_conf_parse(c, text, device, &e) < 0)
		wrong(e.text);
	free(text);
	set_keys(c, o->sets);
	if (uvs_conf_check(c, device, &e) < 0)
		wrong(e.text);
}

static void
read_conf(struct uvs_conf *c, const struct options *o, const char *device)
{
	struct uvs_conf_error e;

	if (device != NULL)
		of_device(c, o, device);
	else if (o->config == NULL)
		wrong("nic check: say which DEVICE, or --config FILE; see uvstack nic --help");
	else if (uvs_conf_load_with(c, o->config, o->sets, &e) < 0)
		wrong(e.text);
}

/* What can be known without opening it. */
static void
look(struct facts *f, const struct uvs_conf *c)
{
	char address[PCI_ADDRESS], name[UVS_CONF_STR];

	if (strncmp(c->nic, "pci:", 4) == 0 && pci_address(c->nic + 4, address))
		nic_pci(f, address);
	else if (strncmp(c->nic, "pci:", 4) == 0)
		fact_problem(f, "%.200s is no PCI address, such as 0000:3b:00.0", c->nic + 4);
	if (strncmp(c->nic, "tap:", 4) == 0) {
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(c->nic + 4, ","), c->nic + 4);
		nic_tap(f, name);
	}
	nic_memory(f, c);
}

int
main(int argc, char **argv)
{
	static struct facts f;
	struct options o = {.config = NULL};
	struct uvs_conf c;

	parse(argc, argv, &o);
	if (optind == argc || strcmp(argv[optind], "check") != 0 || argc - optind > 2) {
		usage(stderr);
		return 2;
	}
	read_conf(&c, &o, argv[optind + 1]);
	uvs_log_setup(&c);
	look(&f, &c);
	if (f.nproblems == 0)
		nic_ethdev(&f, &c);
	(o.json ? facts_json : facts_print)(&f, c.nic, stdout);
	free(o.sets);
	return f.nproblems == 0 ? 0 : 1;
}
