# SPDX-License-Identifier: BSD-3-Clause
"""What TCP does about loss, reordering, closed windows and small paths, segment by segment: a peer made by
hand acknowledges exactly what the scenario says. Time stands still and is stepped."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.packet import Raw

from uvnet_harness.peer import payload_of

MSS = 1000
ROUND_TRIP = 0.02
SACK = [("MSS", MSS), ("SAckOK", b""), ("NOP", None), ("NOP", None)]


class Flow:
    """A stream from the puppet to the peer: which segment came, by its number."""

    def __init__(self, puppet, peer, options=tuple(SACK)):
        self.puppet, self.peer, self.net = puppet, peer, puppet.net
        self.net.clock.stop()
        peer.send("S", options=list(options))
        peer.ack = peer.expect("SA")[TCP].seq + 1
        self.net.clock.step(ROUND_TRIP)
        peer.send("A")
        puppet.until("poll(l) & 1", 1)
        puppet("c = l.accept()[0]; c.setblocking(False); c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)")
        self.start = peer.ack

    def send(self, segments):
        """Have the puppet send so many full segments; their numbers as they come at once."""
        assert self.puppet(f"c.send(bytes({segments * MSS}))") == segments * MSS
        return self.came()

    def came(self):
        """Numbers of the segments that have come and were not looked at."""
        self.puppet("0")  # what it had to send has been sent
        frames = [frame for frame in self.peer.wire.drain() if self.peer.is_ours(frame) and payload_of(frame)]
        return [(frame[TCP].seq - self.start) // MSS for frame in frames]

    def ack(self, number, *blocks, after=ROUND_TRIP, **fields):
        """Everything before segment `number` has come, and the blocks (from, to) beside it: says the peer, a
        round trip later."""
        self.net.clock.step(after)
        edges = [edge for block in blocks for edge in (self.start + block[0] * MSS, self.start + block[1] * MSS)]
        options = [("NOP", None), ("NOP", None), ("SAck", tuple(e % (1 << 32) for e in edges))] if edges else []
        self.peer.send("A", ack=self.start + number * MSS, options=options, **fields)
        return self.came()

    def wait(self, milliseconds):
        """Let time pass; what came."""
        self.net.clock.step(milliseconds / 1000)
        return self.came()

    def info(self, name):
        """A field of TCP_INFO."""
        return self.puppet(f"info(c)['{name}']")


@pytest.fixture
def flow(listener, peer):
    """A stream of segments of MSS bytes, with SACK."""
    made = Flow(listener, peer)
    yield made
    made.net.clock.real()


def test_no_loss_no_retransmission(flow):
    assert flow.send(5) == [0, 1, 2, 3, 4]
    assert flow.ack(5) == []
    assert flow.wait(5000) == []


@pytest.mark.parametrize("lost", [0, 1, 4, 6])
def test_a_lost_segment_is_sent_again_when_three_later_ones_came(flow, lost):
    assert flow.send(10) == list(range(10))
    flow.ack(lost)
    seen = []
    for last in range(lost + 2, lost + 5):
        seen += flow.ack(lost, (lost + 1, last))
    assert seen + flow.wait(50) == [lost]
    assert flow.ack(10) == []
    assert flow.wait(5000) == []


def test_only_the_holes_are_sent_again(flow):
    assert flow.send(10) == list(range(10))
    seen = flow.ack(0, (1, 2)) + flow.ack(0, (1, 2), (3, 4)) + flow.ack(0, (5, 8), (3, 4), (1, 2))
    seen += flow.wait(50)
    assert sorted(set(seen)) == [0, 2, 4]
    assert len(seen) == 3, f"each of them once: {seen}"


def test_a_partial_acknowledgment_shows_the_next_hole(flow):
    assert flow.send(10) == list(range(10))
    first = flow.ack(0, (1, 4)) + flow.ack(0, (1, 4), (5, 10)) + flow.wait(50)
    assert 0 in first
    assert 4 in first + flow.ack(4, (5, 10)) + flow.wait(50)


def test_a_lost_retransmission_is_sent_again_after_a_timeout(flow):
    assert flow.send(10) == list(range(10))
    flow.ack(0, (1, 10))
    flow.wait(50)
    assert 0 in flow.wait(3000), "the second time by the timer"


def test_the_last_segment_of_all_is_probed_for(flow):
    """A tail loss shows no later segments: a probe (RFC 8985) or the timer sends it again, in a second."""
    flow.send(3)
    flow.ack(2)
    assert 2 in flow.wait(1500)


def test_timeouts_double(flow):
    flow.send(1)
    times, now = [], 0
    while len(times) < 5:
        now += 100
        assert now < 60_000, f"retransmissions after {times} ms"
        times += [now] * len(flow.wait(100))
    gaps = [b - a for a, b in zip(times[1:], times[2:])]
    assert all(1.8 <= later / earlier <= 2.2 for earlier, later in zip(gaps, gaps[1:])), times


def test_an_acknowledgment_ends_the_timeouts(flow):
    flow.send(1)
    assert flow.wait(2500)
    flow.ack(1)
    assert flow.wait(60_000) == []


def test_a_timeout_sends_everything_again_that_was_lost(flow):
    assert flow.send(4) == [0, 1, 2, 3]
    seen = flow.wait(2000)
    for number in range(1, 5):
        seen += flow.ack(number) + flow.wait(20)
    assert {0, 1, 2, 3} >= set(seen) >= {0}
    assert flow.info("unacked") == 0


def test_reordering_of_two_is_no_loss(flow):
    assert flow.send(6) == list(range(6))
    assert flow.ack(0, (1, 2)) == []
    assert flow.ack(2, after=0.001) == []
    assert flow.ack(6, after=0.001) == []
    assert flow.info("retrans") == 0


def test_lost_acknowledgments_do_no_harm(flow):
    """The last one says it all."""
    assert flow.send(8) == list(range(8))
    assert flow.ack(8) == []
    assert flow.wait(5000) == []
    assert flow.info("retrans") == 0


def test_duplicates_without_sack_are_counted_too(listener, peer):
    """Three duplicate acknowledgments (RFC 5681, 3.2)."""
    flow = Flow(listener, peer, [("MSS", MSS)])
    assert flow.send(8) == list(range(8))
    assert flow.ack(0) == []
    assert flow.ack(0, after=0.001) == []
    assert 0 in flow.ack(0, after=0.001)
    flow.net.clock.real()


def test_a_sack_block_of_nothing_sent_is_ignored(flow):
    assert flow.send(4) == [0, 1, 2, 3]
    assert flow.ack(0, (1000, 1004)) == []
    assert flow.ack(4) == []
    assert flow.wait(5000) == []


def test_sacked_data_is_dropped_by_no_one(flow):
    """SACK is advisory (RFC 2018, 8): after a timeout even that can be sent again, and the stream goes on."""
    flow.send(4)
    flow.ack(0, (1, 4))
    flow.wait(5000)
    assert flow.ack(4) == []
    assert flow.send(1) == [4]


# ------------------------------------------------------------------------------------ the receiver


def data(flow, number, size=100):
    """A segment from the peer, out of turn: number `number` of `size` bytes."""
    flow.peer.send("PA", bytes([65 + number]) * size, seq=flow.peer.seq + number * size)


def sack_of(frame):
    """The blocks of an acknowledgment."""
    edges = dict((name, value) for name, value in frame[TCP].options if name == "SAck").get("SAck", ())
    return list(zip(edges[::2], edges[1::2]))


def test_a_gap_is_told_at_once_with_sack(flow):
    data(flow, 1)
    answer = flow.peer.expect("A")
    base = flow.peer.seq
    assert (answer[TCP].ack, sack_of(answer)) == (base, [(base + 100, base + 200)])


def test_the_block_that_came_last_is_told_first(flow):
    """RFC 2018, 4."""
    data(flow, 1)
    data(flow, 5)
    flow.peer.expect("A")
    answer = flow.peer.expect("A")
    base = flow.peer.seq
    assert sack_of(answer)[0] == (base + 500, base + 600)
    assert (base + 100, base + 200) in sack_of(answer)


def test_a_filled_gap_is_acknowledged_at_once(flow):
    data(flow, 1)
    flow.peer.expect("A")
    data(flow, 0)
    answer = flow.peer.expect("A")
    assert (answer[TCP].ack, sack_of(answer)) == (flow.peer.seq + 200, [])
    assert flow.puppet("c.recv(500)") == "A" * 100 + "B" * 100


def test_any_order_gives_the_stream(flow):
    order = list(range(12))
    flow.net.random("order").shuffle(order)
    for number in order:
        data(flow, number)
    flow.puppet.until("len(c.recv(5000, socket.MSG_PEEK))", 1200)
    assert flow.puppet("c.recv(5000)") == "".join(chr(65 + n) * 100 for n in range(12))


def test_every_second_full_segment_is_acknowledged(flow):
    """RFC 9293, 3.8.6.3: a delayed ACK, but of at most two full segments."""
    for number in range(4):
        data(flow, number, MSS)
    last = flow.peer.expect("A")
    while last[TCP].ack != (flow.peer.seq + 4 * MSS) % (1 << 32):
        last = flow.peer.expect("A")


def test_a_single_segment_is_acknowledged_in_time(flow):
    """Within half a second (RFC 9293, 3.8.6.3)."""
    data(flow, 0)
    flow.net.clock.step(0.5)
    assert flow.peer.expect("A")[TCP].ack == flow.peer.seq + 100


# ------------------------------------------------------------------------------------- the window


def test_nothing_is_sent_beyond_the_window(flow):
    flow.send(1)
    flow.ack(1, window=3 * MSS)
    assert flow.send(8) == [1, 2, 3]
    assert flow.ack(4, window=2 * MSS) == [4, 5]


def close_window(flow):
    """With the acknowledgment of a segment: 0."""
    flow.send(1)
    flow.ack(1, window=0)


def test_a_closed_window_is_probed(flow):
    close_window(flow)
    flow.puppet(f"c.send(bytes({MSS}))")
    flow.puppet("0")
    flow.net.clock.step(8)
    probes = [f for f in flow.peer.wire.drain() if flow.peer.is_ours(f)]
    assert probes, "or a lost window update would be the end"
    assert all(len(payload_of(f)) <= 1 for f in probes)


def test_an_opened_window_is_used_at_once(flow):
    close_window(flow)
    flow.puppet(f"c.send(bytes({3 * MSS}))")
    assert flow.came() == []
    assert flow.ack(1, window=10 * MSS) == [1, 2, 3]


def test_a_closed_window_ends_no_connection(flow):
    """As long as the probes are answered (RFC 9293, 3.8.6.1)."""
    close_window(flow)
    flow.puppet(f"c.send(bytes({MSS}))")
    for _ in range(20):
        flow.net.clock.step(30)
        flow.peer.wire.drain()
        flow.peer.send("A", ack=flow.start + MSS, window=0)
    assert flow.puppet("state(c)") == "ESTABLISHED"
    assert 1 in flow.ack(1, window=10 * MSS)


def test_an_old_segment_does_not_close_the_window(flow):
    """SND.WL1 and SND.WL2 (RFC 9293, 3.10.7.4): the window of an older acknowledgment is old."""
    flow.send(2)
    flow.ack(2, window=50 * MSS)
    flow.ack(1, window=0)
    assert flow.send(2) == [2, 3]


def test_the_own_window_closes_and_opens(flow):
    """A reader that does not read is told of by the window; reading opens it, unasked."""
    flow.puppet("c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)")
    flow.net.clock.real()
    window, sent = 65535, 0
    while window >= MSS:
        flow.peer.send("PA", bytes(MSS))
        sent += MSS
        window = min(65535, flow.peer.expect("A")[TCP].window)
        assert sent < 1 << 21, "the window never closes"
    flow.peer.wire.drain()
    read = flow.puppet("sum(len(c.recv(65536)) for _ in range(100) if poll(c) & 1)")
    assert read == sent
    assert flow.peer.expect("A")[TCP].window > window


# --------------------------------------------------------------------------------------- the path


def too_big(flow, mtu, sequence=None):
    """A router's word that a segment of the flow did not fit."""
    peer = flow.peer
    quoted = IP(src=peer.ip, dst=peer.wire.ip, flags="DF") / TCP(
        sport=peer.dport, dport=peer.sport, seq=flow.start if sequence is None else sequence, flags="A"
    )
    error = ICMP(type=3, code=4, nexthopmtu=mtu) / Raw(bytes(quoted)[:28])
    peer.wire.send(peer.wire.ether(peer.mac) / IP(src=peer.wire.ip, dst=peer.ip) / error)


def sizes(flow):
    """Payload lengths of what came."""
    flow.puppet("0")
    return [len(payload_of(f)) for f in flow.peer.wire.drain() if flow.peer.is_ours(f) and payload_of(f)]


def test_a_path_error_about_something_else_is_ignored(flow):
    """A sequence number that is not under way: made up (RFC 5927, 7)."""
    flow.send(1)
    flow.ack(1)
    too_big(flow, 576, sequence=flow.start + 10_000_000)
    assert flow.send(1) == [1]
    assert flow.info("snd_mss") == MSS


@pytest.mark.parametrize("code", [0, 1, 3])
def test_unreachable_is_no_end(flow, code):
    """A soft error (RFC 9293, 3.9.2.2): the connection lives on."""
    peer = flow.peer
    flow.send(1)
    quoted = IP(src=peer.ip, dst=peer.wire.ip) / TCP(sport=peer.dport, dport=peer.sport, seq=flow.start, flags="A")
    error = ICMP(type=3, code=code) / Raw(bytes(quoted)[:28])
    peer.wire.send(peer.wire.ether(peer.mac) / IP(src=peer.wire.ip, dst=peer.ip) / error)
    assert flow.puppet("state(c)") == "ESTABLISHED"
    flow.ack(1)
    assert flow.send(1) == [1]


def test_timestamps_are_echoed(listener, peer):
    """RFC 7323, 3.2."""
    answer = peer.connect(options=[("MSS", 1460), ("Timestamp", (12345, 0))])
    assert dict(answer[TCP].options)["Timestamp"][1] == 12345


def test_a_smaller_path_makes_smaller_segments(flow):
    """RFC 1191. The last of this file, for the host remembers the path."""
    flow.send(2)
    too_big(flow, 576)
    flow.net.clock.step(2)
    again = sizes(flow)
    assert again and max(again) <= 576 - 40
    flow.ack(2)
    flow.puppet(f"c.send(bytes({3 * MSS}))")
    assert max(sizes(flow)) == 576 - 40
