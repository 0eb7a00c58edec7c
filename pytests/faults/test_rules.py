# SPDX-License-Identifier: BSD-3-Clause
"""Fault rules: each verdict, seen by wires."""

import time

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether

from uvnet_harness.fabric import FabricError


def numbered(a, b, count, payload=b""):
    """UDP datagrams that say which they are."""
    return [
        bytes(a.ether(b.mac) / IP(src=a.ip, dst=b.ip) / UDP(sport=5000, dport=6000 + i) / (payload or bytes([i])))
        for i in range(count)
    ]


def ports(frames):
    """What `numbered` frames say."""
    return [frame[UDP].dport - 6000 for frame in frames]


@pytest.fixture(params=["tx", "rx"])
def pair(net, request):
    """Two wires, and a function that adds rules on the way from the first to the second."""
    a, b = net.wire("a"), net.wire("b")
    end = a if request.param == "tx" else b

    def fault(*args, **kwargs):
        return net.link(end).fault(*args, direction=request.param, **kwargs)

    return a, b, fault


def test_skip_and_count(pair):
    a, b, fault = pair
    rule = fault("udp", skip=2, drop=3)
    a.send(numbered(a, b, 8))
    assert ports(b.drain()) == [0, 1, 5, 6, 7]
    assert (rule.matched, rule.hits) == (8, 3)


def test_filter_decides(pair):
    a, b, fault = pair
    fault("udp dst port 6002 or udp dst port 6004", drop=0)
    a.send(numbered(a, b, 6))
    assert ports(b.drain()) == [0, 1, 3, 5]


def test_drops_have_a_name(net, pair):
    a, b, fault = pair
    before = net.fabric.snapshot()
    fault(drop=3)
    a.send(numbered(a, b, 5))
    change = net.fabric.snapshot() - before
    assert change.sum("*.drops.fault_drop") - change.sum("port.b.drops.fault_drop") == 3
    assert change["port.a.txq.0.packets"] == 5
    assert change["port.b.rx_packets"] == 2


def test_duplicate(net, pair):
    a, b, fault = pair
    fault(skip=1, duplicate=1)
    a.send(numbered(a, b, 3))
    assert ports(b.drain()) == [0, 1, 1, 2]
    assert net.fabric.snapshot()["port.a.txq.0.fault_dups"] == 1


def test_truncate(pair):
    a, b, fault = pair
    fault(truncate=50, count=1)
    frames = numbered(a, b, 2, b"x" * 100)
    a.send(frames)
    assert [frame.raw for frame in b.drain()] == [frames[0][:50], frames[1]]


def test_corrupt_flips_one_bit_behind_the_ethernet_header(net, pair):
    a, b, fault = pair
    fault(corrupt=0)
    frames = numbered(a, b, 20, b"x" * 100)
    a.send(frames)
    received = b.drain()
    damage = [int.from_bytes(r.raw, "big") ^ int.from_bytes(f, "big") for r, f in zip(received, frames, strict=True)]
    assert all(bits.bit_count() == 1 for bits in damage)
    assert all(r.raw[:14] == f[:14] for r, f in zip(received, frames, strict=True))
    assert len(set(damage)) > 10, "always the same bit"


def test_hold_and_release_in_order(pair):
    a, b, fault = pair
    rule = fault("udp dst port 6000 or udp dst port 6001 or udp dst port 6002", hold=0)
    a.send(numbered(a, b, 5), ack=False)
    assert ports(b.drain()) == [3, 4]
    assert rule.held == 3
    assert rule.release(1) == 1
    assert ports(b.drain()) == [0]
    assert rule.release() == 2
    assert ports(b.drain()) == [1, 2]
    a.acknowledged()


def test_removing_a_rule_releases_what_it_holds(pair):
    a, b, fault = pair
    rule = fault(hold=0)
    a.send(numbered(a, b, 2), ack=False)
    b.assert_nothing(within=0)
    rule.remove()
    assert ports(b.drain()) == [0, 1]
    a.send(numbered(a, b, 1))
    assert ports(b.drain()) == [0]


def test_release_wakes_a_sleeping_receiver(net, pair):
    a, b, fault = pair
    rule = fault(hold=1)
    a.send(numbered(a, b, 1), ack=False)
    net.fabric.snapshot()
    b.pump()
    queue = b.rx_queues[0]
    assert queue.arm()
    rule.release()
    from uvnet_harness import wait

    assert wait.readable(queue.fd, 2)
    queue.disarm()
    assert ports(b.drain()) == [0]


def test_reorder(pair):
    a, b, fault = pair
    fault("udp dst port 6001", reorder=2, count=1)
    a.send(numbered(a, b, 5))
    assert ports(b.drain()) == [0, 2, 3, 1, 4]


def test_reordering_gives_up_when_nothing_follows(pair):
    a, b, fault = pair
    fault(reorder=1, count=1)
    start = time.monotonic()
    a.send(numbered(a, b, 1), ack=False)
    assert ports([b.expect(timeout=2)]) == [0]
    assert 0.1 <= time.monotonic() - start < 1


def test_delay_lets_others_pass(pair):
    a, b, fault = pair
    fault("udp dst port 6000", delay="50ms")
    start = time.monotonic()
    a.send(numbered(a, b, 3), ack=False)
    assert ports([b.expect(timeout=0), b.expect(timeout=0)]) == [1, 2]
    assert ports([b.expect(timeout=2)]) == [0]
    assert 0.05 <= time.monotonic() - start < 0.5


def test_rules_apply_together(pair):
    a, b, fault = pair
    fault("udp dst port 6000", duplicate=0)
    fault("udp dst port 6000", truncate=60)
    fault("udp dst port 6001", drop=0)
    frames = numbered(a, b, 3, b"y" * 50)
    a.send(frames)
    assert [frame.raw for frame in b.drain()] == [frames[0][:60], frames[0][:60], frames[2]]


def test_a_flooded_frame_meets_each_receivers_cable(net):
    a, b, c = net.wire("a"), net.wire("b", promiscuous=True), net.wire("c", promiscuous=True)
    net.link(b).fault(direction="rx", corrupt=0)
    frame = bytes(Ether(src=a.mac, dst="ff:ff:ff:ff:ff:ff", type=0x88B5) / (b"z" * 60))
    a.send(frame)
    assert c.expect(timeout=0).raw == frame
    assert b.expect(timeout=0).raw != frame


def test_frames_of_many_cells(pair):
    a, b, fault = pair
    for wire in (a, b):
        wire.configure(mtu=9000)
    fault(delay="5ms")
    frames = numbered(a, b, 3, b"j" * 8000)
    a.send(frames, ack=False)
    assert [b.expect(timeout=2).raw for _ in frames] == frames


def test_faults_wait_for_their_port(net):
    net.link("late").fault(drop=1)
    a = net.wire("a")
    late = net.wire("late")
    late.send(numbered(late, a, 2))
    assert ports(a.drain()) == [1]


def test_what_the_filter_sees(net):
    a, b = net.wire("a"), net.wire("b")
    rule = net.link(a).fault("tcp[tcpflags] & tcp-syn != 0 and dst port 80", drop=1)
    syn = a.ether(b.mac) / IP(src=a.ip, dst=b.ip) / TCP(dport=80, flags="S")
    a.send([syn, syn])
    assert len(b.drain()) == 1
    assert rule.hits == 1


def test_captured_frames_say_which_fault(net):
    a, b = net.wire("a"), net.wire("b")
    rule = net.link(a).fault("udp dst port 6001", drop=1)
    a.send(numbered(a, b, 2))
    net.fabric.stop_capture()
    text = (net.folder / "capture.pcapng").read_bytes()
    assert f"verdict=fault fault={rule.handle}".encode() in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["add", "a", "tx", "--filter", "no such thing", "--drop"], "syntax error"),
        (["add", "a", "tx"], "what is to be done"),
        (["add", "a", "sideways", "--drop"], "tx or rx"),
        (["add", "a b", "tx", "--drop"], "a port's name"),
        (["add", "a", "tx", "--delay", "20"], "no unit"),
        (["add", "a", "tx", "--drop", "--hold"], "one verdict"),
        (["add", "a", "tx", "--truncate", "3"], "out of range"),
        (["remove", "99"], "no fault 99"),
        (["release", "99"], "no fault 99"),
        (["explode"], "add, list, remove"),
    ],
)
def test_wrong_requests_are_refused_in_words(net, words, says):
    with pytest.raises(FabricError, match=says):
        net.fabric.tool("fault", net.fabric.name, *words)


def test_there_is_a_limit(net):
    link = net.link("a")
    handles = [link.fault(drop=0) for _ in range(64)]
    with pytest.raises(FabricError, match="64 faults already"):
        link.fault(drop=0)
    handles[10].remove()
    assert link.fault(drop=0).handle not in {fault.handle for fault in handles}
    net.fabric.tool("fault", net.fabric.name, "remove", "--all")
    assert net.fabric.snapshot().data["faults"] == []


def test_faults_outlive_the_daemon(net):
    a, b = net.wire("a"), net.wire("b")
    rule = net.link(a).fault(drop=2)
    a.send(numbered(a, b, 1))
    net.fabric.kill_daemon()
    a.send(numbered(a, b, 2))
    assert ports(b.drain()) == [1]
    net.fabric.restart_daemon()
    assert rule.hits == 2
    rule.remove()
