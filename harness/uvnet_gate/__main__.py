# SPDX-License-Identifier: BSD-3-Clause
"""Runs the gate, after ci/setup; see `ci/gate --help`, which is where the options are described."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from uvnet_gate import results
from uvnet_harness import journal
from uvnet_report import make, shard
from uvnet_report.model import BAD, SCENARIOS, UNIT, Step, to_json
from uvnet_report.shard import Shard

ROOT = Path(__file__).resolve().parents[2]

IDLE = ("chrt", "--idle", "0")
"""Before a command that is to take only the processor time that nobody else wants (SCHED_IDLE)."""

QUICK = 28
"""Seconds of scenarios in a quick run."""

QUICK_UNIT = 6
"""Seconds of unit programs in a quick run."""

OUTPUT_MAX = 12_000
"""Characters of a failed step's output that go into the report, of its end."""

NO_TESTS = 5
"""pytest's exit status when nothing was selected: no failure by itself."""


def cores() -> int:
    """Processors that this process may use, but two at least: scenarios wait a good part of their time."""
    return max(len(os.sched_getaffinity(0)), 2)


@dataclass
class Task:
    """A step to be run."""

    name: str
    command: Sequence[str | Path]
    read: results.Reader = results.nothing
    env: dict[str, str] = field(default_factory=dict)
    fine: frozenset[int] = frozenset({0})
    """exit statuses that are no failure"""
    again: Callable[[list[str]], Task] | None = None
    """the step for some of its checks alone, by name: what failed has a second try, and is called
    flaky if that one passes"""


class Gate:
    """One run of the gate.

    :param options: of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.build: Path = options.build.absolute()
        self.report = self.build / "report"
        self.logs = self.build / "gate"
        self.began = time.time()
        self.steps: list[Step] = []
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._ended = threading.Event()

    # --------------------------------------------------------------------------------- plan

    def lint(self) -> Task:
        """Layout and sense of the tree."""
        return Task("lint", [ROOT / "ci/lint", "--build", self.build])

    def fuzz_build(self) -> Task:
        """The fuzz targets, built by clang with sanitizers."""
        return Task("fuzz build", [ROOT / "ci/fuzz", "--build-only"])

    def fuzz(self) -> Task:
        """The fuzz targets, each for a second."""
        return Task("fuzz", [ROOT / "ci/fuzz", "--seconds", "1"], results.fuzz)

    def unit(self) -> Task:
        """The C unit programs."""
        words: list[str | Path] = ["meson", "test", "-C", self.build, "--no-rebuild", "--suite", "unit", "--print-errorlogs"]
        names = quick_units(self.build) if self.options.quick else []
        task = Task(UNIT, [*words, *names], results.meson)
        return replace(task, again=lambda failed: replace(task, command=[*words, *failed]))

    def conformance(self) -> Task:
        """Other people's tests."""
        return Task("conformance", [ROOT / "ci/conformance", "--quick", "--build", self.build], results.conformance)

    def scenarios(self) -> Task:
        """The scenarios, by pytest."""
        words: list[str | Path] = [
            "/usr/bin/python3", "-m", "pytest", "-c", ROOT / "pytests/pytest.ini", "-p", "uvnet_harness.plugin",
            "-n", os.environ.get("UVNET_JOBS", str(cores())), "--dist", "loadgroup", "-ra", "--retry",
            f"--report={self.report}", f"--junitxml={self.logs / 'scenarios.xml'}",
        ]  # fmt: skip
        if self.options.shard:
            words.append(f"--shard={self.options.shard}")
        if self.options.quick:
            words += ["-m", "not slow", f"--budget={QUICK * cores()}"]
        path = os.pathsep.join(filter(None, [str(ROOT / "harness"), os.environ.get("PYTHONPATH")]))
        env = {"UVNET_BUILD": str(self.build), "PYTHONPATH": path, **self._sanitizer()}
        return Task(SCENARIOS, [*words, *self.options.pytest, ROOT / "pytests"], env=env, fine=frozenset({0, NO_TESTS}))

    def _sanitizer(self) -> dict[str, str]:
        """In a sanitized build: stock programs, pytest's python among them, load instrumented libraries
        after the sanitizer's runtime."""
        runtime = (self.build / "sanitizer-runtime").read_text(encoding="utf-8").strip()
        return {"LD_PRELOAD": runtime} if runtime else {}

    # ---------------------------------------------------------------------------------- run

    def run(self) -> int:
        """Everything; the exit status."""
        shutil.rmtree(self.report, ignore_errors=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        self.report.mkdir()
        try:
            if self._build():
                self._check()
        finally:
            self._ended.set()
            for process in list(self._running):
                terminate(process)
        return self._finish()

    def _build(self) -> bool:
        """The build; without it there is nothing to check."""
        if not (self.build / "build.ninja").exists():
            self.do(Task("meson setup", ["meson", "setup", self.build]))
        else:
            self.do(Task("build", ["ninja", "-C", self.build]))
            return self.steps[-1].outcome == "passed"
        return self.steps[-1].outcome == "passed" and self._build()

    def _check(self) -> None:
        """The checks. What only computes (lint, the build of the fuzz targets) takes the time that
        the scenarios spend waiting; what measures time does not run beside its like."""
        slow = not self.options.quick
        beside = self._mine([self.lint(), self.fuzz_build()]) if slow else []
        after = self._mine([self.conformance(), self.fuzz()]) if slow else []
        thread = threading.Thread(target=self._do_beside, args=(beside,))
        thread.start()
        for task in [*self._mine([self.unit()]), self.scenarios()]:
            self.do(task)
        hurry(self._running)
        thread.join()
        for task in after:
            self.do(task)

    def _mine(self, tasks: list[Task]) -> list[Task]:
        """Those that this shard runs; they are dealt out in turn."""
        if not self.options.shard:
            return tasks
        mine: Shard = self.options.shard
        return [task for number, task in enumerate(tasks) if number % mine.count == mine.number - 1]

    def _do_beside(self, tasks: list[Task]) -> None:
        for task in tasks:
            if not self._ended.is_set():
                self.do(task, beside=True)

    def do(self, task: Task, beside: bool = False) -> None:
        """Run a step and write down how it went.

        :param beside: with the processor time that nobody else wants; its output is printed at its end.
        """
        began = time.time()
        if not beside:
            print(f"\n== {task.name} ({began - self.began:.0f} s)", flush=True)
        log = self.logs / f"{task.name.replace(' ', '-')}.txt"
        status, output = self._execute(task, log, beside)
        if beside:
            print(f"\n== {task.name}, beside the others ({began - self.began:.0f} s)\n{output}", flush=True)
        said = results.Said(output, self.build)
        cases = task.read(said)
        bad = [case.name for case in cases if case.outcome in BAD]
        if bad and task.again:
            print(f"{', '.join(bad)}: once more", flush=True)
            status, more = self._execute(task.again(bad), log.with_suffix(".again.txt"), beside)
            cases = results.second_try(cases, task.read(results.Said(more, self.build)))
            output += more
        good = status in task.fine and not any(case.outcome in BAD for case in cases)
        step = Step(
            name=task.name,
            outcome="passed" if good else "failed",
            seconds=round(time.time() - began, 2),
            began=round(began - self.began, 2),
            summary=results.summary(said, cases),
            output="" if good else output[-OUTPUT_MAX:],
            cases=cases,
        )
        with self._lock:
            self.steps.append(step)
            with open(self.report / make.STEPS, "a", encoding="utf-8") as file:
                file.write(to_json(step) + "\n")

    def _execute(self, task: Task, log: Path, beside: bool) -> tuple[int, str]:
        """Run a command to its end; what it prints goes to its log and, unless `beside`, on."""
        words = [*(IDLE if beside else ()), *map(str, task.command)]
        environment = {**os.environ, **task.env}
        lines = []
        with subprocess.Popen(
            words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", stdin=subprocess.DEVNULL, process_group=0,
        ) as process, open(log, "w", encoding="utf-8") as file:  # fmt: skip
            self._running.add(process)
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    lines.append(line)
                    file.write(line)
                    if not beside:
                        print(line, end="", flush=True)
                status = process.wait()
            finally:
                terminate(process)
                self._running.discard(process)
        return status, "".join(lines)

    # ---------------------------------------------------------------------------------- end

    def _finish(self) -> int:
        """The report, and the counts."""
        recorded = self.report / make.FACTS
        seed = make.Facts.read(self.report).seed if recorded.exists() else ""
        seconds = time.time() - self.began
        make.Facts(
            when=make.iso(self.began),
            seconds=round(seconds, 1),
            seed=seed,
            command=shlex.join(["ci/gate", *self.options.words]),
            shard=str(self.options.shard or ""),
            environment=make.environment(self.build),
        ).write(self.report)
        run = make.collect(self.report)
        page = make.write(run, self.report)
        print(f"\ngate: {seconds:.0f} s")
        print(f"report: {os.path.relpath(page)}")
        for scenario in run.scenarios:
            if scenario.outcome == "flaky":
                print(f"FLAKY {scenario.test}: {scenario.failures[0].artifacts}")
        for step in self.steps:
            for case in step.cases:
                if case.outcome == "flaky":
                    print(f"FLAKY {step.name}: {case.name}\n{case.detail}")
        passed, failed = run.count("passed", "flaky"), run.count("failed", "error")
        skipped = run.count("skipped", "xfailed")
        print(f"{run.count('flaky')} flaky")
        print(f"{passed} passed, {failed} failed, {skipped} skipped")
        return 0 if run.ok else 1


def quick_units(build: Path) -> list[str]:
    """The unit programs of a quick run: the short ones."""
    tests = json.loads((build / "meson-info/intro-tests.json").read_text(encoding="utf-8"))
    names = [test["name"] for test in tests if any(suite.endswith(":unit") for suite in test["suite"])]
    durations = shard.read_durations(ROOT / "pytests/durations.json")
    kept = shard.within([shard.unit_key(name) for name in names], durations, QUICK_UNIT * cores())
    return [name for name in names if shard.unit_key(name) in kept]


def terminate(process: subprocess.Popen[str]) -> None:
    """End a command and all it has started, if it still runs."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)


def hurry(processes: set[subprocess.Popen[str]]) -> None:
    """Let what has run beside the others have its share: there are no others any more."""
    for process in list(processes):
        for member in journal.members(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setscheduler(member, os.SCHED_OTHER, os.sched_param(0))


def parse_options(words: list[str]) -> argparse.Namespace:
    """The command line; ci/gate has the help."""
    parser = argparse.ArgumentParser(prog="ci/gate", usage="see ci/gate --help", add_help=False, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--shard", type=Shard.parse)
    parser.add_argument("pytest", nargs="*")
    options = parser.parse_args(words)
    options.words = words
    return options


def end(number: int, _frame: object) -> None:
    """A signal that ends the run: in order."""
    raise SystemExit(128 + number)


def main() -> int:
    """The exit status."""
    options = parse_options(sys.argv[1:])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    return Gate(options).run()


if __name__ == "__main__":
    sys.exit(main())
