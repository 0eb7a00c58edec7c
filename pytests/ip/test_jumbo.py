# SPDX-License-Identifier: BSD-3-Clause
"""Frames of more than 1,514 bytes: `mtu` says how long packets may be. Segments follow it, the peer's and the path's;
memory is made for it."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP

from uvnet_harness.peer import Peer, payload_of

MTU = 9000
pytestmark = pytest.mark.uvnet(capture=False)


@pytest.fixture
def jumbo(net, puppet_on):
    """A puppet on a host with long frames, and a wire that takes them."""
    puppet = puppet_on(net.host("server", mtu=MTU, mbufs=2048))
    wire = net.wire("wire")
    wire.configure(mtu=9216)
    puppet(f"tcp(['{puppet.host.ip}', 1]).close()")  # brings the stack up
    puppet(f"l = tcp(['{puppet.host.ip}', 7]); l.listen(8)")
    wire.arp(puppet.host.ip)
    return puppet, wire


def connected(jumbo, mss):
    """A connection with a peer that takes segments of so many bytes; its SYN and ACK, too."""
    puppet, wire = jumbo
    peer = Peer(wire, puppet.host.mac, puppet.host.ip, sport=4000, dport=7)
    answer = peer.connect(options=[("MSS", mss)])
    puppet.until("poll(l) & 1", 1)
    puppet("c = l.accept()[0]; c.setblocking(False)")
    return peer, answer


def flight(jumbo, peer):
    """Lengths of the segments that have come."""
    jumbo[0]("0")
    return [len(payload_of(f)) for f in jumbo[1].drain() if peer.is_ours(f) and payload_of(f)]


@pytest.mark.parametrize("mss", [536, 1460, 8960, 9176])
def test_segments_are_what_both_ends_can(jumbo, mss):
    """The host says what it takes, and sends what the peer takes, but no more than its own MTU."""
    peer, answer = connected(jumbo, mss)
    assert dict(answer[TCP].options)["MSS"] == MTU - 40
    used = min(mss, MTU - 40)
    jumbo[0](f"c.send(bytes({2 * used}))")
    assert flight(jumbo, peer) == [used] * 2


def test_segments_of_that_length_are_received(jumbo):
    peer, _ = connected(jumbo, 8960)
    sent = [bytes([65 + i]) * 8960 for i in range(3)]
    for payload in sent:
        peer.send("A", payload)
    jumbo[0].until("len(c.recv(40000, socket.MSG_PEEK))", 3 * 8960)
    assert jumbo[0]("c.recv(40000)").encode() == b"".join(sent)


def test_a_path_with_a_smaller_mtu_is_found(jumbo):
    """RFC 1191: a router says what fits. What was cut into segments before comes again in fragments of that length;
    segments are shorter from then on."""
    puppet, wire = jumbo
    peer, _ = connected(jumbo, 8960)
    puppet("c.send(bytes(17920))")
    assert flight(jumbo, peer) == [8960, 8960]
    quoted = peer.segment("A", bytes(8960))[IP]
    quoted.src, quoted.dst, quoted.sport, quoted.dport = quoted.dst, quoted.src, peer.dport, peer.sport
    quoted[TCP].seq, quoted.flags = peer.ack, "DF"
    complaint = IP(src=wire.ip, dst=puppet.host.ip) / ICMP(type=3, code=4, nexthopmtu=1500) / bytes(quoted)[:28]
    wire.send(wire.ether(puppet.host.mac) / complaint)
    frame = wire.expect(lambda f: IP in f and f[IP].src == puppet.host.ip)
    assert frame[IP].len <= 1500
    peer.send("A", ack=peer.ack + 17920)
    peer.ack += 17920
    wire.drain()
    puppet("c.send(bytes(2920))")
    assert flight(jumbo, peer) == [1460, 1460]
    assert puppet("c.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)") == 1460


def test_datagrams_are_whole_up_to_the_mtu(jumbo):
    """And fragments of that length beyond it."""
    puppet, wire = jumbo
    puppet(f"u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('{puppet.host.ip}', 9))")
    puppet(f"u.sendto(bytes(8972), ('{wire.ip}', 9)); u.sendto(bytes(12000), ('{wire.ip}', 9))")
    lengths = [f[IP].len for f in wire.drain() if IP in f and f[IP].proto == 17]
    assert lengths == [9000, 8996, 20 + 12008 - 8976]
    wire.send(wire.ether(puppet.host.mac) / IP(src=wire.ip, dst=puppet.host.ip) / UDP(sport=9, dport=9) / bytes(8972))
    puppet.until("len(u.recv(9100, socket.MSG_PEEK))", 8972)


def test_a_stream_between_hosts_of_which_one_has_short_frames(net, program):
    """Nothing is lost: what is too long is never sent."""
    receiver, sender = net.host("receiver", mtu=MTU, mbufs=2048), net.host("sender")
    listening = receiver.start(*program("transfer"), "receive", receiver.ip, "5001")
    listening.process.wait_output("listening")
    before = net.fabric.snapshot()
    done = sender.run(*program("transfer"), "send", receiver.ip, "5001", str(4 << 20), "1").check()
    assert listening.wait(10) == 0 and listening.stdout.splitlines()[-1] == done.stdout.strip()
    assert (net.fabric.snapshot() - before).sum("pair.*.drops.oversize") == 0

