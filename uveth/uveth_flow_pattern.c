/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uveth_flow_pattern.c - the items of a flow rule, as layers that a frame must have and fields to
 * compare.
 *
 * Semantics of spec, last and mask: DPDK's programmer's guide, "Generic flow API". An item without
 * spec asks for its protocol only. Bits that are masked out do not count; a field whose last is
 * neither zero nor its spec is a range.
 */
#include <errno.h>
#include <string.h>

#include "uveth/uveth_flow.h"

/* How far up the layers the items have come. */
enum stage { AT_START, AT_L2, AT_L3, AT_L4, AT_RAW };

struct builder {
	struct uvb_rule *rule;
	struct rte_flow_error *error;
	const struct rte_flow_item *item;
	enum stage stage;
	uint32_t tags; /* VLAN items seen */
	uint32_t at;   /* bytes of fields taken */
	/* The end of what the last item stands for. */
	enum uvb_anchor end;
	int32_t end_off;
};

static int
refuse(const struct builder *b, int code, enum rte_flow_error_type type, const char *why)
{
	return rte_flow_error_set(b->error, code, type, b->item, why);
}

static int
refuse_item(const struct builder *b, const char *why)
{
	return refuse(b, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM, why);
}

/* -------------------------------------------------------------------------------------- fields */

static int
add_field(struct builder *b, const struct uvb_rule_field *f, const uint8_t *value,
	  const uint8_t *mask, const uint8_t *last)
{
	struct uvb_rule *r = b->rule;

	if (r->nb_field == UVB_RULE_FIELDS)
		return refuse(b, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_NUM,
			      "a rule can look at 16 fields, and this one looks at more");
	if (b->at + f->len > UVB_RULE_BYTES)
		return refuse(b, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_NUM,
			      "a rule can look at 128 bytes, and this one looks at more");
	if (f->off < -UVB_RULE_REACH || f->off + f->len > UVB_RULE_REACH)
		return refuse(
			b, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_SPEC,
			"a rule can look at the first 192 bytes of a frame, and this one looks "
			"beyond");
	for (uint32_t i = 0; i < f->len; i++) {
		r->value[b->at + i] = value[i] & mask[i];
		r->mask[b->at + i] = mask[i];
		r->last[b->at + i] = last != NULL ? last[i] & mask[i] : 0;
	}
	r->field[r->nb_field] = *f;
	r->field[r->nb_field++].at = b->at;
	b->at += f->len;
	return 0;
}

static bool
all_zero(const uint8_t *p, size_t n)
{
	while (n > 0 && p[n - 1] == 0)
		n--;
	return n == 0;
}

/* What is compared for equality, from the first byte that counts to the last one. */
static int
add_equal(struct builder *b, enum uvb_anchor anchor, int32_t off, uint32_t len,
	  const uint8_t *value, const uint8_t *mask)
{
	uint32_t first = 0;

	if (all_zero(mask, len))
		return 0;
	while (mask[first] == 0)
		first++;
	while (mask[len - 1] == 0)
		len--;
	return add_field(b,
			 &(struct uvb_rule_field){.anchor = anchor,
						  .compare = UVB_EQUAL,
						  .off = off + (int32_t)first,
						  .len = len - first},
			 value + first, mask + first, NULL);
}

/* Is there a range in these n bytes of an item? */
static int
range_of(const struct builder *b, const uint8_t *spec, const uint8_t *last, const uint8_t *mask,
	 uint32_t n)
{
	bool above = false;

	if (last == NULL || all_zero(mask, n) || all_zero(last, n) || memcmp(spec, last, n) == 0)
		return 0;
	for (uint32_t i = 0; i < n && !above; i++) {
		if ((last[i] & mask[i]) < (spec[i] & mask[i]))
			return refuse(b, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM_LAST,
				      "a range ends below its start: last is lower than spec");
		above = (last[i] & mask[i]) > (spec[i] & mask[i]);
	}
	return above;
}

/* A protocol header: its fields, as lengths that add up to it. */
struct header {
	const void *mask; /* by default */
	uint8_t len;
	uint8_t field[16]; /* 0: no more */
};

static int
check_triple(const struct builder *b)
{
	const struct rte_flow_item *item = b->item;

	if (item->spec == NULL && (item->last != NULL || item->mask != NULL))
		return refuse(b, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM_SPEC,
			      "an item has a last or a mask, and no spec");
	return 0;
}

static const void *
mask_of(const struct rte_flow_item *item, const void *by_default)
{
	return item->mask != NULL ? item->mask : by_default;
}

static int
add_header(struct builder *b, const struct header *h, enum uvb_anchor anchor, int32_t off)
{
	const uint8_t *spec = b->item->spec, *last = b->item->last,
		      *mask = mask_of(b->item, h->mask);
	uint8_t equal[64];
	uint32_t at = 0;
	int rc = check_triple(b);

	if (rc != 0 || spec == NULL)
		return rc;
	memcpy(equal, mask, h->len);
	for (uint32_t i = 0; at < h->len; at += h->field[i++]) {
		uint32_t n = h->field[i];

		rc = range_of(b, spec + at, last != NULL ? last + at : NULL, mask + at, n);
		if (rc == 0)
			continue;
		if (rc > 0)
			rc = add_field(b,
				       &(struct uvb_rule_field){.anchor = anchor,
								.compare = UVB_RANGE,
								.off = off + (int32_t)at,
								.len = n},
				       spec + at, mask + at, last + at);
		if (rc < 0)
			return rc;
		memset(equal + at, 0, n);
	}
	return add_equal(b, anchor, off, h->len, spec, equal);
}

/* -------------------------------------------------------------------------------------- layers */

static int
need_layer(struct builder *b, uint32_t layer, bool present)
{
	struct uvb_rule *r = b->rule;

	if ((r->layers_mask & layer) != 0 && ((r->layers & layer) != 0) != present)
		return refuse_item(b, "no frame can match: one item rules out what another wants");
	r->layers_mask |= layer;
	r->layers |= present ? layer : 0;
	return 0;
}

/* A bit of an item that says whether another header is there. */
static int
need_flag(struct builder *b, uint32_t layer, bool spec, bool mask)
{
	return mask ? need_layer(b, layer, spec) : 0;
}

static void
end_at(struct builder *b, enum stage stage, enum uvb_anchor anchor, int32_t off)
{
	b->stage = stage;
	b->end = anchor;
	b->end_off = off;
}

/* --------------------------------------------------------------------------------------- items */

static const struct header eth_header = {&rte_flow_item_eth_mask, 14, {6, 6, 2}};
static const struct header vlan_header = {&rte_flow_item_vlan_mask, 4, {2, 2}};
static const struct header ipv4_header = {
	&rte_flow_item_ipv4_mask, 20, {1, 1, 2, 2, 2, 1, 1, 2, 4, 4}};
static const struct header ipv6_header = {&rte_flow_item_ipv6_mask, 40, {4, 2, 1, 1, 16, 16}};
static const struct header tcp_header = {&rte_flow_item_tcp_mask, 20, {2, 2, 4, 4, 1, 1, 2, 2, 2}};
static const struct header udp_header = {&rte_flow_item_udp_mask, 8, {2, 2, 2, 2}};
static const struct header sctp_header = {&rte_flow_item_sctp_mask, 12, {2, 2, 4, 4}};
static const struct header icmp_header = {&rte_flow_item_icmp_mask, 8, {1, 1, 2, 2, 2}};
static const struct header icmp6_header = {&rte_flow_item_icmp6_mask, 4, {1, 1, 2}};

static int
item_eth(struct builder *b)
{
	const struct rte_flow_item_eth *spec = b->item->spec,
				       *mask = mask_of(b->item, &rte_flow_item_eth_mask);
	int rc;

	if (b->stage != AT_START)
		return refuse_item(b, "eth is the lowest layer: it comes first, once");
	rc = add_header(b, &eth_header, UVB_AT_FRAME, 0);
	if (rc == 0 && spec != NULL)
		rc = need_flag(b, UVB_LAYER_VLAN, spec->has_vlan, mask->has_vlan);
	end_at(b, AT_L2, UVB_AT_FRAME, 14);
	return rc;
}

static int
item_vlan(struct builder *b)
{
	static const uint32_t tag[] = {UVB_LAYER_VLAN, UVB_LAYER_VLAN2, UVB_LAYER_VLAN3};
	const struct rte_flow_item_vlan *spec = b->item->spec,
					*mask = mask_of(b->item, &rte_flow_item_vlan_mask);
	int rc;

	if (b->stage > AT_L2)
		return refuse_item(b, "vlan comes below the IP header, after eth if that is there");
	if (b->tags == 2)
		return refuse(b, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM,
			      "a rule can look at two VLAN tags, not at a third");
	rc = need_layer(b, tag[b->tags], true);
	if (rc == 0)
		rc = add_header(b, &vlan_header, UVB_AT_FRAME, 14 + 4 * (int32_t)b->tags);
	if (rc == 0 && spec != NULL)
		rc = need_flag(b, tag[b->tags + 1], spec->has_more_vlan, mask->has_more_vlan);
	b->tags++;
	end_at(b, AT_L2, UVB_AT_FRAME, 14 + 4 * (int32_t)b->tags);
	return rc;
}

static int
item_l3(struct builder *b, uint32_t layer, const struct header *h)
{
	int rc;

	if (b->stage > AT_L2)
		return refuse_item(b, "an IP header comes once, below the transport protocol");
	rc = need_layer(b, layer, true);
	if (rc == 0)
		rc = add_header(b, h, UVB_AT_L3, 0);
	end_at(b, AT_L3, UVB_AT_L4, 0);
	return rc;
}

static int
item_ipv4(struct builder *b)
{
	return item_l3(b, UVB_LAYER_IPV4, &ipv4_header);
}

static int
ipv6_extensions(struct builder *b, const struct rte_flow_item_ipv6 *spec,
		const struct rte_flow_item_ipv6 *mask)
{
	const struct {
		uint32_t layer;
		bool spec, mask;
	} ext[] = {
		{UVB_LAYER_IP6_HOP, spec->has_hop_ext, mask->has_hop_ext},
		{UVB_LAYER_IP6_ROUTE, spec->has_route_ext, mask->has_route_ext},
		{UVB_LAYER_IP6_FRAG, spec->has_frag_ext, mask->has_frag_ext},
		{UVB_LAYER_IP6_AUTH, spec->has_auth_ext, mask->has_auth_ext},
		{UVB_LAYER_IP6_ESP, spec->has_esp_ext, mask->has_esp_ext},
		{UVB_LAYER_IP6_DEST, spec->has_dest_ext, mask->has_dest_ext},
		{UVB_LAYER_IP6_MOBILE, spec->has_mobil_ext, mask->has_mobil_ext},
		{UVB_LAYER_IP6_HIP, spec->has_hip_ext, mask->has_hip_ext},
		{UVB_LAYER_IP6_SHIM6, spec->has_shim6_ext, mask->has_shim6_ext},
	};
	int rc = 0;

	for (size_t i = 0; i < RTE_DIM(ext) && rc == 0; i++)
		rc = need_flag(b, ext[i].layer, ext[i].spec, ext[i].mask);
	return rc;
}

static int
item_ipv6(struct builder *b)
{
	const struct rte_flow_item_ipv6 *mask = mask_of(b->item, &rte_flow_item_ipv6_mask);
	int rc = item_l3(b, UVB_LAYER_IPV6, &ipv6_header);

	if (rc == 0 && b->item->spec != NULL)
		rc = ipv6_extensions(b, b->item->spec, mask);
	return rc;
}

static int
item_l4(struct builder *b, uint32_t layer, const struct header *h)
{
	int rc;

	if (b->stage == AT_L2)
		return refuse_item(b,
				   "the IP header is missing between L2 and L4: add ipv4, ipv6 or "
				   "any, or leave out L2, too");
	if (b->stage > AT_L3)
		return refuse_item(b, "a transport header comes once, above the IP header");
	rc = need_layer(b, layer, true);
	if (rc == 0)
		rc = add_header(b, h, UVB_AT_L4, 0);
	end_at(b, AT_L4, UVB_AT_PAYLOAD, 0);
	return rc;
}

static int
item_tcp(struct builder *b)
{
	return item_l4(b, UVB_LAYER_TCP, &tcp_header);
}

static int
item_udp(struct builder *b)
{
	return item_l4(b, UVB_LAYER_UDP, &udp_header);
}

static int
item_sctp(struct builder *b)
{
	return item_l4(b, UVB_LAYER_SCTP, &sctp_header);
}

static int
item_icmp(struct builder *b)
{
	int rc = need_layer(b, UVB_LAYER_IPV6, false);

	return rc == 0 ? item_l4(b, UVB_LAYER_ICMP, &icmp_header) : rc;
}

static int
item_icmp6(struct builder *b)
{
	int rc = need_layer(b, UVB_LAYER_IPV4, false);

	return rc == 0 ? item_l4(b, UVB_LAYER_ICMP6, &icmp6_header) : rc;
}

/* In place of one layer: any protocol there, or none. */
static int
item_any(struct builder *b)
{
	const struct rte_flow_item_any *spec = b->item->spec, *last = b->item->last,
				       *mask = mask_of(b->item, &rte_flow_item_any_mask);
	int rc = check_triple(b);

	if (rc != 0)
		return rc;
	if ((spec != NULL && (spec->num & mask->num) > 1) || (last != NULL && last->num > 1))
		return refuse(b, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_SPEC,
			      "any can stand for one layer, not for several");
	if (b->stage > AT_L3)
		return refuse_item(b, "any stands for L3 or L4, and both are there already");
	if (b->stage == AT_L3)
		end_at(b, AT_L4, UVB_AT_PAYLOAD, 0);
	else
		end_at(b, AT_L3, UVB_AT_L4, 0);
	return 0;
}

/* The parts of a RAW item that count. */
struct raw {
	bool relative, search;
	int32_t offset;
	uint16_t length;
};

static struct raw
raw_parts(const struct rte_flow_item_raw *r, const struct rte_flow_item_raw *mask)
{
	return (struct raw){r->relative & mask->relative, r->search & mask->search,
			    r->offset & mask->offset, r->length & mask->length};
}

static int
check_raw_last(const struct builder *b, const struct raw *spec,
	       const struct rte_flow_item_raw *last, const struct rte_flow_item_raw *mask)
{
	struct raw l;

	if (last == NULL)
		return 0;
	l = raw_parts(last, mask);
	if ((l.relative == spec->relative || !l.relative) &&
	    (l.search == spec->search || !l.search) &&
	    (l.offset == spec->offset || l.offset == 0) &&
	    (l.length == spec->length || l.length == 0) && last->pattern == NULL)
		return 0;
	return refuse(b, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_LAST, "raw takes no range");
}

static int
raw_add(struct builder *b, const struct raw *r, const uint8_t *pattern, const uint8_t *mask)
{
	static const uint8_t exact[UVB_RULE_BYTES] = {[0 ... UVB_RULE_BYTES - 1] = 0xff};
	enum uvb_anchor anchor = r->relative ? b->end : UVB_AT_FRAME;
	int64_t from = (r->relative ? b->end_off : 0) + (int64_t)r->offset;
	int rc = 0;

	if (r->length > UVB_RULE_BYTES || from < -UVB_RULE_REACH ||
	    from + r->length > UVB_RULE_REACH || (anchor == UVB_AT_FRAME && from < 0))
		return refuse(b, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_SPEC,
			      "raw can look at 128 bytes within the first 192 of a frame");
	if (r->length > 0)
		rc = add_equal(b, anchor, (int32_t)from, r->length, pattern,
			       mask != NULL ? mask : exact);
	end_at(b, AT_RAW, anchor, (int32_t)from + r->length);
	return rc;
}

static int
item_raw(struct builder *b)
{
	const struct rte_flow_item_raw *spec = b->item->spec,
				       *mask = mask_of(b->item, &rte_flow_item_raw_mask);
	struct raw raw;
	int rc = check_triple(b);

	if (rc != 0)
		return rc;
	if (spec == NULL)
		return refuse(b, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM_SPEC, "raw without a spec");
	raw = raw_parts(spec, mask);
	rc = check_raw_last(b, &raw, b->item->last, mask);
	if (rc != 0)
		return rc;
	if (raw.search)
		return refuse(b, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_SPEC,
			      "raw cannot search: give the place by offset");
	if (raw.length > 0 && spec->pattern == NULL)
		return refuse(b, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM_SPEC,
			      "raw has a length, and no pattern");
	return raw_add(b, &raw, spec->pattern, mask->pattern);
}

static int
item_void(struct builder *b)
{
	(void)b;
	return 0;
}

static const struct {
	enum rte_flow_item_type type;
	int (*add)(struct builder *b);
} items[] = {
	{RTE_FLOW_ITEM_TYPE_VOID, item_void}, {RTE_FLOW_ITEM_TYPE_ANY, item_any},
	{RTE_FLOW_ITEM_TYPE_RAW, item_raw},   {RTE_FLOW_ITEM_TYPE_ETH, item_eth},
	{RTE_FLOW_ITEM_TYPE_VLAN, item_vlan}, {RTE_FLOW_ITEM_TYPE_IPV4, item_ipv4},
	{RTE_FLOW_ITEM_TYPE_IPV6, item_ipv6}, {RTE_FLOW_ITEM_TYPE_TCP, item_tcp},
	{RTE_FLOW_ITEM_TYPE_UDP, item_udp},   {RTE_FLOW_ITEM_TYPE_SCTP, item_sctp},
	{RTE_FLOW_ITEM_TYPE_ICMP, item_icmp}, {RTE_FLOW_ITEM_TYPE_ICMP6, item_icmp6},
};

static int
item_add(struct builder *b)
{
	for (size_t i = 0; i < RTE_DIM(items); i++)
		if (items[i].type == b->item->type)
			return items[i].add(b);
	return refuse(b, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM,
		      "an item that uveth does not know: it has eth, vlan, ipv4, ipv6, tcp, udp, "
		      "sctp, icmp, icmp6, raw, any and void");
}

int
uveth_flow_pattern(const struct rte_flow_item *pattern, struct uvb_rule *rule,
		   struct rte_flow_error *error)
{
	struct builder b = {.rule = rule, .error = error, .end = UVB_AT_FRAME};
	int rc = 0;

	for (; pattern->type != RTE_FLOW_ITEM_TYPE_END && rc == 0; pattern++) {
		b.item = pattern;
		rc = item_add(&b);
	}
	return rc;
}
