/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What is made of each of a NIC's words on checksums.
 */
#include "stack/core/sums.h"
#include "uvbridge/test.h"

static void
test_ip(void)
{
	CHECK(!uvs_sums_ip_vouched(RTE_MBUF_F_RX_IP_CKSUM_UNKNOWN));
	CHECK(!uvs_sums_ip_vouched(RTE_MBUF_F_RX_IP_CKSUM_BAD));
	CHECK(uvs_sums_ip_vouched(RTE_MBUF_F_RX_IP_CKSUM_GOOD));
	CHECK(uvs_sums_ip_vouched(RTE_MBUF_F_RX_IP_CKSUM_NONE));
	CHECK(!uvs_sums_ip_vouched(RTE_MBUF_F_RX_L4_CKSUM_GOOD));
}

static void
test_l4(void)
{
	CHECK(!uvs_sums_l4_vouched(RTE_MBUF_F_RX_L4_CKSUM_UNKNOWN));
	CHECK(!uvs_sums_l4_vouched(RTE_MBUF_F_RX_L4_CKSUM_BAD));
	CHECK(uvs_sums_l4_vouched(RTE_MBUF_F_RX_L4_CKSUM_GOOD));
	CHECK(uvs_sums_l4_vouched(RTE_MBUF_F_RX_L4_CKSUM_NONE));
	CHECK(!uvs_sums_l4_vouched(RTE_MBUF_F_RX_IP_CKSUM_GOOD));
}

/* "None" has the bit of "bad", too. */
static void
test_bad(void)
{
	CHECK(uvs_sums_bad(RTE_MBUF_F_RX_L4_CKSUM_BAD | RTE_MBUF_F_RX_IP_CKSUM_GOOD));
	CHECK(uvs_sums_bad(RTE_MBUF_F_RX_IP_CKSUM_BAD | RTE_MBUF_F_RX_L4_CKSUM_NONE));
	CHECK(!uvs_sums_bad(RTE_MBUF_F_RX_L4_CKSUM_NONE | RTE_MBUF_F_RX_IP_CKSUM_NONE));
	CHECK(!uvs_sums_bad(0));
}

int
main(void)
{
	RUN(test_ip);
	RUN(test_l4);
	RUN(test_bad);
	return 0;
}
