# SPDX-License-Identifier: BSD-3-Clause
"""``address = dhcp``: a lease from dnsmasq, and the life of one in virtual time, with the wire as the server."""

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import ARP, Ether

LEASE = 600


def test_dnsmasq_leases_an_address(net, program):
    """The host is up when it has it, answers there, and finds its router."""
    kernel, host = net.kernel_host("kernel"), net.host("host", address="dhcp")
    leased = net.addresses.ip(77)
    server = kernel.start(
        "dnsmasq", "--no-daemon", "--no-resolv", "--port=0", "--bind-dynamic", "--leasefile-ro", "--no-ping",
        f"--dhcp-range={leased},{leased},255.255.255.0,10m", f"--dhcp-option=option:router,{kernel.ip}",
    )  # fmt: skip
    server.process.wait_output("DHCP, IP range")
    app = host.start(*program("echo_asyncio"), "serve", leased, "7")
    app.process.wait_output("listening", timeout=20)
    assert kernel.run("ping", "-n", "-c1", leased).ok
    app.stop()
    server.process.wait_output(f"DHCPRELEASE.* {leased}")


class Server:
    """What the wire says as a DHCP server."""

    def __init__(self, net, wire):
        self.net, self.wire = net, wire
        self.leased = net.addresses.ip(77)

    def hear(self, kind):
        """The client's next message, which is to be of that kind."""
        frame = self.wire.expect(lambda seen: DHCP in seen)
        assert self.option(frame, "message-type") == {"discover": 1, "request": 3}[kind]
        return frame

    @staticmethod
    def option(frame, name):
        """Of a message; None if it is not there."""
        return next((value[1] for value in frame[DHCP].options if value[0] == name), None)

    def say(self, kind, request):
        """Answer a message."""
        options = [("message-type", kind), ("server_id", self.wire.ip), ("lease_time", LEASE),
                   ("subnet_mask", "255.255.255.0"), ("router", self.wire.ip), "end"]  # fmt: skip
        self.wire.send(
            Ether(src=self.wire.mac, dst="ff:ff:ff:ff:ff:ff")
            / IP(src=self.wire.ip, dst="255.255.255.255")
            / UDP(sport=67, dport=68)
            / BOOTP(op=2, xid=request[BOOTP].xid, chaddr=request[BOOTP].chaddr, yiaddr=self.leased)
            / DHCP(options=options)
        )

    def lease(self):
        """From the question to the address."""
        self.say("offer", self.hear("discover"))
        request = self.hear("request")
        assert self.option(request, "requested_addr") == self.leased
        self.say("ack", request)


@pytest.fixture
def server(net):
    """The server, on the wire."""
    return Server(net, net.wire("wire"))


def test_a_lease_is_renewed_and_ends(net, program, server):
    """Half of its time: by unicast; seven eighths: by broadcast; then it is over, and asked for anew."""
    host = net.host("host", address="dhcp")
    app = host.start(*program("echo_asyncio"), "serve", server.leased, "7")
    server.lease()
    app.process.wait_output("listening", timeout=20)
    wire = server.wire
    assert wire.arp(server.leased) == host.mac

    net.clock.stop()
    net.clock.step(LEASE / 2 + 60)
    renewal = server.hear("request")
    assert (renewal[Ether].dst, renewal[IP].src, renewal[IP].dst) == (wire.mac, server.leased, wire.ip)
    server.say("ack", renewal)

    net.clock.step(LEASE * 6 / 8)
    wire.drain()
    net.clock.step(LEASE / 8 + 30)  # the client counts minutes
    wire.expect(lambda seen: DHCP in seen and seen[IP].dst == "255.255.255.255")
    net.clock.step(60)
    wire.expect(lambda seen: DHCP in seen and Server.option(seen, "message-type") == 1)
    wire.send(Ether(src=wire.mac, dst=host.mac) / IP(src=wire.ip, dst=server.leased) / ICMP())
    net.clock.step(1)
    assert not [frame for frame in wire.drain() if ICMP in frame]


def test_an_address_that_somebody_has_is_declined(net, program, server):
    """The host asks by ARP before it uses what it was offered."""
    host = net.host("host", address="dhcp")
    host.start(*program("echo_asyncio"), "serve", server.leased, "7")
    server.lease()
    wire = server.wire
    probe = wire.expect(lambda seen: ARP in seen and seen[ARP].pdst == server.leased)
    wire.send(
        Ether(src="02:00:00:00:77:77", dst=host.mac)
        / ARP(op=2, hwsrc="02:00:00:00:77:77", psrc=server.leased, hwdst=host.mac, pdst=probe[ARP].psrc)
    )
    wire.expect(lambda seen: DHCP in seen and Server.option(seen, "message-type") == 4)
