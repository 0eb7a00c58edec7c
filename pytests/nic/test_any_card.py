# SPDX-License-Identifier: BSD-3-Clause
"""What a host does on any network card; what the card cannot do is asked of the card."""

import json
from collections import Counter

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from uvnet_harness import Flow

pytestmark = pytest.mark.nic

ECHO = 7
FLOWS = 32


@pytest.fixture
def echo(net):
    """A function that makes a host with an echo service, and a wire to speak to it."""

    def start(needs=None, **settings):
        server = net.host("server", **settings)
        server.need(**needs or {})
        server.app = server.start(net.build.echo, server.ip, str(ECHO)).wait_port(ECHO)
        wire = net.wire("wire")
        wire.arp(server.ip)
        return server, wire

    return start


def to(server, wire):
    """Ethernet and IP headers from the wire to the server."""
    return wire.ether(server.mac) / IP(src=wire.ip, dst=server.ip)


def recomputed(frame):
    """The frame as scapy sends it, checksums made anew, without padding."""
    packet = Ether(frame.raw[: 14 + frame[IP].len])
    for layer in (IP, TCP, UDP, ICMP):
        if layer in packet:
            del packet[layer].chksum
    return bytes(packet)


def test_checksums_are_in_place(net, echo):
    """Whoever makes them, stack or card: UDP, TCP and ICMP of odd and even lengths."""
    server, wire = echo()
    for size in (1, 2, 63, 64, 777, 1400):
        data = net.random("data").randbytes(size)
        answer = wire.sr1(to(server, wire) / UDP(sport=5000, dport=ECHO) / data)
        assert bytes(answer[Raw].load)[:size] == data
        assert answer.raw[: 14 + answer[IP].len] == recomputed(answer)
        answer = wire.sr1(to(server, wire) / ICMP(seq=size) / data)
        assert answer.raw[: 14 + answer[IP].len] == recomputed(answer)
    answer = wire.sr1(to(server, wire) / TCP(sport=5000, dport=ECHO, flags="S", seq=1))
    assert answer.raw[: 14 + answer[IP].len] == recomputed(answer)


def test_bad_checksums_are_dropped_by_name(echo):
    """By the card or by lwIP: either way none is answered, and each is counted."""
    server, wire = echo()
    bad = [
        to(server, wire) / UDP(sport=5000, dport=ECHO, chksum=0x1234) / b"x",
        to(server, wire) / TCP(sport=5000, dport=ECHO, flags="S", chksum=0x1234),
        wire.ether(server.mac) / IP(src=wire.ip, dst=server.ip, chksum=0x1234) / UDP(sport=5000, dport=ECHO) / b"x",
    ]
    for frame in bad:
        wire.send(frame)
    assert wire.sr1(to(server, wire) / ICMP(seq=1) / b"still there?")[ICMP].type == 0
    assert not wire.seen
    assert server.app.stop() == 0
    stats = server.stats()
    by_lwip = sum(stats[f"lwip.{layer}.chkerr"] for layer in ("ip", "udp", "tcp"))
    assert stats["dropped.rx_bad_checksum"] + by_lwip == len(bad)


def received(server):
    """Frames that have come by each receive queue so far."""
    line = [*server.card.prefix(), server.net.build.uvstack, "--json", "--config", server.config_path, "softnet"]
    done = server.net.processes.run("softnet", line, server.folder).check()
    return Counter({row["queue"]: row["packets"] for row in json.loads(done.stdout)["softnet"]})


def test_flows_arrive_on_the_predicted_queues(net, echo):
    """The card's own key, table and hash types say where: of each flow a SYN and a reset."""
    server, wire = echo(queues=4, needs={"queues": 2, "rss": "ipv4-tcp"})
    sports = net.random("ports").sample(range(20000, 60000), FLOWS)
    before = received(server)
    for sport in sports:
        wire.sr1(to(server, wire) / TCP(sport=sport, dport=ECHO, flags="S", seq=1))
        wire.send(to(server, wire) / TCP(sport=sport, dport=ECHO, flags="R", seq=2))
    wire.arp(server.ip)  # on queue 0, as all that is not hashed, and after all others
    expected = Counter(server.rss.queue_of(Flow(wire.ip, server.ip, sport, ECHO)) for sport in sports)
    assert len(expected) > 1
    got = received(server)
    got.subtract(before)
    assert {queue: n for queue, n in got.items() if queue} == {queue: 2 * n for queue, n in expected.items() if queue}
    assert got[0] > 2 * expected[0]


def test_mtu_is_announced(net, echo):
    """As MSS, and obeyed by segments, whatever the peer would take."""
    server, wire = echo(mtu=1000)
    answer = wire.sr1(to(server, wire) / TCP(sport=5000, dport=ECHO, flags="S", seq=1, options=[("MSS", 1460)]))
    assert dict(answer[TCP].options)["MSS"] == 960
    data = net.random("data").randbytes(1400)
    for part, seq in ((data[:700], 2), (data[700:], 702)):
        wire.send(to(server, wire) / TCP(sport=5000, dport=ECHO, flags="PA", seq=seq, ack=answer[TCP].seq + 1) / part)
    assert wire.expect("tcp and ip[2:2] > 100")[IP].len <= 1000


def test_mtu_is_obeyed_by_datagrams(net, echo):
    """They leave in fragments."""
    server, wire = echo(mtu=1000, needs={"fragments": True})
    data = net.random("data").randbytes(1400)
    wire.send(fragment(to(server, wire) / UDP(sport=5000, dport=ECHO) / data, fragsize=800))
    first = wire.expect("udp and ip[6:2] & 0x3fff != 0")
    second = wire.expect("ip[6:2] & 0x1fff != 0")
    assert (first[IP].frag, first[IP].flags.MF, second[IP].flags.MF) == (0, True, False)
    assert first[IP].len <= 1000 and second[IP].len <= 1000
    whole = first.raw[42 : 14 + first[IP].len] + second.raw[34 : 14 + second[IP].len]
    assert whole == data


def test_stream_arrives_whole(net, program):
    """A mebibyte to the host, byte for byte, with a frame in a hundred lost on the cable."""
    server, client = net.host("server", queues=2), net.host("client")
    receiver = server.start(*program("transfer"), "receive", server.ip, "4000")
    receiver.process.wait_output("listening", 30)
    net.link("server").loss("1%")
    done = client.run(*program("transfer"), "send", server.ip, "4000", str(1 << 20), "3", timeout=60).check()
    assert receiver.wait(20) == 0
    assert receiver.stdout.split()[-2:] == done.stdout.split() != []
