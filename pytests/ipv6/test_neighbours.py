# SPDX-License-Identifier: BSD-3-Clause
"""Neighbour discovery and ICMPv6, spoken by hand: RFC 4861, RFC 4862, RFC 4443."""

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6ND_Redirect,
    ICMPv6NDOptDstLLAddr, ICMPv6NDOptMTU, ICMPv6NDOptPrefixInfo, ICMPv6NDOptSrcLLAddr, ICMPv6PacketTooBig,
    ICMPv6ParamProblem, ICMPv6TimeExceeded, IPerror6, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting, PadN,
)  # fmt: skip
from scapy.layers.l2 import Ether

from uvnet_harness.wire import multicast_mac, solicited_node

ALL_NODES = "33:33:00:00:00:01"


def to(wire, server):
    """Ethernet and IPv6 header from the wire to the host."""
    return wire.ether(server.mac) / IPv6(src=wire.ip6, dst=server.ip6)


def ask_for(wire, target, **how):
    """A solicitation for an address, to its group."""
    group = solicited_node(target)
    options = how.pop("options", ICMPv6NDOptSrcLLAddr(lladdr=wire.mac))
    message = wire.ether(multicast_mac(group)) / IPv6(src=wire.ip6, dst=group, hlim=255) / ICMPv6ND_NS(tgt=target)
    return message / options if options is not None else message


def fence(wire, server, seq=7):
    """The host has handled all before: packets are handled in order."""
    assert wire.sr1(to(wire, server) / ICMPv6EchoRequest(id=1, seq=seq))[ICMPv6EchoReply].seq == seq


def echo_over_udp(wire, server, sport=4000, data=b"hello", head=None):
    wire.send((head or to(wire, server)) / UDP(sport=sport, dport=7) / data)
    return wire.expect(lambda frame: UDP in frame and frame[UDP].dport == sport)


@pytest.mark.parametrize("which", ["ip6", "link_local"])
def test_a_solicitation_is_answered(server, wire, which):
    target = getattr(server, which)
    wire.send(ask_for(wire, target))
    answer = wire.expect(ICMPv6ND_NA)
    assert (answer[ICMPv6ND_NA].tgt, answer[ICMPv6NDOptDstLLAddr].lladdr) == (target, server.mac)
    assert (answer[ICMPv6ND_NA].S, answer[ICMPv6ND_NA].R, answer[IPv6].hlim) == (1, 0, 255)


@pytest.mark.parametrize("spoiled", ["hop limit", "code", "length 0 option", "option beyond the end", "for another"])
def test_a_spoiled_solicitation_is_not_answered(server, wire, spoiled):
    question = ask_for(wire, server.ip6)
    if spoiled == "hop limit":
        question[IPv6].hlim = 254
    elif spoiled == "code":
        question[ICMPv6ND_NS].code = 1
    elif spoiled == "length 0 option":
        question = ask_for(wire, server.ip6, options=None) / bytes([1, 0, 0, 0, 0, 0, 0, 0])
        question[IPv6].plen = 32
    elif spoiled == "option beyond the end":
        question = ask_for(wire, server.ip6, options=None) / bytes([1, 4, 0, 0, 0, 0, 0, 0])
        question[IPv6].plen = 32
    else:
        question[ICMPv6ND_NS].tgt = "fd00::77"
    wire.send(question)
    fence(wire, server)
    assert not [frame for frame in wire.seen if ICMPv6ND_NA in frame and frame[ICMPv6ND_NA].tgt == server.ip6]


@pytest.mark.parametrize("size", [0, 1, 56, 1452])
def test_echo_is_answered(net, server, wire, size):
    data = net.random("data").randbytes(size)
    reply = wire.sr1(to(wire, server) / ICMPv6EchoRequest(id=7, seq=size, data=data))
    assert (reply[ICMPv6EchoReply].id, reply[ICMPv6EchoReply].data) == (7, data)


def test_a_new_link_layer_address_of_a_neighbour_is_taken(net, server, wire):
    """An advertisement that overrides: the next packet goes to the new address; without, it does not."""
    assert echo_over_udp(wire, server)[Ether].dst == wire.mac
    other = net.wire("other", ip=False)
    news = (
        wire.ether(server.mac)
        / IPv6(src=wire.ip6, dst=server.ip6, hlim=255)
        / ICMPv6ND_NA(tgt=wire.ip6, R=0, S=0, O=0)
        / ICMPv6NDOptDstLLAddr(lladdr=other.mac)
    )
    wire.send(news)
    assert echo_over_udp(wire, server)[Ether].dst == wire.mac
    news[ICMPv6ND_NA].O = 1
    del news[ICMPv6ND_NA].cksum
    wire.send(news)
    wire.send(to(wire, server) / UDP(sport=4001, dport=7) / b"x")
    assert other.expect(UDP)[UDP].dport == 4001


def test_a_silent_neighbour_is_probed_and_forgotten(net, server, wire):
    """Neighbour unreachability detection, in virtual time: reachable, stale, delayed, probed by unicast."""
    echo_over_udp(wire, server)
    net.clock.stop()
    net.clock.step(60)
    wire.answer_nd = False
    wire.drain()
    wire.send(to(wire, server) / UDP(sport=4000, dport=7) / b"x")
    wire.expect(UDP)  # sent to what was known: reachability is in doubt, not disproved
    net.clock.step(6)
    probe = wire.expect(ICMPv6ND_NS)
    assert (probe[Ether].dst, probe[IPv6].dst) == (wire.mac, wire.ip6)
    net.clock.step(6)
    wire.drain()
    wire.send(to(wire, server) / UDP(sport=4000, dport=7) / b"x")
    asked = wire.expect(ICMPv6ND_NS)
    assert asked[Ether].dst == multicast_mac(solicited_node(wire.ip6))


def test_a_duplicate_of_the_host_s_address(net, wire):
    """The host probes its address as it comes up. Another one's answer: it does not use it, and says so."""
    net.allow_log("another host has fd00::.* already")
    host = net.host("host", ipv6=True)
    taken = host.ip6
    app = host.start("/usr/bin/python3", "-c",
                     "import socket, sys\n"
                     "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind((sys.argv[1], 9, 0, 2))\n"
                     "s.settimeout(10); print(s.recv(9))", host.link_local)  # fmt: skip
    wire.configure(promiscuous=True)
    probe = wire.expect(lambda frame: ICMPv6ND_NS in frame and frame[ICMPv6ND_NS].tgt == taken)
    assert (probe[IPv6].src, ICMPv6NDOptSrcLLAddr in probe) == ("::", False)
    wire.send(
        wire.ether(ALL_NODES) / IPv6(src=taken, dst="ff02::1", hlim=255) / ICMPv6ND_NA(tgt=taken, R=0, S=0, O=1)
        / ICMPv6NDOptDstLLAddr(lladdr=wire.mac)
    )  # fmt: skip
    wire.send(ask_for(wire, taken))
    wire.send(ask_for(wire, host.link_local))
    assert wire.expect(ICMPv6ND_NA)[ICMPv6ND_NA].tgt == host.link_local
    wire.send(wire.ether(host.mac) / IPv6(src=wire.link_local, dst=host.link_local) / UDP(dport=9) / b"end")
    assert app.wait(10) == 0, app.stderr
    assert "another host has" in host.log


def test_the_host_defends_its_address(server, wire):
    """Somebody else's probe for it is answered, to all nodes."""
    group = solicited_node(server.ip6)
    wire.send(wire.ether(multicast_mac(group)) / IPv6(src="::", dst=group, hlim=255) / ICMPv6ND_NS(tgt=server.ip6))
    answer = wire.expect(ICMPv6ND_NA)
    assert (answer[IPv6].dst, answer[ICMPv6ND_NA].tgt, answer[ICMPv6ND_NA].S) == ("ff02::1", server.ip6, 0)


# ---------------------------------------------------------------------------------- routers


def advertise(wire, *options, lifetime=1800, **fields):
    """A router advertisement from the wire, to all nodes."""
    wire.is_router = lifetime > 0
    message = (
        wire.ether(ALL_NODES)
        / IPv6(src=wire.link_local, dst="ff02::1", hlim=255)
        / ICMPv6ND_RA(routerlifetime=lifetime, **fields)
        / ICMPv6NDOptSrcLLAddr(lladdr=wire.mac)
    )
    for option in options:
        message = message / option
    wire.send(message)


def prefix(address, valid=86400, preferred=14400):
    return ICMPv6NDOptPrefixInfo(
        prefix=address, prefixlen=64, L=1, A=1, validlifetime=valid, preferredlifetime=preferred
    )


AUTO = """
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.connect(("2001:db8:ffff::1", 9))
print(s.getsockname()[0], flush=True)
s.send(b"out"); s.settimeout(10)
print(s.recv(9), flush=True)
"""


def test_stateless_autoconfiguration(net, wire):
    """The host asks for a router as it comes up, forms its address from the prefix, and sends by the router."""
    host = net.host("host", ipv6=True, address6="auto")
    wire.configure(promiscuous=True)
    app = host.start("/usr/bin/python3", "-c", AUTO)
    wire.expect("icmp6 and ip6[40] == 133")
    advertise(wire, prefix("2001:db8:1::"), ICMPv6NDOptMTU(mtu=1400))
    out = wire.expect(UDP)
    mine = "2001:db8:1:0:" + host.link_local.removeprefix("fe80::")
    assert (out[Ether].dst, out[IPv6].src, out[IPv6].dst) == (wire.mac, mine, "2001:db8:ffff::1")
    wire.send(
        wire.ether(host.mac) / IPv6(src="2001:db8:ffff::1", dst=out[IPv6].src)
        / UDP(sport=9, dport=out[UDP].sport) / b"in"
    )  # fmt: skip
    assert app.wait(10) == 0, app.stderr


def test_a_redirect_is_followed_if_it_comes_from_the_router(net, server, wire):
    far, better = "2001:db8:ffff::1", net.wire("better", ip=False)
    advertise(wire)
    from_far = wire.ether(server.mac) / IPv6(src=far, dst=server.ip6)
    assert echo_over_udp(wire, server, head=from_far)[IPv6].dst == far

    def redirect(source):
        wire.send(
            wire.ether(server.mac) / IPv6(src=source, dst=server.ip6, hlim=255)
            / ICMPv6ND_Redirect(tgt="fe80::99", dst=far) / ICMPv6NDOptDstLLAddr(lladdr=better.mac)
        )  # fmt: skip

    redirect("fe80::666")
    assert echo_over_udp(wire, server, head=from_far)[Ether].dst == wire.mac
    redirect(wire.link_local)
    wire.send(from_far / UDP(sport=4002, dport=7) / b"x")
    assert better.expect(UDP)[UDP].dport == 4002


def test_a_router_that_says_it_is_none_is_not_used(server, wire):
    far = "2001:db8:ffff::1"
    advertise(wire)
    head = wire.ether(server.mac) / IPv6(src=far, dst=server.ip6)
    echo_over_udp(wire, server, head=head)
    advertise(wire, lifetime=0)
    wire.send(head / UDP(sport=4001, dport=7) / b"x")
    fence(wire, server)
    assert not [frame for frame in wire.seen if UDP in frame]


# ------------------------------------------------------------- errors, extension headers, fragments


def test_a_datagram_to_a_closed_port_is_refused(server, wire):
    wire.send(to(wire, server) / UDP(sport=4000, dport=9) / b"hello")
    refusal = wire.expect(ICMPv6DestUnreach)
    assert (refusal[ICMPv6DestUnreach].code, refusal[IPerror6].dst) == (4, server.ip6)


def test_errors_are_rationed(server, wire):
    wire.send([to(wire, server) / UDP(sport=4000, dport=9) / b"hello"] * 400)
    fence(wire, server)
    refused = [frame for frame in wire.seen if ICMPv6DestUnreach in frame]
    assert 10 <= len(refused) < 400


def test_an_unknown_header_is_a_parameter_problem(server, wire):
    wire.send(wire.ether(server.mac) / IPv6(src=wire.ip6, dst=server.ip6, nh=253) / b"12345678")
    problem = wire.expect(ICMPv6ParamProblem)
    assert (problem[ICMPv6ParamProblem].code, problem[ICMPv6ParamProblem].ptr) == (1, 6)
    assert problem[IPerror6].dst == server.ip6


@pytest.mark.parametrize(
    "headers",
    [
        IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)]),
        IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 12)]),
        IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)]) / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)]),
        IPv6ExtHdrFragment(id=1),
        IPv6ExtHdrRouting(type=0, segleft=0),
    ],
    ids=["hop-by-hop", "destination", "both", "atomic fragment", "routing, arrived"],
)
def test_extension_headers_are_passed_over(server, wire, headers):
    assert echo_over_udp(wire, server, head=to(wire, server) / headers)[UDP].len == 13


@pytest.mark.parametrize("routing", [0, 2, 3])
def test_a_routing_header_with_segments_left_is_refused(server, wire, routing):
    wire.send(to(wire, server) / IPv6ExtHdrRouting(type=routing, segleft=1, addresses=["fd00::5"]) / ICMPv6EchoRequest())
    assert wire.expect(ICMPv6ParamProblem)[IPerror6].dst == server.ip6


def fragments(net, head, payload, size, ident=77):
    """The fragments of a UDP datagram to port 7, in order."""
    whole = bytes((head / UDP(sport=4000, dport=7) / payload)[IPv6].payload)
    step = size - size % 8
    return [
        head / IPv6ExtHdrFragment(nh=17, id=ident, offset=at // 8, m=int(at + step < len(whole))) / whole[at : at + step]
        for at in range(0, len(whole), step)
    ]


def test_fragments_in_any_order_are_put_together(net, server, wire):
    payload = net.random("payload").randbytes(9000)
    parts = fragments(net, to(wire, server), payload, 1200)
    net.random("order").shuffle(parts)
    wire.send(parts)
    got = b""
    while len(got) < len(payload) + 8:
        part = wire.expect(IPv6ExtHdrFragment)
        got += bytes(part[IPv6ExtHdrFragment].payload)
    assert got[8:] == payload


def test_a_missing_fragment_is_waited_for(net, server, wire):
    """Also when the one behind the gap is the last to come."""
    payload = net.random("payload").randbytes(7 * 1200 - 8)
    parts = fragments(net, to(wire, server), payload, 1200)
    wire.send([parts[number] for number in (0, 2, 5, 6, 4)])
    fence(wire, server)
    assert not [frame for frame in wire.seen if IPv6ExtHdrFragment in frame]
    wire.send([parts[3], parts[1]])
    assert bytes(wire.expect(IPv6ExtHdrFragment)[IPv6ExtHdrFragment].payload)[8:] == payload[:1440]


@pytest.mark.parametrize("end", ["longer", "shorter"])
def test_overlapping_fragments_are_dropped_with_their_datagram(net, server, wire, end):
    """RFC 5722: not even the fragments that would make it whole do so; an exact copy is no overlap."""
    payload = net.random("payload").randbytes(3000)
    parts = fragments(net, to(wire, server), payload, 1200)
    forged = fragments(net, to(wire, server), bytes(3000), 1200 + (8 if end == "longer" else -8))
    wire.send([parts[0], forged[0], parts[1], parts[2]])
    fence(wire, server)
    assert not [frame for frame in wire.seen if IPv6ExtHdrFragment in frame]
    again = fragments(net, to(wire, server), payload, 1200, ident=78)
    wire.send([again[0], again[0], again[1], again[2]])
    assert bytes(wire.expect(IPv6ExtHdrFragment)[IPv6ExtHdrFragment].payload)[8:] == payload[:1440]


def test_what_is_quoted_of_an_incomplete_datagram_is_what_came(net, server, wire):
    """Not what the host wrote over it while it waited for the rest."""
    first = fragments(net, to(wire, server), net.random("payload").randbytes(3000), 1200)[0]
    wire.send(first)
    fence(wire, server)
    net.clock.stop()
    net.clock.step(61)
    quoted = bytes(wire.expect(ICMPv6TimeExceeded)[ICMPv6TimeExceeded].payload)
    assert quoted == bytes(first[IPv6])[: len(quoted)]
    assert len(quoted) > 100


def test_incomplete_datagrams_are_bounded_and_forgotten(net, server, wire):
    """More first fragments than are kept: the host goes on, and whole ones still come together."""
    for number in range(300):
        wire.send(fragments(net, to(wire, server), bytes(3000), 1200, ident=1000 + number)[0], ack=number % 32 == 31)
    wire.send(fragments(net, to(wire, server), bytes(2000), 1200, ident=5))
    wire.expect(IPv6ExtHdrFragment)
    fence(wire, server)


# -------------------------------------------------------------------------------------- path MTU


def test_a_smaller_path_mtu_is_learned_and_nonsense_ignored(server, wire):
    """After "packet too big" the next datagram comes in fragments that fit; a claim of 48 changes nothing."""
    payload = bytes(1400)
    first = echo_over_udp(wire, server, data=payload)

    def too_big(mtu):
        quoted = bytes(first[IPv6])[:1200]
        wire.send(to(wire, server) / ICMPv6PacketTooBig(mtu=mtu) / quoted)

    too_big(48)
    too_big(1279)
    assert IPv6ExtHdrFragment not in echo_over_udp(wire, server, data=payload)
    too_big(1280)
    wire.send(to(wire, server) / UDP(sport=4000, dport=7) / payload)
    parts = [wire.expect(IPv6ExtHdrFragment), wire.expect(IPv6ExtHdrFragment)]
    assert max(part[IPv6].plen + 40 for part in parts) <= 1280

