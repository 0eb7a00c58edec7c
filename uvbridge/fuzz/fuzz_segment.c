/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Fuzzing the segment: what a port, and the daemon, make of words that somebody else scribbles
 * over while they work. Whatever they read, they touch nothing but the segment and their own
 * memory, and come to an end.
 *
 * Input: steps. A byte: a place to write to (an area of the segment, an offset in it, a length, the
 * bytes), or something for the port or the daemon to do. Its own life word is put back: a port that
 * is told it is none does nothing.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "uvbridge/fuzz/fuzz.h"
#include "uvbridge/lab.h"

static struct lab lab;
static uint8_t frame[20000], out[UVB_FRAME_MAX];
static struct uvb_dev *me, *evil;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const struct uvb_hdr shape = {.nb_ports = 4,
					     .nb_queues = 2,
					     .cells_per_txq = 64,
					     .voq_depth = 32,
					     .fdb_buckets = UVB_FDB_MIN};

	(void)argc;
	(void)argv;
	lab_up(&lab, &shape);
	lab_save(&lab);
	memcpy(frame, "\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x08\0\x45\0", 16);
	return 0;
}

static struct uvb_dev *
attach(const char *name)
{
	struct uvb_dev *dev = lab_attach(&lab, name, 2, 2, UVB_KIND_WIRE);
	struct uvb_conf conf;

	uvb_conf_default(dev, &conf);
	conf.flags = UVB_CONF_STARTED | UVB_CONF_PROMISC;
	conf.mtu = 9000;
	uvb_conf_set(dev, &conf, NULL);
	return dev;
}

/* ------------------------------------------------------------------------------------- scribbling
 */

/* The header is read once, at attach (that is fuzz_view's); these are read all the time. */
static void *
place(uint8_t area, uint16_t at, size_t *room)
{
	const struct uvb_map *m = &lab.daemon.map;
	uint8_t *p;

	switch (area % 9) {
	case 0: /* a ring towards me */
		p = (uint8_t *)uvb_map_voq(m, uvb_id(me), at >> 15, uvb_id(evil), 0);
		*room = m->voq_stride;
		break;
	case 1: /* its cells */
		p = (uint8_t *)uvb_map_cells(m, uvb_id(evil), 0).cell;
		*room = 8 * sizeof(struct uvb_cell);
		break;
	case 2: /* how it wants to be sent to */
		p = (uint8_t *)&evil->shm->conf_seq;
		*room = 2 * sizeof(struct uvb_conf) + 8;
		break;
	case 3: /* all of its port */
		p = (uint8_t *)evil->shm;
		*room = sizeof(*evil->shm);
		break;
	case 4: /* my pending bits, anybody's to set */
		p = (uint8_t *)uvb_map_rxq(m, uvb_id(me), 0);
		*room = sizeof(struct uvb_rxq_shm);
		break;
	case 5: /* its ring from me: the tail is its own */
		p = (uint8_t *)uvb_map_voq(m, uvb_id(evil), 0, uvb_id(me), 0);
		*room = m->voq_stride;
		break;
	case 6:
		p = (uint8_t *)uvb_map_fdb(m);
		*room = m->fdb_buckets * sizeof(struct uvb_fdb_bucket);
		break;
	case 7: /* what it says about its cells */
		p = (uint8_t *)uvb_map_cells(m, uvb_id(evil), 0).desc;
		*room = 64 * sizeof(struct uvb_desc);
		break;
	default: /* the words of the header that change */
		p = (uint8_t *)&uvb_map_hdr(m)->daemon_pid;
		*room = sizeof(struct uvb_hdr) - offsetof(struct uvb_hdr, daemon_pid);
	}
	return p + at % *room;
}

static void
scribble(struct input *in)
{
	uint8_t area = input_u8(in), n = 1 + input_u8(in) % 16, bytes[16];
	uint16_t at = input_u16(in);
	size_t room;
	uint8_t *p = place(area, at, &room);

	input_bytes(in, bytes, n);
	if (at % room + n <= room)
		memcpy(p, bytes, n);
	atomic_store(&me->shm->life, me->life);
}

/* A reference in its ring to me, with the head beyond it. */
static void
publish(struct input *in)
{
	struct uvb_voq_shm *v = uvb_map_voq(&lab.daemon.map, uvb_id(me), 0, uvb_id(evil), 0);
	uint32_t head = atomic_load(&v->head), ref;

	input_bytes(in, &ref, sizeof(ref));
	atomic_store(&v->slot[head % lab.daemon.map.voq_depth], ref);
	atomic_store(&v->head, head + 1);
	uvb_pending_set(uvb_map_rxq(&lab.daemon.map, uvb_id(me), 0),
			uvb_map_queue_index(&lab.daemon.map, uvb_id(evil), 0));
}

/* An owner word that is right: nothing random comes past the check. */
static void
own_cell(struct input *in)
{
	uint8_t cell = input_u8(in), pos = input_u8(in);

	atomic_store(&uvb_map_cells(&lab.daemon.map, uvb_id(evil), 0).desc[cell % 64].owner,
		     UVB_OWNER(me->gen - (cell >> 7), uvb_id(me), 0, pos % 32));
}

/* ----------------------------------------------------------------------------------------- working
 */

static void
receive(uint16_t burst)
{
	struct uvb_rx_frame f[64];
	uint16_t n = uvb_rx_peek(uvb_rxq(me, 0), f, burst % 64 + 1);

	for (uint16_t i = 0; i < n; i++) {
		if (f[i].nb_cells == 1)
			read_all(f[i].data, f[i].len);
		if (uvb_rx_read(uvb_rxq(me, 0), &f[i], 0, out, sizeof(out)) > f[i].len)
			abort();
	}
	if (n != 0)
		uvb_rx_done(uvb_rxq(me, 0), burst >> 8);
}

static void
transmit(struct uvb_dev *dev, uint16_t what)
{
	struct uvb_seg seg = {frame, 14 + what % 9000};
	struct uvb_frame f[3];

	frame[0] = what & 0x8000 ? 0xff : 2;
	frame[5] = (uint8_t)(what >> 13);
	for (int i = 0; i < 3; i++)
		f[i] = (struct uvb_frame){&seg, 1, 0, seg.len};
	uvb_tx_burst(uvb_txq(dev, 0), f, 3);
}

static void
arm(void)
{
	if (uvb_rx_arm(uvb_rxq(me, 0), false))
		uvb_rx_disarm(uvb_rxq(me, 0));
}

static void
read_counters(void)
{
	struct uvb_rxq_stats rx;
	struct uvb_txq_stats tx;

	uvb_rxq_stats(me, 0, &rx);
	uvb_txq_stats(me, 0, &tx);
	(void)uvb_rx_count(uvb_rxq(me, 0));
	(void)uvb_tx_free(uvb_txq(me, 0));
}

static void
take_step(struct input *in)
{
	uint8_t step = input_u8(in);

	switch (step & 15) {
	case 0:
		receive(input_u16(in));
		break;
	case 1:
		transmit(me, input_u16(in));
		break;
	case 2:
		arm();
		break;
	case 3:
		uvb_rx_flush(uvb_rxq(me, 0));
		break;
	case 4:
		read_counters();
		break;
	case 5:
		uvb_drain_port(&lab.daemon.map, uvb_id(evil), 0);
		break;
	case 6:
		uvb_finish_sender(&lab.daemon.map, lab.daemon.dirfd, uvb_id(evil));
		break;
	case 7:
		ports_tick(&lab.daemon);
		break;
	case 8:
		lab_adopt(&lab);
		atomic_store(&me->shm->life, me->life);
		break;
	case 9:
		own_cell(in);
		break;
	case 10:
		publish(in);
		break;
	case 11:
		transmit(evil, input_u16(in));
		break;
	default:
		scribble(in);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};

	lab_restore(&lab);
	me = attach("me");
	evil = attach("evil");
	transmit(evil, 0x8000 + 100);
	while (in.left != 0)
		take_step(&in);
	uvb_forget(me);
	uvb_forget(evil);
	lab_restore(&lab);
	lab_adopt(&lab);
	return 0;
}
