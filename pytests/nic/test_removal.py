# SPDX-License-Identifier: BSD-3-Clause
"""Ports that are pulled, plugged and refused under a running testpmd, which goes on whatever happens."""

import shutil

import pytest

from uvnet_harness import until

pytestmark = pytest.mark.uvnet(queues=2, capture=False)

TWO = ["--rxq=2", "--txq=2"]


def frame(dst, src):
    """A frame of no protocol."""
    return bytes.fromhex((dst + src).replace(":", "")) + b"\x88\xb5" + bytes(46)


def flowing(net, counter):
    """Wait until traffic has gone on."""
    before = net.fabric.snapshot()[counter]
    until(lambda: net.fabric.snapshot()[counter] > before + 1000, 15, f"{counter} to grow")


def gone(pmd, port, times=1):
    """Wait until testpmd has answered a removal event: it closed the port and let the device go."""
    removed = f"Port {port} is closed"
    until(lambda: pmd.process.stdout.count(removed) == times, 10, lambda: f"port {port} to go\n{pmd.process.output()}")
    until(lambda: pmd.process.stdout.rfind("Now total ports is") > pmd.process.stdout.rfind(removed), 10, "the device to go")


def test_unplugged_under_traffic(net, testpmd):
    """The application is told by an event, closes the port and goes on; its peers count what they send into the
    void; the name is free."""
    sink = testpmd("sink", "name=sink", "name=other", options=[*TWO, "--forward-mode=rxonly"])
    sink.command("start")
    peer = f"--eth-peer=0,{net.fabric.wait_port('sink')['mac']}"
    source = testpmd("source", "name=source", options=[*TWO, "--forward-mode=txonly", peer])
    source.command("start")
    flowing(net, "port.sink.rx_packets")
    net.fabric.unplug("sink")
    assert net.fabric.snapshot().port("sink") is None
    gone(sink, 0)
    flowing(net, "port.source.tx_packets")
    net.fabric.unplug("source")
    gone(source, 0)
    again = testpmd("again", "name=sink", options=["--forward-mode=macswap"])
    again.command("start")
    wire = net.wire("wire")
    wire.send(frame(net.fabric.wait_port("sink")["mac"], wire.mac), ack=False)
    wire.expect()
    assert (sink.quit(), source.quit(), again.quit()) == (0, 0, 0)


def test_unplugged_and_reset(net, testpmd):
    """An application that keeps the device resets it, and is a port again, with its rules to make anew."""
    pmd = testpmd("nic", "name=nic", options=["--forward-mode=macswap", "--no-rmv-interrupt"])
    pmd.command("flow create 0 ingress pattern eth / end actions drop / end")
    start = len(pmd.process.stdout)
    net.fabric.unplug("nic")
    until(lambda: "link state change event" in pmd.process.stdout[start:], 5, "the link event")
    assert "Link status: down" in pmd.command("show port info 0")
    pmd.command("flow create 0 ingress pattern eth / ipv4 / end actions drop / end")
    assert "Input/output error" in pmd.process.stderr  # ethdev's word for a device that is gone
    for command in ("flow flush 0", "port stop 0", "port reset 0", "port start 0", "start"):
        pmd.command(command)
    wire = net.wire("wire")
    wire.send(frame(net.fabric.wait_port("nic")["mac"], wire.mac), ack=False)
    wire.expect()
    assert "0 flow rules" in pmd.command("flow dump 0 all")
    assert pmd.quit() == 0


def test_fabric_taken_down_under_two_ports(net, testpmd):
    """Both are removed; the application lives, and can be a port of the next fabric."""
    pmd = testpmd("two", "name=a", "name=b", options=[*TWO, "--forward-mode=io", "--port-topology=paired"])
    pmd.command("start")
    net.fabric.down()
    gone(pmd, 0)
    gone(pmd, 1)
    net.fabric.up()
    assert "is attached" in pmd.command(f"port attach net_uveth9,fabric={net.name},name=a")
    assert net.fabric.snapshot().port("a")
    assert pmd.quit() == 0


def test_plugged_under_traffic(net, testpmd):
    """Ports come and go in a process whose other port is busy, and no frame is lost there: what comes while testpmd
    stops forwarding to let a port go waits in the ring."""
    pmd = testpmd("busy", "name=first", options=[*TWO, "--forward-mode=macswap", "--no-flush-rx"])
    pmd.command("start")
    wire = net.wire("wire")
    mac = net.fabric.wait_port("first")["mac"]

    def echoed():
        wire.send(frame(mac, wire.mac), ack=False)
        wire.expect()

    for times in range(1, 4):
        pmd.command(f"port attach net_uveth7,fabric={net.name},name=second")
        echoed()
        pmd.command("port start 1")
        assert net.fabric.wait_port("second")
        echoed()
        net.fabric.unplug("second")
        gone(pmd, 1, times)
        echoed()
    assert pmd.quit() == 0


def test_what_cannot_be_plugged(net, testpmd, tmp_path):
    """Each failure is one sentence that says why; nothing of it is left, and the next attempt can succeed."""
    pmd = testpmd("plug", "name=first", options=["--forward-mode=rxonly"])

    def refused(arguments, *words):
        start = len(pmd.process.stderr)
        pmd.command(f"port attach net_uveth7,{arguments}")
        said = until(lambda: pmd.process.stderr[start:], 5, f"an error from {arguments}")
        for word in words:
            assert word in said, said

    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    segment = other / "segment"
    shutil.copyfile(net.fabric.directory / "segment", segment)
    refused("fabric=nowhere", "nowhere", "uvbridge up")
    refused(f"fabric={other}", "has no daemon any more")
    with segment.open("r+b") as file:
        file.seek(8)  # abi_version
        file.write((99).to_bytes(4, "little"))
    refused(f"fabric={other}", "speaks ABI 99 and this program 3", "one build")
    segment.write_bytes(b"not a segment")
    refused(f"fabric={other}", "too short")
    refused(f"fabric={net.name},rxq=3", "3 receive", "the fabric has 2")
    refused(f"fabric={net.name},name=first", "is attached already")
    net.fabric.stop_daemon()
    refused(f"fabric={net.name},name=second", "daemon does not answer")
    net.fabric.cont_daemon()
    assert "is attached" in pmd.command(f"port attach net_uveth7,fabric={net.name},name=second")
    assert net.fabric.snapshot().port("second")
    assert pmd.quit() == 0
