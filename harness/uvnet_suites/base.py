# SPDX-License-Identifier: BSD-3-Clause
"""What the suites have in common."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / ".deps" / "suites"
"""Where ci/setup unpacks the source packages that have suites in them."""

Outcomes = dict[str, str]
"""By test: "pass", "skip" or "fail"."""


class Suite:
    """A suite's part that runs as one command, and how its report is read."""

    suite = ""
    several_processes = False
    """It starts servers of its own: it needs a host that processes share. That has one address, which stands for
    127.0.0.1; other suites run on a host whose stack has 127/8."""

    def __init__(self, name: str, timeout: float) -> None:
        self.name = name
        self.timeout = timeout

    def prepare(self, folder: Path, address: str) -> None:
        """Lay out what the part runs in.

        :param folder: of this run alone.
        :param address: to use for 127.0.0.1.
        """

    def command(self, folder: Path, tests: Iterable[str]) -> list[str]:
        """The command for some tests, or for all of the part if none are named; run in `folder`."""
        raise NotImplementedError

    def outcomes(self, folder: Path, output: str) -> Outcomes:
        """What the run has left in its folder says, or its output."""
        raise NotImplementedError

    def look_up(self, outcomes: Outcomes, test: str) -> str | None:
        """What became of a test; None: it was not run."""
        return outcomes.get(test)


def sources(name: str) -> Path:
    """The source of a distribution's package.

    :raises SystemExit: it is not there.
    """
    folder = SOURCES / name
    if not folder.is_dir():
        raise SystemExit(f"ci/conformance: {folder} is missing: run ./ci/setup, which fetches the source of {name}")
    return folder


def lay_out(source: Path, folder: Path, entries: Iterable[str]) -> None:
    """Copy files and folders of a source to where they may be changed."""
    for entry in entries:
        target = folder / entry
        target.parent.mkdir(parents=True, exist_ok=True)
        if (source / entry).is_dir():
            shutil.copytree(source / entry, target)
        else:
            shutil.copy2(source / entry, target)


def replace(file: Path, old: str, new: str) -> None:
    """Replace text that has to be there."""
    text = file.read_text(encoding="latin-1")
    if old not in text:
        raise SystemExit(f"ci/conformance: {file} has no {old!r}: the suite is another version than the one this knows")
    file.write_text(text.replace(old, new), encoding="latin-1")


def write_script(file: Path, text: str) -> None:
    """An executable shell script."""
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
