/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The configuration as text: --print-config, --help, docs/config.md. */
#include "stack/conf/conf_net.h"

#include <arpa/inet.h>
#include <string.h>

static const void *
const_slot(const struct uvs_conf *c, const struct uvs_conf_key *k)
{
	return (const char *)c + k->offset;
}

static void
format_size(uint32_t n, char *buf, size_t len)
{
	if (n != 0 && n % (1 << 20) == 0)
		snprintf(buf, len, "%um", n >> 20);
	else if (n != 0 && n % (1 << 10) == 0)
		snprintf(buf, len, "%uk", n >> 10);
	else
		snprintf(buf, len, "%u", n);
}

static void
format_addr(const struct uvs_conf_cidr *a, char *buf, size_t len)
{
	buf[0] = '\0';
	if (a->addr.s_addr != 0)
		inet_ntop(AF_INET, &a->addr, buf, (socklen_t)len);
}

static void
format_mac(const struct uvs_conf_mac *m, char *buf, size_t len)
{
	const uint8_t *b = m->bytes;

	buf[0] = '\0';
	if (m->set)
		snprintf(buf, len, "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4],
			 b[5]);
}

void
uvs_conf_format(const struct uvs_conf *c, const struct uvs_conf_key *k, char *buf, size_t len)
{
	const void *from = const_slot(c, k);

	switch (k->type) {
	case UVS_CONF_UINT:
		snprintf(buf, len, "%u", *(const uint32_t *)from);
		break;
	case UVS_CONF_SIZE:
		format_size(*(const uint32_t *)from, buf, len);
		break;
	case UVS_CONF_ENUM:
		snprintf(buf, len, "%s", k->names[*(const uint32_t *)from]);
		break;
	case UVS_CONF_STRING:
		snprintf(buf, len, "%s", (const char *)from);
		break;
	case UVS_CONF_NETS4:
		uvs_conf_nets_format(from, AF_INET, buf, len);
		break;
	case UVS_CONF_NETS6:
		uvs_conf_nets_format(from, AF_INET6, buf, len);
		break;
	case UVS_CONF_ADDR:
		format_addr(from, buf, len);
		break;
	case UVS_CONF_ADDR6:
		uvs_conf_ip_format(from, buf, len);
		break;
	case UVS_CONF_ROUTE:
		uvs_conf_routes_format(from, buf, len);
		break;
	case UVS_CONF_VLAN:
		uvs_conf_vlans_format(from, buf, len);
		break;
	case UVS_CONF_MAC:
		format_mac(from, buf, len);
		break;
	}
}

void
uvs_conf_print(const struct uvs_conf *c, FILE *out)
{
	char value[UVS_CONF_TEXT];

	for (unsigned int i = 0; i < uvs_conf_nkeys; i++) {
		uvs_conf_format(c, &uvs_conf_keys[i], value, sizeof(value));
		fprintf(out, "%s =%s%s\n", uvs_conf_keys[i].name, value[0] ? " " : "", value);
	}
}

static void
format_choices(const struct uvs_conf_key *k, char *buf, size_t len)
{
	size_t used = 0;

	switch (k->type) {
	case UVS_CONF_UINT:
		snprintf(buf, len, "%u to %u", k->min, k->max);
		break;
	case UVS_CONF_SIZE:
		snprintf(buf, len, "%u to %u, k or m", k->min, k->max);
		break;
	case UVS_CONF_ENUM:
		for (unsigned int i = 0; k->names[i] != NULL && used < len; i++)
			used += (size_t)snprintf(buf + used, len - used, "%s%s", i ? ", " : "",
						 k->names[i]);
		break;
	case UVS_CONF_STRING:
		snprintf(buf, len, "text");
		break;
	case UVS_CONF_NETS4:
		snprintf(buf, len, "a.b.c.d/n, ...");
		break;
	case UVS_CONF_NETS6:
		snprintf(buf, len, "a:b::c/n, ... or auto");
		break;
	case UVS_CONF_ADDR:
		snprintf(buf, len, "a.b.c.d");
		break;
	case UVS_CONF_ADDR6:
		snprintf(buf, len, "a:b::c");
		break;
	case UVS_CONF_ROUTE:
		snprintf(buf, len, "DEST/n via ROUTER, ...");
		break;
	case UVS_CONF_VLAN:
		snprintf(buf, len, "ID ADDRESS/n ... via ROUTER, ...");
		break;
	case UVS_CONF_MAC:
		snprintf(buf, len, "aa:bb:cc:dd:ee:ff");
		break;
	}
}

/* Words of text in lines of at most 100 columns, each behind indent. */
static void
print_wrapped(FILE *out, const char *indent, const char *text)
{
	while (*text != '\0') {
		size_t room = 100 - strlen(indent), n = strlen(text);

		if (n > room)
			for (n = room; n > 0 && text[n] != ' '; n--)
				;
		fprintf(out, "%s%.*s\n", indent, (int)n, text);
		text += n;
		text += strspn(text, " ");
	}
}

void
uvs_conf_help(FILE *out)
{
	const char *section = "";
	char choices[128];

	for (unsigned int i = 0; i < uvs_conf_nkeys; i++) {
		const struct uvs_conf_key *k = &uvs_conf_keys[i];

		if (strcmp(section, k->section) != 0)
			fprintf(out, "%s%s\n", i ? "\n" : "", section = k->section);
		format_choices(k, choices, sizeof(choices));
		fprintf(out, "  %s = %s  (%s)\n", k->name, k->def[0] ? k->def : "\"\"", choices);
		print_wrapped(out, "      ", k->help);
	}
}

void
uvs_conf_markdown(FILE *out)
{
	const char *section = "";
	char choices[128];

	fputs("# Configuration\n\n"
	      "A host's configuration is a file of `key = value` lines. `#` begins a comment at "
	      "the\n"
	      "start of a line or after a space. A key may stand once; unknown keys, bad values "
	      "and\n"
	      "impossible combinations are refused with file, line and reason. `uvrun\n"
	      "--check-config` only checks; `uvrun --print-config` prints every key as "
	      "understood.\n"
	      "This page is generated from the table of keys in `stack/conf/conf_table.c`.\n",
	      out);
	for (unsigned int i = 0; i < uvs_conf_nkeys; i++) {
		const struct uvs_conf_key *k = &uvs_conf_keys[i];

		if (strcmp(section, k->section) != 0)
			fprintf(out,
				"\n## %s\n\n| key | default | values | meaning "
				"|\n|---|---|---|---|\n",
				section = k->section);
		format_choices(k, choices, sizeof(choices));
		fprintf(out, "| `%s` | %s%s%s | %s | %s |\n", k->name, k->def[0] ? "`" : "", k->def,
			k->def[0] ? "`" : "", choices, k->help);
	}
}
