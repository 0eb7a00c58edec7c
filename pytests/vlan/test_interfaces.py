# SPDX-License-Identifier: BSD-3-Clause
"""A host's interfaces for tagged frames (`vlan`): which tag its frames carry, whose frames it takes, by which router
it answers. Against wires, and between two hosts over trunks."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether

from uvnet_harness.peer import payload_of

pytestmark = pytest.mark.uvnet(capture=False)

ADDRESS = {100: "172.16.100.1", 200: "172.16.200.1"}
PEER = {100: "172.16.100.9", 200: "172.16.200.9"}
ROUTER = {100: "172.16.100.254", 200: "172.16.200.254"}
VLANS = f"100 {ADDRESS[100]}/24 fd00:100::1/64 via {ROUTER[100]}, 200 {ADDRESS[200]}/24 via {ROUTER[200]}"


class Side:
    """One host in a VLAN, made by hand on a wire that all VLANs share."""

    def __init__(self, wire, host_mac, vlan, ip):
        self.wire, self.host_mac, self.vlan, self.ip = wire, host_mac, vlan, ip

    def ether(self, dst=None):
        """The beginning of a frame."""
        head = Ether(src=self.wire.mac, dst=dst or self.host_mac)
        return head / Dot1Q(vlan=self.vlan) if self.vlan else head

    def send(self, packet, dst=None):
        """Send it in this VLAN."""
        self.wire.send(self.ether(dst) / packet)

    def hears(self, layer):
        """The next frame with that layer; it has this VLAN's tag and no other. Meanwhile whoever asks for an address
        gets one: each stack of the host asks for itself."""
        while True:
            frame = self.wire.expect(lambda f: layer in f or ARP in f)
            assert (frame[Dot1Q].vlan if Dot1Q in frame else 0) == self.vlan
            if ARP not in frame or frame[ARP].op == 2:
                return frame
            question = frame[ARP]
            self.send(ARP(op=2, hwsrc=self.wire.mac, psrc=question.pdst, hwdst=question.hwsrc, pdst=question.psrc))

    def known(self, ip, of=None):
        """The host learns where this address is (by being asked from there)."""
        self.send(ARP(op=1, hwsrc=self.wire.mac, psrc=ip, pdst=of), dst="ff:ff:ff:ff:ff:ff")
        answer = self.hears(ARP)
        assert (answer[ARP].op, answer[ARP].psrc, answer[ARP].pdst) == (2, of, ip)


@pytest.fixture(scope="module")
def vlan_host(module_net, module_puppet_on):
    """A puppet on a host with two VLANs."""
    puppet = module_puppet_on(module_net.host("server", vlan=VLANS))
    puppet(f"tcp(['{ADDRESS[100]}', 1]).close()")  # brings the stack up
    return puppet


@pytest.fixture(scope="module")
def neighbours(module_net, vlan_host):
    """By VLAN: a neighbour of the host, which it knows."""
    wire = module_net.wire("wire", promiscuous=True)
    made = {vlan: Side(wire, vlan_host.host.mac, vlan, ip) for vlan, ip in PEER.items()}
    wire.drain()
    for vlan, side in made.items():
        side.known(side.ip, of=ADDRESS[vlan])
        side.known(ROUTER[vlan], of=ADDRESS[vlan])
    return made


@pytest.fixture
def host(vlan_host):
    """The puppet, with nothing open."""
    yield vlan_host
    vlan_host("reset")


@pytest.fixture
def sides(host, neighbours):
    """The neighbours, with nothing waiting."""
    host("0")
    neighbours[100].wire.drain()
    return neighbours


@pytest.mark.parametrize("vlan", PEER)
def test_ping_is_answered_in_its_vlan(sides, vlan):
    side = sides[vlan]
    side.send(IP(src=side.ip, dst=ADDRESS[vlan]) / ICMP() / b"hello")
    answer = side.hears(ICMP)
    assert (answer[IP].src, answer[IP].dst, answer[ICMP].type) == (ADDRESS[vlan], side.ip, 0)


def test_frames_of_other_vlans_are_dropped_and_counted(net, puppet_on):
    server = puppet_on(net.host("server", vlan=VLANS))
    server(f"tcp(['{ADDRESS[100]}', 1]).close()")
    side = Side(net.wire("wire", promiscuous=True), server.host.mac, 300, PEER[100])
    side.send(IP(src=side.ip, dst=ADDRESS[100]) / ICMP())
    server("0")
    assert not [f for f in side.wire.drain() if ICMP in f]
    server.close()
    server.app.wait()
    assert server.host.stats()["dropped.rx_vlan"] == 1


def test_an_answer_to_far_away_goes_by_the_router_of_its_vlan(host, sides):
    """By that of the interface whose address it comes from."""
    for vlan in (200, 100):
        sides[vlan].send(IP(src="198.51.100.7", dst=ADDRESS[vlan]) / ICMP() / b"far")
        answer = sides[vlan].hears(ICMP)
        assert (answer[IP].src, answer[IP].dst) == (ADDRESS[vlan], "198.51.100.7")


def test_datagrams_say_where_they_came(host, sides):
    """IP_PKTINFO: index of the interface."""
    host("u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.setsockopt(0, 8, 1); u.bind(('0.0.0.0', 9))")
    index = {}
    for vlan, side in sides.items():
        side.send(IP(src=side.ip, dst=ADDRESS[vlan]) / UDP(sport=9, dport=9) / b"x")
        host.until("poll(u) & 1", 1)
        index[vlan] = host("struct.unpack('i', u.recvmsg(10, 100)[1][0][2][:4])[0]")
    assert index == {100: 3, 200: 4}


def test_a_connection_in_a_vlan(host, sides):
    """Segments of a flight have their tag, each of them."""
    side = sides[100]
    host(f"l = tcp(['{ADDRESS[100]}', 7]); l.listen(8)")

    def segment(flags, seq, ack, options=()):
        side.send(IP(src=side.ip, dst=ADDRESS[100]) / TCP(sport=4000, dport=7, window=65535, flags=flags, seq=seq, ack=ack, options=list(options)))

    segment("S", 1000, 0, [("MSS", 1460)])
    answer = side.hears(TCP)
    segment("A", 1001, answer[TCP].seq + 1)
    host.until("poll(l) & 1", 1)
    host("c = l.accept()[0]; c.setblocking(False); c.send(bytes(10220))")
    host("0")
    frames = [f for f in side.wire.drain() if TCP in f and payload_of(f)]
    assert [f[Dot1Q].vlan for f in frames] == [100] * 7
    assert b"".join(payload_of(f) for f in frames) == bytes(10220)
    for f in frames:
        again = IP(bytes(f[IP]))
        del again.chksum, again[TCP].chksum
        assert bytes(IP(bytes(again))) == bytes(f[IP]), "checksums"


DEVICE = "socket.SOL_SOCKET, socket.SO_BINDTODEVICE"


def test_a_socket_bound_to_an_interface_hears_that_one_alone(host, sides):
    """SO_BINDTODEVICE by name; what comes for it by another interface finds nobody."""
    host(f"u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.setsockopt({DEVICE}, b'uv0.100\\0')")
    assert host(f"u.getsockopt({DEVICE}, 16)") == "uv0.100\0"
    host("u.bind(('0.0.0.0', 9)); u.setblocking(False)")
    for vlan in (200, 100):
        sides[vlan].send(IP(src=sides[vlan].ip, dst=ADDRESS[vlan]) / UDP(sport=9, dport=9) / str(vlan).encode())
    host.until("poll(u) & 1", 1)
    assert host("u.recv(100)") == "100"
    assert host("u.recv(100)") == {"error": "EAGAIN"}
    assert sides[200].hears(ICMP)[ICMP].code == 3, "port unreachable"


def test_a_socket_bound_to_an_interface_sends_by_that_one(host, sides):
    """Whatever the routes say, and by its router."""
    host(f"u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.setsockopt({DEVICE}, b'uv0.200')")
    host("u.sendto(b'x', ('198.51.100.7', 9))")
    assert sides[200].hears(UDP)[IP].src == ADDRESS[200]
    host(f"u.setsockopt({DEVICE}, b''); u.sendto(b'x', ('198.51.100.7', 9))")
    assert sides[100].hears(UDP)[IP].src == ADDRESS[100]


def test_a_datagram_may_name_its_interface(host, sides):
    """IP_PKTINFO with an index."""
    host("u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
    host("u.sendmsg([b'x'], [(0, 8, struct.pack('i8s', 4, bytes(8)))], 0, ('198.51.100.7', 9))")
    assert sides[200].hears(UDP)[IP].src == ADDRESS[200]
    away = "u.sendmsg([b'x'], [(0, 8, struct.pack('i8s', 9, bytes(8)))], 0, ('198.51.100.7', 9))"
    assert host(away) == {"error": "ENODEV"}


def test_a_listener_bound_to_an_interface(host, sides):
    """A SYN that comes by another one is refused."""
    host(f"l = tcp(); l.setsockopt({DEVICE}, b'uv0.100'); l.bind(('0.0.0.0', 7)); l.listen(8)")
    answers = {}
    for vlan, side in sides.items():
        side.send(IP(src=side.ip, dst=ADDRESS[vlan]) / TCP(sport=4001, dport=7, flags="S", seq=1))
        answers[vlan] = str(side.hears(TCP)[TCP].flags)
    assert answers == {100: "SA", 200: "RA"}


def test_an_interface_that_is_not_there(host):
    for kind in ("STREAM", "DGRAM"):
        host(f"s = socket.socket(socket.AF_INET, socket.SOCK_{kind})")
        assert host(f"s.setsockopt({DEVICE}, b'uv0.300')") == {"error": "ENODEV"}


def test_interfaces_have_names_numbers_and_addresses(host):
    """SIOCGIFINDEX, SIOCGIFADDR, SIOCGIFMTU of a socket of the stack."""
    host(f"import fcntl; s = tcp(['{ADDRESS[100]}', 1])")
    ask = "fcntl.ioctl(s, {}, struct.pack('16s24x', b'uv0.200'))[16:]"
    assert host("struct.unpack('i', " + ask.format(0x8933) + "[:4])[0]") == 4
    assert host("socket.inet_ntoa(" + ask.format(0x8915) + "[4:8])") == ADDRESS[200]
    assert host("struct.unpack('i', " + ask.format(0x8921) + "[:4])[0]") == 1500


@pytest.mark.parametrize("family", ["4", "6"])
def test_a_stream_over_a_trunk(net, program, family):
    """Two hosts in the same VLANs, and a switch that knows of them."""
    address = {"4": ("172.16.100.1", "172.16.100.2"), "6": ("fd00:100::1", "fd00:100::2")}[family]
    hosts = [net.host(name, vlan=f"100 172.16.100.{i}/24 fd00:100::{i}/64") for i, name in ((1, "receiver"), (2, "sender"))]
    for host in hosts:
        net.vlan(host.name, trunk="100", native=1)
    listening = hosts[0].start(*program("transfer"), "receive", address[0], "5001")
    listening.process.wait_output("listening")
    done = hosts[1].run(*program("transfer"), "send", address[0], "5001", str(4 << 20), "1").check()
    assert listening.wait(10) == 0 and listening.stdout.splitlines()[-1] == done.stdout.strip()
    assert hosts[1].stats()["port.tx_joined"] > 100
