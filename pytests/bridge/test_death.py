# SPDX-License-Identifier: BSD-3-Clause
"""Ports and daemons die under traffic; the others go on, and nothing leaks. Wires only."""

import sys
from pathlib import Path

import pytest

from uvnet_harness import uvb, until

PUMP = Path(__file__).resolve().parents[1] / "apps" / "pump.py"
BROADCAST = "ff:ff:ff:ff:ff:ff"

pytestmark = pytest.mark.uvnet(capture=False)


def pump(net, port, mac, target, *frames):
    """A wire in a process of its own that sends without end."""
    process = net.start(
        port, sys.executable, PUMP, net.build.libuvbridge, net.name, port, mac, target, *map(str, frames)
    )
    process.wait_output("attached")
    return process


def frame(src, dst):
    """A small frame."""
    return uvb.mac_bytes(dst) + uvb.mac_bytes(src) + b"\x88\xb5" + bytes(46)


def exchange(a, b, count=100):
    """Both ways, everything arrives."""
    for src, dst in ((a, b), (b, a)):
        src.send([frame(src.mac, dst.mac)] * count)
        assert sum(uvb.mac_bytes(src.mac) == f.raw[6:12] for f in dst.drain()) == count


@pytest.mark.parametrize("deaths", [1, 3])
def test_killed_sender_is_reclaimed(net, deaths):
    a, b = net.wire("a"), net.wire("b")
    mac = net.addresses.mac(200)
    for number in range(1, deaths + 1):
        process = pump(net, "victim", mac, a.mac)
        for _ in range(50):
            a.expect(lambda f: f.raw[6:12] == uvb.mac_bytes(mac))
        process.kill()
        net.fabric.wait_no_port("victim")
        exchange(a, b)
        until(lambda: net.fabric.snapshot()["fabric.reclaims"] == number, 5, "the reclaim to be counted")
    net.close_wire(a), net.close_wire(b)
    net.fabric.assert_clean()


def test_killed_receiver_is_reclaimed(net):
    a, b = net.wire("a"), net.wire("b")
    mac = net.addresses.mac(200)
    process = pump(net, "victim", mac, a.mac, 32)
    process.wait_output("sent 32")
    a.send([frame(a.mac, mac)] * 100)
    process.kill()
    a.send([frame(a.mac, mac)] * 100, ack=False)
    net.fabric.wait_no_port("victim")
    a.acknowledged()
    before = net.fabric.snapshot()
    a.send([frame(a.mac, mac)] * 10)
    change = net.fabric.snapshot() - before
    assert change.sum("*.drops.port_down") + change["port.a.txq.0.flooded"] == 10, str(change)
    a.drain()
    exchange(a, b)


def test_name_is_free_at_once(net):
    a = net.wire("a")
    mac = net.addresses.mac(200)
    for _ in range(3):
        process = pump(net, "victim", mac, a.mac)
        process.kill()
        until(lambda: net.fabric.snapshot().port("victim") is None, 5)
    again = net.wire("victim", mac=mac)
    a.drain()
    exchange(a, again)


def test_name_in_use_is_refused(net):
    net.wire("a")
    with pytest.raises(uvb.UvbError, match="a"):
        net._attach("a", 100, False, 1, False, None)


def test_traffic_flows_while_the_daemon_is_stopped(net):
    a, b = net.wire("a"), net.wire("b")
    net.fabric.stop_daemon()
    exchange(a, b)
    assert a.up and b.up
    net.fabric.cont_daemon()
    exchange(a, net.wire("c"))


def test_daemon_killed_and_restarted(net):
    a, b = net.wire("a"), net.wire("b")
    exchange(a, b)
    net.fabric.kill_daemon()
    exchange(a, b)
    assert a.up and b.up
    with pytest.raises(uvb.UvbError):
        net.wire("early")
    net.fabric.restart_daemon()
    exchange(a, b)
    exchange(a, net.wire("late"))
    net.close_wire(b)
    net.fabric.wait_no_port("b")


def test_port_that_died_without_a_daemon_is_reclaimed_by_the_next(net):
    a, b = net.wire("a"), net.wire("b")
    process = pump(net, "victim", net.addresses.mac(200), a.mac)
    a.expect()
    net.fabric.kill_daemon()
    process.kill()
    net.fabric.restart_daemon()
    net.fabric.wait_no_port("victim")
    a.drain()
    exchange(a, b)
    exchange(a, net.wire("victim"))
