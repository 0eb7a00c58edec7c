# SPDX-License-Identifier: BSD-3-Clause
"""`uvbridge capture`: filters, and files that follow one another."""

import signal
import subprocess

import pytest
from scapy.layers.inet import IP, UDP

pytestmark = pytest.mark.uvnet(capture=False)

FRAMES = 60


@pytest.fixture
def capture(net):
    """Start a capture with these options; the process, once it records."""

    def start(*words):
        recorder = net.start("recorder", net.build.uvbridge, "capture", net.name, *words)
        recorder.wait_ready(lambda: any(p["kind"] == "capture" and p["state"].lower() == "up" for p in ports(net)), 5)
        return recorder

    return start


def ports(net):
    return net.fabric.snapshot().data["ports"]


def datagrams(net, count=FRAMES):
    """Numbered datagrams, to port 5000 and to port 6000 in turn, from one wire to another."""
    a, b = net.wire("a"), net.wire("b")
    for number in range(count):
        udp = UDP(sport=7000, dport=5000 if number % 2 else 6000)
        a.send(a.ether(b.mac) / IP(src=a.ip, dst=b.ip) / udp / (number.to_bytes(2, "big") * 200))
        b.expect()


def numbers(*files):
    """Of the datagrams in these files, as tshark reads them: each file is whole."""
    found = []
    for file in files:
        words = ["tshark", "-n", "-r", file, "-T", "fields", "-e", "udp.payload"]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        found += [int(line[:4], 16) for line in done.stdout.split()]
    return found


def test_filter_decides_what_is_recorded(net, capture):
    """By the whole frame, however little is kept of it."""
    beyond = "udp port 5000 and ether[400] = 0"
    recorder = capture("-w", net.folder / "some.pcapng", "--filter", beyond, "--snaplen", "60")
    datagrams(net)
    assert recorder.stop(signal.SIGINT) == 0
    assert f"{FRAMES // 2} frames" in recorder.stderr
    assert numbers(net.folder / "some.pcapng") == list(range(1, FRAMES, 2))


def test_ring_keeps_the_newest(net, capture):
    recorder = capture("-w", net.folder / "ring.pcapng", "--snaplen", "500", "--max-size", "5000", "--ring", "3")
    datagrams(net)
    assert recorder.stop(signal.SIGINT) == 0
    files = sorted(net.folder.glob("ring*"))
    assert len(files) == 3 and all(3000 < file.stat().st_size <= 5000 for file in files[:-1])
    first, *_, last = (int(file.stem.removeprefix("ring-")) for file in files)
    assert last - first == 2 and first > 1
    kept = numbers(*files)
    assert kept == list(range(kept[0], FRAMES))


def test_one_file_ends_the_capture_when_it_is_full(net, capture):
    recorder = capture("-w", net.folder / "one.pcapng", "--snaplen", "500", "--max-size", "5000")
    datagrams(net)
    assert recorder.wait(5) == 0
    kept = numbers(net.folder / "one.pcapng")
    assert kept == list(range(len(kept))) and 5 < len(kept) < FRAMES


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--filter", "udp prot 53"], '--filter "udp prot 53": can\'t parse filter expression: syntax error'),
        (["--ring", "4"], "--ring: --max-size of its files is wanted, 263168 bytes at least"),
        (["--ring", "0", "--max-size", "1000000"], '"0" is out of range'),
        (["-w", "-", "--ring", "2", "--max-size", "1000000"], "--ring: standard output is no ring of files"),
    ],
)
def test_wrong_options_are_refused(net, words, why):
    command = [net.build.uvbridge, "capture", net.name, "-w", net.folder / "x.pcapng", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 2 and why in done.stderr, done.stderr
