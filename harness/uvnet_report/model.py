# SPDX-License-Identifier: BSD-3-Clause
"""What a report is made of. Plain data, kept as JSON: a run is recorded on one machine, merged and
drawn on another. All times are seconds."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

FORMAT = 1
"""Version of the files; others are refused."""

OUTCOMES = ("failed", "error", "flaky", "passed", "xfailed", "skipped")
"""How a scenario can end, the worst first. `flaky`: it failed, and passed when it was run again."""

CHECKS = frozenset({"lint"})
"""Steps that are one check each; others say of what they consist, or check nothing by themselves."""

SCENARIOS = "scenarios"
UNIT = "unit tests"
"""The step whose parts are the scenarios."""

BAD = frozenset({"failed", "error"})
"""Outcomes that make the run fail."""

T = TypeVar("T")


@dataclass
class Node:
    """Something with a port on the fabric."""

    name: str
    kind: str
    """host, shared, kernel, dpdk or wire"""
    ip: str | None = None
    mac: str = ""
    queues: int = 1
    runs: list[str] = field(default_factory=list)
    """commands that ran on it, their first words"""


@dataclass
class Series:
    """Something over time: one value for each of `times` (seconds since the network was up)."""

    name: str
    unit: str
    times: list[float]
    values: list[float]


@dataclass
class Measure:
    """A figure that a scenario has measured."""

    name: str
    value: float
    unit: str


@dataclass
class Network:
    """What a scenario ran on, and what was seen of it."""

    fabric: str
    nodes: list[Node] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """what went wrong on purpose, a line each, at the end"""
    spread: dict[str, list[int]] = field(default_factory=dict)
    """packets by receive queue, of ports with several"""
    series: list[Series] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)


@dataclass
class Frame:
    """One line of a sequence diagram."""

    time: float
    source: str
    target: str
    """a port; "all": flooded; "": nobody"""
    text: str
    verdict: str
    skipped: int = 0
    """frames left out before this one"""


@dataclass
class Failure:
    """What is known of one failed attempt."""

    text: str
    artifacts: str = ""
    """the folder that explains it"""
    replay: str = ""
    """the command that runs it again"""
    frames: list[Frame] = field(default_factory=list)
    excerpts: dict[str, str] = field(default_factory=dict)
    """by file name: the beginning of files in the folder"""

    @property
    def message(self) -> str:
        """What pytest marks as the error itself; all of the text, if nothing is marked."""
        marked = [line[1:].removeprefix("      ") for line in self.text.splitlines() if line.startswith("E  ")]
        return "\n".join(marked) or self.text


@dataclass
class Scenario:
    """One test."""

    test: str
    """node id"""
    outcome: str
    seconds: float
    reason: str = ""
    """why it was skipped, or is expected to fail"""
    worker: str = ""
    shard: str = ""
    network: Network | None = None
    failures: list[Failure] = field(default_factory=list)
    """of each attempt that failed"""

    @property
    def capability(self) -> str:
        """The folder it is in, which names what it is about."""
        folders = self.test.partition("::")[0].split("/")[:-1]
        return folders[-1] if folders else "other"

    @property
    def title(self) -> str:
        """Its own name, without the file's."""
        return self.test.partition("::")[2] or self.test

    @property
    def bad(self) -> bool:
        """True if it makes the run fail."""
        return self.outcome in BAD


@dataclass
class Case:
    """One check of a step other than the scenarios: a unit program, a fuzz target, a module."""

    name: str
    outcome: str
    seconds: float = 0.0
    detail: str = ""


@dataclass
class Step:
    """A step of the gate."""

    name: str
    outcome: str
    seconds: float
    began: float = 0.0
    """since the gate began"""
    summary: str = ""
    """the line it ended with"""
    output: str = ""
    """the end of what it said, if it failed"""
    cases: list[Case] = field(default_factory=list)
    shard: str = ""


@dataclass
class Cell:
    """One figure of the TCP matrix."""

    kind: str
    """goodput or request"""
    mbit: int
    rtt_us: int
    loss_ppm: int
    loss_of: str
    queue: int
    algorithm: str
    value: int
    """kbit/s of goodput; p50 of requests in us"""
    p99: int = 0
    worst: int = 0


@dataclass
class Run:
    """All of one run of the gate, or of several parts of one."""

    format: int = FORMAT
    when: str = ""
    """ISO 8601, UTC"""
    seconds: float = 0.0
    seed: str = ""
    command: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    shards: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    scenarios: list[Scenario] = field(default_factory=list)
    matrix: list[Cell] = field(default_factory=list)

    def count(self, *outcomes: str) -> int:
        """Scenarios, checks and steps that ended so. A step counts if it is a check itself, or if it
        failed without any of its own to blame."""
        ends = [s.outcome for s in self.scenarios] + [c.outcome for s in self.steps for c in s.cases]
        ends += [s.outcome for s in self.steps if s.name in CHECKS or (s.outcome in BAD and not self._blamed(s))]
        return sum(ends.count(outcome) for outcome in outcomes)

    def _blamed(self, step: Step) -> bool:
        """True if something that the step has run has failed."""
        ran = [s.outcome for s in self.scenarios] if step.name == SCENARIOS else [c.outcome for c in step.cases]
        return any(outcome in BAD for outcome in ran)

    @property
    def ok(self) -> bool:
        """True if nothing failed and something passed."""
        return not self.count(*BAD) and self.count("passed", "flaky") > 0


class BadReport(Exception):
    """A file that is no report, or one of another version; the text says which and what to do."""


def _build(kind: type[T], data: dict[str, Any]) -> T:
    """A dataclass from what `dataclasses.asdict` has made of it."""
    hints = get_type_hints(kind)
    unknown = data.keys() - hints.keys()
    if unknown:
        raise BadReport(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
    return kind(**{name: _value(hints[name], value) for name, value in data.items()})


def _value(hint: Any, value: Any) -> Any:
    """A field's value: dataclasses, and lists of them, are built; all else is as it stands."""
    inner = next((arg for arg in (hint, *get_args(hint)) if dataclasses.is_dataclass(arg)), None)
    if inner is None or value is None:
        return value
    if isinstance(value, list):
        return [_build(inner, item) for item in value]
    return _build(inner, value)


def network_of(data: dict[str, Any]) -> Network:
    """A network, as `dataclasses.asdict` has made it plain."""
    return _build(Network, data)


def to_json(thing: Scenario | Step | Run) -> str:
    """One line of JSON."""
    return json.dumps(dataclasses.asdict(thing), separators=(",", ":"))


def read_lines(path: Path, kind: type[T]) -> list[T]:
    """What was recorded, an object a line. A torn last line (of a run that was killed) is left out.

    :raises BadReport: a line is something else.
    """
    if not path.exists():
        return []
    found = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            found.append(_build(kind, json.loads(line)))
        except (ValueError, TypeError, BadReport) as error:
            if number == len(lines) and isinstance(error, ValueError):
                break
            raise BadReport(f"{path}:{number}: {error}: it was not recorded by this version") from None
    return found


def read_run(path: Path) -> Run:
    """A run, from run.json or the folder it is in.

    :raises BadReport: there is none, or it is another version's.
    """
    file = path / "run.json" if path.is_dir() else path
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        if data.get("format") != FORMAT:
            raise BadReport(f"{file} has format {data.get('format')}, and this is format {FORMAT}: make it anew")
        return _build(Run, data)
    except OSError as error:
        raise BadReport(f"{file}: {error.strerror}: name the folder of a report (build/report)") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise BadReport(f"{file} is no report: {error}") from None


def merge(runs: Iterable[Run]) -> Run:
    """One run of the parts that shards have made.

    :raises BadReport: there are none, or two have run the same scenario.
    """
    parts = sorted(runs, key=lambda run: run.shards)
    if not parts:
        raise BadReport("there is nothing to merge")
    seen: dict[str, str] = {}
    for part in parts:
        name = ", ".join(part.shards) or part.when
        for scenario in part.scenarios:
            if scenario.test in seen:
                raise BadReport(f"{scenario.test} is in {seen[scenario.test]} and in {name}: these are not parts of one run")
            seen[scenario.test] = name
    return Run(
        when=min(part.when for part in parts),
        seconds=max(part.seconds for part in parts),
        seed=", ".join(dict.fromkeys(part.seed for part in parts)),
        command="; ".join(dict.fromkeys(part.command for part in parts)),
        environment=_common([part.environment for part in parts]),
        shards=[shard for part in parts for shard in part.shards],
        steps=[step for part in parts for step in part.steps],
        scenarios=[scenario for part in parts for scenario in part.scenarios],
        matrix=next((part.matrix for part in parts if part.matrix), []),
    )


def _common(environments: list[dict[str, str]]) -> dict[str, str]:
    """What the parts ran on: each value once."""
    names = dict.fromkeys(name for environment in environments for name in environment)
    return {name: " / ".join(dict.fromkeys(e[name] for e in environments if name in e)) for name in names}
