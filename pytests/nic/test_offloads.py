# SPDX-License-Identifier: BSD-3-Clause
"""Offloads, set and judged by stock dpdk-testpmd: what goes in by a wire, and what comes back."""

import struct

import pytest

from uvnet_harness import until

pytestmark = pytest.mark.uvnet(capture=False)


def tag(vlan, tpid=0x8100):
    """A VLAN tag."""
    return struct.pack(">HH", tpid, vlan)


class Mirror:
    """testpmd that sends back what it gets, addresses swapped, and a wire to talk to it.

    :param set_up: commands to type while the port is stopped.
    """

    def __init__(self, net, testpmd, *set_up, options=()):
        self.wire = net.wire("wire")
        self.pmd = testpmd("nic", "name=nic", options=["--forward-mode=macswap", *options])
        self.mac = net.fabric.wait_port("nic")["mac"]
        self.pmd.command("port stop 0")
        for line in set_up:
            self.pmd.command(line)
        self.pmd.command("port start 0")
        self.pmd.command("start")

    def frame(self, tags, dst, src):
        """A frame of no protocol behind these tags."""
        return bytes.fromhex((dst + src).replace(":", "")) + tags + b"\x88\xb5" + bytes(range(60))

    def send(self, tags=b""):
        """Send a frame with these tags."""
        self.wire.send(self.frame(tags, self.mac, self.wire.mac), ack=False)

    def returns(self, tags):
        """The next frame that comes back has these tags."""
        assert self.wire.expect().raw == self.frame(tags, self.wire.mac, self.mac)


def test_vlan_strip(net, testpmd):
    mirror = Mirror(net, testpmd)
    mirror.send(tag(5))
    mirror.returns(tag(5))
    mirror.pmd.command("vlan set strip on 0")
    assert "strip on" in mirror.pmd.command("show port info 0")
    mirror.send(tag(5))
    mirror.returns(b"")
    mirror.pmd.command("vlan set stripq off 0,0")
    mirror.send(tag(5))
    mirror.returns(tag(5))


def test_vlan_insert(net, testpmd):
    mirror = Mirror(net, testpmd, "tx_vlan set 0 5")
    mirror.send()
    mirror.returns(tag(5))
    mirror.send(tag(7))  # it has one already: two
    mirror.returns(tag(5) + tag(7))


def test_qinq(net, testpmd):
    """Two tags are taken off and two others put on."""
    mirror = Mirror(net, testpmd, "tx_vlan set 0 5 6")
    mirror.pmd.command("vlan set strip on 0")
    mirror.pmd.command("vlan set qinq_strip on 0")
    mirror.send(tag(9, 0x88A8) + tag(8))
    mirror.returns(tag(6, 0x88A8) + tag(5))
    mirror.pmd.command("vlan set outer tpid 0x9100 0")
    mirror.send(tag(9, 0x9100) + tag(8))
    mirror.returns(tag(6, 0x9100) + tag(5))


def test_vlan_filter(net, testpmd):
    mirror = Mirror(net, testpmd)
    mirror.pmd.command("vlan set filter on 0")
    mirror.pmd.command("rx_vlan add 5 0")
    for vlan in (4, 5, 6):
        mirror.send(tag(vlan))
    mirror.send()
    mirror.returns(tag(5))
    mirror.returns(b"")
    counted = mirror.pmd.xstats()
    assert counted["rx_drop_vlan_filter"] == 2, counted
    assert net.fabric.snapshot()["pair.wire.0.nic.drops.vlan_filter"] == 2
    mirror.pmd.command("rx_vlan rm 5 0")
    mirror.send(tag(5))
    until(lambda: mirror.pmd.xstats()["rx_drop_vlan_filter"] == 3, 5, "the third drop")
