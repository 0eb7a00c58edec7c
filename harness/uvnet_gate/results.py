# SPDX-License-Identifier: BSD-3-Clause
"""What the steps of the gate say, as checks with outcomes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from uvnet_report.model import BAD, OUTCOMES, Case

DETAIL_MAX = 4000
"""Characters of a failed check's output that are kept, of its end."""

MESON = {"OK": "passed", "EXPECTEDFAIL": "xfailed", "SKIP": "skipped"}
"""Outcomes of meson's tests; every other is a failure."""


@dataclass
class Said:
    """What a step has left behind.

    :param output: everything it printed.
    :param build: the build directory.
    """

    output: str
    build: Path

    @property
    def last_line(self) -> str:
        """The line it ended with."""
        lines = [line for line in self.output.splitlines() if line.strip()]
        return lines[-1].strip() if lines else ""


def summary(said: Said, cases: list[Case]) -> str:
    """A step's result in a line: how many checks ended in which way, else what it said last."""
    ends = [case.outcome for case in cases]
    counts = [f"{ends.count(outcome)} {outcome}" for outcome in OUTCOMES if outcome in ends]
    return ", ".join(counts) or said.last_line.strip("= ")


Reader = Callable[[Said], list[Case]]
"""Finds a step's checks; none: the step is one check itself."""


def nothing(_: Said) -> list[Case]:
    """The step is one check."""
    return []


def meson(said: Said) -> list[Case]:
    """The unit programs, from meson's log."""
    log = said.build / "meson-logs" / "testlog.json"
    if not log.exists():
        return []
    cases = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        test = json.loads(line)
        outcome = MESON.get(test["result"], "failed")
        output = f"{test.get('stdout', '')}{test.get('stderr', '')}"
        detail = f"{test['result']}\n{output[-DETAIL_MAX:]}" if outcome == "failed" else seed_of(output)
        name = test["name"].rpartition(" / ")[2]  # before it are project and suites
        cases.append(Case(name, outcome, round(test["duration"], 3), detail))
    return cases


def second_try(first: list[Case], second: list[Case]) -> list[Case]:
    """The checks of a step, of which those that failed were run again: one that then passed is flaky."""
    passed = {case.name for case in second if case.outcome == "passed"}
    return [replace(case, outcome="flaky") if case.outcome in BAD and case.name in passed else case for case in first]


def seed_of(output: str) -> str:
    """The seed that a program says it used."""
    found = re.search(r"(?:UVB_SEED=|--seed )(\d+)", output)
    return f"seed {found.group(1)}" if found else ""


def fuzz(said: Said) -> list[Case]:
    """The fuzz targets: "TARGET: N runs, N edges", or "TARGET: FAILED, see …" and why."""
    cases: list[Case] = []
    for line in said.output.splitlines():
        if found := re.fullmatch(r"(\w+): (\d+ runs, \d+ edges)", line):
            cases.append(Case(found.group(1), "passed", detail=found.group(2)))
        elif found := re.fullmatch(r"(\w+): (FAILED.*)", line):
            cases.append(Case(found.group(1), "failed", detail=found.group(2)))
        elif cases and cases[-1].outcome == "failed" and not re.match(r"\d+ targets", line):
            cases[-1].detail += f"\n{line}"
    return cases


def conformance(said: Said) -> list[Case]:
    """The parts of ci/conformance, and the tests that failed."""
    cases = []
    for line in said.output.splitlines():
        if found := re.fullmatch(r"(\S+ \S+): (\d+ tests), (\d+) s", line):
            cases.append(Case(found.group(1), "passed", float(found.group(3)), found.group(2)))
        elif found := re.fullmatch(r"FAILED: (.*?): (.*)", line):
            cases.append(Case(found.group(1), "failed", detail=found.group(2)))
        elif found := re.fullmatch(r"passed at the second try: (.*)", line):
            cases.append(Case(found.group(1), "flaky", detail="passed at the second try"))
    return cases
