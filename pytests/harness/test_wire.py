# SPDX-License-Identifier: BSD-3-Clause
"""What a wire hears."""

from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import Ether

from uvnet_harness import until

STRANGER = "02:00:00:00:99:99"


def solicitation(a, b):
    """For the second's address, to its group, by the first."""
    tail = b.ip6.split(":")[-1].rjust(6, "0")[-6:]
    group = f"ff02::1:ff00:{int(tail, 16):x}"
    return (
        Ether(src=a.mac, dst=f"33:33:ff:{tail[:2]}:{tail[2:4]}:{tail[4:]}")
        / IPv6(src=a.ip6, dst=group, hlim=255)
        / ICMPv6ND_NS(tgt=b.ip6)
        / ICMPv6NDOptSrcLLAddr(lladdr=a.mac)
    )


def test_ipv6_and_promiscuous_go_together(net):
    """Both are asked for at the start; later, the one is switched off and leaves the other."""
    a, b = net.wire("a", ipv6=True), net.wire("b", ipv6=True, promiscuous=True)
    other = Ether(src=a.mac, dst=STRANGER, type=0x88B5)
    a.send(other / b"for a stranger")
    assert b.expect(f"ether dst {STRANGER}").raw.endswith(b"for a stranger")

    b.configure()
    a.send(other / b"for a stranger again")
    until(lambda: net.fabric.snapshot()["pair.a.0.b.drops.mac_filter"] == 1, 5, "the filter of b")
    a.send(solicitation(a, b))
    b.expect("icmp6 and ip6[40] == 135")
    assert a.expect("icmp6 and ip6[40] == 136")[ICMPv6ND_NA].tgt == b.ip6
