/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Flow rules, compiled: which one fits a frame, and what it says.
 */
#include <errno.h>
#include <stdlib.h>

#include "uvbridge/rules.h"

#define BUDGET 4096 /* rules compared for one frame; an honest table needs few */

/* Everything of a rule but its values. No padding: compared whole. */
struct shape_id {
	uint32_t group;
	uint32_t layers;
	uint32_t layers_mask;
	uint32_t nb_field;
	struct uvb_rule_field field[UVB_RULE_FIELDS];
	uint8_t mask[UVB_RULE_BYTES];
};
_Static_assert(sizeof(struct shape_id) == 16 + 8 * UVB_RULE_FIELDS + UVB_RULE_BYTES, "no padding");

struct shape {
	struct shape_id id;
	uint64_t best;     /* no rule of it comes earlier; may be lower than that */
	uint32_t key_len;  /* bytes that are hashed: those compared for equality */
	uint32_t look_len; /* bytes a rule looks at, ranges included */
	uint32_t nb_rules;
	uint32_t nb_buckets; /* power of two */
	bool ranged;
	struct rule **bucket;
};

/* An RSS function, shared by the rules that want the same. */
struct hash {
	uint32_t nb_rules;
	uint32_t types;
	bool exor;
	uint8_t key_len;
	uint8_t key[UVB_KEY_MAX];
	struct uvb_rss rss;
};

struct rule {
	struct rule *next; /* in its bucket, by rank */
	struct shape *shape;
	struct hash *hash; /* with UVB_FATE_RSS */
	uint64_t rank;     /* priority, then serial */
	uint64_t key_hash;
	uint32_t flags;
	uint32_t mark;
	uint32_t jump;
	uint16_t slot;
	uint8_t fate;
	uint8_t nb_queue;
	const uint8_t *last;  /* upper bounds, as value */
	const uint8_t *queue; /* [nb_queue] */
	/* Values of its fields: those for equality first, then ranges, each in the order of the
	 * rule; then upper bounds and queues. */
	uint8_t value[];
};

struct uvb_rules {
	struct uvb_rules_shm *shm;
	uint64_t salt; /* of hashes: nobody can make them collide at will */
	uint32_t life; /* of the port whose rules these are */
	uint32_t version;
	bool synced;
	uint32_t nb_rules;
	uint32_t nb_ranged;
	uint32_t nb_shapes;
	struct shape *shape[UVB_RULE_SHAPES];
	struct hash *hash[UVB_RULE_HASHES];
	struct rule *slot[UVB_RULE_MAX];
};

/* ----------------------------------------------------------------------------------------- keys */

static uint64_t
mix(uint64_t h, uint64_t word)
{
	h = (h ^ word) * 0x9e3779b97f4a7c15ULL;
	return h ^ h >> 32;
}

static uint64_t
hash_bytes(const uint8_t *p, uint32_t len, uint64_t h)
{
	uint64_t word;

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&word, p, 8);
		h = mix(h, word);
	}
	word = 0;
	memcpy(&word, p, len);
	return mix(h, word);
}

static void
mask_bytes(uint8_t *to, const uint8_t *from, const uint8_t *mask, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		to[i] = from[i] & mask[i];
}

/* The bytes of a frame that a shape looks at, masked, those for equality first. false: it does not
 * have them. */
static bool
look(const struct shape *s, const struct uvb_layers *l, const uint8_t *head, uint32_t len,
     uint8_t *bytes)
{
	uint32_t at[2] = {0, s->key_len};

	for (uint32_t i = 0; i < s->id.nb_field; i++) {
		const struct uvb_rule_field *f = &s->id.field[i];
		int32_t from = l->at[f->anchor] + f->off;

		if (l->at[f->anchor] < 0 || from < 0 || (uint32_t)from + f->len > len)
			return false;
		mask_bytes(bytes + at[f->compare], head + from, s->id.mask + f->at, f->len);
		at[f->compare] += f->len;
	}
	return true;
}

static bool
ranges_fit(const struct shape *s, const struct rule *r, const uint8_t *bytes)
{
	uint32_t at = s->key_len;

	for (uint32_t i = 0; i < s->id.nb_field; i++) {
		const struct uvb_rule_field *f = &s->id.field[i];

		if (f->compare != UVB_RANGE)
			continue;
		if (memcmp(bytes + at, r->value + at, f->len) < 0 ||
		    memcmp(bytes + at, r->last + at, f->len) > 0)
			return false;
		at += f->len;
	}
	return true;
}

/* --------------------------------------------------------------------------------------- shapes */

static void
shape_describe(struct shape_id *id, const struct uvb_rule *r)
{
	memset(id, 0, sizeof(*id));
	id->group = r->group;
	id->layers = r->layers;
	id->layers_mask = r->layers_mask;
	id->nb_field = r->nb_field;
	for (uint32_t i = 0; i < r->nb_field; i++) {
		const struct uvb_rule_field *f = &r->field[i];

		id->field[i] =
			(struct uvb_rule_field){f->anchor, f->compare, f->off, f->at, f->len, {0}};
		memcpy(id->mask + f->at, r->mask + f->at, f->len);
	}
}

static struct shape *
shape_find(const struct uvb_rules *t, const struct shape_id *id)
{
	for (uint32_t i = 0; i < t->nb_shapes; i++)
		if (memcmp(&t->shape[i]->id, id, sizeof(*id)) == 0)
			return t->shape[i];
	return NULL;
}

static struct shape *
shape_new(struct uvb_rules *t, const struct shape_id *id)
{
	struct shape *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->nb_buckets = 4;
	s->bucket = calloc(s->nb_buckets, sizeof(struct rule *));
	if (s->bucket == NULL) {
		free(s);
		return NULL;
	}
	s->id = *id;
	s->best = UINT64_MAX;
	for (uint32_t i = 0; i < id->nb_field; i++) {
		s->look_len += id->field[i].len;
		s->key_len += id->field[i].compare == UVB_EQUAL ? id->field[i].len : 0;
	}
	s->ranged = s->key_len != s->look_len;
	t->shape[t->nb_shapes++] = s;
	return s;
}

static void
shape_drop(struct uvb_rules *t, struct shape *s)
{
	uint32_t i = 0;

	while (t->shape[i] != s)
		i++;
	t->shape[i] = t->shape[--t->nb_shapes];
	free(s->bucket);
	free(s);
}

static void
bucket_insert(struct shape *s, struct rule *r)
{
	struct rule **at = &s->bucket[r->key_hash & (s->nb_buckets - 1)];

	while (*at != NULL && (*at)->rank < r->rank)
		at = &(*at)->next;
	r->next = *at;
	*at = r;
}

/* Twice as many buckets. Without memory for them it stays as it is: slower, not wrong. */
static void
shape_grow(struct shape *s)
{
	uint32_t old_nb = s->nb_buckets;
	struct rule **old = s->bucket, **more = calloc(old_nb * 2UL, sizeof(struct rule *));

	if (more == NULL)
		return;
	s->bucket = more;
	s->nb_buckets = old_nb * 2;
	for (uint32_t i = 0; i < old_nb; i++) {
		struct rule *next, *r = old[i];

		for (; r != NULL; r = next) {
			next = r->next;
			bucket_insert(s, r);
		}
	}
	free(old);
}

/* --------------------------------------------------------------------------------------- hashes */

static bool
hash_is(const struct hash *h, const struct uvb_rule *r)
{
	return h->types == r->rss_types && h->exor == ((r->flags & UVB_RULE_XOR) != 0) &&
	       h->key_len == r->key_len && memcmp(h->key, r->key, r->key_len) == 0;
}

static int
hash_get(struct uvb_rules *t, const struct uvb_rule *r, struct hash **out)
{
	struct hash **room = NULL, *h;

	for (uint32_t i = 0; i < UVB_RULE_HASHES; i++) {
		if (t->hash[i] == NULL)
			room = &t->hash[i];
		else if (hash_is(t->hash[i], r))
			*out = t->hash[i];
	}
	if (*out != NULL) {
		(*out)->nb_rules++;
		return 0;
	}
	if (room == NULL)
		return -ENOSPC;
	h = malloc(sizeof(*h));
	if (h == NULL)
		return -ENOMEM;
	h->nb_rules = 1;
	h->types = r->rss_types;
	h->exor = (r->flags & UVB_RULE_XOR) != 0;
	h->key_len = r->key_len;
	memcpy(h->key, r->key, r->key_len);
	uvb_rss_compile(&h->rss, r->rss_types, r->key, r->key_len);
	*out = *room = h;
	return 0;
}

static void
hash_put(struct uvb_rules *t, struct hash *h)
{
	if (h == NULL || --h->nb_rules > 0)
		return;
	for (uint32_t i = 0; i < UVB_RULE_HASHES; i++)
		if (t->hash[i] == h)
			t->hash[i] = NULL;
	free(h);
}

/* ---------------------------------------------------------------------------------------- rules */

/* Values as look() orders them. */
static void
take_values(uint8_t *to, const struct shape *s, const uint8_t *from, const uint8_t *mask)
{
	uint32_t at[2] = {0, s->key_len};

	for (uint32_t i = 0; i < s->id.nb_field; i++) {
		const struct uvb_rule_field *f = &s->id.field[i];

		mask_bytes(to + at[f->compare], from + f->at, mask + f->at, f->len);
		at[f->compare] += f->len;
	}
}

static struct rule *
rule_new(const struct uvb_rules *t, struct shape *s, uint32_t slot, const struct uvb_rule *from)
{
	uint32_t n = s->look_len, nb_queue = from->nb_queue;
	struct rule *r;

	if (from->fate != UVB_FATE_RSS)
		nb_queue = from->fate == UVB_FATE_QUEUE;
	r = calloc(1, sizeof(*r) + 2UL * n + nb_queue);
	if (r == NULL)
		return NULL;
	r->shape = s;
	r->rank = (uint64_t)from->priority << 32 | from->serial;
	r->flags = from->flags;
	r->mark = from->mark;
	r->jump = from->jump;
	r->slot = (uint16_t)slot;
	r->fate = from->fate;
	r->nb_queue = (uint8_t)nb_queue;
	take_values(r->value, s, from->value, s->id.mask);
	take_values(r->value + n, s, from->last, s->id.mask);
	memcpy(r->value + 2UL * n, from->queue, nb_queue);
	r->last = r->value + n;
	r->queue = r->value + 2UL * n;
	r->key_hash = hash_bytes(r->value, s->key_len, t->salt);
	return r;
}

static void
rule_insert(struct uvb_rules *t, struct rule *r)
{
	struct shape *s = r->shape;

	if (s->nb_rules >= s->nb_buckets && !s->ranged)
		shape_grow(s);
	bucket_insert(s, r);
	s->nb_rules++;
	if (r->rank < s->best)
		s->best = r->rank;
	t->nb_rules++;
	t->nb_ranged += s->ranged;
	t->slot[r->slot] = r;
}

static void
rule_remove(struct uvb_rules *t, uint32_t slot)
{
	struct rule *r = t->slot[slot], **at;
	struct shape *s;

	if (r == NULL)
		return;
	s = r->shape;
	at = &s->bucket[r->key_hash & (s->nb_buckets - 1)];
	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	t->slot[slot] = NULL;
	t->nb_rules--;
	t->nb_ranged -= s->ranged;
	if (--s->nb_rules == 0)
		shape_drop(t, s);
	hash_put(t, r->hash);
	free(r);
}

static int
fail(const char **why, int rc, const char *full)
{
	*why = rc == -ENOSPC ? full : "no memory for a flow rule";
	return rc;
}

static int
shape_get(struct uvb_rules *t, const struct uvb_rule *rule, struct shape **s, const char **why)
{
	struct shape_id id;

	shape_describe(&id, rule);
	*s = shape_find(t, &id);
	if (*s == NULL && t->nb_shapes == UVB_RULE_SHAPES)
		return fail(why, -ENOSPC,
			    "its flow rules look at 64 different sets of fields and masks already: "
			    "make this one look at the same fields as another");
	if (*s == NULL)
		*s = shape_new(t, &id);
	if (*s == NULL)
		return fail(why, -ENOMEM, NULL);
	if ((*s)->ranged && t->nb_ranged == UVB_RULE_RANGES)
		return fail(why, -ENOSPC,
			    "256 of its flow rules have ranges already: use masks instead");
	return 0;
}

static int
rule_make(struct uvb_rules *t, struct shape *s, uint32_t slot, const struct uvb_rule *rule,
	  const char **why)
{
	struct rule *r = rule_new(t, s, slot, rule);
	int rc = r != NULL ? 0 : -ENOMEM;

	if (rc == 0 && rule->fate == UVB_FATE_RSS)
		rc = hash_get(t, rule, &r->hash);
	if (rc != 0) {
		free(r);
		return fail(why, rc,
			    "its flow rules have 16 different RSS keys, types or functions "
			    "already");
	}
	rule_remove(t, slot);
	rule_insert(t, r);
	return 0;
}

int
uvb_rules_put(struct uvb_rules *t, uint32_t slot, const struct uvb_rule *rule, const char **why)
{
	struct shape *s;
	int rc;

	if (rule == NULL) {
		rule_remove(t, slot);
		return 0;
	}
	rc = shape_get(t, rule, &s, why);
	if (rc != 0)
		return rc;
	s->nb_rules++; /* ours, while the old rule of the slot may go */
	rc = rule_make(t, s, slot, rule, why);
	if (--s->nb_rules == 0)
		shape_drop(t, s);
	return rc;
}

uint32_t
uvb_rules_nb(const struct uvb_rules *t)
{
	return t->nb_rules;
}

/* --------------------------------------------------------------------------------------- tables */

struct uvb_rules *
uvb_rules_new(struct uvb_rules_shm *shm)
{
	struct uvb_rules *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->shm = shm;
	t->salt = mix(uvb_now_ns(), (uintptr_t)t);
	return t;
}

static void
clear(struct uvb_rules *t)
{
	for (uint32_t i = 0; i < UVB_RULE_MAX && t->nb_rules > 0; i++)
		rule_remove(t, i);
}

void
uvb_rules_free(struct uvb_rules *t)
{
	if (t == NULL)
		return;
	clear(t);
	free(t);
}

/* The rule of a slot as it is now. false: look again later. */
static bool
take_slot(struct uvb_rules *t, uint32_t slot, uint16_t nb_rxq)
{
	struct uvb_rule rule;
	const char *why;
	int rc = -EINVAL;

	if (slot >= UVB_RULE_MAX)
		return true;
	if (!uvb_rule_read(t->shm, slot, &rule))
		return false;
	if (uvb_rule_check(&rule, nb_rxq) == NULL)
		rc = uvb_rules_put(t, slot, &rule, &why);
	if (rc != 0)
		rule_remove(t, slot);
	return rc != -ENOMEM;
}

static void
take_all(struct uvb_rules *t, uint32_t version, uint16_t nb_rxq)
{
	uint32_t high = atomic_load_explicit(&t->shm->high, memory_order_relaxed);

	if (high > UVB_RULE_MAX)
		high = UVB_RULE_MAX;
	/* From nothing, so that what is full now is not full of rules that are gone. */
	clear(t);
	t->synced = true;
	for (uint32_t i = 0; i < high; i++)
		t->synced &= take_slot(t, i, nb_rxq);
	t->version = version;
}

static void
take_changes(struct uvb_rules *t, uint32_t version, uint16_t nb_rxq)
{
	uint32_t first = t->version;

	while (t->version != version) {
		uint32_t slot = atomic_load_explicit(&t->shm->log[t->version % UVB_RULE_LOG],
						     memory_order_relaxed);

		if (!take_slot(t, slot, nb_rxq))
			break;
		t->version++;
	}
	/* Meanwhile the log may have come round: then some of it was not what we took it for. */
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(&t->shm->version, memory_order_relaxed) - first >= UVB_RULE_LOG)
		t->synced = false;
}

void
uvb_rules_refresh(struct uvb_rules *t, uint32_t life, uint16_t nb_rxq)
{
	uint32_t version = atomic_load_explicit(&t->shm->version, memory_order_acquire);

	if (UVB_LIKELY(t->synced && version == t->version && life == t->life))
		return;
	if (life != t->life) {
		clear(t);
		t->synced = false;
		t->life = life;
	}
	if (!t->synced || version - t->version >= UVB_RULE_LOG)
		take_all(t, version, nb_rxq);
	else
		take_changes(t, version, nb_rxq);
}

/* --------------------------------------------------------------------------------------- frames */

struct frame {
	struct uvb_layers layers;
	const uint8_t *head;
	uint32_t len;
	uint32_t budget; /* comparisons it may still cost */
};

/* The first rule of a shape that fits, of those that come after rank `after`. */
static const struct rule *
shape_lookup(const struct uvb_rules *t, const struct shape *s, struct frame *f, uint64_t after)
{
	uint8_t bytes[UVB_RULE_BYTES];
	const struct rule *r;
	uint64_t h;

	if (!look(s, &f->layers, f->head, f->len, bytes))
		return NULL;
	h = hash_bytes(bytes, s->key_len, t->salt);
	for (r = s->bucket[h & (s->nb_buckets - 1)]; r != NULL; r = r->next) {
		if (f->budget == 0)
			return NULL;
		f->budget--;
		if (r->key_hash == h && r->rank > after &&
		    memcmp(r->value, bytes, s->key_len) == 0 &&
		    (!s->ranged || ranges_fit(s, r, bytes)))
			return r;
	}
	return NULL;
}

static const struct rule *
lookup(const struct uvb_rules *t, struct frame *f, uint32_t group, uint64_t after)
{
	const struct rule *best = NULL;

	for (uint32_t i = 0; i < t->nb_shapes; i++) {
		const struct shape *s = t->shape[i];
		const struct rule *r;

		if (s->id.group != group || (best != NULL && s->best >= best->rank) ||
		    (f->layers.bits & s->id.layers_mask) != s->id.layers)
			continue;
		r = shape_lookup(t, s, f, after);
		if (r != NULL && (best == NULL || r->rank < best->rank))
			best = r;
	}
	return best;
}

static bool
hash_xor(const struct hash *h, const struct uvb_flow *flow, uint32_t *hash)
{
	uint32_t n = 0;

	if (flow->l4_type & h->types)
		n = flow->l3_len + 4;
	else if (flow->l3_type & h->types)
		n = flow->l3_len;
	*hash = 0;
	for (uint32_t i = 0; i < n; i += 4)
		*hash ^= (uint32_t)flow->in[i] << 24 | (uint32_t)flow->in[i + 1] << 16 |
			 (uint32_t)flow->in[i + 2] << 8 | flow->in[i + 3];
	return n > 0;
}

static void
apply_rss(const struct rule *r, const struct frame *f, struct uvb_ruling *out)
{
	struct uvb_flow flow;

	uvb_flow_parse(&flow, f->head, f->len);
	out->hashed = true;
	out->has_hash = r->hash->exor ? hash_xor(r->hash, &flow, &out->hash)
				      : uvb_rss_hash(&r->hash->rss, &flow, &out->hash);
	out->rxq = r->queue[out->has_hash ? out->hash % r->nb_queue : 0];
}

static void
apply_fate(const struct rule *r, const struct frame *f, struct uvb_ruling *out)
{
	out->drop = r->fate == UVB_FATE_DROP;
	out->steered = !out->drop;
	if (r->fate == UVB_FATE_QUEUE)
		out->rxq = r->queue[0];
	else if (r->fate == UVB_FATE_RSS)
		apply_rss(r, f, out);
}

/* What every rule that fits does, whatever comes after it. */
static void
apply_marks(const struct rule *r, struct uvb_ruling *out)
{
	if (r->flags & UVB_RULE_COUNT)
		out->counted[out->nb_counted++] = r->slot;
	if (r->flags & UVB_RULE_MARK)
		out->mark = r->mark;
	out->flags |= r->flags & (UVB_RULE_MARK | UVB_RULE_FLAG);
}

void
uvb_rules_apply(const struct uvb_rules *t, const uint8_t *head, uint32_t len,
		struct uvb_ruling *out)
{
	struct frame f = {.head = head, .len = len, .budget = BUDGET};
	uint32_t group = 0;
	uint64_t after = 0;

	out->drop = out->steered = out->hashed = out->has_hash = false;
	out->flags = 0;
	out->mark = 0;
	out->nb_counted = 0;
	uvb_layers_parse(&f.layers, head, len);
	for (uint32_t i = 0; i < UVB_RULE_APPLIED; i++) {
		const struct rule *r = lookup(t, &f, group, after);

		if (r == NULL)
			return;
		apply_marks(r, out);
		if (r->fate != UVB_FATE_JUMP && r->fate != UVB_FATE_PASS) {
			apply_fate(r, &f, out);
			return;
		}
		after = r->fate == UVB_FATE_JUMP ? 0 : r->rank;
		if (r->fate == UVB_FATE_JUMP)
			group = r->jump;
	}
}

void
uvb_rules_count(const struct uvb_rules *t, const struct uvb_ruling *r, uint32_t bytes)
{
	for (uint32_t i = 0; i < r->nb_counted; i++) {
		struct uvb_rule_count *c = &t->shm->count[r->counted[i]];

		atomic_fetch_add_explicit(&c->frames, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&c->bytes, bytes, memory_order_relaxed);
	}
}
