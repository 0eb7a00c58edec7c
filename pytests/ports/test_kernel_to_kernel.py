# SPDX-License-Identifier: BSD-3-Clause
"""Two kernels, each in its namespace, over the fabric: the kernel's own TCP at its full width."""

import json
import subprocess

import pytest

from uvnet_harness import until


def transfer(program, source, sink, size):
    """A stream over TCP, its digest compared at both ends."""
    receiver = sink.start(*program("transfer"), "receive", sink.ip, "4000")
    receiver.process.wait_output("listening")
    done = source.run(*program("transfer"), "send", sink.ip, "4000", str(size), "1", timeout=60).check()
    assert receiver.wait(10) == 0
    assert receiver.stdout.split()[-2:] == done.stdout.split() != []


def tshark(capture, condition, *options):
    """The frames of a capture that match, a line each."""
    done = subprocess.run(
        ["tshark", "-n", "-r", capture, "-Y", condition, *options], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_ping(net):
    a, b = net.kernel_host("a"), net.kernel_host("b")
    done = a.run("ping", "-c", "20", "-i", "0.01", "-s", "1472", "-M", "do", b.ip).check()
    assert " 0% packet loss" in done.stdout


def test_ping_ipv6(net):
    a, b = net.kernel_host("a", ipv6=True), net.kernel_host("b", ipv6=True)
    done = a.run("ping", "-6", "-c", "20", "-i", "0.01", b.ip6).check()
    assert " 0% packet loss" in done.stdout


@pytest.mark.uvnet(snaplen=2000, voq=4096, cells=8192, capture_size=256 << 20)
@pytest.mark.parametrize("offload", [True, False], ids=["offload", "plain"])
@pytest.mark.parametrize("queues", [1, 2])
def test_every_frame_is_one_of_a_wire(net, program, offload, queues):
    """Super-frames never reach the fabric: lengths and checksums of all that is captured are right,
    and the bytes are those that were sent."""
    a = net.kernel_host("a", queues=queues, offload=offload)
    b = net.kernel_host("b", queues=queues, offload=offload)
    transfer(program, a, b, 8 << 20)
    transfer(program, b, a, 8 << 20)
    counters = a.counters()
    frames = net.fabric.snapshot()["port.a.rx_packets"]
    net.fabric.stop_capture()
    capture = net.folder / "capture.pcapng"
    assert len(tshark(capture, "tcp.len > 1000")) > 1000
    assert tshark(capture, "frame.len > 1514") == []
    checked = ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    assert tshark(capture, 'tcp.checksum.status != "Good" || ip.checksum.status != "Good"', *checked) == []
    change = net.fabric.snapshot()
    assert change.sum("*.drops.*oversize") == 0
    if offload:  # the kernel has given super-frames: fewer of its packets than frames
        assert counters["tx_packets"] < counters["tx_bytes"] / 1514, counters
    assert frames > 2 * (8 << 20) / 1514 / 2
    assert a.log == b.log == ""


@pytest.mark.uvnet(capture=False)
@pytest.mark.parametrize("direction", [[], ["-R"]], ids=["up", "down"])
@pytest.mark.parametrize("offload", [True, False], ids=["offload", "plain"])
def test_iperf3(net, full, offload, direction, record_property):
    a, b = net.kernel_host("a", offload=offload), net.kernel_host("b", offload=offload)
    server = b.start("iperf3", "-s", "-1", "--json").wait_port(5201)
    seconds = 10 if full else 1
    done = a.run("iperf3", "-c", b.ip, "-t", str(seconds), "--json", *direction, timeout=seconds + 20).check()
    assert server.wait(10) == 0
    end = json.loads(done.stdout)["end"]
    record_property("gbit_per_second", end["sum_received"]["bits_per_second"] / 1e9)
    record_property("retransmits", end["sum_sent"]["retransmits"])
    assert end["sum_received"]["bytes"] > 10 << 20
    snapshot = net.fabric.snapshot()
    assert snapshot.sum("*.drops.*oversize") == 0
    # The kernel waits while a VOQ is full; what is lost is lost to a receiver that did not run.
    lost, arrived = (snapshot.sum(f"port.*.{what}") for what in ("rxq.*.imissed", "rx_packets"))
    assert lost <= arrived / 50
    assert a.log == b.log == ""


@pytest.mark.uvnet(capture=False)
def test_iperf3_ipv6(net):
    a, b = net.kernel_host("a", ipv6=True), net.kernel_host("b", ipv6=True)
    b.start("iperf3", "-s", "-1").wait_port(5201)
    done = a.run("iperf3", "-6", "-c", b.ip6, "-t", "1", "--json").check()
    assert json.loads(done.stdout)["end"]["sum_received"]["bytes"] > 1 << 20
    assert a.log == b.log == ""


@pytest.mark.uvnet(capture=False)
def test_jumbo_frames(net, program):
    a, b = net.kernel_host("a", mtu=9000), net.kernel_host("b", mtu=9000)
    transfer(program, a, b, 8 << 20)
    change = net.fabric.snapshot()
    assert change["port.b.rx_bytes"] / change["port.b.rx_packets"] > 4000


@pytest.mark.uvnet(capture=False)
def test_kernel_killed_under_load(net):
    """The sender's port dies in the middle of a stream of super-frames; nothing is left of it."""
    a, b = net.kernel_host("a"), net.kernel_host("b")
    b.start("iperf3", "-s", "-1").wait_port(5201)
    a.start("iperf3", "-c", b.ip, "-t", "30")
    net.fabric.wait_port("a")
    before = net.fabric.snapshot()["port.b.rx_packets"]
    until(lambda: net.fabric.snapshot()["port.b.rx_packets"] > before + 5000, 10, "traffic")
    a.kill_port()
    net.fabric.wait_no_port("a")
    assert a.interfaces == []
    net.fabric.assert_clean()
    a.attach()
    assert a.run("ping", "-c", "1", b.ip).ok
