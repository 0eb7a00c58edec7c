/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Flow rules in the segment: checked, written by their owner, read by whoever sends to it.
 */
#include <errno.h>

#include "uvbridge/rules.h"

/* -------------------------------------------------------------------------------------- checks */

static const char *
check_field(const struct uvb_rule_field *f)
{
	if (f->anchor >= UVB_AT_MAX || f->compare > UVB_RANGE)
		return "a flow rule's field is of no known kind";
	if (f->len == 0 || f->at + f->len > UVB_RULE_BYTES)
		return "a flow rule's field is empty, or they are longer than 128 bytes in all";
	if (f->off < -UVB_RULE_REACH || f->off + f->len > UVB_RULE_REACH)
		return "a flow rule looks beyond the first 192 bytes of a frame";
	return NULL;
}

/* Fields lie one behind the other: so many bytes are copied in one go. */
static const char *
check_fields(const struct uvb_rule *r)
{
	uint32_t at = 0;

	if (r->nb_field > UVB_RULE_FIELDS)
		return "a flow rule looks at too many fields: 16 at most";
	for (uint32_t i = 0; i < r->nb_field; i++) {
		const char *why = check_field(&r->field[i]);

		if (why != NULL)
			return why;
		if (r->field[i].at != at)
			return "a flow rule's fields do not lie one behind the other";
		at += r->field[i].len;
	}
	return NULL;
}

static const char *
check_rss(const struct uvb_rule *r)
{
	if (r->key_len < 40 || r->key_len > UVB_KEY_MAX)
		return "the RSS key of a flow rule has 40 to 52 bytes";
	if (r->rss_types & ~UVB_RSS_KNOWN)
		return "a flow rule has an unknown RSS hash type";
	return NULL;
}

static const char *
check_queues(const struct uvb_rule *r, uint16_t nb_rxq)
{
	if (r->nb_queue < 1 || r->nb_queue > UVB_RULE_QUEUES)
		return "a flow rule names no queue, or more than 128";
	for (uint32_t i = 0; i < r->nb_queue; i++)
		if (r->queue[i] >= nb_rxq)
			return "a flow rule names a queue that the port does not have";
	return NULL;
}

static const char *
check_fate(const struct uvb_rule *r, uint16_t nb_rxq)
{
	const char *why = NULL;

	switch (r->fate) {
	case UVB_FATE_DROP:
	case UVB_FATE_PASS:
		break;
	case UVB_FATE_JUMP:
		if (r->jump >= UVB_RULE_GROUPS || r->jump <= r->group)
			why = "a flow rule jumps to no group with a higher number than its own";
		break;
	case UVB_FATE_RSS:
		why = check_rss(r);
		if (why == NULL)
			why = check_queues(r, nb_rxq);
		break;
	case UVB_FATE_QUEUE:
		why = check_queues(r, nb_rxq);
		break;
	default:
		why = "a flow rule does not say what becomes of the frame";
	}
	return why;
}

const char *
uvb_rule_check(const struct uvb_rule *r, uint16_t nb_rxq)
{
	const char *why = check_fields(r);

	if (why == NULL)
		why = check_fate(r, nb_rxq);
	if (why != NULL)
		return why;
	if (r->group >= UVB_RULE_GROUPS)
		return "a flow rule's group is 256 or higher";
	if ((r->layers_mask & ~UVB_LAYER_KNOWN) || (r->layers & ~r->layers_mask) ||
	    (r->flags & ~UVB_RULE_FLAGS))
		return "a flow rule asks for something unknown";
	return NULL;
}

/* ------------------------------------------------------------------------------------- the slot */

_Static_assert(sizeof(struct uvb_rule) % sizeof(uint32_t) == 0, "copied in words");
_Static_assert(_Alignof(struct uvb_rule) == _Alignof(uint32_t), "copied in words");

static void
slot_write(struct uvb_rule_slot *slot, const struct uvb_rule *rule)
{
	uint32_t seq = atomic_load_explicit(&slot->seq, memory_order_relaxed) | 1;

	atomic_store_explicit(&slot->seq, seq, memory_order_relaxed);
	/* The words must not be seen before the odd number. */
	atomic_thread_fence(memory_order_release);
	UVB_KILL_POINT(UVB_KILL_RULE);
	uvb_copy_words(&slot->rule, rule, sizeof(*rule));
	atomic_store_explicit(&slot->seq, seq + 1, memory_order_release);
}

bool
uvb_rule_read(struct uvb_rules_shm *rules, uint32_t slot, struct uvb_rule *rule)
{
	struct uvb_rule_slot *s = &rules->slot[slot];
	uint32_t before = atomic_load_explicit(&s->seq, memory_order_acquire);

	if (before & 1)
		return false;
	uvb_copy_words(rule, &s->rule, sizeof(*rule));
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&s->seq, memory_order_relaxed) == before;
}

bool
uvb_rules_next(const struct uvb_map *map, uint32_t port, uint32_t *slot, struct uvb_rule *rule)
{
	struct uvb_rules_shm *rules = uvb_map_rules(map, port);
	struct uvb_port_shm *p = uvb_map_port(map, port);
	struct uvb_conf conf;
	uint32_t seq, high;

	/* Without the flag there may be no memory behind them, and a look would make some. */
	if (!uvb_conf_read(p, &conf, &seq) || !(conf.flags & UVB_CONF_RULES))
		return false;
	high = atomic_load_explicit(&rules->high, memory_order_relaxed);
	for (; *slot < high && *slot < UVB_RULE_MAX; (*slot)++)
		if (uvb_rule_read(rules, *slot, rule) && uvb_rule_check(rule, p->nb_rxq) == NULL) {
			(*slot)++;
			return true;
		}
	return false;
}

/* ------------------------------------------------------------------------------------ the owner */

static uint32_t
relaxed(const _Atomic uint32_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

/* What an earlier owner left is forgotten. */
static int
begin(struct uvb_dev *dev, struct uvb_rules_shm *shm, char err[UVB_ERR_LEN])
{
	if (dev->rules != NULL)
		return 0;
	dev->rules = uvb_rules_new(shm);
	if (dev->rules == NULL)
		return uvb_fail(err, -ENOMEM, "no memory for flow rules");
	atomic_store_explicit(&shm->high, 0, memory_order_relaxed);
	atomic_store_explicit(&shm->nb_rules, 0, memory_order_relaxed);
	/* Who has followed the earlier owner, of the same port if we adopted it, is far behind. */
	atomic_fetch_add_explicit(&shm->version, UVB_RULE_LOG, memory_order_release);
	return 0;
}

static void
announce(struct uvb_rules_shm *shm, uint32_t slot)
{
	uint32_t version = relaxed(&shm->version);

	atomic_store_explicit(&shm->log[version % UVB_RULE_LOG], slot, memory_order_relaxed);
	UVB_KILL_POINT(UVB_KILL_RULE_LOGGED);
	atomic_store_explicit(&shm->version, version + 1, memory_order_release);
}

/* Slots that are passed over on the way up hold nothing. */
static void
publish(struct uvb_rules_shm *shm, uint32_t slot, const struct uvb_rule *rule)
{
	static const struct uvb_rule none;

	for (uint32_t i = relaxed(&shm->high); i < slot; i++)
		slot_write(&shm->slot[i], &none);
	slot_write(&shm->slot[slot], rule != NULL ? rule : &none);
	if (slot >= relaxed(&shm->high))
		atomic_store_explicit(&shm->high, slot + 1, memory_order_relaxed);
	announce(shm, slot);
}

int
uvb_rule_set(struct uvb_dev *dev, uint16_t slot, const struct uvb_rule *rule, char err[UVB_ERR_LEN])
{
	struct uvb_rules_shm *shm = uvb_map_rules(&dev->map, dev->id);
	const char *why = rule != NULL ? uvb_rule_check(rule, dev->nb_rxq) : NULL;
	int rc;

	if (slot >= UVB_RULE_MAX)
		why = "a port has 4096 flow rules at most";
	if (why != NULL)
		return uvb_fail(err, -EINVAL, "port %s: %s", dev->name, why);
	if (!uvb_dev_up(dev))
		return uvb_fail(err, -ENODEV, "port %s is no longer attached: its fabric went down",
				dev->name);
	rc = begin(dev, shm, err);
	if (rc != 0)
		return rc;
	rc = uvb_rules_put(dev->rules, slot, rule, &why);
	if (rc != 0)
		return uvb_fail(err, rc, "port %s: %s", dev->name, why);
	publish(shm, slot, rule);
	atomic_store_explicit(&shm->nb_rules, uvb_rules_nb(dev->rules), memory_order_relaxed);
	return 0;
}

void
uvb_rule_get(const struct uvb_dev *dev, uint16_t slot, struct uvb_rule *rule)
{
	struct uvb_rules_shm *shm = uvb_map_rules(&dev->map, dev->id);

	if (slot >= UVB_RULE_MAX || dev->rules == NULL || slot >= relaxed(&shm->high) ||
	    !uvb_rule_read(shm, slot, rule))
		memset(rule, 0, sizeof(*rule));
}

void
uvb_rule_count(const struct uvb_dev *dev, uint16_t slot, uint64_t *frames, uint64_t *bytes)
{
	const struct uvb_rule_count *count =
		&uvb_map_rules(&dev->map, dev->id)->count[slot % UVB_RULE_MAX];

	*frames = uvb_load(&count->frames);
	*bytes = uvb_load(&count->bytes);
}
