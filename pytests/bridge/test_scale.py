# SPDX-License-Identifier: BSD-3-Clause
"""The largest fabric: 64 ports of 16 queues, and memory only for what is used."""

import os
import time
from pathlib import Path

import pytest

from uvnet_harness import uvb

PORTS = 64
ALL = pytest.mark.uvnet(ports=PORTS, queues=16, capture=False)


def raw(wire):
    """Its address, as in a frame."""
    return uvb.mac_bytes(wire.mac)


def resident(net):
    """Bytes of memory that the fabric's segment takes."""
    return os.stat(net.fabric.directory / "segment").st_blocks * 512


@ALL
def test_memory_is_that_of_the_ports_in_use(net):
    """A fabric that could take gigabytes begins with little, and grows by the port and by the pair of
    queues that talk, not by the square of what is configured."""
    empty = resident(net)
    assert os.stat(net.fabric.directory / "segment").st_size > 4 << 30
    assert empty < 1 << 20
    a, b = net.wire("a"), net.wire("b")
    two = resident(net)
    assert two - empty < 2 << 20
    a.send([b"".join([raw(b), raw(a), b"\x88\xb5", bytes(1000)]) for _ in range(100)])
    assert len(b.drain()) == 100
    cells = 2048 * 2176  # of the transmit queue that sent
    assert resident(net) - two < cells + (1 << 20)


def waited(pid):
    """Milliseconds that a process could have run and did not, because others did."""
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[1]) / 1e6


@pytest.mark.skipif(os.geteuid() != 0, reason="the daemon may put itself first only as root")
def test_a_busy_machine_does_not_delay_attaching(net):
    """All processors are polled on. The daemon runs as soon as it is asked, and does little then: what is
    left of the time is what the client itself waits for a processor."""
    for number in range(2 * len(os.sched_getaffinity(0))):
        net.start(f"busy{number}", "sh", "-c", "while :; do :; done")
    before = waited(net.fabric.daemon_pid)
    quickest = []
    for number in range(8):
        begin = time.monotonic()
        wire = net.wire(f"w{number}")
        quickest.append(time.monotonic() - begin)
        net.close_wire(wire)
    assert waited(net.fabric.daemon_pid) - before < 5
    assert min(quickest) < 0.005


@ALL
def test_every_port_reaches_every_other(net):
    wires = [net.wire(f"p{number}") for number in range(PORTS)]
    for wire in wires:
        wire.send(bytes.fromhex("ffffffffffff") + raw(wire) + b"\x88\xb5" + bytes(46))
    for wire in wires:
        heard = {frame.raw[6:12] for frame in wire.drain()}
        assert heard == {raw(other) for other in wires if other is not wire}
