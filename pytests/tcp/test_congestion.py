# SPDX-License-Identifier: BSD-3-Clause
"""How much TCP has under way: slow start, loss, timeouts, idle time. A peer made by hand acknowledges; time
is stepped by a round trip."""

import pytest
from scapy.layers.inet import TCP

from uvnet_harness.peer import payload_of

MSS = 1000
ROUND_TRIP = 0.02


class Stream:
    """A stream without end from the puppet to the peer, which has a window for all of it."""

    def __init__(self, puppet, peer, algorithm="cubic"):
        self.puppet, self.peer, self.net = puppet, peer, puppet.net
        puppet(f"l.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b'{algorithm}')")
        self.net.clock.stop()
        peer.send("S", options=[("MSS", MSS), ("SAckOK", b""), ("WScale", 6)])
        peer.ack = peer.expect("SA")[TCP].seq + 1
        self.net.clock.step(ROUND_TRIP)
        peer.send("A")
        puppet.until("poll(l) & 1", 1)
        puppet("c = l.accept()[0]; c.setblocking(False)")
        self.start = self.high = peer.ack
        self.acked = 0
        puppet("c.send(bytes(200000))")

    def round(self, lose=()):
        """A round trip: what came is acknowledged, segment by segment, but for the lost ones (their place in
        the flight). Returns how many came."""
        self.puppet("poll(c) & 4 and c.send(bytes(200000))")
        flight = [f for f in self.peer.wire.drain() if self.peer.is_ours(f) and payload_of(f)]
        self.net.clock.step(ROUND_TRIP)
        base, blocks = None, []
        for place, frame in enumerate(flight):
            begin, end = frame[TCP].seq, (frame[TCP].seq + len(payload_of(frame))) % (1 << 32)
            if place in lose:
                base = begin if base is None else base
                continue
            if base is not None and begin != base:
                blocks = [(blocks[0][0] if blocks else begin, end)]
            elif base is None or begin == base:
                base = None
                self.high = blocks.pop()[1] if blocks else end
            edges = [edge for block in blocks for edge in block]
            options = [("NOP", None), ("NOP", None), ("SAck", tuple(edges))] if edges else []
            self.peer.send("A", ack=self.high if base is None else base, options=options)
        self.puppet("0")
        return len(flight)

    def info(self, name):
        """A field of TCP_INFO."""
        return self.puppet(f"info(c)['{name}']")


@pytest.fixture(params=["cubic", "reno"])
def stream(request, listener, peer):
    """Under each algorithm."""
    made = Stream(listener, peer, request.param)
    yield made
    made.net.clock.real()


def test_the_first_flight_is_ten_segments(stream):
    """RFC 6928."""
    assert stream.round() == 10


def test_slow_start_doubles(stream):
    flights = [stream.round() for _ in range(4)]
    assert flights[0] == 10
    assert all(1.5 <= b / a <= 2.01 for a, b in zip(flights, flights[1:])), flights


def test_loss_reduces_the_window(stream):
    """To a half (RFC 5681) or to 0.7 (RFC 9438) of what was under way; no less."""
    for _ in range(3):
        stream.round()
    under_way = stream.info("snd_cwnd")
    stream.round(lose={0})
    for _ in range(3):
        stream.round()
    assert 0.3 * under_way <= stream.info("snd_ssthresh") <= 0.95 * 2 * under_way
    assert stream.info("snd_cwnd") < 2 * under_way


def test_after_loss_it_grows_slowly(stream):
    """Congestion avoidance: by about a segment in a round trip, not by doubling."""
    for _ in range(3):
        stream.round()
    stream.round(lose={0})
    for _ in range(3):
        stream.round()
    before = stream.info("snd_cwnd")
    for _ in range(4):
        stream.round()
    assert stream.info("snd_cwnd") <= before * 1.5 + 4


def test_a_timeout_begins_with_one_segment(stream):
    """RFC 5681, 3.1."""
    stream.round()
    stream.puppet("0")
    stream.peer.wire.drain()
    stream.net.clock.step(3)
    stream.puppet("0")
    assert stream.info("snd_cwnd") <= 2


def test_the_window_of_the_peer_is_the_limit(stream):
    """However large the congestion window is."""
    for _ in range(3):
        stream.round()
    assert stream.info("snd_cwnd") > 20
    stream.puppet("poll(c) & 4 and c.send(bytes(200000))")
    flight = [f for f in stream.peer.wire.drain() if stream.peer.is_ours(f) and payload_of(f)]
    end = max((f[TCP].seq - stream.start) % (1 << 32) + len(payload_of(f)) for f in flight)
    stream.peer.send("A", ack=stream.start + end, window=5 * MSS >> 6)
    stream.puppet("0")
    came = [f for f in stream.peer.wire.drain() if stream.peer.is_ours(f) and payload_of(f)]
    assert sum(len(payload_of(f)) for f in came) <= 5 * MSS


def test_an_unknown_algorithm_is_refused(listener):
    assert listener("l.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b'vegas')") == {"error": "ENOENT"}


def test_a_connection_inherits_the_listeners_algorithm(listener, peer):
    stream = Stream(listener, peer, "reno")
    assert listener("c.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(bytes(1))") == "reno"
    stream.net.clock.real()


def test_round_trips_are_measured(listener, peer):
    stream = Stream(listener, peer)
    for _ in range(5):
        stream.round()
    assert stream.info("rtt") == pytest.approx(20_000, rel=0.3), "microseconds"
    stream.net.clock.real()
