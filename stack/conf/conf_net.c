/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/conf/conf_net.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define ITEM 128

static int __attribute__((format(printf, 3, 4))) no(char *why, size_t len, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, len, fmt, ap);
	va_end(ap);
	return -1;
}

/* The word for "find out by yourself", by family. */
static const char *
automatic(int family)
{
	return family == AF_INET ? "dhcp" : "auto";
}

static unsigned int
widest(int family)
{
	return family == AF_INET ? 32 : 128;
}

bool
uvs_conf_within6(const struct uvs_conf_net *net, const struct in6_addr *addr)
{
	unsigned int bytes = net->prefix / 8, bits = net->prefix % 8;

	if (memcmp(&net->v6, addr, bytes) != 0)
		return false;
	return bits == 0 || (net->v6.s6_addr[bytes] ^ addr->s6_addr[bytes]) >> (8 - bits) == 0;
}

bool
uvs_conf_is_one4(const struct uvs_conf_nets *nets, struct in_addr addr)
{
	for (unsigned int i = 0; i < nets->n; i++)
		if (nets->net[i].v4.s_addr == addr.s_addr)
			return true;
	return false;
}

bool
uvs_conf_on_link4(const struct uvs_conf_nets *nets, struct in_addr addr)
{
	for (unsigned int i = 0; i < nets->n; i++) {
		const struct uvs_conf_net *n = &nets->net[i];

		if (n->prefix != 0 &&
		    ((addr.s_addr ^ n->v4.s_addr) & htonl(0xffffffffu << (32 - n->prefix))) == 0)
			return true;
	}
	return false;
}

bool
uvs_conf_is_one6(const struct uvs_conf_nets *nets, const struct in6_addr *addr)
{
	for (unsigned int i = 0; i < nets->n; i++)
		if (IN6_ARE_ADDR_EQUAL(&nets->net[i].v6, addr))
			return true;
	return false;
}

bool
uvs_conf_on_link6(const struct uvs_conf_nets *nets, const struct in6_addr *addr)
{
	for (unsigned int i = 0; i < nets->n; i++)
		if (uvs_conf_within6(&nets->net[i], addr))
			return true;
	return false;
}

/* ------------------------------------------------------------------------------------ elements */

/* The next element of a list, trimmed; NULL: no more. What does not fit is cut, which no address
 * survives. */
static const char *
next_item(const char *list, char *item, size_t room)
{
	size_t n;

	list += strspn(list, " \t,");
	if (*list == '\0')
		return NULL;
	n = strcspn(list, ",");
	snprintf(item, room, "%.*s", (int)n, list);
	list += n;
	for (n = strlen(item); n > 0 && strchr(" \t", item[n - 1]) != NULL; n--)
		item[n - 1] = '\0';
	return list;
}

static bool
parse_ip(struct uvs_conf_net *out, int family, const char *text)
{
	memset(out, 0, sizeof(*out));
	out->family = (uint8_t)family;
	out->prefix = (uint8_t)widest(family);
	return inet_pton(family, text, family == AF_INET ? (void *)&out->v4 : (void *)&out->v6) ==
	       1;
}

static bool
parse_net(struct uvs_conf_net *out, int family, const char *text)
{
	char addr[INET6_ADDRSTRLEN], *end;
	const char *slash = strchr(text, '/');
	unsigned long prefix;

	if (slash == NULL || slash - text >= (ptrdiff_t)sizeof(addr) || slash[1] < '0' ||
	    slash[1] > '9')
		return false;
	snprintf(addr, sizeof(addr), "%.*s", (int)(slash - text), text);
	prefix = strtoul(slash + 1, &end, 10);
	if (*end != '\0' || prefix > widest(family) || !parse_ip(out, family, addr))
		return false;
	out->prefix = (uint8_t)prefix;
	return true;
}

static int
bad_net(int family, const char *text, char *why, size_t len)
{
	return no(why, len, "\"%s\" is not an %s address with a prefix, %s", text,
		  family == AF_INET ? "IPv4" : "IPv6",
		  family == AF_INET ? "a.b.c.d/n" : "a:b::c/n");
}

/* --------------------------------------------------------------------------------------- parsing
 */

int
uvs_conf_nets_parse(struct uvs_conf_nets *out, int family, const char *value, char *why, size_t len)
{
	char item[ITEM];

	memset(out, 0, sizeof(*out));
	while ((value = next_item(value, item, sizeof(item))) != NULL) {
		if (strcmp(item, automatic(family)) == 0) {
			out->automatic = true;
			continue;
		}
		if (out->n == UVS_CONF_NETS)
			return no(why, len, "more than %d addresses", UVS_CONF_NETS);
		if (!parse_net(&out->net[out->n++], family, item))
			return bad_net(family, item, why, len);
	}
	return 0;
}

int
uvs_conf_ip_parse(struct uvs_conf_net *out, int family, const char *value, char *why, size_t len)
{
	if (parse_ip(out, family, value))
		return 0;
	return no(why, len, "\"%s\" is not an %s address", value,
		  family == AF_INET ? "IPv4" : "IPv6");
}

static int
parse_route(struct uvs_conf_route *out, char *item, char *why, size_t len)
{
	char *via = strstr(item, " via "), *end;
	int family = strchr(item, ':') != NULL ? AF_INET6 : AF_INET;

	if (via == NULL)
		return no(why, len, "\"%s\" is not DESTINATION/n via ROUTER", item);
	for (end = via; end > item && (end[-1] == ' ' || end[-1] == '\t'); end--)
		;
	*end = '\0';
	via += strlen(" via ");
	via += strspn(via, " \t");
	if (!parse_net(&out->dest, family, item))
		return bad_net(family, item, why, len);
	return uvs_conf_ip_parse(&out->via, family, via, why, len);
}

int
uvs_conf_routes_parse(struct uvs_conf_routes *out, const char *value, char *why, size_t len)
{
	char item[ITEM];

	memset(out, 0, sizeof(*out));
	while ((value = next_item(value, item, sizeof(item))) != NULL) {
		if (out->n == UVS_CONF_ROUTES)
			return no(why, len, "more than %d routes", UVS_CONF_ROUTES);
		if (parse_route(&out->route[out->n++], item, why, len) < 0)
			return -1;
	}
	return 0;
}

static int
add_to_vlan(struct uvs_conf_vlan *v, const char *word, bool via, char *why, size_t len)
{
	int family = strchr(word, ':') != NULL ? AF_INET6 : AF_INET;
	struct uvs_conf_nets *nets = family == AF_INET ? &v->addresses : &v->addresses6;

	if (via)
		return uvs_conf_ip_parse(family == AF_INET ? &v->via : &v->via6, family, word, why,
					 len);
	if (nets->n == UVS_CONF_NETS)
		return no(why, len, "more than %d addresses", UVS_CONF_NETS);
	if (!parse_net(&nets->net[nets->n++], family, word))
		return bad_net(family, word, why, len);
	return 0;
}

static int
parse_vlan(struct uvs_conf_vlan *v, char *item, char *why, size_t len)
{
	char *rest = item, *word = strsep(&rest, " \t"), *end;
	unsigned long id = strtoul(word, &end, 10);
	bool via = false;

	if (*end != '\0' || id < 1 || id > 4094)
		return no(why, len, "\"%s\" is not the number of a VLAN, 1 to 4094", word);
	v->id = (uint16_t)id;
	while ((word = strsep(&rest, " \t")) != NULL) {
		if (*word == '\0')
			continue;
		if (!via && strcmp(word, "via") == 0)
			via = true;
		else if (add_to_vlan(v, word, via, why, len) < 0)
			return -1;
	}
	if (v->addresses.n == 0 && v->addresses6.n == 0)
		return no(why, len, "VLAN %u has no address", v->id);
	if ((v->via.family != 0 && !uvs_conf_on_link4(&v->addresses, v->via.v4)) ||
	    (v->via6.family != 0 && !IN6_IS_ADDR_LINKLOCAL(&v->via6.v6) &&
	     !uvs_conf_on_link6(&v->addresses6, &v->via6.v6)))
		return no(why, len, "the router of VLAN %u is in none of its networks", v->id);
	return 0;
}

int
uvs_conf_vlans_parse(struct uvs_conf_vlans *out, const char *value, char *why, size_t len)
{
	char item[ITEM * 4];

	memset(out, 0, sizeof(*out));
	while ((value = next_item(value, item, sizeof(item))) != NULL) {
		struct uvs_conf_vlan *v = &out->vlan[out->n];

		if (out->n == UVS_CONF_VLANS)
			return no(why, len, "more than %d VLANs", UVS_CONF_VLANS);
		if (parse_vlan(v, item, why, len) < 0)
			return -1;
		for (unsigned int i = 0; i < out->n; i++)
			if (out->vlan[i].id == v->id)
				return no(why, len, "VLAN %u twice", v->id);
		out->n++;
	}
	return 0;
}

/* -------------------------------------------------------------------------------------- printing
 */

static void __attribute__((format(printf, 3, 4))) add(char *buf, size_t len, const char *fmt, ...)
{
	size_t used = strlen(buf);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf + used, len - used, fmt, ap);
	va_end(ap);
}

void
uvs_conf_ip_format(const struct uvs_conf_net *net, char *buf, size_t len)
{
	buf[0] = '\0';
	if (net->family != 0)
		inet_ntop(net->family, &net->v6, buf, (socklen_t)len);
}

static void
add_net(const struct uvs_conf_net *net, char *buf, size_t len)
{
	char text[INET6_ADDRSTRLEN];

	uvs_conf_ip_format(net, text, sizeof(text));
	add(buf, len, "%s/%u", text, net->prefix);
}

void
uvs_conf_nets_format(const struct uvs_conf_nets *nets, int family, char *buf, size_t len)
{
	snprintf(buf, len, "%s", nets->automatic ? automatic(family) : "");
	for (unsigned int i = 0; i < nets->n; i++) {
		add(buf, len, "%s", buf[0] != '\0' ? ", " : "");
		add_net(&nets->net[i], buf, len);
	}
}

void
uvs_conf_routes_format(const struct uvs_conf_routes *routes, char *buf, size_t len)
{
	buf[0] = '\0';
	for (unsigned int i = 0; i < routes->n; i++) {
		char via[INET6_ADDRSTRLEN];

		add(buf, len, "%s", i > 0 ? ", " : "");
		add_net(&routes->route[i].dest, buf, len);
		uvs_conf_ip_format(&routes->route[i].via, via, sizeof(via));
		add(buf, len, " via %s", via);
	}
}

static void
add_via(const struct uvs_conf_net *via, bool *first, char *buf, size_t len)
{
	char text[INET6_ADDRSTRLEN];

	if (via->family == 0)
		return;
	uvs_conf_ip_format(via, text, sizeof(text));
	add(buf, len, "%s %s", *first ? " via" : "", text);
	*first = false;
}

void
uvs_conf_vlans_format(const struct uvs_conf_vlans *vlans, char *buf, size_t len)
{
	buf[0] = '\0';
	for (unsigned int i = 0; i < vlans->n; i++) {
		const struct uvs_conf_vlan *v = &vlans->vlan[i];
		const struct uvs_conf_nets *nets[] = {&v->addresses, &v->addresses6};
		bool first = true;

		add(buf, len, "%s%u", i > 0 ? ", " : "", v->id);
		for (unsigned int j = 0; j < nets[0]->n + nets[1]->n; j++) {
			add(buf, len, " ");
			add_net(j < nets[0]->n ? &nets[0]->net[j] : &nets[1]->net[j - nets[0]->n],
				buf, len);
		}
		add_via(&v->via, &first, buf, len);
		add_via(&v->via6, &first, buf, len);
	}
}
