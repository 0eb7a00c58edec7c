/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The managed switch and the switch inside an adapter, from the control socket to the receiver's
 * ring, by one thread: what arrives where, with which tag; what is refused; what each drop is
 * called.
 */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "uvbridge/control.h"
#include "uvbridge/test.h"

static struct fabric fabric;
static uint8_t buf[70000], out[70000];

/* ------------------------------------------------------------------------------------- asking */

static int
ask(void *msg, size_t len, uint16_t type)
{
	struct uvb_ctl_hdr *hdr = msg;
	struct uvb_ctl_answer ans;
	char path[PATH_MAX], err[UVB_ERR_LEN];
	int fd;

	*hdr = (struct uvb_ctl_hdr){UVB_CTL_MAGIC, UVB_CTL_VERSION, type, (uint32_t)len,
				    UVB_ABI_VERSION};
	CHECK_EQ(uvb_fabric_path(FABRIC, path, err), 0);
	fd = uvb_control_connect(path, err);
	CHECK(fd >= 0);
	CHECK_EQ(uvb_control_call(fd, msg, len, &ans, sizeof(ans), 2000), 0);
	close(fd);
	if (ans.status != 0)
		CHECK(ans.text[0] != '\0');
	return ans.status;
}

static int
set_policy(const char *name, uint32_t what, const struct uvb_policy *value, const char *mirror)
{
	struct uvb_ctl_policy m = {.what = what, .value = *value};

	snprintf(m.name, sizeof(m.name), "%s", name);
	snprintf(m.mirror, sizeof(m.mirror), "%s", mirror);
	return ask(&m, sizeof(m), UVB_CTL_POLICY);
}

static void
set_access(const char *name, uint16_t vlan)
{
	struct uvb_policy p = {.vlan_mode = UVB_VLAN_ACCESS, .vlan = vlan};

	CHECK_EQ(set_policy(name, UVB_CTLP_VLAN, &p, ""), 0);
}

static void
set_trunk(const char *name, uint16_t from, uint16_t to, uint16_t native)
{
	struct uvb_policy p = {.vlan_mode = UVB_VLAN_TRUNK, .vlan = native};

	for (uint32_t v = from; v <= to; v++)
		p.vlan_allowed[v / 32] |= 1u << v % 32;
	if (native != 0)
		p.vlan_allowed[native / 32] |= 1u << native % 32;
	CHECK_EQ(set_policy(name, UVB_CTLP_VLAN, &p, ""), 0);
}

static void
set_none(const char *name)
{
	CHECK_EQ(set_policy(name, UVB_CTLP_VLAN, &(struct uvb_policy){0}, ""), 0);
}

static int
adapter(uint32_t op, const char *name, uint32_t vfs, uint64_t rate)
{
	struct uvb_ctl_adapter m = {.op = op, .nb_vfs = vfs, .rate = rate, .what = UVB_CTLA_RATE};

	snprintf(m.name, sizeof(m.name), "%s", name);
	return ask(&m, sizeof(m), UVB_CTL_ADAPTER);
}

static int
uplink_link(const char *name, bool down)
{
	struct uvb_ctl_adapter m = {.op = UVB_CTLA_SET, .what = UVB_CTLA_LINK, .link_down = down};

	snprintf(m.name, sizeof(m.name), "%s", name);
	return ask(&m, sizeof(m), UVB_CTL_ADAPTER);
}

static int
fdb_op(uint32_t op, const char *port, uint8_t last, uint32_t vlan)
{
	struct uvb_ctl_fdb m = {.op = op, .vlan = vlan, .mac = {2, 0, 0, 0, 0, last}};

	snprintf(m.port, sizeof(m.port), "%s", port);
	return ask(&m, sizeof(m), UVB_CTL_FDB);
}

/* ------------------------------------------------------------------------------------- frames */

static struct uvb_dev *
attach_queues(const char *name, uint8_t last, uint16_t nb_txq, uint32_t flags)
{
	const struct uvb_attach req = {.fabric = FABRIC,
				       .name = name,
				       .mac = {2, 0, 0, 0, 0, last},
				       .nb_rxq = 1,
				       .nb_txq = nb_txq,
				       .kind = UVB_KIND_WIRE};

	return port_up_as(&req, flags, 1500);
}

static struct uvb_dev *
attach(const char *name, uint8_t last, uint32_t flags)
{
	return attach_queues(name, last, 1, flags);
}

#define BROADCAST 0xff

/* Send one, tagged unless tci is -1. */
static void
send_tagged(struct uvb_dev *dev, uint8_t dst, uint8_t src, int tci, uint32_t len)
{
	frame_make(buf, dst, src, len, 1);
	if (dst == BROADCAST)
		memset(buf, 0xff, 6);
	if (tci >= 0) {
		memmove(buf + 16, buf + 12, len - 12);
		buf[12] = 0x81;
		buf[13] = 0;
		buf[14] = (uint8_t)(tci >> 8);
		buf[15] = (uint8_t)tci;
		len += 4;
	}
	CHECK_EQ(send_one(dev, 0, buf, len), 1);
}

static void
send_plain(struct uvb_dev *dev, uint8_t dst, uint8_t src)
{
	send_tagged(dev, dst, src, -1, 60);
}

/* What arrives: -2 nothing, -1 one without a tag, else one with this TCI. It must be whole. */
static int
arrives(struct uvb_dev *dev)
{
	struct uvb_rx_frame f[2];
	uint16_t n = uvb_rx_peek(uvb_rxq(dev, 0), f, 2);
	uint32_t at = 12, len, i;
	int tci = -1;

	CHECK(n <= 1);
	if (n == 0)
		return -2;
	len = uvb_rx_read(uvb_rxq(dev, 0), &f[0], 0, out, sizeof(out));
	CHECK_EQ(len, f[0].len);
	uvb_rx_done(uvb_rxq(dev, 0), 0);
	if (out[12] == 0x81 && out[13] == 0) {
		tci = out[14] << 8 | out[15];
		at = 16;
	}
	CHECK(out[at] == 0x88 && out[at + 1] == 0xb5);
	for (i = 14; i + at - 12 < len; i++)
		CHECK_EQ(out[i + at - 12], (uint8_t)(7 + i));
	return tci;
}

static uint64_t
tx_drop(struct uvb_dev *dev, enum uvb_tx_drop why)
{
	struct uvb_txq_stats st;

	uvb_txq_stats(dev, 0, &st);
	return st.drops[why];
}

static uint64_t
rx_drop(struct uvb_dev *dev, enum uvb_pair_drop why)
{
	uint64_t drops[UVB_PD_MAX];

	uvb_rx_drops(dev, drops);
	return drops[why];
}

/* What a queue took is what it published, for whomever, and what it dropped under a name. */
static void
check_conserved(struct uvb_dev *dev)
{
	const struct uvb_map *m = &dev->map;
	struct uvb_txq_stats st;
	uint64_t n;

	uvb_txq_stats(dev, 0, &st);
	n = st.full;
	for (int i = 0; i < UVB_TXD_MAX; i++)
		n += st.drops[i];
	for (int i = 0; i < UVB_PD_MAX; i++)
		n += st.pair_drops[i];
	for (uint32_t d = 0; d < m->nb_ports; d++)
		n += uvb_load(&uvb_map_voq(m, d, 0, uvb_id(dev), 0)->packets);
	CHECK_EQ(st.packets + st.copies, n);
}

/* --------------------------------------------------------------------------------------- VLANs */

static void
test_access_ports_are_apart(void)
{
	struct uvb_dev *a = attach("a", 1, UVB_CONF_PROMISC), *b = attach("b", 2, UVB_CONF_PROMISC),
		       *c = attach("c", 3, UVB_CONF_PROMISC);
	uint64_t dropped = tx_drop(a, UVB_TXD_VLAN_INGRESS);

	set_access("a", 10);
	set_access("b", 10);
	set_access("c", 20);
	send_plain(a, BROADCAST, 1);
	CHECK_EQ(arrives(b), -1);
	CHECK_EQ(arrives(c), -2);
	send_plain(a, 2, 1);
	CHECK_EQ(arrives(b), -1);
	/* Not known in VLAN 10, so flooded there. */
	send_plain(a, 3, 1);
	CHECK_EQ(arrives(b), -1);
	CHECK_EQ(arrives(c), -2);
	/* A tag, were it of its own VLAN; a priority alone is none. */
	send_tagged(a, 2, 1, 10, 60);
	CHECK_EQ(arrives(b), -2);
	CHECK_EQ(tx_drop(a, UVB_TXD_VLAN_INGRESS), dropped + 1);
	send_tagged(a, 2, 1, 5 << 13, 60);
	CHECK_EQ(arrives(b), -1);
	/* An address that the table has for a port of another VLAN. */
	CHECK_EQ(fdb_op(UVB_CTLF_ADD, "c", 9, 10), 0);
	send_plain(a, 9, 1);
	CHECK_EQ(arrives(c), -2);
	CHECK_EQ(rx_drop(c, UVB_PD_VLAN_EGRESS), 1);
	CHECK_EQ(fdb_op(UVB_CTLF_DEL, "", 9, 10), 0);
	check_conserved(a);
	set_none("a");
	set_none("b");
	set_none("c");
	send_plain(a, BROADCAST, 1);
	CHECK_EQ(arrives(b), -1);
	CHECK_EQ(arrives(c), -1);
	uvb_close(a);
	uvb_close(b);
	uvb_close(c);
}

/* Whatever the segments and the length: the tag is put in, taken out or replaced, and nothing else.
 */
static void
test_tags(void)
{
	struct uvb_dev *a = attach("a", 1, UVB_CONF_PROMISC), *t = attach("t", 2, UVB_CONF_PROMISC),
		       *u = attach("u", 3, UVB_CONF_PROMISC);
	static const uint32_t lens[] = {14, 60, 190, 200, 1514};
	uint64_t dropped;

	set_access("a", 10);
	set_trunk("t", 10, 20, 15);
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		send_tagged(a, BROADCAST, 1, -1, lens[i]);
		CHECK_EQ(arrives(t), 10);
		CHECK_EQ(arrives(u), 10); /* no mode: as if it had all VLANs */
		send_tagged(t, BROADCAST, 2, 10, lens[i]);
		CHECK_EQ(arrives(a), -1);
		CHECK_EQ(arrives(u), 10);
		send_tagged(t, BROADCAST, 2, -1, lens[i]); /* native */
		CHECK_EQ(arrives(a), -2);
		CHECK_EQ(arrives(u), 15);
		send_tagged(u, BROADCAST, 3, 15, lens[i]);
		CHECK_EQ(arrives(t), -1);
		send_tagged(u, BROADCAST, 3, 6 << 13 | 12, lens[i]); /* with priority, DEI */
		CHECK_EQ(arrives(t), 6 << 13 | 12);
		send_tagged(t, BROADCAST, 2, 3 << 13, lens[i]); /* priority, in the native VLAN */
		CHECK_EQ(arrives(u), 3 << 13 | 15);
	}
	dropped = tx_drop(t, UVB_TXD_VLAN_INGRESS);
	send_tagged(t, BROADCAST, 2, 21, 60);
	CHECK_EQ(tx_drop(t, UVB_TXD_VLAN_INGRESS), dropped + 1);
	set_trunk("t", 10, 20, 0);
	send_plain(t, BROADCAST, 2); /* and no native VLAN any more */
	CHECK_EQ(tx_drop(t, UVB_TXD_VLAN_INGRESS), dropped + 2);
	CHECK_EQ(arrives(u), -2);
	/* No VLAN is no VLAN of a trunk. */
	send_plain(u, BROADCAST, 3);
	CHECK_EQ(arrives(t) + arrives(a), -4);
	/* A tag makes it longer than the receiver takes. */
	dropped = rx_drop(u, UVB_PD_OVERSIZE);
	send_tagged(a, BROADCAST, 1, -1, 1515);
	CHECK_EQ(arrives(u), -2);
	CHECK_EQ(rx_drop(u, UVB_PD_OVERSIZE), dropped + 1);
	CHECK_EQ(arrives(t), -2);
	check_conserved(a);
	check_conserved(t);
	check_conserved(u);
	set_none("a");
	set_none("t");
	uvb_close(a);
	uvb_close(t);
	uvb_close(u);
}

static void
test_tags_and_segments(void)
{
	struct uvb_dev *a = attach("a", 1, 0), *t = attach("t", 2, UVB_CONF_PROMISC);
	struct uvb_seg seg[64];
	struct uvb_rx_frame rf;

	set_access("a", 10);
	set_trunk("t", 10, 10, 0);
	for (int round = 0; round < 300; round++) {
		uint32_t len = 60 + (uint32_t)(rnd() % 1400), at = 0;
		struct uvb_frame f = {seg, 0, 0, len};

		frame_make(buf, 2, 1, len, (uint32_t)round);
		while (at < len) {
			uint32_t n = f.nb_seg < 60 ? (uint32_t)(rnd() % 40) : len - at;

			n = n > len - at ? len - at : n;
			seg[f.nb_seg++] = (struct uvb_seg){buf + at, n};
			at += n;
		}
		CHECK_EQ(uvb_tx_burst(uvb_txq(a, 0), &f, 1), 1);
		CHECK_EQ(uvb_rx_peek(uvb_rxq(t, 0), &rf, 1), 1);
		CHECK_EQ(uvb_rx_read(uvb_rxq(t, 0), &rf, 0, out, sizeof(out)), len + 4);
		CHECK(memcmp(out, buf, 12) == 0);
		CHECK(memcmp(out + 12, "\x81\x00\x00\x0a", 4) == 0);
		CHECK(memcmp(out + 16, buf + 12, len - 12) == 0);
		uvb_rx_done(uvb_rxq(t, 0), 0);
	}
	set_none("a");
	set_none("t");
	uvb_close(a);
	uvb_close(t);
}

/* ----------------------------------------------------------------- the table, statics, addresses
 */

static void
test_silent_port_is_known(void)
{
	struct uvb_dev *a = attach("a", 1, 0), *b = attach("b", 2, 0), *c = attach("c", 3, 0);
	struct uvb_txq_stats before, after;
	uint64_t filtered = rx_drop(c, UVB_PD_MAC_FILTER);

	uvb_txq_stats(a, 0, &before);
	send_plain(a, 2, 1); /* b has never sent */
	CHECK_EQ(arrives(b), -1);
	uvb_txq_stats(a, 0, &after);
	CHECK_EQ(after.flooded, before.flooded);
	CHECK_EQ(rx_drop(c, UVB_PD_MAC_FILTER), filtered);
	uvb_close(a);
	uvb_close(b);
	uvb_close(c);
}

static void
test_static_entries(void)
{
	struct uvb_dev *a = attach("a", 1, 0), *b = attach("b", 2, UVB_CONF_PROMISC),
		       *c = attach("c", 3, UVB_CONF_PROMISC);

	CHECK_EQ(fdb_op(UVB_CTLF_ADD, "b", 77, UINT32_MAX), 0);
	send_plain(c, 1, 77); /* c claims it */
	CHECK_EQ(arrives(a), -1);
	send_plain(a, 77, 1);
	CHECK_EQ(arrives(b), -1);
	CHECK_EQ(arrives(c), -2);
	/* It outlives its port, whose place nobody else gets. */
	uvb_close(b);
	send_plain(a, 77, 1);
	CHECK_EQ(arrives(c), -2);
	b = attach("b", 2, UVB_CONF_PROMISC);
	CHECK_EQ(rx_drop(b, UVB_PD_DOWN), 1);
	send_plain(a, 77, 1);
	CHECK_EQ(arrives(b), -1);
	CHECK_EQ(fdb_op(UVB_CTLF_DEL, "", 77, UINT32_MAX), 0);
	CHECK_EQ(fdb_op(UVB_CTLF_DEL, "", 77, UINT32_MAX), -ENOENT);
	CHECK_EQ(fdb_op(UVB_CTLF_ADD, "b", 77, 4095), -EINVAL);
	CHECK_EQ(fdb_op(UVB_CTLF_FLUSH, "nobody", 0, UINT32_MAX), -ENOENT);
	uvb_close(a);
	uvb_close(b);
	uvb_close(c);
}

/* --------------------------------------------------------------------- isolation, storms, mirrors
 */

/* The fabric's clock stands still until the test moves it: limits let through what they say. */
static void
time_stop(const struct uvb_dev *dev)
{
	atomic_store(&uvb_map_hdr(&dev->map)->clock_ns, uvb_clock(dev));
}

static void
time_pass(const struct uvb_dev *dev, uint64_t ns)
{
	atomic_fetch_add(&uvb_map_hdr(&dev->map)->clock_ns, ns);
}

static void
time_go(const struct uvb_dev *dev)
{
	struct uvb_hdr *hdr = uvb_map_hdr(&dev->map);

	atomic_store(&hdr->clock_offset, atomic_load(&hdr->clock_ns) - uvb_now_ns());
	atomic_store(&hdr->clock_ns, 0);
}

static void
test_isolation(void)
{
	struct uvb_dev *a = attach("a", 1, 0), *b = attach("b", 2, 0), *c = attach("c", 3, 0);
	struct uvb_policy p = {.isolation = 7};
	uint64_t dropped = rx_drop(b, UVB_PD_GROUP);

	CHECK_EQ(set_policy("a", UVB_CTLP_ISOLATION, &p, ""), 0);
	CHECK_EQ(set_policy("b", UVB_CTLP_ISOLATION, &p, ""), 0);
	send_plain(a, BROADCAST, 1);
	CHECK_EQ(arrives(b), -2);
	CHECK_EQ(arrives(c), -1);
	send_plain(a, 2, 1);
	CHECK_EQ(arrives(b), -2);
	CHECK_EQ(rx_drop(b, UVB_PD_GROUP), dropped + 1);
	send_plain(a, 3, 1);
	CHECK_EQ(arrives(c), -1);
	p.isolation = 8;
	CHECK_EQ(set_policy("b", UVB_CTLP_ISOLATION, &p, ""), 0);
	send_plain(a, 2, 1);
	CHECK_EQ(arrives(b), -1);
	check_conserved(a);
	p.isolation = 0;
	CHECK_EQ(set_policy("a", UVB_CTLP_ISOLATION, &p, ""), 0);
	CHECK_EQ(set_policy("b", UVB_CTLP_ISOLATION, &p, ""), 0);
	uvb_close(a);
	uvb_close(b);
	uvb_close(c);
}

static void
test_storms(void)
{
	struct uvb_dev *a = attach("a", 1, 0), *b = attach("b", 2, UVB_CONF_PROMISC);
	uint64_t n[UVB_STORM_MAX] = {0}, before[UVB_STORM_MAX];
	struct uvb_policy p = {.storm = {100, 200, 400}};

	CHECK_EQ(set_policy("a", 7 * UVB_CTLP_STORM, &p, ""), 0);
	for (int s = 0; s < UVB_STORM_MAX; s++)
		before[s] = tx_drop(a, UVB_TXD_STORM_BROADCAST + s);
	time_stop(a);
	for (int i = 0; i < 3000; i++) {
		int s = i % 3;

		if (i == 1500)
			time_pass(a, 100000000);
		frame_make(buf, 99, 1, 60, 1); /* unknown */
		if (s == UVB_STORM_BROADCAST)
			memset(buf, 0xff, 6);
		if (s == UVB_STORM_MULTICAST)
			buf[0] |= 1;
		CHECK_EQ(send_one(a, 0, buf, 60), 1);
		n[s] += receive_all(b, 0);
	}
	for (int s = 0; s < UVB_STORM_MAX; s++) {
		/* A tenth of a second's worth at once, and then that of a tenth of a second. */
		CHECK_EQ(n[s], p.storm[s] / 10 + 1 + p.storm[s] / 10);
		CHECK_EQ(tx_drop(a, UVB_TXD_STORM_BROADCAST + s) - before[s], 1000 - n[s]);
	}
	/* What the table knows is no storm. */
	for (int i = 0; i < 1000; i++) {
		send_plain(a, 2, 1);
		CHECK_EQ(arrives(b), -1);
	}
	check_conserved(a);
	time_go(a);
	CHECK_EQ(set_policy("a", 7 * UVB_CTLP_STORM, &(struct uvb_policy){0}, ""), 0);
	uvb_close(a);
	uvb_close(b);
}

static void
test_mirror(void)
{
	struct uvb_dev *a = attach("a", 1, 0), *b = attach("b", 2, 0),
		       *m = attach("m", 3, UVB_CONF_PROMISC);
	const struct uvb_policy none = {0};
	uint64_t lost;
	uint32_t depth = uvb_hdr(a)->voq_depth;

	CHECK_EQ(set_policy("a", UVB_CTLP_MIRROR_TX, &none, "m"), 0);
	send_plain(a, 2, 1);
	CHECK_EQ(arrives(b), -1);
	CHECK_EQ(arrives(m), -1);
	send_plain(b, 1, 2);
	CHECK_EQ(arrives(a), -1);
	CHECK_EQ(arrives(m), -2);
	CHECK_EQ(set_policy("a", UVB_CTLP_MIRROR_TX, &none, ""), 0);
	CHECK_EQ(set_policy("a", UVB_CTLP_MIRROR_RX, &none, "m"), 0);
	send_plain(a, 2, 1);
	CHECK_EQ(arrives(b), -1);
	CHECK_EQ(arrives(m), -2);
	send_plain(b, 1, 2);
	CHECK_EQ(arrives(a), -1);
	CHECK_EQ(arrives(m), -1);
	/* A mirror that nobody looks at loses copies; the frames do not notice. */
	for (uint32_t i = 0; i < 4 * depth; i++) {
		send_plain(b, 1, 2);
		CHECK_EQ(arrives(a), -1);
	}
	lost = uvb_load(&uvb_map_voq(&b->map, uvb_id(m), 0, uvb_id(b), 0)->full);
	CHECK_EQ(lost, 3 * depth);
	CHECK_EQ(receive_all(m, 0), depth);
	/* Frames of one run: the second takes the way of the first. */
	for (int i = 0; i < 2; i++) {
		struct uvb_seg seg = {buf, 60};
		struct uvb_frame f[4];

		frame_make(buf, 1, 2, 60, 1);
		for (int k = 0; k < 4; k++)
			f[k] = (struct uvb_frame){&seg, 1, 0, 60};
		CHECK_EQ(uvb_tx_burst(uvb_txq(b, 0), f, 4), 4);
		CHECK_EQ(receive_all(a, 0), 4);
		CHECK_EQ(receive_all(m, 0), 4);
	}
	CHECK_EQ(set_policy("a", UVB_CTLP_MIRROR_RX, &none, "a"), -EINVAL);
	CHECK_EQ(set_policy("a", UVB_CTLP_MIRROR_RX, &none, ""), 0);
	check_conserved(a);
	check_conserved(b);
	uvb_close(a);
	uvb_close(b);
	uvb_close(m);
}

/* --------------------------------------------------------------------------------------- fairness
 */

#define SENDERS 5

/* Something waits for sink's queue, from a queue whose address is the port's last byte. */
static void
keep_backlog(struct uvb_dev *dev, uint16_t txq, const struct uvb_dev *sink)
{
	const struct uvb_voq_shm *v = uvb_map_voq(&sink->map, uvb_id(sink), 0, uvb_id(dev), txq);

	while (UVB_HEAD_POS(atomic_load(&v->head)) - atomic_load(&v->tail) < 32)
		CHECK_EQ(send_one(dev, txq, buf, frame_make(buf, 100, uvb_mac(dev)[5], 600, 1)), 1);
}

/* Frames of different sizes from all of them, one receiver who takes a little at a time: bytes by
 * weight. */
static void
share_queue(const uint32_t weight[SENDERS], double bytes[SENDERS])
{
	static const uint32_t len[SENDERS] = {60, 1514, 700, 64, 300};
	struct uvb_dev *s[SENDERS], *sink = attach("sink", 100, 0);
	struct uvb_rx_frame f[8];
	char name[8];

	for (int i = 0; i < SENDERS; i++) {
		struct uvb_policy p = {.weight = (uint16_t)weight[i]};

		snprintf(name, sizeof(name), "s%d", i);
		s[i] = attach(name, (uint8_t)(1 + i), 0);
		CHECK_EQ(set_policy(name, UVB_CTLP_WEIGHT, &p, ""), 0);
		bytes[i] = 0;
	}
	for (int round = 0; round < 40000; round++) {
		uint16_t n;

		for (int i = 0; i < SENDERS; i++) {
			const struct uvb_voq_shm *v =
				uvb_map_voq(&sink->map, uvb_id(sink), 0, uvb_id(s[i]), 0);

			while (uvb_voq_head(v) - atomic_load(&v->tail) < 32)
				send_tagged(s[i], 100, (uint8_t)(1 + i), -1, len[i]);
		}
		n = uvb_rx_peek(uvb_rxq(sink, 0), f, 8);
		CHECK_EQ(n, 8);
		for (uint16_t k = 0; k < n; k++)
			for (int i = 0; i < SENDERS; i++)
				bytes[i] += f[k].src_port == uvb_id(s[i]) ? f[k].len : 0;
		uvb_rx_done(uvb_rxq(sink, 0), 0);
	}
	for (int i = 0; i < SENDERS; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		CHECK_EQ(set_policy(name, UVB_CTLP_WEIGHT, &(struct uvb_policy){0}, ""), 0);
		uvb_close(s[i]);
	}
	receive_all(sink, 0);
	uvb_close(sink);
}

static void
test_fairness(void)
{
	double bytes[SENDERS], sum = 0, squares = 0;

	share_queue((const uint32_t[]){0, 1, 0, 1, 0}, bytes);
	for (int i = 0; i < SENDERS; i++) {
		sum += bytes[i];
		squares += bytes[i] * bytes[i];
	}
	printf("Jain index %.5f\n", sum * sum / (SENDERS * squares));
	CHECK(sum * sum / (SENDERS * squares) >= 0.99);
}

static void
test_weights(void)
{
	static const uint32_t weight[SENDERS] = {1, 2, 4, 8, 1};
	double bytes[SENDERS], sum = 0;

	share_queue(weight, bytes);
	for (int i = 0; i < SENDERS; i++)
		sum += bytes[i];
	for (int i = 0; i < SENDERS; i++) {
		printf("weight %u: %.4f of %.4f\n", weight[i], bytes[i] / sum, weight[i] / 16.0);
		CHECK(bytes[i] / sum > 0.97 * weight[i] / 16 &&
		      bytes[i] / sum < 1.03 * weight[i] / 16);
	}
}

/* A port with four queues, all with something to send, one with one, and one whose other queues
 * have a frame now and then: ports share, not queues. */
static void
test_ports_share(void)
{
	struct uvb_dev *many = attach_queues("many", 1, 4, 0), *one = attach("one", 2, 0),
		       *some = attach_queues("some", 3, 4, 0), *sink = attach("sink", 100, 0);
	const struct uvb_dev *from[3] = {many, one, some};
	double bytes[3] = {0}, sum = 0, squares = 0;
	struct uvb_rx_frame f[8];

	for (uint32_t round = 0; round < 30000; round++) {
		for (uint16_t q = 0; q < 4; q++) {
			keep_backlog(many, q, sink);
			if (q == 0 || round % 100 == q)
				keep_backlog(some, q, sink);
		}
		keep_backlog(one, 0, sink);
		CHECK_EQ(uvb_rx_peek(uvb_rxq(sink, 0), f, 8), 8);
		for (int k = 0; k < 8; k++)
			for (int i = 0; i < 3; i++)
				bytes[i] += f[k].src_port == uvb_id(from[i]) ? f[k].len : 0;
		uvb_rx_done(uvb_rxq(sink, 0), 0);
	}
	for (int i = 0; i < 3; i++) {
		sum += bytes[i];
		squares += bytes[i] * bytes[i];
	}
	printf("Jain index over ports %.5f\n", sum * sum / (3 * squares));
	CHECK(sum * sum / (3 * squares) >= 0.99);
	receive_all(sink, 0);
	uvb_close(many);
	uvb_close(one);
	uvb_close(some);
	uvb_close(sink);
}

/* Two receivers of four stand still: what is for the others gets through, all of it. */
static void
test_no_head_of_line_blocking(void)
{
	struct uvb_dev *a = attach("a", 1, 0), *to[4];
	uint64_t before, got[4] = {0};
	struct uvb_txq_stats st;
	char name[8];

	for (int i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "t%d", i);
		to[i] = attach(name, (uint8_t)(10 + i), 0);
	}
	uvb_txq_stats(a, 0, &st);
	before = st.no_cell;
	for (int round = 0; round < 10000; round++) {
		for (int i = 0; i < 4; i++)
			send_tagged(a, (uint8_t)(10 + i), 1, -1, i == 0 ? 1514 : 60);
		if (round % 16 == 15)
			for (int i = 2; i < 4; i++)
				got[i] += receive_all(to[i], 0);
	}
	for (int i = 2; i < 4; i++)
		CHECK_EQ(got[i], 10000);
	uvb_txq_stats(a, 0, &st);
	CHECK_EQ(st.no_cell, before);
	for (int i = 0; i < 2; i++)
		CHECK_EQ(receive_all(to[i], 0), uvb_hdr(a)->voq_depth);
	check_conserved(a);
	for (int i = 0; i < 4; i++)
		uvb_close(to[i]);
	uvb_close(a);
}

/* ------------------------------------------------------------------------------------ functions */

static struct uvb_policy
vf_mac(uint8_t last)
{
	return (struct uvb_policy){.flags = UVB_POL_MAC, .mac = {2, 0, 0, 0, 0, last}};
}

static int
publish(struct uvb_dev *dev, uint8_t last, uint32_t flags)
{
	char err[UVB_ERR_LEN];
	struct uvb_conf conf;

	uvb_conf_default(dev, &conf);
	memcpy(conf.mac[0], (const uint8_t[]){2, 0, 0, 0, 0, last}, 6);
	conf.flags = UVB_CONF_STARTED | flags;
	return uvb_conf_set(dev, &conf, err);
}

static void
test_vf_is_bound(void)
{
	struct uvb_attach req = {.fabric = FABRIC,
				 .name = "n0.vf1",
				 .mac = {2, 0, 0, 0, 0, 50},
				 .nb_rxq = 1,
				 .nb_txq = 1,
				 .kind = UVB_KIND_WIRE};
	struct uvb_rule everything = {.fate = UVB_FATE_QUEUE, .nb_queue = 1, .serial = 1};
	struct uvb_policy p = vf_mac(11);
	struct uvb_dev *pf, *vf0, *vf1, *ext;
	char err[UVB_ERR_LEN];
	struct uvb_conf conf;

	CHECK_EQ(adapter(UVB_CTLA_ADD, "n0", 2, 0), 0);
	CHECK_EQ(adapter(UVB_CTLA_ADD, "n0", 2, 0), -EEXIST);
	CHECK_EQ(set_policy("n0.vf1", UVB_CTLP_MAC, &p, ""), 0);
	CHECK_EQ(set_policy("n0.pf", UVB_CTLP_MAC, &p, ""), -EINVAL);
	CHECK_EQ(set_policy("stranger", UVB_CTLP_TRUST, &p, ""), -ENOENT);
	/* It has the address that the PF gave it, and no other. */
	CHECK_EQ(uvb_open(&req, &vf1, err), -EPERM);
	CHECK(strstr(err, "02:00:00:00:00:0b") != NULL);
	memset(req.mac, 0, 6);
	CHECK_EQ(uvb_open(&req, &vf1, err), 0);
	CHECK_EQ(uvb_mac(vf1)[5], 11);
	req.name = "n0.vf2";
	CHECK_EQ(uvb_open(&req, &ext, err), -ENOENT);
	pf = attach("n0.pf", 9, UVB_CONF_PROMISC);
	vf0 = attach("n0.vf0", 10, 0);
	ext = attach("ext", 1, UVB_CONF_PROMISC);
	CHECK_EQ(publish(vf1, 11, 0), 0);
	CHECK_EQ(publish(vf1, 12, 0), -EPERM);
	CHECK_EQ(publish(vf1, 11, UVB_CONF_PROMISC), -EPERM);
	CHECK_EQ(publish(vf1, 11, UVB_CONF_ALLMULTI), -EPERM);
	CHECK_EQ(publish(vf0, 13, 0), 0); /* not given one: may choose */
	/* Who writes it all the same gets nothing for it. */
	uvb_conf_default(vf1, &conf);
	conf.flags = UVB_CONF_STARTED | UVB_CONF_PROMISC;
	conf.mac[0][5] = 1;
	uvb_conf_write(vf1->shm, &conf);
	send_plain(pf, 99, 9);
	CHECK_EQ(arrives(vf1), -2);
	CHECK_EQ(arrives(ext), -1);
	send_plain(pf, 11, 9);
	CHECK_EQ(arrives(vf1), -1);
	/* Trusted, it may. */
	CHECK_EQ(set_policy("n0.vf1", UVB_CTLP_TRUST, &(struct uvb_policy){0}, ""), 0);
	CHECK_EQ(publish(vf1, 12, UVB_CONF_PROMISC), 0);
	send_plain(pf, 99, 9);
	CHECK_EQ(arrives(vf1), -1);
	CHECK_EQ(arrives(ext), -1);
	/* And not any more. */
	p = (struct uvb_policy){.flags = UVB_POL_UNTRUSTED};
	CHECK_EQ(set_policy("n0.vf1", UVB_CTLP_TRUST, &p, ""), 0);
	send_plain(pf, 99, 9);
	CHECK_EQ(arrives(vf1), -2);
	CHECK_EQ(arrives(ext), -1);
	/* Nor by flow rules that ask for everything. */
	CHECK_EQ(uvb_rule_set(vf1, 0, &everything, err), 0);
	CHECK_EQ(publish(vf1, 11, UVB_CONF_ISOLATED | UVB_CONF_RULES), 0);
	send_plain(pf, 99, 9);
	CHECK_EQ(arrives(vf1), -2);
	CHECK_EQ(arrives(ext), -1);
	send_plain(pf, 11, 9);
	CHECK_EQ(arrives(vf1), -1);
	CHECK_EQ(adapter(UVB_CTLA_DEL, "n0", 0, 0), -EBUSY);
	uvb_close(pf);
	uvb_close(vf0);
	uvb_close(vf1);
	uvb_close(ext);
	CHECK_EQ(adapter(UVB_CTLA_DEL, "n0", 0, 0), 0);
	CHECK_EQ(adapter(UVB_CTLA_DEL, "n0", 0, 0), -ENOENT);
}

static void
test_spoofs_are_dropped(void)
{
	struct uvb_policy p = {0};
	struct uvb_dev *vf, *ext = attach("ext", 1, UVB_CONF_PROMISC);
	uint64_t before;

	CHECK_EQ(adapter(UVB_CTLA_ADD, "n0", 1, 0), 0);
	vf = attach("n0.vf0", 10, 0);
	before = tx_drop(vf, UVB_TXD_SPOOF);
	send_plain(vf, 1, 10);
	CHECK_EQ(arrives(ext), -1);
	send_plain(vf, 1, 66);
	CHECK_EQ(arrives(ext), -2);
	CHECK_EQ(tx_drop(vf, UVB_TXD_SPOOF), before + 1);
	/* Its own is what it publishes, as long as the PF has not said otherwise. */
	CHECK_EQ(publish(vf, 66, 0), 0);
	send_plain(vf, 1, 66);
	CHECK_EQ(arrives(ext), -1);
	p = vf_mac(10);
	CHECK_EQ(set_policy("n0.vf0", UVB_CTLP_MAC, &p, ""), 0);
	send_plain(vf, 1, 66);
	CHECK_EQ(arrives(ext), -2);
	CHECK_EQ(set_policy("n0.vf0", UVB_CTLP_SPOOFCHK, &(struct uvb_policy){0}, ""), 0);
	send_plain(vf, 1, 66);
	CHECK_EQ(arrives(ext), -1);
	CHECK_EQ(tx_drop(vf, UVB_TXD_SPOOF), before + 2);
	check_conserved(vf);
	uvb_close(vf);
	uvb_close(ext);
	CHECK_EQ(adapter(UVB_CTLA_DEL, "n0", 0, 0), 0);
}

/* As `ip link set dev PF vf 0 vlan 100 qos 5`: the VF knows nothing of it. */
static void
test_vf_vlan(void)
{
	struct uvb_policy p = {.vlan_mode = UVB_VLAN_ACCESS, .vlan = 100, .vlan_pcp = 5};
	struct uvb_dev *vf, *ext = attach("ext", 1, UVB_CONF_PROMISC);

	CHECK_EQ(adapter(UVB_CTLA_ADD, "n0", 1, 0), 0);
	CHECK_EQ(set_policy("n0.vf0", UVB_CTLP_VLAN | UVB_CTLP_PCP, &p, ""), 0);
	vf = attach("n0.vf0", 10, 0);
	send_plain(vf, 1, 10);
	CHECK_EQ(arrives(ext), 5 << 13 | 100);
	send_tagged(ext, 10, 1, 100, 60);
	CHECK_EQ(arrives(vf), -1);
	send_plain(ext, 10, 1);
	CHECK_EQ(arrives(vf), -2);
	uvb_close(vf);
	uvb_close(ext);
	CHECK_EQ(adapter(UVB_CTLA_DEL, "n0", 0, 0), 0);
}

static void
test_link_state(void)
{
	struct uvb_dev *v[2], *ext = attach("ext", 1, 0);
	struct uvb_policy p = {.vf_state = UVB_VF_ENABLE};

	CHECK_EQ(adapter(UVB_CTLA_ADD, "n0", 2, 0), 0);
	v[0] = attach("n0.vf0", 10, 0);
	v[1] = attach("n0.vf1", 11, 0);
	CHECK(uvb_carrier(v[0]) && uvb_carrier(ext));
	CHECK_EQ(uplink_link("n0", true), 0);
	CHECK(!uvb_carrier(v[0]) && uvb_carrier(ext));
	/* Down with the uplink: neither in nor out, not even among themselves. */
	send_plain(v[0], 11, 10);
	CHECK_EQ(arrives(v[1]), -2);
	CHECK_EQ(tx_drop(v[0], UVB_TXD_LINK_DOWN), 1);
	send_plain(ext, 10, 1);
	CHECK_EQ(rx_drop(v[0], UVB_PD_LINK_DOWN), 1);
	/* Enabled whatever the uplink does: among themselves. */
	CHECK_EQ(set_policy("n0.vf0", UVB_CTLP_STATE, &p, ""), 0);
	CHECK_EQ(set_policy("n0.vf1", UVB_CTLP_STATE, &p, ""), 0);
	CHECK(uvb_carrier(v[0]));
	send_plain(v[0], 11, 10);
	CHECK_EQ(arrives(v[1]), -1);
	send_plain(v[0], 1, 10);
	CHECK_EQ(tx_drop(v[0], UVB_TXD_UPLINK_DOWN), 1);
	send_plain(v[0], BROADCAST, 10);
	CHECK_EQ(arrives(v[1]), -1);
	CHECK_EQ(arrives(ext), -2);
	send_plain(ext, 10, 1);
	CHECK_EQ(rx_drop(v[0], UVB_PD_UPLINK), 1);
	/* Disabled although the uplink is up. */
	p.vf_state = UVB_VF_DISABLE;
	CHECK_EQ(uplink_link("n0", false), 0);
	CHECK_EQ(set_policy("n0.vf1", UVB_CTLP_STATE, &p, ""), 0);
	CHECK(uvb_carrier(v[0]) && !uvb_carrier(v[1]));
	send_plain(v[0], 1, 10);
	CHECK_EQ(arrives(ext), -1);
	send_plain(v[0], 11, 10);
	CHECK_EQ(arrives(v[1]), -2);
	check_conserved(v[0]);
	check_conserved(ext);
	for (int i = 0; i < 2; i++)
		uvb_close(v[i]);
	uvb_close(ext);
	CHECK_EQ(adapter(UVB_CTLA_DEL, "n0", 0, 0), 0);
}

#define STEP_NS 500000ULL

/* Bytes a port got rid of in `ns`, offering 40 frames each half millisecond. Its receivers keep up.
 */
static uint64_t
push(struct uvb_dev *dev, uint8_t dst, uint8_t src, struct uvb_dev *to, uint64_t ns)
{
	uint64_t n = 0;

	for (uint64_t t = 0; t < ns; t += STEP_NS) {
		time_pass(dev, STEP_NS);
		for (int i = 0; i < 40; i++)
			n += send_one(dev, 0, buf, frame_make(buf, dst, src, 1000, 0));
		receive_all(to, 0);
	}
	return n * 1024; /* on the wire */
}

#define PUSH_NS 50000000ULL
/* 80 Mbit/s: 10 bytes in a microsecond. */
#define RATE       80000000ULL
#define RATE_BYTES (PUSH_NS / 100)

static void
test_rates(void)
{
	struct uvb_dev *v[2], *ext = attach("ext", 1, 0);
	struct uvb_policy p = {.rate_max = RATE / 2};
	struct uvb_txq_stats st;
	uint64_t n;

	CHECK_EQ(adapter(UVB_CTLA_ADD, "n0", 2, RATE), 0);
	v[0] = attach("n0.vf0", 10, 0);
	v[1] = attach("n0.vf1", 11, 0);
	time_stop(ext);
	n = push(v[0], 1, 10, ext, PUSH_NS);
	CHECK(n <= RATE_BYTES * 11 / 10 && n >= RATE_BYTES);
	uvb_txq_stats(v[0], 0, &st);
	CHECK(st.limited > 0);
	/* Not what stays inside. */
	n = push(v[0], 11, 10, v[1], PUSH_NS);
	CHECK(n > RATE_BYTES * 2);
	/* Both ways. */
	n = rx_drop(v[0], UVB_PD_UPLINK);
	CHECK(push(ext, 10, 1, v[0], PUSH_NS) > RATE_BYTES * 2);
	CHECK(rx_drop(v[0], UVB_PD_UPLINK) > n);
	/* A VF's own, inside, too. */
	CHECK_EQ(set_policy("n0.vf0", UVB_CTLP_RATE_MAX, &p, ""), 0);
	n = push(v[0], 11, 10, v[1], PUSH_NS);
	CHECK(n <= RATE_BYTES / 2 * 11 / 10 && n >= RATE_BYTES / 2);
	check_conserved(v[0]);
	time_go(ext);
	check_conserved(ext);
	for (int i = 0; i < 2; i++)
		uvb_close(v[i]);
	uvb_close(ext);
	CHECK_EQ(adapter(UVB_CTLA_DEL, "n0", 0, 0), 0);
}

/* Two in turn, as fast as they are let: who is promised three quarters gets them. */
static void
test_min_rate(void)
{
	struct uvb_dev *v[2], *ext = attach("ext", 1, 0);
	struct uvb_policy p = {.rate_min = RATE * 3 / 4};
	uint64_t n[2] = {0};

	CHECK_EQ(adapter(UVB_CTLA_ADD, "n0", 2, 0), 0);
	CHECK_EQ(set_policy("n0.vf0", UVB_CTLP_RATE_MIN, &p, ""), -EINVAL); /* of nothing */
	CHECK_EQ(adapter(UVB_CTLA_SET, "n0", 0, RATE), 0);
	CHECK_EQ(set_policy("n0.vf0", UVB_CTLP_RATE_MIN, &p, ""), 0);
	CHECK_EQ(set_policy("n0.vf1", UVB_CTLP_RATE_MIN, &p, ""), -EINVAL); /* too much */
	CHECK_EQ(adapter(UVB_CTLA_SET, "n0", 0, RATE / 2), -EINVAL);
	v[0] = attach("n0.vf0", 10, 0);
	v[1] = attach("n0.vf1", 11, 0);
	time_stop(ext);
	for (uint64_t k = 0; k < 40 * 2 * PUSH_NS / STEP_NS; k++) {
		if (k % 40 == 0)
			time_pass(ext, STEP_NS);
		for (int i = 1; i >= 0; i--) {
			n[i] += send_one(v[i], 0, buf,
					 frame_make(buf, 1, (uint8_t)(10 + i), 1000, 0));
			receive_all(ext, 0);
		}
	}
	time_go(ext);
	printf("promised 0.75: %.3f\n", (double)n[0] / (double)(n[0] + n[1]));
	CHECK((double)n[0] / (double)(n[0] + n[1]) > 0.7);
	CHECK(n[1] > 0);
	CHECK((n[0] + n[1]) * 1024 <= 2 * RATE_BYTES * 12 / 10);
	for (int i = 0; i < 2; i++)
		uvb_close(v[i]);
	uvb_close(ext);
	CHECK_EQ(adapter(UVB_CTLA_DEL, "n0", 0, 0), 0);
}

/* --------------------------------------------------------------------------------- the daemon's
 * part */

static void
test_settings_outlive_daemon_and_port(void)
{
	struct uvb_dev *a = attach("a", 1, 0), *b = attach("b", 2, UVB_CONF_PROMISC);
	struct uvb_policy p = {.flags = UVB_POL_UNTRUSTED, .storm = {1, 1, 1}};

	set_access("a", 10);
	CHECK_EQ(adapter(UVB_CTLA_ADD, "n0", 1, 0), 0);
	CHECK_EQ(fdb_op(UVB_CTLF_ADD, "late", 55, UINT32_MAX), 0);
	/* Half a change: it is not in force. */
	memcpy(&uvb_map_policy(&a->map, uvb_id(a))
			->copy[1 ^ (uvb_map_policy(&a->map, uvb_id(a))->seq & 1)],
	       &p, sizeof(p));
	kill(fabric.daemon, SIGKILL);
	fabric_restart(&fabric);
	send_plain(a, BROADCAST, 1);
	CHECK_EQ(arrives(b), 10);
	uvb_close(a);
	for (int i = 0; i < 3; i++) { /* who takes slots does not get its */
		struct uvb_dev *x = attach("", 20, 0);

		uvb_close(x);
	}
	a = attach("a", 1, 0);
	send_plain(a, BROADCAST, 1);
	CHECK_EQ(arrives(b), 10);
	CHECK_EQ(adapter(UVB_CTLA_ADD, "n0", 1, 0), -EEXIST);
	CHECK_EQ(adapter(UVB_CTLA_DEL, "n0", 0, 0), 0);
	CHECK_EQ(fdb_op(UVB_CTLF_DEL, "", 55, UINT32_MAX), 0);
	set_none("a");
	uvb_close(a);
	uvb_close(b);
}

/* Slots are kept for settings, and no longer. */
static void
test_slots_run_out(void)
{
	struct uvb_policy p = {.weight = 2};
	char name[12];
	int rc = 0, n = 0;

	while (rc == 0) {
		snprintf(name, sizeof(name), "w%d", n++);
		rc = set_policy(name, UVB_CTLP_WEIGHT, &p, "");
	}
	CHECK_EQ(rc, -ENOSPC);
	CHECK(n > 8);
	for (int i = 0; i < n - 1; i++) {
		snprintf(name, sizeof(name), "w%d", i);
		CHECK_EQ(set_policy(name, UVB_CTLP_WEIGHT, &(struct uvb_policy){0}, ""), 0);
	}
	CHECK_EQ(set_policy("x", UVB_CTLP_WEIGHT, &p, ""), 0);
	CHECK_EQ(set_policy("x", UVB_CTLP_WEIGHT, &(struct uvb_policy){0}, ""), 0);
}

/* Fields beyond their bounds, names without an end, lengths that are wrong. */
static void
test_bad_messages(void)
{
	struct uvb_policy p = {.vlan_mode = UVB_VLAN_ACCESS};
	struct uvb_ctl_policy m = {.what = UVB_CTLP_WEIGHT};
	struct uvb_ctl_adapter a = {.op = UVB_CTLA_ADD, .nb_vfs = 1};
	struct uvb_ctl_fdb f = {.op = 99};

	CHECK_EQ(set_policy("a", UVB_CTLP_VLAN, &p, ""), -EINVAL);
	p.vlan = 4095;
	CHECK_EQ(set_policy("a", UVB_CTLP_VLAN, &p, ""), -EINVAL);
	p = (struct uvb_policy){.vlan_mode = UVB_VLAN_TRUNK, .vlan = 5};
	CHECK_EQ(set_policy("a", UVB_CTLP_VLAN, &p, ""), -EINVAL);
	p = (struct uvb_policy){.vlan_mode = 9};
	CHECK_EQ(set_policy("a", UVB_CTLP_VLAN, &p, ""), -EINVAL);
	p = (struct uvb_policy){.weight = UVB_WEIGHT_MAX + 1};
	CHECK_EQ(set_policy("a", UVB_CTLP_WEIGHT, &p, ""), -EINVAL);
	p = (struct uvb_policy){.weight = 1};
	CHECK_EQ(set_policy("a", 0, &p, ""), -EINVAL);
	CHECK_EQ(set_policy("a", 1u << 31, &p, ""), -EINVAL);
	CHECK_EQ(set_policy("", UVB_CTLP_WEIGHT, &p, ""), -EINVAL);
	CHECK_EQ(set_policy("a/b", UVB_CTLP_WEIGHT, &p, ""), -EINVAL);
	memset(m.name, 'x', sizeof(m.name));
	memset(m.mirror, 'x', sizeof(m.mirror));
	CHECK_EQ(ask(&m, sizeof(m), UVB_CTL_POLICY), 0); /* 31 of them */
	CHECK_EQ(ask(&m, sizeof(m) - 1, UVB_CTL_POLICY), -EPROTO);
	CHECK_EQ(ask(&m, sizeof(m), UVB_CTL_FDB), -EPROTO);
	memset(a.name, 'y', sizeof(a.name));
	CHECK_EQ(ask(&a, sizeof(a), UVB_CTL_ADAPTER), -EINVAL);
	CHECK_EQ(adapter(UVB_CTLA_ADD, "many", UVB_VFS_MAX + 1, 0), -EINVAL);
	CHECK_EQ(adapter(UVB_CTLA_ADD, "wide", 30, 0), -ENOSPC);
	CHECK_EQ(adapter(UVB_CTLA_ADD, "wide", 1, 0), 0); /* nothing was left of it */
	CHECK_EQ(adapter(UVB_CTLA_DEL, "wide", 1, 0), 0);
	CHECK_EQ(adapter(99, "wide", 1, 0), -EINVAL);
	CHECK_EQ(ask(&f, sizeof(f), UVB_CTL_FDB), -EINVAL);
}

int
main(void)
{
	static const char *const args[] = {"--ports", "16",    "--queues", "4", "--cells",
					   "256",     "--voq", "64",       NULL};

	seed_init();
	fabric_up(&fabric, args);
	RUN(test_silent_port_is_known);
	RUN(test_access_ports_are_apart);
	RUN(test_tags);
	RUN(test_tags_and_segments);
	RUN(test_static_entries);
	RUN(test_isolation);
	RUN(test_storms);
	RUN(test_mirror);
	RUN(test_fairness);
	RUN(test_weights);
	RUN(test_ports_share);
	RUN(test_no_head_of_line_blocking);
	RUN(test_vf_is_bound);
	RUN(test_spoofs_are_dropped);
	RUN(test_vf_vlan);
	RUN(test_link_state);
	RUN(test_rates);
	RUN(test_min_rate);
	RUN(test_settings_outlive_daemon_and_port);
	RUN(test_slots_run_out);
	RUN(test_bad_messages);
	fabric_down(&fabric);
	return 0;
}
