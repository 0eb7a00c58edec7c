# SPDX-License-Identifier: BSD-3-Clause
"""The managed switch by its command: address table, storms, isolation, mirrors, weights. Wires only."""

import json
import time

import pytest

from uvnet_harness import until
from uvnet_harness.fabric import FabricError

BROADCAST = "ff:ff:ff:ff:ff:ff"


def frame(src, dst, payload=b"", length=60):
    """An Ethernet frame with an experimental type, padded to `length` bytes."""
    raw = bytes.fromhex(dst.replace(":", "")) + bytes.fromhex(src.replace(":", "")) + b"\x88\xb5" + payload
    return raw.ljust(length, b"\0")


def test_port_that_never_sends_is_known(net):
    a, b, spy = net.wire("a"), net.wire("b"), net.wire("spy", promiscuous=True)
    a.send(frame(a.mac, b.mac))
    assert len(b.drain()) == 1
    spy.assert_nothing(within=0)


def test_offered_address_does_not_move_a_learned_one(net):
    a, b, c = net.wire("a"), net.wire("b", promiscuous=True), net.wire("c")
    b.send(frame("02:00:00:00:00:99", BROADCAST))
    c.drain()
    c.configure(macs=["02:00:00:00:00:99"])
    a.send(frame(a.mac, "02:00:00:00:00:99"))
    b.expect(timeout=0)
    c.assert_nothing(within=0)


def test_address_is_forgotten_when_it_is_not_heard_from(net):
    """What the port says is its own is not."""
    a, b = net.wire("a"), net.wire("b", promiscuous=True)
    b.send(frame("02:00:00:00:00:99", BROADCAST))
    assert net.switch.fdb("02:00:00:00:00:99")
    net.switch.fdb_flush(port="a")
    assert net.switch.fdb("02:00:00:00:00:99")
    net.switch.fdb_flush(port="b")
    assert not net.switch.fdb("02:00:00:00:00:99")
    assert not net.switch.fdb(b.mac), "a flush is a flush"
    b.configure()
    assert net.switch.fdb(b.mac)
    a.send(frame(a.mac, b.mac))
    b.expect(timeout=0)


def test_addresses_age_by_the_fabrics_clock(net):
    """An hour of virtual time: what was not heard from is gone, what a port has as its own is not."""
    a, b = net.wire("a"), net.wire("b")
    a.send(frame("02:00:00:00:00:99", b.mac))
    assert net.switch.fdb("02:00:00:00:00:99")
    net.clock.stop()
    net.clock.warp(3600)
    until(lambda: not net.switch.fdb("02:00:00:00:00:99"), 5, "the address to be forgotten")
    assert net.switch.fdb(a.mac) and net.switch.fdb(b.mac)


def test_flood_of_addresses_displaces_only_its_own(net):
    """The table holds 8,192; one port claims 12,000."""
    hosts = [net.wire(f"h{i}") for i in range(8)]
    bad = net.wire("bad")
    for host in hosts:
        host.send(frame(host.mac, BROADCAST))
    random = net.random("macs")
    for _ in range(60):
        burst = [b"\x02" * 6 + b"\x06\xbb" + random.randbytes(4) + b"\x88\xb5" + bytes(46) for _ in range(200)]
        bad.send(burst, ack=False)
        for host in hosts:
            host.drain()
    assert all(net.switch.fdb(host.mac)[0]["port"] == host.id for host in hosts)
    held = sum(entry["port"] == bad.id for entry in net.fabric.snapshot().data["fdb"])
    assert held > 7000


def test_static_address(net):
    a, b, thief = net.wire("a"), net.wire("b", promiscuous=True), net.wire("thief")
    net.switch.fdb_add("02:00:00:00:00:77", b)
    thief.send(frame("02:00:00:00:00:77", a.mac))
    a.drain()
    a.send(frame(a.mac, "02:00:00:00:00:77"))
    b.expect(timeout=0)
    net.switch.fdb_flush()
    assert net.switch.fdb("02:00:00:00:00:77")
    net.close_wire(b)
    before = net.fabric.snapshot()
    a.send(frame(a.mac, "02:00:00:00:00:77"))
    assert (net.fabric.snapshot() - before)["pair.a.0.b.drops.port_down"] == 1
    net.switch.fdb_flush(static=True)
    assert not net.switch.fdb("02:00:00:00:00:77")


def test_storm_control(net):
    a, b = net.wire("a"), net.wire("b")
    net.switch.port_set(a, storm_broadcast=100)
    before, start = net.fabric.snapshot(), time.monotonic()
    a.send([frame(a.mac, BROADCAST)] * 500)
    got, took = len(b.drain()), time.monotonic() - start
    change = net.fabric.snapshot() - before
    assert 11 <= got <= 12 + 100 * took
    assert change["port.a.txq.0.drops.storm_broadcast"] == 500 - got
    a.send([frame(a.mac, b.mac)] * 100)
    assert len(b.drain()) == 100, "no storm"


def test_isolated_ports(net):
    a, b, c = (net.wire(name) for name in "abc")
    for wire in (a, b):
        net.switch.port_set(wire, isolation=1)
    before = net.fabric.snapshot()
    a.send([frame(a.mac, BROADCAST), frame(a.mac, b.mac), frame(a.mac, c.mac)])
    assert len(b.drain()) == 0 and len(c.drain()) == 2
    assert (net.fabric.snapshot() - before)["pair.a.0.b.drops.isolated"] == 1


@pytest.mark.uvnet(capture=False, voq=64)
def test_mirror_gets_copies_and_is_no_burden(net):
    a, b, probe = net.wire("a"), net.wire("b"), net.wire("probe", promiscuous=True)
    net.switch.mirror(b, probe)
    a.send(frame(a.mac, b.mac, b"to"))
    b.send(frame(b.mac, a.mac, b"from"))
    assert [f.raw[14:18].rstrip(b"\0") for f in probe.drain()] == [b"to", b"from"]
    a.drain(), b.drain()
    probe.paused = True
    before = net.fabric.snapshot()
    for i in range(200):
        a.send(frame(a.mac, b.mac), ack=False)
        assert len(b.drain()) == 1, f"frame {i}"
    change = net.fabric.snapshot() - before
    assert change["voq.a.0.probe.0.full"] == 200 - 64
    assert change["port.a.txq.0.copies"] == 200
    probe.paused = False
    assert len(probe.drain()) == 64
    net.switch.mirror(b, None)
    a.send(frame(a.mac, b.mac))
    assert len(b.drain()) == 1 and probe.drain() == []


@pytest.mark.uvnet(capture=False)
def test_weights(net):
    a, b, sink = net.wire("a"), net.wire("b"), net.wire("sink")
    net.switch.port_set(a, weight=3)
    sink.paused = True
    a.send([frame(a.mac, sink.mac, length=1514)] * 300, ack=False)
    b.send([frame(b.mac, sink.mac, length=1514)] * 300, ack=False)
    sink.paused = False
    order = [received.src_port for received in sink.drain()][:200]
    assert abs(order.count(a.id) - 150) <= 15


def test_every_frame_is_counted(net):
    """packets + copies = published + drops, of each queue, whatever is asked of the switch."""
    wires = [net.wire(name, promiscuous=name == "d") for name in "abcd"]
    net.switch.port_set("a", storm_unknown=50, weight=2)
    net.switch.mirror("b", "d")
    net.vlan("c", trunk="5-10", native=7)
    net.vlan("d", access=7)
    random = net.random("frames")
    targets = [BROADCAST, "01:00:5e:00:00:05", "02:99:99:99:99:99", *(wire.mac for wire in wires)]
    for _ in range(300):
        wire = random.choice(wires)
        raw = frame(wire.mac, random.choice(targets), length=random.choice((60, 1514)))
        if random.random() < 0.5:
            raw = raw[:12] + b"\x81\0\0" + bytes([random.choice((0, 5, 7, 11))]) + raw[12:]
        wire.send(raw)
    shot = net.fabric.snapshot()
    for wire in wires:
        queue = f"port.{wire.name}.txq.0"
        made = shot[f"{queue}.packets"] + shot[f"{queue}.copies"]
        gone = shot.sum(f"voq.{wire.name}.0.*.packets") + shot.sum(f"voq.{wire.name}.0.*.full")
        dropped = shot.sum(f"{queue}.drops.*") + shot.sum(f"pair.{wire.name}.0.*.drops.*")
        assert made == gone + dropped, str(shot)


REFUSALS = [
    ("vlan", "{} a access 4095", "no VLAN"),
    ("vlan", "{} a trunk 10,30-20", "no list of VLANs"),
    ("vlan", "{} a trunk", "is wanted"),
    ("vlan", "{} a/b access 5", "no name for a port"),
    ("fdb", "{} add 01:00:00:00:00:01 a", "unicast"),
    ("fdb", "{} add 02:00:00:00:00 a", "an address like"),
    ("fdb", "{} del 02:00:00:00:00:05", "no such address"),
    ("fdb", "{} flush --port nobody", "no port"),
    ("port set", "{} a --weight 65", "out of range"),
    ("port set", "{} a", "something to set"),
    ("mirror", "{} add a a", "mirror of itself"),
    ("adapter", "{} add nic --vfs 0", "--vfs N is wanted"),
    ("adapter", "{} set nic --link up", "no adapter"),
    ("vf", "{} nic 0 trust on", "no VF"),
    ("vf", "{} nic 0 trust perhaps", "on or off"),
    ("vf", "{} nic 0 colour red", "no property"),
]


@pytest.mark.uvnet(capture=False)
def test_refusals_say_why(net):
    for verb, words, reason in REFUSALS:
        with pytest.raises(FabricError, match=reason):
            net.fabric.tool(*verb.split(), *words.format(net.fabric.name).split())


@pytest.mark.uvnet(capture=False)
def test_lists(net):
    """What was asked can be looked at, by people and programs."""
    net.vlan("a", trunk="10,20-30", native=1)
    net.switch.mirror("a", "b", tx=False)
    net.adapter("nic", 1, "2.5gbit").vf(0).set(mac="02:00:00:00:00:05", vlan=9, qos=3, trust=True, state="enable")
    name = net.fabric.name
    assert "1,10,20-30" in net.fabric.tool("vlan", name)
    listed = json.loads(net.fabric.tool("vf", name, "--json"))
    assert listed["adapters"] == [{"name": "nic", "vfs": 1, "link": True, "uplink_rate": 2500000000}]
    vf = next(s for s in listed["settings"] if s["name"] == "nic.vf0")
    assert vf["vlan"] == {"mode": "access", "vlan": 9, "allowed": ""}
    function = {key: vf["function"][key] for key in ("vf", "mac", "qos", "spoofchk", "trust", "state")}
    assert function == {
        "vf": 0, "mac": "02:00:00:00:00:05", "qos": 3, "spoofchk": True, "trust": True, "state": "enable",
    }  # fmt: skip
    assert net.switch.settings("a")["mirror"] == {"tx": None, "rx": "b"}
    assert "nic.vf0" in net.fabric.tool("show", name, "adapters")
    assert "from" in net.fabric.tool("show", name, "voq") or net.fabric.tool("show", name, "voq") == ""
