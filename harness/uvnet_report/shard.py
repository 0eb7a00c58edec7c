# SPDX-License-Identifier: BSD-3-Clause
"""Spreads tests over machines and puts the long ones first, by how long they have taken before."""

from __future__ import annotations

import argparse
import heapq
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

UNKNOWN = 1.0
"""Seconds assumed of a test that was never timed."""


@dataclass(frozen=True)
class Shard:
    """Part `number` (from 1) of `count`."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """ "2/5".

        :raises argparse.ArgumentTypeError: it is no part of a whole.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if not found or not 1 <= int(found.group(1)) <= int(found.group(2)):
            raise argparse.ArgumentTypeError(f"{text!r} is no shard: I/N with I from 1 to N is, such as 2/5")
        return cls(int(found.group(1)), int(found.group(2)))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def read_durations(path: Path) -> dict[str, float]:
    """Seconds by test, as `write_durations` has kept them; none if there is no such file."""
    if not path.exists():
        return {}
    found: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    return found


def write_durations(path: Path, durations: Mapping[str, float]) -> None:
    """Keep them, a test a line, sorted: a change shows as a change."""
    path.write_text(json.dumps({test: round(durations[test], 1) for test in sorted(durations)}, indent=0) + "\n", encoding="utf-8")


def unit_key(name: str) -> str:
    """What a C unit program is called among the durations."""
    return f"unit::{name}"


def split(groups: Mapping[str, Sequence[str]], durations: Mapping[str, float], count: int) -> list[set[str]]:
    """Deal tests out into parts that take about as long as each other.

    The longest first, each to the part that has the least so far (Graham's rule): no part takes more
    than 4/3 of what the best split would. The same on every machine that has the same durations.

    :param groups: tests by group; those of a group stay together.
    """

    def weight(name: str) -> float:
        return sum(durations.get(test, UNKNOWN) for test in groups[name])

    parts: list[set[str]] = [set() for _ in range(count)]
    loads = [(0.0, number) for number in range(count)]
    for name in sorted(groups, key=lambda name: (-weight(name), name)):
        load, number = heapq.heappop(loads)
        parts[number].update(groups[name])
        heapq.heappush(loads, (load + weight(name), number))
    return parts


def within(tests: Sequence[str], durations: Mapping[str, float], budget: float) -> set[str]:
    """The tests that fit into a time, one after the other: the shortest; and at least one of each file.

    :param budget: seconds.
    """
    shortest = sorted(tests, key=lambda test: (durations.get(test, UNKNOWN), test))
    kept = set({test.partition("::")[0]: test for test in reversed(shortest)}.values())
    left = budget - sum(durations.get(test, UNKNOWN) for test in kept)
    for test in shortest:
        if test not in kept:
            left -= durations.get(test, UNKNOWN)
            if left < 0:
                break
            kept.add(test)
    return kept
