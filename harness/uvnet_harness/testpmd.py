# SPDX-License-Identifier: BSD-3-Clause
"""Programs that take commands from their standard input; dpdk-testpmd, stock, is one."""

from __future__ import annotations

import itertools
import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from uvnet_harness import wait
from uvnet_harness.proc import Process, ProcessFailed

PROMPT = "testpmd> "


class Start(Protocol):  # pylint: disable=too-few-public-methods
    """What starts a program: `Net.start`, for one."""

    def __call__(self, name: str, *words: str | Path, env: Mapping[str, str] | None = None) -> Process: ...


def driver(pmd: Path) -> tuple[list[str], list[str]]:
    """How a stock DPDK application loads a driver: words before the command, and EAL's options.

    EAL's -d refuses what lies below a world-writable directory, even a sticky one such as /tmp; in a
    checkout there the driver is preloaded.
    """
    path = pmd.resolve()
    if any(place.stat().st_mode & stat.S_IWOTH for place in (path, *path.parents)):
        return ["env", f"LD_PRELOAD={path}"], []
    return [], ["-d", str(path)]


class Typed:
    """A program that takes commands from its standard input.

    :param folder: for the FIFO that is its standard input.
    """

    _serial = itertools.count()

    def __init__(
        self, start: Start, folder: Path, name: str, words: Sequence[str | Path], env: Mapping[str, str] | None = None
    ) -> None:
        fifo = folder / f"{name}.{next(self._serial)}.in"
        os.mkfifo(fifo)
        self._input = os.open(fifo, os.O_RDWR)  # also a reader: it never sees the end
        try:
            self.process = start(name, "sh", "-c", 'exec "$@" <"$0"', fifo, *words, env=env)
        except BaseException:
            os.close(self._input)
            raise

    def type(self, text: str) -> None:
        """Type a line, and wait for nothing."""
        os.write(self._input, text.encode() + b"\n")

    def answer(self, text: str, pattern: str, timeout: float) -> re.Match[str]:
        """Wait for what it says to `text`: a match of `pattern` in what it writes from now on.

        :raises ProcessFailed: it ended first.
        """
        begin = len(self.process.stdout)
        expected = re.compile(pattern, re.M | re.S)

        def answered() -> re.Match[str] | None:
            running = self.process.running
            found = expected.search(self.process.stdout, begin)
            if found is None and not running:
                raise ProcessFailed(f"{self.process} ended at '{text}'\n{self.process.output()}")
            return found

        self.type(text)
        return wait.until(answered, timeout, lambda: f"an answer to '{text}'\n{self.process.output()}")

    def quit(self) -> int:
        """Leave as a user does.

        :returns: exit status.
        """
        self.type("quit")
        return self.process.wait(20)

    def close(self) -> None:
        """Let it end in order if it still can, and give back what this process holds."""
        try:
            if self.process.running:
                self.quit()
        finally:
            os.close(self._input)


class Testpmd(Typed):
    """A dpdk-testpmd at its prompt.

    :param eal: EAL's arguments.
    :param options: testpmd's own, after the ``--``.
    :param prefix: words before its name.
    """

    __test__ = False

    def __init__(
        self,
        start: Start,
        folder: Path,
        name: str,
        eal: Sequence[str],
        options: Sequence[str],
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self._marks = itertools.count()
        # Locking all memory would touch every page of the fabric's segment: most of a second each time.
        words = [*prefix, "stdbuf", "-oL", "dpdk-testpmd", *eal, "--", "-i", "--no-mlockall", *options]
        super().__init__(start, folder, name, words, env)

    def ready(self) -> Testpmd:
        """Wait for the prompt."""
        self.process.wait_output(f"^{PROMPT}", 60)
        return self

    def command(self, text: str, timeout: float = 20) -> str:
        """Type a command.

        :returns: what it printed.
        """
        mark = f"mark{next(self._marks)}"  # not a command; its echo says that the one before is done
        found = self.answer(
            f"{text}\n{mark}", rf"{re.escape(text)}\r?\n(.*?)^{PROMPT}{mark}\r?$", timeout
        )
        assert "Bad arguments" not in found[1], f"{text}: {found[1]}"
        return found[1]

    def stats(self, port: int = 0) -> dict[str, int]:
        """Basic statistics: RX-packets, RX-missed, RX-errors, RX-nombuf, TX-packets…"""
        text = self.command(f"show port stats {port}")
        return {key: int(value) for key, value in re.findall(r"([RT]X-\w+):\s+(\d+)", text)}

    def xstats(self, port: int = 0) -> dict[str, int]:
        """Extended statistics by name."""
        text = self.command(f"show port xstats {port}")
        return {key: int(value) for key, value in re.findall(r"^(\w+): (\d+)\r?$", text, re.M)}
