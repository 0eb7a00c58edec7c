# SPDX-License-Identifier: BSD-3-Clause
"""Offloads, set and judged by stock dpdk-testpmd: what goes in by a wire, and what comes back."""

import re
import struct

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

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


CLIENT, SERVER = "192.0.2.1", "192.0.2.2"
DATA = bytes(n * 7 % 251 for n in range(9000))


def segment(src, dst, seq, data):
    """A TCP segment with right checksums."""
    tcp = TCP(sport=1000, dport=2000, seq=seq, ack=1, flags="A")
    return bytes(Ether(src=src, dst=dst) / IP(src=CLIENT, dst=SERVER, flags="DF") / tcp / Raw(data))


def checked(raw):
    """The TCP data of a frame whose checksums are right."""
    packet = Ether(raw)
    again = packet.copy()
    del again[IP].chksum, again[TCP].chksum
    again = Ether(bytes(again))
    assert (packet[IP].chksum, packet[TCP].chksum) == (again[IP].chksum, again[TCP].chksum)
    return packet[TCP].seq, bytes(packet[TCP].payload)


def csum_engine(testpmd, peer):
    """testpmd that sends what it gets to the peer, by its checksum and segmentation offloads."""
    pmd = testpmd("nic", "name=nic", options=["--forward-mode=csum", "--enable-scatter", f"--eth-peer=0,{peer}"])
    for line in (
        "port stop 0",
        "port config mtu 0 9200",
        "csum set ip hw 0",
        "csum set tcp hw 0",
        "tso set 1000 0",
        "port config 0 tx_offload multi_segs on",
        "port start 0",
        "start",
    ):
        pmd.command(line)
    return pmd


def test_tso(net, testpmd):
    """One long frame in, nine segments out, each right in itself."""
    wire = net.wire("wire")
    pmd = csum_engine(testpmd, wire.mac)
    wire.send(segment(wire.mac, net.fabric.wait_port("nic")["mac"], 5000, DATA), ack=False)
    seen = [checked(wire.expect().raw) for _ in range(9)]
    assert seen == [(5000 + at, DATA[at : at + 1000]) for at in range(0, 9000, 1000)]
    counted = pmd.xstats()
    assert (counted["tx_tso_cut"], counted["tx_good_packets"]) == (1, 9)


LRO = ["--forward-mode=rxonly", "--enable-lro", "--enable-rx-cksum", "--max-lro-pkt-size=65535"]


def test_lro(net, testpmd):
    """Segments that follow each other reach the application as one."""
    wire = net.wire("wire")
    pmd = testpmd("nic", "name=nic", options=LRO)
    mac = net.fabric.wait_port("nic")["mac"]
    wire.send((segment(wire.mac, mac, at, DATA[at : at + 1000]) for at in range(0, 9000, 1000)), ack=False)
    pmd.command("set verbose 1")
    pmd.command("start")
    pmd.process.wait_output(r"length=9054 - nb_segs=9", 5)
    assert pmd.xstats()["rx_lro_joined"] == 8


def test_tso_meets_lro(net, testpmd):
    """Between two NICs that both offload, the super-frame is never cut."""
    wire = net.wire("wire")
    sink = testpmd("sink", "name=sink", options=LRO)
    for line in ("set fwd txonly", "start", "stop", "set fwd rxonly", "set verbose 1", "start"):
        sink.command(line)  # it says once where it is: to an unknown address a super-frame is cut
    pmd = csum_engine(testpmd, net.fabric.wait_port("sink")["mac"])
    wire.send(segment(wire.mac, net.fabric.wait_port("nic")["mac"], 0, DATA), ack=False)
    sink.process.wait_output(r"length=9054 - nb_segs=5", 5)
    assert pmd.xstats()["tx_tso_whole"] == 1
    assert sink.xstats()["rx_good_packets"] == 1
    # A fault is about frames on a wire: it gets them one by one.
    sink.command("set verbose 0")  # what it prints would get between a command and its answer
    net.link("nic").fault("tcp", skip=2, drop=1)
    wire.send(segment(wire.mac, net.fabric.wait_port("nic")["mac"], 0, DATA), ack=False)
    until(lambda: sink.xstats()["rx_good_packets"] == 1 + 8, 5, "eight of nine segments")
    counted = pmd.xstats()
    assert (counted["tx_tso_whole"], counted["tx_tso_cut"], counted["tx_drop_fault"]) == (1, 1, 1)


def test_checksums(net, testpmd):
    """Sent right by the offload, whatever the application has left in the fields."""
    wire = net.wire("wire")
    pmd = testpmd("nic", "name=nic", options=["--forward-mode=csum", f"--eth-peer=0,{wire.mac}"])
    for line in ("port stop 0", "csum set ip hw 0", "csum set tcp hw 0", "csum set udp hw 0", "port start 0", "start"):
        pmd.command(line)
    mac = net.fabric.wait_port("nic")["mac"]
    for layer in (TCP(sport=7, dport=8), UDP(sport=7, dport=8)):
        right = Ether(src=wire.mac, dst=mac) / IP(src=CLIENT, dst=SERVER) / layer / Raw(DATA[:333])
        wrong = Ether(bytes(right))
        wrong[IP].chksum, wrong[type(layer)].chksum = 0x1111, 0x2222
        wire.send(bytes(wrong), ack=False)
        assert wire.expect().raw[14:] == bytes(right)[14:]


def test_bad_checksums_are_reported(net, testpmd):
    wire = net.wire("wire")
    pmd = testpmd("nic", "name=nic", options=["--forward-mode=rxonly", "--enable-rx-cksum"])
    pmd.command("set verbose 1")
    pmd.command("start")
    packet = Ether(src=wire.mac, dst=net.fabric.wait_port("nic")["mac"]) / IP(src=CLIENT, dst=SERVER)
    wire.send(bytes(packet / UDP(sport=7, dport=8, chksum=0x2222) / Raw(DATA[:99])), ack=False)
    pmd.process.wait_output(r"RTE_MBUF_F_RX_L4_CKSUM_BAD RTE_MBUF_F_RX_IP_CKSUM_GOOD", 5)
    packet[IP].chksum = 0x1111
    wire.send(bytes(packet / UDP(sport=7, dport=8) / Raw(DATA[:99])), ack=False)
    pmd.process.wait_output(r"RTE_MBUF_F_RX_L4_CKSUM_GOOD RTE_MBUF_F_RX_IP_CKSUM_BAD", 5)
    counted = pmd.xstats()
    assert (counted["rx_bad_l4_csum"], counted["rx_bad_l3_csum"]) == (1, 1)


def test_statistics_of_mapped_queues(net, testpmd):
    mirror = Mirror(net, testpmd, options=["--rxq=2", "--txq=2"])
    mirror.pmd.command("set stat_qmap rx 0 0 1")
    for _ in range(3):
        mirror.send()
        mirror.returns(b"")
    counted = mirror.pmd.xstats()
    assert (counted["rx_q0_packets"], counted["rx_q1_packets"], counted["rx_good_packets"]) == (0, 3, 3)


def test_timestamps_are_of_the_fabrics_clock(net, testpmd):
    """Frames arrive when they were sent, or when the link lets them out, by a clock that a test holds in its hand."""
    wire = net.wire("wire")
    pmd = testpmd("nic", "name=nic", options=["--forward-mode=rxonly"])
    for line in (
        "port stop 0",
        "port config 0 rx_offload timestamp on",
        "port start 0",
        "set verbose 1",
        "start",
    ):
        pmd.command(line)
    seen = []

    def arrival(step=0.0):
        wire.send(wire.ether(net.fabric.wait_port("nic")["mac"]) / Raw(bytes(46)), ack=False)
        if step:
            net.clock.step(step)
        until(lambda: pmd.process.stdout.count("- timestamp ") > len(seen), 5, "one more timestamp")
        seen.append(int(re.findall(r"- timestamp (\d+)", pmd.process.stdout)[-1]))
        return seen[-1]

    net.clock.stop()
    first = arrival()
    net.clock.step(1.5)
    assert arrival() - first == 1_500_000_000
    net.link("nic").delay("20ms", direction="rx")
    assert arrival(step=1) - first == 1_520_000_000
