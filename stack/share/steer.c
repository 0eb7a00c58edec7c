/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/share/steer.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define KEY_USED   (1ULL << 48)
#define RULES_LOW  64u
#define RULES_HIGH (1u << 24)

/* -------------------------------------------------------------------------------------- layout */

static size_t
round_up(size_t n)
{
	return (n + UVS_LINE - 1) / UVS_LINE * UVS_LINE;
}

static size_t
nic_bytes(void)
{
	return round_up(UVS_LINE + UVS_RETA_MAX * sizeof(uint16_t));
}

size_t
uvs_steer_size(const struct uvs_steer_size *s)
{
	return sizeof(struct uvs_claims) + UVS_GROUPS * sizeof(struct uvs_group) + UVS_LINE +
	       nic_bytes() + s->nb_slots * sizeof(struct uvs_steer_stats) +
	       uvs_rules_size(s->rules, s->nb_slots);
}

static bool
good_number(uint32_t rules)
{
	return rules >= RULES_LOW && rules <= RULES_HIGH && (rules & (rules - 1)) == 0;
}

int
uvs_steer_map(struct uvs_steer_map *m, const struct uvs_steer_size *s, void *memory)
{
	char *at = memory;

	if (s->nb_slots < 2 || s->nb_slots > UVS_CLAIM_SLOTS || !good_number(s->rules))
		return -EINVAL;
	*m = (struct uvs_steer_map){.size = *s};
	m->claims = (void *)at;
	at += sizeof(struct uvs_claims);
	m->group = (void *)at;
	at += UVS_GROUPS * sizeof(struct uvs_group);
	m->everything = (void *)at;
	at += UVS_LINE;
	m->reta_size = (void *)at;
	m->queued = (void *)(at + sizeof(uint64_t));
	m->reta = (void *)(at + UVS_LINE);
	at += nic_bytes();
	m->stats = (void *)at;
	at += s->nb_slots * sizeof(struct uvs_steer_stats);
	uvs_rules_map(&m->rules, s->rules, s->nb_slots, s->secret, at);
	return 0;
}

void
uvs_steer_open(struct uvs_steer *s, const struct uvs_steer_map *m, struct uvs_softq_end *end,
	       uvs_own_fn own, void *own_arg)
{
	memset(s, 0, sizeof(*s));
	s->map = m;
	s->end = end;
	s->self = end->self;
	s->own = own;
	s->own_arg = own_arg;
	uvs_rules_open(&s->asks, &m->rules, s->self);
}

void
uvs_steer_close(struct uvs_steer *s)
{
	uvs_rules_shut(&s->asks);
}

/* ------------------------------------------------------------------------------------ counting */

static const char *const count_names[UVS_STEER_COUNTS] = {
	[UVS_STEER_OWN] = "own",
	[UVS_STEER_NOBODY] = "nobody",
	[UVS_STEER_LISTENER] = "listener",
	[UVS_STEER_OTHER] = "other",
	[UVS_STEER_TO_HOLDER] = "to_holder",
	[UVS_STEER_TO_RULE] = "to_rule",
	[UVS_STEER_TO_LISTENER] = "to_listener",
	[UVS_STEER_TO_BEFORE] = "to_before",
	[UVS_STEER_TO_NEXT] = "to_next",
	[UVS_STEER_STRAY] = "stray",
	[UVS_STEER_EVERYONE] = "everyone",
	[UVS_STEER_GROUP] = "group",
	[UVS_STEER_DROPPED] = "dropped",
	[UVS_STEER_COPIES] = "copies",
	[UVS_STEER_HELD_BACK] = "held_back",
	[UVS_STEER_ARRIVED] = "arrived",
};

static const char *const drop_names[UVS_DROPS] = {
	[UVS_DROP_FULL] = "full",
	[UVS_DROP_FRAGMENT] = "fragment",
	[UVS_DROP_STALE] = "stale_rule",
};

const char *
uvs_steer_count_name(enum uvs_steer_count c)
{
	return (unsigned int)c < UVS_STEER_COUNTS ? count_names[c] : "?";
}

const char *
uvs_drop_name(enum uvs_drop d)
{
	return (unsigned int)d < UVS_DROPS ? drop_names[d] : "?";
}

static void
bump(_Atomic uint64_t *counter)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

static void
count(const struct uvs_steer *s, enum uvs_steer_count c)
{
	bump(&s->map->stats[s->self].count[c]);
}

/* ----------------------------------------------------------------------------------- the living */

static uint64_t
me(const struct uvs_steer *s)
{
	return 1ULL << s->self;
}

/* Of these slots, those that exist and whose stack is up, without the manager's. */
static uint64_t
living(struct uvs_steer *s, uint64_t slots)
{
	uint64_t new;

	slots &= (1ULL << s->map->size.nb_slots) - 2;
	for (new = slots & ~s->looked; new != 0; new &= new - 1) {
		uint32_t slot = (uint32_t)__builtin_ctzll(new);

		if (uvs_softq_up(s->end, slot))
			s->up |= 1ULL << slot;
	}
	s->looked |= slots;
	return slots & s->up;
}

/* ------------------------------------------------------------------------------------ verdicts */

static void
here(const struct uvs_steer *s, struct uvs_frame *f, enum uvs_steer_count why)
{
	f->verdict = UVS_HERE;
	count(s, why);
}

static void
drop(const struct uvs_steer *s, struct uvs_frame *f, enum uvs_drop why)
{
	f->verdict = UVS_DROP;
	f->reason = (uint8_t)why;
	count(s, UVS_STEER_DROPPED);
	bump(&s->map->stats[s->self].drop[why]);
}

/* Slots that have seen the frame, but us. */
static uint64_t
seen(const struct uvs_steer *s, const struct uvs_frame *f)
{
	return LIKELY(!(f->flags & UVS_FRAME_FORWARDED)) ? 0 : *f->trail & UVS_CLAIM_MASK & ~me(s);
}

static void
forward(struct uvs_steer *s, struct uvs_frame *f, uint32_t to, enum uvs_steer_count why)
{
	*f->trail = seen(s, f) | me(s);
	if (UNLIKELY(!uvs_softq_stage(s->end, to, f->ref))) {
		drop(s, f, UVS_DROP_FULL);
		return;
	}
	f->verdict = UVS_GONE;
	f->to = (uint8_t)to;
	count(s, why);
}

/* A copy for each of these; and for us, if `also`. */
static void
copy(struct uvs_steer *s, struct uvs_frame *f, uint64_t slots, bool also, enum uvs_steer_count why)
{
	f->copies = slots & ~me(s);
	f->here = also;
	f->verdict = f->copies != 0 || !also ? UVS_COPY : UVS_HERE;
	count(s, why);
}

bool
uvs_steer_copy(struct uvs_steer *s, uint32_t to, uvs_ref ref, uint64_t *trail)
{
	*trail = UVS_TRAIL_END;
	if (!uvs_softq_stage(s->end, to, ref)) {
		bump(&s->map->stats[s->self].drop[UVS_DROP_FULL]);
		return false;
	}
	count(s, UVS_STEER_COPIES);
	return true;
}

/* ---------------------------------------------------------------------------------------- flows */

/* A frame, and what has been found out about it. */
struct work {
	struct uvs_parsed p;
	uint64_t hash;   /* of the flow, where it was needed */
	uint64_t others; /* live slots that hold the port and have not seen the frame */
	uint8_t to;      /* GONE: to whom */
	bool undecided;  /* the rules have to be asked */
};

static enum uvs_claim_space
space_of(const struct uvs_flow *f)
{
	return uvs_claim_space(f->proto, f->family);
}

static uint64_t
opened(const struct uvs_steer *s, const struct uvs_flow *f)
{
	return uvs_claim_opened(s->map->claims, space_of(f), f->lport);
}

/* Of the others who listen, is there one that no queue leads to? Then the NIC does not spread what
 * opens connections over all of them, and we do. */
static bool
some_without_queue(struct uvs_steer *s, uint64_t open)
{
	uint64_t queued = atomic_load_explicit(s->map->queued, memory_order_relaxed);

	return living(s, open & ~queued & ~me(s)) != 0;
}

/* May we keep what opens a connection? What another has chosen us for, in any case. */
static bool
ours_to_open(struct uvs_steer *s, const struct uvs_frame *f, uint64_t open)
{
	return (open & me(s)) != 0 && (seen(s, f) != 0 || !some_without_queue(s, open));
}

static void
send_to(struct uvs_steer *s, struct uvs_frame *f, struct work *w, uint32_t to,
	enum uvs_steer_count why)
{
	w->to = (uint8_t)to;
	forward(s, f, to, why);
}

/* Our connection, although it came over another: a rule would spare it the way. */
static void
shorten(struct uvs_steer *s, const struct uvs_frame *f, const struct uvs_flow *flow, uint8_t *state)
{
	if ((f->flags & UVS_FRAME_FORWARDED) && *state == 0 && uvs_rules_ask(&s->asks, flow))
		*state = 1;
}

static bool
is_ours(struct uvs_steer *s, const struct uvs_frame *f, const struct uvs_flow *flow)
{
	uint8_t *state = s->own != NULL ? s->own(s->own_arg, flow) : NULL;

	if (state == NULL)
		return false;
	shorten(s, f, flow, state);
	return true;
}

/* By the claims alone, if they say it. */
static void
decide(struct uvs_steer *s, struct uvs_frame *f, struct work *w)
{
	const struct uvs_flow *flow = &w->p.flow;
	uint64_t held = uvs_claim_held(s->map->claims, space_of(flow), flow->lport);
	uint64_t before = seen(s, f);

	if (LIKELY(held == me(s))) {
		here(s, f, UVS_STEER_OWN);
		return;
	}
	w->others = living(s, held & ~me(s) & ~before);
	if (!(held & me(s)) && before == 0 && (w->others & (w->others - 1)) == 0) {
		if (w->others == 0)
			here(s, f, UVS_STEER_NOBODY);
		else
			send_to(s, f, w, (uint32_t)__builtin_ctzll(w->others), UVS_STEER_TO_HOLDER);
		return;
	}
	if ((held & me(s)) && is_ours(s, f, flow)) {
		here(s, f, UVS_STEER_OWN);
		return;
	}
	if (w->p.opens && flow->proto == IPPROTO_TCP && ours_to_open(s, f, opened(s, flow))) {
		here(s, f, UVS_STEER_LISTENER);
		return;
	}
	w->hash = uvs_flow_hash(flow, s->map->size.secret);
	w->undecided = true;
	uvs_rules_prefetch(&s->map->rules, w->hash);
}

/* A datagram of a port on which some socket has a peer: is it this one? All who hold the port are
 * asked. If it is nobody's, the last one has it if he wants anybody's, or else makes a copy for one
 * who does: the buffer cannot go to where it came from. */
static void
for_connected(struct uvs_steer *s, struct uvs_frame *f, struct work *w)
{
	uint64_t open = opened(s, &w->p.flow), among = living(s, open & ~me(s));

	if (w->others != 0)
		send_to(s, f, w, uvs_flow_rendezvous(w->hash, w->others), UVS_STEER_TO_NEXT);
	else if ((open & me(s)) != 0)
		here(s, f, UVS_STEER_LISTENER);
	else if (among != 0)
		copy(s, f, 1ULL << uvs_flow_rendezvous(w->hash, among), false,
		     UVS_STEER_TO_LISTENER);
	else
		here(s, f, UVS_STEER_NOBODY);
}

static bool
may_be_connected(const struct uvs_steer *s, const struct uvs_flow *flow)
{
	return flow->proto == IPPROTO_UDP &&
	       uvs_claim_connected(s->map->claims, space_of(flow), flow->lport);
}

/* A SYN that we do not listen for, or a datagram. */
static void
for_listeners(struct uvs_steer *s, struct uvs_frame *f, struct work *w)
{
	uint64_t open = opened(s, &w->p.flow), among = open & (w->others | me(s));
	uint32_t to = among != 0 ? uvs_flow_rendezvous(w->hash, among) : 0;

	if (to == s->self || ours_to_open(s, f, open))
		here(s, f, UVS_STEER_LISTENER);
	else if (to != 0)
		send_to(s, f, w, to, UVS_STEER_TO_LISTENER);
	else if ((open & seen(s, f)) != 0)
		drop(s, f, UVS_DROP_STALE);
	else
		here(s, f, UVS_STEER_NOBODY);
}

static uint32_t
reta_entry(const struct uvs_steer_map *m, uint32_t hash)
{
	uint32_t size = atomic_load_explicit(m->reta_size, memory_order_relaxed);

	if (size == 0 || size > UVS_RETA_MAX)
		return 0;
	return atomic_load_explicit(&m->reta[hash % size], memory_order_relaxed);
}

/* A segment of a connection that is not ours. */
static void
for_owner(struct uvs_steer *s, struct uvs_frame *f, struct work *w)
{
	uint32_t before = f->flags & UVS_FRAME_HASHED ? reta_entry(s->map, f->hash) >> 8 : 0;

	if (w->others == 0)
		here(s, f, UVS_STEER_STRAY);
	else if (before < UVS_CLAIM_SLOTS && (w->others >> before & 1) != 0)
		send_to(s, f, w, before, UVS_STEER_TO_BEFORE);
	else
		send_to(s, f, w, uvs_flow_rendezvous(w->hash, w->others), UVS_STEER_TO_NEXT);
}

static void
decide_by_rules(struct uvs_steer *s, struct uvs_frame *f, struct work *w)
{
	uint32_t rule = uvs_rules_find(&s->map->rules, w->hash);

	if (rule < UVS_CLAIM_SLOTS && (w->others >> rule & 1) != 0)
		send_to(s, f, w, rule, UVS_STEER_TO_RULE);
	else if (may_be_connected(s, &w->p.flow))
		for_connected(s, f, w);
	else if (w->p.opens)
		for_listeners(s, f, w);
	else
		for_owner(s, f, w);
}

/* --------------------------------------------------------------------------------------- groups */

static uint64_t
mac_key(const uint8_t mac[6])
{
	uint64_t key = 0;

	memcpy(&key, mac, 6);
	return key | KEY_USED;
}

static bool
is_broadcast(const uint8_t mac[6])
{
	return mac_key(mac) == ((KEY_USED << 1) - 1);
}

/* The place of a group, or of nothing where it would be; NULL: it is not there, and no room. */
static struct uvs_group *
group_seek(const struct uvs_steer_map *m, uint64_t key)
{
	uint64_t at = uvs_mix(key ^ m->size.secret, 0x9e3779b97f4a7c15ULL);

	for (uint32_t i = 0; i < UVS_GROUPS / 8; i++) {
		struct uvs_group *g = &m->group[(at + i) % UVS_GROUPS];
		uint64_t found = atomic_load_explicit(&g->key, memory_order_acquire);

		if (found == key || found == 0)
			return g;
	}
	return NULL;
}

void
uvs_steer_join(const struct uvs_steer_map *m, uint32_t slot, const uint8_t mac[6])
{
	uint64_t key = mac_key(mac);
	struct uvs_group *g;

	while ((g = group_seek(m, key)) != NULL) {
		uint64_t none = 0;

		/* Somebody else may have put another group there. */
		if (atomic_compare_exchange_strong(&g->key, &none, key) || none == key)
			break;
	}
	if (g != NULL)
		atomic_fetch_or(&g->members, 1ULL << slot);
	else
		atomic_fetch_or(m->everything, 1ULL << slot);
}

void
uvs_steer_leave(const struct uvs_steer_map *m, uint32_t slot, const uint8_t mac[6])
{
	struct uvs_group *g = group_seek(m, mac_key(mac));

	/* One that found no room gets every group as long as it lives. */
	if (g != NULL && atomic_load(&g->key) == mac_key(mac))
		atomic_fetch_and(&g->members, ~(1ULL << slot));
}

static uint64_t
members(const struct uvs_steer_map *m, const uint8_t mac[6])
{
	uint64_t all = atomic_load_explicit(m->everything, memory_order_relaxed);
	const struct uvs_group *g;

	if (is_broadcast(mac))
		return UVS_CLAIM_MASK;
	g = group_seek(m, mac_key(mac));
	if (g != NULL && atomic_load_explicit(&g->key, memory_order_acquire) == mac_key(mac))
		all |= atomic_load_explicit(&g->members, memory_order_relaxed);
	return all;
}

static void
for_group(struct uvs_steer *s, struct uvs_frame *f, const struct uvs_flow *flow)
{
	uint64_t want = members(s->map, f->data) &
			uvs_claim_held(s->map->claims, space_of(flow), flow->lport);
	uint64_t others = living(s, want & ~me(s));

	copy(s, f, others, (want & me(s)) != 0 || others == 0, UVS_STEER_GROUP);
}

/* ------------------------------------------------------------------------------------ fragments */

static struct uvs_frag_key
frag_key(const struct uvs_parsed *p)
{
	struct uvs_frag_key key = {.id = p->frag_id};

	key.proto = (uint32_t)p->flow.family << 8 | p->frag_proto;
	memcpy(key.local, p->flow.local, sizeof(key.local));
	memcpy(key.remote, p->flow.remote, sizeof(key.remote));
	return key;
}

static bool
same_datagram(const struct uvs_frag_key *a, const struct uvs_frag_key *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static struct uvs_datagram *
datagram_at(struct uvs_steer *s, const struct uvs_frag_key *key)
{
	uint64_t h = uvs_mix((uint64_t)key->id << 32 | key->remote[0], s->map->size.secret | 1);

	return &s->datagram[(h ^ key->remote[3]) % UVS_DATAGRAMS];
}

/* A later fragment, the first one's way being known. */
static void
follow(struct uvs_steer *s, struct uvs_frame *f, const struct uvs_datagram *d)
{
	uint64_t to = 1ULL << d->to;

	if (d->verdict == UVS_COPY)
		copy(s, f, living(s, d->copies), d->here, UVS_STEER_GROUP);
	else if (d->verdict == UVS_GONE && living(s, to & ~seen(s, f)) != 0)
		forward(s, f, d->to, UVS_STEER_TO_HOLDER);
	else
		here(s, f, UVS_STEER_OWN);
}

static void
unhold(struct uvs_steer *s, uint32_t i)
{
	s->held[i] = s->held[--s->nb_held];
}

/* A frame that was held back is decided; the caller hears of it unless it has gone. */
static void
release(struct uvs_steer *s, uint32_t i, const struct uvs_datagram *d)
{
	struct uvs_frame f = s->held[i].frame;

	unhold(s, i);
	if (d != NULL)
		follow(s, &f, d);
	else
		drop(s, &f, UVS_DROP_FRAGMENT);
	if (f.verdict != UVS_GONE)
		s->late[s->nb_late++] = f;
}

static void
remember(struct uvs_steer *s, const struct uvs_frame *f, const struct work *w)
{
	struct uvs_frag_key key = frag_key(&w->p);
	struct uvs_datagram *d = datagram_at(s, &key);

	*d = (struct uvs_datagram){.key = key,
				   .when = s->now,
				   .copies = f->copies,
				   .verdict = f->verdict,
				   .to = w->to,
				   .here = f->here};
	for (uint32_t i = 0; i < s->nb_held;)
		if (same_datagram(&s->held[i].key, &key))
			release(s, i, d);
		else
			i++;
}

static void
hold(struct uvs_steer *s, struct uvs_frame *f, const struct uvs_frag_key *key)
{
	/* Those that are late already have a place in late[], too. */
	if (s->nb_held + s->nb_late >= UVS_HELD) {
		drop(s, f, UVS_DROP_FRAGMENT);
		return;
	}
	f->verdict = UVS_HELD_BACK;
	s->held[s->nb_held++] = (struct uvs_held){.frame = *f, .key = *key, .when = s->now};
	count(s, UVS_STEER_HELD_BACK);
}

static void
for_fragment(struct uvs_steer *s, struct uvs_frame *f, const struct uvs_parsed *p)
{
	struct uvs_frag_key key = frag_key(p);
	const struct uvs_datagram *d = datagram_at(s, &key);

	if (same_datagram(&d->key, &key) && s->now - d->when < UVS_DATAGRAM_NS)
		follow(s, f, d);
	else
		hold(s, f, &key);
}

uint32_t
uvs_steer_late(struct uvs_steer *s, struct uvs_frame *frame, uint32_t n)
{
	for (uint32_t i = 0; i < s->nb_held;)
		if (s->now - s->held[i].when >= UVS_HOLD_NS)
			release(s, i, NULL);
		else
			i++;
	if (n > s->nb_late)
		n = s->nb_late;
	s->nb_late -= n;
	memcpy(frame, &s->late[s->nb_late], n * sizeof(*frame));
	return n;
}

/* ------------------------------------------------------------------------------------ the burst */

static void
everyone(struct uvs_steer *s, struct uvs_frame *f)
{
	copy(s, f, living(s, UVS_CLAIM_MASK & ~me(s)), true, UVS_STEER_EVERYONE);
}

static void
first_look(struct uvs_steer *s, struct uvs_frame *f, struct work *w)
{
	f->copies = 0;
	f->here = false;
	if (UNLIKELY(f->flags & UVS_FRAME_FORWARDED)) {
		count(s, UVS_STEER_ARRIVED);
		if (*f->trail == UVS_TRAIL_END) { /* ours, whatever it is */
			w->p = (struct uvs_parsed){.kind = UVS_KIND_OTHER};
			here(s, f, UVS_STEER_OWN);
			return;
		}
	}
	switch (w->p.kind) {
	case UVS_KIND_FLOW:
	case UVS_KIND_ERROR:
		decide(s, f, w);
		break;
	case UVS_KIND_EVERYONE:
		everyone(s, f);
		break;
	case UVS_KIND_GROUP:
		for_group(s, f, &w->p.flow);
		break;
	case UVS_KIND_FRAGMENT:
		break; /* after the others: its first one may be among them */
	default:
		here(s, f, UVS_STEER_OTHER);
		break;
	}
}

static void
last_look(struct uvs_steer *s, struct uvs_frame *f, struct work *w)
{
	if (w->undecided)
		decide_by_rules(s, f, w);
	if (UNLIKELY(w->p.kind == UVS_KIND_FRAGMENT))
		for_fragment(s, f, &w->p);
	else if (UNLIKELY(w->p.first))
		remember(s, f, w);
}

static void
prefetch_claim(const struct uvs_steer *s, const struct uvs_parsed *p)
{
	if (p->kind == UVS_KIND_FLOW || p->kind == UVS_KIND_ERROR)
		__builtin_prefetch(&s->map->claims->port[space_of(&p->flow)][p->flow.lport]);
}

void
uvs_steer_burst(struct uvs_steer *s, struct uvs_frame *frame, uint32_t n)
{
	struct work work[UVS_STEER_BURST];

	s->looked = s->up = 0;
	for (uint32_t i = 0; i < n; i++) {
		work[i].undecided = false;
		work[i].to = 0;
		uvs_flow_parse(&work[i].p, frame[i].data, frame[i].len);
		prefetch_claim(s, &work[i].p);
	}
	for (uint32_t i = 0; i < n; i++)
		first_look(s, &frame[i], &work[i]);
	for (uint32_t i = 0; i < n; i++)
		last_look(s, &frame[i], &work[i]);
}

/* --------------------------------------------------------------------------------- connections */

void
uvs_steer_connected(struct uvs_steer *s, const struct uvs_flow *f, uint8_t *state)
{
	uint64_t held = uvs_claim_held(s->map->claims, space_of(f), f->lport);

	uvs_claim_connect(s->map->claims, space_of(f), f->lport);
	if ((held & ~me(s)) != 0 && *state == 0 && uvs_rules_ask(&s->asks, f))
		*state = 1;
}

void
uvs_steer_ended(struct uvs_steer *s, const struct uvs_flow *f, uint8_t *state)
{
	if (LIKELY(*state == 0))
		return;
	*state = 0;
	uvs_rules_revoke(&s->asks, f);
}

bool
uvs_steer_wake_manager(struct uvs_steer *s)
{
	if (LIKELY(!s->asks.asked))
		return false;
	s->asks.asked = false;
	/* Pairs with the manager's arming: it looks at the rings afterwards. */
	atomic_thread_fence(memory_order_seq_cst);
	return (atomic_load_explicit(&s->end->x->inbox[UVS_SLOT_BOSS].armed, memory_order_relaxed) &
		1) != 0;
}

/* ------------------------------------------------------------------------------------- the NIC */

void
uvs_steer_reta(const struct uvs_steer_map *m, const uint8_t *slot, uint32_t size)
{
	uint64_t queued = 0;

	if (size > UVS_RETA_MAX)
		size = 0;
	for (uint32_t i = 0; i < size; i++) {
		uint32_t old = atomic_load_explicit(&m->reta[i], memory_order_relaxed);

		queued |= 1ULL << (slot[i] & 63);
		if ((old & 0xff) != slot[i])
			atomic_store_explicit(&m->reta[i], (uint16_t)(slot[i] | (old & 0xff) << 8),
					      memory_order_relaxed);
	}
	atomic_store_explicit(m->queued, queued, memory_order_relaxed);
	atomic_store_explicit(m->reta_size, size, memory_order_relaxed);
}

uint32_t
uvs_steer_home(const struct uvs_steer_map *m, uint32_t hash)
{
	uint32_t slot = reta_entry(m, hash) & 0xff;

	return slot < m->size.nb_slots ? slot : 0;
}

/* ------------------------------------------------------------------------------------- reclaim */

static uint32_t
leave_all(const struct uvs_steer_map *m, uint32_t slot)
{
	uint64_t bit = 1ULL << slot;
	uint32_t found = 0;

	for (uint32_t i = 0; i < UVS_GROUPS; i++)
		if (atomic_load_explicit(&m->group[i].members, memory_order_relaxed) & bit)
			found += (atomic_fetch_and(&m->group[i].members, ~bit) & bit) != 0;
	atomic_fetch_and(m->everything, ~bit);
	return found;
}

uint32_t
uvs_steer_reclaim(struct uvs_rules_writer *w, const struct uvs_steer_map *m, uint32_t slot)
{
	/* Claims first: after them nothing leads to the slot but for a moment a rule, which does
	 * not count without its claim. */
	return uvs_claims_reclaim(m->claims, slot) + leave_all(m, slot) +
	       uvs_rules_reclaim(w, slot);
}
