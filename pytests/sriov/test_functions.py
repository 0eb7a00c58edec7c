# SPDX-License-Identifier: BSD-3-Clause
"""An SR-IOV adapter: a PF, its VFs, what the PF asks of them. Wires; the kernel's PF beside a VF of our
stack; what a DPDK application sees of it."""

import time

import pytest

from uvnet_harness.uvb import UvbError

BROADCAST = "ff:ff:ff:ff:ff:ff"


def frame(src, dst, length=60):
    """An Ethernet frame with an experimental type."""
    raw = bytes.fromhex(dst.replace(":", "")) + bytes.fromhex(src.replace(":", "")) + b"\x88\xb5"
    return raw.ljust(length, b"\0")


@pytest.fixture
def nic(net):
    """An adapter of two VFs."""
    return net.adapter("nic0", vfs=2)


@pytest.fixture
def outside(net):
    """Somebody on the other side of the uplink."""
    return net.wire("outside", promiscuous=True)


def test_functions_and_the_world_reach_each_other(net, nic, outside):
    functions = [net.wire(name) for name in (nic.pf, nic.vf(0).name, nic.vf(1).name)]
    for sender in functions:
        sender.send(frame(sender.mac, BROADCAST))
        assert len(outside.drain()) == 1
        assert [len(other.drain()) for other in functions] == [0 if other is sender else 1 for other in functions]


def test_vf_has_the_address_its_pf_gave_it(net, nic):
    mac = "02:00:00:00:00:11"
    nic.vf(0).set(mac=mac)
    with pytest.raises(UvbError, match=mac):
        net.wire(nic.vf(0).name, mac="02:00:00:00:00:12")
    vf = net.wire(nic.vf(0).name, mac=mac)
    with pytest.raises(UvbError, match="does not trust"):
        vf.configure(macs=["02:00:00:00:00:12"])
    nic.vf(0).set(trust=True)
    vf.configure(macs=["02:00:00:00:00:12"])


def test_untrusted_vf_cannot_listen_to_others(net, nic, outside):
    pf, vf = net.wire(nic.pf), net.wire(nic.vf(0).name)
    with pytest.raises(UvbError, match="trust"):
        vf.configure(promiscuous=True)
    nic.vf(0).set(trust=True)
    vf.configure(promiscuous=True)
    pf.send(frame(pf.mac, "02:99:99:99:99:99"))
    assert len(vf.drain()) == 1
    nic.vf(0).set(trust=False)
    pf.send(frame(pf.mac, "02:99:99:99:99:99"))
    assert vf.drain() == [], "although it still says that it is promiscuous"
    assert len(outside.drain()) == 2


def test_spoofed_frames_are_dropped(net, nic, outside):
    vf = net.wire(nic.vf(0).name)
    before = net.fabric.snapshot()
    vf.send([frame("02:99:99:99:99:99", BROADCAST), frame(vf.mac, BROADCAST)])
    assert len(outside.drain()) == 1
    assert (net.fabric.snapshot() - before)[f"port.{vf.name}.txq.0.drops.spoof"] == 1
    nic.vf(0).set(spoofchk=False)
    vf.send(frame("02:99:99:99:99:99", BROADCAST))
    assert len(outside.drain()) == 1


def test_vf_vlan_is_put_in_and_taken_out(net, nic, outside):
    nic.vf(0).set(vlan=100, qos=5)
    vf, other = net.wire(nic.vf(0).name), net.wire(nic.vf(1).name)
    vf.send(frame(vf.mac, BROADCAST))
    assert outside.expect(timeout=0).raw[12:18] == b"\x81\x00\xa0\x64\x88\xb5"
    raw = frame(outside.mac, vf.mac)
    other.drain()
    outside.send([raw, raw[:12] + b"\x81\x00\x00\x64" + raw[12:]])
    assert [f.raw for f in vf.drain()] == [raw]
    nic.vf(1).set(vlan=200)
    vf.send(frame(vf.mac, BROADCAST))
    assert other.drain() == []


def test_link_state(net, nic, outside):
    """auto follows the uplink, enable and disable do not."""
    a, b = net.wire(nic.vf(0).name), net.wire(nic.vf(1).name)
    assert a.carrier and b.carrier
    nic.link(False)
    assert not a.carrier and not b.carrier and outside.carrier
    nic.vf(0).set(state="enable")
    nic.vf(1).set(state="enable")
    assert a.carrier
    before = net.fabric.snapshot()
    a.send([frame(a.mac, b.mac), frame(a.mac, outside.mac)])
    assert len(b.drain()) == 1 and outside.drain() == []
    change = net.fabric.snapshot() - before
    assert change[f"port.{a.name}.txq.0.drops.uplink_down"] == 1, str(change)
    nic.link(True)
    nic.vf(0).set(state="disable")
    assert not a.carrier and b.carrier
    a.send(frame(a.mac, BROADCAST))
    assert outside.drain() == []


@pytest.mark.uvnet(capture=False)
def test_uplink_is_shared_and_not_used_inside(net, outside):
    """1,000-byte frames at 8 Mbit/s: about one in a millisecond, whoever sends them."""
    nic = net.adapter("nic1", vfs=2, uplink_rate="8mbit")
    a, b = net.wire(nic.vf(0).name), net.wire(nic.vf(1).name)
    start = time.monotonic()
    for _ in range(25):
        a.send(frame(a.mac, outside.mac, 976))
        b.send(frame(b.mac, outside.mac, 976))
    took = time.monotonic() - start
    assert 0.045 <= took
    assert len(outside.drain()) == 50
    assert net.fabric.snapshot().sum("port.nic1.*.limited") > 0
    before = net.fabric.snapshot()
    a.send([frame(a.mac, b.mac, 976)] * 500)
    assert len(b.drain()) == 500
    assert (net.fabric.snapshot() - before).sum("port.nic1.*.limited") == 0, "not through the uplink"


def test_settings_are_those_of_the_name(net, nic):
    nic.vf(0).set(vlan=9, state="disable")
    with pytest.raises(UvbError, match="no function"):
        net.wire("nic0.vf7")
    vf = net.wire(nic.vf(0).name)
    assert not vf.carrier
    net.close_wire(vf)
    net.fabric.kill_daemon()
    net.fabric.restart_daemon()
    assert not net.wire(nic.vf(0).name).carrier
    assert net.wire(nic.vf(1).name).carrier


@pytest.mark.uvnet(capture=False)
@pytest.mark.parametrize("to_kernel", [True, False], ids=["to_pf", "to_vf"])
def test_kernel_pf_beside_a_vf_of_our_stack(net, program, to_kernel):
    """The SR-IOV host of the field: the kernel has the PF, an application a VF; TCP between the two."""
    nic = net.adapter("nic0", vfs=1, uplink_rate="10gbit")
    kernel, stack = net.kernel_host(nic.pf), net.host(nic.vf(0).name)
    nic.vf(0).set(mac=stack.mac)
    sink, source = (kernel, stack) if to_kernel else (stack, kernel)
    receiver = sink.start(*program("transfer"), "receive", sink.ip, "4000")
    receiver.process.wait_output("listening")
    done = source.run(*program("transfer"), "send", sink.ip, "4000", str(4 << 20), "3", timeout=60).check()
    assert receiver.wait(10) == 0
    assert receiver.stdout.split()[-2:] == done.stdout.split() != []
    assert net.fabric.snapshot().sum("*.drops.spoof") == 0


@pytest.mark.uvnet(capture=False)
def test_stack_on_a_vf_with_a_rate(net, program):
    """Held back, not thrown away: TCP on a VF of 80 Mbit/s gets them, without a loss."""
    nic = net.adapter("nic0", vfs=1)
    vf, peer = net.host(nic.vf(0).name), net.host("peer")
    nic.vf(0).set(max_tx_rate=80)
    receiver = peer.start(*program("transfer"), "receive", peer.ip, "4000").wait_ready(log="listening")
    start = time.monotonic()
    vf.run(*program("transfer"), "send", peer.ip, "4000", str(2 << 20), "3", timeout=60).check()
    assert receiver.wait(20) == 0
    took = time.monotonic() - start
    assert took >= (2 << 20) * 8 / 80e6 * 0.9
    shot = net.fabric.snapshot()
    assert shot.sum("port.nic0.vf0.txq.*.limited") > 0
    assert shot.sum("port.nic0.vf0.txq.*.drops.*") + shot.sum("voq.*.full") == 0, str(shot)
