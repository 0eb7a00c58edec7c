/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The switch from end to end, by one thread: learning, flooding, filters, long frames, full rings,
 * no cells.
 */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "uvbridge/test.h"

static struct uvb_dev *a, *b, *c;
static uint8_t buf[70000], out[70000];

static void
set_mac(struct uvb_dev *dev, uint8_t last, uint32_t flags)
{
	struct uvb_conf conf;

	uvb_conf_default(dev, &conf);
	memcpy(conf.mac[0], (const uint8_t[]){2, 0, 0, 0, 0, last}, 6);
	conf.flags = flags;
	conf.mtu = 9216;
	CHECK_EQ(uvb_conf_set(dev, &conf, NULL), 0);
}

static void
three_ports(void)
{
	a = port_up("a", 1, 1, 0);
	b = port_up("b", 2, 1, 0);
	c = port_up("c", 1, 2, 0);
	set_mac(a, 1, UVB_CONF_STARTED);
	set_mac(b, 2, UVB_CONF_STARTED);
	set_mac(c, 3, UVB_CONF_STARTED);
}

static void
close_all(void)
{
	uvb_close(a);
	uvb_close(b);
	uvb_close(c);
}

static uint64_t
pair_drop(struct uvb_dev *dst, enum uvb_pair_drop why)
{
	uint64_t drops[UVB_PD_MAX];

	uvb_rx_drops(dst, drops);
	return drops[why];
}

static void
test_learning(void)
{
	struct uvb_txq_stats st;
	uint64_t filtered;

	three_ports();
	filtered = pair_drop(c, UVB_PD_MAC_FILTER);
	/* Unknown: flooded, and nobody takes it. */
	CHECK_EQ(send_one(a, 0, buf, frame_make(buf, 9, 1, 60, 0)), 1);
	CHECK_EQ(receive_all(b, 0) + receive_all(c, 0), 0);
	CHECK_EQ(pair_drop(c, UVB_PD_MAC_FILTER), filtered + 1);
	/* b has said where its address is: straight to it. */
	CHECK_EQ(send_one(a, 0, buf, frame_make(buf, 2, 1, 60, 0)), 1);
	CHECK_EQ(receive_all(b, 0), 1);
	CHECK_EQ(pair_drop(c, UVB_PD_MAC_FILTER), filtered + 1);
	/* a is known now: straight to it. */
	CHECK_EQ(send_one(b, 0, buf, frame_make(buf, 1, 2, 60, 0)), 1);
	CHECK_EQ(receive_all(a, 0), 1);
	CHECK_EQ(pair_drop(c, UVB_PD_MAC_FILTER), filtered + 1);
	uvb_txq_stats(b, 0, &st);
	CHECK_EQ(st.flooded, 0);
	/* To itself: the switch has nowhere to send it. */
	CHECK_EQ(send_one(a, 0, buf, frame_make(buf, 1, 1, 60, 0)), 1);
	uvb_txq_stats(a, 0, &st);
	CHECK_EQ(st.drops[UVB_TXD_HAIRPIN], 1);
	/* The address moves to c: frames for it go there, and c is not promiscuous. */
	CHECK_EQ(send_one(c, 1, buf, frame_make(buf, 2, 1, 60, 0)), 1);
	CHECK_EQ(receive_all(b, 0), 1);
	CHECK_EQ(send_one(b, 0, buf, frame_make(buf, 1, 2, 60, 0)), 1);
	CHECK_EQ(receive_all(a, 0) + receive_all(c, 0), 0);
	CHECK_EQ(pair_drop(c, UVB_PD_MAC_FILTER), filtered + 2);
	close_all();
}

/* Frames that go the way of those before them skip what was looked at in an earlier burst: as long
 * as it is as it was. */
static void
test_every_burst_sees_changes(void)
{
	enum { TO_B = 3 };
	uint32_t len = frame_make(buf, 2, 1, 60, 0);
	uint64_t filtered;

	three_ports();
	filtered = pair_drop(c, UVB_PD_MAC_FILTER);
	for (int i = 0; i < TO_B; i++)
		CHECK_EQ(send_one(a, 0, buf, len), 1);
	CHECK_EQ(receive_all(b, 0) + receive_all(b, 1), TO_B);
	/* The address moves: with c's filters open, c gets what was b's. */
	CHECK_EQ(send_one(c, 0, out, frame_make(out, 9, 2, 60, 0)), 1);
	CHECK_EQ(send_one(a, 0, buf, len), 1);
	CHECK_EQ(receive_all(b, 0) + receive_all(b, 1), 0);
	CHECK_EQ(pair_drop(c, UVB_PD_MAC_FILTER), filtered + 1);
	/* Back again, and b's configuration changes under the run. */
	CHECK_EQ(send_one(b, 0, out, frame_make(out, 9, 2, 60, 0)), 1);
	for (int i = 0; i < TO_B; i++)
		CHECK_EQ(send_one(a, 0, buf, len), 1);
	CHECK_EQ(receive_all(b, 0) + receive_all(b, 1), TO_B);
	set_mac(b, 7, UVB_CONF_STARTED);
	CHECK_EQ(send_one(a, 0, buf, len), 1);
	CHECK_EQ(receive_all(b, 0) + receive_all(b, 1), 0);
	set_mac(b, 2, UVB_CONF_STARTED);
	for (int i = 0; i < TO_B; i++)
		CHECK_EQ(send_one(a, 0, buf, len), 1);
	CHECK_EQ(receive_all(b, 0) + receive_all(b, 1), TO_B);
	/* The sender's own address turns up elsewhere: its next frame takes it back. */
	CHECK_EQ(send_one(c, 0, out, frame_make(out, 9, 1, 60, 0)), 1);
	CHECK_EQ(send_one(a, 0, buf, len), 1);
	CHECK_EQ(send_one(b, 0, out, frame_make(out, 1, 2, 60, 0)), 1);
	CHECK_EQ(receive_all(a, 0), 1);
	/* And the port goes. */
	receive_all(b, 0);
	uvb_close(b);
	CHECK_EQ(send_one(a, 0, buf, len), 1);
	b = port_up("b", 2, 1, 0);
	CHECK_EQ(receive_all(b, 0) + receive_all(b, 1), 0);
	close_all();
}

static void
test_flood_and_filters(void)
{
	static const uint8_t group[6] = {1, 0, 0x5e, 0, 0, 9};
	struct uvb_conf conf;

	three_ports();
	frame_make(buf, 0, 1, 100, 0);
	memset(buf, 0xff, 6);
	CHECK_EQ(send_one(a, 0, buf, 100), 1);
	CHECK_EQ(receive_all(b, 0), 1);
	CHECK_EQ(receive_all(c, 0), 1);
	CHECK_EQ(receive_all(a, 0), 0);
	memcpy(buf, group, 6);
	CHECK_EQ(send_one(a, 0, buf, 100), 1);
	CHECK_EQ(receive_all(b, 0) + receive_all(c, 0), 0);
	set_mac(b, 2, UVB_CONF_STARTED | UVB_CONF_ALLMULTI);
	uvb_conf_default(c, &conf);
	conf.flags = UVB_CONF_STARTED;
	conf.nb_mc = 2;
	memcpy(conf.mc[0], (const uint8_t[]){1, 0, 0x5e, 0, 0, 8}, 6);
	memcpy(conf.mc[1], group, 6);
	CHECK_EQ(uvb_conf_set(c, &conf, NULL), 0);
	CHECK_EQ(send_one(a, 0, buf, 100), 1);
	CHECK_EQ(receive_all(b, 0), 1);
	CHECK_EQ(receive_all(c, 0), 1);
	set_mac(b, 2, 0); /* stopped */
	CHECK_EQ(send_one(a, 0, buf, 100), 1);
	CHECK_EQ(pair_drop(b, UVB_PD_STOPPED), 1);
	CHECK_EQ(receive_all(c, 0), 1);
	close_all();
}

static void
test_sizes(void)
{
	static const uint32_t lens[] = {
		14, 60, 1514, UVB_CELL_ROOM, UVB_CELL_ROOM + 1, 2 * UVB_CELL_ROOM, 9234};
	struct uvb_txq_stats before, st;
	struct uvb_rx_frame f[4];
	uint64_t oversize;

	three_ports();
	uvb_txq_stats(a, 0, &before);
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		frame_make(buf, 2, 1, lens[i], (uint32_t)i);
		CHECK_EQ(send_one(a, 0, buf, lens[i]), 1);
		CHECK_EQ(uvb_rx_count(uvb_rxq(b, 0)), 1);
		CHECK_EQ(uvb_rx_peek(uvb_rxq(b, 0), f, 4), 1);
		CHECK_EQ(f[0].len, lens[i]);
		CHECK_EQ(uvb_rx_read(uvb_rxq(b, 0), &f[0], 0, out, sizeof(out)), lens[i]);
		CHECK(memcmp(buf, out, lens[i]) == 0);
		for (uint32_t off = 0; off < lens[i]; off += 997) {
			uint32_t n = uvb_rx_read(uvb_rxq(b, 0), &f[0], off, out, 2000);

			CHECK_EQ(n, lens[i] - off < 2000 ? lens[i] - off : 2000);
			CHECK(memcmp(buf + off, out, n) == 0);
		}
		CHECK_EQ(uvb_rx_read(uvb_rxq(b, 0), &f[0], lens[i], out, 10), 0);
		uvb_rx_done(uvb_rxq(b, 0), 0);
	}
	oversize = pair_drop(b, UVB_PD_OVERSIZE);
	CHECK_EQ(send_one(a, 0, buf, frame_make(buf, 2, 1, 9235, 0)), 1);
	CHECK_EQ(pair_drop(b, UVB_PD_OVERSIZE), oversize + 1);
	CHECK_EQ(send_one(a, 0, buf, 13), 1);
	CHECK_EQ(send_one(a, 0, buf, UVB_FRAME_MAX + 1), 1);
	memset(buf + 6, 0, 6);
	CHECK_EQ(send_one(a, 0, buf, 60), 1);
	uvb_txq_stats(a, 0, &st);
	CHECK_EQ(st.drops[UVB_TXD_RUNT] - before.drops[UVB_TXD_RUNT], 1);
	CHECK_EQ(st.drops[UVB_TXD_OVERSIZE] - before.drops[UVB_TXD_OVERSIZE], 1);
	CHECK_EQ(st.drops[UVB_TXD_BAD_SRC] - before.drops[UVB_TXD_BAD_SRC], 1);
	CHECK_EQ(receive_all(b, 0), 0);
	close_all();
}

/* Segments of every size, and headers cut anywhere. */
static void
test_segments(void)
{
	three_ports();
	for (int round = 0; round < 300; round++) {
		uint32_t len = 60 + (uint32_t)(rnd() % 5000), at = 0;
		struct uvb_seg seg[200];
		struct uvb_frame f = {seg, 0, 0, len};
		struct uvb_rx_frame rf;

		frame_make(buf, 2, 1, len, (uint32_t)round);
		while (at < len) {
			uint32_t n = f.nb_seg < 190 ? (uint32_t)(rnd() % 60) : len - at;

			if (n > len - at)
				n = len - at;
			seg[f.nb_seg++] = (struct uvb_seg){buf + at, n};
			at += n;
		}
		CHECK_EQ(uvb_tx_burst(uvb_txq(a, 0), &f, 1), 1);
		CHECK_EQ(uvb_rx_peek(uvb_rxq(b, 0), &rf, 1), 1);
		CHECK_EQ(uvb_rx_read(uvb_rxq(b, 0), &rf, 0, out, sizeof(out)), len);
		CHECK(memcmp(buf, out, len) == 0);
		uvb_rx_done(uvb_rxq(b, 0), 0);
	}
	close_all();
}

/* More than a ring of frames, many times around; then one that nobody takes out of. */
static void
test_wrap_and_full(void)
{
	uint32_t depth, sent = 0, got;
	struct uvb_rxq_stats st;

	three_ports();
	depth = uvb_hdr(a)->voq_depth;
	for (uint32_t i = 0; i < 20 * depth; i++) {
		CHECK_EQ(send_one(a, 0, buf, frame_make(buf, 2, 1, 64, i)), 1);
		if (i % 17 == 0) {
			got = receive_all(b, 0);
			CHECK(got > 0 && got <= 17);
		}
	}
	receive_all(b, 0);
	for (uint32_t i = 0; i < 2 * depth; i++)
		sent += send_one(a, 0, buf, frame_make(buf, 2, 1, 64, i));
	CHECK_EQ(sent, 2 * depth);
	uvb_rxq_stats(b, 0, &st);
	CHECK_EQ(st.full, depth);
	CHECK_EQ(uvb_rx_count(uvb_rxq(b, 0)), depth);
	/* b stands still; others do not notice. */
	CHECK_EQ(send_one(a, 0, buf, frame_make(buf, 3, 1, 64, 0)), 1);
	CHECK_EQ(receive_all(c, 0), 1);
	uvb_rx_flush(uvb_rxq(b, 0));
	CHECK_EQ(uvb_rx_count(uvb_rxq(b, 0)), 0);
	uvb_rxq_stats(b, 0, &st);
	CHECK(st.nombuf >= depth);
	close_all();
}

/* A patient queue drops nothing as long as the receiver goes on, and then by name. */
static void
test_patience(void)
{
	struct uvb_rxq_stats before, after;
	uint32_t depth, sent = 0;
	uint64_t start;

	three_ports();
	depth = uvb_hdr(a)->voq_depth;
	send_one(b, 0, buf, frame_make(buf, 1, 2, 60, 0)); /* where it is */
	frame_make(buf, 2, 1, 60, 0);
	uvb_tx_patience(uvb_txq(a, 0), 20000);
	uvb_rxq_stats(b, 0, &before);
	while (send_one(a, 0, buf, 60) == 1)
		CHECK(++sent <= depth);
	CHECK_EQ(sent, depth);
	for (uint32_t i = 0; i < 3 * depth; i++) { /* one in, one out */
		struct uvb_rx_frame f;

		CHECK_EQ(uvb_rx_peek(uvb_rxq(b, 0), &f, 1), 1);
		uvb_rx_done(uvb_rxq(b, 0), 0);
		CHECK_EQ(send_one(a, 0, buf, 60), 1);
		CHECK_EQ(send_one(a, 0, buf, 60), 0);
	}
	uvb_rxq_stats(b, 0, &after);
	CHECK_EQ(after.full, before.full);
	start = uvb_now_ns();
	while (send_one(a, 0, buf, 60) == 0)
		CHECK(uvb_now_ns() - start < 2000000000ULL);
	CHECK(uvb_now_ns() - start >= 15000000);
	CHECK_EQ(send_one(a, 0, buf, 60), 1); /* and from now on at once */
	uvb_rxq_stats(b, 0, &after);
	CHECK_EQ(after.full, before.full + 2);
	CHECK_EQ(receive_all(b, 0), depth);
	uvb_tx_patience(uvb_txq(a, 0), 0);
	close_all();
}

/* No receiver can take all cells; many that stand still nearly can, and then the burst is cut. */
static void
test_no_cells(void)
{
	struct uvb_dev *many[6];
	struct uvb_txq_stats st;
	char name[8];
	uint32_t held = 0;

	a = port_up("a", 1, 1, 0);
	for (int i = 0; i < 6; i++) {
		snprintf(name, sizeof(name), "m%d", i);
		many[i] = port_up(name, 1, 1, 0);
		set_mac(many[i], (uint8_t)(10 + i), UVB_CONF_STARTED);
		send_one(many[i], 0, buf, frame_make(buf, 1, (uint8_t)(10 + i), 60, 0));
	}
	for (int k = 0; k < 200; k++)
		for (int i = 0; i < 6; i++)
			send_one(a, 0, buf, frame_make(buf, (uint8_t)(10 + i), 1, 60, 0));
	for (int i = 0; i < 6; i++)
		held += uvb_rx_count(uvb_rxq(many[i], 0));
	CHECK_EQ(held, uvb_hdr(a)->cells_per_txq - uvb_tx_free(uvb_txq(a, 0)));
	CHECK(uvb_tx_free(uvb_txq(a, 0)) > 0);
	/* A frame of more cells than are left is not taken. */
	frame_make(buf, 10, 1, 9000, 0);
	receive_all(many[0], 0);
	while (send_one(a, 0, buf, 9000) == 1 && uvb_tx_free(uvb_txq(a, 0)) > 4)
		;
	CHECK_EQ(send_one(a, 0, buf, 9000), 0);
	uvb_txq_stats(a, 0, &st);
	CHECK(st.no_cell > 0);
	for (int i = 0; i < 6; i++)
		uvb_close(many[i]);
	CHECK_EQ(uvb_tx_free(uvb_txq(a, 0)), uvb_hdr(a)->cells_per_txq);
	uvb_close(a);
}

static void
test_attach_errors(void)
{
	struct uvb_attach req = {
		.fabric = FABRIC, .name = "a", .nb_rxq = 1, .nb_txq = 1, .kind = UVB_KIND_WIRE};
	char err[UVB_ERR_LEN] = "";
	struct uvb_dev *dev;
	uint16_t id;

	three_ports();
	id = uvb_id(b);
	CHECK_EQ(uvb_open(&req, &dev, err), -EEXIST);
	CHECK(strstr(err, "\"a\"") != NULL);
	req.name = "x/y";
	CHECK_EQ(uvb_open(&req, &dev, err), -EINVAL);
	req.name = "d";
	req.nb_rxq = 17;
	CHECK_EQ(uvb_open(&req, &dev, err), -EINVAL);
	req.nb_rxq = 1;
	req.fabric = "absent";
	CHECK_EQ(uvb_open(&req, &dev, err), -ENOENT);
	close_all();
	/* The slot and its identity come back with the name. */
	req = (struct uvb_attach){.fabric = FABRIC, .name = "b", .kind = UVB_KIND_WIRE};
	CHECK_EQ(uvb_open(&req, &dev, err), 0);
	CHECK_EQ(uvb_id(dev), id);
	CHECK_EQ(uvb_nb_rxq(dev), uvb_hdr(dev)->nb_queues);
	CHECK(uvb_link(dev));
	uvb_close(dev);
}

static void
test_bell(void)
{
	struct uvb_rxq *q;
	struct pollfd pfd = {.events = POLLIN};

	three_ports();
	q = uvb_rxq(b, 0);
	pfd.fd = uvb_rxq_fd(q);
	CHECK(uvb_rx_arm(q, false));
	CHECK_EQ(poll(&pfd, 1, 0), 0);
	for (int i = 0; i < 5; i++)
		send_one(a, 0, buf, frame_make(buf, 2, 1, 60, 0));
	CHECK_EQ(poll(&pfd, 1, 0), 1);
	uvb_rx_disarm(q);
	CHECK_EQ(poll(&pfd, 1, 0), 0);
	CHECK(!uvb_rx_arm(q, false)); /* there is work */
	CHECK_EQ(poll(&pfd, 1, 0), 0);
	CHECK(!uvb_rx_arm(q, true));
	CHECK_EQ(poll(&pfd, 1, 0), 1);
	uvb_rx_disarm(q);
	CHECK_EQ(receive_all(b, 0), 5);
	CHECK(uvb_rx_arm(q, true));
	CHECK_EQ(poll(&pfd, 1, 0), 0);
	uvb_rx_disarm(q);
	CHECK_EQ(poll(&pfd, 1, 0), 0);
	close_all();
}

int
main(void)
{
	static const char *const args[] = {"--ports", "8",     "--queues", "2", "--cells",
					   "256",     "--voq", "64",       NULL};
	struct fabric f;

	seed_init();
	fabric_up(&f, args);
	RUN(test_learning);
	RUN(test_every_burst_sees_changes);
	RUN(test_flood_and_filters);
	RUN(test_sizes);
	RUN(test_segments);
	RUN(test_wrap_and_full);
	RUN(test_patience);
	RUN(test_no_cells);
	RUN(test_attach_errors);
	RUN(test_bell);
	fabric_down(&f);
	return 0;
}
