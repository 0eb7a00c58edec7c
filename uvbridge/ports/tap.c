/* SPDX-License-Identifier: BSD-3-Clause
 *
 * `uvbridge port tap`: an interface of the kernel as a port.
 *
 * The kernel takes it for a network card with checksum offload and TSO. What that card would do in
 * hardware is done here: super-frames are cut into segments and checksums finished before a frame
 * enters the fabric, where everything is as on a wire; segments that wait together are joined
 * before the kernel gets them.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "uvbridge/ports/merge.h"
#include "uvbridge/ports/tapdev.h"

#define VNET_LEN   sizeof(struct virtio_net_hdr)
#define FRAME_ROOM (VNET_LEN + 65536 + 64) /* the longest super-frame, its tags, its header */
#define ARENA      (4 * FRAME_ROOM)
/* The kernel can wait: frames that a receiver has no room for stay with it, and TCP slows down
 * without losing any. Longer than a receiver is off the processor, usually. */
#define PATIENCE_US 100000

/* Counters of a tap port: those of the offloads, and what the kernel does not want. */
enum { TAP_IF_DOWN = UVP_REFUSALS, TAP_REFUSED, TAP_COUNTERS };
_Static_assert(TAP_COUNTERS <= UVP_UNSENT, "every counter has its place");

/* One queue of the interface. */
struct tap_queue {
	uint32_t used; /* bytes of the arena that frames in the batch stand in */
	/* The super-frame that is being cut, if the batch was full before its end. */
	const uint8_t *super;
	uint32_t next_seg;
	struct uvp_job job;
	uint8_t arena[ARENA];
	uint8_t bounce[UVB_FRAME_MAX]; /* a frame of several cells, in one piece */
};

static struct uvp_tapdev device;

/* -------------------------------------------------------------------------------- kernel to fabric
 */

static void
cut(struct uvp_pump *p, struct tap_queue *q)
{
	struct uvp_batch *b = p->batch;
	uint32_t off, len;

	for (; q->next_seg < q->job.nb_segs && uvp_batch_room(b); q->next_seg++) {
		uvp_offload_segment(&q->job, q->super, q->next_seg, b->header[b->n], &off, &len);
		uvp_batch_add_split(b, q->job.header_len, q->super + off, len, UVB_CELL_CSUM_OK);
	}
	if (q->next_seg == q->job.nb_segs)
		q->super = NULL;
}

static void
take_frame(struct uvp_pump *p, struct tap_queue *q, uint8_t *buf, uint32_t n)
{
	uint32_t frame_max = atomic_load_explicit(&p->port->frame_max, memory_order_relaxed);
	uint8_t *frame = buf + VNET_LEN;
	struct virtio_net_hdr vnet;
	enum uvp_refusal why;

	memcpy(&vnet, buf, VNET_LEN);
	why = n < VNET_LEN
		      ? UVP_VNET_SHORT
		      : uvp_offload_check(&vnet, frame, n - (uint32_t)VNET_LEN, frame_max, &q->job);
	if (why != UVP_OK) {
		uvp_count(p, why);
		return;
	}
	q->used += (n + 63) & ~63u;
	if (q->job.nb_segs != 0) {
		q->super = frame;
		q->next_seg = 0;
		cut(p, q);
		return;
	}
	uvp_offload_finish(&q->job, frame);
	uvp_batch_add(p->batch, frame, q->job.len, q->job.csum_good ? UVB_CELL_CSUM_OK : 0);
}

/* The kernel has taken its queue away. */
static void
interface_gone(struct uvp_pump *p)
{
	p->fd = -1;
	p->fill_at = UINT64_MAX;
	uvp_tapdev_gone(p->port);
}

static void
tap_fill(struct uvp_pump *p)
{
	struct tap_queue *q = p->self;

	if (q->super != NULL)
		cut(p, q);
	else
		q->used = 0;
	while (uvp_batch_room(p->batch) && q->used + FRAME_ROOM <= ARENA) {
		uint8_t *buf = q->arena + q->used;
		ssize_t n = read(p->fd, buf, FRAME_ROOM);

		if (n >= 0) {
			take_frame(p, q, buf, (uint32_t)n);
			continue;
		}
		if (errno == EBADFD)
			interface_gone(p);
		if (errno != EINTR)
			return;
	}
}

/* -------------------------------------------------------------------------------- fabric to kernel
 */

/* What one write to the interface is made of: frames that follow each other. */
struct parcel {
	struct virtio_net_hdr vnet;
	struct uvp_merge merge;
	struct iovec iov[2 + UVP_BURST];
	int nb_iov;
};

/* A frame as it is. The flag says what is known of it, though Linux does not listen (merge.h). */
static void
wrap_one(struct uvp_pump *p, struct parcel *w, const struct uvb_rx_frame *f)
{
	struct tap_queue *q = p->self;

	w->vnet = (struct virtio_net_hdr){
		.flags = f->flags & UVB_CELL_CSUM_OK ? VIRTIO_NET_HDR_F_DATA_VALID : 0};
	w->iov[1] = (struct iovec){(void *)f->data, f->len};
	if (f->len > UVB_CELL_ROOM) {
		w->iov[1].iov_base = q->bounce;
		w->iov[1].iov_len = uvb_rx_read(p->rxq, f, 0, q->bounce, sizeof(q->bounce));
	}
	w->nb_iov = 2;
}

/* A frame that others can be joined to, or whose checksum need not be looked at? */
static bool
mergeable(const struct uvb_rx_frame *f)
{
	return !device.no_offload && (f->flags & UVB_CELL_CSUM_OK) && f->len <= UVB_CELL_ROOM;
}

static void
add_payload(struct parcel *w, const struct uvb_rx_frame *f)
{
	uint32_t off = w->merge.header_len;

	w->iov[w->nb_iov++] = (struct iovec){(uint8_t *)f->data + off, f->len - off};
}

/* As many of n frames as make one; returns how many. */
static uint16_t
wrap(struct uvp_pump *p, struct parcel *w, const struct uvb_rx_frame *f, uint16_t n)
{
	uint16_t k = 1;

	w->iov[0] = (struct iovec){&w->vnet, VNET_LEN};
	if (!mergeable(&f[0]) || !uvp_merge_begin(&w->merge, f[0].data, f[0].len)) {
		wrap_one(p, w, &f[0]);
		return 1;
	}
	w->iov[1] = (struct iovec){w->merge.header, w->merge.header_len};
	w->nb_iov = 2;
	add_payload(w, &f[0]);
	for (; k < n && mergeable(&f[k]) && uvp_merge_add(&w->merge, f[k].data, f[k].len); k++)
		add_payload(w, &f[k]);
	uvp_merge_end(&w->merge, &w->vnet);
	return k;
}

/* False: the kernel takes no more now. */
static bool
give(struct uvp_pump *p, const struct parcel *w, uint16_t frames)
{
	int err = writev(p->fd, w->iov, w->nb_iov) >= 0 ? 0 : errno;

	if (err == EAGAIN)
		return false;
	if (err == EBADFD)
		interface_gone(p);
	for (uint16_t i = 0; err != 0 && i < frames; i++)
		uvp_count(p, err == EIO ? TAP_IF_DOWN : TAP_REFUSED);
	return true;
}

static uint16_t
tap_deliver(struct uvp_pump *p, const struct uvb_rx_frame *frame, uint16_t n)
{
	struct parcel w;
	uint16_t i, k;

	for (i = 0; i < n; i += k) {
		k = wrap(p, &w, frame + i, (uint16_t)(n - i));
		if (!give(p, &w, k))
			break;
	}
	return i;
}

static const struct uvp_ops tap_ops = {.fill = tap_fill, .deliver = tap_deliver};

/* ------------------------------------------------------------------------------------------ verb
 */

static const char *const tap_counters[UVP_COUNTERS] = {
	[UVP_VNET_SHORT] = "vnet_short",  [UVP_VNET_CSUM] = "vnet_csum",
	[UVP_GSO_TYPE] = "gso_type",      [UVP_GSO_HEADERS] = "gso_headers",
	[UVP_GSO_SIZE] = "gso_size",      [TAP_IF_DOWN] = "if_down",
	[TAP_REFUSED] = "kernel_refused",
};

enum {
	OPT_IFNAME = UVP_OPT_KIND,
	OPT_NETNS,
	OPT_QUEUES,
	OPT_ADDRESS,
	OPT_NO_OFFLOAD,
};

static const struct option tap_options[] = {
	{"ifname", required_argument, NULL, OPT_IFNAME},
	{"netns", required_argument, NULL, OPT_NETNS},
	{"queues", required_argument, NULL, OPT_QUEUES},
	{"address", required_argument, NULL, OPT_ADDRESS},
	{"no-offload", no_argument, NULL, OPT_NO_OFFLOAD},
	UVP_COMMON_OPTIONS,
};

static const char tap_usage[] =
	"tap FABRIC NAME [OPTION...]\n"
	"A network interface of this kernel as port NAME of the fabric; it goes when this process\n"
	"does. Its MTU, MAC address, promiscuous mode, up and down are the port's, also when they\n"
	"are changed later. Needs CAP_NET_ADMIN, with --netns CAP_SYS_ADMIN.\n\n"
	"  uvbridge port tap lab kernel --netns blue --address 192.0.2.1/24\n"
	"  ip netns exec blue ping 192.0.2.2\n\n"
	"  --ifname IF        name of the interface (default: NAME)\n"
	"  --netns NS         network namespace to make it in: a name of `ip netns`, the number of "
	"a\n"
	"                     process that is in it, or a path\n"
	"  --queues N         queues of the interface and of the port, a thread each (default: 1)\n"
	"  --address CIDR     address and prefix length, IPv4 or IPv6; may be repeated\n"
	"  --no-offload       the kernel finishes checksums and cuts segments itself\n";

static void
tap_init(struct uvp_port *port)
{
	port->kind = UVB_KIND_TAP;
	/* Which groups the kernel has joined is its own business: it filters them itself. */
	port->conf_flags = UVB_CONF_STARTED | UVB_CONF_ALLMULTI;
	port->counter_name = tap_counters;
	port->self = &device;
	for (uint16_t i = 0; i < UVB_MAX_QUEUES; i++)
		device.fd[i] = -1;
}

static bool
option_ifname(const char *arg, char err[UVB_ERR_LEN])
{
	size_t n = strlen(arg);

	if (n == 0 || n >= IFNAMSIZ || strpbrk(arg, "/: %\t") != NULL) {
		uvb_fail(err, 0, "--ifname %.40s: give 1 to %d letters, without / : %%", arg,
			 IFNAMSIZ - 1);
		return false;
	}
	memcpy(device.ifname, arg, n + 1);
	return true;
}

static bool
option_address(const char *arg, char err[UVB_ERR_LEN])
{
	if (device.nb_addresses == UVP_ADDRESSES || !uvp_tapdev_address_ok(arg)) {
		uvb_fail(err, 0, "--address %.60s: give up to %d, like 192.0.2.1/24", arg,
			 UVP_ADDRESSES);
		return false;
	}
	device.address[device.nb_addresses++] = arg;
	return true;
}

static bool
tap_option(struct uvp_port *port, int opt, const char *arg, char err[UVB_ERR_LEN])
{
	uint64_t n;

	switch (opt) {
	case OPT_IFNAME:
		return option_ifname(arg, err);
	case OPT_NETNS:
		device.netns = arg;
		return true;
	case OPT_ADDRESS:
		return option_address(arg, err);
	case OPT_QUEUES:
		if (!uvp_number(arg, 1, UVB_MAX_QUEUES, &n)) {
			uvb_fail(err, 0, "--queues %.40s: give 1 to %d", arg, UVB_MAX_QUEUES);
			return false;
		}
		port->nb_queues = (uint16_t)n;
		return true;
	default:
		device.no_offload = true;
		return true;
	}
}

static int
make_queues(struct uvp_port *port)
{
	for (uint16_t i = 0; i < port->nb_queues; i++) {
		struct uvp_pump *p = &port->pump[i];

		p->ops = &tap_ops;
		p->fd = device.fd[i];
		p->out_fd = p->fd;
		p->self = calloc(1, sizeof(struct tap_queue));
		if (p->self == NULL)
			return uvp_fail(port, "no memory for %u queues", port->nb_queues);
		uvb_tx_patience(p->txq, PATIENCE_US);
	}
	return 0;
}

static int
tap_run(struct uvp_port *port)
{
	int rc = uvp_attach(port);

	if (rc == 0)
		rc = uvp_tapdev_make(port, &device);
	if (rc == 0)
		rc = make_queues(port);
	if (rc == 0)
		rc = uvp_serve(port);
	/* The interface first: whoever sees the port gone finds the interface gone, too. */
	uvp_tapdev_close(port, &device);
	for (uint16_t i = 0; port->pump != NULL && i < port->nb_queues; i++)
		free(port->pump[i].self);
	uvp_detach(port);
	return rc;
}

const struct uvp_kind uvp_tap = {
	.name = "tap",
	.usage = tap_usage,
	.shorts = "h",
	.options = tap_options,
	.option = tap_option,
	.run = tap_run,
	.init = tap_init,
};
