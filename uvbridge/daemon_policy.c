/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the switch asks of ports, as the daemon is told it: policies, adapters, static addresses.
 *
 * A policy belongs to a name. It is kept in the slot of that name, which is nobody else's as long
 * as it is kept for something (slots_kept()). Everything is in the segment, in an order of stores
 * that a successor can finish: policies_adopt().
 */
#include <errno.h>
#include <stdlib.h>

#include "uvbridge/uvbridged.h"

/* The daemon is the only writer: a read by it cannot fail. */
static struct uvb_policy
policy_of(const struct daemon *d, uint32_t port)
{
	struct uvb_policy p;

	uvb_policy_read(&d->map, port, &p);
	return p;
}

/* ---------------------------------------------------------------------------------------- slots */

static void
keep(uint64_t *kept, uint32_t port)
{
	kept[port / 64] |= 1ULL << (port & 63);
}

void
slots_kept(const struct daemon *d, uint64_t kept[UVB_MAX_PORTS / 64])
{
	memcpy(kept, d->statics, sizeof(d->statics));
	for (uint32_t i = 0; i < d->map.nb_ports; i++) {
		struct uvb_policy p = policy_of(d, i);

		if (!uvb_policy_is_zero(&p))
			keep(kept, i);
		if (p.mirror_tx != 0)
			keep(kept, p.mirror_tx - 1u);
		if (p.mirror_rx != 0)
			keep(kept, p.mirror_rx - 1u);
	}
}

static int32_t
find_slot(const struct daemon *d, const char *name)
{
	for (uint32_t i = 0; name[0] != '\0' && i < d->map.nb_ports; i++)
		if (strcmp(uvb_map_port(&d->map, i)->name, name) == 0)
			return (int32_t)i;
	return -1;
}

/* The slot of this name, before or after a port of the name attaches. */
static int32_t
slot_for(struct daemon *d, const char *name, struct uvb_ctl_answer *ans)
{
	int32_t id = find_slot(d, name);

	if (id >= 0)
		return id;
	if (!uvb_name_ok(name))
		return refuse(ans, -EINVAL, "not a name for a port");
	id = port_choose_slot(d, name);
	if (id < 0)
		return refuse(ans, -ENOSPC,
			      "all %u ports of the fabric are attached or have settings that are "
			      "kept for them: `uvbridge up --ports` sets how many",
			      d->map.nb_ports);
	snprintf(uvb_map_port(&d->map, (uint32_t)id)->name, UVB_NAME_LEN, "%s", name);
	return id;
}

static bool
is_attached(const struct daemon *d, uint32_t port)
{
	return UVB_LIFE_STATE(atomic_load(&uvb_map_port(&d->map, port)->life)) == UVB_PORT_UP;
}

/* Where the port's addresses are, now that its VLAN may be another. */
static void
offer_again(struct daemon *d, uint32_t id)
{
	struct uvb_policy p = policy_of(d, id);
	struct uvb_conf conf;
	uint32_t seq;

	uvb_fdb_flush(&d->fdb, &(struct uvb_fdb_flush){id, UVB_FDB_ANY, false});
	if (is_attached(d, id) && uvb_conf_read(uvb_map_port(&d->map, id), &conf, &seq))
		uvb_conf_offer(&d->fdb, &conf, &p, id,
			       (uint32_t)(uvb_clock_ns(uvb_map_hdr(&d->map)) / 1000000000ULL));
}

void
policies_keep_known(struct daemon *d, uint32_t now_s)
{
	for (uint32_t i = 0; i < d->map.nb_ports; i++) {
		struct uvb_policy p = policy_of(d, i);
		struct uvb_conf conf;
		uint32_t seq;

		if (!is_attached(d, i) || !uvb_conf_read(uvb_map_port(&d->map, i), &conf, &seq))
			continue;
		for (uint32_t k = 0; k < conf.nb_mac && k < UVB_MAC_MAX; k++)
			uvb_fdb_keep(&d->fdb, UVB_FDB_KEY(p.vlan, uvb_mac48(conf.mac[k])), i,
				     now_s);
	}
}

/* ------------------------------------------------------------------------------------- adapters */

static struct uvb_adapter_shm *
adapter_at(const struct daemon *d, uint32_t a)
{
	return uvb_map_adapter(&d->map, a);
}

static int32_t
find_adapter(const struct daemon *d, const char *name)
{
	for (uint32_t a = 0; a < UVB_ADAPTERS_MAX; a++)
		if (strncmp(adapter_at(d, a)->name, name, UVB_NAME_LEN) == 0)
			return (int32_t)a;
	return -1;
}

/* A function's policy, with what follows from its adapter. */
static void
follow_adapter(const struct daemon *d, struct uvb_policy *p)
{
	const struct uvb_adapter_shm *a = adapter_at(d, p->adapter - 1u);
	bool down = atomic_load(&a->link_down) != 0;

	p->uplink = uvb_load(&a->rate);
	p->flags &= ~(UVB_POL_LINK_DOWN | UVB_POL_UPLINK_DOWN);
	if (down)
		p->flags |= UVB_POL_UPLINK_DOWN;
	if (p->vf_state == UVB_VF_DISABLE || (p->vf_state == UVB_VF_AUTO && down))
		p->flags |= UVB_POL_LINK_DOWN;
}

static void
refresh_functions(struct daemon *d)
{
	for (uint32_t i = 0; i < d->map.nb_ports; i++) {
		struct uvb_policy p = policy_of(d, i);

		if (p.adapter == 0)
			continue;
		if (adapter_at(d, p.adapter - 1u)->name[0] == '\0')
			p = (struct uvb_policy){0};
		else
			follow_adapter(d, &p);
		uvb_policy_write(&d->map, i, &p);
	}
	uvb_policy_announce(&d->map);
}

static void
function_name(const char *adapter, uint32_t function, char name[UVB_NAME_LEN + 16])
{
	if (function == 0)
		snprintf(name, UVB_NAME_LEN + 16, "%s.pf", adapter);
	else
		snprintf(name, UVB_NAME_LEN + 16, "%s.vf%u", adapter, function - 1);
}

const char *
policy_attach_problem(struct daemon *d, const char *name)
{
	static char text[4 * UVB_NAME_LEN + 64];
	const char *dot = strrchr(name, '.');
	char adapter[UVB_NAME_LEN];
	int32_t a;

	if (dot == NULL || (strncmp(dot, ".vf", 3) != 0 && strncmp(dot, ".pf", 3) != 0))
		return NULL;
	snprintf(adapter, sizeof(adapter), "%.*s", (int)(dot - name), name);
	a = find_adapter(d, adapter);
	if (a < 0 || adapter[0] == '\0' || find_slot(d, name) >= 0)
		return NULL;
	snprintf(text, sizeof(text), "adapter %s has no function \"%s\": %s.pf, and %s.vf0 to vf%u",
		 adapter, dot + 1, adapter, adapter,
		 atomic_load(&adapter_at(d, (uint32_t)a)->nb_vfs) - 1);
	return text;
}

/* Slots for all functions, or for none. */
static int
reserve_functions(struct daemon *d, uint32_t a, const struct uvb_ctl_adapter *req,
		  struct uvb_ctl_answer *ans)
{
	char name[UVB_NAME_LEN + 16];

	for (uint32_t f = 0; f <= req->nb_vfs; f++) {
		struct uvb_policy p = {.flags = UVB_POL_RESERVED,
				       .adapter = (uint16_t)(a + 1),
				       .function = (uint16_t)f};
		int32_t id;

		function_name(req->name, f, name);
		id = slot_for(d, name, ans);
		if (id >= 0 && is_attached(d, (uint32_t)id))
			id = refuse(ans, -EBUSY, "a port named \"%s\" is attached", name);
		if (id < 0) {
			refresh_functions(d); /* the adapter has no name yet: gives them up */
			return id;
		}
		if (f != 0)
			p.flags |= UVB_POL_SPOOFCHK | UVB_POL_UNTRUSTED;
		uvb_policy_write(&d->map, (uint32_t)id, &p);
	}
	return 0;
}

static int
adapter_add(struct daemon *d, const struct uvb_ctl_adapter *req, struct uvb_ctl_answer *ans)
{
	char name[UVB_NAME_LEN + 16];
	struct uvb_adapter_shm *a;
	int32_t free_one;
	int rc;

	function_name(req->name, req->nb_vfs, name);
	if (!uvb_name_ok(req->name) || strlen(name) >= UVB_NAME_LEN)
		return refuse(ans, -EINVAL,
			      "\"%.31s\" is no name for an adapter: with .vfN behind "
			      "it, it has to name a port",
			      req->name);
	if (req->nb_vfs > UVB_VFS_MAX)
		return refuse(ans, -EINVAL, "an adapter has at most %u VFs", UVB_VFS_MAX);
	if (find_adapter(d, req->name) >= 0)
		return refuse(ans, -EEXIST, "there is an adapter \"%.31s\" already", req->name);
	free_one = find_adapter(d, "");
	if (free_one < 0)
		return refuse(ans, -ENOSPC, "a fabric has at most %u adapters", UVB_ADAPTERS_MAX);
	rc = reserve_functions(d, (uint32_t)free_one, req, ans);
	if (rc != 0)
		return rc;
	a = adapter_at(d, (uint32_t)free_one);
	atomic_store(&a->nb_vfs, req->nb_vfs);
	atomic_store(&a->link_down, req->link_down == 1);
	atomic_store(&a->rate, (req->what & UVB_CTLA_RATE) ? req->rate : 0);
	snprintf(a->name, sizeof(a->name), "%s", req->name);
	refresh_functions(d);
	log_line(d, "adapter %s: %u VFs", a->name, req->nb_vfs);
	return 0;
}

/* Bit/s that the VFs of an adapter are promised, one of them (its port) left out. */
static uint64_t
promised(const struct daemon *d, uint32_t adapter, int32_t without)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < d->map.nb_ports; i++) {
		struct uvb_policy p = policy_of(d, i);

		if (p.adapter == adapter + 1 && (int32_t)i != without)
			sum += p.rate_min;
	}
	return sum;
}

static int
adapter_set(struct daemon *d, const struct uvb_ctl_adapter *req, struct uvb_ctl_answer *ans)
{
	int32_t id = find_adapter(d, req->name);
	struct uvb_adapter_shm *a;

	if (id < 0 || req->name[0] == '\0')
		return refuse(ans, -ENOENT, "there is no adapter \"%.31s\"", req->name);
	a = adapter_at(d, (uint32_t)id);
	if ((req->what & UVB_CTLA_RATE) && req->rate < promised(d, (uint32_t)id, -1))
		return refuse(ans, -EINVAL, "its VFs are promised more than that (min_tx_rate)");
	if (req->what & UVB_CTLA_RATE)
		atomic_store(&a->rate, req->rate);
	if (req->what & UVB_CTLA_LINK)
		atomic_store(&a->link_down, req->link_down == 1);
	refresh_functions(d);
	return 0;
}

static int
adapter_del(struct daemon *d, const struct uvb_ctl_adapter *req, struct uvb_ctl_answer *ans)
{
	int32_t id = find_adapter(d, req->name);

	if (id < 0 || req->name[0] == '\0')
		return refuse(ans, -ENOENT, "there is no adapter \"%.31s\"", req->name);
	for (uint32_t i = 0; i < d->map.nb_ports; i++)
		if (policy_of(d, i).adapter == id + 1 && is_attached(d, i))
			return refuse(ans, -EBUSY, "its function %s is attached, by process %u",
				      uvb_map_port(&d->map, i)->name,
				      uvb_map_port(&d->map, i)->member[UVB_OWNER_SLOT].pid);
	adapter_at(d, (uint32_t)id)->name[0] = '\0';
	refresh_functions(d);
	return 0;
}

int
handle_adapter(struct daemon *d, struct uvb_ctl_adapter *req, struct uvb_ctl_answer *ans)
{
	req->name[UVB_NAME_LEN - 1] = '\0';
	switch (req->op) {
	case UVB_CTLA_ADD:
		return adapter_add(d, req, ans);
	case UVB_CTLA_SET:
		return adapter_set(d, req, ans);
	case UVB_CTLA_DEL:
		return adapter_del(d, req, ans);
	default:
		return refuse(ans, -EINVAL, "unknown operation on an adapter");
	}
}

/* ------------------------------------------------------------------------------------- policies */

#define FOR_VFS                                                                              \
	(UVB_CTLP_PCP | UVB_CTLP_MAC | UVB_CTLP_SPOOFCHK | UVB_CTLP_TRUST | UVB_CTLP_STATE | \
	 UVB_CTLP_RATE_MAX | UVB_CTLP_RATE_MIN)

static void
set_flag(struct uvb_policy *p, uint32_t flag, const struct uvb_policy *value)
{
	p->flags = (p->flags & ~flag) | (value->flags & flag);
}

/* The fields that are asked for, from `value`. */
static void
take_fields(struct uvb_policy *p, uint32_t what, const struct uvb_policy *value)
{
	if (what & UVB_CTLP_VLAN) {
		p->vlan_mode = value->vlan_mode;
		p->vlan = value->vlan;
		memcpy(p->vlan_allowed, value->vlan_allowed, sizeof(p->vlan_allowed));
	}
	if (what & UVB_CTLP_PCP)
		p->vlan_pcp = value->vlan_pcp;
	if (what & UVB_CTLP_WEIGHT)
		p->weight = value->weight;
	for (uint32_t s = 0; s < UVB_STORM_MAX; s++)
		if (what & (UVB_CTLP_STORM << s))
			p->storm[s] = value->storm[s];
	if (what & UVB_CTLP_ISOLATION)
		p->isolation = value->isolation;
	if (what & UVB_CTLP_MAC) {
		memcpy(p->mac, value->mac, sizeof(p->mac));
		set_flag(p, UVB_POL_MAC, value);
	}
	if (what & UVB_CTLP_SPOOFCHK)
		set_flag(p, UVB_POL_SPOOFCHK, value);
	if (what & UVB_CTLP_TRUST)
		set_flag(p, UVB_POL_UNTRUSTED, value);
	if (what & UVB_CTLP_STATE)
		p->vf_state = value->vf_state;
	if (what & UVB_CTLP_RATE_MAX)
		p->rate_max = value->rate_max;
	if (what & UVB_CTLP_RATE_MIN)
		p->rate_min = value->rate_min;
}

static int
take_mirrors(struct daemon *d, uint32_t id, struct uvb_policy *p, const struct uvb_ctl_policy *req,
	     struct uvb_ctl_answer *ans)
{
	int32_t to = -1;

	if (!(req->what & (UVB_CTLP_MIRROR_TX | UVB_CTLP_MIRROR_RX)))
		return 0;
	if (req->mirror[0] != '\0') {
		to = slot_for(d, req->mirror, ans);
		if (to < 0)
			return to;
		if (to == (int32_t)id)
			return refuse(ans, -EINVAL, "a port cannot be the mirror of itself");
	}
	if (req->what & UVB_CTLP_MIRROR_TX)
		p->mirror_tx = (uint16_t)(to + 1);
	if (req->what & UVB_CTLP_MIRROR_RX)
		p->mirror_rx = (uint16_t)(to + 1);
	return 0;
}

static int
check_function(struct daemon *d, uint32_t id, const struct uvb_policy *p,
	       const struct uvb_ctl_policy *req, struct uvb_ctl_answer *ans)
{
	const struct uvb_adapter_shm *a;

	if (!(req->what & FOR_VFS))
		return 0;
	if (p->adapter == 0 || p->function == 0)
		return refuse(ans, -EINVAL, "%.31s is not a VF of an adapter", req->name);
	if (p->rate_min == 0)
		return 0;
	a = adapter_at(d, p->adapter - 1u);
	if (uvb_load(&a->rate) == 0)
		return refuse(ans, -EINVAL,
			      "min_tx_rate is a part of the uplink's rate, and %.31s has none: "
			      "`uvbridge adapter … set --uplink-rate`",
			      a->name);
	if (promised(d, p->adapter - 1u, (int32_t)id) + p->rate_min > uvb_load(&a->rate))
		return refuse(ans, -EINVAL, "the VFs would be promised more than the uplink has");
	return 0;
}

int
handle_policy(struct daemon *d, struct uvb_ctl_policy *req, struct uvb_ctl_answer *ans)
{
	struct uvb_policy p;
	const char *why;
	int32_t id;
	int rc;

	req->name[UVB_NAME_LEN - 1] = '\0';
	req->mirror[UVB_NAME_LEN - 1] = '\0';
	if (req->what == 0 || (req->what & ~UVB_CTLP_ALL) != 0)
		return refuse(ans, -EINVAL, "nothing to set, or something unknown");
	if ((req->what & FOR_VFS) && find_slot(d, req->name) < 0)
		return refuse(ans, -ENOENT, "there is no VF \"%s\"", req->name);
	id = slot_for(d, req->name, ans);
	if (id < 0)
		return id;
	p = policy_of(d, (uint32_t)id);
	take_fields(&p, req->what, &req->value);
	rc = take_mirrors(d, (uint32_t)id, &p, req, ans);
	if (rc == 0)
		rc = check_function(d, (uint32_t)id, &p, req, ans);
	if (rc != 0)
		return rc;
	if (p.adapter != 0)
		follow_adapter(d, &p);
	why = uvb_policy_check(&p);
	if (why != NULL)
		return refuse(ans, -EINVAL, "%.31s: %s", req->name, why);
	uvb_policy_write(&d->map, (uint32_t)id, &p);
	uvb_policy_announce(&d->map);
	if (req->what & UVB_CTLP_VLAN)
		offer_again(d, (uint32_t)id);
	return 0;
}

/* ----------------------------------------------------------------------------- address table */

static void
count_statics(struct daemon *d)
{
	struct uvb_fdb_record e;

	memset(d->statics, 0, sizeof(d->statics));
	for (uint32_t i = 0; i < d->map.fdb_buckets * UVB_FDB_WAYS; i++)
		if (uvb_fdb_read(&d->fdb, i / UVB_FDB_WAYS, i % UVB_FDB_WAYS, &e) && e.is_static &&
		    e.port < d->map.nb_ports)
			keep(d->statics, e.port);
}

static int
fdb_add(struct daemon *d, const struct uvb_ctl_fdb *req, struct uvb_ctl_answer *ans)
{
	uint64_t mac = uvb_mac48(req->mac);
	int32_t id;
	int rc;

	if (mac == 0 || UVB_MAC_MULTICAST(mac))
		return refuse(ans, -EINVAL, "an entry is for a unicast address");
	id = slot_for(d, req->port, ans);
	if (id < 0)
		return id;
	rc = uvb_fdb_set_static(
		&d->fdb,
		UVB_FDB_KEY(req->vlan != UVB_FDB_ANY ? req->vlan : policy_of(d, (uint32_t)id).vlan,
			    mac),
		(uint32_t)id);
	if (rc != 0)
		return refuse(ans, rc,
			      "the table's bucket for this address is full of static "
			      "entries: `uvbridge up --fdb` sets how many there are");
	keep(d->statics, (uint32_t)id);
	return 0;
}

static int
fdb_del(struct daemon *d, const struct uvb_ctl_fdb *req, struct uvb_ctl_answer *ans)
{
	uint32_t vlan = req->vlan != UVB_FDB_ANY ? req->vlan : 0;

	if (!uvb_fdb_del(&d->fdb, UVB_FDB_KEY(vlan, uvb_mac48(req->mac))))
		return refuse(ans, -ENOENT, "no such address in VLAN %u", vlan);
	count_statics(d);
	return 0;
}

static int
fdb_flush(struct daemon *d, const struct uvb_ctl_fdb *req, struct uvb_ctl_answer *ans)
{
	struct uvb_fdb_flush what = {UVB_FDB_ANY, req->vlan, req->is_static == 1};

	if (req->port[0] != '\0') {
		int32_t id = find_slot(d, req->port);

		if (id < 0)
			return refuse(ans, -ENOENT, "there is no port \"%s\"", req->port);
		what.port = (uint32_t)id;
	}
	uvb_fdb_flush(&d->fdb, &what);
	count_statics(d);
	return 0;
}

int
handle_fdb(struct daemon *d, struct uvb_ctl_fdb *req, struct uvb_ctl_answer *ans)
{
	req->port[UVB_NAME_LEN - 1] = '\0';
	if (req->vlan != UVB_FDB_ANY && req->vlan > 4094)
		return refuse(ans, -EINVAL, "a VLAN is a number from 1 to 4094; 0: none");
	switch (req->op) {
	case UVB_CTLF_ADD:
		return fdb_add(d, req, ans);
	case UVB_CTLF_DEL:
		return fdb_del(d, req, ans);
	case UVB_CTLF_FLUSH:
		return fdb_flush(d, req, ans);
	default:
		return refuse(ans, -EINVAL, "unknown operation on the address table");
	}
}

void
policies_adopt(struct daemon *d)
{
	count_statics(d);
	/* What our predecessor wrote and did not live to announce. Adapters are named last and
	 * unnamed first, so functions of one without a name are left over from it. */
	if (atomic_load(&uvb_map_hdr(&d->map)->policy_gen) != 0 || find_adapter(d, "") != 0)
		refresh_functions(d);
}
