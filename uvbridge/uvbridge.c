/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge - the command for fabrics: raise, look at, capture, end.
 */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

#include "uvbridge/cli.h"
#include "uvbridge/ports/ports.h"

static int cli_port(int argc, char **argv);

static const struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
	const char *help; /* NULL: the verb has its own */
} verbs[] = {
	{"up", cli_up, "make a fabric, or take over one whose daemon died",
	 "Usage: uvbridge up NAME [options]\n"
	 "Starts uvbridged for the fabric NAME and waits until it is ready. When a fabric of that "
	 "name\n"
	 "is there but its daemon is not, the new daemon takes it over: live ports stay attached, "
	 "dead\n"
	 "ones are reclaimed; options that shape a fabric are then ignored.\n"
	 "  --ports N    ports it has at most, 2..256 (32)\n"
	 "  --queues N   queues of a port at most, each direction, 1..16 (8)\n"
	 "  --cells N    frames a transmit queue can have in flight, power of two, 64..65536 "
	 "(2048)\n"
	 "  --voq N      frames that can wait from one queue to another, power of two, 32..32768 "
	 "(512)\n"
	 "  --fdb N      buckets of 8 addresses, power of two, 64 and more (1024)\n"
	 "  --age SEC    seconds until an address not heard from is forgotten, 0: never (300)\n"
	 "Example: uvbridge up lab --ports 8 --queues 4\n"},
	{"down", cli_down, "end a fabric",
	 "Usage: uvbridge down NAME [--force]\n"
	 "Ends the daemon and removes the fabric. Refuses, and says who, while ports are "
	 "attached.\n"
	 "  --force   end it all the same: the ports see their link go down. A daemon that does "
	 "not\n"
	 "            answer is killed.\n"
	 "Example: uvbridge down lab\n"},
	{"unplug", cli_unplug, "take a port away from its process",
	 "Usage: uvbridge unplug NAME PORT\n"
	 "The port's link goes down for good, as if its card had been pulled: a DPDK application "
	 "is "
	 "told\n"
	 "by the events of its ethdev (link, removal). Its name is free at once; its slot when "
	 "the\n"
	 "process has closed the port or ended. Closed or reset, the device can attach again.\n"
	 "Example: uvbridge unplug lab web\n"},
	{"list", cli_list, "the fabrics there are",
	 "Usage: uvbridge list [--json]\n"
	 "One line each: name, daemon, ports attached, directory.\n"
	 "  --json   a list of objects\n"
	 "Example: uvbridge list\n"},
	{"show", cli_show, "ports, queues, VOQs, addresses, drops, ledger",
	 "Usage: uvbridge show NAME [--json] "
	 "[ports|queues|voqs|fdb|drops|ledger|settings|adapters|rules]...\n"
	 "Read from the segment; works while the daemon is stopped or dead. Counters count from "
	 "the\n"
	 "first use of a port's slot and are never set back.\n"
	 "  --json   everything, as one JSON object (docs/uvbridge.md)\n"
	 "Examples: uvbridge show lab\n"
	 "          uvbridge show lab voqs drops\n"
	 "          uvbridge show lab --json | python3 -m json.tool\n"},
	{"watch", cli_watch, "live rates",
	 "Usage: uvbridge watch NAME [--interval SEC] [--count N] [--json]\n"
	 "Rates of ports and queues; a line per port and interval when the output is no terminal.\n"
	 "  --interval SEC   between two looks (1)\n"
	 "  --count N        looks, then end (0: until interrupted)\n"
	 "  --json           an object a line: rates in packets and bits per second\n"
	 "Example: uvbridge watch lab --interval 0.5\n"},
	{"capture", cli_capture, "record frames to a pcapng file",
	 "Usage: uvbridge capture NAME -w FILE [options]\n"
	 "Records a copy of every frame that any port sends, with source, destination, queues, RSS "
	 "hash\n"
	 "and verdict in its comment. One capture per fabric at a time. When it falls behind, "
	 "copies are\n"
	 "lost (and counted); the traffic is not.\n"
	 "  -w FILE            where to; - is standard output\n"
	 "  --snaplen N        bytes kept of each frame (262144)\n"
	 "  --max-size BYTES   end before the file grows larger (0: no limit)\n"
	 "  --ring N           go on in another file then, and keep the N newest: FILE-00001 ...\n"
	 "  --filter EXPR      these frames alone, in the words of tcpdump: pcap-filter(7)\n"
	 "  --seconds SEC      end after this long (0: until interrupted)\n"
	 "Example: uvbridge capture lab -w /tmp/lab.pcapng --filter 'tcp port 80' --ring 4 "
	 "--max-size 10000000\n"},
	{"ledger", cli_ledger, "is every cell where it belongs?",
	 "Usage: uvbridge ledger NAME [--json]\n"
	 "Looks for cells that are owned but wait in no VOQ of their owner. Exit status 0: clean,\n"
	 "1: not clean; lists the offenders.\n"
	 "  --json   one object\n"
	 "Example: uvbridge ledger lab && echo clean\n"},
	{"clock", cli_clock, "real or virtual time: stop, step, warp, auto", NULL},
	{"fault", cli_fault, "make frames get lost, late, damaged...", NULL},
	{"link", cli_link, "give a port's cable a rate, a delay, losses", NULL},
	{"port", cli_port, "be a port: tap interface, socket, capture file; set: weight, limits",
	 NULL},
	{"vlan", cli_vlan, "VLANs of a port",
	 "Usage: uvbridge vlan NAME PORT access VLAN | trunk LIST [--native VLAN] | none\n"
	 "       uvbridge vlan NAME [--json]\n"
	 "An access port sends and receives untagged frames, in one VLAN. A trunk port has tagged "
	 "frames\n"
	 "of the VLANs listed, and untagged ones of its native VLAN if it has one. A port with "
	 "none "
	 "has\n"
	 "every VLAN, by its tag, and untagged frames in no VLAN: the default. Kept for the port's "
	 "name,\n"
	 "attached or not. Without PORT: what the ports have.\n"
	 "  --native VLAN   of a trunk: where its untagged frames are\n"
	 "Examples: uvbridge vlan lab web access 10\n"
	 "          uvbridge vlan lab router trunk 10,20-30 --native 1\n"},
	{"fdb", cli_fdb, "the address table",
	 "Usage: uvbridge fdb NAME [list] [--json]\n"
	 "       uvbridge fdb NAME add MAC PORT [--vlan VLAN]\n"
	 "       uvbridge fdb NAME del MAC [--vlan VLAN]\n"
	 "       uvbridge fdb NAME flush [--port PORT] [--vlan VLAN] [--static]\n"
	 "add makes a static entry: it does not age, does not move, and is not displaced.\n"
	 "  --vlan VLAN   of this VLAN; add: else the port's own; del: else none; flush: else all\n"
	 "  --port PORT   of this port only\n"
	 "  --static      static entries, too\n"
	 "Example: uvbridge fdb lab add 02:00:00:00:00:01 web --vlan 10\n"},
	{"mirror", cli_mirror, "copies of a port's frames for another port",
	 "Usage: uvbridge mirror NAME add FROM TO [--rx] [--tx]\n"
	 "       uvbridge mirror NAME del FROM [--rx] [--tx]\n"
	 "       uvbridge mirror NAME [list] [--json]\n"
	 "TO gets a copy of what FROM sends (--tx), of what is delivered to it (--rx), or of both. "
	 "It has\n"
	 "to be promiscuous to receive them. Copies it has no room for are lost and counted.\n"
	 "  --tx   what FROM sends\n"
	 "  --rx   what is delivered to FROM\n"
	 "Example: uvbridge mirror lab add web probe --rx\n"},
	{"adapter", cli_adapter, "SR-IOV adapters: a PF, its VFs, their uplink",
	 "Usage: uvbridge adapter NAME add ADAPTER --vfs N [--uplink-rate RATE] [--link up|down]\n"
	 "       uvbridge adapter NAME set ADAPTER [--uplink-rate RATE] [--link up|down]\n"
	 "       uvbridge adapter NAME del ADAPTER\n"
	 "       uvbridge adapter NAME [list] [--json]\n"
	 "Who attaches as ADAPTER.pf, ADAPTER.vf0, ... is that function. They share the uplink for "
	 "all that\n"
	 "leaves or enters the adapter, but not for what goes from one to another.\n"
	 "  --uplink-rate RATE   each way: 10gbit, 2500mbit; 0: no limit\n"
	 "  --link up|down       of the uplink\n"
	 "Example: uvbridge adapter lab add nic0 --vfs 4 --uplink-rate 10gbit\n"},
	{"vf", cli_vf, "what a PF asks of a VF",
	 "Usage: uvbridge vf NAME ADAPTER N KEY VALUE...\n"
	 "       uvbridge vf NAME [list] [--json]\n"
	 "As ip link set dev ADAPTER vf N:\n"
	 "  mac ADDRESS              its address; all zero: as it likes\n"
	 "  vlan VLAN [qos QOS]      put into and taken out of its frames; 0: none\n"
	 "  spoofchk on|off          it sends from its own addresses only (on)\n"
	 "  trust on|off             may be promiscuous, and choose its addresses (off)\n"
	 "  state auto|enable|disable   its link: as the uplink, up, down (auto)\n"
	 "  max_tx_rate RATE         of what it sends; a bare number is Mbit/s; 0: no limit\n"
	 "  min_tx_rate RATE         of the uplink, whatever the others want\n"
	 "Example: uvbridge vf lab nic0 1 mac 02:00:00:00:00:11 vlan 100 qos 5\n"},
	{"completion", cli_completion, "completion of command lines by a shell",
	 "Usage: uvbridge completion bash|zsh\n"
	 "Prints a script for the shell. Installed with uvbridge; by hand:\n"
	 "  source <(uvbridge completion bash)\n"
	 "Example: uvbridge completion zsh > ~/.zfunc/_uvbridge\n"},
};

#define NB_VERBS (sizeof(verbs) / sizeof(verbs[0]))

const char *
cli_verb(size_t i)
{
	return i < NB_VERBS ? verbs[i].name : NULL;
}

int
cli_fail(const char *fmt, ...)
{
	va_list ap;

	fputs("uvbridge: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return EXIT_FAILED;
}

int
cli_usage(const char *verb, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "uvbridge %s: ", verb);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, " (see uvbridge %s --help)\n", verb);
	return EXIT_USAGE;
}

bool
cli_number(const char *text, uint64_t max, uint64_t *n)
{
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	*n = strtoull(text, &end, 10);
	return *end == '\0' && *n <= max;
}

bool
cli_seconds(const char *text, double *s)
{
	char *end;

	*s = strtod(text, &end);
	return end != text && *end == '\0' && isfinite(*s) && *s >= 0 && *s <= 1e6;
}

static int
cli_port(int argc, char **argv)
{
	if (argc < 2 || strcmp(argv[1], "set") != 0)
		return uvp_main(argc, argv);
	for (int a = 2; a < argc; a++)
		if (strcmp(argv[a], "--help") == 0 || strcmp(argv[a], "-h") == 0) {
			fputs("Usage: uvbridge port set NAME PORT [options]\n"
			      "Kept for the port's name, attached or not; 0 or off: none.\n"
			      "  --weight N            share of a receive queue that several want, "
			      "for "
			      "each of its\n"
			      "                        transmit queues: 1 to 64 (1)\n"
			      "  --isolation GROUP     does not see other ports of the group, 1 to "
			      "65535\n"
			      "  --storm-broadcast N   frames per second that it may send, more "
			      "are "
			      "dropped\n"
			      "  --storm-multicast N\n"
			      "  --storm-unknown N     unicast to addresses that are not in the "
			      "table\n"
			      "Example: uvbridge port set lab web --weight 4 --storm-broadcast "
			      "100\n",
			      stdout);
			return EXIT_OK;
		}
	return cli_port_set(argc - 1, argv + 1);
}

static void
help(FILE *to)
{
	fputs("Usage: uvbridge VERB [NAME] [options]\n"
	      "Fabrics: layer-2 switches in shared memory.\n\n",
	      to);
	for (size_t i = 0; i < NB_VERBS; i++)
		fprintf(to, "  %-9s %s\n", verbs[i].name, verbs[i].summary);
	fputs("\nuvbridge VERB --help tells more. NAME is a fabric's name or the path of its "
	      "directory.\n"
	      "Fabrics live in $UVNET_RUNDIR, or else /dev/shm/uvnet-UID.\n"
	      "Exit status: 0 done, 1 could not (or the ledger is not clean), 2 wrong usage.\n",
	      to);
}

int
main(int argc, char **argv)
{
	if (argc < 2) {
		help(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		help(stdout);
		return EXIT_OK;
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("uvbridge %s, ABI %u\n", UVB_VERSION, UVB_ABI_VERSION);
		return EXIT_OK;
	}
	for (size_t i = 0; i < NB_VERBS; i++) {
		if (strcmp(argv[1], verbs[i].name) != 0)
			continue;
		for (int a = 2; verbs[i].help != NULL && a < argc && strcmp(argv[a], "--") != 0;
		     a++)
			if (strcmp(argv[a], "--help") == 0 || strcmp(argv[a], "-h") == 0) {
				fputs(verbs[i].help, stdout);
				return EXIT_OK;
			}
		return verbs[i].run(argc - 1, argv + 1);
	}
	fprintf(stderr, "uvbridge: \"%s\" is no verb (see uvbridge --help)\n", argv[1]);
	return EXIT_USAGE;
}
