/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The life of ports, as the daemon sees it:
 *
 *   FREE --attach--> UP --detach, death--> DOWN --reclaimed--> FREE
 *
 * Only these moves exist, only the daemon makes them, and each is one store to the life word after
 * everything it promises. A port stays DOWN while a process is still a member of it: its queues'
 * words are not the daemon's before. A daemon that died in DOWN left a reclaim half done; its
 * successor does it again from the start.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "uvbridge/proc.h"
#include "uvbridge/uvbridged.h"

#define BEAT_NS 1000000000ULL

static uint32_t
life_of(const struct uvb_port_shm *p)
{
	return atomic_load_explicit(&p->life, memory_order_relaxed);
}

static bool
is_up(const struct uvb_port_shm *p)
{
	return UVB_LIFE_STATE(life_of(p)) == UVB_PORT_UP;
}

static void
life_set(struct uvb_port_shm *p, uint32_t gen, enum uvb_port_state state)
{
	atomic_store_explicit(&p->life, UVB_LIFE(gen, state), memory_order_release);
}

static void
flood_set(struct daemon *d, uint32_t id, bool on)
{
	_Atomic uint64_t *word = &uvb_map_hdr(&d->map)->flood[id / 64];

	if (on)
		atomic_fetch_or(word, 1ULL << (id & 63));
	else
		atomic_fetch_and(word, ~(1ULL << (id & 63)));
}

/* --------------------------------------------------------------------------------------- reclaim
 */

static void
count_reclaim(struct daemon *d, uint64_t cells, uint64_t ns)
{
	struct uvb_hdr *h = uvb_map_hdr(&d->map);

	uvb_add(&h->reclaims, 1);
	uvb_add(&h->reclaimed_cells, cells);
	if (ns > uvb_load(&h->reclaim_ns_max))
		atomic_store(&h->reclaim_ns_max, ns);
}

/* From DOWN to FREE. */
static uint64_t
reclaim(struct daemon *d, uint32_t id)
{
	struct uvb_port_shm *shm = uvb_map_port(&d->map, id);
	struct uvb_hdr *h = uvb_map_hdr(&d->map);
	uint64_t cells;

	flood_set(d, id, false);
	if (atomic_load(&h->capture_port) == id + 1)
		atomic_store(&h->capture_port, 0);
	uvb_fdb_flush(&d->fdb, &(struct uvb_fdb_flush){id, UVB_FDB_ANY, false});
	cells = uvb_drain_port(&d->map, id, 0);
	cells += uvb_finish_sender(&d->map, d->dirfd, id);
	d->port[id].freed_ns = uvb_now_ns();
	life_set(shm, UVB_LIFE_GEN(life_of(shm)), UVB_PORT_FREE);
	return cells;
}

/* From UP to DOWN: nobody sends to it any more. */
static void
link_down(struct daemon *d, uint32_t id)
{
	struct uvb_port_shm *shm = uvb_map_port(&d->map, id);

	if (!is_up(shm))
		return;
	flood_set(d, id, false);
	life_set(shm, UVB_LIFE_GEN(life_of(shm)), UVB_PORT_DOWN);
	faults_bind(d, id, NULL);
}

static void
port_free(struct daemon *d, uint32_t id, bool died)
{
	struct uvb_port_shm *shm = uvb_map_port(&d->map, id);
	uint64_t start = uvb_now_ns(), cells = reclaim(d, id);

	if (died)
		count_reclaim(d, cells, uvb_now_ns() - start);
	log_line(d, "port %u (%s): %s, %llu cells freed in %llu us", id, shm->name,
		 died ? "reclaimed" : "detached", (unsigned long long)cells,
		 (unsigned long long)((uvb_now_ns() - start) / 1000));
}

void
port_settle(struct daemon *d, uint32_t id, bool died)
{
	struct uvb_port_shm *shm = uvb_map_port(&d->map, id);
	bool owned = d->port[id].member[UVB_OWNER_SLOT].present;
	uint32_t n = members_count(d, id);

	if (n == 0 || (!owned && !(shm->flags & UVB_PORT_SHARED)))
		link_down(d, id);
	if (UVB_LIFE_STATE(life_of(shm)) != UVB_PORT_DOWN)
		return;
	if (n == 0)
		port_free(d, id, died);
	else
		log_line(d, "port %u (%s): link down, %u of its processes are still there", id,
			 shm->name, n);
}

/* ---------------------------------------------------------------------------------------- attach
 */

int
refuse(struct uvb_ctl_answer *ans, int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(ans->text, sizeof(ans->text), fmt, ap);
	va_end(ap);
	return status;
}

static int
check_attach(struct daemon *d, struct client *c, const struct uvb_ctl_attach *req,
	     struct uvb_ctl_answer *ans)
{
	if (c->member != NULL)
		return refuse(ans, -EBUSY, "this connection has attached a port already");
	if (req->flags & ~(UVB_CTL_ATTACH_SHARED | UVB_CTL_ATTACH_ADOPT | UVB_CTL_ATTACH_JOINABLE))
		return refuse(ans, -EINVAL, "unknown flags 0x%x", req->flags);
	if (req->name[0] != '\0' && !uvb_name_ok(req->name))
		return refuse(ans, -EINVAL, "not a name for a port");
	if (req->mac[0] & 1)
		return refuse(ans, -EINVAL, "a port's MAC address cannot be a multicast address");
	if (req->kind < UVB_KIND_UVETH || req->kind > UVB_KIND_ETHDEV)
		return refuse(ans, -EINVAL, "unknown kind of port %u", req->kind);
	if (req->nb_rxq > d->map.nb_queues || req->nb_txq > d->map.nb_queues)
		return refuse(
			ans, -EINVAL,
			"%u receive and %u transmit queues wanted, the fabric has %u: `uvbridge up "
			"--queues` sets how many",
			req->nb_rxq, req->nb_txq, d->map.nb_queues);
	if (req->kind == UVB_KIND_CAPTURE && atomic_load(&uvb_map_hdr(&d->map)->capture_port) != 0)
		return refuse(ans, -EBUSY, "the fabric is being captured already");
	return 0;
}

/* The slot the name had before, else one never used, else the one unused for longest; so counters
 * stay with a host that comes back, and as long as possible with one that does not. Never one that
 * is kept for another name. */
int32_t
port_choose_slot(struct daemon *d, const char *name)
{
	uint64_t kept[UVB_MAX_PORTS / 64];
	int32_t best = -1;
	uint64_t best_key = UINT64_MAX;

	slots_kept(d, kept);

	for (uint32_t i = 0; i < d->map.nb_ports; i++) {
		const struct uvb_port_shm *p = uvb_map_port(&d->map, i);
		uint64_t key = 0;

		if (UVB_LIFE_STATE(life_of(p)) != UVB_PORT_FREE)
			continue;
		if (name[0] != '\0' && strcmp(p->name, name) == 0)
			return (int32_t)i;
		if ((kept[i / 64] >> (i & 63)) & 1)
			continue;
		if (UVB_LIFE_GEN(life_of(p)) != 0)
			key = d->port[i].freed_ns + 1;
		if (key < best_key) {
			best_key = key;
			best = (int32_t)i;
		}
	}
	return best;
}

/* The same for the same names on every machine, so that captures compare. FNV-1a. */
static void
derive_mac(const char *fabric, const char *name, uint8_t mac[6])
{
	uint64_t h = 0xcbf29ce484222325ULL;

	for (const char *p = fabric; *p != '\0'; p++)
		h = (h ^ (uint8_t)*p) * 0x100000001b3ULL;
	h = (h ^ '/') * 0x100000001b3ULL;
	for (const char *p = name; *p != '\0'; p++)
		h = (h ^ (uint8_t)*p) * 0x100000001b3ULL;
	mac[0] = 0x02;
	for (int i = 1; i < 6; i++)
		mac[i] = (uint8_t)(h >> (8 * i));
}

/* Everything of the slot but its life word, which is FREE: the words are the daemon's. */
static void
fill_slot(struct daemon *d, uint32_t id, const struct uvb_ctl_attach *req, const char *name)
{
	struct uvb_port_shm *p = uvb_map_port(&d->map, id);
	struct uvb_policy policy;
	struct uvb_conf conf;
	uint8_t mac[6];

	memset(p->name, 0, sizeof(p->name));
	snprintf(p->name, sizeof(p->name), "%s", name);
	memcpy(mac, req->mac, 6);
	uvb_policy_read(&d->map, id, &policy);
	if (uvb_mac48(mac) == 0 && (policy.flags & UVB_POL_MAC))
		memcpy(mac, policy.mac, 6);
	else if (uvb_mac48(mac) == 0)
		derive_mac(d->map.name, name, mac);
	p->nb_rxq = req->nb_rxq != 0 ? req->nb_rxq : (uint16_t)d->map.nb_queues;
	p->nb_txq = req->nb_txq != 0 ? req->nb_txq : (uint16_t)d->map.nb_queues;
	if (p->nb_rxq > atomic_load(&p->ever_rxq))
		atomic_store(&p->ever_rxq, p->nb_rxq);
	if (p->nb_txq > atomic_load(&p->ever_txq))
		atomic_store(&p->ever_txq, p->nb_txq);
	atomic_store(&p->kind, req->kind);
	p->flags = req->flags & UVB_CTL_ATTACH_SHARED     ? UVB_PORT_SHARED | UVB_PORT_JOINABLE
		   : req->flags & UVB_CTL_ATTACH_JOINABLE ? UVB_PORT_JOINABLE
							  : 0;
	p->attached_ns = uvb_now_ns();
	uvb_conf_fill(&conf, p->nb_rxq, mac);
	uvb_conf_write(p, &conf);
}

/* Does the port's policy let it have the address it asks for? */
static int
check_address(struct daemon *d, uint32_t id, const struct uvb_ctl_attach *req,
	      struct uvb_ctl_answer *ans)
{
	const uint32_t bound = UVB_POL_MAC | UVB_POL_UNTRUSTED;
	struct uvb_policy p;

	uvb_policy_read(&d->map, id, &p);
	if ((p.flags & bound) != bound || uvb_mac48(req->mac) == 0 ||
	    memcmp(req->mac, p.mac, 6) == 0)
		return 0;
	return refuse(ans, -EPERM,
		      "the PF has set the MAC address of %.31s to %02x:%02x:%02x:%02x:%02x:%02x: "
		      "leave the address away, or use that one",
		      req->name, p.mac[0], p.mac[1], p.mac[2], p.mac[3], p.mac[4], p.mac[5]);
}

static void
fill_answer(struct uvb_port_shm *p, uint32_t id, uint32_t slot, struct uvb_ctl_answer *ans)
{
	struct uvb_conf conf = {0};
	uint32_t seq;

	uvb_conf_read(p, &conf, &seq);
	ans->port = id;
	ans->gen = UVB_LIFE_GEN(life_of(p));
	ans->member = (uint16_t)slot;
	ans->nb_rxq = p->nb_rxq;
	ans->nb_txq = p->nb_txq;
	memcpy(ans->mac, conf.mac[0], 6);
	memcpy(ans->name, p->name, sizeof(ans->name));
}

static void
bring_up(struct daemon *d, struct client *c, uint32_t id, const struct uvb_ctl_attach *req,
	 struct uvb_ctl_answer *ans)
{
	struct uvb_port_shm *p = uvb_map_port(&d->map, id);
	uint32_t gen = (UVB_LIFE_GEN(life_of(p)) + 1) & 0xffffff;

	gen += gen == 0;
	member_add(d, id, UVB_OWNER_SLOT, gen, c);
	if (req->kind != UVB_KIND_CAPTURE)
		faults_bind(d, id, p->name);
	life_set(p, gen, UVB_PORT_UP);
	if (req->kind == UVB_KIND_CAPTURE)
		atomic_store(&uvb_map_hdr(&d->map)->capture_port, id + 1);
	else
		flood_set(d, id, true);
	fill_answer(p, id, UVB_OWNER_SLOT, ans);
	log_line(d, "port %u (%s): attached by process %d, generation %u, %u+%u queues", id,
		 p->name, (int)c->pid, gen, p->nb_rxq, p->nb_txq);
}

static int32_t
find_up(struct daemon *d, const char *name)
{
	for (uint32_t i = 0; i < d->map.nb_ports; i++) {
		const struct uvb_port_shm *p = uvb_map_port(&d->map, i);

		if (is_up(p) && strcmp(p->name, name) == 0)
			return (int32_t)i;
	}
	return -1;
}

/* Be the owner of a port that lost its own and lives on: nothing of it changes. */
static int
port_adopt(struct daemon *d, struct client *c, const struct uvb_ctl_attach *req,
	   struct uvb_ctl_answer *ans)
{
	int32_t id = find_up(d, req->name);
	struct uvb_port_shm *p;

	if (id < 0)
		return refuse(ans, -ENOENT, "there is no living port \"%.31s\" to adopt",
			      req->name);
	p = uvb_map_port(&d->map, (uint32_t)id);
	if (d->port[id].member[UVB_OWNER_SLOT].present)
		return refuse(ans, -EBUSY, "port \"%.31s\" has an owner, process %u", req->name,
			      p->member[UVB_OWNER_SLOT].pid);
	member_add(d, (uint32_t)id, UVB_OWNER_SLOT, UVB_LIFE_GEN(life_of(p)), c);
	fill_answer(p, (uint32_t)id, UVB_OWNER_SLOT, ans);
	log_line(d, "port %d (%s): process %d is its owner now", id, p->name, (int)c->pid);
	return 0;
}

int
port_attach(struct daemon *d, struct client *c, const struct uvb_ctl_attach *req,
	    struct uvb_ctl_answer *ans)
{
	char name[UVB_NAME_LEN];
	const char *problem;
	int32_t id;
	int rc = check_attach(d, c, req, ans);

	if (rc != 0)
		return rc;
	problem = policy_attach_problem(d, req->name);
	if (problem != NULL)
		return refuse(ans, -ENOENT, "%s", problem);
	if (req->flags & UVB_CTL_ATTACH_ADOPT)
		return port_adopt(d, c, req, ans);
	if (req->name[0] != '\0' && find_up(d, req->name) >= 0)
		return refuse(ans, -EEXIST, "a port named \"%.31s\" is attached already",
			      req->name);
	id = port_choose_slot(d, req->name);
	if (id < 0)
		return refuse(ans, -ENOSPC,
			      "all %u ports of the fabric are attached, or kept for others: "
			      "`uvbridge up --ports` sets how many",
			      d->map.nb_ports);
	rc = check_address(d, (uint32_t)id, req, ans);
	if (rc != 0)
		return rc;
	snprintf(name, sizeof(name), "%s", req->name);
	if (name[0] == '\0')
		snprintf(name, sizeof(name), "port%d", id);
	if (req->name[0] == '\0' && find_up(d, name) >= 0)
		return refuse(ans, -EEXIST, "a port named \"%.31s\" is attached already", name);
	/* What late senders left for the slot's last owner. */
	uvb_drain_port(&d->map, (uint32_t)id, 0);
	fill_slot(d, (uint32_t)id, req, name);
	bring_up(d, c, (uint32_t)id, req, ans);
	return 0;
}

int
port_detach(struct daemon *d, struct client *c, const struct uvb_ctl_detach *req,
	    struct uvb_ctl_answer *ans)
{
	struct uvb_port_shm *p;
	struct member *m;

	if (req->port >= d->map.nb_ports || req->member >= UVB_MEMBERS_MAX)
		return refuse(ans, -EINVAL, "no port %u or no member %u", req->port, req->member);
	p = uvb_map_port(&d->map, req->port);
	m = &d->port[req->port].member[req->member];
	if (UVB_LIFE_GEN(life_of(p)) != req->gen || !m->present)
		return 0; /* gone already, which is what was wanted */
	/* On its own connection, or, after the daemon was replaced, by its own process. */
	if (m->client != c && (m->client != NULL || (uint32_t)c->pid != p->member[req->member].pid))
		return refuse(ans, -EPERM, "port %u: process %u is that member", req->port,
			      p->member[req->member].pid);
	member_remove(d, m);
	if (req->member == UVB_OWNER_SLOT)
		link_down(d, req->port);
	else
		log_line(d, "port %u (%s): process %d left", req->port, p->name, (int)c->pid);
	port_settle(d, req->port, false);
	return 0;
}

int
port_unplug(struct daemon *d, const char *name, struct uvb_ctl_answer *ans)
{
	int32_t id = find_up(d, name);

	if (id < 0)
		return refuse(ans, -ENOENT,
			      "no port named \"%.31s\" is attached: see `uvbridge show`", name);
	log_line(d, "port %d (%s): unplugged", id, name);
	ans->port = (uint32_t)id;
	link_down(d, (uint32_t)id);
	port_settle(d, (uint32_t)id, false);
	return 0;
}

int
port_join(struct daemon *d, struct client *c, const struct uvb_ctl_join *req,
	  struct uvb_ctl_answer *ans)
{
	struct uvb_port_shm *p;
	int32_t slot;

	if (c->member != NULL)
		return refuse(ans, -EBUSY, "this connection has attached a port already");
	if (req->port >= d->map.nb_ports)
		return refuse(ans, -EINVAL, "no port %u", req->port);
	p = uvb_map_port(&d->map, req->port);
	if (life_of(p) != UVB_LIFE(req->gen, UVB_PORT_UP))
		return refuse(ans, -ESTALE, "port %u is no longer the one it was", req->port);
	if (!(p->flags & UVB_PORT_JOINABLE))
		return refuse(ans, -EPERM,
			      "port %.31s was not attached as one that other processes may join",
			      p->name);
	slot = members_free_slot(d, req->port);
	if (slot < 0)
		return refuse(ans, -ENOSPC,
			      "port %.31s has %u processes already, which is all it can", p->name,
			      UVB_MEMBERS_MAX);
	member_add(d, req->port, (uint32_t)slot, req->gen, c);
	fill_answer(p, req->port, (uint32_t)slot, ans);
	log_line(d, "port %u (%s): joined by process %d", req->port, p->name, (int)c->pid);
	return 0;
}

/* ------------------------------------------------------------------------------ all of the ports
 */

int
ports_adopt(struct daemon *d)
{
	struct uvb_hdr *h = uvb_map_hdr(&d->map);

	faults_adopt(d);
	for (uint32_t i = 0; i < d->map.nb_ports; i++) {
		struct uvb_port_shm *p = uvb_map_port(&d->map, i);

		p->name[UVB_NAME_LEN - 1] = '\0';
		if (UVB_LIFE_GEN(life_of(p)) == 0)
			continue;
		if (UVB_LIFE_STATE(life_of(p)) == UVB_PORT_FREE) {
			memset(p->member, 0, sizeof(p->member)); /* of an attach half done */
			reclaim(d, i);                           /* of late senders */
			continue;
		}
		members_adopt(d, i);
		port_settle(d, i, true);
	}
	/* Hints may be those of a moment in which the last daemon died. */
	for (uint32_t i = 0; i < d->map.nb_ports; i++) {
		struct uvb_port_shm *p = uvb_map_port(&d->map, i);

		if (is_up(p) && atomic_load(&p->kind) == UVB_KIND_CAPTURE)
			atomic_store(&h->capture_port, i + 1);
		flood_set(d, i, is_up(p) && atomic_load(&p->kind) != UVB_KIND_CAPTURE);
	}
	policies_adopt(d);
	return 0;
}

/* Whatever arrived for those who are not there: late senders, queues a port did not take. A port
 * that has members has its queues, although its link is down. */
static void
drain_absent(struct daemon *d)
{
	for (uint32_t i = 0; i < d->map.nb_ports; i++) {
		const struct uvb_port_shm *p = uvb_map_port(&d->map, i);

		if (UVB_LIFE_GEN(life_of(p)) != 0)
			uvb_drain_pending(&d->map, i, members_count(d, i) != 0 ? p->nb_rxq : 0);
	}
}

void
ports_tick(struct daemon *d)
{
	struct uvb_hdr *h = uvb_map_hdr(&d->map);
	uint64_t now = uvb_now_ns();
	uint32_t now_s;

	drain_absent(d);
	decisions_write(d);
	clock_tick(d);
	atomic_store(&h->daemon_beat, now);
	if (now - d->aged_ns < BEAT_NS)
		return;
	d->aged_ns = now;
	if (h->fdb_age_s == 0)
		return;
	now_s = (uint32_t)(uvb_clock_ns(h) / 1000000000ULL);
	policies_keep_known(d, now_s);
	uvb_fdb_age(&d->fdb, now_s, h->fdb_age_s);
}

void
ports_end(struct daemon *d)
{
	for (uint32_t i = 0; i < d->map.nb_ports; i++) {
		struct uvb_port_shm *p = uvb_map_port(&d->map, i);

		if (!is_up(p))
			continue;
		flood_set(d, i, false);
		life_set(p, UVB_LIFE_GEN(life_of(p)), UVB_PORT_DOWN);
		log_line(d, "port %u (%s): link down, the fabric ends", i, p->name);
	}
}

uint32_t
ports_attached(struct daemon *d, char *text, size_t room)
{
	uint32_t n = 0;
	size_t at = 0;

	text[0] = '\0';
	for (uint32_t i = 0; i < d->map.nb_ports; i++) {
		const struct uvb_port_shm *p = uvb_map_port(&d->map, i);

		if (!is_up(p))
			continue;
		if (at + UVB_NAME_LEN + 32 < room)
			at += (size_t)snprintf(text + at, room - at, "%s%s (process %u)",
					       n != 0 ? ", " : "", p->name,
					       p->member[UVB_OWNER_SLOT].pid);
		n++;
	}
	return n;
}
