# SPDX-License-Identifier: BSD-3-Clause
"""The tests of l2fwd: what its users rely on. Run with uvnet's pytest plugin; see docs/howto-dpdk.md."""

import os
import re
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

L2FWD = Path(os.environ["L2FWD"])


class Bench:
    """l2fwd between two wires: left - port 0 - l2fwd - port 1 - right."""

    def __init__(self, net):
        self.net = net
        self.host = net.dpdk("l2fwd", ports=2)
        self.left, self.right = net.wire("left", promiscuous=True), net.wire("right", promiscuous=True)
        net.cable(self.left, self.host.ports[0])
        net.cable(self.host.ports[1], self.right)
        self.start()

    def start(self):
        """Start it, again if need be."""
        self.app = self.host.start(L2FWD).wait_ready(log="l2fwd: forwarding")

    def counters(self):
        """What it prints when it ends: (rx, tx, dropped) of each port."""
        assert self.app.stop() == 0
        lines = re.findall(r"^port \d+: rx (\d+) tx (\d+) dropped (\d+)$", self.app.stdout, re.M)
        return [tuple(map(int, line)) for line in lines]


@pytest.fixture
def bench(net):
    """l2fwd, forwarding."""
    return Bench(net)


def frames(count, size=60):
    """Frames that can be told apart, from and to addresses that nobody has."""
    head = Ether(src="02:aa:00:00:00:01", dst="02:bb:00:00:00:02") / IP(src="192.0.2.1", dst="192.0.2.2") / UDP()
    return [bytes(head / (n.to_bytes(4, "big") + bytes(size - 46))) for n in range(count)]


def test_both_ways_in_order_and_unchanged(bench):
    for source, sink in ((bench.left, bench.right), (bench.right, bench.left)):
        sent = frames(100)
        source.send(sent)
        assert [sink.expect().raw for _ in sent] == sent
        source.assert_nothing()
    assert bench.counters() == [(100, 100, 0), (100, 100, 0)]


@pytest.mark.parametrize("size", [60, 61, 1514])
def test_sizes(bench, size):
    (sent,) = frames(1, size)
    bench.left.send(sent)
    assert bench.right.expect().raw == sent


def test_frames_longer_than_the_mtu_are_the_ports_to_count(bench):
    before = bench.net.fabric.snapshot()
    bench.left.send(frames(1, 1600))
    change = bench.net.fabric.snapshot() - before
    assert change["port.l2fwd.0.drops.rx_oversize"] == 1, str(change)
    bench.right.assert_nothing()


def test_what_the_other_side_does_not_take_is_counted(bench):
    """The far end stops reading: its ring fills, and every frame is accounted for."""
    before = bench.net.fabric.snapshot()
    bench.right.paused = True
    for _ in range(30):
        bench.left.send(frames(100))
    (rx, _, _), (_, tx, dropped) = bench.counters()
    bench.right.paused = False
    got = len(bench.right.drain())
    lost = (bench.net.fabric.snapshot() - before)["voq.l2fwd.1.0.right.0.full"]
    assert (rx, tx + dropped, got + lost) == (3000, 3000, tx)
    assert lost + dropped > 0


def test_a_lossy_cable_is_not_its_fault(bench):
    bench.net.link(bench.left).fault("udp", skip=3, drop=2)
    sent = frames(10)
    bench.left.send(sent)
    assert [bench.right.expect().raw for _ in range(8)] == sent[:3] + sent[5:]


def test_killed_and_started_again(bench):
    bench.app.kill()
    bench.net.fabric.wait_no_port("l2fwd.0")
    bench.net.fabric.assert_clean()
    bench.start()
    sent = frames(5)
    bench.left.send(sent)
    assert [bench.right.expect().raw for _ in sent] == sent


def test_an_odd_number_of_ports_is_refused(net):
    done = net.dpdk(ports=1).run(L2FWD)
    assert done.returncode == 1
    assert "even number of ports is needed, there are 1" in done.stderr
