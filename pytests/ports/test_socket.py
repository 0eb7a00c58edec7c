# SPDX-License-Identifier: BSD-3-Clause
"""Frames as datagrams: what a program says on an AF_UNIX socket is on the fabric, and back."""

import contextlib
import socket

import pytest

from uvnet_harness import uvb, until

pytestmark = pytest.mark.uvnet(capture=False)

VM = "02:00:00:00:00:aa"
ETHERTYPE = b"\x88\xb5"


def frame(src, dst, payload=b"", length=60):
    """An Ethernet frame with an experimental type."""
    return (uvb.mac_bytes(dst) + uvb.mac_bytes(src) + ETHERTYPE + payload).ljust(length, b"\0")


@pytest.fixture
def peer(net):
    """A datagram socket of a program (of a virtual machine, say), at the path it is to have."""
    with contextlib.ExitStack() as stack:

        def make(name="peer"):
            sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            sock.bind(str(net.folder / name))
            sock.settimeout(5)
            return sock

        yield make


@pytest.fixture
def path(net):
    """Where the port's socket is."""
    return net.folder / "port.sock"


def test_round_trip(net, port, peer, path):
    vm, wire = peer(), net.wire("wire")
    port("socket", "vm", "--path", path, "--peer", net.folder / "peer")
    random = net.random("frames")
    for _ in range(100):
        there = frame(VM, wire.mac, random.randbytes(random.randrange(1500)), 14)
        vm.sendto(there, str(path))
        assert wire.expect().raw == there
        back = frame(wire.mac, VM, random.randbytes(random.randrange(1500)), 14)
        wire.send(back)
        assert vm.recv(70000) == back


def test_jumbo_frames(net, port, peer, path):
    vm, wire = peer(), net.wire("wire")
    wire.configure(mtu=9000)
    port("socket", "vm", "--path", path, "--peer", net.folder / "peer", "--mtu", "9000")
    for length in (uvb.CELL_ROOM, uvb.CELL_ROOM + 1, 4000, 9014):
        vm.sendto(frame(VM, wire.mac, length=length), str(path))
        assert len(wire.expect().raw) == length
        wire.send(frame(wire.mac, VM, bytes(range(256)) * 40, 14)[:length])
        assert vm.recv(70000) == frame(wire.mac, VM, bytes(range(256)) * 40, 14)[:length]


def test_peer_is_learned(net, port, peer, path):
    """Without --peer: whoever has spoken last."""
    first, second, wire = peer("first"), peer("second"), net.wire("wire")
    port("socket", "vm", "--path", path)
    for vm in (first, second, first):
        vm.sendto(frame(VM, wire.mac), str(path))
        wire.expect()
        wire.send(frame(wire.mac, VM, b"to you"))
        assert vm.recv(2000)[14:20] == b"to you"


def test_nobody_there_is_counted(net, port, peer, path):
    wire = net.wire("wire")
    process = port("socket", "vm", "--path", path, "--peer", net.folder / "peer")
    wire.send([frame(wire.mac, VM)] * 10)
    process.wait_output("dropped a frame: no_peer")
    vm = peer()  # it comes
    wire.send(frame(wire.mac, VM, b"hello"))
    assert vm.recv(2000)[14:19] == b"hello"
    vm.close()
    (net.folder / "peer").unlink()  # it goes
    wire.send([frame(wire.mac, VM)] * 5)
    vm = peer()  # another of its name
    wire.send(frame(wire.mac, VM, b"again"))
    assert vm.recv(2000)[14:19] == b"again"
    assert process.stop() == 0
    assert "dropped: no_peer 15" in process.stderr


def test_slow_peer_loses_in_the_fabric(net, port, peer, path):
    """A peer that does not read: its frames wait in the port's VOQ until that is full; the port
    itself drops none, and goes on when the peer does."""
    vm, wire = peer(), net.wire("wire")
    process = port("socket", "vm", "--path", path, "--peer", net.folder / "peer")
    total = 3000
    for start in range(0, total, 100):
        wire.send([frame(wire.mac, VM, (start + i).to_bytes(4, "big")) for i in range(100)], ack=False)
    got = [vm.recv(2000)]
    vm.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        while True:
            got.append(vm.recv(2000))
    full = net.fabric.snapshot()["voq.wire.0.vm.0.full"]
    assert full > 0
    assert len(got) + full == total
    numbers = [int.from_bytes(data[14:18], "big") for data in got]
    assert numbers == sorted(numbers)
    vm.settimeout(5)
    wire.acknowledged()
    assert process.stderr == ""


def test_seqpacket_serves_one_client_after_the_other(net, port, path):
    wire = net.wire("wire")
    process = port("socket", "vm", "--path", path, "--seqpacket")
    wire.send(frame(wire.mac, VM))
    process.wait_output("no_peer")
    for number in range(3):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as vm:
            vm.connect(str(path))
            vm.settimeout(5)
            vm.send(frame(VM, wire.mac, bytes([number])))
            assert wire.expect().raw[14] == number
            wire.send(frame(wire.mac, VM, bytes([number])))
            assert vm.recv(2000)[14] == number


@pytest.mark.parametrize("data, counter", [(b"", "empty"), (bytes(65554), "oversize")], ids=["empty", "oversize"])
def test_no_frames_are_refused(port, peer, path, data, counter):
    vm = peer()
    process = port("socket", "vm", "--path", path)
    vm.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    vm.sendto(data, str(path))
    process.wait_output(f"dropped a frame: {counter}")
    assert process.stop() == 0
    assert f"dropped: {counter} 1" in process.stderr


def test_runts_are_the_fabrics_to_count(net, port, peer, path):
    vm = peer()
    port("socket", "vm", "--path", path)
    vm.sendto(bytes(13), str(path))
    until(lambda: net.fabric.snapshot()["port.vm.txq.0.drops.runt"] == 1, 5, "the runt to be counted")


def test_path_goes_at_the_end_and_a_stale_one_is_taken_over(net, port, path):
    process = port("socket", "vm", "--path", path)
    other = port("socket", "other", "--path", path, ready=False)
    assert other.wait(5) == 1
    assert "is in use" in other.stderr
    process.kill()
    assert path.exists()
    net.fabric.wait_no_port("vm")
    process = port("socket", "vm", "--path", path)
    assert process.stop() == 0
    assert not path.exists()


def test_file_in_the_way_is_left_alone(port, path):
    path.write_text("mine")
    process = port("socket", "vm", "--path", path, ready=False)
    assert process.wait(5) == 1
    assert path.read_text() == "mine"
    assert "is in use" in process.stderr
