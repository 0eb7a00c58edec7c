/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Parsing, checking and printing by the table of keys. */
#include "stack/conf/conf_net.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE (64 * 1024)

static int __attribute__((format(printf, 2, 3)))
fail(struct uvs_conf_error *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return -1;
}

static const struct uvs_conf_key *
find_key(const char *name)
{
	for (unsigned int i = 0; i < uvs_conf_nkeys; i++)
		if (strcmp(uvs_conf_keys[i].name, name) == 0)
			return &uvs_conf_keys[i];
	return NULL;
}

static void *
slot(struct uvs_conf *c, const struct uvs_conf_key *k)
{
	return (char *)c + k->offset;
}

/* ------------------------------------------------------------------------------ single values */

static int
set_uint(uint32_t *out, const struct uvs_conf_key *k, const char *value, struct uvs_conf_error *err)
{
	char *end;
	unsigned long n;

	if (!isdigit((unsigned char)value[0]))
		return fail(err, "%s: \"%s\" is not a number", k->name, value);
	errno = 0;
	n = strtoul(value, &end, 10);
	if (k->type == UVS_CONF_SIZE && (*end == 'k' || *end == 'm')) {
		unsigned int shift = *end == 'k' ? 10 : 20;

		if (n > ULONG_MAX >> shift)
			errno = ERANGE;
		n <<= shift;
		end++;
	}
	if (*end != '\0')
		return fail(err, "%s: \"%s\" is not a number%s", k->name, value,
			    k->type == UVS_CONF_SIZE ? " (with k or m for KiB or MiB)" : "");
	if (errno == ERANGE || n < k->min || n > k->max)
		return fail(err, "%s: %s is not between %u and %u", k->name, value, k->min, k->max);
	*out = (uint32_t)n;
	return 0;
}

static int
set_enum(uint32_t *out, const struct uvs_conf_key *k, const char *value, struct uvs_conf_error *err)
{
	char choices[128] = "";

	for (uint32_t i = 0; k->names[i] != NULL; i++) {
		if (strcmp(k->names[i], value) == 0) {
			*out = i;
			return 0;
		}
		strncat(choices, i ? ", " : "", sizeof(choices) - strlen(choices) - 1);
		strncat(choices, k->names[i], sizeof(choices) - strlen(choices) - 1);
	}
	return fail(err, "%s: \"%s\" is none of: %s", k->name, value, choices);
}

static int
set_string(char *out, const struct uvs_conf_key *k, const char *value, struct uvs_conf_error *err)
{
	if (strlen(value) >= UVS_CONF_STR)
		return fail(err, "%s: longer than %d characters", k->name, UVS_CONF_STR - 1);
	strcpy(out, value);
	return 0;
}

static int
set_addr(struct uvs_conf_cidr *out, const struct uvs_conf_key *k, const char *value,
	 struct uvs_conf_error *err)
{
	memset(out, 0, sizeof(*out));
	if (value[0] != '\0' && inet_pton(AF_INET, value, &out->addr) != 1)
		return fail(err, "%s: \"%s\" is not an IPv4 address", k->name, value);
	return 0;
}

/* Lists and addresses of conf_net.h, whose reason becomes the message. */
static int
set_net(void *out, const struct uvs_conf_key *k, const char *value, struct uvs_conf_error *err)
{
	char why[256];
	int r = 0;

	if (k->type == UVS_CONF_NETS4)
		r = uvs_conf_nets_parse(out, AF_INET, value, why, sizeof(why));
	else if (k->type == UVS_CONF_NETS6)
		r = uvs_conf_nets_parse(out, AF_INET6, value, why, sizeof(why));
	else if (k->type == UVS_CONF_ROUTE)
		r = uvs_conf_routes_parse(out, value, why, sizeof(why));
	else if (k->type == UVS_CONF_VLAN)
		r = uvs_conf_vlans_parse(out, value, why, sizeof(why));
	else if (value[0] != '\0')
		r = uvs_conf_ip_parse(out, AF_INET6, value, why, sizeof(why));
	else
		memset(out, 0, sizeof(struct uvs_conf_net));
	return r < 0 ? fail(err, "%s: %s", k->name, why) : 0;
}

static void
note_first_address(struct uvs_conf *c)
{
	memset(&c->address, 0, sizeof(c->address));
	if (c->addresses.n != 0) {
		c->address.addr = c->addresses.net[0].v4;
		c->address.prefix = c->addresses.net[0].prefix;
	}
}

static int
set_mac(struct uvs_conf_mac *out, const struct uvs_conf_key *k, const char *value,
	struct uvs_conf_error *err)
{
	uint8_t *b = out->bytes;
	char rest;

	memset(out, 0, sizeof(*out));
	if (value[0] == '\0')
		return 0;
	if (strlen(value) != 17 || sscanf(value, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", &b[0],
					  &b[1], &b[2], &b[3], &b[4], &b[5], &rest) != 6)
		return fail(err, "%s: \"%s\" is not an Ethernet address, aa:bb:cc:dd:ee:ff",
			    k->name, value);
	out->set = true;
	return 0;
}

static int
set_value(struct uvs_conf *c, const struct uvs_conf_key *k, const char *value,
	  struct uvs_conf_error *err)
{
	void *to = slot(c, k);

	switch (k->type) {
	case UVS_CONF_UINT:
	case UVS_CONF_SIZE:
		return set_uint(to, k, value, err);
	case UVS_CONF_ENUM:
		return set_enum(to, k, value, err);
	case UVS_CONF_STRING:
		return set_string(to, k, value, err);
	case UVS_CONF_ADDR:
		return set_addr(to, k, value, err);
	case UVS_CONF_NETS4:
	case UVS_CONF_NETS6:
	case UVS_CONF_ADDR6:
	case UVS_CONF_ROUTE:
	case UVS_CONF_VLAN:
		if (set_net(to, k, value, err) < 0)
			return -1;
		note_first_address(c);
		return 0;
	case UVS_CONF_MAC:
		return set_mac(to, k, value, err);
	}
	return -1;
}

/* -------------------------------------------------------------------------------------- files */

static char *
trim(char *s)
{
	char *end;

	s += strspn(s, " \t\r");
	end = s + strlen(s);
	while (end > s && strchr(" \t\r", end[-1]) != NULL)
		end--;
	*end = '\0';
	return s;
}

/* A comment begins at a '#' that begins the line or follows white space. */
static void
strip_comment(char *line)
{
	for (char *p = line; *p != '\0'; p++) {
		if (*p == '#' && (p == line || p[-1] == ' ' || p[-1] == '\t')) {
			*p = '\0';
			return;
		}
	}
}

/* Prefixes err->text, which holds the reason, with the place. */
static int
at_line(struct uvs_conf_error *err, const char *name, unsigned int line)
{
	char reason[sizeof(err->text)];

	strcpy(reason, err->text);
	if (line != 0)
		snprintf(err->text, sizeof(err->text), "%.200s:%u: %.280s", name, line, reason);
	else
		snprintf(err->text, sizeof(err->text), "%.200s: %.280s", name, reason);
	return -1;
}

static int
set_key(struct uvs_conf *c, const char *name, const char *value, unsigned int line,
	struct uvs_conf_error *err)
{
	const struct uvs_conf_key *k = find_key(name);

	if (k == NULL)
		return fail(err, "%s: unknown key", name);
	if (line != 0 && c->line[k - uvs_conf_keys] != 0)
		return fail(err, "%s: already set in line %u", name, c->line[k - uvs_conf_keys]);
	c->line[k - uvs_conf_keys] = (uint16_t)line;
	return set_value(c, k, value, err);
}

static int
parse_line(struct uvs_conf *c, char *text, unsigned int line, struct uvs_conf_error *err)
{
	char *equals;

	strip_comment(text);
	text = trim(text);
	if (*text == '\0')
		return 0;
	equals = strchr(text, '=');
	if (equals == NULL)
		return fail(err, "\"%s\" is not key = value", text);
	*equals = '\0';
	return set_key(c, trim(text), trim(equals + 1), line, err);
}

static int
parse_lines(struct uvs_conf *c, char *text, const char *name, struct uvs_conf_error *err)
{
	unsigned int line = 0;

	for (char *next; text != NULL; text = next) {
		next = strchr(text, '\n');
		if (next != NULL)
			*next++ = '\0';
		if (parse_line(c, text, ++line, err) < 0)
			return at_line(err, name, line);
	}
	return 0;
}

/* Lines of key=value, from a command line, over what the file says. */
static int
apply_sets(struct uvs_conf *c, const char *sets, struct uvs_conf_error *err)
{
	char *copy = strdup(sets), *next, *s, *equals;
	int r = copy ? 0 : fail(err, "out of memory");

	for (s = copy; s != NULL && r == 0; s = next) {
		next = strchr(s, '\n');
		if (next != NULL)
			*next++ = '\0';
		if (*trim(s) == '\0')
			continue;
		equals = strchr(s, '=');
		if (equals == NULL) {
			r = fail(err, "--set %s: not key=value", s);
			continue;
		}
		*equals = '\0';
		r = uvs_conf_set(c, trim(s), trim(equals + 1), err);
		if (r < 0)
			at_line(err, "--set", 0);
	}
	free(copy);
	return r;
}

static int
parse_all(struct uvs_conf *c, const char *text, const char *name, const char *sets,
	  struct uvs_conf_error *err)
{
	char *copy = strdup(text);
	int r;

	if (copy == NULL)
		return fail(err, "%s: out of memory", name);
	uvs_conf_defaults(c);
	r = parse_lines(c, copy, name, err);
	free(copy);
	if (r == 0 && sets != NULL)
		r = apply_sets(c, sets, err);
	return r < 0 ? r : uvs_conf_check(c, name, err);
}

int
uvs_conf_parse(struct uvs_conf *c, const char *text, const char *name, struct uvs_conf_error *err)
{
	return parse_all(c, text, name, NULL, err);
}

int
uvs_conf_load(struct uvs_conf *c, const char *path, struct uvs_conf_error *err)
{
	return uvs_conf_load_with(c, path, NULL, err);
}

int
uvs_conf_add_set(char **sets, const char *set)
{
	char *more;

	if (asprintf(&more, "%s%s\n", *sets != NULL ? *sets : "", set) < 0)
		return -ENOMEM;
	free(*sets);
	*sets = more;
	return 0;
}

int
uvs_conf_load_with(struct uvs_conf *c, const char *path, const char *sets,
		   struct uvs_conf_error *err)
{
	FILE *f = fopen(path, "re");
	char *text;
	size_t n;
	int r;

	if (f == NULL)
		return fail(err, "%s: %s", path, strerror(errno));
	text = malloc(MAX_FILE);
	if (text == NULL) {
		fclose(f);
		return fail(err, "%s: out of memory", path);
	}
	n = fread(text, 1, MAX_FILE, f);
	if (ferror(f))
		r = fail(err, "%s: %s", path, strerror(errno));
	else if (n == MAX_FILE)
		r = fail(err, "%s: longer than %d bytes", path, MAX_FILE - 1);
	else if (memchr(text, '\0', n) != NULL)
		r = fail(err, "%s: not a text file", path);
	else {
		text[n] = '\0';
		r = parse_all(c, text, path, sets, err);
	}
	fclose(f);
	free(text);
	return r;
}

int
uvs_conf_set(struct uvs_conf *c, const char *key, const char *value, struct uvs_conf_error *err)
{
	return set_key(c, key, value, 0, err);
}

void
uvs_conf_defaults(struct uvs_conf *c)
{
	struct uvs_conf_error err;

	memset(c, 0, sizeof(*c));
	for (unsigned int i = 0; i < uvs_conf_nkeys; i++)
		if (set_value(c, &uvs_conf_keys[i], uvs_conf_keys[i].def, &err) < 0)
			abort(); /* the table itself is wrong: the unit test finds it */
}

/* ------------------------------------------------------------------------------------- checks */

static unsigned int
line_of(const struct uvs_conf *c, const char *key)
{
	return c->line[find_key(key) - uvs_conf_keys];
}

static bool
is_empty(const struct uvs_conf *c, const struct uvs_conf_key *k)
{
	char text[UVS_CONF_TEXT];

	uvs_conf_format(c, k, text, sizeof(text));
	return text[0] == '\0';
}

static bool
has_default(const struct uvs_conf *c, const char *key)
{
	const struct uvs_conf_key *k = find_key(key);
	char text[UVS_CONF_TEXT];

	uvs_conf_format(c, k, text, sizeof(text));
	return strcmp(text, k->def) == 0;
}

static int
check_keys(const struct uvs_conf *c, const char *name, struct uvs_conf_error *err)
{
	for (unsigned int i = 0; i < uvs_conf_nkeys; i++) {
		const struct uvs_conf_key *k = &uvs_conf_keys[i];
		const char *reason;

		if (k->check == NULL || is_empty(c, k))
			continue;
		reason = k->check(c);
		if (reason != NULL) {
			fail(err, "%s: %s", k->name, reason);
			return at_line(err, name, c->line[i]);
		}
	}
	return 0;
}

/* Link-local routers always are; and who can tell what will be, before routers advertise it? */
static bool
on_link6(const struct uvs_conf *c, const struct in6_addr *addr)
{
	if (IN6_IS_ADDR_LINKLOCAL(addr) || c->addresses6.automatic)
		return true;
	return uvs_conf_on_link6(&c->addresses6, addr);
}

static const char *
bad_gateway(const struct uvs_conf *c)
{
	if (c->gateway.addr.s_addr == 0)
		return NULL;
	if (c->addresses.automatic)
		return "comes from DHCP when address is dhcp";
	if (!uvs_conf_on_link4(&c->addresses, c->gateway.addr))
		return "is not within address's prefix";
	return uvs_conf_is_one4(&c->addresses, c->gateway.addr) ? "is the host's own address"
								: NULL;
}

static const char *
bad_gateway6(const struct uvs_conf *c)
{
	if (c->gateway6.family == 0)
		return NULL;
	if (!uvs_conf_has_ipv6(c))
		return "needs address6";
	return on_link6(c, &c->gateway6.v6) ? NULL : "is not within a prefix of address6";
}

static const char *
bad_route(const struct uvs_conf *c)
{
	for (unsigned int i = 0; i < c->routes.n; i++) {
		const struct uvs_conf_net *via = &c->routes.route[i].via;

		if (via->family == AF_INET6 && !uvs_conf_has_ipv6(c))
			return "a route for IPv6 needs address6";
		if (via->family == AF_INET6
			    ? !on_link6(c, &via->v6)
			    : !uvs_conf_on_link4(&c->addresses, via->v4) && !c->addresses.automatic)
			return "a router is in none of the host's networks";
	}
	return NULL;
}

/* Who shares a port learns of its frames by their addresses, of which two VLANs may have the same.
 */
static const char *
bad_vlan(const struct uvs_conf *c)
{
	return c->vlans.n != 0 && c->mode == UVS_MODE_SHARED ? "not with mode = shared" : NULL;
}

static int
check_networks(const struct uvs_conf *c, const char *name, struct uvs_conf_error *err)
{
	static const struct {
		const char *key;
		const char *(*check)(const struct uvs_conf *c);
	} checks[] = {
		{"gateway", bad_gateway},
		{"gateway6", bad_gateway6},
		{"route", bad_route},
		{"vlan", bad_vlan},
	};

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		const char *reason = checks[i].check(c);

		if (reason != NULL) {
			fail(err, "%s: %s", checks[i].key, reason);
			return at_line(err, name, line_of(c, checks[i].key));
		}
	}
	if (uvs_conf_has_ipv6(c) && c->mtu < 1280) {
		fail(err, "mtu: IPv6 (address6) needs at least 1280");
		return at_line(err, name, line_of(c, "mtu"));
	}
	return 0;
}

/* mbufs that must be there whatever else: what the queues hold plus something to work with. */
static uint32_t
fewest_mbufs(const struct uvs_conf *c)
{
	return c->mode == UVS_MODE_SHARED || c->stacks > 1 ? 1024 : c->queues * 1024;
}

static int
check_combinations(const struct uvs_conf *c, const char *name, struct uvs_conf_error *err)
{
	if (c->nic[0] == '\0') {
		fail(err, "nic: required");
		return at_line(err, name, 0);
	}
	if (c->addresses.n == 0 && !c->addresses.automatic && !uvs_conf_has_ipv6(c)) {
		fail(err, "address: required");
		return at_line(err, name, 0);
	}
	if (check_networks(c, name, err) < 0)
		return -1;
	if (c->mode == UVS_MODE_SHARED && c->addresses.automatic) {
		fail(err, "address: with mode = shared it cannot be dhcp: give the host's address");
		return at_line(err, name, line_of(c, "address"));
	}
	if (c->mode == UVS_MODE_SHARED && c->host[0] == '\0') {
		fail(err, "host: required with mode = shared");
		return at_line(err, name, line_of(c, "mode"));
	}
	if (c->mbufs != 0 && c->mbufs < fewest_mbufs(c)) {
		fail(err, "mbufs: %u queues need at least %u", c->queues, fewest_mbufs(c));
		return at_line(err, name, line_of(c, "mbufs"));
	}
	if (c->poll == UVS_POLL_ADAPTIVE || has_default(c, "spin_us"))
		return 0;
	fail(err, "spin_us: has a meaning with poll = adaptive only");
	return at_line(err, name, line_of(c, "spin_us"));
}

int
uvs_conf_check(const struct uvs_conf *c, const char *name, struct uvs_conf_error *err)
{
	if (check_keys(c, name, err) < 0)
		return -1;
	return check_combinations(c, name, err);
}
