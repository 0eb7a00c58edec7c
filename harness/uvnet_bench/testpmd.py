# SPDX-License-Identifier: BSD-3-Clause
"""A stock dpdk-testpmd at its prompt, on any ports."""

from __future__ import annotations

import itertools
import os
import re
import stat
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

PROMPT = "testpmd> "


class BenchError(Exception):
    """A program did not do what it was started for."""


def preload(driver: Path) -> tuple[dict[str, str], list[str]]:
    """How a stock DPDK application loads a driver: environment, and EAL's arguments.

    EAL's -d refuses what lies below a world-writable directory such as /tmp.
    """
    path = driver.resolve()
    if any(place.stat().st_mode & stat.S_IWOTH for place in (path, *path.parents)):
        return {"LD_PRELOAD": str(path)}, []
    return {}, ["-d", str(path)]


class Testpmd:
    """One process.

    :param eal: EAL's arguments.
    :param options: testpmd's own, after the ``--``.
    :param env: to be added to the environment.
    :param log: file for its output.
    """

    __test__ = False

    def __init__(self, eal: Sequence[str], options: Sequence[str], env: dict[str, str], log: Path) -> None:
        self._marks = itertools.count()
        self._log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                ["stdbuf", "-oL", "dpdk-testpmd", *eal, "--", "-i", *options],
                stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, env=os.environ | env,
            )  # fmt: skip

    def __enter__(self) -> Testpmd:
        self._await(re.compile(PROMPT), 0, "its prompt", 60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            try:
                self._process.communicate(b"quit\n", timeout=20)
            except (subprocess.TimeoutExpired, BrokenPipeError):
                self._process.kill()
        self._process.wait()

    def _text(self) -> str:
        return self._log.read_text(errors="replace")

    def _await(self, pattern: re.Pattern[str], start: int, what: str, seconds: float) -> re.Match[str]:
        end = time.monotonic() + seconds
        while (found := pattern.search(self._text(), start)) is None:
            if self._process.poll() is not None:
                raise BenchError(f"dpdk-testpmd ended before {what}:\n{self._text()[-3000:]}")
            if time.monotonic() > end:
                raise BenchError(f"dpdk-testpmd: {what} did not come in {seconds} s:\n{self._text()[-3000:]}")
            time.sleep(0.005)
        return found

    def command(self, line: str) -> str:
        """Type a command.

        :returns: what it printed.
        """
        start = len(self._text())
        mark = f"mark{next(self._marks)}"
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n{mark}\n".encode())
        self._process.stdin.flush()
        found = self._await(re.compile(rf"(.*?)^{PROMPT}{mark}\r?$", re.M | re.S), start, f"an answer to '{line}'", 30)
        return found[1]

    def rate(self, seconds: float) -> float:
        """Frames received per second, over so many seconds."""
        before, t0 = self._received()
        time.sleep(seconds)  # the measurement itself
        after, t1 = self._received()
        return (after - before) / (t1 - t0)

    def _received(self) -> tuple[int, float]:
        out = self.command("show port stats 0")
        found = re.search(r"RX-packets:\s+(\d+)", out)
        if found is None:
            raise BenchError(f"dpdk-testpmd: no statistics in {out!r} ({self._log.name}):\n{self._text()[:3000]}")
        return int(found[1]), time.monotonic()
