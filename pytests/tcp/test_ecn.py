# SPDX-License-Identifier: BSD-3-Clause
"""Explicit congestion notification (RFC 3168): marks in place of losses. The wire plays the router that marks."""

import pytest
from scapy.layers.inet import IP, TCP

from uvnet_harness.peer import payload_of

MSS = 1000
ECT, MARK = 2, 3
USED, SEEN = 8, 16  # in TCP_INFO's options


def flags_of(frame):
    return str(frame[TCP].flags)


def ecn_of(frame):
    return frame[IP].tos & 3


@pytest.fixture
def asked(listener, peer):
    """A connection whose peer has asked for it: the puppet's socket `c`."""
    peer.send("SEC", options=[("MSS", MSS), ("SAckOK", b""), ("WScale", 6)])
    answer = peer.expect("SA")
    assert "E" in flags_of(answer) and "C" not in flags_of(answer)
    assert ecn_of(answer) == 0, "6.1.1: no SYN is capable"
    peer.ack = answer[TCP].seq + 1
    peer.send("A")
    listener.until("poll(l) & 1", 1)
    listener("c = l.accept()[0]; c.setblocking(False)")
    return listener


@pytest.fixture
def still(module_net):
    """The clock stands: nothing is sent again."""
    module_net.clock.stop()
    yield module_net.clock
    module_net.clock.real()


def data_frames(peer):
    """What has come, of data."""
    return [f for f in peer.wire.drain() if peer.is_ours(f) and payload_of(f)]


def test_new_data_is_capable_and_acknowledgments_are_not(asked, peer):
    asked("c.send(b'new')")
    frame = peer.expect("P")
    assert ecn_of(frame) == ECT
    peer.take(frame)
    peer.send("PA", b"hello")
    acknowledgment = peer.expect("A")
    assert (ecn_of(acknowledgment), payload_of(acknowledgment)) == (0, b"")
    assert asked("info(c)['options']") & USED


def test_who_does_not_ask_does_not_get_it(listener, peer):
    peer.connect()
    listener.until("poll(l) & 1", 1)
    listener("c = l.accept()[0]; c.send(b'plain')")
    frame = peer.expect("P")
    assert (ecn_of(frame), set(flags_of(frame)) & set("EC")) == (0, set())
    assert not listener("info(c)['options']") & USED


def test_the_type_of_service_stays_without_its_two_bits(asked, peer):
    """RFC 3168, 20: what an application sets them to is not TCP's."""
    asked("c.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x2b)")
    asked("c.send(b'new')")
    assert peer.expect("P")[IP].tos == 0x28 | ECT
    assert asked("c.getsockopt(socket.IPPROTO_IP, socket.IP_TOS)") == 0x28


def test_a_mark_is_told_until_the_peer_has_shrunk_its_window(asked, peer):
    peer.tos = MARK
    peer.send("PA", b"1")
    assert "E" in flags_of(peer.expect("A"))
    peer.tos = ECT
    peer.send("PA", b"2")
    assert "E" in flags_of(peer.expect("A"))
    peer.send("PAC", b"3")
    peer.send("PA", b"4")
    while (answer := peer.expect("A"))[TCP].ack != peer.seq:
        pass
    assert "E" not in flags_of(answer)
    assert asked("info(c)['options']") & SEEN


def test_the_window_shrinks_once_in_a_round_trip(asked, peer, still):
    """And the peer is told so by one segment of new data."""
    asked("c.send(bytes(100 * 1000))")
    flight = [peer.expect("A") for _ in range(10)]
    before = asked("info(c)['snd_cwnd']")
    for number, frame in enumerate(flight, 1):
        peer.send("AE", ack=frame[TCP].seq + len(payload_of(frame)))
        after = asked("info(c)['snd_cwnd']")
        assert 0.6 * before <= after < before, f"{after} of {before} after {number}"
    following = data_frames(peer)
    assert [("C" in flags_of(f)) for f in following] == [True] + (len(following) - 1) * [False]
    peer.send("AE", ack=following[-1][TCP].seq + len(payload_of(following[-1])))
    assert asked("info(c)['snd_cwnd']") < after, "the next round trip"


def test_what_is_sent_again_is_not_capable(asked, peer, still):
    """6.1.5: the mark on it could be about a packet that was lost."""
    asked("c.send(b'lost')")
    assert ecn_of(peer.expect("P")) == ECT
    still.step(3)
    assert {ecn_of(f) for f in data_frames(peer)} == {0}


TALK = """
import socket, sys
s = socket.create_connection((sys.argv[1], 7)) if sys.argv[2] == "ask" else None
if s is None:
    l = socket.create_server((sys.argv[1], 7))
    print("listening", flush=True)
    s = l.accept()[0]
data = bytes(range(256)) * 400
if sys.argv[2] == "ask":
    s.sendall(data)
    used = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[5] & 8
    s.shutdown(socket.SHUT_WR)
    assert s.makefile("rb").read() == data
else:
    used = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[5] & 8
    s.sendall(s.makefile("rb").read())
print(used, flush=True)
"""


@pytest.mark.parametrize("asker", ["stack", "kernel"])
def test_the_kernel_and_the_stack_agree(net, asker):
    """Asked by either, it is used by both; by default both do if they are asked."""
    stack, kernel = net.host("stack", tcp_ecn="yes" if asker == "stack" else "if-asked"), net.kernel_host("kernel")
    if asker == "kernel":
        kernel.run("sysctl", "-qw", "net.ipv4.tcp_ecn=1").check()
    client, server = (stack, kernel) if asker == "stack" else (kernel, stack)
    app = server.start("/usr/bin/python3", "-c", TALK, server.ip, "answer")
    app.process.wait_output("listening")
    assert client.run("/usr/bin/python3", "-c", TALK, server.ip, "ask").check().stdout.split() == ["8"]
    app.process.wait_output("^8$")
