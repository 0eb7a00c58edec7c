# SPDX-License-Identifier: BSD-3-Clause
"""A TCP connection spoken by hand: handshake, data both ways, orderly end, reset."""

import pytest
from scapy.layers.inet import IP, TCP
from scapy.packet import Raw

pytestmark = pytest.mark.nic


class Peer:
    """The hand-made end of a connection."""

    def __init__(self, wire, server, sport, dport=7, seq=1000):
        self.wire, self.server = wire, server
        self.sport, self.dport = sport, dport
        self.seq, self.ack = seq, 0
        self.filter = f"tcp src port {dport} and tcp dst port {sport}"

    def segment(self, flags, payload=b"", **fields):
        """A segment at the current position."""
        header = TCP(
            sport=self.sport, dport=self.dport, flags=flags, **{"seq": self.seq, "ack": self.ack, **fields}
        )
        packet = self.wire.ether(self.server.mac) / IP(src=self.wire.ip, dst=self.server.ip) / header
        return packet / payload if payload else packet

    def send(self, flags, payload=b"", **fields):
        """Send it and move on."""
        self.wire.send(self.segment(flags, payload, **fields))
        self.seq = (self.seq + len(payload) + ("S" in flags) + ("F" in flags)) % (1 << 32)

    def expect(self, flags=None, timeout=5):
        """The next segment; with `flags`, the next that has all of these."""

        def right(frame):
            return TCP in frame and self.wanted(frame) and (not flags or set(flags) <= set(str(frame[TCP].flags)))

        return self.wire.expect(right, timeout)

    def wanted(self, frame):
        """It belongs to this connection."""
        return (frame[TCP].sport, frame[TCP].dport) == (self.dport, self.sport)

    def connect(self):
        """Shake hands."""
        self.send("S", options=[("MSS", 1460)])
        answer = self.expect("SA")
        assert answer[TCP].ack == self.seq
        self.ack = (answer[TCP].seq + 1) % (1 << 32)
        self.send("A")
        return answer

    def read(self, length):
        """Receive and acknowledge that many bytes."""
        data = b""
        while len(data) < length:
            frame = self.expect()
            if Raw in frame and frame[TCP].seq == self.ack:
                size = frame[IP].len - frame[IP].ihl * 4 - frame[TCP].dataofs * 4
                data += bytes(frame[Raw].load)[:size]
                self.ack = (self.ack + size) % (1 << 32)
                self.send("A")
        return data


@pytest.fixture
def peer(net, server, wire):
    """A peer with a port of its own."""
    return Peer(wire, server, net.random("ports").randrange(20000, 60000))


def test_handshake_by_hand(peer):
    answer = peer.connect()
    options = dict(answer[TCP].options)
    assert options["MSS"] == 1460
    assert answer[TCP].window > 0


def test_data_is_echoed_and_acknowledged(net, peer):
    peer.connect()
    for size in (1, 100, 1460):
        payload = net.random("data").randbytes(size)
        peer.send("PA", payload)
        assert peer.read(size) == payload


def test_orderly_end(peer):
    peer.connect()
    peer.send("FA")
    fin = peer.expect("F")
    assert fin[TCP].ack == peer.seq
    peer.ack = (fin[TCP].seq + 1) % (1 << 32)
    peer.send("A")


def test_data_out_of_order_is_put_in_order(peer):
    peer.connect()
    later = peer.segment("PA", b"world", seq=peer.seq + 5)
    peer.wire.send(later)
    assert peer.expect("A")[TCP].ack == peer.seq  # a duplicate acknowledgement
    peer.send("PA", b"hello")
    peer.seq += 5
    assert peer.read(10) == b"helloworld"


def test_reset_ends_the_connection(peer):
    peer.connect()
    peer.send("R")
    peer.send("PA", b"too late")
    assert peer.expect("R")


def test_closed_port_refuses(server, wire):
    closed = Peer(wire, server, 34567, dport=8)
    closed.send("S")
    refusal = closed.expect()
    assert str(refusal[TCP].flags) == "RA"
    assert refusal[TCP].ack == closed.seq


def test_segment_of_no_connection_is_reset(peer):
    peer.ack = 555
    peer.send("A", b"who am I")
    answer = peer.expect()
    assert "R" in str(answer[TCP].flags)
    assert answer[TCP].seq == 555


def test_many_connections_by_hand(net, server, wire):
    """Each to the queue its ports lead to, all of them served."""
    random = net.random("ports")
    peers = [Peer(wire, server, sport) for sport in random.sample(range(20000, 60000), 32)]
    assert {server.rss.queue_of(flow_of(peer)) for peer in peers} == set(range(server.rss.queues))
    for peer in peers:
        peer.connect()
    for peer in peers:
        peer.send("PA", peer.sport.to_bytes(2, "big"))
        assert peer.read(2) == peer.sport.to_bytes(2, "big")


def flow_of(peer):
    """As the server receives it."""
    from uvnet_harness import Flow

    return Flow(peer.wire.ip, peer.server.ip, peer.sport, peer.dport)
