/* SPDX-License-Identifier: BSD-3-Clause
 *
 * rules_print.c - a flow rule for people: `uvbridge show NAME rules`, rte_flow_dev_dump().
 */
#include "uvbridge/port.h"

static void
print_layers(FILE *f, const struct uvb_rule *r)
{
	static const char *const name[] = {
		"vlan",    "vlan2",    "vlan3",      "ipv4",    "ipv6",      "tcp",      "udp",
		"sctp",    "icmp",     "icmp6",      "ip6_hop", "ip6_route", "ip6_frag", "ip6_auth",
		"ip6_esp", "ip6_dest", "ip6_mobile", "ip6_hip", "ip6_shim6",
	};

	for (size_t i = 0; i < sizeof(name) / sizeof(name[0]); i++)
		if ((r->layers_mask >> i & 1) != 0)
			fprintf(f, " %s%s", (r->layers >> i & 1) != 0 ? "" : "no-", name[i]);
}

static void
print_hex(FILE *f, const uint8_t *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		fprintf(f, "%02x", p[i]);
}

static bool
all_ones(const uint8_t *p, uint32_t n)
{
	while (n > 0 && p[n - 1] == 0xff)
		n--;
	return n == 0;
}

/* As in: l4+2=01bb, l3+12=0a000001/ffffff00, l4+0=0400..07ff */
static void
print_field(FILE *f, const struct uvb_rule *r, const struct uvb_rule_field *field)
{
	static const char *const anchor[] = {"frame", "l3", "l4", "payload"};

	fprintf(f, " %s%+d=", anchor[field->anchor % UVB_AT_MAX], field->off);
	print_hex(f, r->value + field->at, field->len);
	if (field->compare == UVB_RANGE) {
		fputs("..", f);
		print_hex(f, r->last + field->at, field->len);
	}
	if (!all_ones(r->mask + field->at, field->len)) {
		fputc('/', f);
		print_hex(f, r->mask + field->at, field->len);
	}
}

static void
print_fate(FILE *f, const struct uvb_rule *r)
{
	switch ((enum uvb_rule_fate)r->fate) {
	case UVB_FATE_DROP:
		fputs(" drop", f);
		break;
	case UVB_FATE_QUEUE:
		fprintf(f, " queue %u", r->queue[0]);
		break;
	case UVB_FATE_RSS:
		fprintf(f, " rss%s types 0x%x queues", r->flags & UVB_RULE_XOR ? " xor" : "",
			r->rss_types);
		for (uint32_t i = 0; i < r->nb_queue; i++)
			fprintf(f, " %u", r->queue[i]);
		break;
	case UVB_FATE_JUMP:
		fprintf(f, " jump %u", r->jump);
		break;
	case UVB_FATE_PASS:
		fputs(" passthru", f);
		break;
	default:
		fputs(" (none)", f);
	}
}

void
uvb_rule_print(FILE *f, const struct uvb_rule *r)
{
	fprintf(f, "number %u group %u priority %u:", r->serial, r->group, r->priority);
	print_layers(f, r);
	for (uint32_t i = 0; i < r->nb_field; i++)
		print_field(f, r, &r->field[i]);
	fputs(" ->", f);
	if (r->flags & UVB_RULE_MARK)
		fprintf(f, " mark %u", r->mark);
	if (r->flags & UVB_RULE_FLAG)
		fputs(" flag", f);
	if (r->flags & UVB_RULE_COUNT)
		fputs(" count", f);
	print_fate(f, r);
}
