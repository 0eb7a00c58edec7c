# SPDX-License-Identifier: BSD-3-Clause
"""Capture files as ports: what was recorded is played, and recorded again, byte for byte."""

import signal
import struct
import time

import pytest

from uvnet_harness import uvb

pytestmark = pytest.mark.uvnet(capture=False)

MAC = "02:00:00:00:00:aa"
STRANGER = "02:99:99:99:99:99"
ETHERTYPE = b"\x88\xb5"


def make_frames(random, count=300, longest=1514):
    """Frames of all lengths for an address that nobody has: everybody gets them."""
    head = uvb.mac_bytes(STRANGER) + uvb.mac_bytes(MAC) + ETHERTYPE
    return [head + random.randbytes(random.randrange(longest - 13)) for _ in range(count)]


HEADER = struct.Struct("=IHHiIII")
"""of a capture: magic, version, time zone, accuracy, snaplen, link type"""
RECORD = struct.Struct("=IIII")
"""of a frame in it: seconds, nanoseconds, bytes kept, bytes"""
NANO_MAGIC = 0xA1B23C4D


def write_pcap(path, frames, gap=0.001, snaplen=65535, linktype=1):
    """A capture with a frame every `gap` seconds."""
    parts = [HEADER.pack(NANO_MAGIC, 2, 4, 0, 0, snaplen, linktype)]
    for i, frame in enumerate(frames):
        seconds, nanoseconds = divmod(int(i * gap * 1e9), 10**9)
        kept = frame[:snaplen]
        parts += [RECORD.pack(1_000_000 + seconds, nanoseconds, len(kept), len(frame)), kept]
    path.write_bytes(b"".join(parts))
    return path


def read_pcap(path):
    """Frames and times (ns) of a capture."""
    data = path.read_bytes()
    magic, *_, linktype = HEADER.unpack_from(data)
    assert (magic, linktype) == (NANO_MAGIC, 1)
    frames, offset = [], HEADER.size
    while offset < len(data):
        seconds, nanoseconds, kept, _ = RECORD.unpack_from(data, offset)
        offset += RECORD.size
        frames.append((data[offset : offset + kept], seconds * 10**9 + nanoseconds))
        offset += kept
    return frames


def write_pcapng(path, frames):
    """The same in the newer format: a section, an interface, a packet block for each frame."""

    def block(kind, body):
        body = body.ljust((len(body) + 3) & ~3, b"\0")
        return struct.pack("=II", kind, 12 + len(body)) + body + struct.pack("=I", 12 + len(body))

    parts = [
        block(0x0A0D0D0A, struct.pack("=IHHq", 0x1A2B3C4D, 1, 0, -1)),
        block(1, struct.pack("=HHI", 1, 0, 0)),
        *(block(6, struct.pack("=IIIII", 0, 0, i, len(f), len(f)) + f) for i, f in enumerate(frames)),
    ]
    path.write_bytes(b"".join(parts))
    return path


@pytest.fixture
def record(net, port):
    """Start a recorder; returns its process and its file."""

    def start(*words, name="recorder"):
        path = net.folder / f"{name}.pcap"
        return port("record", name, "-w", path, *words), path

    return start


def test_round_trip_is_exact(net, port, record):
    frames = make_frames(net.random("frames"))
    recorder, path = record("--count", len(frames))
    player = port("replay", "player", "-r", write_pcap(net.folder / "in.pcap", frames), "--fast", ready=False)
    assert player.wait(10) == 0
    assert f"sent 300 frames, {sum(map(len, frames))} bytes" in player.stdout
    assert recorder.wait(10) == 0
    assert [frame for frame, _ in read_pcap(path)] == frames
    assert player.stderr == recorder.stderr == ""


def test_jumbo_frames_round_trip(net, port, record):
    frames = make_frames(net.random("frames"), 50, 9014)
    recorder, path = record("--mtu", 9000, "--count", len(frames))
    port("replay", "player", "-r", write_pcap(net.folder / "in.pcap", frames), "--fast", ready=False)
    assert recorder.wait(10) == 0
    assert [frame for frame, _ in read_pcap(path)] == frames


def test_pcapng_is_read(net, port):
    frames = make_frames(net.random("frames"), 20)
    wire = net.wire("wire", promiscuous=True)
    source = write_pcapng(net.folder / "in.pcapng", frames)
    assert port("replay", "player", "-r", source, "--fast", ready=False).wait(10) == 0
    assert [frame.raw for frame in wire.drain()] == frames


@pytest.mark.parametrize("speed", [1, 4])
def test_frames_keep_their_intervals(net, port, record, speed):
    frames = make_frames(net.random("frames"), 21)
    recorder, path = record("--count", len(frames))
    source = write_pcap(net.folder / "in.pcap", frames, gap=0.02)
    begun = time.monotonic()
    player = port("replay", "player", "-r", source, "--speed", speed, ready=False)
    assert player.wait(10) == 0
    assert recorder.wait(10) == 0
    assert time.monotonic() - begun >= 0.4 / speed
    times = [time for _, time in read_pcap(path)]
    # Never early; how late, at either end, depends on what else this machine does.
    assert all(later >= earlier for earlier, later in zip(times, times[1:]))


def test_loop(net, port):
    frames = make_frames(net.random("frames"), 10)
    wire = net.wire("wire", promiscuous=True)
    source = write_pcap(net.folder / "in.pcap", frames)
    assert port("replay", "player", "-r", source, "--fast", "--loop", 5, ready=False).wait(10) == 0
    assert [frame.raw for frame in wire.drain()] == frames * 5


def test_endless_loop_ends_when_told(net, port):
    wire = net.wire("wire", promiscuous=True)
    source = write_pcap(net.folder / "in.pcap", make_frames(net.random("frames"), 10))
    player = port("replay", "player", "-r", source, "--loop", 0)
    for _ in range(50):
        wire.expect()
    assert player.stop() == 0
    net.fabric.wait_no_port("player")
    wire.drain()


def test_waits_for_cells_instead_of_losing(net, port):
    """Nobody loses frames in the player: those that a slow receiver does not take are its own drops."""
    frames = make_frames(net.random("frames"), 5000, 200)
    wire = net.wire("wire", promiscuous=True)
    wire.paused = True
    player = port("replay", "player", "-r", write_pcap(net.folder / "in.pcap", frames), "--fast", ready=False)
    assert player.wait(10) == 0
    wire.paused = False
    received = len(wire.drain())
    assert received + net.fabric.snapshot()["voq.player.0.wire.0.full"] == 5000


def test_truncated_frames(net, port):
    """What the capture does not have is left out and counted, or filled up if asked."""
    frames = make_frames(net.random("frames"), 30)
    long = [frame for frame in frames if len(frame) > 100]
    source = write_pcap(net.folder / "in.pcap", frames, snaplen=100)
    wire = net.wire("wire", promiscuous=True)
    player = port("replay", "player", "-r", source, "--fast", ready=False)
    assert player.wait(10) == 0
    assert f"dropped: truncated {len(long)}" in player.stderr
    assert [frame.raw for frame in wire.drain()] == [frame for frame in frames if len(frame) <= 100]
    player = port("replay", "player", "-r", source, "--fast", "--pad", ready=False)
    assert player.wait(10) == 0
    assert [frame.raw for frame in wire.drain()] == [frame[:100].ljust(len(frame), b"\0") for frame in frames]


def test_player_does_not_receive(net, port):
    wire = net.wire("wire")
    source = write_pcap(net.folder / "in.pcap", make_frames(net.random("frames"), 2), gap=30)
    player = port("replay", "player", "-r", source)
    wire.send(b"\xff" * 6 + uvb.mac_bytes(wire.mac) + ETHERTYPE + bytes(46))
    assert net.fabric.snapshot()["pair.wire.0.player.drops.rx_stopped"] == 1
    assert player.stop() == 0  # in the middle of its wait


def test_record_is_complete_when_it_ends(net, record):
    """SIGTERM: every frame that arrived is in the file; SIGUSR1 does no harm."""
    wire = net.wire("wire")
    recorder, path = record("--snaplen", 60)
    frames = [b"\xff" * 6 + uvb.mac_bytes(wire.mac) + ETHERTYPE + bytes([i]) * 100 for i in range(100)]
    recorder.send_signal(signal.SIGUSR1)
    wire.send(frames)
    assert recorder.stop() == 0
    assert [frame for frame, _ in read_pcap(path)] == [frame[:60] for frame in frames]
    assert "wrote 100 frames, 11400 bytes" in recorder.stdout


def test_killed_recorder_is_reclaimed(net, record):
    wire = net.wire("wire")
    recorder, _ = record()
    wire.send(b"\xff" * 6 + uvb.mac_bytes(wire.mac) + ETHERTYPE + bytes(46))
    recorder.kill()
    net.fabric.wait_no_port("recorder")
    net.fabric.assert_clean()
    record(name="again")
    wire.send(b"\xff" * 6 + uvb.mac_bytes(wire.mac) + ETHERTYPE + bytes(46))


def test_record_to_standard_output(net, port):
    wire = net.wire("wire")
    recorder = port("record", "recorder", "-w", "-", "--count", 1)
    wire.send(b"\xff" * 6 + uvb.mac_bytes(wire.mac) + ETHERTYPE + bytes(46))
    assert recorder.wait(5) == 0
    assert [len(frame) for frame, _ in read_pcap(recorder.stdout_path)] == [60]


WRONG = {
    "no file": (["replay"], 2, "-r FILE"),
    "missing": (["replay", "-r", "/nowhere"], 1, "No such file"),
    "not a capture": (["replay", "-r", "/etc/passwd"], 1, "cannot read the capture"),
    "bad speed": (["replay", "-r", "/nowhere", "--speed", "0"], 2, "--speed"),
    "no output": (["record"], 2, "-w FILE"),
    "no folder": (["record", "-w", "/nowhere/x"], 1, "cannot write the capture"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(port, case):
    (kind, *words), status, text = WRONG[case]
    process = port(kind, "port", *words, ready=False)
    assert process.wait(5) == status
    assert text in process.stderr, process.stderr


def test_other_link_type_is_refused(net, port):
    source = write_pcap(net.folder / "raw.pcap", [b"E" + bytes(19)], linktype=101)
    process = port("replay", "player", "-r", source, ready=False)
    assert process.wait(5) == 1
    assert "RAW" in process.stderr


def test_damaged_file_ends_with_what_is_good(net, port):
    frames = make_frames(net.random("frames"), 10)
    source = write_pcap(net.folder / "in.pcap", frames)
    source.write_bytes(source.read_bytes()[:-5])
    wire = net.wire("wire", promiscuous=True)
    process = port("replay", "player", "-r", source, "--fast", ready=False)
    assert process.wait(5) == 1
    assert "is damaged after frame 9" in process.stderr
    assert [frame.raw for frame in wire.drain()] == frames[:9]
