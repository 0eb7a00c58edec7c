# SPDX-License-Identifier: BSD-3-Clause
"""Records each scenario as a line of JSON, for the report. The process that the user has started
writes (with xdist: not the workers); what workers have seen comes to it with pytest's own reports,
as the attribute `ATTRIBUTE`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from _pytest.terminal import TerminalReporter

from uvnet_harness.retry import AGAIN
from uvnet_report import make
from uvnet_report.model import Failure, Measure, Network, Scenario, network_of, to_json

ATTRIBUTE = "uvnet"
"""Of a pytest report: ``network`` (of its teardown), ``artifacts`` and ``replay`` (of a failure)."""

FAILURE_TEXT_MAX = 20_000
"""Characters of a failure's text that are kept, of its end."""

PHASES = ("setup", "call", "teardown")


def attach(report: pytest.TestReport, network: Network | None, **words: str) -> None:
    """Add to a report what the recording process is to know."""
    setattr(report, ATTRIBUTE, {"network": dataclasses.asdict(network) if network else None, **words})


class Log:
    """The file of a run's scenarios. Nothing is written that a crash of a test could tear."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "w", encoding="utf-8")
        self._open: dict[str, Scenario] = {}

    def add(self, report: pytest.TestReport) -> None:
        """Take one report of pytest's; a scenario is written with its last."""
        test = report.nodeid.partition("@")[0]  # xdist adds the group
        scenario = self._open.setdefault(test, Scenario(test, "passed", 0.0))
        scenario.seconds += report.duration
        scenario.worker = getattr(report, "worker_id", "").replace("master", "")
        seen: dict[str, Any] = getattr(report, ATTRIBUTE, None) or {}
        again = str(report.outcome) == AGAIN
        if report.failed or again:
            scenario.failures.append(failure(report, seen))
        if again:
            scenario.outcome, scenario.seconds = "flaky", 0.0
        else:
            _note_outcome(scenario, report)
        if seen.get("network"):
            scenario.network = network_of(seen["network"])
            scenario.network.measures += figures(report.user_properties)
        if report.when == "teardown" or report.when not in PHASES:
            self._write(self._open.pop(test))

    def _write(self, scenario: Scenario) -> None:
        scenario.seconds = round(scenario.seconds, 3)
        self._file.write(to_json(scenario) + "\n")
        self._file.flush()

    def close(self) -> None:
        """End the file. Scenarios that never came to their end (the run was broken off) are errors."""
        for scenario in self._open.values():
            scenario.outcome, scenario.reason = "error", "the run ended before it did"
            self._write(scenario)
        self._open.clear()
        self._file.close()


def _note_outcome(scenario: Scenario, report: pytest.TestReport) -> None:
    """What one phase makes of a scenario's outcome; a failure stands whatever comes after it."""
    expected = getattr(report, "wasxfail", None)
    if report.failed:
        scenario.outcome = "failed" if report.when == "call" else "error"
    elif report.skipped:
        scenario.outcome = "skipped" if expected is None else "xfailed"
        scenario.reason = expected or skip_reason(report)


def figures(properties: Sequence[tuple[str, object]]) -> list[Measure]:
    """The numbers of what a test has noted by pytest's ``record_property``; also those in JSON."""
    found = []
    for name, value in properties:
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                value = json.loads(value)
        for path, number in leaves(name, value):
            found.append(Measure(path, number, ""))
    return found


def leaves(name: str, value: object) -> Iterator[tuple[str, float]]:
    """The numbers in a value, each with its way there."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(f"{name} {key}", inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value, 1):
            yield from leaves(f"{name} {index}", inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, float(value)


def failure(report: pytest.TestReport, seen: dict[str, Any]) -> Failure:
    """What a failing phase says."""
    text = report.longreprtext[-FAILURE_TEXT_MAX:]
    return Failure(text, seen.get("artifacts", ""), seen.get("replay", ""))


def skip_reason(report: pytest.TestReport) -> str:
    """Why a test was skipped."""
    where = report.longrepr
    text = where[2] if isinstance(where, tuple) else str(where)
    return text.removeprefix("Skipped: ")


class Recording:
    """The plugin that writes the log of a run with --report, and its page at the end."""

    def __init__(self, config: pytest.Config, build: Path) -> None:
        self.config, self.build = config, build
        self.folder = Path(config.option.report)
        self.began = time.time()
        self.log = Log(self.folder / make.SCENARIOS)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take one phase of one test."""
        self.log.add(report)

    @pytest.hookimpl(trylast=True)  # type: ignore[misc]
    def pytest_sessionfinish(self) -> None:
        """Make the page."""
        self.log.close()
        facts = make.Facts(
            when=make.iso(self.began),
            seconds=time.time() - self.began,
            seed=str(self.config.option.seed),
            command=shlex.join(["pytest", *map(str, self.config.invocation_params.args)]),
            shard=str(self.config.option.shard or ""),
            environment=make.environment(self.build),
        )
        facts.write(self.folder)
        make.make(self.folder)

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """Say where the page is."""
        terminalreporter.write_line(f"report: {self.folder / make.PAGE}")
