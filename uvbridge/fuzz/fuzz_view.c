/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Fuzzing what looks at a fabric: a segment file with anything in it is refused with a sentence, or
 * shown as JSON and counted by the ledger.
 *
 * Input: patches of a good segment: an offset (of four bytes, taken modulo the file's size; the
 * highest bit: within the first page), a length, the bytes.
 */
#include <stdlib.h>
#include <unistd.h>

#include "uvbridge/fuzz/fuzz.h"
#include "uvbridge/lab.h"

static struct lab lab;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const struct uvb_hdr shape = {.nb_ports = 3,
					     .nb_queues = 1,
					     .cells_per_txq = 64,
					     .voq_depth = 32,
					     .fdb_buckets = UVB_FDB_MIN};
	struct uvb_seg seg = {"\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\x01\x88\xb5 a frame", 22};
	struct uvb_frame f = {&seg, 1, 0, 22};
	struct uvb_conf conf;
	struct uvb_dev *dev[2];

	(void)argc;
	(void)argv;
	lab_up(&lab, &shape);
	for (int i = 0; i < 2; i++) {
		dev[i] = lab_attach(&lab, i == 0 ? "a" : "b", 1, 1, UVB_KIND_WIRE);
		uvb_conf_default(dev[i], &conf);
		conf.flags = UVB_CONF_STARTED;
		uvb_conf_set(dev[i], &conf, NULL);
	}
	uvb_tx_burst(uvb_txq(dev[0], 0), &f, 1); /* it waits in a ring */
	for (int i = 0; i < 2; i++)
		uvb_forget(dev[i]);
	lab_save(&lab);
	return 0;
}

static void
patch(struct input *in)
{
	uint32_t at = input_u16(in) | (uint32_t)input_u16(in) << 16;
	uint64_t room = at >> 31 ? UVB_PAGE : lab.daemon.map.size;
	uint8_t n = input_u8(in) % 32;

	at = (uint32_t)((at & 0x7fffffff) % room);
	if (n > lab.daemon.map.size - at)
		n = (uint8_t)(lab.daemon.map.size - at);
	input_bytes(in, lab.daemon.map.base + at, n);
}

/* Nothing that a terminal or a parser would trip over. */
static void
check_text(const char *text)
{
	for (const char *p = text; *p != '\0'; p++)
		if ((*p < ' ' && *p != '\n') || *p > '~')
			abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct uvb_view *view;
	struct uvb_ledger l = {0};
	struct uvb_map map;
	char err[UVB_ERR_LEN] = "";
	char *json;

	lab_restore(&lab);
	while (in.left != 0)
		patch(&in);
	if (uvb_view_open(lab.dir, &view, err) != 0) {
		if (err[0] == '\0')
			abort();
		return 0;
	}
	json = uvb_view_json(view);
	if (json != NULL)
		check_text(json);
	free(json);
	uvb_view_close(view);
	if (uvb_map_open(&map, lab.daemon.dirfd, false, err) == 0) {
		uvb_ledger(&map, &l);
		uvb_map_close(&map);
	}
	return 0;
}
