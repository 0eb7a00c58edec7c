/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Flow rules: the table against a plain list, senders that catch up, owners that come and go, and
 * rules that make no sense.
 */
#include "uvbridge/rules.h"
#include "uvbridge/test.h"

#define FRAME 128
#define KINDS 8 /* different frames: few, so that rules meet them */

/* ---------------------------------------------------------------------------------------- frames
 */

/* UDP over IPv4, with values from a small set. */
static uint32_t
make_frame(uint8_t *f, uint32_t tags, uint8_t src, uint8_t dst, uint16_t sport, uint16_t dport)
{
	static const uint8_t macs[12] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1};
	uint8_t *p = f + 12;

	memset(f, 0, FRAME);
	memcpy(f, macs, sizeof(macs));
	for (uint32_t i = 0; i < tags; i++, p += 4) {
		p[0] = 0x81;
		p[3] = (uint8_t)(5 + i);
	}
	p[0] = 8;
	p += 2;
	p[0] = 0x45;
	p[9] = 17;
	p[12] = p[16] = 10;
	p[15] = src;
	p[19] = dst;
	p += 20;
	p[0] = (uint8_t)(sport >> 8);
	p[1] = (uint8_t)sport;
	p[2] = (uint8_t)(dport >> 8);
	p[3] = (uint8_t)dport;
	return FRAME;
}

static uint32_t
random_frame(uint8_t *f)
{
	return make_frame(f, rnd() % 3, (uint8_t)(rnd() % KINDS), (uint8_t)(rnd() % KINDS),
			  (uint16_t)(rnd() % KINDS), (uint16_t)(rnd() % KINDS));
}

/* ----------------------------------------------------------------------------------------- rules
 */

static void
add_field(struct uvb_rule *r, uint8_t anchor, int16_t off, uint8_t len, const uint8_t *value,
	  const uint8_t *mask, const uint8_t *last)
{
	struct uvb_rule_field *f = &r->field[r->nb_field];
	uint8_t at = 0;

	if (r->nb_field > 0)
		at = r->field[r->nb_field - 1].at + r->field[r->nb_field - 1].len;
	*f = (struct uvb_rule_field){anchor, last != NULL, off, at, len, {0}};
	r->nb_field++;
	for (uint8_t i = 0; i < len; i++) {
		r->mask[at + i] = mask != NULL ? mask[i] : 0xff;
		r->value[at + i] = value[i] & r->mask[at + i];
		r->last[at + i] = last != NULL ? last[i] & r->mask[at + i] : 0;
	}
}

/* A field of a random frame, so that something fits. */
static void
random_field(struct uvb_rule *r)
{
	static const struct {
		uint8_t anchor;
		int16_t off;
		uint8_t len;
	} place[] = {{UVB_AT_L3, 12, 8}, {UVB_AT_L3, 15, 1},      {UVB_AT_L4, 0, 2},
		     {UVB_AT_L4, 2, 2},  {UVB_AT_FRAME, 12, 4},   {UVB_AT_L4, 0, 4},
		     {UVB_AT_L3, 9, 1},  {UVB_AT_PAYLOAD, -8, 4}, {UVB_AT_PAYLOAD, 0, 3}};
	uint8_t frame[FRAME], mask[8], last[8];
	uint32_t k = (uint32_t)(rnd() % (sizeof(place) / sizeof(place[0])));
	struct uvb_layers l;
	const uint8_t *from;

	random_frame(frame);
	uvb_layers_parse(&l, frame, FRAME);
	from = frame + l.at[place[k].anchor] + place[k].off;
	for (uint32_t i = 0; i < place[k].len; i++)
		mask[i] = rnd() % 4 == 0 ? (uint8_t)rnd() : 0xff;
	memcpy(last, from, place[k].len);
	last[place[k].len - 1] |= 3;
	add_field(r, place[k].anchor, place[k].off, place[k].len, from, mask,
		  rnd() % 3 == 0 ? last : NULL);
}

static void
random_rule(struct uvb_rule *r, uint32_t serial)
{
	static const uint8_t fates[] = {UVB_FATE_DROP, UVB_FATE_QUEUE, UVB_FATE_QUEUE,
					UVB_FATE_JUMP, UVB_FATE_PASS};

	memset(r, 0, sizeof(*r));
	r->group = rnd() % 3 == 0 ? 1 + (uint32_t)(rnd() % 2) : 0;
	r->priority = (uint32_t)(rnd() % 3);
	r->serial = serial;
	r->fate = fates[rnd() % sizeof(fates)];
	r->nb_queue = 1;
	r->queue[0] = (uint8_t)(serial % 200);
	r->jump = r->group + 1 + (uint32_t)(rnd() % 2);
	r->flags = (uint32_t)rnd() % 8;
	r->mark = serial;
	if (rnd() % 3 == 0) {
		r->layers_mask = UVB_LAYER_VLAN | (rnd() % 2 ? UVB_LAYER_VLAN2 : 0);
		r->layers = (uint32_t)rnd() & r->layers_mask;
	}
	for (uint64_t n = rnd() % 3; n > 0; n--)
		random_field(r);
}

/* ----------------------------------------------------------------------- the table and the list */

#define LIST 60

static bool
fits(const struct uvb_rule *r, const uint8_t *frame, uint32_t len)
{
	struct uvb_layers l;

	uvb_layers_parse(&l, frame, len);
	if ((l.bits & r->layers_mask) != r->layers)
		return false;
	for (uint32_t i = 0; i < r->nb_field; i++) {
		const struct uvb_rule_field *f = &r->field[i];
		uint8_t masked[UVB_RULE_BYTES];
		int32_t from = l.at[f->anchor] + f->off;

		if (l.at[f->anchor] < 0 || from < 0 || (uint32_t)from + f->len > len)
			return false;
		for (uint32_t b = 0; b < f->len; b++)
			masked[b] = frame[from + (int32_t)b] & r->mask[f->at + b];
		if (memcmp(masked, r->value + f->at, f->len) < 0 ||
		    memcmp(masked, (f->compare == UVB_RANGE ? r->last : r->value) + f->at, f->len) >
			    0)
			return false;
	}
	return true;
}

static uint64_t
rank(const struct uvb_rule *r)
{
	return (uint64_t)r->priority << 32 | r->serial;
}

static int
next_in_list(const struct uvb_rule *list, const uint8_t *frame, uint32_t group, uint64_t after)
{
	int best = -1;

	for (int i = 0; i < LIST; i++)
		if (list[i].fate != UVB_FATE_NONE && list[i].group == group &&
		    rank(&list[i]) > after && (best < 0 || rank(&list[i]) < rank(&list[best])) &&
		    fits(&list[i], frame, FRAME))
			best = i;
	return best;
}

static void
check_against_list(const struct uvb_rules *t, const struct uvb_rule *list, const uint8_t *frame)
{
	struct uvb_ruling got, want = {.drop = false};
	uint32_t group = 0;
	uint64_t after = 0;

	for (uint32_t n = 0; n < UVB_RULE_APPLIED; n++) {
		int i = next_in_list(list, frame, group, after);

		if (i < 0)
			break;
		if (list[i].flags & UVB_RULE_COUNT)
			want.counted[want.nb_counted++] = (uint16_t)i;
		if (list[i].flags & UVB_RULE_MARK)
			want.mark = list[i].mark;
		want.flags |= list[i].flags & (UVB_RULE_MARK | UVB_RULE_FLAG);
		after = list[i].fate == UVB_FATE_JUMP ? 0 : rank(&list[i]);
		if (list[i].fate == UVB_FATE_JUMP) {
			group = list[i].jump;
		} else if (list[i].fate != UVB_FATE_PASS) {
			want.drop = list[i].fate == UVB_FATE_DROP;
			want.steered = !want.drop;
			want.rxq = want.drop ? 0 : list[i].queue[0];
			break;
		}
	}
	got.rxq = 0;
	uvb_rules_apply(t, frame, FRAME, &got);
	CHECK_EQ(got.drop, want.drop);
	CHECK_EQ(got.steered, want.steered);
	CHECK_EQ(got.rxq, want.rxq);
	CHECK_EQ(got.flags, want.flags);
	CHECK_EQ(got.mark, want.mark);
	CHECK_EQ(got.nb_counted, want.nb_counted);
	CHECK_EQ(memcmp(got.counted, want.counted, want.nb_counted * sizeof(uint16_t)), 0);
}

/* Rules come, go and change places at random; after each change the table says of any frame what
 * the list says. */
static void
test_table_against_list(void)
{
	static struct uvb_rule list[LIST];
	struct uvb_rules *t = uvb_rules_new(NULL);
	uint32_t refused = 0, serial = 0;
	uint8_t frame[FRAME];
	const char *why;

	CHECK(t != NULL);
	for (int round = 0; round < 20000; round++) {
		uint32_t slot = (uint32_t)(rnd() % LIST);
		struct uvb_rule r;

		memset(&r, 0, sizeof(r));
		if (rnd() % 4 != 0)
			random_rule(&r, ++serial);
		if (r.fate != UVB_FATE_NONE)
			CHECK(uvb_rule_check(&r, 200) == NULL);
		if (uvb_rules_put(t, slot, r.fate != UVB_FATE_NONE ? &r : NULL, &why) == 0)
			list[slot] = r;
		else
			refused++; /* more shapes than there may be: the old one stays */
		for (int i = 0; i < 3; i++) {
			random_frame(frame);
			check_against_list(t, list, frame);
		}
	}
	CHECK(refused < 10000);
	for (uint32_t i = 0; i < LIST; i++)
		CHECK_EQ(uvb_rules_put(t, i, NULL, &why), 0);
	CHECK_EQ(uvb_rules_nb(t), 0);
	uvb_rules_free(t);
}

/* Every length of a frame: nothing is read beyond its end (under AddressSanitizer), and what is cut
 * off fits no rule that looks there. */
static void
test_short_frames(void)
{
	struct uvb_rules *t = uvb_rules_new(NULL);
	uint8_t whole[FRAME];
	struct uvb_ruling ruling;
	struct uvb_rule r;
	const char *why;

	memset(&r, 0, sizeof(r));
	r.serial = 1;
	r.fate = UVB_FATE_DROP;
	make_frame(whole, 1, 1, 2, 3, 4);
	add_field(&r, UVB_AT_L4, 2, 2, (const uint8_t[]){0, 4}, NULL, NULL);
	CHECK_EQ(uvb_rules_put(t, 0, &r, &why), 0);
	for (uint32_t len = UVB_FRAME_MIN; len < FRAME; len++) {
		uint8_t *cut = malloc(len);

		CHECK(cut != NULL);
		memcpy(cut, whole, len);
		uvb_rules_apply(t, cut, len, &ruling);
		CHECK_EQ(ruling.drop, len >= 18 + 20 + 4);
		free(cut);
	}
	uvb_rules_free(t);
}

/* IPv6 and a chain of extension headers, each of 8 bytes; then `proto`, with 20 bytes of it. */
static uint32_t
make_chain(uint8_t *f, const uint8_t *ext, uint32_t n, uint8_t proto)
{
	uint8_t *next = f + 20, *p = f + 54;

	memset(f, 0, FRAME);
	f[12] = 0x86;
	f[13] = 0xdd;
	f[14] = 0x60;
	for (uint32_t i = 0; i < n; i++, next = p, p += 8)
		*next = ext[i];
	*next = proto;
	p[12] = 0x50;
	return (uint32_t)(p - f) + 20;
}

static void
test_extension_headers(void)
{
	static const struct {
		uint8_t ext[3];
		uint32_t n, bits;
		bool l4;
	} chain[] = {
		{{0}, 0, 0, true},
		{{0}, 1, UVB_LAYER_IP6_HOP, true},
		{{0, 43, 60},
		 3,
		 UVB_LAYER_IP6_HOP | UVB_LAYER_IP6_ROUTE | UVB_LAYER_IP6_DEST,
		 true},
		{{51}, 1, UVB_LAYER_IP6_AUTH, true},
		{{135, 139, 140},
		 3,
		 UVB_LAYER_IP6_MOBILE | UVB_LAYER_IP6_HIP | UVB_LAYER_IP6_SHIM6,
		 true},
		{{0, 44}, 2, UVB_LAYER_IP6_HOP | UVB_LAYER_IP6_FRAG, false},
		{{50}, 1, UVB_LAYER_IP6_ESP, false},
	};

	for (size_t i = 0; i < sizeof(chain) / sizeof(chain[0]); i++) {
		uint8_t f[FRAME];
		struct uvb_layers l;
		uint32_t len = make_chain(f, chain[i].ext, chain[i].n, 6);

		uvb_layers_parse(&l, f, len);
		CHECK_EQ(l.bits,
			 UVB_LAYER_IPV6 | chain[i].bits | (chain[i].l4 ? UVB_LAYER_TCP : 0));
		CHECK_EQ(l.at[UVB_AT_L3], 14);
		CHECK_EQ(l.at[UVB_AT_L4], chain[i].l4 ? (int)len - 20 : -1);
		CHECK_EQ(l.at[UVB_AT_PAYLOAD], chain[i].l4 ? (int)len : -1);
	}
}

/* ------------------------------------------------------------------------------------ the fabric
 */

static void
publish_flags(struct uvb_dev *dev, uint32_t flags)
{
	struct uvb_conf conf;
	uint32_t seq;

	CHECK(uvb_conf_read(dev->shm, &conf, &seq));
	conf.flags = flags;
	CHECK_EQ(uvb_conf_set(dev, &conf, NULL), 0);
}

/* To `queue` if the UDP destination port is `dport`. */
static void
set_rule(struct uvb_dev *dev, uint16_t slot, uint16_t dport, uint8_t queue)
{
	uint8_t port[2] = {(uint8_t)(dport >> 8), (uint8_t)dport};
	struct uvb_rule r;
	char err[UVB_ERR_LEN];

	memset(&r, 0, sizeof(r));
	r.serial = slot + 1u;
	r.fate = UVB_FATE_QUEUE;
	r.nb_queue = 1;
	r.queue[0] = queue;
	r.flags = UVB_RULE_COUNT | UVB_RULE_MARK;
	r.mark = dport;
	r.layers = r.layers_mask = UVB_LAYER_IPV4 | UVB_LAYER_UDP;
	add_field(&r, UVB_AT_L4, 2, 2, port, NULL, NULL);
	if (uvb_rule_set(dev, slot, &r, err) != 0) {
		fprintf(stderr, "%s\n", err);
		exit(1);
	}
}

/* Where a frame to this UDP port arrives; -1: nowhere. The mark says which rule it was. */
static int
arrives(struct uvb_dev *from, struct uvb_dev *to, uint16_t dport, uint32_t *mark)
{
	uint8_t frame[FRAME];
	struct uvb_rx_frame f;
	int found = -1;

	make_frame(frame, 0, 1, 2, 7, dport);
	CHECK_EQ(send_one(from, 0, frame, FRAME), 1);
	for (uint16_t q = 0; q < uvb_nb_rxq(to); q++) {
		if (uvb_rx_peek(uvb_rxq(to, q), &f, 1) == 0)
			continue;
		CHECK_EQ(found, -1);
		found = q;
		*mark = f.flags & UVB_CELL_MARK ? f.cell->mark : 0;
		uvb_rx_done(uvb_rxq(to, q), 0);
	}
	return found;
}

static void
check_all(struct uvb_dev *a, struct uvb_dev *b, uint32_t n, uint32_t shift)
{
	uint32_t mark = 0;

	for (uint32_t i = 0; i < n; i++) {
		CHECK_EQ(arrives(a, b, (uint16_t)(1000 + i), &mark), (int)((i + shift) % 4));
		CHECK_EQ(mark, 1000 + i);
	}
}

static struct uvb_dev *
receiver_up(void)
{
	return port_up("b", 4, 1, UVB_CONF_STARTED | UVB_CONF_RULES | UVB_CONF_PROMISC);
}

/* A sender follows one change, some, and more than the log holds; counters count. */
static void
test_sender_follows(void)
{
	static const char *const none[] = {NULL};
	struct fabric fabric;
	struct uvb_dev *a, *b;
	uint64_t frames, bytes;
	uint32_t mark = 0;

	fabric_up(&fabric, none);
	a = port_up("a", 1, 1, UVB_CONF_STARTED);
	b = receiver_up();
	CHECK(arrives(a, b, 1000, &mark) >= 0);
	CHECK_EQ(mark, 0);
	for (uint16_t i = 0; i < UVB_RULE_MAX; i++)
		set_rule(b, i, 1000 + i, i % 4);
	check_all(a, b, UVB_RULE_MAX, 0);
	for (uint16_t i = 0; i < 600; i++)
		set_rule(b, i, 1000 + i, (i + 1) % 4);
	check_all(a, b, 600, 1);
	for (uint16_t i = 0; i < 2000; i++)
		set_rule(b, i, 1000 + i, (i + 2) % 4);
	check_all(a, b, 2000, 2);
	uvb_rule_count(b, 0, &frames, &bytes);
	CHECK_EQ(frames, 3);
	CHECK_EQ(bytes, 3 * FRAME);
	CHECK_EQ(uvb_rule_set(b, 0, NULL, NULL), 0);
	CHECK(arrives(a, b, 1000, &mark) >= 0);
	CHECK_EQ(mark, 0);
	/* Without the flag of the configuration rules do nothing, and come back with it. */
	publish_flags(b, UVB_CONF_STARTED | UVB_CONF_PROMISC);
	CHECK(arrives(a, b, 1001, &mark) >= 0);
	CHECK_EQ(mark, 0);
	publish_flags(b, UVB_CONF_STARTED | UVB_CONF_PROMISC | UVB_CONF_RULES);
	CHECK_EQ(arrives(a, b, 1001, &mark), 3);
	CHECK_EQ(mark, 1001);
	uvb_close(a);
	uvb_close(b);
	fabric_down(&fabric);
}

/* The next owner of a slot has no rules but its own, whichever of them it writes first. */
static void
test_next_owner(void)
{
	static const char *const none[] = {NULL};
	struct fabric fabric;
	struct uvb_dev *a, *b;
	uint32_t mark = 0;

	fabric_up(&fabric, none);
	a = port_up("a", 1, 1, UVB_CONF_STARTED);
	b = receiver_up();
	for (uint16_t i = 0; i < 10; i++)
		set_rule(b, i, 1000 + i, 3);
	CHECK_EQ(arrives(a, b, 1002, &mark), 3);
	uvb_close(b);
	b = receiver_up();
	set_rule(b, 5, 2000, 2);
	CHECK_EQ(arrives(a, b, 2000, &mark), 2);
	CHECK_EQ(mark, 2000);
	CHECK(arrives(a, b, 1002, &mark) >= 0);
	CHECK_EQ(mark, 0);
	uvb_close(a);
	uvb_close(b);
	fabric_down(&fabric);
}

/* An isolated port receives what its rules bring, addressed to it or not. */
static void
test_isolated(void)
{
	static const char *const none[] = {NULL};
	struct fabric fabric;
	struct uvb_dev *a, *b;
	uint64_t drops[UVB_PD_MAX];
	uint32_t mark = 0;

	fabric_up(&fabric, none);
	a = port_up("a", 1, 1, UVB_CONF_STARTED);
	b = port_up("b", 4, 1, UVB_CONF_STARTED | UVB_CONF_ISOLATED);
	CHECK_EQ(arrives(a, b, 1000, &mark), -1);
	set_rule(b, 0, 1000, 1);
	CHECK_EQ(arrives(a, b, 1000, &mark), -1); /* the flag is not set */
	publish_flags(b, UVB_CONF_STARTED | UVB_CONF_ISOLATED | UVB_CONF_RULES);
	CHECK_EQ(arrives(a, b, 1000, &mark), 1);
	CHECK_EQ(arrives(a, b, 1001, &mark), -1);
	uvb_rx_drops(b, drops);
	CHECK_EQ(drops[UVB_PD_ISOLATED], 3);
	CHECK_EQ(drops[UVB_PD_MAC_FILTER], 0);
	uvb_close(a);
	uvb_close(b);
	fabric_down(&fabric);
}

/* ----------------------------------------------------------------------------------- bad rules */

static void
test_nonsense_is_refused(void)
{
	struct uvb_rule good, r;

	memset(&good, 0, sizeof(good));
	good.fate = UVB_FATE_RSS;
	good.nb_queue = 2;
	good.queue[1] = 3;
	good.key_len = 40;
	add_field(&good, UVB_AT_L4, 0, 4, (const uint8_t[4]){0}, NULL, NULL);
	CHECK(uvb_rule_check(&good, 4) == NULL);
	CHECK(uvb_rule_check(&good, 3) != NULL);
#define BAD(change)                                   \
	do {                                          \
		r = good;                             \
		r.change;                             \
		CHECK(uvb_rule_check(&r, 4) != NULL); \
	} while (0)
	BAD(group = UVB_RULE_GROUPS);
	BAD(layers = 1);
	BAD(layers_mask = 1u << 31);
	BAD(flags = 1u << 30);
	BAD(rss_types = 1u << 31);
	BAD(fate = UVB_FATE_NONE);
	BAD(fate = UVB_FATE_MAX);
	BAD(fate = UVB_FATE_JUMP); /* to its own group */
	BAD(nb_field = UVB_RULE_FIELDS + 1);
	BAD(nb_queue = 0);
	BAD(nb_queue = UVB_RULE_QUEUES + 1);
	BAD(key_len = 39);
	BAD(key_len = 53);
	BAD(field[0].anchor = UVB_AT_MAX);
	BAD(field[0].compare = 2);
	BAD(field[0].off = UVB_RULE_REACH);
	BAD(field[0].off = -UVB_RULE_REACH - 1);
	BAD(field[0].len = 0);
	BAD(field[0].len = UVB_RULE_BYTES + 1);
	BAD(field[0].at = 1);
#undef BAD
}

/* An owner that writes anything at all into its slots, log and counters harms only itself: the
 * sender goes on, and what it sends to others arrives. */
static void
test_scribbling_owner(void)
{
	static const char *const none[] = {NULL};
	struct fabric fabric;
	struct uvb_dev *a, *b, *c;
	struct uvb_rules_shm *shm;
	uint32_t mark = 0;

	fabric_up(&fabric, none);
	a = port_up("a", 1, 1, UVB_CONF_STARTED);
	b = receiver_up();
	c = port_up("c", 1, 1, UVB_CONF_STARTED | UVB_CONF_PROMISC);
	set_rule(b, 0, 1000, 1);
	shm = uvb_map_rules(&b->map, uvb_id(b));
	for (int i = 0; i < 1500; i++) {
		uint8_t *rule = (uint8_t *)&shm->slot[rnd() % 64].rule;

		rule[rnd() % sizeof(struct uvb_rule)] = (uint8_t)rnd();
		if (rnd() % 16 == 0)
			atomic_fetch_add(&shm->slot[rnd() % 64].seq, (uint32_t)rnd() % 3);
		if (rnd() % 8 == 0)
			atomic_store(&shm->log[rnd() % UVB_RULE_LOG], (uint32_t)rnd());
		if (rnd() % 64 == 0)
			atomic_store(&shm->high, rnd() % 2 ? 64 : (uint32_t)rnd());
		atomic_fetch_add(&shm->version, rnd() % 64 == 0 ? (uint32_t)rnd() : 3);
		arrives(a, b, 1000, &mark);
		CHECK_EQ(arrives(a, c, 1000, &mark), 0);
		receive_all(b, (uint16_t)(rnd() % 4));
	}
	uvb_close(a);
	uvb_close(b);
	uvb_close(c);
	fabric_down(&fabric);
}

int
main(void)
{
	seed_init();
	RUN(test_table_against_list);
	RUN(test_short_frames);
	RUN(test_extension_headers);
	RUN(test_nonsense_is_refused);
	RUN(test_sender_follows);
	RUN(test_next_owner);
	RUN(test_isolated);
	RUN(test_scribbling_owner);
	return 0;
}
