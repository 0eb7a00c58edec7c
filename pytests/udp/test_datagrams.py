# SPDX-License-Identifier: BSD-3-Clause
"""UDP of a host, datagram by datagram, from a wire."""

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.packet import Raw


@pytest.fixture
def bound(puppet):
    """A socket `u` on port 53."""
    puppet(
        "u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.setblocking(False); "
        f"u.bind(('{puppet.host.ip}', 53))"
    )
    return puppet


def datagram(wire, host, payload=b"question", sport=4000, dport=53, dst=None, **udp):
    """From the wire to the host."""
    return (
        wire.ether(host.mac) / IP(src=wire.ip, dst=dst or host.ip) / UDP(sport=sport, dport=dport, **udp) / payload
    )


def arrived(puppet, text="u.recvfrom(2000)"):
    """What has come by now: None if nothing has."""
    answer = puppet(text)
    return None if answer == {"error": "EAGAIN"} else answer


@pytest.mark.parametrize("size", [0, 1, 17, 18, 19, 512, 1471, 1472])
def test_a_datagram_comes_as_it_was_sent(bound, wire, size):
    """Without the padding of short frames, and the empty one, too."""
    payload = bytes(n % 95 + 32 for n in range(size))
    wire.send(datagram(wire, bound.host, payload))
    bound.until("poll(u) & 1", 1)
    assert arrived(bound) == [payload.decode(), [wire.ip, 4000]]


@pytest.mark.parametrize("size", [0, 1, 18, 1472])
def test_an_answer_goes_to_who_asked(bound, wire, size):
    bound(f"u.sendto(bytes({size}), ('{wire.ip}', 4001))")
    frame = wire.expect("udp dst port 4001")
    assert (frame[IP].src, frame[UDP].sport, frame[UDP].len) == (bound.host.ip, 53, 8 + size)
    assert frame[UDP].chksum != 0


def test_boundaries_are_kept(bound, wire):
    wire.send([datagram(wire, bound.host, bytes([65 + n]) * n) for n in range(1, 6)])
    bound.until("poll(u) & 1", 1)
    assert [arrived(bound)[0] for _ in range(5)] == [chr(65 + n) * n for n in range(1, 6)]
    assert arrived(bound) is None


def test_what_does_not_fit_the_buffer_is_cut_and_told(bound, wire):
    wire.send(datagram(wire, bound.host, b"0123456789"))
    bound.until("poll(u) & 1", 1)
    assert bound("[u.recvmsg(4)[i] for i in (0,)][0]") == "0123"
    assert arrived(bound) is None, "the rest is gone"
    wire.send(datagram(wire, bound.host, b"0123456789"))
    bound.until("poll(u) & 1", 1)
    assert bound("u.recvmsg(4)[2] == socket.MSG_TRUNC") is True


def test_a_look_takes_nothing(bound, wire):
    wire.send(datagram(wire, bound.host))
    bound.until("poll(u) & 1", 1)
    assert bound("u.recv(100, socket.MSG_PEEK)") == "question"
    assert bound("u.recv(100)") == "question"


def test_a_wrong_checksum_is_dropped(bound, wire):
    wire.send(datagram(wire, bound.host, chksum=0xBAD))
    wire.send(datagram(wire, bound.host, b"good"))
    bound.until("poll(u) & 1", 1)
    assert arrived(bound)[0] == "good"


def test_no_checksum_is_good(bound, wire):
    """RFC 768."""
    wire.send(datagram(wire, bound.host, chksum=0))
    bound.until("poll(u) & 1", 1)
    assert arrived(bound)[0] == "question"


@pytest.mark.parametrize("length", [0, 7, 200])
def test_a_length_that_lies_is_dropped(bound, wire, length):
    wire.send(datagram(wire, bound.host, len=length, chksum=0))
    wire.send(datagram(wire, bound.host, b"good"))
    bound.until("poll(u) & 1", 1)
    assert arrived(bound)[0] == "good"


def test_a_port_that_nobody_has_is_refused(puppet, wire):
    wire.send(datagram(wire, puppet.host, dport=54))
    refusal = wire.expect("icmp[icmptype] == icmp-unreach")
    assert refusal[ICMP].code == 3


def test_a_closed_socket_is_nobodys(bound, wire):
    bound("u.close()")
    wire.send(datagram(wire, bound.host))
    assert wire.expect("icmp[icmptype] == icmp-unreach")[ICMP].code == 3


def test_a_refusal_is_told_to_a_connected_socket(bound, wire):
    bound(f"u.connect(('{wire.ip}', 99)); u.send(b'hello')")
    question = wire.expect("udp dst port 99")
    quoted = bytes(question[IP])[:28]
    wire.send(wire.ether(bound.host.mac) / IP(src=wire.ip, dst=bound.host.ip) / ICMP(type=3, code=3) / Raw(quoted))
    bound.until("poll(u) & 8", 8)
    assert bound("u.recv(10)") == {"error": "ECONNREFUSED"}
    assert arrived(bound) is None, "once"


def test_a_connected_socket_hears_its_peer_only(bound, wire):
    bound(f"u.connect(('{wire.ip}', 4000))")
    wire.send([datagram(wire, bound.host, b"stranger", sport=4001), datagram(wire, bound.host, b"peer")])
    bound.until("poll(u) & 1", 1)
    assert arrived(bound)[0] == "peer"
    assert arrived(bound) is None


def test_a_connected_socket_needs_no_address(bound, wire):
    bound(f"u.connect(('{wire.ip}', 4000))")
    assert bound("u.send(b'hi')") == 2
    assert bytes(wire.expect("udp dst port 4000")[UDP].payload)[:2] == b"hi"


def test_without_an_address_nothing_can_be_sent(bound):
    assert bound("u.send(b'hi')") == {"error": "EDESTADDRREQ"}


def test_what_is_too_long_is_refused(bound, wire):
    assert bound(f"u.sendto(bytes(65508), ('{wire.ip}', 1))") == {"error": "EMSGSIZE"}


def test_a_long_datagram_goes_in_fragments(bound, wire):
    bound(f"u.sendto(bytes(4000), ('{wire.ip}', 4000))")
    pieces = [wire.expect("ip proto 17") for _ in range(3)]
    assert len({piece[IP].id for piece in pieces}) == 1
    assert [int(piece[IP].flags) & 1 for piece in pieces] == [1, 1, 0]
    assert sum(piece[IP].len - 20 for piece in pieces) == 4008


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (0, 0, 1, 2, 1)], ids=str)
def test_fragments_in_any_order_make_a_datagram(bound, wire, order):
    payload = bytes(n % 95 + 32 for n in range(3500))
    whole = bytes(UDP(sport=4000, dport=53, len=8 + len(payload), chksum=0)) + payload
    pieces = [
        wire.ether(bound.host.mac)
        / IP(src=wire.ip, dst=bound.host.ip, proto=17, id=77 + len(order), frag=begin // 8,
             flags="MF" if begin + 1480 < len(whole) else 0)
        / Raw(whole[begin : begin + 1480])
        for begin in range(0, len(whole), 1480)
    ]  # fmt: skip
    wire.send([pieces[n] for n in order])
    bound.until("poll(u) & 1", 1)
    assert arrived(bound, "u.recv(5000)") == payload.decode()
    assert arrived(bound) is None


def test_a_broadcast_is_heard_by_who_is_bound_to_any(puppet, wire, module_net):
    puppet(
        "u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.setblocking(False); u.bind(('', 67))"
    )
    frame = datagram(wire, puppet.host, b"anybody", dport=67, dst="255.255.255.255")
    frame.dst = "ff:ff:ff:ff:ff:ff"
    wire.send(frame)
    puppet.until("poll(u) & 1", 1)
    assert arrived(puppet)[0] == "anybody"


def test_broadcasting_wants_permission(bound):
    assert bound("u.sendto(b'x', ('255.255.255.255', 9))") == {"error": "EACCES"}


def test_two_sockets_of_a_port_are_refused_without_reuse(bound):
    again = f"v = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); v.bind(('{bound.host.ip}', 53))"
    assert bound(again) == {"error": "EADDRINUSE"}


def test_ports_of_the_systems_choice_differ(puppet):
    count = puppet(
        "s = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(50)]; "
        f"n = [x.bind(('{puppet.host.ip}', 0)) or x.getsockname()[1] for x in s]; [x.close() for x in s]"
    )
    assert count is None
    assert puppet("len(set(n))") == 50
    assert puppet("min(n)") >= 1024


def test_the_source_address_and_interface_can_be_asked_for(bound, wire):
    """IP_PKTINFO."""
    bound("u.setsockopt(socket.IPPROTO_IP, 8, 1)")
    wire.send(datagram(wire, bound.host))
    bound.until("poll(u) & 1", 1)
    assert bound("socket.inet_ntoa(u.recvmsg(100, 100)[1][0][2][8:12])") == bound.host.ip


def test_time_to_live_is_as_asked(bound, wire):
    bound(f"u.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 7); u.sendto(b'x', ('{wire.ip}', 4000))")
    assert wire.expect("udp dst port 4000")[IP].ttl == 7


def test_type_of_service_is_as_asked(bound, wire):
    bound(f"u.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0xb8); u.sendto(b'x', ('{wire.ip}', 4000))")
    assert wire.expect("udp dst port 4000")[IP].tos == 0xB8


def test_a_full_socket_drops_and_goes_on(bound, wire):
    bound("u.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)")
    for _ in range(10):
        wire.send([datagram(wire, bound.host, bytes(1000)) for _ in range(20)])
    bound.until("poll(u) & 1", 1)
    count = 0
    while arrived(bound) is not None:
        count += 1
    assert 1 <= count < 200
    wire.send(datagram(wire, bound.host, b"later"))
    bound.until("poll(u) & 1", 1)
    assert arrived(bound)[0] == "later"
