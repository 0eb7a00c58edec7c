/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Verbs of the managed switch: vlan, fdb, mirror, adapter, vf, and port set.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "uvbridge/cli.h"
#include "uvbridge/control.h"
#include "uvbridge/table.h"

/* -------------------------------------------------------------------------------------- asking */

/* Have the daemon do it. */
static int
ask(const char *fabric, void *msg, size_t len, enum uvb_ctl_type type)
{
	struct uvb_ctl_hdr *hdr = msg;
	struct uvb_ctl_answer ans;
	char path[PATH_MAX], err[UVB_ERR_LEN];
	int fd, rc;

	*hdr = (struct uvb_ctl_hdr){UVB_CTL_MAGIC, UVB_CTL_VERSION, (uint16_t)type, (uint32_t)len,
				    UVB_ABI_VERSION};
	if (uvb_fabric_path(fabric, path, err) != 0)
		return cli_fail("%s", err);
	fd = uvb_control_connect(path, err);
	if (fd < 0)
		return cli_fail("%s: %s", fabric, err);
	rc = uvb_control_call(fd, msg, len, &ans, sizeof(ans), UVB_CTL_WAIT_MS);
	close(fd);
	if (rc == -ETIMEDOUT)
		return cli_fail("%s: its daemon does not answer (stopped?): continue it", fabric);
	if (rc != 0)
		return cli_fail("%s: its daemon hung up: %s", fabric, strerror(-rc));
	ans.text[UVB_CTL_TEXT - 1] = '\0';
	return ans.status == 0 ? EXIT_OK : cli_fail("%s: %s", fabric, ans.text);
}

static bool
copy_name(char to[UVB_NAME_LEN], const char *name)
{
	if (!uvb_name_ok(name))
		return false;
	snprintf(to, UVB_NAME_LEN, "%s", name);
	return true;
}

static int
ask_policy(const char *fabric, struct uvb_ctl_policy *m, const char *port)
{
	if (!copy_name(m->name, port))
		return cli_fail("\"%.40s\" is no name for a port", port);
	return ask(fabric, m, sizeof(*m), UVB_CTL_POLICY);
}

static int
ask_adapter(const char *fabric, struct uvb_ctl_adapter *m, const char *name)
{
	if (!copy_name(m->name, name))
		return cli_fail("\"%.40s\" is no name for an adapter", name);
	return ask(fabric, m, sizeof(*m), UVB_CTL_ADAPTER);
}

/* ------------------------------------------------------------------------------------- reading */

static bool
parse_mac(const char *text, uint8_t mac[6])
{
	unsigned b[6];
	char end;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
		   &end) != 6)
		return false;
	for (int i = 0; i < 6; i++)
		mac[i] = (uint8_t)b[i];
	return true;
}

static bool
parse_vlan(const char *text, uint32_t *vlan)
{
	uint64_t n;

	if (!cli_number(text, 4094, &n) || n == 0)
		return false;
	*vlan = (uint32_t)n;
	return true;
}

/* "10,20-30" */
static bool
parse_vlans(const char *text, uint32_t set[4096 / 32])
{
	const char *at = text;
	char *end;

	while (*at != '\0') {
		unsigned long from = strtoul(at, &end, 10), to = from;

		if (end == at || *at < '0' || *at > '9')
			return false;
		at = end;
		if (*at == '-') {
			to = strtoul(at + 1, &end, 10);
			if (end == at + 1 || at[1] < '0' || at[1] > '9')
				return false;
			at = end;
		}
		if (from < 1 || to > 4094 || from > to)
			return false;
		for (unsigned long v = from; v <= to; v++)
			set[v / 32] |= 1u << v % 32;
		if (*at == ',' && at[1] != '\0')
			at++;
		else if (*at != '\0')
			return false;
	}
	return at != text;
}

/* "10gbit", "2.5gbit", "100mbit"; a bare number is Mbit/s, as for ip(8). 0: no limit. */
static bool
parse_rate(const char *text, uint64_t *bits)
{
	static const struct {
		const char *suffix;
		double bits;
	} units[] = {{"", 1e6},     {"bit", 1},    {"kbit", 1e3},
		     {"mbit", 1e6}, {"gbit", 1e9}, {"tbit", 1e12}};
	char *end;
	double n = strtod(text, &end);

	if (end == text || text[0] < '0' || text[0] > '9')
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(end, units[i].suffix) == 0 && n * units[i].bits <= 1e12) {
			*bits = (uint64_t)(n * units[i].bits);
			return true;
		}
	return false;
}

static bool
parse_switch(const char *text, const char *on, const char *off, bool *value)
{
	*value = strcmp(text, on) == 0;
	return *value || strcmp(text, off) == 0;
}

/* ------------------------------------------------------------------------------------- listing */

static void
format_rate(char *text, size_t room, uint64_t bits)
{
	if (bits == 0)
		snprintf(text, room, "-");
	else if (bits % 1000000000 == 0)
		snprintf(text, room, "%" PRIu64 "gbit", bits / 1000000000);
	else
		snprintf(text, room, "%.6gmbit", (double)bits / 1e6);
}

static const char *
mirror_name(const struct uvb_map *m, uint16_t one_plus)
{
	return one_plus != 0 ? uvb_map_port(m, one_plus - 1u)->name : "-";
}

void
cli_show_settings(const struct uvb_view *v)
{
	const struct uvb_map *m = &v->map;
	static char allowed[4096 * 5];
	struct uvb_policy p;
	struct table t;

	table_begin(&t,
		    "port|mode|vlan|allowed|weight|isolation|broadcast/s|multicast/s|unknown/s|"
		    "mirror tx|mirror rx",
		    "llrlrrrrrll");
	for (uint32_t i = 0; i < m->nb_ports; i++) {
		if (!uvb_view_policy(m, i, &p))
			continue;
		uvb_vlan_list(p.vlan_allowed, allowed, sizeof(allowed));
		table_add(&t, "%.31s", uvb_map_port(m, i)->name);
		table_add(&t, "%s", uvb_vlan_mode_name(p.vlan_mode));
		table_add(&t, p.vlan != 0 ? "%u" : "-", p.vlan);
		table_add(&t, "%s", allowed[0] != '\0' ? allowed : "-");
		table_add(&t, "%u", p.weight != 0 ? p.weight : 1);
		table_add(&t, p.isolation != 0 ? "%u" : "-", p.isolation);
		for (int s = 0; s < UVB_STORM_MAX; s++)
			table_add(&t, p.storm[s] != 0 ? "%u" : "-", p.storm[s]);
		table_add(&t, "%.31s", mirror_name(m, p.mirror_tx));
		table_add(&t, "%.31s", mirror_name(m, p.mirror_rx));
	}
	table_end(&t, stdout);
}

static void
add_function(struct table *t, const struct uvb_map *m, uint32_t port, const struct uvb_policy *p)
{
	char rate[3][32];

	format_rate(rate[0], sizeof(rate[0]), p->rate_max);
	format_rate(rate[1], sizeof(rate[1]), p->rate_min);
	format_rate(rate[2], sizeof(rate[2]), p->uplink);
	table_add(t, "%.31s", uvb_map_port(m, port)->name);
	if (p->flags & UVB_POL_MAC)
		table_add(t, "%02x:%02x:%02x:%02x:%02x:%02x", p->mac[0], p->mac[1], p->mac[2],
			  p->mac[3], p->mac[4], p->mac[5]);
	else
		table_add(t, "-");
	table_add(t, p->vlan_mode == UVB_VLAN_ACCESS ? "%u" : "-", p->vlan);
	table_add(t, "%u", p->vlan_pcp);
	table_add(t, "%s", p->flags & UVB_POL_SPOOFCHK ? "on" : "off");
	table_add(t, "%s", p->flags & UVB_POL_UNTRUSTED ? "off" : "on");
	table_add(t, "%s", uvb_vf_state_name(p->vf_state));
	table_add(t, "%s", p->flags & UVB_POL_LINK_DOWN ? "down" : "up");
	for (int i = 0; i < 3; i++)
		table_add(t, "%s", rate[i]);
}

void
cli_show_adapters(const struct uvb_view *v)
{
	const struct uvb_map *m = &v->map;
	struct uvb_policy p;
	struct table t;

	table_begin(
		&t,
		"function|mac|vlan|qos|spoofchk|trust|state|link|max_tx_rate|min_tx_rate|uplink",
		"llrrllllrrr");
	for (uint32_t a = 1; a <= UVB_ADAPTERS_MAX; a++)
		for (uint32_t i = 0; i < m->nb_ports; i++)
			if (uvb_view_policy(m, i, &p) && p.adapter == a)
				add_function(&t, m, i, &p);
	table_end(&t, stdout);
}

static int
list(const char *fabric, bool json, void (*show)(const struct uvb_view *v))
{
	char err[UVB_ERR_LEN];
	struct uvb_view *view;

	if (uvb_view_open(fabric, &view, err) != 0)
		return cli_fail("%s", err);
	if (json) {
		fputs("{", stdout);
		uvb_put_switch(stdout, &view->map);
		fputs("}\n", stdout);
	} else {
		show(view);
	}
	uvb_view_close(view);
	return EXIT_OK;
}

/* Positional words and options of one call; options take a value each, but for flags. */
struct words {
	int n;
	char **word;
	bool json;
};

/* The next option, or -1 with the words filled in; '?' after saying what is wrong. */
static int
next_option(int argc, char **argv, const struct option *longs, struct words *w)
{
	int opt;

	while ((opt = getopt_long(argc, argv, "", longs, NULL)) == 'J')
		w->json = true;
	w->n = argc - optind;
	w->word = argv + optind;
	return opt;
}

#define JSON_OPTION                            \
	{                                      \
		"json", no_argument, NULL, 'J' \
	}
#define NO_OPTION                \
	{                        \
		NULL, 0, NULL, 0 \
	}

/* NAME alone, or NAME list */
static bool
wants_list(const struct words *w)
{
	return w->n == 1 || (w->n == 2 && strcmp(w->word[1], "list") == 0);
}

/* ---------------------------------------------------------------------------------------- vlan */

static int
vlan_set(const struct words *w, uint32_t native)
{
	struct uvb_ctl_policy m = {.what = UVB_CTLP_VLAN};
	const char *mode = w->word[2], *arg = w->n > 3 ? w->word[3] : NULL;
	uint32_t vlan = 0;

	if (strcmp(mode, "none") == 0 && arg == NULL && native == 0)
		return ask_policy(w->word[0], &m, w->word[1]);
	if (strcmp(mode, "access") == 0 && arg != NULL && native == 0) {
		if (!parse_vlan(arg, &vlan))
			return cli_usage("vlan", "\"%s\" is no VLAN: 1 to 4094", arg);
		m.value.vlan_mode = UVB_VLAN_ACCESS;
		m.value.vlan = (uint16_t)vlan;
		return ask_policy(w->word[0], &m, w->word[1]);
	}
	if (strcmp(mode, "trunk") != 0 || arg == NULL)
		return cli_usage("vlan", "access VLAN, trunk LIST or none is wanted");
	if (!parse_vlans(arg, m.value.vlan_allowed))
		return cli_usage("vlan", "\"%s\" is no list of VLANs: 10,20-30", arg);
	m.value.vlan_allowed[native / 32] |= native != 0 ? 1u << native % 32 : 0;
	m.value.vlan_mode = UVB_VLAN_TRUNK;
	m.value.vlan = (uint16_t)native;
	return ask_policy(w->word[0], &m, w->word[1]);
}

int
cli_vlan(int argc, char **argv)
{
	static const struct option longs[] = {
		{"native", required_argument, NULL, 'n'}, JSON_OPTION, NO_OPTION};
	uint32_t native = 0;
	struct words w = {0};
	int opt;

	while ((opt = next_option(argc, argv, longs, &w)) != -1) {
		if (opt != 'n')
			return EXIT_USAGE;
		if (!parse_vlan(optarg, &native))
			return cli_usage("vlan", "\"%s\" is no VLAN: 1 to 4094", optarg);
	}
	if (wants_list(&w))
		return list(w.word[0], w.json, cli_show_settings);
	if (w.n < 3 || w.n > 4 || w.json)
		return cli_usage("vlan", "a fabric, a port and its mode are wanted");
	return vlan_set(&w, native);
}

/* ----------------------------------------------------------------------------------------- fdb */

static int
fdb_call(struct uvb_ctl_fdb *m, const struct words *w, const char *port)
{
	bool with_mac = m->op != UVB_CTLF_FLUSH;

	if (with_mac && (w->n < 3 || !parse_mac(w->word[2], m->mac)))
		return cli_usage("fdb", "an address like 02:00:00:00:00:01 is wanted");
	if (w->n != 2 + with_mac + (m->op == UVB_CTLF_ADD))
		return cli_usage("fdb", m->op == UVB_CTLF_ADD ? "an address and a port are wanted"
							      : "too many words");
	if (m->op == UVB_CTLF_ADD)
		port = w->word[3];
	if (port != NULL && !copy_name(m->port, port))
		return cli_fail("\"%.40s\" is no name for a port", port);
	return ask(w->word[0], m, sizeof(*m), UVB_CTL_FDB);
}

static uint32_t
fdb_operation(const char *word)
{
	if (strcmp(word, "add") == 0)
		return UVB_CTLF_ADD;
	if (strcmp(word, "del") == 0)
		return UVB_CTLF_DEL;
	return strcmp(word, "flush") == 0 ? UVB_CTLF_FLUSH : 0;
}

static int
fdb_list(const char *fabric, bool json)
{
	char err[UVB_ERR_LEN];
	struct uvb_view *view;

	if (!json)
		return list(fabric, false, cli_show_fdb);
	if (uvb_view_open(fabric, &view, err) != 0)
		return cli_fail("%s", err);
	fputs("{", stdout);
	uvb_put_fdb(stdout, &view->map);
	fputs("}\n", stdout);
	uvb_view_close(view);
	return EXIT_OK;
}

int
cli_fdb(int argc, char **argv)
{
	static const struct option longs[] = {{"vlan", required_argument, NULL, 'v'},
					      {"port", required_argument, NULL, 'p'},
					      {"static", no_argument, NULL, 's'},
					      JSON_OPTION,
					      NO_OPTION};
	struct uvb_ctl_fdb m = {.vlan = UINT32_MAX};
	const char *port = NULL;
	struct words w = {0};
	int opt;

	while ((opt = next_option(argc, argv, longs, &w)) != -1) {
		if (opt == 'v' && !parse_vlan(optarg, &m.vlan))
			return cli_usage("fdb", "\"%s\" is no VLAN: 1 to 4094", optarg);
		if (opt == 'p')
			port = optarg;
		if (opt == 's')
			m.is_static = 1;
		if (opt == '?')
			return EXIT_USAGE;
	}
	if (wants_list(&w))
		return fdb_list(w.word[0], w.json);
	m.op = w.n > 1 ? fdb_operation(w.word[1]) : 0;
	if (m.op == 0 || w.json)
		return cli_usage("fdb", "a fabric, and list, add, del or flush are wanted");
	return fdb_call(&m, &w, port);
}

/* -------------------------------------------------------------------------------------- port set
 */

/* A number, or "off" for 0. */
static bool
parse_limit(const char *text, uint64_t max, uint64_t *n)
{
	*n = 0;
	return strcmp(text, "off") == 0 || cli_number(text, max, n);
}

int
cli_port_set(int argc, char **argv)
{
	static const struct option longs[] = {{"weight", required_argument, NULL, 'w'},
					      {"isolation", required_argument, NULL, 'i'},
					      {"storm-broadcast", required_argument, NULL, 'b'},
					      {"storm-multicast", required_argument, NULL, 'm'},
					      {"storm-unknown", required_argument, NULL, 'u'},
					      JSON_OPTION,
					      NO_OPTION};
	struct uvb_ctl_policy m = {0};
	struct words w = {0};
	uint64_t n;
	int opt;

	while ((opt = next_option(argc, argv, longs, &w)) != -1) {
		if (opt == '?')
			return EXIT_USAGE;
		if (!parse_limit(optarg,
				 opt == 'w'   ? UVB_WEIGHT_MAX
				 : opt == 'i' ? UINT16_MAX
					      : UINT32_MAX,
				 &n))
			return cli_usage("port set", "\"%s\" is out of range", optarg);
		if (opt == 'w') {
			m.what |= UVB_CTLP_WEIGHT;
			m.value.weight = (uint16_t)n;
		} else if (opt == 'i') {
			m.what |= UVB_CTLP_ISOLATION;
			m.value.isolation = (uint16_t)n;
		} else {
			uint32_t storm = opt == 'b'   ? UVB_STORM_BROADCAST
					 : opt == 'm' ? UVB_STORM_MULTICAST
						      : UVB_STORM_UNKNOWN;

			m.what |= UVB_CTLP_STORM << storm;
			m.value.storm[storm] = (uint32_t)n;
		}
	}
	if (w.n == 1 && m.what == 0)
		return list(w.word[0], w.json, cli_show_settings);
	if (w.n != 2 || m.what == 0)
		return cli_usage("port set", "a fabric, a port and something to set are wanted");
	return ask_policy(w.word[0], &m, w.word[1]);
}

/* -------------------------------------------------------------------------------------- mirror */

int
cli_mirror(int argc, char **argv)
{
	static const struct option longs[] = {{"rx", no_argument, NULL, 'r'},
					      {"tx", no_argument, NULL, 't'},
					      JSON_OPTION,
					      NO_OPTION};
	struct uvb_ctl_policy m = {0};
	struct words w = {0};
	int opt;
	bool add;

	while ((opt = next_option(argc, argv, longs, &w)) != -1) {
		if (opt == '?')
			return EXIT_USAGE;
		m.what |= opt == 'r' ? UVB_CTLP_MIRROR_RX : UVB_CTLP_MIRROR_TX;
	}
	if (wants_list(&w))
		return list(w.word[0], w.json, cli_show_settings);
	if (w.n < 3 || w.json || !parse_switch(w.word[1], "add", "del", &add) || w.n != 3 + add)
		return cli_usage("mirror", "add FROM TO, del FROM or list is wanted");
	if (m.what == 0)
		m.what = UVB_CTLP_MIRROR_RX | UVB_CTLP_MIRROR_TX;
	if (add && !copy_name(m.mirror, w.word[3]))
		return cli_fail("\"%.40s\" is no name for a port", w.word[3]);
	return ask_policy(w.word[0], &m, w.word[2]);
}

/* --------------------------------------------------------------------------------- adapter, vf */

static bool
adapter_option(struct uvb_ctl_adapter *m, int opt, const char *arg)
{
	uint64_t n;
	bool up;

	switch (opt) {
	case 'n':
		if (!cli_number(arg, UVB_VFS_MAX, &n))
			return false;
		m->nb_vfs = (uint32_t)n;
		return true;
	case 'r':
		m->what |= UVB_CTLA_RATE;
		return parse_rate(arg, &m->rate);
	default:
		m->what |= UVB_CTLA_LINK;
		if (!parse_switch(arg, "up", "down", &up))
			return false;
		m->link_down = !up;
		return true;
	}
}

static uint32_t
adapter_operation(const char *word)
{
	if (strcmp(word, "add") == 0)
		return UVB_CTLA_ADD;
	if (strcmp(word, "del") == 0)
		return UVB_CTLA_DEL;
	return strcmp(word, "set") == 0 ? UVB_CTLA_SET : 0;
}

int
cli_adapter(int argc, char **argv)
{
	static const struct option longs[] = {{"vfs", required_argument, NULL, 'n'},
					      {"uplink-rate", required_argument, NULL, 'r'},
					      {"link", required_argument, NULL, 'l'},
					      JSON_OPTION,
					      NO_OPTION};
	struct uvb_ctl_adapter m = {0};
	struct words w = {0};
	int opt;

	while ((opt = next_option(argc, argv, longs, &w)) != -1) {
		if (opt == '?')
			return EXIT_USAGE;
		if (!adapter_option(&m, opt, optarg))
			return cli_usage("adapter", "\"%s\" makes no sense there", optarg);
	}
	if (wants_list(&w))
		return list(w.word[0], w.json, cli_show_adapters);
	m.op = w.n == 3 ? adapter_operation(w.word[1]) : 0;
	if (m.op == 0 || w.json)
		return cli_usage("adapter", "a fabric, add, set or del, and an adapter are wanted");
	if (m.op == UVB_CTLA_ADD && m.nb_vfs == 0)
		return cli_usage("adapter", "--vfs N is wanted, 1 to %u", UVB_VFS_MAX);
	if (m.op == UVB_CTLA_SET && m.what == 0)
		return cli_usage("adapter", "--uplink-rate or --link is wanted");
	return ask_adapter(w.word[0], &m, w.word[2]);
}

static bool
vf_mac(struct uvb_ctl_policy *m, const char *arg)
{
	static const uint8_t zero[6];

	m->what |= UVB_CTLP_MAC;
	if (!parse_mac(arg, m->value.mac))
		return false;
	/* All zero: as it likes, as for ip(8). */
	if (memcmp(m->value.mac, zero, 6) != 0)
		m->value.flags |= UVB_POL_MAC;
	return true;
}

static bool
vf_vlan(struct uvb_ctl_policy *m, const char *arg)
{
	uint64_t n;

	if (!cli_number(arg, 4094, &n))
		return false;
	m->what |= UVB_CTLP_VLAN | UVB_CTLP_PCP;
	m->value.vlan_mode = n != 0 ? UVB_VLAN_ACCESS : UVB_VLAN_NONE;
	m->value.vlan = (uint16_t)n;
	return true;
}

static bool
vf_qos(struct uvb_ctl_policy *m, const char *arg)
{
	uint64_t n;

	if (!(m->what & UVB_CTLP_VLAN) || !cli_number(arg, 7, &n))
		return false;
	m->value.vlan_pcp = (uint8_t)n;
	return true;
}

static bool
vf_flag(struct uvb_ctl_policy *m, const char *arg, uint32_t what, uint32_t flag, bool means)
{
	bool on;

	if (!parse_switch(arg, "on", "off", &on))
		return false;
	m->what |= what;
	m->value.flags |= on == means ? flag : 0;
	return true;
}

static bool
vf_spoofchk(struct uvb_ctl_policy *m, const char *arg)
{
	return vf_flag(m, arg, UVB_CTLP_SPOOFCHK, UVB_POL_SPOOFCHK, true);
}

static bool
vf_trust(struct uvb_ctl_policy *m, const char *arg)
{
	return vf_flag(m, arg, UVB_CTLP_TRUST, UVB_POL_UNTRUSTED, false);
}

static bool
vf_state(struct uvb_ctl_policy *m, const char *arg)
{
	m->what |= UVB_CTLP_STATE;
	for (int s = UVB_VF_AUTO; s <= UVB_VF_DISABLE; s++)
		if (strcmp(arg, uvb_vf_state_name((uint32_t)s)) == 0) {
			m->value.vf_state = (uint8_t)s;
			return true;
		}
	return false;
}

static bool
vf_max(struct uvb_ctl_policy *m, const char *arg)
{
	m->what |= UVB_CTLP_RATE_MAX;
	return parse_rate(arg, &m->value.rate_max);
}

static bool
vf_min(struct uvb_ctl_policy *m, const char *arg)
{
	m->what |= UVB_CTLP_RATE_MIN;
	return parse_rate(arg, &m->value.rate_min);
}

static const struct {
	const char *name;
	bool (*take)(struct uvb_ctl_policy *m, const char *arg);
	const char *wants;
} vf_keys[] = {
	{"mac", vf_mac, "an address; all zero: as the VF likes"},
	{"vlan", vf_vlan, "1 to 4094, or 0 for none"},
	{"qos", vf_qos, "0 to 7, after vlan"},
	{"spoofchk", vf_spoofchk, "on or off"},
	{"trust", vf_trust, "on or off"},
	{"state", vf_state, "auto, enable or disable"},
	{"max_tx_rate", vf_max, "Mbit/s, or 10gbit; 0: no limit"},
	{"min_tx_rate", vf_min, "Mbit/s, or 10gbit; 0: none"},
};

static int
vf_words(struct uvb_ctl_policy *m, const struct words *w)
{
	for (int i = 3; i < w->n; i += 2) {
		size_t k = 0, n = sizeof(vf_keys) / sizeof(vf_keys[0]);

		while (k < n && strcmp(w->word[i], vf_keys[k].name) != 0)
			k++;
		if (k == n)
			return cli_usage("vf", "\"%s\" is no property of a VF", w->word[i]);
		if (i + 1 == w->n || !vf_keys[k].take(m, w->word[i + 1]))
			return cli_usage("vf", "%s wants %s", vf_keys[k].name, vf_keys[k].wants);
	}
	return EXIT_OK;
}

int
cli_vf(int argc, char **argv)
{
	static const struct option longs[] = {JSON_OPTION, NO_OPTION};
	struct uvb_ctl_policy m = {0};
	struct words w = {0};
	char port[UVB_NAME_LEN + 16];
	uint64_t n;
	int rc;

	if (next_option(argc, argv, longs, &w) != -1)
		return EXIT_USAGE;
	if (wants_list(&w))
		return list(w.word[0], w.json, cli_show_adapters);
	if (w.n < 5 || w.json || !cli_number(w.word[2], UVB_VFS_MAX - 1, &n))
		return cli_usage("vf", "a fabric, an adapter, the VF's number and what to set are "
				       "wanted");
	rc = vf_words(&m, &w);
	if (rc != EXIT_OK)
		return rc;
	snprintf(port, sizeof(port), "%.31s.vf%u", w.word[1], (unsigned)n);
	return ask_policy(w.word[0], &m, port);
}
