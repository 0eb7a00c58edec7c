# SPDX-License-Identifier: BSD-3-Clause
"""The plugin as its users meet it: whole pytest runs, passed, failed and killed."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from uvnet_harness import journal, wait

EXCHANGE = """
def test_exchange(net):
    a, b = net.wire("a"), net.wire("b")
    assert a.arp(b.ip) == b.mac
"""

HANGING = """
import os
def test_hangs(net):
    net.wire("a")
    sleeper = net.start("sleeper", "sleep", "60")
    print(f"\\nready {sleeper.pid} {os.getpid()}", flush=True)
    sleeper.wait(60)
"""


def test_passing_run_leaves_nothing(runs):
    runs.write(EXCHANGE)
    done = runs.run()
    assert done.returncode == 0, done.stdout
    assert runs.left() == []
    assert not any(runs.artifacts.rglob("*.*"))


def test_unasked_death_fails_the_test(runs):
    runs.write(
        "import os, signal\n"
        "def test_crash(net):\n"
        "    p = net.start('victim', 'sh', '-c', 'kill -SEGV $$')\n"
        "    p.wait(5)\n"
    )
    done = runs.run()
    assert done.returncode == 1
    assert "victim (pid" in done.stdout and "killed by SIGSEGV" in done.stdout


def test_warning_in_a_log_fails_the_test_unless_allowed(runs):
    body = "    (net.fabric.directory / 'log').open('a').write('warning: the sky is falling\\n')\n"
    runs.write(
        "import pytest\n"
        f"def test_unlisted(net):\n{body}"
        f"@pytest.mark.uvnet(allow_log=['sky'])\ndef test_listed(net):\n{body}"
    )
    done = runs.run()
    assert "2 passed, 1 error" in done.stdout  # the error is at the end of a test that passed
    assert "fabric: warning: the sky is falling" in done.stdout


def read_ready(process):
    """Pids of sleeper and pytest from HANGING's line."""
    for line in process.stdout:
        if line.startswith("ready"):
            return [int(word) for word in line.split()[1:]]
    raise AssertionError("it ended early")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_killed_run_leaves_nothing(runs, number):
    runs.write(HANGING)
    with runs.start() as process:
        sleeper, _ = read_ready(process)
        assert runs.left() != []
        process.send_signal(number)
        assert wait.process_end(sleeper, 10)
    wait.until(lambda: runs.left() == [], 10, lambda: f"the reaper; left: {runs.left()}")
    assert not any(runs.artifacts.rglob("*.*"))


def reaper_of(pid):
    """The reaper of a pytest process: the child that runs reaper.py."""
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := journal.stat_fields(int(name))) and int(fields[1]) == pid:
            if b"reaper.py" in Path(f"/proc/{name}/cmdline").read_bytes():
                return int(name)
    raise AssertionError("no reaper")


def test_next_run_cleans_up_where_the_reaper_was_killed_too(runs):
    runs.write(HANGING)
    with runs.start() as process:
        _, pid = read_ready(process)
        os.kill(reaper_of(pid), signal.SIGKILL)
        process.kill()
    fabrics = [name for name in runs.left() if not name.startswith(".")]
    assert fabrics
    runs.write(EXCHANGE)
    done = runs.run()
    assert done.returncode == 0
    assert f"fabric {fabrics[0]}" in done.stdout
    assert runs.left() == []


def test_tests_run_in_parallel(runs):
    runs.write("import pytest\n@pytest.mark.parametrize('n', range(6))" + EXCHANGE.replace("(net)", "(net, n)"))
    done = runs.run("-n", "2")
    assert done.returncode == 0 and "6 passed" in done.stdout
    assert runs.left() == []


def test_keep_leaves_the_fabric_up(runs):
    runs.write(EXCHANGE)
    assert runs.run("--keep").returncode == 0
    (name,) = (name for name in runs.left() if not name.startswith("."))
    tool = runs.build / "uvbridge" / "uvbridge"
    subprocess.run([tool, "down", name, "--force"], env=runs.environment, check=True)


def test_unbuilt_parts_are_skipped_with_the_reason(runs):
    runs.write(EXCHANGE)
    done = runs.run("-rs", "--build-dir=/nonexistent")
    assert done.returncode == 0
    assert "not built in /nonexistent: uvbridge/uvbridge" in done.stdout


def test_unknown_network_card_is_refused(runs):
    runs.write(EXCHANGE)
    done = runs.run("--nic=thunderbolt")
    assert done.returncode == 4
    assert "--nic=thunderbolt: is none of uveth, ring, tap, af_packet, pci:" in done.stderr
