/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the switch is asked, as JSON: settings of ports, adapters.
 */
#include <inttypes.h>

#include "uvbridge/view.h"

void
uvb_vlan_list(const uint32_t *set, char *text, size_t room)
{
	size_t at = 0;

	text[0] = '\0';
	for (uint32_t v = 1, end; v < 4095; v = end + 1) {
		end = v;
		if (!((set[v / 32] >> v % 32) & 1))
			continue;
		while (end + 1 < 4095 && ((set[(end + 1) / 32] >> (end + 1) % 32) & 1))
			end++;
		if (at + 12 < room)
			at += (size_t)snprintf(text + at, room - at, end > v ? "%s%u-%u" : "%s%u",
					       at != 0 ? "," : "", v, end);
	}
}

const char *
uvb_vlan_mode_name(uint32_t mode)
{
	return mode == UVB_VLAN_ACCESS ? "access" : mode == UVB_VLAN_TRUNK ? "trunk" : "none";
}

const char *
uvb_vf_state_name(uint32_t state)
{
	return state == UVB_VF_DISABLE ? "disable" : state == UVB_VF_ENABLE ? "enable" : "auto";
}

bool
uvb_view_policy(const struct uvb_map *map, uint32_t port, struct uvb_policy *p)
{
	return uvb_policy_read(map, port, p) && !uvb_policy_is_zero(p);
}

static const char *
yes(bool b)
{
	return b ? "true" : "false";
}

static void
put_port_name(FILE *f, const struct uvb_map *m, uint32_t one_plus)
{
	if (one_plus == 0)
		fputs("null", f);
	else
		uvb_put_name(f, uvb_map_port(m, one_plus - 1)->name);
}

static void
put_function(FILE *f, const struct uvb_map *m, const struct uvb_policy *p)
{
	if (p->adapter == 0) {
		fputs("null", f);
		return;
	}
	fputs("{\"adapter\":", f);
	uvb_put_name(f, uvb_map_adapter(m, p->adapter - 1u)->name);
	if (p->function == 0)
		fputs(",\"vf\":null", f);
	else
		fprintf(f, ",\"vf\":%u", p->function - 1u);
	if (p->flags & UVB_POL_MAC)
		fprintf(f, ",\"mac\":\"%02x:%02x:%02x:%02x:%02x:%02x\"", p->mac[0], p->mac[1],
			p->mac[2], p->mac[3], p->mac[4], p->mac[5]);
	else
		fputs(",\"mac\":null", f);
	fprintf(f,
		",\"qos\":%u,\"spoofchk\":%s,\"trust\":%s,\"state\":\"%s\",\"link\":%s,"
		"\"max_tx_rate\":%" PRIu64 ",\"min_tx_rate\":%" PRIu64 "}",
		p->vlan_pcp, yes(p->flags & UVB_POL_SPOOFCHK), yes(!(p->flags & UVB_POL_UNTRUSTED)),
		uvb_vf_state_name(p->vf_state), yes(!(p->flags & UVB_POL_LINK_DOWN)), p->rate_max,
		p->rate_min);
}

static void
put_settings(FILE *f, const struct uvb_map *m, uint32_t port, const struct uvb_policy *p)
{
	static char allowed[4096 * 5];

	uvb_vlan_list(p->vlan_allowed, allowed, sizeof(allowed));
	fprintf(f, "{\"port\":%u,\"name\":", port);
	uvb_put_name(f, uvb_map_port(m, port)->name);
	fprintf(f,
		",\"vlan\":{\"mode\":\"%s\",\"vlan\":%u,\"allowed\":\"%s\"},\"weight\":%u,"
		"\"isolation\":%u,\"storm\":{\"broadcast\":%u,\"multicast\":%u,\"unknown\":%u},"
		"\"mirror\":{\"tx\":",
		uvb_vlan_mode_name(p->vlan_mode), p->vlan, allowed, p->weight != 0 ? p->weight : 1,
		p->isolation, p->storm[UVB_STORM_BROADCAST], p->storm[UVB_STORM_MULTICAST],
		p->storm[UVB_STORM_UNKNOWN]);
	put_port_name(f, m, p->mirror_tx);
	fputs(",\"rx\":", f);
	put_port_name(f, m, p->mirror_rx);
	fputs("},\"function\":", f);
	put_function(f, m, p);
	fputs("}", f);
}

void
uvb_put_switch(FILE *f, const struct uvb_map *m)
{
	const char *separator = "";
	struct uvb_policy p;

	fputs("\"settings\":[", f);
	for (uint32_t i = 0; i < m->nb_ports; i++) {
		if (!uvb_view_policy(m, i, &p))
			continue;
		fputs(separator, f);
		put_settings(f, m, i, &p);
		separator = ",";
	}
	fputs("],\"adapters\":[", f);
	separator = "";
	for (uint32_t i = 0; i < UVB_ADAPTERS_MAX; i++) {
		const struct uvb_adapter_shm *a = uvb_map_adapter(m, i);

		if (a->name[0] == '\0')
			continue;
		fprintf(f, "%s{\"name\":", separator);
		uvb_put_name(f, a->name);
		fprintf(f, ",\"vfs\":%u,\"link\":%s,\"uplink_rate\":%" PRIu64 "}",
			atomic_load(&a->nb_vfs), yes(atomic_load(&a->link_down) == 0),
			uvb_load(&a->rate));
		separator = ",";
	}
	fputs("]", f);
}
