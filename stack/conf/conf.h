/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/conf/conf.h - the configuration of one host: a flat file of `key = value` lines.
 *
 * Every key stands once, in the table in conf_table.c, with type, default, bounds and help. The
 * parser, --check-config, --print-config, --help and docs/config.md are all made from that table.
 *
 * A file is lines of `key = value`; `#` begins a comment where a word could begin; blank lines are
 * skipped; a key may stand once. Values are not quoted. Errors name the place and the reason:
 * "host.conf:7: mtu: 90000 is not between 68 and 9216".
 *
 * Threads: pure functions over the caller's struct. A struct uvs_conf is plain data: copy it
 * freely.
 */
#ifndef STACK_CONF_CONF_H
#define STACK_CONF_CONF_H

#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Where the preloaded library finds its file; set by uvrun. */
#define UVS_CONF_ENV "UVS_CONFIG"
/* uvrun's --set KEY=VALUE, one a line. */
#define UVS_CONF_SETS_ENV "UVS_SET"

#define UVS_CONF_STR      256
#define UVS_CONF_TEXT     2048 /* the longest value as text */
#define UVS_CONF_NETS     8
#define UVS_CONF_ROUTES   16
#define UVS_CONF_VLANS    8
#define UVS_CONF_MAX_KEYS 64

enum uvs_conf_model { UVS_MODEL_SHARED, UVS_MODEL_SEPARATE };
enum uvs_conf_mode { UVS_MODE_EXCLUSIVE, UVS_MODE_SHARED };
enum uvs_conf_poll { UVS_POLL_ADAPTIVE, UVS_POLL_BUSY, UVS_POLL_INTERRUPT };
enum uvs_conf_app_cpus { UVS_APP_CPUS_ANY, UVS_APP_CPUS_OTHERS };
enum uvs_conf_app_clock { UVS_APP_CLOCK_FABRIC, UVS_APP_CLOCK_KERNEL };
enum uvs_conf_loopback { UVS_LOOPBACK_KERNEL, UVS_LOOPBACK_STACK };
enum uvs_conf_congestion { UVS_CONGESTION_CUBIC, UVS_CONGESTION_RENO };
enum uvs_conf_tristate { UVS_AUTO, UVS_NO, UVS_YES };
enum uvs_conf_log { UVS_LOG_ERROR, UVS_LOG_WARNING, UVS_LOG_NOTICE, UVS_LOG_INFO, UVS_LOG_DEBUG };

struct uvs_conf_cidr {
	struct in_addr addr; /* network order; 0: not given */
	uint8_t prefix;
};

/* An address, a network or a router. */
struct uvs_conf_net {
	uint8_t family; /* AF_INET, AF_INET6; 0: not given */
	uint8_t prefix; /* bits; of an address alone: all */
	union {         /* network order */
		struct in_addr v4;
		struct in6_addr v6;
	};
};

struct uvs_conf_nets {
	struct uvs_conf_net net[UVS_CONF_NETS];
	uint8_t n;
	bool automatic; /* besides: what DHCP or router advertisements give */
};

struct uvs_conf_route {
	struct uvs_conf_net dest, via; /* of one family */
};

struct uvs_conf_routes {
	struct uvs_conf_route route[UVS_CONF_ROUTES];
	uint8_t n;
};

/* An interface for the frames of a VLAN. */
struct uvs_conf_vlan {
	uint16_t id;
	struct uvs_conf_nets addresses, addresses6; /* neither is automatic */
	struct uvs_conf_net via, via6;              /* routers; family 0: none */
};

struct uvs_conf_vlans {
	struct uvs_conf_vlan vlan[UVS_CONF_VLANS];
	uint8_t n;
};

struct uvs_conf_mac {
	uint8_t bytes[6];
	bool set;
};

struct uvs_conf {
	/* the network */
	char nic[UVS_CONF_STR];
	char plugin[UVS_CONF_STR];
	struct uvs_conf_mac mac;
	uint32_t queues;
	struct uvs_conf_nets addresses;  /* IPv4 */
	uint32_t address_probe;          /* 1: ask for them before they are used */
	struct uvs_conf_nets addresses6; /* IPv6; empty: the host has no IPv6 */
	struct uvs_conf_cidr address;    /* the first of `addresses`, for whoever asks for one */
	struct uvs_conf_cidr gateway;    /* prefix unused */
	struct uvs_conf_net gateway6;
	struct uvs_conf_routes routes;
	struct uvs_conf_vlans vlans;
	uint32_t mtu;
	uint32_t loopback; /* enum uvs_conf_loopback */

	/* processes */
	uint32_t mode; /* enum uvs_conf_mode */
	char host[UVS_CONF_STR];
	uint32_t slots;
	uint32_t connections;
	char huge_dir[UVS_CONF_STR];

	/* running */
	uint32_t model; /* enum uvs_conf_model */
	uint32_t stacks;
	char cpus[UVS_CONF_STR];
	uint32_t app_cpus;  /* enum uvs_conf_app_cpus */
	uint32_t app_clock; /* enum uvs_conf_app_clock */
	uint32_t poll;      /* enum uvs_conf_poll */
	uint32_t spin_us;
	uint32_t budget;

	/* memory */
	uint32_t memory_mb;
	uint32_t mbufs;
	uint32_t hugepages; /* enum uvs_conf_tristate */
	uint32_t depot_mb;

	/* sockets */
	uint32_t tcp_sndbuf, tcp_rcvbuf, udp_sndbuf, udp_rcvbuf;
	uint32_t tcp_congestion; /* enum uvs_conf_congestion */
	uint32_t tcp_ecn;        /* UVL_ECN_... of stack/lwip/uvl_tcp.h, Linux' 0, 1 and 2 */
	uint32_t somaxconn;
	uint32_t exit_linger_ms;

	/* limits: 0 is none, unless the key says otherwise */
	uint32_t tcp_max_connections, tcp_max_syn_backlog, tcp_max_tw_buckets;
	uint32_t tcp_synack_retries;

	/* seen from outside */
	uint32_t log_level; /* enum uvs_conf_log */
	char log_file[UVS_CONF_STR];
	char stats_file[UVS_CONF_STR];
	uint32_t latency;   /* bool */
	uint32_t telemetry; /* bool */
	char trace[UVS_CONF_STR];
	char trace_dir[UVS_CONF_STR];
	char eal[UVS_CONF_STR];

	/* Line on which the key of that index in the table was set; 0: default. For messages. */
	uint16_t line[UVS_CONF_MAX_KEYS];
};

enum uvs_conf_type {
	UVS_CONF_UINT,   /* uint32_t in [min, max] */
	UVS_CONF_SIZE,   /* the same, with an optional k or m */
	UVS_CONF_ENUM,   /* uint32_t: index in names */
	UVS_CONF_STRING, /* char[UVS_CONF_STR] */
	UVS_CONF_NETS4,  /* struct uvs_conf_nets: a.b.c.d/n, ... */
	UVS_CONF_NETS6,  /* struct uvs_conf_nets: a:b::c/n, ... */
	UVS_CONF_ADDR,   /* struct uvs_conf_cidr, a.b.c.d */
	UVS_CONF_ADDR6,  /* struct uvs_conf_net, a:b::c */
	UVS_CONF_ROUTE,  /* struct uvs_conf_routes: DESTINATION/n via ROUTER, ... */
	UVS_CONF_VLAN,   /* struct uvs_conf_vlans: ID ADDRESS/n ... via ROUTER, ... */
	UVS_CONF_MAC,    /* struct uvs_conf_mac */
};

struct uvs_conf_key {
	const char *name;
	enum uvs_conf_type type;
	size_t offset; /* in struct uvs_conf */
	const char *def;
	uint32_t min, max;
	const char *const *names; /* ENUM: NULL-terminated */
	const char *section;
	const char *help;
	/* NULL, or: the reason why the value is no good, NULL if it is. */
	const char *(*check)(const struct uvs_conf *c);
};

static inline bool
uvs_conf_has_ipv6(const struct uvs_conf *c)
{
	if (c->addresses6.n != 0 || c->addresses6.automatic)
		return true;
	for (unsigned int i = 0; i < c->vlans.n; i++)
		if (c->vlans.vlan[i].addresses6.n != 0)
			return true;
	return false;
}

/* Is the IPv4 address one of these, or on the link of one of them? */
bool uvs_conf_is_one4(const struct uvs_conf_nets *nets, struct in_addr addr);
bool uvs_conf_on_link4(const struct uvs_conf_nets *nets, struct in_addr addr);
bool uvs_conf_is_one6(const struct uvs_conf_nets *nets, const struct in6_addr *addr);
bool uvs_conf_on_link6(const struct uvs_conf_nets *nets, const struct in6_addr *addr);

/* Is the IPv6 address in the network? */
bool uvs_conf_within6(const struct uvs_conf_net *net, const struct in6_addr *addr);

extern const struct uvs_conf_key uvs_conf_keys[];
extern const unsigned int uvs_conf_nkeys;

/* Where and why; filled on every failure below. */
struct uvs_conf_error {
	char text[512];
};

void uvs_conf_defaults(struct uvs_conf *c);

/* Defaults, then the file, then the checks across keys. 0, or -1 with *err. */
int uvs_conf_load(struct uvs_conf *c, const char *path, struct uvs_conf_error *err);

/* The same with `sets` (NULL: none), lines of key=value, put over the file before the checks. */
int uvs_conf_load_with(struct uvs_conf *c, const char *path, const char *sets,
		       struct uvs_conf_error *err);

/* Appends `set`, "key=value", to such lines (*sets NULL: none yet; the caller frees them). 0, or
 * -ENOMEM and *sets as it was. */
int uvs_conf_add_set(char **sets, const char *set);

/* The same as uvs_conf_load() from memory; name stands for the file in messages. */
int uvs_conf_parse(struct uvs_conf *c, const char *text, const char *name,
		   struct uvs_conf_error *err);

/* One key over what is there (a command line's -o key=value); uvs_conf_check() afterwards. */
int uvs_conf_set(struct uvs_conf *c, const char *key, const char *value,
		 struct uvs_conf_error *err);

/* The checks that need more than one value. name as above. */
int uvs_conf_check(const struct uvs_conf *c, const char *name, struct uvs_conf_error *err);

/* A file that would give this configuration: --print-config. */
void uvs_conf_print(const struct uvs_conf *c, FILE *out);

/* The value of one key as it would stand in a file. */
void uvs_conf_format(const struct uvs_conf *c, const struct uvs_conf_key *k, char *buf, size_t len);

/* The table for people: plain text for --help, Markdown for docs/config.md. */
void uvs_conf_help(FILE *out);
void uvs_conf_markdown(FILE *out);

/* --- nic = KIND[:ARGUMENTS] ------------------------------------------------------------------ */

/* How a nic is told to EAL: at most one device, at most one plugin. */
struct uvs_conf_eal_nic {
	char vdev[UVS_CONF_STR + 64];   /* value of --vdev, or empty */
	char allow[UVS_CONF_STR];       /* value of -a, or empty */
	char plugin[UVS_CONF_STR + 64]; /* value of -d, or empty */
};

/* Translate c->nic (with c->mac and c->queues where the driver takes them). NULL, or the reason. */
const char *uvs_conf_nic(const struct uvs_conf *c, struct uvs_conf_eal_nic *out);

/* The fabric that the port is on, as the driver is told; false: it is on none, or has a name longer
 * than len. */
bool uvs_conf_fabric(const struct uvs_conf *c, char *out, size_t len);

/* --- cpus = LIST | numa:NODE ------------------------------------------------------------------ */

/* As a set; empty: not given. NULL, or the reason. Users of cpu_set_t define _GNU_SOURCE. */
const char *uvs_conf_cpus(const struct uvs_conf *c, cpu_set_t *out);

#endif /* STACK_CONF_CONF_H */
