# SPDX-License-Identifier: BSD-3-Clause
"""ARP and ICMP echo, spoken by hand."""

import pytest
from scapy.layers.inet import ICMP, IP, UDP, IPerror, UDPerror
from scapy.layers.l2 import ARP, Ether

BROADCAST = "ff:ff:ff:ff:ff:ff"

pytestmark = pytest.mark.nic


def test_arp_request_is_answered(server, wire):
    assert wire.arp(server.ip) == server.mac


def test_arp_request_to_the_unicast_address_is_answered(server, wire):
    request = wire.ether(server.mac) / ARP(op=1, hwsrc=wire.mac, psrc=wire.ip, pdst=server.ip)
    reply = wire.sr1(request)
    assert (reply[ARP].op, reply[ARP].hwsrc, reply[ARP].psrc) == (2, server.mac, server.ip)
    assert (reply[ARP].hwdst, reply[ARP].pdst) == (wire.mac, wire.ip)
    assert (reply[Ether].src, reply[Ether].dst) == (server.mac, wire.mac)


def test_arp_request_for_another_is_not_answered(net, server, wire):
    wire.send(wire.ether(BROADCAST) / ARP(op=1, hwsrc=wire.mac, psrc=wire.ip, pdst=net.addresses.ip(77)))
    assert wire.arp(server.ip) == server.mac  # a fence: requests are handled in order
    assert not [frame for frame in wire.seen if ARP in frame and frame[ARP].op == 2]


def test_echo_is_answered(net, server, wire):
    for size in (0, 1, 56, 57, 512, 1000, 1471, 1472):
        payload = net.random("payload").randbytes(size)
        request = wire.ether(server.mac) / IP(src=wire.ip, dst=server.ip, id=size) / ICMP(id=7, seq=size) / payload
        reply = wire.sr1(request)
        assert (reply[ICMP].type, reply[ICMP].code, reply[ICMP].id, reply[ICMP].seq) == (0, 0, 7, size)
        # Short frames are padded to the Ethernet minimum: the IP length says where the payload ends.
        assert reply[IP].len == 28 + size
        assert (bytes(reply[ICMP].payload)[:size]) == payload


def test_echo_burst_is_answered_in_order(server, wire):
    head = wire.ether(server.mac) / IP(src=wire.ip, dst=server.ip)
    wire.send([head / ICMP(id=9, seq=i) / bytes(56) for i in range(64)])
    assert [wire.expect("icmp[icmptype] == icmp-echoreply")[ICMP].seq for _ in range(64)] == list(range(64))


def test_datagram_to_a_closed_port_is_refused(server, wire):
    question = wire.ether(server.mac) / IP(src=wire.ip, dst=server.ip) / UDP(sport=4000, dport=9) / b"hello"
    wire.send(question)
    refusal = wire.expect("icmp[icmptype] == icmp-unreach")
    assert refusal[ICMP].code == 3
    assert (refusal[IPerror].src, refusal[IPerror].dst) == (wire.ip, server.ip)
    assert (refusal[UDPerror].sport, refusal[UDPerror].dport) == (4000, 9)


def test_frame_for_another_address_is_ignored(net, server, wire):
    """To the host's MAC, not to its IP address: a host is no router."""
    wire.send(wire.ether(server.mac) / IP(src=wire.ip, dst=net.addresses.ip(88)) / ICMP() / b"x")
    reply = wire.sr1(wire.ether(server.mac) / IP(src=wire.ip, dst=server.ip) / ICMP(seq=5) / b"x")
    assert reply[ICMP].seq == 5
    assert not wire.seen
