# SPDX-License-Identifier: BSD-3-Clause
"""Stock dpdk-testpmd as the judge: forwarding modes, memory modes, hot-plug, deaths and restarts."""

import signal

import pytest

from uvnet_harness import until

pytestmark = pytest.mark.uvnet(queues=4, capture=False)

FOUR = ["--rxq=4", "--txq=4"]
DROPS = ("rx_drop_ring_full", "rx_drop_no_mbuf", "rx_drop_no_mbuf_chain", "rx_drop_too_long",
         "rx_drop_stale", "rx_drop_bad_reference", "rx_drop_mac_filter", "rx_drop_stopped",
         "rx_drop_oversize")  # fmt: skip


def mac_of(net, name):
    """Address of an attached port."""
    return net.fabric.wait_port(name)["mac"]


def frame(dst, src, payload=bytes(46)):
    """A frame of no protocol."""
    return bytes.fromhex((dst + src).replace(":", "")) + b"\x88\xb5" + payload


def grows(net, counter, by=1000):
    """Wait until a counter of the fabric has grown."""
    before = net.fabric.snapshot()
    until(lambda: (net.fabric.snapshot() - before)[counter] > by, 15, f"{counter} to grow by {by}")


@pytest.mark.parametrize("memory", ["no-huge", "in-memory"])
def test_four_queues_between_two_processes(net, testpmd, memory):
    """txonly to rxonly: every packet sent is received or dropped by name, and every queue has some."""
    sink = testpmd("sink", "name=sink", options=[*FOUR, "--forward-mode=rxonly"], memory=memory)
    mac = mac_of(net, "sink")
    source = testpmd(
        "source", "name=source",
        options=[*FOUR, "--forward-mode=txonly", "--txonly-multi-flow", f"--eth-peer=0,{mac}"],
        memory=memory,
    )  # fmt: skip
    sink.command("start")
    source.command("start")
    grows(net, "port.sink.rx_packets", 20000)
    source.command("stop")
    sent = source.stats()["TX-packets"]

    def settled():
        x = sink.xstats()
        return x["rx_good_packets"] + sum(x[name] for name in DROPS) == sent and x

    seen = until(settled, 10, lambda: f"{sent} packets to be accounted for: {sink.xstats()}")
    assert seen["rx_good_packets"] > 20000
    assert all(seen[f"rx_q{queue}_packets"] > 0 for queue in range(4))
    assert sink.stats()["RX-packets"] == seen["rx_good_packets"]
    assert (sink.quit(), source.quit()) == (0, 0)


def test_macswap_returns_what_was_sent(net, testpmd):
    wire = net.wire("wire")
    mirror = testpmd("mirror", "name=mirror", options=[*FOUR, "--forward-mode=macswap"])
    mirror.command("start")
    mac = mac_of(net, "mirror")
    payloads = [bytes([n % 256]) * (46 + n) for n in range(1400)]
    for payload in payloads:
        wire.send(frame(mac, wire.mac, payload), ack=False)
        assert wire.expect().raw == frame(wire.mac, mac, payload)


def test_macswap_between_two_processes(net, testpmd):
    """A few frames go round for ever: none is lost, however often they are passed on."""
    left = testpmd("left", "name=left", options=[*FOUR, "--forward-mode=macswap"])
    right = testpmd("right", "name=right", options=[*FOUR, "--forward-mode=macswap"])
    right.command("start")
    left.command(f"set eth-peer 0 {mac_of(net, 'right')}")
    left.command("start tx_first 1")
    grows(net, "port.left.rx_packets", 50000)
    grows(net, "port.right.rx_packets", 1000)
    right.command("stop")
    left.command("stop")
    for one in (left, right):
        counters = one.xstats()
        assert not any(counters[name] for name in DROPS), counters


def test_port_info(testpmd):
    pmd = testpmd("info", "name=info,mac=02:00:00:00:0a:0b,rxq=3,txq=2,reta=256", options=["--rxq=2", "--txq=2"])
    text = pmd.command("show port info 0")
    for line in (
        "MAC address: 02:00:00:00:0A:0B",
        "Device name: net_uveth0",
        "Driver name: net_uveth",
        "Firmware-version: uvbridge ABI ",
        "Link status: up",
        "Link speed: 100 Gbps",
        "Link duplex: full-duplex",
        "MTU: 1500",
        "Redirection table size: 256",
        "Max possible RX queues: 3",
        "Max possible TX queues: 2",
        "Current number of RX queues: 2",
        "Maximum number of MAC addresses: 64",
    ):
        assert line in text
    kinds = set(text.partition("RSS offload flow types:")[2].partition("Minimum")[0].split())
    assert {"ipv4", "ipv4-frag", "ipv4-tcp", "ipv6-tcp-ex", "eth", "l2-src-only", "l3-dst-only", "l4-src-only"} < kinds


def test_two_ports_in_one_process(net, testpmd):
    """io between the ports of one process: a bridge of two ends."""
    west, east = net.wire("west"), net.wire("east")
    pmd = testpmd("bridge", "name=a", "name=b", options=["--forward-mode=io", "--port-topology=paired"])
    pmd.command("start")
    # In promiscuous mode both ports get the flooded frame, and each hands it to the other.
    west.send(frame("02:00:00:00:00:f1", west.mac), ack=False)
    grows(net, "port.a.rx_packets", 0)
    grows(net, "port.b.rx_packets", 0)
    pmd.command("stop")
    east.drain()


def test_hot_plug(net, testpmd):
    pmd = testpmd("plug", "name=first", options=["--forward-mode=macswap"])
    wire = net.wire("wire")
    for _ in range(3):
        text = pmd.command(f"port attach net_uveth7,fabric={net.name},name=second")
        assert "is attached" in text, text
        assert net.fabric.snapshot().port("second")
        pmd.command("port start 1")
        mac = mac_of(net, "second")
        pmd.command("set portlist 1")
        pmd.command("start")
        wire.send(frame(mac, wire.mac), ack=False)
        wire.expect()
        pmd.command("stop")
        pmd.command("port stop 1")
        pmd.command("port detach 1")
        net.fabric.wait_no_port("second")
    pmd.command(f"port attach net_uveth8,fabric={net.name},rxq=99")
    assert "rxq=99: must be a number from 1 to 16" in pmd.process.stderr
    assert pmd.quit() == 0


def test_killed_process_leaves_nothing(net, testpmd):
    """SIGKILL under traffic: the port goes, its peer goes on, and the name is free at once."""
    for _ in range(2):
        sink = testpmd("sink", "name=sink", options=[*FOUR, "--forward-mode=rxonly"])
        sink.command("start")
        peer = f"--eth-peer=0,{mac_of(net, 'sink')}"
        source = testpmd("source", "name=source", options=[*FOUR, "--forward-mode=txonly", peer])
        source.command("start")
        grows(net, "port.sink.rx_packets")
        sink.process.kill()
        net.fabric.wait_no_port("sink")
        grows(net, "port.source.tx_packets")
        source.process.kill()
        net.fabric.wait_no_port("source")


def test_daemon_stopped_or_dead(net, testpmd, start_testpmd):
    """Traffic flows on; a port that would attach is told why it cannot."""
    sink = testpmd("sink", "name=sink", options=["--forward-mode=rxonly"])
    sink.command("start")
    source = testpmd(
        "source", "name=source", options=["--forward-mode=txonly", f"--eth-peer=0,{mac_of(net, 'sink')}"]
    )
    source.command("start")
    grows(net, "port.sink.rx_packets")
    net.fabric.stop_daemon()
    grows(net, "port.sink.rx_packets")
    late = start_testpmd("late", "name=late")
    until(lambda: "daemon does not answer" in late.process.stderr, 10, "a sentence about the daemon")
    late.process.stop(signal.SIGKILL)
    net.fabric.cont_daemon()
    net.fabric.kill_daemon()
    grows(net, "port.sink.rx_packets")
    assert "Link status: up" in sink.command("show port info 0")
    late = start_testpmd("later", "name=late")
    until(lambda: "has no daemon any more" in late.process.stderr, 10, "a sentence about the daemon")
    late.process.stop(signal.SIGKILL)
    net.fabric.restart_daemon()
    late = testpmd("latest", "name=late")
    assert late.quit() == 0
    source.command("stop")


def test_fabric_restarted_under_a_port(net, testpmd):
    """The link goes down; `port reset` brings the port back on the new fabric. (Told of the removal, too, testpmd
    would let the device go: test_removal.py.)"""
    pmd = testpmd("nic", "name=nic", options=["--forward-mode=macswap", "--no-rmv-interrupt"])
    net.fabric.down()
    until(lambda: "link state change event" in pmd.process.stdout.split("testpmd> ", 1)[1], 5, "the link event")
    assert "Link status: down" in pmd.command("show port info 0")
    net.fabric.up()
    pmd.command("port stop 0")
    pmd.command("port reset 0")
    pmd.command("port start 0")
    assert "Link status: up" in pmd.command("show port info 0")
    pmd.command("start")
    wire = net.wire("wire")
    wire.send(frame(mac_of(net, "nic"), wire.mac), ack=False)
    wire.expect()
    assert pmd.quit() == 0
