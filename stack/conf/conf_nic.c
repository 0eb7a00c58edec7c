/* SPDX-License-Identifier: BSD-3-Clause
 *
 * nic = KIND[:ARGUMENTS] as EAL arguments, by one small table. */
#include "stack/conf/conf.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct nic_kind {
	const char *kind;
	const char *vdev;  /* device name for --vdev; NULL: a PCI device, -a */
	const char *first; /* key of a first argument without one ("tap:NAME"); NULL: none */
	const char *needs; /* key that must be among the arguments; NULL: none */
	const char *mac;   /* key by which the driver takes its address; NULL: set later */
	const char *rxq,
		*txq;        /* keys by which it takes the number of queues; NULL: it needs none */
	const char *plugin;  /* shared object when the configuration names none */
	const char *lives;   /* key of who must live for the port to; "any" with mode = shared */
	const char *missing; /* what to say without `needs` */
	bool one_if_shared;  /* nobody can say what arrives at which queue: all at one, then */
};

/* clang-format off */
static const struct nic_kind kinds[] = {
	{"uveth", "net_uveth0", NULL, "fabric", "mac", "rxq", "txq", "librte_net_uveth.so", "life",
	 "uveth needs fabric=NAME", false},
	{"tap", "net_tap0", "iface", NULL, "mac", NULL, NULL, NULL, NULL, NULL, false},
	{"af_packet", "net_af_packet0", NULL, "iface", NULL, "qpairs", NULL, NULL, NULL,
	 "af_packet needs iface=INTERFACE", true},
	{"ring", "net_ring0", NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false},
	{"pci", NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false},
};
/* clang-format on */

static const struct nic_kind *
find_kind(const char *nic, const char **args)
{
	size_t n = strcspn(nic, ":");

	*args = nic[n] == ':' ? nic + n + 1 : nic + n;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strlen(kinds[i].kind) == n && strncmp(kinds[i].kind, nic, n) == 0)
			return &kinds[i];
	return NULL;
}

static bool
has_arg(const char *args, const char *key)
{
	size_t n = strlen(key);

	for (const char *p = args; *p != '\0';) {
		if (strncmp(p, key, n) == 0 && p[n] == '=')
			return true;
		p += strcspn(p, ",");
		p += *p == ',';
	}
	return false;
}

bool
uvs_conf_fabric(const struct uvs_conf *c, char *out, size_t len)
{
	static const char key[] = "fabric=";
	const char *args;
	const struct nic_kind *k = find_kind(c->nic, &args);
	size_t n;

	if (k == NULL || k->needs == NULL || strncmp(k->needs, key, strlen(k->needs)) != 0)
		return false;
	while (*args != '\0' && strncmp(args, key, sizeof(key) - 1) != 0) {
		args += strcspn(args, ",");
		args += *args == ',';
	}
	if (*args == '\0')
		return false;
	args += sizeof(key) - 1;
	n = strcspn(args, ",");
	if (n == 0 || n >= len)
		return false;
	memcpy(out, args, n);
	out[n] = '\0';
	return true;
}

/* Appends ",key=value" unless there is no such key or the user gave it. */
static void
add_arg(char *vdev, size_t len, const char *key, const char *value)
{
	size_t used = strlen(vdev);

	if (key != NULL && !has_arg(vdev, key))
		snprintf(vdev + used, len - used, ",%s=%s", key, value);
}

static void
make_vdev(const struct uvs_conf *c, const struct nic_kind *k, const char *args,
	  struct uvs_conf_eal_nic *out)
{
	char number[16], mac[32];
	const uint8_t *b = c->mac.bytes;
	bool bare = k->first != NULL && args[0] != '\0' && strcspn(args, "=") >= strcspn(args, ",");

	snprintf(out->vdev, sizeof(out->vdev), "%s%s%s%s%s", k->vdev, args[0] ? "," : "",
		 bare ? k->first : "", bare ? "=" : "", args);
	snprintf(number, sizeof(number), "%u",
		 k->one_if_shared && c->mode == UVS_MODE_SHARED ? 1 : c->queues);
	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4],
		 b[5]);
	if (c->mac.set)
		add_arg(out->vdev, sizeof(out->vdev), k->mac, mac);
	add_arg(out->vdev, sizeof(out->vdev), k->rxq, number);
	add_arg(out->vdev, sizeof(out->vdev), k->txq, number);
	if (c->mode == UVS_MODE_SHARED)
		add_arg(out->vdev, sizeof(out->vdev), k->lives, "any");
}

/* name in the folder of this library; in the build tree the driver has a folder of its own. */
static void
find_plugin(const char *name, char *out, size_t len)
{
	static const char *const places[] = {"", "../uveth/", "../dpdk/"};
	char whole[PATH_MAX];
	Dl_info self;
	const char *slash;

	snprintf(out, len, "%s", name);
	if (dladdr((const void *)find_plugin, &self) == 0 || self.dli_fname == NULL)
		return;
	slash = strrchr(self.dli_fname, '/');
	for (size_t i = 0; slash != NULL && i < sizeof(places) / sizeof(places[0]); i++) {
		char path[UVS_CONF_STR + 64];

		snprintf(path, sizeof(path), "%.*s%s%s", (int)(slash + 1 - self.dli_fname),
			 self.dli_fname, places[i], name);
		if (realpath(path, whole) != NULL) {
			snprintf(out, len, "%s", whole);
			return;
		}
	}
}

const char *
uvs_conf_nic(const struct uvs_conf *c, struct uvs_conf_eal_nic *out)
{
	const char *args;
	const struct nic_kind *k = find_kind(c->nic, &args);

	memset(out, 0, sizeof(*out));
	if (k == NULL)
		return "is none of uveth:, tap:, af_packet:, ring, pci:";
	if (k->needs != NULL && !has_arg(args, k->needs))
		return k->missing;
	if (strpbrk(args, " \t") != NULL)
		return "has a space in the driver's arguments";
	if (k->vdev == NULL && args[0] == '\0')
		return "pci needs an address, such as pci:0000:3b:00.0";
	if (k->vdev == NULL)
		snprintf(out->allow, sizeof(out->allow), "%s", args);
	else
		make_vdev(c, k, args, out);
	if (c->plugin[0] != '\0')
		snprintf(out->plugin, sizeof(out->plugin), "%s", c->plugin);
	else if (k->plugin != NULL)
		find_plugin(k->plugin, out->plugin, sizeof(out->plugin));
	return NULL;
}
