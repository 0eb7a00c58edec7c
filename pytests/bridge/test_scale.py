# SPDX-License-Identifier: BSD-3-Clause
"""The largest fabric: 64 ports of 16 queues, and memory only for what is used."""

import os

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


@ALL
def test_every_port_reaches_every_other(net):
    wires = [net.wire(f"p{number}") for number in range(PORTS)]
    for wire in wires:
        wire.send(bytes.fromhex("ffffffffffff") + raw(wire) + b"\x88\xb5" + bytes(46))
    for wire in wires:
        heard = {frame.raw[6:12] for frame in wire.drain()}
        assert heard == {raw(other) for other in wires if other is not wire}
