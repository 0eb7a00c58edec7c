/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Fuzzing the replay port: the input is the capture file. Everything it puts into a batch is memory
 * that is there, of lengths that a frame can have; and a file comes to an end.
 */
#include <sys/eventfd.h>
#include <sys/mman.h>

/* Its state is for one run of a process; here it is begun anew for each input. */
#include "uvbridge/ports/replay.c"

#include "uvbridge/fuzz/fuzz.h"

static struct uvp_port port = {.kind_name = "replay", .name = "fuzz", .ready_fd = -1};
static struct uvp_pump pump;
static char path[32];
static int file;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	replay_init(&port);
	port.done_fd = eventfd(0, EFD_NONBLOCK);
	pump.port = &port;
	pump.batch = calloc(1, sizeof(*pump.batch));
	file = memfd_create("capture", 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	return 0;
}

/* The fabric takes it all. */
static void
take_batch(void)
{
	for (uint32_t i = 0; i < pump.batch->n; i++) {
		const struct uvb_frame *f = &pump.batch->frame[i];

		if (f->len > UVB_FRAME_MAX || f->seg->len != f->len)
			abort();
		read_all(f->seg->base, f->len);
	}
	pump.batch->n = 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	self = (struct replay){
		.path = path, .speed = 1e8, .loops = 2, .fast = size & 1, .pad = size & 2};
	port.status = UVP_EXIT_OK;
	if (ftruncate(file, 0) != 0 || pwrite(file, data, size, 0) != (ssize_t)size)
		abort();
	if (open_file(&port) == 0)
		for (uint32_t round = 0; round < size + 8 && pump.fill_at != UINT64_MAX; round++) {
			replay_fill(&pump);
			take_batch();
			if (pump.fill_at != UINT64_MAX && pump.fill_at != 0)
				self.fast = true; /* not now: what is left goes at once */
		}
	pump.fill_at = 0;
	if (self.file != NULL)
		pcap_close(self.file);
	return 0;
}
