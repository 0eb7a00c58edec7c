/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Fuzzing the socket port: datagrams of any length and number, and clients of a SEQPACKET socket
 * that come, speak and go, while frames are delivered to them.
 *
 * Input: a byte, its lowest bit: SEQPACKET; then steps. 0: speak (a length, taken from the
 * pattern); 1: read; 2: go and come; 3: the port takes; 4: the port delivers.
 */
/* Its state is for one run of a process; here it is begun anew for each input. */
#include "uvbridge/ports/socket.c"

#include "uvbridge/fuzz/fuzz.h"

static struct uvp_port port = {.kind_name = "socket", .name = "fuzz", .ready_fd = -1};
static struct uvp_pump pump;
static uint8_t pattern[ROOM + 100];
static struct sockaddr_un ours = {.sun_family = AF_UNIX}, theirs = {.sun_family = AF_UNIX};
static int other; /* the other side */

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	sock_init(&port);
	pump.port = &port;
	pump.batch = calloc(1, sizeof(*pump.batch));
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)i;
	/* Abstract names: nothing to remove. */
	snprintf(ours.sun_path + 1, sizeof(ours.sun_path) - 1, "uvbfuzz-%d", getpid());
	snprintf(theirs.sun_path + 1, sizeof(theirs.sun_path) - 1, "uvbfuzz-%d.peer", getpid());
	return 0;
}

static int
make_socket(const struct sockaddr_un *name)
{
	int fd = socket(
		AF_UNIX,
		(self.seqpacket ? SOCK_SEQPACKET : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || (name != NULL && bind(fd, (const struct sockaddr *)name, sizeof(*name)) != 0))
		abort();
	return fd;
}

static void
come(void)
{
	other = make_socket(self.seqpacket ? NULL : &theirs);
	/* Refused while the last client is still served: it speaks to nobody, then. */
	(void)!connect(other, (struct sockaddr *)&ours, sizeof(ours));
}

static void
take(void)
{
	pump.batch->n = 0;
	sock_fill(&pump);
	for (uint32_t i = 0; i < pump.batch->n; i++) {
		const struct uvb_frame *f = &pump.batch->frame[i];

		if (f->len == 0 || f->len > UVB_FRAME_MAX ||
		    memcmp(f->seg->base, pattern, f->len) != 0)
			abort();
	}
}

static void
deliver(uint16_t n)
{
	struct uvb_rx_frame f[UVP_BURST];

	n = n % UVP_BURST + 1;
	for (uint16_t i = 0; i < n; i++)
		f[i] = (struct uvb_rx_frame){.data = pattern, .len = 60 + i, .nb_cells = 1};
	if (sock_deliver(&pump, f, n) > n)
		abort();
}

static void
take_step(struct input *in)
{
	uint8_t step = input_u8(in);
	uint32_t len;

	switch (step % 5) {
	case 0:
		len = input_u16(in) + (step > 250 ? 100u : 0u);
		(void)!send(other, pattern, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case 1:
		while (recv(other, io.bounce[0], sizeof(io.bounce[0]), MSG_DONTWAIT) > 0)
			;
		break;
	case 2:
		close(other);
		come();
		break;
	case 3:
		take();
		break;
	default:
		deliver(input_u8(in));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	int fd;

	self = (struct sock){.listener = -1, .seqpacket = input_u8(&in) & 1};
	fd = make_socket(&ours);
	if (self.seqpacket && listen(fd, 1) != 0)
		abort();
	self.listener = self.seqpacket ? fd : -1;
	pump.fd = fd;
	pump.out_fd = self.seqpacket ? -1 : make_socket(NULL);
	come();
	while (in.left != 0)
		take_step(&in);
	close(other);
	if (pump.out_fd >= 0 && pump.out_fd != pump.fd)
		close(pump.out_fd);
	if (pump.fd != fd)
		close(pump.fd);
	close(fd);
	return 0;
}
