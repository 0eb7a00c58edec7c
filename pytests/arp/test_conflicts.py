# SPDX-License-Identifier: BSD-3-Clause
"""Two hosts with one address (RFC 5227): noticed, told, and defended against."""

import pytest
from scapy.layers.l2 import ARP, Ether

BROADCAST = "ff:ff:ff:ff:ff:ff"
RIVAL = "02:00:5e:00:00:66"

SERVE = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 9))
print("bound", flush=True)
data, peer = s.recvfrom(9)
s.sendto(data, peer)
s.recv(9)
"""


@pytest.fixture
def host(net):
    """Not up yet."""
    return net.host("host")


@pytest.fixture
def wire(net):
    return net.wire("wire")


def serve(host, at=None, **config):
    return host.start("/usr/bin/python3", "-c", SERVE, at or host.ip, set=config)


def claim(wire, address, **fields):
    """The rival says that he has it, to everybody."""
    wire.send(
        Ether(src=RIVAL, dst=BROADCAST) / ARP(**{"op": 2, "hwsrc": RIVAL, "psrc": address, "pdst": address, **fields})
    )


def barrier(wire, host_mac, address):
    """Whatever the host had to say until now has come: the frames."""
    before = wire.drain()
    assert wire.arp(address) == host_mac
    return [*before, *wire.seen]


def asks(address, source):
    """Is a frame a request about an address, by this one?"""
    return lambda frame: ARP in frame and (frame[ARP].op, frame[ARP].pdst, frame[ARP].psrc) == (1, address, source)


def test_an_address_is_asked_for_and_announced(host, wire):
    """By default it is used at once, and whoever has it as well is asked to say so."""
    serve(host).process.wait_output("bound")
    for source in ("0.0.0.0", host.ip):
        assert wire.expect(asks(host.ip, source))[Ether].dst == BROADCAST


@pytest.mark.parametrize("op", [1, 2], ids=["request", "answer"])
def test_the_address_is_defended_once_in_ten_seconds(net, host, wire, op):
    net.allow_log("another host, .* has .* as well: it is kept")
    serve(host).process.wait_output("bound")
    wire.expect(asks(host.ip, host.ip))
    net.clock.stop()
    for seconds, defended in [(0, True), (3, False), (8, True)]:
        net.clock.step(seconds)
        wire.drain()
        claim(wire, host.ip, op=op)
        said = [f for f in barrier(wire, host.mac, host.ip) if asks(host.ip, host.ip)(f)]
        assert bool(said) == defended, f"after {seconds} s"
    assert f"another host, {RIVAL}, has {host.ip} as well" in host.log


def test_the_rival_is_not_believed(net, host, wire):
    """What the host sends to itself stays there, and its neighbours go on hearing of its card."""
    net.allow_log("another host, .* has .* as well: it is kept")
    serve(host).process.wait_output("bound")
    claim(wire, host.ip)
    assert wire.arp(host.ip) == host.mac


def steps(net, wire, seconds, match, step=0.25):
    """When in the next so many seconds such frames came."""
    found = []
    for number in range(1, 1 + round(seconds / step)):
        net.clock.step(step)
        found += [number * step for frame in wire.drain() if match(frame)]
    return found


def test_probing_takes_its_time_and_then_announces_twice(net, host, wire):
    """RFC 5227, 1.1: three probes, one to two seconds apart, two seconds of silence, two announcements."""
    app = serve(host, address_probe="yes")
    wire.expect(asks(host.ip, "0.0.0.0"))
    net.clock.stop()
    probes = [0, *steps(net, wire, 4.25, asks(host.ip, "0.0.0.0"))]
    assert len(probes) == 3 and all(0.5 <= b - a <= 2.25 for a, b in zip(probes, probes[1:])), probes
    announced = steps(net, wire, 4.5, asks(host.ip, host.ip))
    assert len(announced) == 2 and 1.75 <= announced[1] - announced[0] <= 2.25, announced
    app.process.wait_output("bound")


@pytest.mark.parametrize("how", ["has it", "wants it"])
def test_an_address_that_another_host_has_is_not_used(net, host, wire, how):
    net.allow_log("another host, .* has .* as well: it is not used")
    second = "172.16.5.9"
    app = serve(host, second, address_probe="yes", address=f"{host.ip}/24, {second}/24")
    wire.expect(asks(host.ip, "0.0.0.0"))
    net.clock.stop()
    claim(wire, host.ip, **({} if how == "has it" else {"op": 1, "psrc": "0.0.0.0"}))
    net.clock.step(8)
    app.process.wait_output("bound")
    wire.send(wire.ether(BROADCAST) / ARP(op=1, hwsrc=wire.mac, psrc=wire.ip, pdst=host.ip))
    said = barrier(wire, host.mac, second)
    assert not [f for f in said if ARP in f and f[ARP].psrc == host.ip]
    assert f"another host, {RIVAL}, has {host.ip} as well: it is not used here" in host.log
