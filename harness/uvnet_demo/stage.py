# SPDX-License-Identifier: BSD-3-Clause
"""A network outside pytest, for programs of their own."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from uvnet_harness import Build, Net, Settings, Shape, journal
from uvnet_harness.reaper import Reaper


@dataclass
class Stage:
    """Where it happens.

    :param net: up.
    :param failed: what happens on it has not gone well, so far: its artifacts are kept.
    :param problems: what was wrong when it was taken down.
    """

    net: Net
    failed: bool = True
    problems: list[str] = field(default_factory=list)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that `network` reads."""
    root = Path(__file__).resolve().parents[2]
    parser.add_argument("--artifacts", type=Path, default=root / "artifacts", metavar="DIR", help="where logs go (default: artifacts)")
    parser.add_argument("--build", type=Path, default=root / "build", metavar="DIR", help="build directory (default: build)")


@contextmanager
def network(options: argparse.Namespace, name: str, shape: Shape) -> Iterator[Stage]:
    """A network of one's own, and nothing left of it afterwards."""
    settings = Settings(Build(options.build.absolute()), options.artifacts.absolute())
    journal.sweep()
    reaper, book = Reaper(), journal.Journal()
    try:
        stage = Stage(Net(settings, name, book, shape))
        try:
            stage.net.up()
            yield stage
        finally:
            stage.problems = stage.net.close(failed=stage.failed, reason="see the terminal")
    finally:
        book.close()
        reaper.close()
