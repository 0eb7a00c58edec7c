# SPDX-License-Identifier: BSD-3-Clause
"""Groups on the wire: routers hear of the first member, of what sources are wanted, and of the end, in IGMPv3
(RFC 3376) and MLDv2 (RFC 3810), or in what an older router understands; members hear what is sent to them."""

import ipaddress

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

GROUP = {4: "239.1.2.3", 6: "ff15::1234"}
ETHER = {4: "01:00:5e:01:02:03", 6: "33:33:00:00:12:34"}
SOURCES = {4: ["10.9.9.1", "10.9.9.2", "10.9.9.3"], 6: ["fd00::a1", "fd00::a2", "fd00::a3"]}
ROUTERS = {4: "224.0.0.22", 6: "ff02::16"}
IS_INCLUDE, IS_EXCLUDE, TO_INCLUDE, TO_EXCLUDE, ALLOW, BLOCK = range(1, 7)
FAMILIES = pytest.mark.parametrize("family", [4, 6])


def message(frame, family):
    """The IGMP message, or the MLD message behind its router alert; b'' if it is neither."""
    if family == 4:
        return bytes(frame[IP].payload) if IP in frame and frame[IP].proto == 2 else b""
    return bytes(frame[IPv6])[48:] if IPv6 in frame and frame[IPv6].nh == 0 else b""


def addresses(data, family):
    """One behind the other."""
    size = 4 if family == 4 else 16
    return [str(ipaddress.ip_address(data[at : at + size])) for at in range(0, len(data), size)]


def records(frame, family):
    """What a report of the new kind says about the group: (kind, sources)."""
    data = message(frame, family)
    if not data or data[0] != (0x22 if family == 4 else 143):
        return []
    assert (frame[IP].dst if family == 4 else frame[IPv6].dst) == ROUTERS[family]
    assert int.from_bytes(data[6:8], "big") == 1, "one record in each"
    group, *sources = addresses(data[12 : 12 + (int.from_bytes(data[10:12], "big") + 1) * (4 if family == 4 else 16)], family)
    return [(data[8], sorted(sources))] if group == GROUP[family] else []


def old_kind(frame, family):
    """Type of an older message about the group: report 0x16 or 131, end 0x17 or 132; None if it is none."""
    data = message(frame, family)
    types = (0x16, 0x17) if family == 4 else (131, 132)
    at = 4 if family == 4 else 8
    size = 4 if family == 4 else 16
    about = data and data[0] in types and addresses(data[at : at + size], family) == [GROUP[family]]
    return data[0] if about else None


class Members:
    """Sockets of a host and what the wire hears of them."""

    def __init__(self, net, puppet, wire, family):
        self.net, self.puppet, self.wire, self.family = net, puppet, wire, family
        level, sock = ("IPPROTO_IP", "AF_INET") if family == 4 else ("IPPROTO_IPV6", "AF_INET6")
        puppet(
            "import ipaddress\n"
            "def place(text):\n"
            "    a = ipaddress.ip_address(text)\n"
            "    head = struct.pack('=HH', 2, 0) if a.version == 4 else struct.pack('=HHI', 10, 0, 0)\n"
            "    return (head + a.packed).ljust(128, b'\\0')\n"
            "def ask(sock, what, *places):\n"
            f"    sock.setsockopt(socket.{level}, what, struct.pack('=II', 0, 0) + b''.join(map(place, places)))"
        )
        for name in "abc":
            puppet(f"{name} = socket.socket(socket.{sock}, socket.SOCK_DGRAM)")
            puppet(f"{name}.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)")
            assert puppet(f"{name}.bind(('', 5000))") is None

    def ask(self, name, what, *source):
        """MCAST_... of <linux/in.h>, by number, for the group and sources by their place."""
        places = [GROUP[self.family], *(SOURCES[self.family][number] for number in source)]
        assert self.puppet(f"ask({name}, {what}, *{places})") is None

    def hear(self, kind, *source):
        """The next report about the group that is no repetition."""
        want = (kind, [SOURCES[self.family][number] for number in source])
        frame = self.wire.expect(lambda f: any(k > IS_EXCLUDE for k, _ in records(f, self.family)))
        assert records(frame, self.family) == [want]


JOIN, BLOCK_SOURCE, UNBLOCK_SOURCE, LEAVE, JOIN_SOURCE, LEAVE_SOURCE = range(42, 48)


@pytest.fixture
def members(net, puppet_on, family):
    """Three sockets in no group: `a`, `b`, `c`."""
    host, wire = net.host("host", ipv6=True), net.wire("wire", ipv6=True)
    wire.configure(promiscuous=True)
    return Members(net, puppet_on(host), wire, family)


@FAMILIES
def test_the_life_of_a_membership(net, program, family):
    host, wire = net.host("host", ipv6=True), net.wire("wire", promiscuous=True)
    app = host.start(*program("datagram"), "members", GROUP[family], "5000")
    wire.expect(lambda frame: records(frame, family) == [(TO_EXCLUDE, [])])
    app.process.wait_output("joined")

    def say(text):
        packet = IP(src=wire.ip, dst=GROUP[4]) if family == 4 else IPv6(src="fd00::99", dst=GROUP[6])
        wire.send(Ether(src=wire.mac, dst=ETHER[family]) / packet / UDP(sport=9, dport=5000) / text)

    say(b"hello")
    app.process.wait_output("first heard hello")
    app.process.wait_output("second heard hello")
    say(b"first leaves")
    app.process.wait_output("first left")
    say(b"still")
    app.process.wait_output("second heard still")
    assert not [frame for frame in wire.drain() if (TO_INCLUDE, []) in records(frame, family)]
    say(b"second leaves")
    wire.expect(lambda frame: records(frame, family) == [(TO_INCLUDE, [])])
    assert "first heard still" not in app.stdout


@FAMILIES
def test_routers_hear_what_all_sockets_want_together(members):
    """RFC 3376, 3.2: the union of those who name sources; all but what nobody wants, if one wants any."""
    members.ask("a", JOIN_SOURCE, 0)
    members.hear(TO_INCLUDE, 0)
    members.ask("b", JOIN_SOURCE, 1)
    members.hear(ALLOW, 1)
    members.ask("b", LEAVE_SOURCE, 1)
    members.hear(BLOCK, 1)
    members.ask("c", JOIN)
    members.hear(TO_EXCLUDE)
    members.ask("c", BLOCK_SOURCE, 2)
    members.hear(BLOCK, 2)
    members.ask("a", JOIN_SOURCE, 2)
    members.hear(ALLOW, 2)
    members.puppet("c.close()")
    members.hear(TO_INCLUDE, 0, 2)
    members.puppet("a.close()")
    members.hear(TO_INCLUDE)


def query(members, old):
    """From a router, about all groups, to be answered within a second."""
    wire = members.wire
    if members.family == 4:
        from scapy.utils import checksum

        data = bytes([0x11, 10, 0, 0]) + bytes(4) + (b"" if old else bytes(4))
        data = data[:2] + checksum(data).to_bytes(2, "big") + data[4:]
        packet = IP(src=wire.ip, dst="224.0.0.1", ttl=1, proto=2) / data
        wire.send(Ether(src=wire.mac, dst="01:00:5e:00:00:01") / packet)
        return
    from scapy.layers.inet6 import ICMPv6MLQuery, ICMPv6MLQuery2, IPv6ExtHdrHopByHop, RouterAlert

    kind = ICMPv6MLQuery(mrd=1000) if old else ICMPv6MLQuery2(mrd=1000)
    head = IPv6(src=wire.link_local, dst="ff02::1", hlim=1) / IPv6ExtHdrHopByHop(options=[RouterAlert()])
    wire.send(Ether(src=wire.mac, dst="33:33:00:00:00:01") / head / kind)


@FAMILIES
def test_a_query_is_answered_in_its_language(members):
    """And an older router is remembered for two of its intervals (RFC 3376, 8.12)."""
    wire, family, clock = members.wire, members.family, members.net.clock
    members.ask("a", JOIN_SOURCE, 0)
    clock.stop()
    clock.step(2)  # it is said again
    wire.drain()
    query(members, old=False)
    members.puppet("0")
    clock.step(1.2)
    answers = [r for frame in wire.drain() for r in records(frame, family)]
    assert answers == [(IS_INCLUDE, SOURCES[family][:1])]

    query(members, old=True)
    members.puppet("0")
    clock.step(1.2)
    heard = wire.drain()
    assert [old_kind(f, family) for f in heard if old_kind(f, family)] == [0x16 if family == 4 else 131]
    assert not [r for f in heard for r in records(f, family)]
    members.ask("b", JOIN_SOURCE, 1)
    members.puppet("0")
    assert not [r for f in wire.drain() for r in records(f, family)], "it would not understand"

    clock.step(265)
    wire.drain()
    members.ask("b", LEAVE_SOURCE, 1)
    members.hear(BLOCK, 1)
