# SPDX-License-Identifier: BSD-3-Clause
"""ping, traceroute and tracepath, unmodified: raw sockets, and the error queue."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6TimeExceeded, IPv6

FAR = {4: "192.0.2.5", 6: "2001:db8::5"}
HOPS = {4: ["198.51.100.1", "198.51.100.2"], 6: ["2001:db8:1::1", "2001:db8:1::2"]}


@pytest.mark.parametrize("family", [4, 6])
def test_ping(net, program, family):
    """With more than a frame holds; and to nobody."""
    host, other = net.host("host", ipv6=True), net.host("other", ipv6=True)
    other.start(*program("echo_asyncio"), "serve", other.ip, "7").process.wait_output("listening")
    target, nobody = (other.ip, net.addresses.ip(9)) if family == 4 else (other.ip6, "fd00::99")
    said = host.run("ping", "-n", "-c3", "-i0.01", "-s3000", target).check().stdout
    assert "3 packets transmitted, 3 received, 0% packet loss" in said
    assert "3008 bytes from" in said
    assert "1 packets transmitted, 0 received" in host.run("ping", "-n", "-c1", "-W0.2", nobody).stdout


@pytest.fixture
def host(net):
    """Everything far goes to the wire."""
    return net.host("host", ipv6=True, gateway=net.addresses.ip(2), gateway6="fd00::2")


@pytest.fixture
def wire(net, host):
    """The router, and what is behind it."""
    return net.wire("wire", ipv6=True)


def answer4(packet):
    """Of a router on the way, or of the destination."""
    hop = packet[IP].ttl - 1
    if hop < len(HOPS[4]):
        return IP(src=HOPS[4][hop], dst=packet[IP].src) / ICMP(type=11) / bytes(packet[IP])[:548]
    head = IP(src=FAR[4], dst=packet[IP].src)
    if UDP in packet:
        return head / ICMP(type=3, code=3) / bytes(packet[IP])[:548]
    if TCP in packet:
        return head / TCP(sport=packet[TCP].dport, dport=packet[TCP].sport, flags="RA", ack=packet[TCP].seq + 1)
    return head / ICMP(type=0, id=packet[ICMP].id, seq=packet[ICMP].seq) / bytes(packet[ICMP].payload)


def answer6(packet):
    """The same."""
    hop = packet[IPv6].hlim - 1
    if hop < len(HOPS[6]):
        return IPv6(src=HOPS[6][hop], dst=packet[IPv6].src) / ICMPv6TimeExceeded() / bytes(packet[IPv6])[:1232]
    head = IPv6(src=FAR[6], dst=packet[IPv6].src)
    if ICMPv6EchoRequest not in packet:
        return head / ICMPv6DestUnreach(code=4) / bytes(packet[IPv6])[:1232]
    echo = packet[ICMPv6EchoRequest]
    return head / ICMPv6EchoReply(id=echo.id, seq=echo.seq, data=echo.data)


def trace(host, wire, *words):
    """Run it, and be the network meanwhile; what it said."""
    app = host.start(*words)
    while app.process.running:
        frame = wire.recv(0.1)
        if frame is None:
            continue
        if IP in frame and frame[IP].dst == FAR[4]:
            wire.send(wire.ether(host.mac) / answer4(frame.packet))
        elif IPv6 in frame and frame[IPv6].dst == FAR[6]:
            wire.send(wire.ether(host.mac) / answer6(frame.packet))
    assert app.process.wait(5) == 0, app.process.output()
    return app.process.stdout


@pytest.mark.parametrize(("method", "family"), [("udp", 4), ("icmp", 4), ("tcp", 4), ("udp", 6), ("icmp", 6)])
def test_traceroute(host, wire, method, family):
    said = trace(host, wire, "traceroute", "-n", "-q1", "-w2", "-M", method, FAR[family])
    assert [line.split()[1] for line in said.splitlines()[1:]] == [*HOPS[family], FAR[family]]


@pytest.mark.parametrize("family", [4, 6])
def test_tracepath(host, wire, family):
    said = trace(host, wire, "tracepath", "-n", FAR[family])
    assert "Resume: pmtu 1500 hops 3" in said
