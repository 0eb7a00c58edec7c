# SPDX-License-Identifier: BSD-3-Clause
"""The harness's Toeplitz hash against the RSS specification's verification suite, and its queues."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uvnet_harness.rss import MICROSOFT_KEY, Flow, HashType, Rss, toeplitz

# Destination, source (as the suite's tables have them), hash of addresses, hash with TCP ports.
IPV4 = [
    ("161.142.100.80:1766", "66.9.149.187:2794", 0x323E8FC2, 0x51CCC178),
    ("65.69.140.83:4739", "199.92.111.2:14230", 0xD718262A, 0xC626B0EA),
    ("12.22.207.184:38024", "24.19.198.95:12898", 0xD2D0A5DE, 0x5C2B394A),
    ("209.142.163.6:2217", "38.27.205.30:48228", 0x82989176, 0xAFC7327F),
    ("202.188.127.2:1303", "153.39.163.191:44251", 0x5D1809C5, 0x10E828A2),
]
IPV6 = [
    ("3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2CC18CD5, 0x40207D3D),
    ("ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0F0C461C, 0xDDE51BBF),
    ("fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, 0x4B61E985, 0x02D1FEEF),
]
ADDRESSES_ONLY = HashType.IPV4 | HashType.IPV6


def flows():
    """The suite as (flow, hash of addresses, hash with ports)."""
    for dst, src, two, four in IPV4:
        (dip, dport), (sip, sport) = dst.split(":"), src.split(":")
        yield Flow(sip, dip, int(sport), int(dport)), two, four
    for dip, dport, sip, sport, two, four in IPV6:
        yield Flow(sip, dip, sport, dport), two, four


@pytest.mark.parametrize("flow, two, four", flows())
def test_microsoft_verification_suite(flow, two, four):
    assert Rss(1, types=ADDRESSES_ONLY).hash_of(flow) == two
    assert Rss(1).hash_of(flow) == four


def test_flow_of_other_protocol_hashes_addresses_only():
    flow, two, _ = next(flows())
    icmp = Flow(flow.src, flow.dst, protocol=None)
    assert Rss(1).hash_of(icmp) == two
    assert Rss(1, types=HashType.IPV4_TCP).hash_of(icmp) is None
    assert Rss(4, types=HashType.IPV4_TCP).queue_of(icmp) == 0


def test_queue_follows_the_indirection_table():
    flow, _, four = next(flows())
    assert Rss(4).queue_of(flow) == four % 128 % 4
    table = [0] * 128
    table[four % 128] = 3
    assert Rss(4, reta=table).queue_of(flow) == 3


def test_short_key_is_refused():
    with pytest.raises(ValueError, match="too short"):
        toeplitz(bytes(36), MICROSOFT_KEY[:39])


@given(st.binary(min_size=12, max_size=12), st.binary(min_size=12, max_size=12))
def test_hash_is_linear(a, b):
    """Toeplitz is linear over GF(2); a table-driven one stays so only if every table is right."""
    both = bytes(x ^ y for x, y in zip(a, b))
    assert toeplitz(a) ^ toeplitz(b) == toeplitz(both)
