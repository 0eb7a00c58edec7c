# SPDX-License-Identifier: BSD-3-Clause
"""Who has which address: ARP of a host, from both sides. Time stands still where it matters."""

import itertools

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

BROADCAST = "ff:ff:ff:ff:ff:ff"
STRANGERS = itertools.count(100)


@pytest.fixture
def stranger(puppet, wire):
    """An address that nobody has and nobody was asked for."""
    del wire
    return puppet.net.addresses.ip(next(STRANGERS))


@pytest.fixture
def sender(puppet):
    """A UDP socket `u`."""
    puppet("u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.setblocking(False)")
    return puppet


@pytest.fixture
def clock(module_net):
    """Stopped; real again in the end."""
    module_net.clock.stop()
    yield module_net.clock
    module_net.clock.real()


def arp(wire, host, **fields):
    """An ARP packet to a host."""
    return wire.ether(fields.pop("to", BROADCAST)) / ARP(**{"hwsrc": wire.mac, "psrc": wire.ip, "pdst": host.ip, **fields})


def requests_for(wire, address):
    """Requests that have come for an address."""
    return [f for f in wire.drain() if ARP in f and f[ARP].op == 1 and f[ARP].pdst == address]


def answer(wire, host, address, mac="02:00:5e:00:00:99"):
    """Somebody has it after all."""
    wire.send(wire.ether(host.mac) / ARP(op=2, hwsrc=mac, psrc=address, hwdst=host.mac, pdst=host.ip))


def test_a_request_is_answered_to_who_asked(puppet, wire):
    wire.send(arp(wire, puppet.host, op=1))
    reply = wire.expect("arp[6:2] == 2")
    assert (reply[Ether].dst, reply[ARP].hwsrc, reply[ARP].psrc) == (wire.mac, puppet.host.mac, puppet.host.ip)


def test_a_probe_is_answered(puppet, wire):
    """RFC 5227: from 0.0.0.0, by somebody who would like the address."""
    wire.send(arp(wire, puppet.host, op=1, psrc="0.0.0.0"))
    assert wire.expect("arp[6:2] == 2")[ARP].psrc == puppet.host.ip


def test_a_request_for_another_is_not_answered(puppet, wire, stranger):
    wire.send(arp(wire, puppet.host, op=1, pdst=stranger))
    puppet("0")
    wire.assert_nothing("arp[6:2] == 2")


@pytest.mark.parametrize("fields", [{"hwtype": 6}, {"ptype": 0x86DD}, {"hwlen": 8}, {"plen": 16}, {"op": 9}], ids=str)
def test_nonsense_is_ignored(puppet, wire, fields):
    wire.send(arp(wire, puppet.host, **{"op": 1, **fields}))
    puppet("0")
    wire.assert_nothing("arp")
    assert wire.arp(puppet.host.ip) == puppet.host.mac


def test_who_is_not_known_is_asked_for_first(sender, wire, stranger):
    sender(f"u.sendto(b'x', ('{stranger}', 1))")
    request = wire.expect("arp[6:2] == 1")
    assert (request[Ether].dst, request[ARP].pdst, request[ARP].psrc) == (BROADCAST, stranger, sender.host.ip)
    wire.assert_nothing("udp")


def test_what_waited_is_sent_when_the_answer_comes(sender, wire, stranger):
    sender(f"u.sendto(b'x', ('{stranger}', 1))")
    wire.expect("arp[6:2] == 1")
    wire.configure(promiscuous=True)
    answer(wire, sender.host, stranger)
    frame = wire.expect("udp")
    assert (frame[Ether].dst, frame[IP].dst) == ("02:00:5e:00:00:99", stranger)
    wire.configure(promiscuous=False)


def test_several_wait_and_keep_their_order(sender, wire, stranger):
    for number in range(3):
        sender(f"u.sendto(b'{number}', ('{stranger}', 1))")
    wire.expect("arp[6:2] == 1")
    wire.configure(promiscuous=True)
    answer(wire, sender.host, stranger)
    assert [bytes(wire.expect("udp")[UDP].payload)[:1] for _ in range(3)] == [b"0", b"1", b"2"]
    wire.configure(promiscuous=False)


def test_an_unanswered_question_is_asked_again(sender, wire, stranger, clock):
    sender(f"u.sendto(b'x', ('{stranger}', 1))")
    assert len(requests_for(wire, stranger)) == 1
    clock.step(3)
    assert requests_for(wire, stranger)


def test_an_unanswered_question_ends(sender, wire, stranger, clock):
    """RFC 1122, 2.3.2.1: no flood of requests for one that is not there."""
    sender(f"u.sendto(b'x', ('{stranger}', 1))")
    clock.step(60)
    asked = len(requests_for(wire, stranger))
    assert 1 <= asked <= 20
    clock.step(60)
    assert not requests_for(wire, stranger)


def test_many_datagrams_are_few_questions(sender, wire, stranger, clock):
    """RFC 1122, 2.3.2.1: at most one a second."""
    for _ in range(30):
        sender(f"u.sendto(b'x', ('{stranger}', 1))")
    assert len(requests_for(wire, stranger)) <= 3


def test_an_answer_to_somebody_else_makes_no_entry(sender, wire, stranger):
    """RFC 826: only who is meant adds what it did not know, or every talk fills every table."""
    other = sender.net.addresses.ip(next(STRANGERS))
    wire.send(wire.ether(BROADCAST) / ARP(op=2, hwsrc="02:00:5e:00:00:99", psrc=stranger, hwdst=wire.mac, pdst=other))
    sender(f"u.sendto(b'x', ('{stranger}', 1))")
    wire.expect(lambda frame: ARP in frame and frame[ARP].op == 1 and frame[ARP].pdst == stranger)


def test_a_new_card_is_believed(sender, wire):
    """The address moved to another card, as after a fail-over: gratuitous ARP updates what is known."""
    wire.arp(sender.host.ip)
    sender(f"u.sendto(b'x', ('{wire.ip}', 9))")
    assert wire.expect("udp")[Ether].dst == wire.mac
    wire.configure(promiscuous=True)
    new = "02:00:5e:00:00:77"
    wire.send(wire.ether(BROADCAST) / ARP(op=2, hwsrc=new, psrc=wire.ip, hwdst=BROADCAST, pdst=wire.ip))
    sender(f"u.sendto(b'y', ('{wire.ip}', 9))")
    assert wire.expect("udp")[Ether].dst == new
    wire.configure(promiscuous=False)
    wire.arp(sender.host.ip)
    wire.send(wire.ether(BROADCAST) / ARP(op=2, hwsrc=wire.mac, psrc=wire.ip, hwdst=BROADCAST, pdst=wire.ip))
    sender("0")


def test_who_asks_is_known(sender, wire, module_net):
    """RFC 826: a request says who asks; the answer to it needs no question."""
    other = module_net.wire(f"other{next(STRANGERS)}")
    other.arp(sender.host.ip)
    sender(f"u.sendto(b'x', ('{other.ip}', 9))")
    assert other.expect("udp")[IP].dst == other.ip
    assert not [f for f in other.seen if ARP in f and f[ARP].op == 1]
    module_net.close_wire(other)


@pytest.mark.parametrize("claimed", ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"])
def test_no_one_has_a_group_address(sender, wire, stranger, claimed):
    """RFC 1812, 3.3.2: an answer with such a card is a lie that would make the network shout."""
    sender(f"u.sendto(b'x', ('{stranger}', 1))")
    wire.expect("arp[6:2] == 1")
    wire.configure(promiscuous=True)
    answer(wire, sender.host, stranger, claimed)
    sender("0")
    seen = [f for f in wire.drain() if UDP in f]
    wire.configure(promiscuous=False)
    assert not seen
