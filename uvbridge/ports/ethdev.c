/* SPDX-License-Identifier: BSD-3-Clause
 *
 * `uvbridge port ethdev`: any port of DPDK as a port of a fabric. A program of its own, so that
 * nothing else of uvbridge needs DPDK.
 *
 * Each queue pair of the device is a queue pair of the port, and a pump. The device cannot say when
 * it has something: while frames come it is polled, and then less and less often, down to once a
 * millisecond; the other direction has its bell. Frames are copied once each way, between mbuf and
 * cell.
 */
#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "uvbridge/ports/netns.h"

#define DESCRIPTORS  1024
#define MBUFS        (3 * DESCRIPTORS) /* for each queue pair: both rings full, and a burst */
#define MBUF_CACHE   128
#define MTU_MAX      9216
#define NAP_MIN      20000ULL   /* ns between two looks at a device that has fallen silent, */
#define NAP_MAX      1000000ULL /* and when it stays so */
#define RETRY_NS     100000ULL  /* until a full transmit ring is looked at again */
#define LINK_LOOK_NS 100000000L

enum {
	ETH_SEGMENTS, /* received in pieces that do not fit one buffer */
	ETH_OVERSIZE, /* longer than the device's MTU */
};

static const char *const eth_counters[UVP_COUNTERS] = {
	[ETH_SEGMENTS] = "segments",
	[ETH_OVERSIZE] = "oversize",
};

/* One queue pair. */
struct eth_queue {
	uint64_t nap;                    /* the last one, or 0 */
	struct rte_mbuf *in[UVP_BATCH];  /* of the frames in the batch */
	struct rte_mbuf *out[UVP_BURST]; /* made, and not taken by the device yet: */
	uint16_t nb_in, nb_out;          /* they are of the first frames that are peeked */
};

static struct ethdev {
	const char *dev;   /* devargs */
	const char *netns; /* to open the device in */
	uint16_t id;
	bool started;
	uint32_t frame_max;
	struct rte_mempool *pool;
} self;

/* -------------------------------------------------------------------------------- device to fabric
 */

static void
free_in(struct eth_queue *q)
{
	rte_pktmbuf_free_bulk(q->in, q->nb_in);
	q->nb_in = 0;
}

static uint16_t
cell_flags(const struct rte_mbuf *m)
{
	uint64_t good = RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_IP_CKSUM_GOOD;
	uint64_t mask = RTE_MBUF_F_RX_L4_CKSUM_MASK | RTE_MBUF_F_RX_IP_CKSUM_MASK;

	return (m->ol_flags & mask) == good ? UVB_CELL_CSUM_OK : 0;
}

static void
nap(struct uvp_pump *p, struct eth_queue *q)
{
	q->nap = q->nap == 0 ? NAP_MIN : RTE_MIN(2 * q->nap, NAP_MAX);
	p->fill_at = uvb_now_ns() + q->nap;
}

static void
eth_fill(struct uvp_pump *p)
{
	struct eth_queue *q = p->self;
	uint16_t index = (uint16_t)(p - p->port->pump);

	free_in(q);
	q->nb_in = rte_eth_rx_burst(self.id, index, q->in, UVP_BATCH);
	if (q->nb_in == 0) {
		nap(p, q);
		return;
	}
	q->nap = 0;
	p->fill_at = 0;
	for (uint16_t i = 0; i < q->nb_in; i++) {
		struct rte_mbuf *m = q->in[i];

		if (m->nb_segs > 1 && rte_pktmbuf_linearize(m) != 0)
			uvp_count(p, ETH_SEGMENTS);
		else
			uvp_batch_add(p->batch, rte_pktmbuf_mtod(m, void *), m->pkt_len,
				      cell_flags(m));
	}
	if (p->batch->n == 0) /* nothing of it could be used */
		nap(p, q);
}

/* The device's buffers are its own again. */
static void
eth_idle(struct uvp_pump *p)
{
	if (p->batch->sent == p->batch->n)
		free_in(p->self);
}

/* -------------------------------------------------------------------------------- fabric to device
 */

/* NULL: every buffer is in the device's ring. */
static struct rte_mbuf *
to_mbuf(struct uvp_pump *p, const struct uvb_rx_frame *f)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(self.pool);

	if (m == NULL)
		return NULL;
	m->data_len = (uint16_t)uvb_rx_read(p->rxq, f, 0, rte_pktmbuf_mtod(m, void *),
					    rte_pktmbuf_tailroom(m));
	m->pkt_len = m->data_len;
	return m;
}

/* Frames from the first that has no buffer yet. A frame that is too long has none: returns how many
 * frames the buffers made stand for. */
static uint16_t
make_out(struct uvp_pump *p, struct eth_queue *q, const struct uvb_rx_frame *frame, uint16_t n)
{
	uint16_t i;

	for (i = q->nb_out; i < n && frame[i].len <= self.frame_max; i++) {
		struct rte_mbuf *m = to_mbuf(p, &frame[i]);

		if (m == NULL)
			break;
		q->out[q->nb_out++] = m;
	}
	return i;
}

static uint16_t
send_out(struct uvp_pump *p, struct eth_queue *q)
{
	uint16_t index = (uint16_t)(p - p->port->pump);
	uint16_t sent = rte_eth_tx_burst(self.id, index, q->out, q->nb_out);

	q->nb_out -= sent;
	memmove(q->out, q->out + sent, q->nb_out * sizeof(q->out[0]));
	return sent;
}

static uint16_t
eth_deliver(struct uvp_pump *p, const struct uvb_rx_frame *frame, uint16_t n)
{
	struct eth_queue *q = p->self;
	uint16_t done = 0, made, sent;

	while (done < n) {
		if (q->nb_out == 0 && frame[done].len > self.frame_max) {
			uvp_count(p, ETH_OVERSIZE);
			done++;
			continue;
		}
		made = make_out(p, q, frame + done, (uint16_t)(n - done));
		sent = send_out(p, q);
		done += sent;
		if (sent < made || made == 0) {
			p->deliver_at = uvb_now_ns() + RETRY_NS;
			return done;
		}
	}
	return done;
}

static const struct uvp_ops eth_ops = {.fill = eth_fill, .deliver = eth_deliver, .idle = eth_idle};

/* ------------------------------------------------------------------------------------------- link
 */

static void
take_link(struct uvp_port *port)
{
	struct rte_eth_link link = {0};
	uint32_t flags = port->conf.flags & ~UVB_CONF_STARTED;

	/* A driver that cannot say is up. */
	if (rte_eth_link_get_nowait(self.id, &link) != 0 || link.link_status == RTE_ETH_LINK_UP)
		flags |= UVB_CONF_STARTED;
	port->conf.flags = flags;
}

/* Frames to a port whose device has no link drop as rx_stopped. */
static void
link_look(struct uvp_port *port)
{
	uint32_t before = port->conf.flags;
	uint64_t ticks;

	if (read(port->watch.fd, &ticks, sizeof(ticks)) != (ssize_t)sizeof(ticks))
		return;
	take_link(port);
	if (port->conf.flags == before)
		return;
	uvp_log(port, "link %s", port->conf.flags & UVB_CONF_STARTED ? "up" : "down");
	if (uvp_publish(port) != 0)
		uvp_finish(port, UVP_EXIT_FAILED);
}

static int
link_watch(struct uvp_port *port)
{
	struct itimerspec every = {{0, LINK_LOOK_NS}, {0, LINK_LOOK_NS}};
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	if (fd < 0 || timerfd_settime(fd, 0, &every, NULL) != 0)
		return uvp_fail(port, "cannot make a timer: %s", strerror(errno));
	port->watch = (struct uvp_watch){.fd = fd, .ready = link_look};
	return 0;
}

/* --------------------------------------------------------------------------------------------- EAL
 */

/* "0000:00:04.0,…" or "00:04.0,…" */
static bool
is_pci(const char *dev)
{
	size_t hex = 0;

	while (isxdigit((unsigned char)dev[hex]))
		hex++;
	return hex > 0 && dev[hex] == ':';
}

/* One lcore, of number 0, that may run wherever this process may: threads it makes may, too. */
static void
lcores(char *text, size_t room)
{
	size_t at = (size_t)snprintf(text, room, "0@(");
	cpu_set_t set;

	CPU_ZERO(&set);
	sched_getaffinity(0, sizeof(set), &set);
	for (int cpu = 0; cpu < CPU_SETSIZE && at + 8 < room; cpu++)
		if (CPU_ISSET(cpu, &set))
			at += (size_t)snprintf(text + at, room - at, "%d,", cpu);
	text[at - 1] = ')';
}

/* A frame is in one piece. */
static uint16_t
data_room(const struct uvp_port *port)
{
	return (uint16_t)RTE_MAX(RTE_MBUF_DEFAULT_BUF_SIZE,
				 RTE_PKTMBUF_HEADROOM + port->mtu + UVB_FRAME_MIN + 12);
}

static int
start_eal(struct uvp_port *port)
{
	uint64_t room = (uint64_t)port->nb_queues * MBUFS *
			(data_room(port) + sizeof(struct rte_mbuf) + RTE_CACHE_LINE_SIZE);
	char memory[16], cpus[1024], prefix[48];
	char *argv[20];
	int n = 0, rc;

	snprintf(memory, sizeof(memory), "%llu", (unsigned long long)(room >> 20) + 64);
	snprintf(prefix, sizeof(prefix), "--file-prefix=uvbridge-%d", (int)getpid());
	lcores(cpus, sizeof(cpus));
	argv[n++] = "uvbridge-port-ethdev";
	argv[n++] = "--no-huge";
	argv[n++] = "--no-shconf";
	argv[n++] = "--no-telemetry";
	argv[n++] = "--log-level=error";
	argv[n++] = prefix;
	argv[n++] = "-m";
	argv[n++] = memory;
	argv[n++] = "--lcores";
	argv[n++] = cpus;
	if (!is_pci(self.dev))
		argv[n++] = "--no-pci";
	argv[n++] = is_pci(self.dev) ? "-a" : "--vdev";
	argv[n++] = (char *)self.dev;
	argv[n] = NULL;
	rc = rte_eal_init(n, argv);
	if (rc < 0)
		return uvp_fail(port, "DPDK cannot start with the device %.100s: %s", self.dev,
				rte_strerror(rte_errno));
	if (rte_eth_dev_count_avail() == 0)
		return uvp_fail(port, "DPDK found no device %.100s", self.dev);
	self.id = (uint16_t)rte_eth_find_next(0);
	return 0;
}

/* For good: a driver looks for its interface each time it is asked for something. The fabric is
 * files, which are the same everywhere. */
static int
enter_netns(struct uvp_port *port)
{
	int home, rc;

	if (self.netns == NULL)
		return 0;
	rc = uvp_netns_enter(port, self.netns, &home);
	if (rc == 0)
		close(home);
	return rc;
}

/* ------------------------------------------------------------------------------------------ device
 */

/* Of no use but all together, see cell_flags(); and a virtio that is asked for those it can may
 * leave sums out of the frames, which cells have no word for. */
static uint64_t
checksum_offloads(const struct rte_eth_dev_info *info)
{
	uint64_t all = RTE_ETH_RX_OFFLOAD_CHECKSUM;

	return (info->rx_offload_capa & all) == all ? all : 0;
}

static int
configure(struct uvp_port *port, const struct rte_eth_dev_info *info)
{
	struct rte_eth_conf conf = {0};
	int rc;

	if (port->nb_queues > info->max_rx_queues || port->nb_queues > info->max_tx_queues)
		return uvp_fail(port,
				"%.100s has %u receive and %u transmit queues: give it more, or "
				"fewer --queues",
				self.dev, info->max_rx_queues, info->max_tx_queues);
	conf.rxmode.offloads = checksum_offloads(info);
	if (port->nb_queues > 1 && info->flow_type_rss_offloads != 0) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_hf =
			(RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP) &
			info->flow_type_rss_offloads;
	}
	rc = rte_eth_dev_configure(self.id, port->nb_queues, port->nb_queues, &conf);
	return rc == 0 ? 0
		       : uvp_fail(port, "cannot configure %.100s: %s", self.dev, rte_strerror(-rc));
}

static int
set_up_queues(struct uvp_port *port)
{
	uint16_t rx = DESCRIPTORS, tx = DESCRIPTORS;
	int socket = rte_eth_dev_socket_id(self.id);
	int rc = rte_eth_dev_adjust_nb_rx_tx_desc(self.id, &rx, &tx);

	self.pool = rte_pktmbuf_pool_create("uvbridge", MBUFS * port->nb_queues, MBUF_CACHE, 0,
					    data_room(port), SOCKET_ID_ANY);
	if (self.pool == NULL)
		return uvp_fail(port, "no memory for %u buffers: %s", MBUFS * port->nb_queues,
				rte_strerror(rte_errno));
	for (uint16_t i = 0; rc == 0 && i < port->nb_queues; i++) {
		rc = rte_eth_rx_queue_setup(self.id, i, rx, (unsigned)socket, NULL, self.pool);
		if (rc == 0)
			rc = rte_eth_tx_queue_setup(self.id, i, tx, (unsigned)socket, NULL);
	}
	return rc == 0 ? 0
		       : uvp_fail(port, "cannot set the queues of %.100s up: %s", self.dev,
				  rte_strerror(-rc));
}

/* The port's MTU is the device's, which has its own where it cannot be told. */
static int
set_mtu(struct uvp_port *port)
{
	uint16_t mtu = port->mtu;

	if (rte_eth_dev_set_mtu(self.id, port->mtu) != 0 &&
	    rte_eth_dev_get_mtu(self.id, &mtu) == 0 && mtu < port->mtu) {
		uvp_log(port, "%.100s has an MTU of %u, and so has the port", self.dev, mtu);
		port->mtu = mtu;
	}
	port->conf.mtu = port->mtu;
	self.frame_max = port->mtu + 18u;
	return 0;
}

static int
open_device(struct uvp_port *port)
{
	struct rte_eth_dev_info info;
	int rc = rte_eth_dev_info_get(self.id, &info);

	if (rc != 0)
		return uvp_fail(port, "%.100s does not say what it can do: %s", self.dev,
				rte_strerror(-rc));
	rc = configure(port, &info);
	if (rc == 0)
		rc = set_up_queues(port);
	if (rc == 0)
		rc = set_mtu(port);
	if (rc != 0)
		return rc;
	rc = rte_eth_dev_start(self.id);
	if (rc != 0)
		return uvp_fail(port, "cannot start %.100s: %s", self.dev, rte_strerror(-rc));
	self.started = true;
	/* It stands for everybody on the fabric. */
	if (rte_eth_promiscuous_enable(self.id) != 0)
		uvp_log(port,
			"%.100s cannot be promiscuous: it gets only what is for its own "
			"address",
			self.dev);
	take_link(port);
	return link_watch(port);
}

static void
close_device(struct uvp_port *port)
{
	for (uint16_t i = 0; port->pump != NULL && i < port->nb_queues; i++) {
		struct eth_queue *q = port->pump[i].self;

		if (q == NULL)
			continue;
		free_in(q);
		rte_pktmbuf_free_bulk(q->out, q->nb_out);
		free(q);
	}
	if (self.started) {
		rte_eth_dev_stop(self.id);
		rte_eth_dev_close(self.id);
	}
	rte_eal_cleanup();
}

static int
make_queues(struct uvp_port *port)
{
	for (uint16_t i = 0; i < port->nb_queues; i++) {
		port->pump[i].ops = &eth_ops;
		port->pump[i].self = calloc(1, sizeof(struct eth_queue));
		if (port->pump[i].self == NULL)
			return uvp_fail(port, "no memory for %u queues", port->nb_queues);
	}
	return 0;
}

/* -------------------------------------------------------------------------------------------- verb
 */

enum {
	OPT_DEV = UVP_OPT_KIND,
	OPT_NETNS,
	OPT_QUEUES,
};

static const struct option eth_options[] = {
	{"dev", required_argument, NULL, OPT_DEV},
	{"netns", required_argument, NULL, OPT_NETNS},
	{"queues", required_argument, NULL, OPT_QUEUES},
	UVP_COMMON_OPTIONS,
};

static const char eth_usage[] =
	"ethdev FABRIC NAME --dev DEVARGS [OPTION...]\n"
	"A port of DPDK, by any of its drivers, as a port of the fabric. Both are promiscuous: "
	"other\n"
	"machines may be behind either. While the device has no link, frames to it drop as\n"
	"rx_stopped.\n\n"
	"  uvbridge port ethdev lab wire --dev net_af_packet0,iface=veth1\n"
	"  uvbridge port ethdev lab nic --dev 0000:00:04.0 --queues 4\n\n"
	"  --dev DEVARGS      the device, as EAL's --vdev and -a take it: driver and arguments, or "
	"a\n"
	"                     PCI address\n"
	"  --netns NS         open the device in this network namespace: name, process or path\n"
	"  --queues N         queue pairs, a thread each, 1 to 16 (default: 1)\n";

static void
eth_init(struct uvp_port *port)
{
	port->kind = UVB_KIND_ETHDEV;
	port->conf_flags = UVB_CONF_PROMISC;
	port->counter_name = eth_counters;
}

static bool
eth_option(struct uvp_port *port, int opt, const char *arg, char err[UVB_ERR_LEN])
{
	uint64_t n;

	switch (opt) {
	case OPT_DEV:
		self.dev = arg;
		return true;
	case OPT_NETNS:
		self.netns = arg;
		return true;
	default:
		if (uvp_number(arg, 1, UVB_MAX_QUEUES, &n)) {
			port->nb_queues = (uint16_t)n;
			return true;
		}
		uvb_fail(err, 0, "--queues %.40s: give 1 to %d", arg, UVB_MAX_QUEUES);
		return false;
	}
}

static int
eth_run(struct uvp_port *port)
{
	int rc;

	if (self.dev == NULL) {
		uvp_fail(port, "give the device: --dev net_af_packet0,iface=veth1");
		return UVP_EXIT_USAGE;
	}
	if (port->mtu > MTU_MAX) {
		uvp_fail(port, "--mtu %u: a device of DPDK has at most %u here", port->mtu,
			 MTU_MAX);
		return UVP_EXIT_USAGE;
	}
	rc = enter_netns(port);
	if (rc == 0)
		rc = start_eal(port);
	if (rc == 0)
		rc = uvp_attach(port);
	if (rc == 0)
		rc = make_queues(port);
	if (rc == 0)
		rc = open_device(port);
	if (rc == 0)
		rc = uvp_serve(port);
	close_device(port);
	uvp_detach(port);
	return rc;
}

static const struct uvp_kind uvp_ethdev = {
	.name = "ethdev",
	.usage = eth_usage,
	.shorts = "h",
	.options = eth_options,
	.option = eth_option,
	.run = eth_run,
	.init = eth_init,
};

/* argv[0] is "ethdev": `uvbridge port ethdev` runs this program. */
int
main(int argc, char **argv)
{
	return uvp_run_kind(&uvp_ethdev, argc, argv);
}
