# SPDX-License-Identifier: BSD-3-Clause
"""ci/demo: what it says, and that it leaves nothing whenever it is ended."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from uvnet_harness import eal, journal, wait
from uvnet_harness.fabric import Build
from uvnet_harness.plugin import build_directory
from uvnet_harness.shared import MEGABYTES

DEMO = Path(__file__).resolve().parents[2] / "ci" / "demo"


class Demo:
    """Runs of the demo, in a RUNDIR of their own."""

    def __init__(self, build, rundir, artifacts):
        self.rundir = rundir
        self.words = ["/usr/bin/python3", DEMO, "--no-setup", "--build", build, "--artifacts", artifacts]
        self.environment = {**os.environ, "UVNET_RUNDIR": str(rundir), "TERM": "xterm", "LC_ALL": "C.UTF-8"}

    def run(self, *options, timeout=90, first=()):
        """To its end."""
        return subprocess.run(
            [*self.words[:2], *first, *self.words[2:], *options],
            env=self.environment, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    def left(self):
        """Fabrics and journals, and processes that belong to this demo."""
        files = [str(p) for p in self.rundir.rglob("*")]
        return files + [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self.ours(pid)]

    def ours(self, pid):
        """A process of a run in this RUNDIR, and not a zombie."""
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
        return f"UVNET_RUNDIR={self.rundir}".encode() in environment.split(b"\0") and journal.alive(pid, None)


@pytest.fixture
def demo(request, tmp_path, uvnet_run):
    """See `Demo`."""
    build = Build(build_directory(request.config))
    problem = build.missing(build.uvbridge, build.uvrun, build.libuvstack, build.pmd)
    if problem:
        pytest.skip(problem)
    with journal.folder(uvnet_run.journal, "uvnet-test-", "/dev/shm") as rundir:
        made = Demo(build.directory, rundir, tmp_path / "artifacts")
        yield made
        wait.until(lambda: not made.left(), 10, lambda: f"nothing to be left behind; there is {made.left()}")


def test_summary_as_json(demo):
    done = demo.run("--json", "--requests", "2000")
    assert done.returncode == 0, done
    summary = json.loads(done.stdout)
    assert summary["uvnet"].keys() == {"GET", "SET"}
    assert all(figures["rps"] > 0 for figures in summary["uvnet"].values())
    assert summary["ledger_clean"] and not summary["errors"]
    assert len(summary["queue_packets"]["web"]) == 4
    assert Path(summary["capture"]).stat().st_size > 0
    assert summary["kernel_skipped"] or summary["ratio"]["GET"] > 0


def test_plain_output_without_a_terminal(demo):
    done = demo.run("--requests", "2000", "--no-kernel", "--no-capture")
    assert done.returncode == 0, done
    assert "\x1b" not in done.stdout
    for line in (r"fabric demo-\S+: redis-server on web", r"^GET +uvnet +[\d,]+", r"^drops: ", r"^ledger: clean"):
        assert re.search(line, done.stdout, re.M), line


def test_table_on_a_terminal(demo):
    words = " ".join(map(str, [*demo.words, "--requests 20000 --no-kernel --no-capture"]))
    done = subprocess.run(
        ["script", "-qec", words, "/dev/null"],
        env=demo.environment, capture_output=True, text=True, timeout=90, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done
    for piece in ("\x1b[", "hash spread", "web/3", "load/0 > web/", "requests/s", "ledger: clean"):
        assert piece in done.stdout.replace("load/1 >", "load/0 >"), piece


STAGES = {
    "start": None,
    "running": r"redis-server on web",
    "load": r"\d s  fabric",
    "kernel": r"kernel veth pair between",
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("stage", STAGES)
def test_ended_at_any_time_it_leaves_nothing(demo, stage, number):
    with subprocess.Popen(
        [*demo.words, "--requests", "1000000" if stage != "kernel" else "1000"],
        env=demo.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        if STAGES[stage]:
            for line in process.stdout:
                if re.search(STAGES[stage], line):
                    break
        else:
            wait.until(demo.left, 10, "the demo to begin")
            wait.until(lambda: process.poll() is not None or list(demo.rundir.iterdir()), 10, "its first trace")
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130, errors
    assert f"ended by {signal.Signals(number).name}; nothing is left behind" in errors


def test_killed_it_leaves_nothing(demo):
    with subprocess.Popen([*demo.words, "--requests", "1000000"], env=demo.environment, stdout=subprocess.PIPE) as process:
        for line in process.stdout:
            if b"redis-server on web" in line:
                break
        process.kill()


def test_help_and_bad_options(demo):
    assert "--requests N" in demo.run("--help").stdout
    assert demo.run("--requests", "0").returncode == 2


def test_processes_that_share_a_card_are_killed(demo):
    """One a second: the others lose nothing, and the ledger is clean."""
    problem = eal.unavailable(MEGABYTES)
    if problem:
        pytest.skip(problem)
    done = demo.run("--json", "--seconds", "3", first=["shared"])
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["kills"], result["lost"], result["ledger_clean"]) == (3, 0, True)
    assert all(service["answered"] > 0 for service in result["services"].values())
