# SPDX-License-Identifier: BSD-3-Clause
"""A host with several IPv4 addresses, static routes, and a path of a smaller MTU."""

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Ether

SECOND = "172.16.5.9"


@pytest.fixture
def server(net, program):
    """10.A.B.1 and 172.16.5.9 on one interface, with an echo service on the second; routes by two routers."""
    host = net.host("server", route=f"192.0.2.0/24 via {net.addresses.ip(2)}", gateway=net.addresses.ip(3))
    host.start(
        *program("echo_asyncio"), "serve", SECOND, "7",
        set={"address": f"{host.ip}/24, {SECOND}/24"},
    ).process.wait_output("listening")  # fmt: skip
    return host


@pytest.fixture
def wire(net):
    """The router of the route."""
    return net.wire("wire")


def ask(wire, server, source, data=b"hello"):
    """A datagram to the second address, and its echo."""
    wire.send(wire.ether(server.mac) / IP(src=source, dst=SECOND) / UDP(sport=4000, dport=7) / data)
    return wire.expect(lambda frame: UDP in frame and frame[UDP].dport == 4000)


@pytest.mark.parametrize("which", ["first", "second"])
def test_each_address_answers(server, wire, which):
    address = server.ip if which == "first" else SECOND
    assert wire.arp(address) == server.mac
    reply = wire.sr1(wire.ether(server.mac) / IP(src=wire.ip, dst=address) / ICMP(id=3))
    assert (reply[IP].src, reply[ICMP].type) == (address, 0)


def test_a_port_nobody_has_is_refused_at_the_second_address(server, wire):
    wire.send(wire.ether(server.mac) / IP(src=wire.ip, dst=SECOND) / UDP(sport=4000, dport=9))
    refusal = wire.expect("icmp[icmptype] == icmp-unreach")
    assert (refusal[IP].src, refusal[ICMP].code) == (SECOND, 3)


def test_neighbours_of_the_second_network_are_asked_from_it(server, wire):
    wire.ip = "172.16.5.77"
    reply = ask(wire, server, wire.ip)
    assert (reply[Ether].dst, reply[IP].src) == (wire.mac, SECOND)
    asked = [frame for frame in wire.seen if frame.raw[12:14] == b"\x08\x06"]
    assert {frame.packet.psrc for frame in asked} <= {SECOND}


def test_the_longest_prefix_wins(net, server, wire):
    other = net.wire("other")
    assert (wire.ip, other.ip) == (net.addresses.ip(2), net.addresses.ip(3))
    assert ask(wire, server, "192.0.2.5")[Ether].dst == wire.mac
    wire.send(wire.ether(server.mac) / IP(src="198.51.100.5", dst=SECOND) / UDP(sport=4001, dport=7) / b"x")
    assert other.expect(UDP)[UDP].dport == 4001


def test_packets_say_that_they_are_not_to_be_cut_up(server, wire):
    assert ask(wire, server, wire.ip)[IP].flags == "DF"


def test_a_smaller_path_mtu_is_learned(server, wire):
    """After "fragmentation needed" the next datagram comes in fragments that fit; a damaged message counts for nothing."""
    first = ask(wire, server, wire.ip, bytes(1400))
    quoted = bytes(first[IP])[:28]
    message = wire.ether(server.mac) / IP(src=wire.ip, dst=SECOND) / ICMP(type=3, code=4, nexthopmtu=1300) / quoted
    spoiled = bytearray(bytes(message))
    spoiled[14 + 20 + 2] ^= 1  # its checksum
    wire.send(bytes(spoiled))
    assert ask(wire, server, wire.ip, bytes(1400))[IP].flags == "DF"
    wire.send(message)
    wire.send(wire.ether(server.mac) / IP(src=wire.ip, dst=SECOND) / UDP(sport=4000, dport=7) / bytes(1400))
    parts = [wire.expect("udp or ip[6:2] & 0x1fff != 0") for _ in range(2)]
    assert [part[IP].flags for part in parts] == ["MF", 0]
    assert max(part[IP].len for part in parts) <= 1300
