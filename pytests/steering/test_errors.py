# SPDX-License-Identifier: BSD-3-Clause
"""What routers say about a packet reaches the process that sent it, whichever queue it arrives at, and no other."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, IPv6

pytestmark = pytest.mark.uvnet(ports=6, queues=4, capture=False)

PORTS = {"u": 5000, "q": 5010, "c": 5020}
"""Of the far end of each socket; of the other process the next. Of the near end, too, if they share it."""
MSG_ERRQUEUE = 0x2000
RECVERR = {4: "socket.IPPROTO_IP, 11", 6: "socket.IPPROTO_IPV6, 25"}


class Far:
    """A wire that answers, and routers on the way to it that do not let everything pass."""

    def __init__(self, net, puppet_on, family, shared):
        self.host = net.shared_host("web", queues=2, ipv6=True)
        self.wire = net.wire("far", ipv6=True)
        self.puppets = [puppet_on(self.host) for _ in range(2)]
        """processes with a queue each"""
        self.family = family
        self.shared = shared
        self.head = IP if family == 4 else IPv6
        self.ip, self.hosts = (self.wire.ip, self.host.ip) if family == 4 else (self.wire.ip6, self.host.ip6)
        self.routers = [f"198.51.100.{n}" if family == 4 else f"2001:db8:1::{n}" for n in range(1, 9)]

    def sent(self, kind):
        """The next packet of that kind that the host sends here."""
        return self.wire.expect(lambda frame: kind in frame and frame[kind].dport >= 5000).packet[self.head]

    def send(self, source, message):
        self.wire.send(self.wire.ether(self.host.mac) / self.head(src=source, dst=self.hosts) / message)

    def unreachable(self, source, quoted):
        """Nobody has that port."""
        message = ICMP(type=3, code=3) if self.family == 4 else ICMPv6DestUnreach(code=4)
        self.send(source, message / bytes(quoted))

    def too_big(self, source, mtu, quoted):
        """The packet did not fit."""
        message = ICMP(type=3, code=4, nexthopmtu=mtu) if self.family == 4 else ICMPv6PacketTooBig(mtu=mtu)
        self.send(source, message / bytes(quoted))

    def socket(self, puppet, name, kind):
        """A socket that is connected, or about to be, with the wire."""
        domain = "AF_INET" if self.family == 4 else "AF_INET6"
        puppet(f"{name} = socket.socket(socket.{domain}, socket.{kind}); {name}.setblocking(False)")
        if self.shared:
            puppet(f"{name}.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)")
            puppet(f"{name}.bind(({self.hosts!r}, {PORTS[name]}))")
        puppet(f"connect({name}, ({self.ip!r}, {PORTS[name] + self.puppets.index(puppet)}))")

    def connection(self, puppet, name):
        """One of TCP; and a segment of it, on its way."""
        self.socket(puppet, name, "SOCK_STREAM")
        syn = self.sent(TCP)[TCP]
        answer = TCP(sport=syn.dport, dport=syn.sport, seq=1000, ack=syn.seq + 1, flags="SA", options=[("MSS", 1400)])
        self.send(self.ip, answer)
        puppet.until(f"state({name})", "ESTABLISHED")
        puppet(f"{name}.send(b'?')")
        segment = self.sent(TCP)
        while not segment[TCP].payload:
            segment = self.sent(TCP)
        return segment


@pytest.fixture(params=[(4, False), (6, True)], ids=["ports of their own", "ports of both, over IPv6"])
def far(net, puppet_on, request):
    return Far(net, puppet_on, *request.param)


def error_of(sock):
    return f"{sock}.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)"


def came_by_the_others_queue(host, routers, say):
    """Those routers whose word is received by one process and is another's."""

    def forwarded():
        return sum(row["forwarded"] for row in host.show("queues"))

    found = []
    for router in routers:
        before = forwarded()
        say(router)
        found += [router] if forwarded() > before else []
    return found


def test_errors_reach_their_owner(far):
    """Of datagrams: the error of a connected socket, and the error queue. Of a connection: a smaller path."""
    owner, other = far.puppets
    for puppet in far.puppets:
        far.socket(puppet, "u", "SOCK_DGRAM")
        far.socket(puppet, "q", "SOCK_DGRAM")
        puppet(f"q.setsockopt({RECVERR[far.family]}, 1)")
    owner("u.send(b'?')")
    plain = far.sent(UDP)
    owner("q.send(b'?')")
    queued = far.sent(UDP)

    def unreachable(router):
        far.unreachable(router, plain)
        owner.until(error_of("u"), 111)  # ECONNREFUSED
        far.unreachable(router, queued)
        owner.until(f"q.recvmsg(500, 500, {MSG_ERRQUEUE})[0].decode()", "?")

    crossing = came_by_the_others_queue(far.host, far.routers, unreachable)
    assert 0 < len(crossing) < len(far.routers)  # both ways were gone
    mine, _ = (far.connection(puppet, "c") for puppet in far.puppets)
    owner_mss, other_mss = owner("info(c)['snd_mss']"), other("info(c)['snd_mss']")
    assert owner_mss == other_mss
    far.too_big(crossing[0], 1300, mine)
    headers = 40 if far.family == 4 else 60
    owner.until("info(c)['snd_mss']", 1300 - headers)
    assert other("info(c)['snd_mss']") == other_mss
    assert [other(error_of(name)) for name in "uqc"] == [0, 0, 0]
    assert other("poll(q) & select.POLLERR") == 0
    assert other("state(c)") == "ESTABLISHED"
