# SPDX-License-Identifier: BSD-3-Clause
"""Virtual time, seen by wires: it stands still, and passes when it is told to."""

import json
import time

import pytest
from scapy.layers.inet import IP, UDP

from uvnet_harness import wait
from uvnet_harness.fabric import FabricError
from uvnet_harness.faults import read_log


def numbered(a, b, count, length=60):
    """UDP datagrams of `length` bytes that say which they are."""
    head = a.ether(b.mac) / IP(src=a.ip, dst=b.ip) / UDP(sport=5000, dport=6000)
    return [bytes(head / i.to_bytes(4, "big") / bytes(length - 46)) for i in range(count)]


def numbers(frames):
    """What `numbered` frames say."""
    return [int.from_bytes(frame.raw[42:46], "big") for frame in frames]


def test_time_stands_still_and_is_stepped(net):
    a, b = net.wire("a"), net.wire("b")
    net.link(a).delay("10s")
    net.clock.stop()
    before = net.clock.now
    a.send(numbered(a, b, 1), ack=False)
    b.assert_nothing()
    assert net.clock.now == before
    net.clock.step(9.999999)
    b.assert_nothing(within=0)
    net.clock.step(0.000001)
    assert numbers(b.drain()) == [0]
    assert net.clock.elapsed == pytest.approx(10, abs=1e-9)


def test_warp_is_at_once(net):
    a, b = net.wire("a"), net.wire("b")
    net.link(a).delay("1s")
    net.link(b).delay("2s", "rx")
    net.clock.stop()
    a.send(numbered(a, b, 3), ack=False)
    net.clock.warp(3600)
    assert numbers(b.drain()) == [0, 1, 2]


def test_it_never_goes_back(net):
    seen = [net.clock.now]
    net.clock.stop()
    net.clock.step(100)
    seen.append(net.clock.now)
    net.clock.real()
    seen.append(net.clock.now)
    assert not net.clock.is_virtual
    net.clock.stop()
    seen.append(net.clock.now)
    assert seen == sorted(seen)
    assert 99 < seen[1] - seen[0] < 110


def test_delays_in_flight_survive_a_change(net):
    a, b = net.wire("a"), net.wire("b")
    slow = net.link(a).delay("60s")
    a.send(numbered(a, b, 1), ack=False)
    net.clock.stop()
    b.assert_nothing()
    net.clock.step(100)
    net.clock.real()
    slow.remove()
    net.link(a).delay("300ms")
    start = time.monotonic()
    a.send(numbered(a, b, 2)[1:], ack=False)
    assert numbers([b.expect(timeout=2), b.expect(timeout=2)]) == [0, 1]
    assert 0.3 <= time.monotonic() - start < 2


def test_a_sleeper_is_woken_by_the_clock(net):
    a, b = net.wire("a"), net.wire("b")
    net.link(a).delay("1h")
    net.clock.stop()
    a.send(numbered(a, b, 1), ack=False)
    b.pump()
    queue = b.rx_queues[0]
    assert queue.arm()
    assert not wait.readable(queue.fd, 0)
    net.clock.step(3600)
    assert wait.readable(queue.fd, 2)
    queue.disarm()
    assert numbers(b.drain()) == [0]


def test_auto_does_not_wait(net):
    a, b = net.wire("a"), net.wire("b")
    net.link(a).delay("10min")
    start = time.monotonic()
    with net.clock.auto():
        for _ in range(20):
            a.send(numbered(a, b, 1), ack=False)
            b.expect(timeout=2)
    assert net.clock.elapsed == pytest.approx(12000, abs=1e-6)
    assert time.monotonic() - start < 2


def test_delivery_is_in_order_of_time_however_late_one_looks(net):
    a, b = net.wire("a"), net.wire("b")
    net.link(a).model(delay="100ms", jitter="50ms", reorder=True)
    net.clock.stop()
    a.send(numbered(a, b, 50), ack=False)
    net.clock.step(1)
    order = numbers(b.drain())
    delays = {e["n"]: e["ns"] for e in read_log(net.fabric.decisions)}
    assert order == sorted(range(50), key=lambda i: (delays[i], i))


def test_bufferbloat_to_the_nanosecond(net):
    a, b = net.wire("a"), net.wire("b")
    fault = net.link(a).rate("8mbit", queue=20_000)
    net.clock.stop()
    a.send(numbered(a, b, 30, 1000), ack=False)
    assert fault.hits == 10, "20 fit"
    for i in range(20):
        net.clock.step(0.000999999)
        b.assert_nothing(within=0)
        net.clock.step(0.000000001)
        assert numbers(b.drain()) == [i]


def test_same_seed_same_log_and_order(net):
    a, b = net.wire("a"), net.wire("b")
    outcomes = []
    for _ in range(2):
        fault = net.link(a).model(
            rate="10mbit", queue=20_000, delay="5ms", jitter="4ms", reorder=True, loss="5%", duplicate="5%", seed=9
        )
        net.clock.stop()
        before = len(net.fabric.decisions)
        a.send(numbered(a, b, 100, 500), ack=False)
        net.clock.step(1)
        log = net.fabric.decisions[before:].replace(f'"fault":{fault.handle},', "")
        outcomes.append((log, [frame.raw for frame in b.drain()]))
        fault.remove()
        net.clock.real()
    assert outcomes[0] == outcomes[1]
    assert {entry["verdict"] for entry in map(json.loads, outcomes[0][0].splitlines())} == {
        "loss", "delay", "duplicate", "queue_full",
    }  # fmt: skip


def test_a_step_goes_on_without_the_daemon(net):
    a, b = net.wire("a"), net.wire("b")
    net.link(a).delay("1s")
    with net.clock.auto():
        net.fabric.stop_daemon()
        a.send(numbered(a, b, 1), ack=False)
        b.expect(timeout=2)
        net.fabric.cont_daemon()


def test_command(net):
    name = net.fabric.name
    assert net.fabric.tool("clock", name).startswith("real")
    with pytest.raises(FabricError, match="time is real"):
        net.fabric.tool("clock", name, "step", "5s")
    net.fabric.tool("clock", name, "virtual")
    net.fabric.tool("clock", name, "step", "1500ms")
    assert "stands still; 1.500000000 s" in net.fabric.tool("clock", name)
    net.fabric.tool("clock", name, "auto", "on")
    state = json.loads(net.fabric.tool("clock", name, "--json"))
    assert (state["virtual"], state["auto"], state["elapsed"]) == (True, True, 1_500_000_000)
    for words in (["sideways"], ["step"], ["step", "5"], ["auto", "maybe"]):
        with pytest.raises(FabricError, match="exit status 2"):
            net.fabric.tool("clock", name, *words)
    net.fabric.tool("clock", name, "real")
