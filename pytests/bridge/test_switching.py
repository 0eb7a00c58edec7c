# SPDX-License-Identifier: BSD-3-Clause
"""The fabric as a switch: learning, flooding, filtering, and a name for every drop. Wires only."""

import pytest

from uvnet_harness import uvb

BROADCAST = "ff:ff:ff:ff:ff:ff"
MULTICAST = "01:00:5e:00:00:fb"
STRANGER = "02:99:99:99:99:99"
ETHERTYPE = b"\x88\xb5"  # IEEE 802 local experimental


def frame(src, dst, payload=b"", length=60):
    """An Ethernet frame with an experimental type, padded to `length` bytes."""
    raw = bytes.fromhex(dst.replace(":", "")) + bytes.fromhex(src.replace(":", "")) + ETHERTYPE + payload
    return raw.ljust(length, b"\0")


def test_frames_arrive_whole_and_in_order(net):
    a, b = net.wire("a"), net.wire("b")
    random = net.random("frames")
    sent = [frame(a.mac, b.mac, random.randbytes(random.randrange(1500)), 14) for _ in range(500)]
    a.send(sent)
    assert [received.raw for received in b.drain()] == sent


def test_unknown_destination_is_flooded(net):
    a = net.wire("a")
    others = [net.wire(name, promiscuous=True) for name in "bcd"]
    a.send(frame(a.mac, STRANGER))
    assert [len(wire.drain()) for wire in others] == [1, 1, 1]
    assert a.drain() == []
    assert net.fabric.snapshot()["port.a.txq.0.flooded"] == 1


def test_address_is_learned_from_its_sender(net):
    a, b, spy = net.wire("a"), net.wire("b"), net.wire("spy", promiscuous=True)
    b.send(frame(b.mac, BROADCAST))
    spy.expect()
    before = net.fabric.snapshot()
    a.send(frame(a.mac, b.mac))
    assert len(b.drain()) == 1
    spy.assert_nothing(within=0)
    after = net.fabric.snapshot()
    assert (after - before)["port.a.txq.0.flooded"] == 0
    assert b.mac in [entry["mac"] for entry in after.data["fdb"]]


def test_address_that_moves_is_followed(net):
    a = net.wire("a")
    old, new = net.wire("old", promiscuous=True), net.wire("new", promiscuous=True)
    for home, other in ((old, new), (new, old), (old, new)):
        home.send(frame(STRANGER, BROADCAST))
        a.drain(), other.drain()
        a.send(frame(a.mac, STRANGER))
        home.expect(timeout=0)
        other.assert_nothing(within=0)


@pytest.mark.parametrize("group", [BROADCAST, MULTICAST], ids=["broadcast", "multicast"])
def test_group_address_reaches_all_who_want_it(net, group):
    a, b, c = net.wire("a"), net.wire("b"), net.wire("c")
    for wire in (b, c):
        wire.configure(multicast=[MULTICAST])
    deaf = net.wire("deaf")
    a.send(frame(a.mac, group))
    assert len(b.drain()) == len(c.drain()) == 1
    assert len(deaf.drain()) == (1 if group == BROADCAST else 0)
    assert a.drain() == []


def test_destination_filters_by_address(net):
    a, b = net.wire("a"), net.wire("b")
    a.send(frame(a.mac, STRANGER))
    b.assert_nothing(within=0)
    assert net.fabric.snapshot()["pair.a.0.b.drops.mac_filter"] == 1
    b.configure(macs=[STRANGER])
    a.send(frame(a.mac, STRANGER))
    b.expect(timeout=0)
    b.configure(promiscuous=True)
    a.send(frame(a.mac, "02:88:88:88:88:88"))
    b.expect(timeout=0)
    assert net.fabric.snapshot()["pair.a.0.b.drops.mac_filter"] == 1


def test_link_local_conversation(net):
    """ARP between two wires, both ends answering."""
    a, b = net.wire("a"), net.wire("b")
    assert a.arp(b.ip) == b.mac
    assert b.arp(a.ip) == a.mac


# name of the counter, how to provoke it (given the wires a and b, b known to the fabric)
DROPS = {
    "port.a.txq.0.drops.runt": lambda a, b: a.send(frame(a.mac, b.mac)[:13]),
    "port.a.txq.0.drops.hairpin": lambda a, b: a.send(frame(a.mac, a.mac)),
    "port.a.txq.0.drops.bad_src": lambda a, b: a.send(frame(MULTICAST, b.mac)),
    "port.a.txq.0.drops.tx_oversize": lambda a, b: a.send(frame(a.mac, b.mac, length=a.frame_max + 1)),
    "pair.a.0.b.drops.rx_oversize": lambda a, b: a.send(frame(a.mac, b.mac, length=1519)),
    "pair.a.0.b.drops.rx_stopped": lambda a, b: (b.configure(started=False), a.send(frame(a.mac, b.mac))),
    "pair.a.0.b.drops.mac_filter": lambda a, b: a.send(frame(a.mac, STRANGER)),
}


@pytest.mark.uvnet(capture=False)
@pytest.mark.parametrize("counter", DROPS)
def test_every_drop_has_a_name(net, counter):
    a, b = net.wire("a"), net.wire("b")
    b.send(frame(b.mac, BROADCAST))
    a.send(frame(a.mac, BROADCAST))
    b.drain()
    before = net.fabric.snapshot()
    DROPS[counter](a, b)
    b.assert_nothing(within=0)
    change = net.fabric.snapshot() - before
    assert change[counter] == 1, str(change)
    assert change.sum("*.drops.*") >= 1


@pytest.mark.uvnet(capture=False)
def test_flood_with_nobody_there_is_counted(net):
    a = net.wire("a")
    a.send(frame(a.mac, STRANGER))
    assert net.fabric.snapshot()["port.a.txq.0.drops.no_port"] == 1


def test_largest_frame_of_an_mtu_fits(net):
    a, b = net.wire("a"), net.wire("b")
    b.configure(mtu=9000)
    sent = [frame(a.mac, b.mac, net.random("jumbo").randbytes(n - 14), n) for n in (60, 1518, uvb.CELL_ROOM, uvb.CELL_ROOM + 1, 9018)]
    a.send(sent)
    assert [received.raw for received in b.drain()] == sent


@pytest.mark.uvnet(capture=False, voq=64)
def test_full_queue_drops_for_that_pair_only(net):
    """No head-of-line blocking: a receiver that sleeps costs the others nothing."""
    a, slow, fast = net.wire("a"), net.wire("slow"), net.wire("fast")
    for wire in (slow, fast):
        wire.send(frame(wire.mac, a.mac))
    slow.paused = True
    before = net.fabric.snapshot()
    for i in range(200):
        number = i.to_bytes(2, "big")
        a.send([frame(a.mac, slow.mac, number), frame(a.mac, fast.mac, number)], ack=False)
        assert fast.expect(timeout=5).raw[14:16] == number
    change = net.fabric.snapshot() - before
    assert change["voq.a.0.slow.0.full"] == 200 - 64, str(change)
    assert change["voq.a.0.fast.0.full"] == 0
    slow.paused = False
    assert len(slow.drain()) == 64
    a.acknowledged()


def test_sources_share_a_receiver_fairly(net):
    """Deficit round robin by bytes: of two sources with backlog neither waits for the other."""
    a, b, sink = net.wire("a"), net.wire("b"), net.wire("sink")
    sink.send(frame(sink.mac, BROADCAST))
    a.drain(), b.drain()
    sink.paused = True
    a.send([frame(a.mac, sink.mac, length=1514)] * 40, ack=False)
    b.send([frame(b.mac, sink.mac, length=1514)] * 40, ack=False)
    sink.paused = False
    order = [received.src_port for received in sink.drain()]
    first_half = order[: len(order) // 2]
    assert len(order) == 80
    assert abs(first_half.count(a.id) - first_half.count(b.id)) <= 8


def test_views_agree(net):
    """`uvbridge show --json` and the segment read by ctypes are one and the same."""
    a, b = net.wire("a"), net.wire("b")
    a.send(frame(a.mac, b.mac))
    b.expect(timeout=0)
    shown, seen = net.fabric.show(), net.fabric.snapshot().data
    assert shown.keys() == seen.keys()
    assert shown["ports"] == seen["ports"]
    assert shown["voqs"] == seen["voqs"]
