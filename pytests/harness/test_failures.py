# SPDX-License-Identifier: BSD-3-Clause
"""What a failure leaves: each piece is there, and says what it should."""

import json
import os
import pty
import re
import shutil
import subprocess

import pytest

from uvnet_harness import wait
from uvnet_harness.artifacts import CORE_PATTERN

FAILING = """
def test_fails(net):
    server = net.host("server", queues=2)
    a, b = net.wire("a"), net.wire("b")
    net.link("a").fault("udp", drop=0)
    a.arp(b.ip)
    a.send(a.ether(b.mac) / IP(src=a.ip, dst=b.ip) / UDP(sport=7, dport=9) / b"lost")
    server.start("sleep", "60")
    net.start("bystander", "sleep", "60")
    assert net.random("draw").randrange(1 << 30) == "{draw}"
"""


def replay_of(folder):
    """The command that summary.txt names."""
    return re.search(r"^replay\s+(.*)$", (folder / "summary.txt").read_text(), re.M).group(1)


@pytest.fixture(scope="module")
def shell():
    """Run a line as a user pastes it."""

    def run(line, runs):
        return subprocess.run(
            line, shell=True, cwd=runs.folder, env={**runs.environment, "PYTHONPATH": ""}, capture_output=True,
            text=True, timeout=60, check=False,
        )  # fmt: skip

    return run


def test_failure_is_explained_and_replayed(runs, shell):
    runs.write("from scapy.layers.inet import IP, UDP\n" + FAILING)
    done = runs.run()
    assert done.returncode == 1
    folder = runs.artifacts / "test_it.test_fails"
    assert str(folder) in done.stdout

    captured = (folder / "capture.txt").read_text()
    assert re.search(r"src=a:0 dst=flood hash=\S+ verdict=delivered\n  .*[wW]ho.has", captured), captured
    assert re.search(r"src=a:0 .* verdict=fault fault=1\n  .*UDP, length 4", captured), captured
    assert (folder / "capture.pcapng").read_bytes().count(b"verdict=fault") == 1
    (decision,) = map(json.loads, (folder / "decisions.jsonl").read_text().splitlines())
    assert (decision["port"], decision["verdict"]) == ("a", "drop")
    topology = json.loads((folder / "topology.json").read_text())
    assert topology["hosts"]["server"]["queues"] == 2 and set(topology["wires"]) == {"a", "b"}
    assert re.search(r"^port\.a\.rx_packets +\+1$", (folder / "stats.txt").read_text(), re.M)
    assert json.loads((folder / "stats.json").read_text())["fabric"]["name"]
    ledger = (folder / "ledger.txt").read_text()
    assert all(words in ledger for words in ("at the failure:", "at the end:", "different from the start:\nledger.cells"))
    assert (folder / "fabric.log").exists()
    assert "queues = 2" in (folder / "server" / "uvnet.conf").read_text()
    assert (folder / "server" / "server.sleep.out").exists()
    for name in ("bystander", "server.sleep"):
        assert "nanosleep" in (folder / f"backtrace-{name}.txt").read_text()

    draw = re.search(r"assert (\d+) == '{draw}'", done.stdout).group(1)
    assert f"assert {draw} == " in (folder / "summary.txt").read_text()
    again = shell(replay_of(folder), runs)
    assert again.returncode == 1
    assert f"assert {draw} == " in again.stdout, again.stdout + again.stderr
    assert runs.left() == []


def test_crash_is_explained(runs):
    """A process dies unasked: its threads as they stood, or how to get them next time."""
    runs.write(
        "import time\n"
        "def test_crash(net):\n"
        "    victim = net.start('victim', '/usr/bin/python3', '-c', 'import ctypes; ctypes.string_at(16)')\n"
        "    victim.wait(10)\n"
    )
    done = runs.run()
    assert done.returncode == 1 and "killed by SIGSEGV" in done.stdout
    folder = runs.artifacts / "test_it.test_crash"
    traced = (folder / "backtrace-victim.txt").read_text()
    if CORE_PATTERN.read_text().strip() == "core" and shutil.which("gdb"):
        assert re.search(r"^#0 ", traced, re.M) and "Thread 1" in traced
    else:
        assert "no core: kernel.core_pattern is" in traced
    assert "killed by SIGSEGV" in (folder / "summary.txt").read_text()
    assert json.loads((folder / "stats.json").read_text())["fabric"]["name"]


def test_counters_explain_themselves(runs):
    """The message of a failed assertion has all that changed, without being asked."""
    runs.write(
        "def test_counters(net):\n"
        "    a, b = net.wire('a'), net.wire('b')\n"
        "    before = net.snapshot()\n"
        "    a.send(a.ether('02:99:99:99:99:99') / b'hello')\n"
        "    assert (net.snapshot() - before)['port.b.rx_packets'] == 1\n"
    )
    done = runs.run()
    assert "where port.b.rx_packets is of:" in done.stdout
    assert re.search(r"pair\.a\.0\.b\.drops\.mac_filter +\+1", done.stdout)


def test_hosts_follow_virtual_time(runs):
    """--time=virtual: what a second of the network's time takes is no second."""
    runs.write(
        "import time\n"
        "def test_time(net):\n"
        "    a, b = net.wire('a'), net.wire('b')\n"
        "    assert net.clock.is_virtual\n"
        "    net.link('a').delay('20s')\n"
        "    begun = time.monotonic()\n"
        "    a.send(a.ether(b.mac) / b'hello', ack=False)\n"
        "    b.expect(timeout=5)\n"
        "    assert net.clock.elapsed >= 20 and time.monotonic() - begun < 5\n"
    )
    done = runs.run("--time=virtual")
    assert done.returncode == 0, done.stdout
    assert "--time=virtual" not in done.stdout
    failed = runs.run("--time=real")
    assert failed.returncode == 1


def test_pause_on_failure(runs):
    """What failed still runs until Enter."""
    runs.write("def test_fails(net):\n    net.start('bystander', 'sleep', '60')\n    assert False\n")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        runs.words("--pause-on-failure"), cwd=runs.folder, env=runs.environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        said = read_until(ours, b"Enter ends it")
        assert "bystander (pid" in said and "uvbridge show fails-" in said
        assert [name for name in runs.left() if name.startswith("fails-")]
        os.write(ours, b"\n")
        read_until(ours, b"1 failed")
        assert wait.process_end(process.pid, 10)
    os.close(ours)
    assert runs.left() == []


def read_until(fd, wanted):
    """What a terminal shows, up to some words."""
    said = b""
    while wanted not in said:
        said += os.read(fd, 4096)
    return said.decode()


def test_pause_on_failure_needs_somebody_to_press_enter(runs):
    runs.write("def test_it(net): pass\n")
    done = runs.run("--pause-on-failure", "-n", "2")
    assert done.returncode == 4 and "run pytest in a terminal, without -n" in done.stderr
