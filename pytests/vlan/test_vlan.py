# SPDX-License-Identifier: BSD-3-Clause
"""VLANs: who hears whom, with which tag. Wires, and our stack against a kernel's VLAN interface."""

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether

BROADCAST = "ff:ff:ff:ff:ff:ff"


def say(wire, dst=BROADCAST, vlan=None, prio=0, payload=b"x" * 50):
    """An experimental frame, tagged if a VLAN is given."""
    tag = Dot1Q(vlan=vlan, prio=prio, type=0x88B5) if vlan is not None else None
    head = Ether(src=wire.mac, dst=dst, type=0x88B5)
    return head / payload if tag is None else Ether(src=wire.mac, dst=dst) / tag / payload


def heard(wire):
    """What a wire received: for each frame its VLAN and priority, or None."""
    frames = wire.drain()
    return [(f[Dot1Q].vlan, f[Dot1Q].prio) if Dot1Q in f else None for f in frames]


@pytest.fixture
def ports(net):
    """Two access ports of VLAN 10, one of 20, a trunk (native 1), and one without a mode."""
    wires = {name: net.wire(name, promiscuous=True) for name in ("a10", "b10", "c20", "trunk", "plain")}
    net.vlan("a10", access=10)
    net.vlan("b10", access=10)
    net.vlan("c20", access=20)
    net.vlan("trunk", trunk="10,20-30", native=1)
    return wires


# who sends, with which tag; what the others hear ("-": nothing)
BROADCASTS = [
    ("a10", None, {"b10": None, "trunk": (10, 0), "plain": (10, 0)}),
    ("c20", None, {"trunk": (20, 0), "plain": (20, 0)}),
    ("trunk", (10, 5), {"a10": None, "b10": None, "plain": (10, 5)}),
    ("trunk", None, {"plain": (1, 0)}),
    ("trunk", (0, 3), {"plain": (1, 3)}),
    ("trunk", (25, 0), {"plain": (25, 0)}),
    ("plain", (20, 7), {"c20": None, "trunk": (20, 7)}),
    ("plain", (1, 0), {"trunk": None}),
    ("plain", (99, 0), {}),
    ("plain", None, {}),
]


@pytest.mark.parametrize(("sender", "tag", "hears"), BROADCASTS, ids=[f"{s}-{t}" for s, t, _ in BROADCASTS])
def test_a_vlan_is_a_broadcast_domain(ports, sender, tag, hears):
    vlan, prio = tag if tag else (None, 0)
    ports[sender].send(say(ports[sender], vlan=vlan, prio=prio))
    got = {name: heard(wire) for name, wire in ports.items() if name != sender}
    assert got == {name: [hears[name]] if name in hears else [] for name in got}


REFUSED = [("a10", 10), ("a10", 20), ("trunk", 40)]


@pytest.mark.parametrize(("sender", "vlan"), REFUSED)
def test_a_tag_that_the_port_may_not_use(net, ports, sender, vlan):
    before = net.fabric.snapshot()
    ports[sender].send(say(ports[sender], vlan=vlan))
    change = net.fabric.snapshot() - before
    assert change[f"port.{sender}.txq.0.drops.vlan_ingress"] == 1, str(change)
    assert all(heard(wire) == [] for wire in ports.values())


def test_one_address_in_two_vlans(net, ports):
    """A router on a stick: the same address, in each VLAN somewhere else."""
    twin = "02:aa:aa:aa:aa:aa"
    for name in ("a10", "c20"):
        frame = say(ports[name])
        frame.src = twin
        ports[name].send(frame)
    for wire in ports.values():
        wire.drain()
    assert {e["vlan"] for e in net.switch.fdb(twin)} == {10, 20}
    ports["trunk"].send([say(ports["trunk"], dst=twin, vlan=10), say(ports["trunk"], dst=twin, vlan=20)])
    assert heard(ports["a10"]) == heard(ports["c20"]) == [None]
    assert heard(ports["b10"]) == heard(ports["plain"]) == []


def test_known_address_in_another_vlan_is_not_reached(net, ports):
    net.switch.fdb_add("02:bb:bb:bb:bb:bb", "c20", vlan=10)
    before = net.fabric.snapshot()
    ports["a10"].send(say(ports["a10"], dst="02:bb:bb:bb:bb:bb"))
    assert (net.fabric.snapshot() - before)["pair.a10.0.c20.drops.vlan_egress"] == 1
    assert heard(ports["c20"]) == []


def test_bytes_are_untouched_but_for_the_tag(net, ports):
    """Sizes up to jumbo, in and out of a trunk."""
    for wire in ports.values():
        wire.configure(promiscuous=True, mtu=9000)
    random = net.random("payload")
    for size in (46, 170, 180, 1500, 1970, 1990, 8900):
        payload = random.randbytes(size)
        ports["a10"].send(say(ports["a10"], payload=payload))
        tagged = ports["trunk"].expect(timeout=0)
        assert tagged.raw == bytes.fromhex("ffffffffffff" + ports["a10"].mac.replace(":", "") + "8100000a88b5") + payload
        ports["b10"].drain()
        ports["trunk"].send(say(ports["trunk"], vlan=10, payload=payload))
        assert ports["b10"].expect(timeout=0).raw[12:] == b"\x88\xb5" + payload


def test_hash_does_not_depend_on_the_tag(net):
    """A receiver spreads flows the same, whether the switch takes a tag off or leaves it on."""
    a, b = net.wire("a"), net.wire("b", queues=4)
    net.vlan(a, access=10)
    flow = IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1234, dport=99)
    seen = set()
    for mode in ({"access": 10}, {"trunk": "10"}):
        net.vlan(b, **mode)
        a.send(Ether(src=a.mac, dst=b.mac) / flow)
        frame = b.expect(timeout=0)
        seen.add((frame.queue, frame.hash))
    assert len(seen) == 1


def test_settings_outlive_port_and_daemon(net, ports):
    net.fabric.kill_daemon()
    net.fabric.restart_daemon()
    net.close_wire(ports["a10"])
    again = net.wire("a10")
    again.send(say(again))
    assert heard(ports["b10"]) == [None]
    assert heard(ports["c20"]) == []
    assert net.switch.settings("a10")["vlan"]["vlan"] == 10


def test_back_to_no_vlans(net, ports):
    """With the last mode gone the switch is what it was: any tag is everybody's."""
    for name in ports:
        net.vlan(name)
    ports["plain"].send(say(ports["plain"], vlan=77))
    assert all(heard(wire) == [(77, 0)] for name, wire in ports.items() if name != "plain")


def test_kernel_and_stack_in_one_vlan(net, program):
    """TCP between a kernel and our stack, both on access ports; a third host in another VLAN has the
    same address, and nobody is confused."""
    kernel, stack, twin = net.kernel_host("kernel"), net.host("stack"), net.wire("twin")
    twin.ip = stack.ip
    for host in (kernel, stack):
        net.vlan(host, access=10)
    net.vlan(twin, access=20)
    receiver = stack.start(*program("transfer"), "receive", stack.ip, "4000")
    receiver.process.wait_output("listening")
    sent = kernel.run(*program("transfer"), "send", stack.ip, "4000", str(1 << 20), "3", timeout=60).check()
    assert receiver.wait(10) == 0
    assert receiver.stdout.split()[-2:] == sent.stdout.split() != []
    twin.assert_nothing(within=0)


def test_kernel_vlan_interface_reaches_access_port(net, program):
    """A kernel's eth0.10, on a trunk, talks to our stack, which knows nothing of VLANs."""
    kernel, stack = net.kernel_host("kernel"), net.host("stack")
    net.vlan("kernel", trunk="10")
    net.vlan("stack", access=10)
    kernel.run("ip", "address", "flush", "dev", "eth0").check()
    made = kernel.run("ip", "link", "add", "link", "eth0", "name", "eth0.10", "type", "vlan", "id", "10")
    if "Unknown device type" in made.stderr:
        pytest.skip("this kernel has no VLAN interfaces (8021q)")
    made.check()
    kernel.run("ip", "address", "add", f"{kernel.ip}/{net.addresses.prefix_len}", "dev", "eth0.10").check()
    kernel.run("ip", "link", "set", "eth0.10", "up").check()
    receiver = stack.start(*program("transfer"), "receive", stack.ip, "4000").wait_ready(log="listening")
    sent = kernel.run(*program("transfer"), "send", stack.ip, "4000", str(1 << 20), "3", timeout=60).check()
    assert receiver.wait(10) == 0
    assert receiver.stdout.split()[-2:] == sent.stdout.split() != []
    assert {e["vlan"] for e in net.switch.fdb(kernel.mac)} >= {10}
