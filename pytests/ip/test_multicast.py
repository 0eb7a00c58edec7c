# SPDX-License-Identifier: BSD-3-Clause
"""Groups on the wire: routers hear of the first member and of the last, and members hear what is sent to them."""

import pytest
from scapy.contrib.igmp import IGMP
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6MLDone, ICMPv6MLReport, IPv6
from scapy.layers.l2 import Ether

GROUP = {4: "239.1.2.3", 6: "ff15::1234"}
ETHER = {4: "01:00:5e:01:02:03", 6: "33:33:00:00:12:34"}


def ip(wire, family):
    """Of what the wire sends to the group."""
    return IP(src=wire.ip, dst=GROUP[4]) if family == 4 else IPv6(src="fd00::99", dst=GROUP[6])


def reported(frame, family):
    """A membership report."""
    return frame[IGMP].type == 0x16 if family == 4 and IGMP in frame else ICMPv6MLReport in frame


def ended(frame, family):
    """The word of the last member."""
    return frame[IGMP].type == 0x17 if family == 4 and IGMP in frame else ICMPv6MLDone in frame


@pytest.mark.parametrize("family", [4, 6])
def test_the_life_of_a_membership(net, program, family):
    host, wire = net.host("host", ipv6=True), net.wire("wire", promiscuous=True)
    app = host.start(*program("datagram"), "members", GROUP[family], "5000")

    def about_it(frame):
        return GROUP[family] in frame.packet.summary() or (ICMPv6MLReport in frame and frame[ICMPv6MLReport].mladdr == GROUP[6])

    wire.expect(lambda frame: reported(frame, family) and about_it(frame))
    app.process.wait_output("joined")

    def say(text):
        wire.send(Ether(src=wire.mac, dst=ETHER[family]) / ip(wire, family) / UDP(sport=9, dport=5000) / text)

    say(b"hello")
    app.process.wait_output("first heard hello")
    app.process.wait_output("second heard hello")
    say(b"first leaves")
    app.process.wait_output("first left")
    say(b"still")
    app.process.wait_output("second heard still")
    assert not [frame for frame in wire.drain() if ended(frame, family)]
    say(b"second leaves")
    wire.expect(lambda frame: ended(frame, family))
    assert "first heard still" not in app.stdout
