/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_devargs.c - probing: each way it can fail says why in one sentence, and leaves nothing.
 */
#include <rte_dev.h>
#include <rte_log.h>

#include "uveth/test/test.h"

/* Probe with these arguments; the log lines of the driver go to `log`. */
static int
probe(const char *args, char *log, size_t size)
{
	FILE *f = fmemopen(log, size, "w");
	int rc;

	memset(log, 0, size);
	CHECK(f != NULL);
	rte_openlog_stream(f);
	rc = rte_eal_hotplug_add("vdev", "net_uveth_bad", args);
	rte_openlog_stream(stderr);
	fclose(f);
	return rc;
}

static void
check_refused(const char *args, const char *why)
{
	char log[2048];
	int rc = probe(args, log, sizeof(log));
	const char *line = strstr(log, "uveth: ");

	if (rc == 0 || line == NULL || strstr(line, why) == NULL)
		test_fail(__FILE__, __LINE__, "'%s' gave %d and said '%s', nothing of '%s'", args,
			  rc, log, why);
	/* One sentence, on one line. */
	CHECK(strstr(line + 1, "uveth: ") == NULL);
	CHECK_EQ(rte_eth_dev_count_avail(), 0);
}

static void
bad_arguments(void)
{
	static const struct {
		const char *args, *why;
	} bad[] = {
		{"", "which fabric?"},
		{"rxq=1", "which fabric?"},
		{"fabric=", "fabric=: the value is empty"},
		{"fabric", "no value for key 'fabric'"},
		{"fabric=unit,colour=red", "unknown key 'colour'"},
		{"fabric=unit,rxq=0", "rxq=0: must be a number from 1 to 16"},
		{"fabric=unit,rxq=17", "rxq=17: must be a number from 1 to 16"},
		{"fabric=unit,txq=-1", "txq=-1: must be a number from 1 to 16"},
		{"fabric=unit,txq=two", "txq=two: must be a number"},
		{"fabric=unit,txq=1,txq=2", "txq= is given more than once"},
		{"fabric=unit,mac=01:00:00:00:00:01", "must be a unicast MAC address"},
		{"fabric=unit,mac=00:00:00:00:00:00", "must be a unicast MAC address"},
		{"fabric=unit,mac=nonsense", "must be a unicast MAC address"},
		{"fabric=unit,reta=100", "must be a power of two"},
		{"fabric=unit,life=long", "life=long: must be 'primary' or 'any'"},
		{"fabric=unit,key=41", "an RSS key has 40 or 52 bytes"},
		{"fabric=unit,key=64", "key=64: must be a number from 40 to 52"},
		{"fabric=unit,reta=1024", "reta=1024: must be a number from 64 to 512"},
		{"fabric=unit,name="
		 "0123456789012345678901234567890123456789",
		 "longer than 31"},
	};

	for (size_t i = 0; i < RTE_DIM(bad); i++)
		check_refused(bad[i].args, bad[i].why);
}

/* What the fabric says is passed on as it is. */
static void
refused_by_the_fabric(void)
{
	struct port p;
	char log[2048];
	const char *line;
	int rc;

	check_refused("fabric=nosuchfabric", "nosuchfabric");
	check_refused("fabric=/nonexistent/place", "/nonexistent/place");
	check_refused("fabric=unit,name=b@d", "b@d");
	check_refused("fabric=unit,rxq=9", "queues"); /* the test's fabric has 8 */

	port_create(&p, "name=taken");
	rc = probe("fabric=unit,name=taken", log, sizeof(log));
	line = strstr(log, "uveth: ");
	if (rc == 0 || line == NULL || strstr(line, "taken") == NULL)
		test_fail(__FILE__, __LINE__, "a name twice: %d, '%s'", rc, log);
	port_close(&p);
}

static void
no_port_left(void)
{
	struct port p[8];
	char log[2048];
	int n = 0;

	while (n < 8)
		port_create(&p[n++], NULL);
	CHECK(probe("fabric=unit", log, sizeof(log)) != 0);
	CHECK(strstr(log, "uveth: ") != NULL);
	while (n > 0)
		port_close(&p[--n]);
	/* And all of them come back. */
	port_create(&p[0], NULL);
	port_close(&p[0]);
}

static void
arguments_take_effect(void)
{
	static const struct rte_ether_addr mac = {{0x02, 0x11, 0x22, 0x33, 0x44, 0x55}};
	struct rte_eth_dev_info info;
	struct port p;
	char text[2048];
	FILE *f;

	port_create(&p, "name=nine,mac=02:11:22:33:44:55,rxq=3,txq=5,reta=512");
	CHECK(rte_is_same_ether_addr(&p.mac, &mac));
	CHECK_EQ(rte_eth_dev_info_get(p.id, &info), 0);
	CHECK_EQ(info.max_rx_queues, 3);
	CHECK_EQ(info.max_tx_queues, 5);
	CHECK_EQ(info.reta_size, 512);
	memset(text, 0, sizeof(text));
	f = fmemopen(text, sizeof(text), "w");
	CHECK_EQ(rte_eth_dev_priv_dump(p.id, f), 0);
	fclose(f);
	CHECK(strstr(text, "fabric unit") != NULL && strstr(text, "'nine'") != NULL);
	port_close(&p);
}

static void
defaults(void)
{
	struct rte_eth_dev_info info;
	struct port p, q;

	port_create(&p, NULL);
	port_create(&q, NULL);
	CHECK_EQ(rte_eth_dev_info_get(p.id, &info), 0);
	CHECK_EQ(info.max_rx_queues, 8); /* all the fabric has */
	CHECK_EQ(info.max_tx_queues, 8);
	CHECK_EQ(info.reta_size, 128);
	CHECK(strcmp(info.driver_name, "net_uveth") == 0);
	CHECK(rte_is_local_admin_ether_addr(&p.mac) && rte_is_unicast_ether_addr(&p.mac));
	CHECK(!rte_is_same_ether_addr(&p.mac, &q.mac));
	port_close(&p);
	port_close(&q);
}

const struct test devargs_tests[] = {
	{"devargs: bad arguments", bad_arguments},
	{"devargs: refused by the fabric", refused_by_the_fabric},
	{"devargs: no port left", no_port_left},
	{"devargs: arguments take effect", arguments_take_effect},
	{"devargs: defaults", defaults},
	{NULL, NULL},
};
