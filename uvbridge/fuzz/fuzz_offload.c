/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Fuzzing what a tap port makes of frames: cutting what the kernel leaves to it, joining what the
 * kernel is given.
 *
 * Input: a virtio header, the MTU, the frame; its end is the second frame for joining.
 */
#include <stdlib.h>

#include "uvbridge/fuzz/fuzz.h"
#include "uvbridge/ports/merge.h"
#include "uvbridge/ports/offload.h"

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

/* Every byte of the frame is in exactly one segment. */
static void
cut(const struct uvp_job *job, const uint8_t *frame, uint32_t frame_max)
{
	uint8_t header[UVP_HEADER_MAX];
	uint32_t next = job->header_len, off, len;

	for (uint32_t i = 0; i < job->nb_segs; i++) {
		uvp_offload_segment(job, frame, i, header, &off, &len);
		if (off != next || len == 0 || off + len > job->len ||
		    job->header_len + len > frame_max + 8)
			abort();
		read_all(header, job->header_len);
		read_all(frame + off, len);
		next = off + len;
	}
	if (next != job->len)
		abort();
}

static void
join(const uint8_t *frame, uint32_t len)
{
	struct uvp_merge m;
	struct virtio_net_hdr vnet;
	uint32_t half = len / 2;
	uint8_t *first = malloc(half + 1), *second = malloc(len - half + 1);

	memcpy(first, frame, half);
	memcpy(second, frame + half, len - half);
	if (uvp_merge_begin(&m, first, half)) {
		uvp_merge_add(&m, second, len - half);
		uvp_merge_add(&m, first, half);
		uvp_merge_end(&m, &vnet);
		read_all(m.header, m.header_len);
	}
	free(first);
	free(second);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct virtio_net_hdr vnet;
	struct uvp_job job;
	uint32_t frame_max, len;
	uint8_t *frame;

	input_bytes(&in, &vnet, sizeof(vnet));
	frame_max = UVP_ETH_LEN + input_u16(&in);
	len = (uint32_t)in.left;
	frame = malloc(len + 1); /* of its own, so that a step too far is seen */
	input_bytes(&in, frame, len);
	join(frame, len);
	frame = realloc(frame, len != 0 ? len : 1);
	if (uvp_offload_check(&vnet, frame, len, frame_max, &job) == UVP_OK) {
		if (job.nb_segs != 0)
			cut(&job, frame, frame_max);
		else
			uvp_offload_finish(&job, frame);
	}
	free(frame);
	return 0;
}
