# SPDX-License-Identifier: BSD-3-Clause
"""A malformed frame of every layer: dropped, under a counter with a name, and the host goes on.

Each row names the counter that must grow by one: of the fabric (``port.…``) or of the stack, read
when the host has ended. The frames of one layer are sent to one host, so a row that counts under
another row's name, or not at all, is found as a wrong total.
"""

from collections import Counter

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP
from scapy.packet import Raw

MULTICAST_BIT = b"\x01"


class Bench:
    """Builders for frames from the wire to the server."""

    def __init__(self, wire, server):
        self.wire, self.server = wire, server
        self.ether = wire.ether(server.mac)

    def ip(self, **fields):
        """Ethernet and IP headers."""
        return self.ether / IP(**{"src": self.wire.ip, "dst": self.server.ip, **fields})

    def udp(self, ip=None, **fields):
        """A datagram to the echo service."""
        return self.ip(**(ip or {})) / UDP(**{"sport": 4000, "dport": 7, **fields}) / b"hello"

    def tcp(self, ip=None, **fields):
        """A SYN to the echo service."""
        return self.ip(**(ip or {})) / TCP(**{"sport": 4001, "dport": 7, "flags": "S", "seq": 1, **fields})

    def arp(self, **fields):
        """A question for the server's address."""
        return self.ether / ARP(
            **{"op": 1, "hwsrc": self.wire.mac, "psrc": self.wire.ip, "pdst": self.server.ip, **fields}
        )


def patch(packet, offset, value):
    """The packet's bytes with some of them changed."""
    raw = bytearray(bytes(packet))
    raw[offset : offset + len(value)] = value
    return bytes(raw)


ETHERNET = {
    "shorter than a header": (lambda b: bytes(b.ether)[:13], "port.wire.txq.0.drops.runt"),
    "from a multicast address": (lambda b: patch(b.udp(), 6, MULTICAST_BIT), "port.wire.txq.0.drops.bad_src"),
    "of an unknown type": (lambda b: patch(b.udp(), 12, b"\x88\xb5"), "lwip.arp.proterr"),
    "with a length instead of a type": (lambda b: patch(b.udp(), 12, b"\x00\x10"), "lwip.arp.proterr"),
    "a header alone": (lambda b: bytes(b.ether)[:12] + b"\x08\x00", "lwip.arp.proterr"),
}

ARP_PACKETS = {
    "cut short": (lambda b: bytes(b.arp())[:30], "lwip.arp.lenerr"),
    "hardware length": (lambda b: b.arp(hwlen=8), "lwip.arp.proterr"),
    "hardware type": (lambda b: b.arp(hwtype=7), "lwip.arp.proterr"),
    "protocol type": (lambda b: b.arp(ptype=0x86DD), "lwip.arp.proterr"),
    "protocol length": (lambda b: b.arp(plen=16), "lwip.arp.proterr"),
    "unknown operation": (lambda b: b.arp(op=9), "lwip.arp.err"),
}

IPV4 = {
    "version": (lambda b: b.udp(ip={"version": 5}), "lwip.ip.err"),
    "header length too small": (lambda b: b.udp(ip={"ihl": 4}), "lwip.ip.lenerr"),
    "header length beyond the packet": (lambda b: b.udp(ip={"ihl": 15}), "lwip.ip.lenerr"),
    "cut short": (lambda b: bytes(b.udp())[:26], "lwip.ip.lenerr"),
    "total length beyond the frame": (lambda b: b.udp(ip={"len": 200}), "dropped.rx_bad_checksum"),
    "total length below the header": (lambda b: b.udp(ip={"len": 19}), "dropped.rx_bad_checksum"),
    "checksum": (lambda b: b.udp(ip={"chksum": 0x1234}), "dropped.rx_bad_checksum"),
    "fragment beyond 65535": (lambda b: b.ip(frag=8189) / Raw(b"x" * 64), "lwip.ip_frag.drop"),
}

IPV4_ADDRESSES = {
    "from the broadcast address": (lambda b: b.udp(ip={"src": "255.255.255.255"}), "lwip.ip.drop"),
    "from a multicast address": (lambda b: b.udp(ip={"src": "224.0.0.1"}), "lwip.ip.drop"),
    "to another host": (lambda b: b.udp(ip={"dst": "9.9.9.9"}), "lwip.ip.drop"),
}

ICMP_MESSAGES = {
    "checksum": (lambda b: b.ip() / ICMP(chksum=0x1234) / b"x", "lwip.icmp.chkerr"),
    "unknown type": (lambda b: b.ip() / ICMP(type=77) / b"xxxx", "lwip.icmp.proterr"),
    "cut short": (lambda b: b.ip(proto=1) / Raw(b"\x08\x00\x00"), "lwip.icmp.lenerr"),
}

UDP_DATAGRAMS = {
    "checksum": (lambda b: b.udp(chksum=0x1234), "dropped.rx_bad_checksum"),
    "length beyond the packet": (lambda b: b.udp(len=100, chksum=0), "lwip.udp.lenerr"),
    "length below the header": (lambda b: b.udp(len=4, chksum=0), "lwip.udp.lenerr"),
    "cut short": (lambda b: b.ip(proto=17) / Raw(b"\x0f\xa0\x00\x07"), "dropped.rx_bad_checksum"),
}

TCP_SEGMENTS = {
    "checksum": (lambda b: b.tcp(chksum=0x1234), "dropped.rx_bad_checksum"),
    "data offset too small": (lambda b: b.tcp(dataofs=4), "lwip.tcp.lenerr"),
    "data offset beyond the segment": (lambda b: b.tcp(dataofs=15), "lwip.tcp.lenerr"),
    "cut short": (lambda b: b.ip(proto=6) / Raw(b"\x0f\xa1\x00\x07\x00\x00"), "lwip.tcp.lenerr"),
    "no flags": (lambda b: b.tcp(flags=""), "lwip.tcp.proterr"),
    "every flag that means nothing": (lambda b: b.tcp(flags="FPU"), "lwip.tcp.proterr"),
    "to the broadcast address": (lambda b: b.tcp(ip={"dst": "255.255.255.255"}), "lwip.tcp.proterr"),
}

LAYERS = {
    "ethernet": ETHERNET,
    "arp": ARP_PACKETS,
    "ipv4": IPV4,
    "ipv4-addresses": IPV4_ADDRESSES,
    "icmp": ICMP_MESSAGES,
    "udp": UDP_DATAGRAMS,
    "tcp": TCP_SEGMENTS,
}


@pytest.mark.parametrize("layer", LAYERS)
def test_malformed_is_counted_and_survived(net, layer):
    server, wire = net.host("server", queues=4), net.wire("wire")
    app = server.start(net.build.echo, server.ip, "7").wait_port(7)
    bench = Bench(wire, server)
    wire.arp(server.ip)
    before = net.fabric.snapshot()
    for build, _ in LAYERS[layer].values():
        wire.send(build(bench))
        echo = wire.sr1(bench.ip() / ICMP(seq=1) / b"still there?")
        assert echo[ICMP].type == 0
        assert not wire.seen, f"answered: {wire.seen[0]}"
    change = net.fabric.snapshot() - before
    assert app.stop() == 0
    counted = {**server.stats(), **change.values}
    expected = Counter(counter for _, counter in LAYERS[layer].values())
    assert {name: counted.get(name, 0) for name in expected} == dict(expected)


PADDED = {"shorter than a header", "cut short"}
"""Rows that a real cable would pad to frames that are in order, or not carry at all."""

DROPS = {"chkerr", "lenerr", "proterr", "drop", "err", "rx_bad_checksum"}


@pytest.mark.nic
def test_malformed_is_survived_on_any_card(net):
    """By which name a frame is dropped is partly up to the card (which checksums it looks at, and in
    which order): each has to be counted by some name, none answered, and the host goes on."""
    server, wire = net.host("server", queues=4), net.wire("wire")
    app = server.start(net.build.echo, server.ip, "7").wait_port(7)
    bench = Bench(wire, server)
    wire.arp(server.ip)
    before = net.fabric.snapshot()
    frames = [build(bench) for rows in LAYERS.values() for name, (build, _) in rows.items() if name not in PADDED]
    for frame in frames:
        wire.send(frame)
        echo = wire.sr1(bench.ip() / ICMP(seq=1) / b"still there?")
        assert echo[ICMP].type == 0
        assert not wire.seen, f"answered: {wire.seen[0]}"
    refused = (net.fabric.snapshot() - before).sum("port.wire.txq.0.drops.*")
    assert app.stop() == 0
    counted = {name: value for name, value in server.stats().items() if name.split(".")[-1] in DROPS and value}
    assert sum(counted.values()) + refused >= len(frames), counted


def test_unknown_protocol_is_refused(server, wire):
    bench = Bench(wire, server)
    answer = wire.sr1(bench.ip(proto=200) / Raw(b"x" * 8))
    assert (answer[ICMP].type, answer[ICMP].code) == (3, 2)


def test_unknown_option_does_not_keep_a_connection_from_being_made(server, wire):
    bench = Bench(wire, server)
    answer = wire.sr1(bench.tcp(options=[(99, b"\x00\x00")]))
    assert str(answer[TCP].flags) == "SA"


def test_half_open_connections_do_not_hinder_the_end(server, wire):
    """A listener and its embryos end together, in order."""
    bench = Bench(wire, server)
    for sport in range(5000, 5016):
        wire.send(bench.tcp(sport=sport))
    for _ in range(16):
        wire.expect("tcp[tcpflags] & (tcp-syn|tcp-ack) == (tcp-syn|tcp-ack)")
    assert server.app.stop() == 0
