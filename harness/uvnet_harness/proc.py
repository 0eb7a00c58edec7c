# SPDX-License-Identifier: BSD-3-Clause
"""Processes that cannot be lost: each in a process group of its own, killed by the kernel when the
harness dies (PR_SET_PDEATHSIG), noted in the journal, with its output in files."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from uvnet_harness import journal, wait
from uvnet_harness.backtrace import backtrace

CRASH_SIGNALS = frozenset(
    {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSYS}
)

OUTPUT_IN_MESSAGE = 4000
"""Characters of each output stream that a failure message quotes, from its end."""

GRACE = 10.0
"""Seconds that a process may take to end: a stack that has unsent data lingers for two (exit_linger_ms),
and the machine may be busy."""


class ProcessFailed(AssertionError):
    """A process did not do what it was started for."""


def tail(text: str, limit: int = OUTPUT_IN_MESSAGE) -> str:
    """The end of a text, marked if something was cut off."""
    return text if len(text) <= limit else "[…]" + text[-limit:]


def describe_end(returncode: int | None) -> str:
    """An exit status in words."""
    if returncode is None:
        return "still running"
    if returncode < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-returncode).name}"
        return f"killed by signal {-returncode}"
    return f"exit status {returncode}"


def freeze(pid: int) -> None:
    """SIGSTOP a process and wait until all of its threads stand still."""

    def frozen() -> bool:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return all((journal.stat_fields(int(task.name)) or "?")[0] in "TtZX?" for task in tasks)

    os.kill(pid, signal.SIGSTOP)
    wait.until(frozen, 5, f"process {pid} to stop")


@dataclass(frozen=True)
class Result:
    """How a foreground command ended."""

    args: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        """True if it exited with status 0 in time."""
        return self.returncode == 0 and not self.timed_out

    def check(self) -> Result:
        """This result.

        :raises ProcessFailed: it is not `ok`; the message has the end of its output.
        """
        if not self.ok:
            raise ProcessFailed(str(self))
        return self

    def __str__(self) -> str:
        how = f"timed out after {self.seconds:.1f} s" if self.timed_out else describe_end(self.returncode)
        text = f"{shlex.join(self.args)}: {how}"
        for name, output in (("stdout", self.stdout), ("stderr", self.stderr)):
            if output.strip():
                text += f"\n--- {name}\n{tail(output.rstrip())}"
        return text


class Process:
    """A running program. Made by `Processes.start`."""

    def __init__(self, owner: Processes, name: str, args: Sequence[str], folder: Path) -> None:
        self._owner = owner
        self.name = name
        self.args = tuple(args)
        self.folder = folder
        self.stdout_path = folder / f"{name}.out"
        self.stderr_path = folder / f"{name}.err"
        self.expected_end: frozenset[int] | None = None
        self.started = time.monotonic()
        self._popen: subprocess.Popen[bytes]
        self._start_ticks: int | None = None

    def _launch(self, env: Mapping[str, str], cwd: Path, stdin: bytes | None) -> None:
        guarded = [_setpriv(), "--pdeathsig", "KILL", "--", *self.args]
        stdin_file: int | None = subprocess.DEVNULL
        if stdin is not None:
            stdin_file = os.memfd_create("stdin")
            os.write(stdin_file, stdin)
            os.lseek(stdin_file, 0, os.SEEK_SET)
        try:
            with open(self.stdout_path, "wb") as out, open(self.stderr_path, "wb") as err:
                self._popen = subprocess.Popen(
                    guarded, stdin=stdin_file, stdout=out, stderr=err, env=env, cwd=cwd, process_group=0
                )
        finally:
            if stdin is not None and stdin_file is not None:
                os.close(stdin_file)
        self._start_ticks = journal.start_time(self._popen.pid)

    @property
    def pid(self) -> int:
        """Pid of the program (which is also its process group)."""
        return self._popen.pid

    @property
    def start_ticks(self) -> int | None:
        """Its start time, in clock ticks since boot."""
        return self._start_ticks

    @property
    def returncode(self) -> int | None:
        """Exit status, negative signal number, or None while it runs."""
        return self._popen.poll()

    @property
    def running(self) -> bool:
        """True while it has not ended."""
        return self.returncode is None

    @property
    def stdout(self) -> str:
        """What it has written to its standard output so far."""
        return self.stdout_path.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """What it has written to its standard error so far."""
        return self.stderr_path.read_text(errors="replace")

    def wait(self, timeout: float) -> int:
        """Wait for its end.

        :param timeout: seconds.
        :returns: its exit status, or the negative number of the signal that killed it.
        :raises wait.Timeout: it still runs.
        """
        if self.returncode is None and not wait.process_end(self.pid, timeout):
            raise wait.Timeout(f"waited {timeout:g} s for the end of {self}")
        return self._popen.wait()

    def wait_output(self, pattern: str, timeout: float = 10) -> re.Match[str]:
        """Wait until its output (either stream) matches a regular expression.

        :param timeout: seconds.
        :raises wait.Timeout: the time is over.
        :raises ProcessFailed: it ended without ever saying so.
        """

        def look() -> re.Match[str] | None:
            ended = not self.running
            found = re.search(pattern, self.stdout, re.M) or re.search(pattern, self.stderr, re.M)
            if not found and ended:
                raise ProcessFailed(f"{self} ended without saying {pattern!r}\n{self.output()}")
            return found

        return wait.until(look, timeout, lambda: f"{self} to say {pattern!r}\n{self.output()}")

    def wait_ready(self, condition: Callable[[], object], timeout: float = 10) -> None:
        """Wait until `condition()` is true, as long as the program lives.

        :raises wait.Timeout: the time is over.
        :raises ProcessFailed: the program ended first.
        """

        def look() -> object:
            if not self.running:
                raise ProcessFailed(f"{self} ended before it was ready\n{self.output()}")
            return condition()

        wait.until(look, timeout, lambda: f"{self} to be ready\n{self.output()}")

    def send_signal(self, number: int) -> None:
        """Send a signal to the program alone."""
        if self.running:
            self.expected_end = frozenset({*(self.expected_end or ()), -number})
            os.kill(self.pid, number)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The program stands still (SIGSTOP) within the block."""
        freeze(self.pid)
        try:
            yield
        finally:
            if self.running:
                os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL to the whole group, and wait until it is gone."""
        self.expected_end = frozenset({*(self.expected_end or ()), -signal.SIGKILL, -signal.SIGTERM})
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        self._gone()

    def stop(self, number: int = signal.SIGTERM, grace: float = GRACE) -> int:
        """Ask it to end, then insist: what did not end in time leaves its back-trace in its folder.

        :param grace: seconds until SIGKILL.
        :returns: its exit status, or the negative number of the signal that ended it.
        """
        if self.running:
            self.expected_end = frozenset({*(self.expected_end or ()), -number, 0, 128 + number})
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
                os.killpg(self.pid, signal.SIGCONT)
            if not wait.process_end(self.pid, grace):
                self._owner.complaints.append(f"{self} did not end within {grace:g} s of signal {number}")
                (self.folder / f"backtrace-{self.name}.txt").write_text(backtrace(["-p", str(self.pid)]))
                self.kill()
        status = self._popen.wait()
        for _ in range(2):  # what it has forked and not waited for
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self._gone()
        return status

    def _gone(self) -> None:
        self._owner.forget(self)

    @property
    def crashed(self) -> bool:
        """True if it died of a signal that programs do not die of in order."""
        status = self.returncode
        return status is not None and status < 0 and -status in CRASH_SIGNALS

    @property
    def unexpected_end(self) -> str | None:
        """Why its end is a surprise, or None: a crash, or a death nobody in the test asked for."""
        status = self.returncode
        if status is None or (self.expected_end is not None and status in self.expected_end):
            return None
        if self.crashed or status < 0:
            return f"{self} was {describe_end(status)}"
        return None

    def cpu_seconds(self) -> float:
        """Processor time it has used so far, user and system, of all its threads.

        :raises ProcessLookupError: it is gone.
        """
        fields = journal.stat_fields(self.pid)
        if fields is None:
            raise ProcessLookupError(str(self))
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def output(self) -> str:
        """The end of both streams, for messages."""
        text = ""
        for name, output in (("stdout", self.stdout), ("stderr", self.stderr)):
            if output.strip():
                text += f"--- {name} of {self.name}\n{tail(output.rstrip())}\n"
        return text

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid}, {describe_end(self.returncode)})"


class Processes:
    """The processes of one network.

    :param journal: where they are noted.
    :param token: this run's mark in their environment.
    """

    def __init__(self, book: journal.Journal, token: str) -> None:
        self._journal = book
        self.token = token
        self.all: list[Process] = []
        self.complaints: list[str] = []
        self._names: set[str] = set()

    def start(
        self,
        name: str,
        args: Sequence[str | os.PathLike[str]],
        folder: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: bytes | None = None,
    ) -> Process:
        """Start a program in the background.

        :param name: for messages and for the names of its output files; made unique.
        :param env: added to the harness's own environment.
        :raises FileNotFoundError: there is no such program.
        """
        words = [os.fspath(arg) for arg in args]
        if not shutil.which(words[0]):
            raise FileNotFoundError(f"no such program: {words[0]}")
        process = Process(self, self._unique(name), words, folder)
        environment = {**os.environ, **(env or {}), journal.TOKEN_VARIABLE: self.token}
        process._launch(environment, cwd or folder, stdin)
        self._journal.add("group", process.pid, started=process.start_ticks, token=self.token)
        self.all.append(process)
        return process

    def run(
        self,
        name: str,
        args: Sequence[str | os.PathLike[str]],
        folder: Path,
        env: Mapping[str, str] | None = None,
        timeout: float = 30,
        stdin: bytes | None = None,
        cwd: Path | None = None,
    ) -> Result:
        """Run a program to its end, or to SIGKILL when `timeout` seconds are over."""
        return self.finish(self.start(name, args, folder, env, cwd, stdin), timeout)

    def finish(self, process: Process, timeout: float) -> Result:
        """Wait for the end of a program, or SIGKILL it when `timeout` seconds are over."""
        timed_out = not wait.process_end(process.pid, timeout)
        if timed_out:
            process.kill()
        returncode = process.wait(5)
        self.forget(process)
        seconds = time.monotonic() - process.started
        return Result(process.args, returncode, process.stdout, process.stderr, seconds, timed_out)

    def _unique(self, name: str) -> str:
        candidate, count = name, 1
        while candidate in self._names:
            count += 1
            candidate = f"{name}.{count}"
        self._names.add(candidate)
        return candidate

    def forget(self, process: Process) -> None:
        """The process is gone: take it out of the journal."""
        self._journal.remove("group", process.pid)

    def stop_all(self) -> None:
        """Stop everything that still runs, the newest first."""
        for process in reversed(self.all):
            process.stop()


def _setpriv() -> str:
    """Path of util-linux's setpriv, which sets the parent-death signal and then becomes the program.

    :raises FileNotFoundError: it is missing (it is an essential package on Debian).
    """
    path = shutil.which("setpriv")
    if path is None:
        raise FileNotFoundError("setpriv (util-linux) is needed to start processes: install util-linux")
    return path
