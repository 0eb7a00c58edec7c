# SPDX-License-Identifier: BSD-3-Clause
"""What a stack has counted, by name, with units: docs/observability.md has the list, ``uvstack counters`` prints it."""

from __future__ import annotations

import difflib
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from uvnet_harness.fabric import numbers


@dataclass(frozen=True)
class Counter:
    """A line of ``uvstack counters``."""

    name: str
    kind: str
    """``counter``, which only grows, or ``gauge``."""
    unit: str
    """``packets``, ``bytes``, ``times``, ``ns``, ``mbufs``, ``connections``."""
    help: str


@cache
def known_counters(uvstack: Path) -> Mapping[str, Counter]:
    """All there is to be counted, by name."""
    done = subprocess.run([uvstack, "counters", "--json"], capture_output=True, text=True, check=True, timeout=30)
    rows = json.loads(done.stdout)["counters"]
    return {row["counter"]: Counter(row["counter"], row["type"], row["unit"], row["help"]) for row in rows}


class Stats(Mapping[str, int]):
    """A stack's counters: ``stats["lwip.tcp.recv"]``. Sums of all its stacks; those of one are
    ``stats["stacks.1.lwip.tcp.recv"]``.

    :param values: by dotted name.
    :param uvstack: the tool that knows their meanings.
    """

    def __init__(self, values: Mapping[str, int], uvstack: Path) -> None:
        self._values = dict(values)
        self._uvstack = uvstack

    @classmethod
    def read(cls, path: Path, uvstack: Path) -> Stats:
        """A statistics file (``stats_file`` of the configuration).

        :raises FileNotFoundError: there is none.
        """
        return cls(dict(numbers("", json.loads(path.read_text(encoding="utf-8")))), uvstack)

    def __getitem__(self, name: str) -> int:
        """:raises KeyError: nothing of that name was counted; with names that are like it."""
        try:
            return self._values[name]
        except KeyError:
            near = ", ".join(difflib.get_close_matches(name, self._values)) or "see uvstack counters"
            raise KeyError(f"{name}: no such counter ({near})") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def about(self, name: str) -> Counter:
        """Kind, unit and meaning of a counter.

        :raises KeyError: nothing is counted by that name.
        """
        return known_counters(self._uvstack)[re.sub(r"^stacks\.\d+\.", "", name)]

    def __repr__(self) -> str:
        """Those that are not zero, with units: what an assertion shows."""
        lines = [f"{name} = {value} {self.about(name).unit}" for name, value in sorted(self.items()) if value]
        return "\n".join(lines) or "nothing counted"
