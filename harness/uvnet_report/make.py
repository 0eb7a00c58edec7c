# SPDX-License-Identifier: BSD-3-Clause
"""Makes a report in a folder: from what was recorded there, run.json (all of it, for merging),
index.html (the page) and junit.xml."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from pathlib import Path

from uvnet_report import capture, heat, model, page
from uvnet_report.model import BAD, BadReport, Case, Run, Scenario, Step, read_lines, to_json

SCENARIOS, STEPS, FACTS = "scenarios.jsonl", "steps.jsonl", "facts.json"
"""What is recorded while a run goes on."""

RUN, PAGE, JUNIT = "run.json", "index.html", "junit.xml"
"""What is made of it."""

REPOSITORY = Path(__file__).resolve().parents[2]
MATRIX = REPOSITORY / "stack" / "lwip" / "tests" / "matrix.txt"

EXCERPTS = ("summary.txt", "stats.txt", "ledger.txt", "decisions.jsonl", "fabric.log", "capture.txt")
"""Files of a failure's folder that the page quotes."""

EXCERPT_MAX = 6000
"""Characters of each."""


@dataclasses.dataclass
class Facts:
    """What is known of a run beside its results."""

    when: str
    seconds: float
    seed: str
    command: str
    shard: str = ""
    environment: dict[str, str] = dataclasses.field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Keep them beside the records."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FACTS).write_text(json.dumps(dataclasses.asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Facts:
        """What `write` has kept.

        :raises BadReport: there is nothing.
        """
        try:
            return cls(**json.loads((folder / FACTS).read_text(encoding="utf-8")))
        except OSError:
            raise BadReport(
                f"{folder} has no {FACTS}: nothing was recorded there (pytest --report={folder}, or ci/gate)"
            ) from None


def iso(seconds: float) -> str:
    """A time of `time.time()` as ISO 8601, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def environment(build: Path) -> dict[str, str]:
    """The machine and the tree, as far as results depend on them."""
    return {
        "revision": _said("git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--tags"),
        "system": _release(),
        "kernel": platform.release(),
        "processor": _field("/proc/cpuinfo", "model name"),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": _field("/proc/meminfo", "MemTotal"),
        "huge pages (2 MB)": _field("/proc/meminfo", "HugePages_Total"),
        "DPDK": _said("pkg-config", "--modversion", "libdpdk"),
        "compiler": _said("cc", "-dumpfullversion"),
        "Python": platform.python_version(),
        "user": "root" if os.geteuid() == 0 else "not root",
        "build": _build_options(build),
    }


def _said(*words: str) -> str:
    """The first line a command prints; "unknown" if it cannot be had."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip().partition("\n")[0]


def _field(path: str, name: str) -> str:
    """A line "name : value" of a file of /proc."""
    for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return "unknown"


def _release() -> str:
    return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")


def _build_options(build: Path) -> str:
    """What the build directory is set to, where it is not the default."""
    try:
        options = json.loads((build / "meson-info" / "intro-buildoptions.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "unknown"
    wanted = ("buildtype", "b_sanitize", "fuzz")
    return ", ".join(f"{option['name']}={option['value']}" for option in options if option["name"] in wanted)


def collect(folder: Path) -> Run:
    """Everything that was recorded in a folder.

    :raises BadReport: nothing was, or by another version.
    """
    facts = Facts.read(folder)
    scenarios = read_lines(folder / SCENARIOS, Scenario)
    steps = read_lines(folder / STEPS, Step)
    for step in steps:
        step.shard = facts.shard
    for scenario in scenarios:
        scenario.shard = facts.shard
        add_evidence(scenario)
    return Run(
        when=facts.when,
        seconds=facts.seconds,
        seed=facts.seed,
        command=facts.command,
        environment=facts.environment,
        shards=[facts.shard] if facts.shard else [],
        steps=steps,
        scenarios=scenarios,
        matrix=heat.read(MATRIX) if MATRIX.exists() else [],
    )


def add_evidence(scenario: Scenario) -> None:
    """Quote what a scenario's failures have left in their folders."""
    for failure in scenario.failures:
        folder = Path(failure.artifacts)
        if not failure.artifacts or not folder.is_dir():
            continue
        captured = folder / "capture.pcapng"
        if captured.exists():
            failure.frames = capture.exchange(captured)
        files = [folder / name for name in EXCERPTS] + sorted(folder.glob("backtrace-*.txt"))
        for file in files:
            if file.exists() and file.stat().st_size:
                failure.excerpts[file.name] = quote(file)


def quote(file: Path) -> str:
    """The beginning of a file."""
    text = file.read_text(encoding="utf-8", errors="replace")
    return text if len(text) <= EXCERPT_MAX else text[:EXCERPT_MAX] + "\n[…]"


def write(run: Run, folder: Path) -> Path:
    """Write a run's three files.

    :returns: the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RUN).write_text(to_json(run), encoding="utf-8")
    ET.ElementTree(junit(run)).write(folder / JUNIT, encoding="utf-8", xml_declaration=True)
    target = folder / PAGE
    target.write_text(page.render(run), encoding="utf-8")
    return target


def make(folder: Path) -> Path:
    """A report of what was recorded in a folder, in that folder.

    :returns: the page.
    :raises BadReport: see `collect`.
    """
    return write(collect(folder), folder)


# ------------------------------------------------------------------------------------- JUnit


def junit(run: Run) -> ET.Element:
    """The run as JUnit's XML, as continuous-integration services read it."""
    root = ET.Element("testsuites", name="uvnet", time=f"{run.seconds:.3f}")
    for step in run.steps:
        cases = step.cases or [Case(step.name, step.outcome, step.seconds, step.output)]
        if step.name != model.SCENARIOS or step.outcome in BAD and not run.scenarios:
            _suite(root, step.name, [(c.name, c.outcome, c.seconds, c.detail) for c in cases])
    groups: dict[str, list[Scenario]] = {}
    for scenario in run.scenarios:
        groups.setdefault(scenario.capability, []).append(scenario)
    for name, scenarios in sorted(groups.items()):
        _suite(root, f"scenarios.{name}", [(s.test, s.outcome, s.seconds, _detail(s)) for s in scenarios])
    return root


def _detail(scenario: Scenario) -> str:
    """What JUnit's readers show of a scenario."""
    lines = [scenario.reason] if scenario.reason else []
    for failure in scenario.failures:
        lines += [failure.text, f"artifacts: {failure.artifacts}", f"replay: {failure.replay}"]
    return "\n".join(lines)


def _suite(root: ET.Element, name: str, cases: list[tuple[str, str, float, str]]) -> None:
    """One test suite."""
    ends = [outcome for _, outcome, _, _ in cases]
    suite = ET.SubElement(
        root,
        "testsuite",
        name=name,
        tests=str(len(cases)),
        failures=str(ends.count("failed")),
        errors=str(ends.count("error")),
        skipped=str(ends.count("skipped") + ends.count("xfailed")),
        time=f"{sum(seconds for _, _, seconds, _ in cases):.3f}",
    )
    for title, outcome, seconds, detail in cases:
        case = ET.SubElement(suite, "testcase", classname=name, name=title, time=f"{seconds:.3f}")
        if outcome in BAD:
            what = ET.SubElement(case, "failure" if outcome == "failed" else "error", message=_clean(detail[:200]))
            what.text = _clean(detail)
        elif outcome in ("skipped", "xfailed"):
            ET.SubElement(case, "skipped", message=_clean(detail))
        elif outcome == "flaky":
            ET.SubElement(case, "system-out").text = _clean(f"passed at the second try\n{detail}")


def _clean(text: str) -> str:
    """Without the characters that XML has no way to say."""
    return "".join(c for c in text if c >= " " or c in "\t\n")
