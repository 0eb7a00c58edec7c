/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/share/steer_lab.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ETH 14u
#define IP4 20u
#define IP6 40u

/* ---------------------------------------------------------------------------------- open, close */

static size_t
aligned(size_t n)
{
	return (n + UVS_LINE - 1) / UVS_LINE * UVS_LINE;
}

static uint8_t *
own(void *arg, const struct uvs_flow *f)
{
	struct steer_conns *c = arg;

	for (uint32_t i = 0; i < c->n; i++)
		if (memcmp(&c->conn[i].flow, f, sizeof(*f)) == 0)
			return &c->conn[i].state;
	return NULL;
}

void
steer_lab_open(struct steer_lab *l)
{
	static const struct uvs_steer_size sizes = {
		.nb_slots = LAB_SLOTS, .rules = 64, .secret = 0x5eed};
	size_t buffers = (size_t)LAB_SLOTS * LAB_BUFFERS, map = aligned(uvs_steer_size(&sizes));
	char *at;

	memset(l, 0, sizeof(*l));
	l->private = aligned(lab_size()) + aligned(buffers * sizeof(*l->trail)) +
		     buffers * STEER_FRAME + buffers * sizeof(*l->frame_len);
	l->size = map + l->private;
	l->memory = mmap(NULL, l->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (l->memory == MAP_FAILED || uvs_steer_map(&l->map, &sizes, l->memory) < 0)
		abort();
	at = (char *)l->memory + map;
	lab_open_in(&l->lab, at);
	at += aligned(lab_size());
	l->trail = (void *)at;
	at += aligned(buffers * sizeof(*l->trail));
	l->frame = (void *)at;
	l->frame_len = (void *)(at + buffers * STEER_FRAME);
	if (uvs_rules_adopt(&l->writer, &l->map.rules, l->map.claims) < 0)
		abort();
	for (uint32_t slot = 1; slot < LAB_SLOTS; slot++)
		steer_lab_start(l, slot);
}

void
steer_lab_start(struct steer_lab *l, uint32_t slot)
{
	uvs_steer_open(&l->steer[slot], &l->map, &l->lab.end[slot], own, &l->conns[slot]);
}

void
steer_lab_close(struct steer_lab *l)
{
	for (uint32_t slot = 1; slot < LAB_SLOTS; slot++)
		uvs_steer_close(&l->steer[slot]);
	uvs_rules_close(&l->writer);
	munmap(l->memory, l->size);
}

/* --------------------------------------------------------------------------------------- frames */

static uint32_t
buffer_of(uvs_ref ref)
{
	return UVS_REF_POOL(ref) * LAB_BUFFERS + UVS_REF_INDEX(ref);
}

static struct uvs_frame
view(const struct steer_lab *l, uvs_ref ref)
{
	uint32_t b = buffer_of(ref);

	return (struct uvs_frame){.data = &l->frame[(size_t)b * STEER_FRAME],
				  .len = l->frame_len[b],
				  .ref = ref,
				  .trail = &l->trail[b]};
}

struct uvs_frame
steer_lab_frame(struct steer_lab *l, uint32_t at, uint32_t index, const uint8_t *data, uint32_t len)
{
	uvs_ref ref = UVS_REF(at, index);

	memcpy(&l->frame[(size_t)buffer_of(ref) * STEER_FRAME], data, len);
	l->frame_len[buffer_of(ref)] = len;
	return view(l, ref);
}

static void
keep(struct steer_lab *l, uint32_t at, uvs_ref ref)
{
	struct steer_got *g = &l->got[at];

	g->ref[g->n++ % (sizeof(g->ref) / sizeof(g->ref[0]))] = ref;
}

/* The stack has done with it. */
static void
go_home(struct steer_lab *l, uint32_t at, uvs_ref ref)
{
	if (UVS_REF_POOL(ref) != at && !uvs_softq_stage(&l->lab.end[at], UVS_REF_POOL(ref), ref))
		abort(); /* more places than buffers */
}

static void
copies(struct steer_lab *l, uint32_t at, const struct uvs_frame *f)
{
	for (uint64_t left = f->copies; left != 0; left &= left - 1) {
		uint32_t index = LAB_BUFFERS - 1 - l->copied[at]++ % (LAB_BUFFERS / 2);
		struct uvs_frame c = steer_lab_frame(l, at, index, f->data, f->len);

		if (!uvs_steer_copy(&l->steer[at], (uint32_t)__builtin_ctzll(left), c.ref, c.trail))
			abort();
	}
}

static void
finish(struct steer_lab *l, uint32_t at, const struct uvs_frame *f)
{
	if (f->verdict == UVS_GONE || f->verdict == UVS_HELD_BACK)
		return;
	if (f->verdict == UVS_COPY)
		copies(l, at, f);
	if (f->verdict == UVS_HERE || (f->verdict == UVS_COPY && f->here))
		keep(l, at, f->ref);
	go_home(l, at, f->ref);
}

void
steer_lab_receive(struct steer_lab *l, uint32_t at, struct uvs_frame *frame, uint32_t n)
{
	struct uvs_frame late[UVS_HELD];

	uvs_steer_burst(&l->steer[at], frame, n);
	for (uint32_t i = 0; i < n; i++)
		finish(l, at, &frame[i]);
	n = uvs_steer_late(&l->steer[at], late, UVS_HELD);
	for (uint32_t i = 0; i < n; i++)
		finish(l, at, &late[i]);
	uvs_softq_publish(&l->lab.end[at]);
}

uint32_t
steer_lab_serve(struct steer_lab *l, uint32_t at)
{
	struct uvs_frame frame[16];
	uint32_t total = 0, n;
	uvs_ref ref[16];

	while ((n = uvs_softq_take(&l->lab.end[at], ref, 16)) != 0) {
		uint32_t frames = 0;

		for (uint32_t i = 0; i < n; i++)
			if (UVS_REF_POOL(ref[i]) != at) {
				frame[frames] = view(l, ref[i]);
				frame[frames++].flags = UVS_FRAME_FORWARDED;
			}
		steer_lab_receive(l, at, frame, frames);
		total += frames;
	}
	return total;
}

uint32_t
steer_lab_settle(struct steer_lab *l)
{
	uint32_t hops = 0, moved;

	do {
		moved = 0;
		for (uint32_t slot = 1; slot < LAB_SLOTS; slot++)
			if (!(l->absent >> slot & 1) &&
			    uvs_softq_up(&l->lab.end[UVS_SLOT_BOSS], slot))
				moved += steer_lab_serve(l, slot);
		hops += moved;
	} while (moved != 0);
	return hops;
}

static uint32_t
who_got_more(const struct steer_lab *l, const uint32_t *before)
{
	uint32_t who = 0;

	for (uint32_t slot = 1; slot < LAB_SLOTS; slot++) {
		if (l->got[slot].n == before[slot])
			continue;
		if (who != 0 || l->got[slot].n != before[slot] + 1)
			return 0;
		who = slot;
	}
	return who;
}

static uint32_t
where(struct steer_lab *l, uint32_t at, struct uvs_frame f)
{
	uint32_t before[LAB_SLOTS];

	for (uint32_t slot = 0; slot < LAB_SLOTS; slot++)
		before[slot] = l->got[slot].n;
	steer_lab_receive(l, at, &f, 1);
	steer_lab_settle(l);
	return who_got_more(l, before);
}

uint32_t
steer_lab_where(struct steer_lab *l, uint32_t at, const uint8_t *data, uint32_t len)
{
	return where(l, at, steer_lab_frame(l, at, 0, data, len));
}

uint32_t
steer_lab_where_hashed(struct steer_lab *l, uint32_t at, const uint8_t *data, uint32_t len,
		       uint32_t hash)
{
	struct uvs_frame f = steer_lab_frame(l, at, 0, data, len);

	f.flags = UVS_FRAME_HASHED;
	f.hash = hash;
	return where(l, at, f);
}

void
steer_lab_connect(struct steer_lab *l, uint32_t slot, const struct uvs_flow *f)
{
	struct steer_conns *c = &l->conns[slot];

	if (c->n == STEER_CONNS)
		abort();
	c->conn[c->n++] = (struct steer_conn){.flow = *f};
}

uint64_t
steer_lab_count(const struct steer_lab *l, uint32_t slot, enum uvs_steer_count c)
{
	return atomic_load(&l->map.stats[slot].count[c]);
}

/* ------------------------------------------------------------------------------ frames, in bytes
 */

static void
put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint32_t
put_ethernet(uint8_t *to, uint8_t family)
{
	memset(to, 0, STEER_FRAME);
	to[0] = 2;
	put16(to + 12, family == 6 ? 0x86dd : 0x0800);
	return ETH;
}

/* The header of a packet from `from` to `dest`. */
static uint32_t
put_ip(uint8_t *to, uint8_t family, uint8_t proto, const uint32_t *from, const uint32_t *dest)
{
	if (family == 6) {
		to[0] = 0x60;
		to[6] = proto;
		memcpy(to + 8, from, 16);
		memcpy(to + 24, dest, 16);
		return IP6;
	}
	to[0] = 0x45;
	to[9] = proto;
	memcpy(to + 12, from, 4);
	memcpy(to + 16, dest, 4);
	return IP4;
}

static uint32_t
put_transport(uint8_t *to, const struct uvs_flow *f, uint8_t tcp_flags)
{
	put16(to, f->rport);
	put16(to + 2, f->lport);
	if (f->proto == IPPROTO_TCP)
		to[13] = tcp_flags;
	return f->proto == IPPROTO_TCP ? 20 : 8;
}

uint32_t
steer_frame(uint8_t *to, const struct uvs_flow *f, uint8_t tcp_flags)
{
	uint32_t n = put_ethernet(to, f->family);

	n += put_ip(to + n, f->family, f->proto, f->remote, f->local);
	return n + put_transport(to + n, f, tcp_flags);
}

uint32_t
steer_frame_group(uint8_t *to, const struct uvs_flow *f, const uint8_t mac[6])
{
	uint32_t n = steer_frame(to, f, 0);

	memcpy(to, mac, 6);
	return n;
}

static uint32_t
fragment_header(uint8_t *to, const struct uvs_flow *f, uint32_t id, uint32_t offset, bool more)
{
	uint8_t *ip = to + ETH;

	if (f->family == 4) {
		put16(ip + 4, id);
		put16(ip + 6, offset / 8 | (more ? 0x2000 : 0));
		return 0;
	}
	ip[6] = IPPROTO_FRAGMENT;
	ip[IP6] = f->proto;
	put16(ip + IP6 + 2, offset | more);
	put16(ip + IP6 + 4, id >> 16);
	put16(ip + IP6 + 6, id);
	return 8;
}

uint32_t
steer_frame_fragment(uint8_t *to, const struct uvs_flow *f, uint32_t id, uint32_t offset, bool more)
{
	uint32_t n = put_ethernet(to, f->family);

	n += put_ip(to + n, f->family, f->proto, f->remote, f->local);
	n += fragment_header(to, f, id, offset, more);
	if (offset != 0) {
		memset(to + n, 0xee, 16); /* no ports */
		return n + 16;
	}
	return n + put_transport(to + n, f, STEER_ACK);
}

uint32_t
steer_frame_error(uint8_t *to, const struct uvs_flow *f, uint8_t type)
{
	uint32_t n = put_ethernet(to, f->family);
	struct uvs_flow back = *f;

	back.lport = f->rport;
	back.rport = f->lport;
	n += put_ip(to + n, f->family, f->family == 6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP, f->remote,
		    f->local);
	to[n] = type;
	n += 8;
	n += put_ip(to + n, f->family, f->proto, f->local, f->remote);
	return n + put_transport(to + n, &back, 0) / 8 * 8;
}

uint32_t
steer_frame_arp(uint8_t *to)
{
	put_ethernet(to, 4);
	memset(to, 0xff, 6);
	put16(to + 12, 0x0806);
	return ETH + 28;
}

struct uvs_flow
steer_flow(uint8_t family, uint8_t proto, uint16_t lport, uint8_t host, uint16_t rport)
{
	struct uvs_flow f = {.lport = lport, .rport = rport, .proto = proto, .family = family};
	uint32_t last = family == 6 ? 3 : 0;

	if (family == 6)
		f.local[0] = f.remote[0] = htonl(0x20010db8);
	f.local[last] = htonl(0x0a000001);
	f.remote[last] = htonl(0x0a000000u | host);
	return f;
}
