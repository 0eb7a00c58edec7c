/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Ports that come home: the hash as everybody's NIC has it, the search.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include <rte_ethdev.h>

#include "stack/share/home.h"
#include "stack/share/steer_lab.h"
#include "uvbridge/test.h"

/* The key and the vectors that NIC vendors verify with ("Verifying the RSS Hash Calculation"). */
static const uint8_t key[40] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
				0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
				0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
				0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

static const struct {
	int family;
	const char *remote, *local;
	uint16_t rport, lport;
	uint32_t hash;
} vectors[] = {
	{AF_INET, "66.9.149.187", "161.142.100.80", 2794, 1766, 0x51ccc178},
	{AF_INET, "199.92.111.2", "65.69.140.83", 14230, 4739, 0xc626b0ea},
	{AF_INET6, "3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1", 2794, 1766, 0x40207d3d},
	{AF_INET6, "3ffe:501:8::260:97ff:fe40:efab", "ff02::1", 14230, 4739, 0xdde51bbf},
};

static struct steer_lab lab;

static void
known_hashes(void)
{
	struct uvs_home h;

	CHECK_EQ(uvs_home_open(&h, &lab.map, 1, RTE_ETH_RSS_TCP, key, sizeof(key)), 0);
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		struct uvs_flow f = {.rport = vectors[i].rport,
				     .lport = vectors[i].lport,
				     .proto = IPPROTO_TCP,
				     .family = vectors[i].family == AF_INET ? 4 : 6};

		CHECK_EQ(inet_pton(vectors[i].family, vectors[i].remote, f.remote), 1);
		CHECK_EQ(inet_pton(vectors[i].family, vectors[i].local, f.local), 1);
		CHECK_EQ(uvs_home_hash(&h, &f), vectors[i].hash);
	}
}

/* Every port found leads to the slot, none in between does, and all of them are found. */
static void
search(void)
{
	static const uint8_t reta[8] = {1, 2, 3, 1, 2, 3, 1, 2};
	uint32_t found[LAB_SLOTS] = {0};

	uvs_steer_reta(&lab.map, reta, 8);
	for (uint32_t slot = 1; slot < LAB_SLOTS; slot++) {
		struct uvs_flow f = steer_flow(4, IPPROTO_TCP, 0, 9, 80);
		struct uvs_home h;
		uint16_t port = 40000, at;

		CHECK_EQ(uvs_home_open(&h, &lab.map, slot, RTE_ETH_RSS_TCP, key, sizeof(key)), 0);
		while ((at = uvs_home_next(&h, &f, port, 40000, 40999)) >= port) {
			f.lport = at;
			CHECK_EQ(uvs_steer_home(&lab.map, uvs_home_hash(&h, &f)), slot);
			found[slot]++;
			port = (uint16_t)(at + 1);
			if (at == 40999)
				break;
		}
	}
	CHECK_EQ(found[1] + found[2] + found[3], 1000);
	CHECK(found[1] > 300 && found[2] > 300 && found[3] > 180);
}

static void
nothing_to_know(void)
{
	struct uvs_flow f = steer_flow(4, IPPROTO_UDP, 0, 9, 80);
	struct uvs_home h;

	CHECK_EQ(uvs_home_open(&h, &lab.map, 1, RTE_ETH_RSS_TCP, key, sizeof(key)), 0);
	CHECK_EQ(uvs_home_next(&h, &f, 40000, 40000, 40999), 0); /* UDP ports are not hashed */
	f.proto = IPPROTO_TCP;
	CHECK(uvs_home_next(&h, &f, 40000, 40000, 40999) != 0);
	f.family = 6;
	CHECK(uvs_home_next(&h, &f, 40000, 40000, 40999) != 0);
	uvs_steer_reta(&lab.map, NULL, 0); /* the NIC has one queue */
	CHECK_EQ(uvs_home_next(&h, &f, 40000, 40000, 40999), 0);
	CHECK_EQ(uvs_home_open(&h, &lab.map, 1, RTE_ETH_RSS_TCP, key, 39), -EINVAL);
	CHECK_EQ(uvs_home_next(&h, &f, 40000, 40000, 40999), 0);
}

int
main(void)
{
	steer_lab_open(&lab);
	RUN(known_hashes);
	RUN(search);
	RUN(nothing_to_know);
	steer_lab_close(&lab);
	return 0;
}
