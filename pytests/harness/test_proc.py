# SPDX-License-Identifier: BSD-3-Clause
"""Processes: results, readiness, ends, and that none is lost."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from uvnet_harness import journal, wait
from uvnet_harness.proc import ProcessFailed, Processes


@pytest.fixture
def book(tmp_path):
    """A journal of the test's own."""
    made = journal.Journal(tmp_path / "journal")
    yield made
    made.close()
    assert not (tmp_path / "journal").exists(), "something was not taken out of the journal"


@pytest.fixture
def processes(book):
    """Processes of the test's own."""
    made = Processes(book, token=f"test-{os.getpid()}")
    yield made
    made.stop_all()


def test_result_of_a_command(processes, tmp_path):
    result = processes.run("sh", ["sh", "-c", "cat; echo err >&2; exit 3"], tmp_path, stdin=b"in")
    assert (result.returncode, result.stdout, result.stderr, result.ok) == (3, "in", "err\n", False)
    with pytest.raises(ProcessFailed, match="exit status 3(.|\n)*stdout\nin(.|\n)*stderr\nerr"):
        result.check()


def test_timeout_kills_the_whole_group(processes, tmp_path):
    result = processes.run("sh", ["sh", "-c", "sleep 60 & echo $!; wait"], tmp_path, timeout=0.5)
    assert result.timed_out and not result.ok
    assert wait.process_end(int(result.stdout), 5)


def test_unknown_program_is_an_error(processes, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such program: frobnicate"):
        processes.run("x", ["frobnicate"], tmp_path)


def test_output_is_waited_for(processes, tmp_path):
    process = processes.start("sh", ["sh", "-c", "echo listening on 42; sleep 60"], tmp_path)
    assert process.wait_output(r"listening on (\d+)").group(1) == "42"
    assert process.stop() == -signal.SIGTERM
    assert process.unexpected_end is None


def test_end_before_ready_is_told(processes, tmp_path):
    process = processes.start("sh", ["sh", "-c", "echo no luck >&2; exit 1"], tmp_path)
    with pytest.raises(ProcessFailed, match="ended without saying(.|\n)*no luck"):
        process.wait_output("ready", 10)


def test_stubborn_process_is_killed_and_complained_about(processes, tmp_path):
    process = processes.start("sh", ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"], tmp_path)
    process.wait_output("up")
    assert process.stop(grace=0.2) == -signal.SIGKILL
    assert "did not end within 0.2 s" in processes.complaints[0]
    assert "wait" in (tmp_path / "backtrace-sh.txt").read_text()


def test_crash_is_an_unexpected_end(processes, tmp_path):
    process = processes.start("sh", ["sh", "-c", "kill -SEGV $$"], tmp_path)
    process.wait(5)
    assert process.crashed
    assert "killed by SIGSEGV" in process.unexpected_end


def test_stopped_process_can_be_ended(processes, tmp_path):
    process = processes.start("sleep", ["sleep", "60"], tmp_path)
    with process.frozen():
        assert process.stop() == -signal.SIGTERM


def test_kernel_kills_children_of_a_killed_harness(tmp_path):
    """Even without a reaper: the parent-death signal."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from uvnet_harness import journal, proc\n"
        "book = journal.Journal(Path(sys.argv[2]) / 'j')\n"
        "p = proc.Processes(book, 'x').start('s', ['sleep', '60'], Path(sys.argv[2]))\n"
        "print(p.pid, flush=True)\n"
        "p.wait(60)\n"
    )
    harness = os.path.dirname(os.path.dirname(sys.modules["uvnet_harness"].__file__))
    words = [sys.executable, "-c", program, harness, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        # The signal is asked for between fork and exec; a death before that is the reaper's.
        wait.until(lambda: Path(f"/proc/{child}/comm").read_text(encoding="ascii") == "sleep\n", 10, "the exec")
        parent.kill()
        assert wait.process_end(child, 5)


def test_cpu_time_is_measured(processes, tmp_path):
    busy = processes.start("sh", ["sh", "-c", "while :; do :; done"], tmp_path)
    idle = processes.start("sleep", ["sleep", "60"], tmp_path)
    wait.until(lambda: busy.cpu_seconds() > 0.05, 10)
    assert idle.cpu_seconds() < 0.05
    assert time.monotonic() - busy.started >= 0.05
