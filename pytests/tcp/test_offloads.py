# SPDX-License-Identifier: BSD-3-Clause
"""Segments that the network card makes (TSO) and joins (LRO), and that they are those that TCP would have sent. A
wire takes every segment by itself; uveth joins what comes to a host in one burst."""

import re
import subprocess

import pytest
from scapy.layers.inet import IP, TCP

from uvnet_harness.peer import payload_of

NOP = ("NOP", None)
OPTIONS = [("MSS", 1460), ("SAckOK", b""), ("WScale", 7), ("Timestamp", (1, 0))]


@pytest.fixture
def counted(module_net, puppet):
    """How often something was counted since the last time it was asked."""
    before = {}

    def since(name):
        line = [module_net.build.uvstack, "--pid", str(puppet.app.pid), "metrics"]
        text = subprocess.run(line, capture_output=True, text=True, check=True).stdout
        now = int(re.search(rf"^uvstack_{name}_total\{{.*\}} (\d+)$", text, re.M)[1])
        before[name], last = now, before.get(name, 0)
        return now - last

    return since


@pytest.fixture
def stream(module_net, listener, peer):
    """A connection of which the peer has opened a large window; time stands still."""
    module_net.clock.stop()
    peer.send("S", options=OPTIONS)
    peer.ack = peer.expect("SA")[TCP].seq + 1
    peer.send("A", options=[("Timestamp", (2, 1))], window=4096)
    listener.until("poll(l) & 1", 1)
    listener("c = l.accept()[0]; c.setblocking(False)")
    yield listener
    module_net.clock.real()


def drain(listener, peer):
    """The segments with data that have come."""
    listener("0")
    return [f for f in peer.wire.drain() if peer.is_ours(f) and (payload_of(f) or "F" in str(f[TCP].flags))]


def check(segments, data, first):
    """They are one flight of TCP: full but for the last, one behind the other, and right by themselves."""
    assert b"".join(payload_of(f) for f in segments) == data
    seq = first
    for f in segments:
        assert f[TCP].seq == seq
        seq = (seq + len(payload_of(f))) % (1 << 32)
        again = IP(bytes(f[IP]))
        del again.chksum, again[TCP].chksum
        assert bytes(IP(bytes(again))) == bytes(f[IP])[: f[IP].len], "checksums"
    assert all(len(payload_of(f)) == 1448 for f in segments[:-1])
    ids = [f[IP].id for f in segments]
    assert ids == [(ids[0] + i) % (1 << 16) for i in range(len(ids))]
    assert len({(f[TCP].ack, f[TCP].window, str(f[TCP].options), f[IP].tos, f[IP].ttl) for f in segments}) == 1
    assert all("F" not in str(f[TCP].flags) for f in segments[:-1])


def test_a_flight_is_one_frame_for_the_card(stream, peer, counted):
    """Ten segments that the card has made of one; the push at its end."""
    data = bytes(range(256)) * 56
    counted("port_tx_joined")
    assert stream("c.send(bytes(range(256)) * 56)") == len(data)
    segments = drain(stream, peer)
    check(segments, data, peer.ack)
    assert [str(f[TCP].flags) for f in segments] == ["A"] * 9 + ["PA"]
    assert counted("port_tx_joined") == 9


def test_a_fin_goes_by_itself(stream, peer, counted):
    """Its segment would be another one if it were sent again."""
    counted("port_tx_joined")
    stream("c.send(bytes(5000)); c.close()")
    segments = drain(stream, peer)
    check([f for f in segments if payload_of(f)], bytes(5000), peer.ack)
    assert ["F" in str(f[TCP].flags) for f in segments] == [False] * (len(segments) - 1) + [True]
    assert counted("port_tx_joined") > 0


@pytest.mark.parametrize("lost", [{0}, {3}, {9}, {2, 3, 4}, set(range(10))], ids=str)
def test_what_is_lost_comes_again_as_it_was(module_net, stream, peer, lost):
    """Some of a flight, whichever place they had in the card's frame; the FIN in its place behind them."""
    data = bytes(range(256)) * 56
    stream("c.send(bytes(range(256)) * 56)")
    first, segments = peer.ack, drain(stream, peer)
    stream("c.close()")
    kept = {(f[TCP].seq - first) % (1 << 32): payload_of(f) for i, f in enumerate(segments) if i not in lost}
    fins, echo = set(), 1
    for _ in range(40):
        for f in drain(stream, peer):
            begin = (f[TCP].seq - first) % (1 << 32)
            echo = dict(f[TCP].options)["Timestamp"][0]
            if payload_of(f):
                kept[begin] = payload_of(f)
            if "F" in str(f[TCP].flags):
                fins.add(begin + len(payload_of(f)))
        peer.ack = (first + contiguous(kept)) % (1 << 32)
        if contiguous(kept) == len(data) and fins:
            break
        peer.send("A", window=4096, options=[("Timestamp", (3, echo)), *sacks(kept, first)])
        stream("0")
        module_net.clock.step(0.25)
    assert b"".join(kept[begin] for begin in sorted(kept)) == data
    assert fins == {len(data)}


def contiguous(kept):
    """Bytes from the first on without a gap."""
    end = 0
    for begin in sorted(kept):
        if begin > end:
            break
        end = max(end, begin + len(kept[begin]))
    return end


def sacks(kept, first):
    """The SACK option for what lies behind the first gap."""
    edges, end = [], contiguous(kept)
    for begin in sorted(b for b in kept if b > end):
        if edges and edges[-1] == begin:
            edges.pop()
        else:
            edges.append(begin)
        edges.append(begin + len(kept[begin]))
    edges = edges[-4:]
    return [("SAck", tuple((first + e) % (1 << 32) for e in edges))] if edges else []


def burst(peer, *payloads, options=(NOP, NOP, ("Timestamp", (3, 1)))):
    """Segments in one burst, as one sender's."""
    frames = []
    for number, payload in enumerate(payloads):
        frames.append(peer.segment("A", payload, options=list(options)))
        frames[-1][IP].id = number
        peer.seq += len(payload)
    peer.wire.send(frames)


def test_segments_of_a_burst_come_as_one_and_are_acknowledged_at_once(stream, peer, counted):
    """RFC 5681, 4.2: at least every second segment, whatever the card has made of them."""
    counted("port_rx_joined")
    burst(peer, *[bytes([i]) * 1448 for i in range(8)])
    stream.until("poll(c) & 1", 1)
    answers = [f for f in peer.wire.drain() if peer.is_ours(f)]
    assert [f[TCP].ack for f in answers] == [peer.seq]
    assert counted("port_rx_joined") == 1
    assert stream("c.recv(20000)") == "".join(chr(i) * 1448 for i in range(8))


def test_one_segment_is_not_acknowledged_at_once(module_net, stream, peer):
    """A delayed acknowledgment, as for any segment."""
    burst(peer, bytes(1448))
    stream.until("poll(c) & 1", 1)
    assert not [f for f in peer.wire.drain() if peer.is_ours(f)]
    module_net.clock.step(0.2)
    assert peer.expect("A")[TCP].ack == peer.seq


def test_a_burst_that_was_in_part_received_before(stream, peer):
    """Its beginning is cut off; nothing is read twice."""
    burst(peer, b"a" * 1448)
    stream.until("poll(c) & 1", 1)
    peer.seq -= 1448
    burst(peer, b"a" * 1448, b"b" * 1448, b"c" * 100)
    stream.until("c.recv(20000, socket.MSG_PEEK).count(b'c')", 100)
    assert stream("c.recv(20000)") == "a" * 1448 + "b" * 1448 + "c" * 100


def test_a_burst_that_comes_too_early_waits(stream, peer):
    """Out of order it is selectively acknowledged as one, and read in its place."""
    peer.seq += 1448
    burst(peer, b"b" * 1448, b"c" * 1448)
    options = dict(peer.expect("A")[TCP].options)
    assert options["SAck"] == (peer.seq - 2 * 1448, peer.seq)
    peer.seq -= 3 * 1448
    burst(peer, b"a" * 1448)
    stream.until("len(c.recv(20000, socket.MSG_PEEK))", 3 * 1448)
    assert stream("c.recv(20000)") == "".join(c * 1448 for c in "abc")


def test_a_burst_that_exceeds_the_window_is_cut(listener, peer):
    """Of one frame the part that fits is taken."""
    window = peer.connect()[TCP].window
    listener.until("poll(l) & 1", 1)
    listener("c = l.accept()[0]; c.setblocking(False)")
    start, sent = peer.seq, [bytes([i]) * 1000 for i in range(window // 1000 + 5)]
    burst(peer, *sent, options=())
    edge = [f for f in peer.wire.drain() if peer.is_ours(f)][-1]
    assert (edge[TCP].ack - start, edge[TCP].window) == (window, 0)
    assert listener("c.recv(100000)") == b"".join(sent)[:window].decode("latin-1")
