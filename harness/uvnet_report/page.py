# SPDX-License-Identifier: BSD-3-Clause
"""The page: one file, which needs nothing but itself. Scripts only add a filter; all else works
without them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jinja2

from uvnet_report import drawing, heat
from uvnet_report.model import BAD, OUTCOMES, Run, Scenario, Series, Step

TEMPLATES = Path(__file__).resolve().parent / "templates"

MARKS = {"failed": "✗", "error": "✗", "flaky": "≈", "passed": "✓", "xfailed": "○", "skipped": "–"}
"""Beside each outcome's word, so that colour is not the only sign."""

DEEPEST = 6
"""Scenarios whose curves are shown together."""


@dataclass
class Group:
    """The scenarios of one capability."""

    name: str
    scenarios: list[Scenario]

    @property
    def seconds(self) -> float:
        """Time of all together, one after the other."""
        return sum(s.seconds for s in self.scenarios)

    @property
    def worst(self) -> str:
        """The worst outcome in it."""
        ends = {s.outcome for s in self.scenarios}
        return next(outcome for outcome in OUTCOMES if outcome in ends)

    @property
    def counts(self) -> dict[str, int]:
        """Scenarios by outcome, the worst first."""
        ends = [s.outcome for s in self.scenarios]
        return {outcome: ends.count(outcome) for outcome in OUTCOMES if outcome in ends}


@dataclass
class Curves:
    """A plot of one scenario."""

    scenario: Scenario
    series: list[Series]


def groups(run: Run) -> list[Group]:
    """The scenarios by capability; in each, the worst first, then the longest."""
    found: dict[str, list[Scenario]] = {}
    for scenario in run.scenarios:
        found.setdefault(scenario.capability, []).append(scenario)
    for scenarios in found.values():
        scenarios.sort(key=lambda s: (OUTCOMES.index(s.outcome) if s.outcome in (*BAD, "flaky") else 9, -s.seconds))
    return [Group(name, found[name]) for name in sorted(found)]


def curves(run: Run, unit: str) -> list[Curves]:
    """The scenarios with the highest curves of a unit."""
    found = []
    for scenario in run.scenarios:
        series = [s for s in scenario.network.series if s.unit == unit] if scenario.network else []
        if series:
            found.append(Curves(scenario, series))
    found.sort(key=lambda c: -max(max(s.values) for s in c.series))
    return found[:DEEPEST]


@dataclass
class Slope:
    """Goodput over loss, of one wire of the TCP matrix."""

    wire: str
    losses: list[str]
    series: list[Series]


def slopes(run: Run) -> list[Slope]:
    """A plot for each wire; the loss is of both directions."""
    cells = [c for c in run.matrix if c.kind == "goodput" and (c.loss_of == "both" or not c.loss_ppm)]
    losses = sorted({c.loss_ppm for c in cells})
    found: dict[str, dict[str, Series]] = {}
    for cell in cells:
        name = f"{cell.algorithm}, queue {cell.queue}"
        curves_of_wire = found.setdefault(heat.wire_name(cell.mbit, cell.rtt_us), {})
        curve = curves_of_wire.setdefault(name, Series(name, "bit/s", [], []))
        curve.times.append(float(losses.index(cell.loss_ppm)))
        curve.values.append(cell.value * 1000.0)
    labels = [heat.percent(loss) for loss in losses]
    return [Slope(wire, labels, list(series.values())) for wire, series in found.items()]


def worst_spreads(run: Run) -> list[tuple[Scenario, str, list[int]]]:
    """The receive queues that got the most packets."""
    found = [
        (scenario, port, queues)
        for scenario in run.scenarios
        if scenario.network
        for port, queues in scenario.network.spread.items()
    ]
    found.sort(key=lambda entry: -sum(entry[2]))
    return found[:DEEPEST]


def shown_steps(run: Run) -> list[Step]:
    """The steps in the order in which they began."""
    return sorted(run.steps, key=lambda step: (step.shard, step.began))


def seconds(value: float) -> str:
    """A duration."""
    if value >= 60:
        return f"{int(value // 60)} min {value % 60:.0f} s"
    return f"{value:.1f} s" if value >= 1 else f"{value * 1000:.0f} ms"


def render(run: Run) -> str:
    """The page of a run."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(seconds=seconds, quantity=drawing.quantity)
    environment.globals.update(drawing=drawing, marks=MARKS)
    return environment.get_template("page.html").render(
        run=run,
        groups=groups(run),
        steps=shown_steps(run),
        bad=[s for s in run.scenarios if s.bad],
        flaky=[s for s in run.scenarios if s.outcome == "flaky"],
        left_out=[s for s in run.scenarios if s.outcome in ("skipped", "xfailed")],
        slowest=max((s.seconds for s in run.scenarios), default=0.0) or 1.0,
        maps=heat.maps(run.matrix),
        slopes=slopes(run),
        throughput=curves(run, "B/s"),
        depths=curves(run, "frames"),
        spreads=worst_spreads(run),
        measured=[s for s in run.scenarios if s.network and s.network.measures],
    )
