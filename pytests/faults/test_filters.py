# SPDX-License-Identifier: BSD-3-Clause
"""Filters of faults match what libpcap says they match, whatever the filter and the frames."""

import hypothesis
from hypothesis import strategies as st

from uvnet_harness import bpf

PRIMITIVES = [
    "ip", "ip6", "arp", "tcp", "udp", "icmp", "vlan", "broadcast", "multicast",
    "src host 10.0.0.1", "dst net 10.0.0.0/24", "host 2001:db8::1",
    "tcp port 80", "udp dst portrange 5000-5010", "port 53",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "ip[6:2] & 0x1fff != 0", "tcp[((tcp[12] & 0xf0) >> 2):2] = 0x4745",
    "greater 100", "less 90", "ether proto 0x88b5", "ether[14] % 7 = 3", "ip[8] * 3 / 2 > 70", "len - 20 < 60",
]  # fmt: skip

FILTERS = st.recursive(
    st.sampled_from(PRIMITIVES),
    lambda inner: st.one_of(
        inner.map(lambda a: f"not ({a})"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
    ),
    max_leaves=4,
)

HEADS = [
    bytes.fromhex("0800" "4500003c0001000040060000" "0a000001" "0a000002" "1388005000000000000000005002ffff00000000"),
    bytes.fromhex("0800" "4500003c0001000040110000" "0a000001" "c0a80001" "138813880020000000000000"),
    bytes.fromhex("0800" "46000040000100b940060000" "0a000003" "0a000001" "01010101" "0050138800000000000000005011ffff"),
    bytes.fromhex("0800" "4500003c0001200040010000" "0a000001" "0a000002" "0800000000010001"),
    bytes.fromhex("86dd" "6000000000140640" "20010db8000000000000000000000001" "20010db8000000000000000000000002" "00500035"),
    bytes.fromhex("0806" "0001080006040001" "020000000001" "0a000001" "000000000000" "0a000002"),
    bytes.fromhex("8100" "0005" "0800" "4500003c0001000040060000" "0a000001" "0a000002" "13880050"),
    bytes.fromhex("88b5"),
]  # fmt: skip

PAYLOADS = st.tuples(
    st.sampled_from(HEADS),
    st.binary(min_size=0, max_size=80),
    st.lists(st.tuples(st.integers(2, 60), st.integers(0, 255)), max_size=3),
)


def damaged(head, tail, changes):
    """A frame behind its addresses: a known head, anything after it, some bytes changed."""
    raw = bytearray(head + tail)
    for at, value in changes:
        if at < len(raw):
            raw[at] = value
    return bytes(raw)


def test_filters_match_as_libpcap_says(net):
    a, b = net.wire("a"), net.wire("b", promiscuous=True)
    link = net.link(a)
    addresses = bytes.fromhex((b.mac + a.mac).replace(":", ""))

    @hypothesis.settings(
        max_examples=30, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @hypothesis.seed(net.random("filters").randrange(1 << 32))
    @hypothesis.given(FILTERS, st.lists(PAYLOADS, min_size=1, max_size=30))
    def check(expression, payloads):
        try:
            program = bpf.compiled(expression)
        except ValueError:
            hypothesis.reject()  # "expression rejects all packets": what contradicts itself
        frames = [addresses + damaged(*payload) for payload in payloads]
        wanted = [frame for frame in frames if not program.matches(frame)]
        with link.fault(expression, drop=0) as rule:
            a.send(frames)
            assert [received.raw for received in b.drain()] == wanted
            assert rule.hits == len(frames) - len(wanted)

    check()
