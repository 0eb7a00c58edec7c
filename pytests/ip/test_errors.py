# SPDX-License-Identifier: BSD-3-Clause
"""What routers say about datagrams reaches the socket that sent them, with who said it."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6

FAR, FAR6 = "192.0.2.5", "2001:db8::5"
ROUTER, ROUTER6 = "198.51.100.1", "2001:db8:1::1"


@pytest.fixture
def host(net):
    """Everything far goes to the wire."""
    return net.host("host", ipv6=True, gateway=net.addresses.ip(2), gateway6="fd00::2")


@pytest.fixture
def wire(net, host):
    """The router."""
    return net.wire("wire", ipv6=True)


def ask(host, program, wire, far):
    """A program that has sent a datagram far away, and the datagram."""
    app = host.start(*program("datagram"), "errors", far, "33434")
    sent = wire.expect(lambda frame: UDP in frame and frame[UDP].dport == 33434)
    return app, sent


def test_errors_over_ipv4(host, wire, program):
    app, sent = ask(host, program, wire, FAR)

    def say(source, message, quoted=bytes(sent[IP])):
        wire.send(wire.ether(host.mac) / IP(src=source, dst=host.ip) / message / quoted)

    def told(*words):
        app.process.wait_output(" ".join(map(str, words)))

    say(ROUTER, ICMP(type=11, code=0))
    told("EHOSTUNREACH", 11, 0, 0, ROUTER, FAR, "what is quoted")
    say(ROUTER, ICMP(type=3, code=0), quoted=bytes(sent[IP])[:28])  # as little as a router may quote
    told("ENETUNREACH", 3, 0, 0, ROUTER, FAR)
    say(ROUTER, ICMP(type=3, code=4, nexthopmtu=1300))
    told("EMSGSIZE", 3, 4, 1300, ROUTER, FAR)
    spoiled = bytearray(bytes(IP(src=ROUTER, dst=host.ip) / ICMP(type=3, code=1) / bytes(sent[IP])))
    spoiled[22] ^= 1  # its checksum
    wire.send(wire.ether(host.mac) / IP(bytes(spoiled)))
    say(FAR, ICMP(type=3, code=3))
    told("ECONNREFUSED", 3, 3, 0, FAR, FAR)
    assert "EHOSTUNREACH 3 1" not in app.process.output()


def test_errors_over_ipv6(host, wire, program):
    app, sent = ask(host, program, wire, FAR6)

    def say(source, message):
        wire.send(wire.ether(host.mac) / IPv6(src=source, dst=host.ip6) / message / bytes(sent[IPv6]))

    def told(*words):
        app.process.wait_output(" ".join(map(str, words)))

    say(ROUTER6, ICMPv6TimeExceeded())
    told("EHOSTUNREACH", 3, 0, 0, ROUTER6, FAR6, "what is quoted")
    say(ROUTER6, ICMPv6PacketTooBig(mtu=1400))
    told("EMSGSIZE", 2, 0, 1400, ROUTER6, FAR6)
    say(ROUTER6, ICMPv6DestUnreach(code=1))
    told("EACCES", 1, 1, 0, ROUTER6, FAR6)
    say(FAR6, ICMPv6DestUnreach(code=4))
    told("ECONNREFUSED", 1, 4, 0, FAR6, FAR6)


@pytest.mark.parametrize("family", [4, 6])
def test_a_connect_in_vain_ends_at_once(host, wire, family):
    """If what is quoted is the very SYN: anybody may claim something."""
    far = FAR if family == 4 else FAR6
    connect = f"import socket; socket.create_connection(({far!r}, 80), 30)"
    app = host.start("/usr/bin/python3", "-c", connect)
    sent = wire.expect(lambda frame: TCP in frame and frame[TCP].dport == 80).packet
    if family == 4:
        head, message = IP(src=ROUTER, dst=host.ip), ICMP(type=3, code=1)
        quoted = sent[IP].copy()
    else:
        head, message = IPv6(src=ROUTER6, dst=host.ip6), ICMPv6DestUnreach(code=3)
        quoted = sent[IPv6].copy()
    forged = quoted.copy()
    forged[TCP].seq += 1
    wire.send([wire.ether(host.mac) / head / message / bytes(forged)[:68]])
    assert wire.expect(lambda frame: TCP in frame, timeout=5), "the SYN is sent again"
    assert app.process.running
    wire.send(wire.ether(host.mac) / head / message / bytes(quoted)[:68])
    app.process.wait_output("No route to host", timeout=5)
