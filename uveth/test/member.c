/* SPDX-License-Identifier: BSD-3-Clause
 *
 * member.c - a process of a port that does what it is told: what testpmd cannot be (it leaves when
 * its primary has died, and never sleeps on a queue). Used by pytests/nic/test_secondary.py.
 *
 * Usage: uveth_member EAL-OPTIONS -- [QUEUES]
 *
 * With QUEUES it configures and starts port 0 with so many. Then it reads a command a line, and
 * answers each with a line that begins with "ok" or "error". Frames are sent back to where they
 * came from.
 *
 *   echo Q, sleep Q, leave Q   serve queue Q by polling, by sleeping on its interrupt; no more
 *   link, events               is it up; link events so far
 *   stats                      ipackets and opackets
 *   restart Q                  stop and start queue Q of both directions
 *   plug NAME ARGS, unplug NAME, start NAME
 *   number NAME                which port it is
 *   use NAME                   of which port the other commands are, port 0 to begin with
 *   close                      rte_eth_dev_close()
 *   stale                      make the port look as if another build had made it
 *   quit
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ethdev_driver.h>
#include <rte_bus_vdev.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_mbuf.h>

#define QUEUES_MAX 16
#define BURST      32

enum service {
	LEFT,
	ECHO,
	SLEEP,
};

static uint16_t port;
static enum service service[QUEUES_MAX];
static unsigned int link_events;
static struct rte_mempool *pool;

/* ------------------------------------------------------------------------------------- frames */

static bool
echo(uint16_t queue)
{
	struct rte_mbuf *m[BURST];
	uint16_t n = rte_eth_rx_burst(port, queue, m, BURST), sent;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m[i], struct rte_ether_hdr *);

		eth->dst_addr = eth->src_addr;
		rte_eth_macaddr_get(port, &eth->src_addr);
	}
	sent = rte_eth_tx_burst(port, queue, m, n);
	rte_pktmbuf_free_bulk(m + sent, n - sent);
	return n > 0;
}

static void
serve(void)
{
	for (uint16_t q = 0; q < QUEUES_MAX; q++)
		while (service[q] != LEFT && echo(q) && service[q] == SLEEP)
			; /* a queue that is slept on is emptied first */
}

/* -------------------------------------------------------------------------------------- ports */

static int
on_link(uint16_t id, enum rte_eth_event_type type, void *arg, void *result)
{
	(void)id;
	(void)type;
	(void)arg;
	(void)result;
	__atomic_fetch_add(&link_events, 1, __ATOMIC_RELAXED);
	return 0;
}

static int
start(uint16_t id, uint16_t queues)
{
	struct rte_eth_conf conf = {
		.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS,
		.rx_adv_conf.rss_conf.rss_hf = RTE_ETH_RSS_NONFRAG_IPV4_UDP,
		.intr_conf = {.lsc = 1, .rxq = 1},
	};
	int rc = rte_eth_dev_configure(id, queues, queues, &conf);

	if (pool == NULL)
		pool = rte_pktmbuf_pool_create("pool", 4095, 64, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
					       SOCKET_ID_ANY);
	if (pool == NULL)
		return -ENOMEM;
	for (uint16_t q = 0; q < queues && rc == 0; q++) {
		rc = rte_eth_rx_queue_setup(id, q, 256, SOCKET_ID_ANY, NULL, pool);
		if (rc == 0)
			rc = rte_eth_tx_queue_setup(id, q, 256, SOCKET_ID_ANY, NULL);
	}
	return rc == 0 ? rte_eth_dev_start(id) : rc;
}

static int
restart(uint16_t q)
{
	int rc = rte_eth_dev_rx_queue_stop(port, q);

	rc = rc == 0 ? rte_eth_dev_rx_queue_start(port, q) : rc;
	rc = rc == 0 ? rte_eth_dev_tx_queue_stop(port, q) : rc;
	return rc == 0 ? rte_eth_dev_tx_queue_start(port, q) : rc;
}

/* ----------------------------------------------------------------------------------- commands */

static int
do_serve(enum service how, const char *arg)
{
	service[strtoul(arg, NULL, 10) % QUEUES_MAX] = how;
	return 0;
}

static int
do_echo(const char *arg)
{
	return do_serve(ECHO, arg);
}

static int
do_sleep(const char *arg)
{
	return do_serve(SLEEP, arg);
}

static int
do_leave(const char *arg)
{
	return do_serve(LEFT, arg);
}

static int
do_link(const char *arg)
{
	struct rte_eth_link link;
	int rc = rte_eth_link_get_nowait(port, &link);

	(void)arg;
	if (rc == 0)
		printf("ok %s\n", link.link_status == RTE_ETH_LINK_UP ? "up" : "down");
	return rc == 0 ? 1 : rc;
}

static int
do_events(const char *arg)
{
	(void)arg;
	printf("ok %u\n", __atomic_load_n(&link_events, __ATOMIC_RELAXED));
	return 1;
}

static int
do_stats(const char *arg)
{
	struct rte_eth_stats s;
	int rc = rte_eth_stats_get(port, &s);

	(void)arg;
	if (rc == 0)
		printf("ok %" PRIu64 " %" PRIu64 "\n", s.ipackets, s.opackets);
	return rc == 0 ? 1 : rc;
}

static int
do_restart(const char *arg)
{
	return restart((uint16_t)strtoul(arg, NULL, 10));
}

static int
do_plug(const char *arg)
{
	char name[64], args[256];

	if (sscanf(arg, "%63s %255s", name, args) != 2)
		return -EINVAL;
	return rte_eal_hotplug_add("vdev", name, args);
}

static int
do_unplug(const char *arg)
{
	return rte_eal_hotplug_remove("vdev", arg);
}

static int
do_start(const char *arg)
{
	uint16_t id;
	int rc = rte_eth_dev_get_port_by_name(arg, &id);

	return rc == 0 ? start(id, 1) : rc;
}

static int
do_use(const char *arg)
{
	return rte_eth_dev_get_port_by_name(arg, &port);
}

static int
do_number(const char *arg)
{
	uint16_t id;
	int rc = rte_eth_dev_get_port_by_name(arg, &id);

	if (rc == 0)
		printf("ok %u\n", id);
	return rc == 0 ? 1 : rc;
}

static int
do_close(const char *arg)
{
	(void)arg;
	memset(service, 0, sizeof(service));
	if (rte_eal_process_type() == RTE_PROC_PRIMARY)
		rte_eth_dev_stop(port);
	return rte_eth_dev_close(port);
}

/* The first word of the driver's shared data is the version of its layout. */
static int
do_stale(const char *arg)
{
	(void)arg;
	*(uint32_t *)rte_eth_devices[port].data->dev_private += 1000;
	return 0;
}

static int
do_quit(const char *arg)
{
	(void)arg;
	rte_eal_cleanup();
	exit(0);
}

static const struct {
	const char *word;
	int (*run)(const char *arg); /* 0, 1: has answered, or negative errno */
} commands[] = {
	{"echo", do_echo},       {"sleep", do_sleep},   {"leave", do_leave},
	{"link", do_link},       {"events", do_events}, {"stats", do_stats},
	{"plug", do_plug},       {"unplug", do_unplug}, {"start", do_start},
	{"restart", do_restart}, {"use", do_use},       {"close", do_close},
	{"stale", do_stale},     {"quit", do_quit},     {"number", do_number},
};

static void
command(char *line)
{
	char *arg = strchr(line, ' ');
	int rc = -ENOSYS;

	line[strcspn(line, "\n")] = '\0';
	if (arg != NULL)
		*arg++ = '\0';
	for (size_t i = 0; i < RTE_DIM(commands); i++)
		if (strcmp(commands[i].word, line) == 0)
			rc = commands[i].run(arg != NULL ? arg : "");
	if (rc < 0)
		printf("error %s: %s\n", line, strerror(-rc));
	else if (rc == 0)
		printf("ok\n");
}

/* --------------------------------------------------------------------------------------- loop */

/* Arm what is to be slept on. Returns how many descriptors there are to wait for. */
static nfds_t
arm(struct pollfd *fds)
{
	nfds_t n = 0;

	fds[n++] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
	for (uint16_t q = 0; q < QUEUES_MAX; q++) {
		if (service[q] != SLEEP)
			continue;
		if (rte_eth_dev_rx_intr_enable(port, q) != 0) {
			printf("error sleep: no interrupt of queue %u\n", q);
			service[q] = LEFT;
			continue;
		}
		fds[n++] = (struct pollfd){.fd = rte_eth_dev_rx_intr_ctl_q_get_fd(port, q),
					   .events = POLLIN};
	}
	return n;
}

static void
disarm(void)
{
	for (uint16_t q = 0; q < QUEUES_MAX; q++)
		if (service[q] == SLEEP)
			rte_eth_dev_rx_intr_disable(port, q);
}

static bool
polling(void)
{
	for (uint16_t q = 0; q < QUEUES_MAX; q++)
		if (service[q] == ECHO)
			return true;
	return false;
}

static void
loop(void)
{
	struct pollfd fds[1 + QUEUES_MAX];
	char line[512];

	for (;;) {
		nfds_t n = arm(fds);

		poll(fds, n, polling() ? 0 : -1);
		disarm();
		if (fds[0].revents != 0) {
			if (fgets(line, sizeof(line), stdin) == NULL)
				return;
			command(line);
		}
		serve();
	}
}

int
main(int argc, char **argv)
{
	int used, rc = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	setvbuf(stdin, NULL, _IONBF, 0); /* a line at a time: poll() knows of no buffer */
	used = rte_eal_init(argc, argv);
	if (used < 0)
		return 1;
	rte_eth_dev_callback_register(RTE_ETH_ALL, RTE_ETH_EVENT_INTR_LSC, on_link, NULL);
	if (used + 1 < argc)
		rc = start(port, (uint16_t)strtoul(argv[used + 1], NULL, 10));
	if (rc != 0) {
		fprintf(stderr, "cannot start: %s\n", strerror(-rc));
		return 1;
	}
	printf("ready\n");
	loop();
	rte_eal_cleanup();
	return 0;
}
