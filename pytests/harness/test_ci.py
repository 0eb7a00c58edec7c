# SPDX-License-Identifier: BSD-3-Clause
"""The gate and its report as continuous-integration services call them."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from uvnet_gate import results
from uvnet_gate.__main__ import QUICK_UNIT, Gate, Task, cores, parse_options, quick_units
from uvnet_report import make
from uvnet_report.model import UNIT, Case, Run, Scenario, Step, read_lines, read_run
from uvnet_report.shard import read_durations

ROOT = Path(__file__).resolve().parents[2]


def commands(text):
    """Every call of a program of ci/, without the service's own variables."""
    text = re.sub(r"\$\{\{ matrix\.part \}\}|\$CI_NODE_INDEX", "1", text).replace("$CI_NODE_TOTAL", "3").replace('"', "")
    return re.findall(r"(?:run: |- |^|`)(?:\./)?(ci/\w+)((?: [^\n`#&]*)?)", text, re.M)


@pytest.mark.parametrize("name", ["docs/ci.md", "docs/report.md", ".ci/run"])
def test_commands_exist_and_are_called_right(name):
    found = [(program, words.split()) for program, words in commands((ROOT / name).read_text())]
    assert found or name == ".ci/run"
    for program, words in found:
        assert (ROOT / program).exists(), program
        if program == "ci/gate" and "I/N" not in words:
            parse_options(words)
        if program == "ci/report" and words:
            done = subprocess.run([ROOT / program, words[0], "--help"], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            options = [word for word in words if word.startswith("--")]
            assert all(option in done.stdout for option in options)


def test_image_copies_what_its_setup_reads():
    text = (ROOT / "ci/Dockerfile").read_text()
    (copied,) = re.findall(r"^COPY (ci/.*) ci/$", text, re.M)
    assert all((ROOT / name).exists() for name in copied.split())
    needed = set(re.findall(r"\$repo/(ci/[\w.]+)", (ROOT / "ci/setup").read_text()))
    assert needed <= set(copied.split()) and "ci/setup" in copied.split()


def part(folder, number, scenarios, steps=()):
    """The report of a part."""
    run = Run(
        when="2026-01-02T03:04:05Z", seconds=number, seed="1", shards=[f"{number}/2"], scenarios=scenarios, steps=list(steps)
    )
    make.write(run, folder / str(number))
    return folder / str(number)


def merge_command(*words):
    return subprocess.run([ROOT / "ci/report", "merge", *words], capture_output=True, text=True, check=False)


def test_parts_merge_and_fail_as_a_whole(tmp_path):
    good = part(tmp_path, 1, [Scenario("a/test_a.py::test_one", "passed", 1.0)])
    bad = part(tmp_path, 2, [Scenario("b/test_b.py::test_two", "failed", 1.0)])
    done = merge_command(good, bad, "--output", tmp_path / "all")
    assert done.returncode == 1 and done.stdout.endswith("1 passed, 1 failed, 0 skipped, 0 flaky\n")
    assert read_run(tmp_path / "all").shards == ["1/2", "2/2"]
    assert merge_command(good, "--output", tmp_path / "one").returncode == 0
    twice = merge_command(good, good)
    assert twice.returncode == 2 and "these are not parts of one run" in twice.stderr
    assert merge_command(tmp_path / "nothing").returncode == 2


def test_durations_of_a_run_are_kept(tmp_path):
    units = Step(UNIT, "failed", 5, cases=[Case("core", "passed", 4.0), Case("broken", "failed", 1.0)])
    scenarios = [Scenario("a/test_a.py::test_one", "passed", 1.25), Scenario("a/test_a.py::test_bad", "failed", 9)]
    folder = part(tmp_path, 1, scenarios, [units])
    file = tmp_path / "durations.json"
    file.write_text('{"old": 3.0}')
    subprocess.run([ROOT / "ci/report", "durations", folder, "--output", file], check=True, capture_output=True)
    assert json.loads(file.read_text()) == {"a/test_a.py::test_one": 1.2, "old": 3.0, "unit::core": 4.0}


def test_quick_run_has_the_short_unit_programs(tmp_path):
    """Of meson's suite "unit", those that have taken the least time; one that was never timed counts as a second."""
    timed = {name: seconds for name, seconds in read_durations(ROOT / "pytests/durations.json").items() if name.startswith("unit::")}
    names = [name.removeprefix("unit::") for name in timed] + ["brand-new"]
    tests = [{"name": name, "suite": ["uvnet:unit"]} for name in names] + [{"name": "other", "suite": ["uvnet:bench"]}]
    (tmp_path / "meson-info").mkdir()
    (tmp_path / "meson-info/intro-tests.json").write_text(json.dumps(tests))
    quick = quick_units(tmp_path)
    assert "brand-new" in quick and "other" not in quick and set(quick) < set(names)
    assert sum(timed.get(f"unit::{name}", 1.0) for name in quick) <= QUICK_UNIT * cores()
    left = min(timed[f"unit::{name}"] for name in names if name not in quick)
    assert all(timed.get(f"unit::{name}", 1.0) <= left for name in quick)


FUZZ = """control: 242 runs, 1807 edges
steer: FAILED, see build-fuzz/steer.log
SUMMARY: AddressSanitizer: heap-buffer-overflow
again: build-fuzz/stack/share/fuzz/fuzz_steer build-fuzz/failed/steer/crash-1
view: 354 runs, 829 edges
3 targets, 600 runs, 1 failed
"""

CONFORMANCE = """cpython test_socket: 428 tests, 15 s
passed at the second try: test.test_asyncio.Late
FAILED: test.test_socket.BasicTCPTest.testRecv: fail on the stack, pass on the kernel
427 passed, 1 failed, 0 expected differences
"""


@pytest.mark.parametrize(
    ("reader", "output", "ends"),
    [
        (results.fuzz, FUZZ, ["passed", "failed", "passed"]),
        (results.conformance, CONFORMANCE, ["passed", "flaky", "failed"]),
    ],
)
def test_what_steps_say_is_understood(reader, output, ends):
    cases = reader(results.Said(output, Path("build")))
    assert [case.outcome for case in cases] == ends
    bad = next(case for case in cases if case.outcome == "failed")
    assert "heap-buffer-overflow" in bad.detail or "on the stack" in bad.detail


def test_unit_programs_are_read_from_mesons_log(tmp_path):
    """By the names that meson takes on its command line, for a second try."""
    (tmp_path / "meson-logs").mkdir()
    lines = [
        {"name": "uvnet:unit / fdb", "result": "OK", "duration": 0.0212, "stdout": "UVB_SEED=77\nfine\n"},
        {"name": "uvnet:unit+model / tcp", "result": "TIMEOUT", "duration": 30, "stdout": "hanging\n", "stderr": "for ever\n"},
        {"name": "gone", "result": "SKIP", "duration": 0.0},
    ]
    (tmp_path / "meson-logs" / "testlog.json").write_text("\n".join(map(json.dumps, lines)))
    said = results.Said("", tmp_path)
    fdb, tcp, gone = results.meson(said)
    assert [case.name for case in (fdb, tcp, gone)] == ["fdb", "tcp", "gone"]
    assert (fdb.outcome, fdb.detail, tcp.outcome, gone.outcome) == ("passed", "seed 77", "failed", "skipped")
    assert "TIMEOUT" in tcp.detail and "for ever" in tcp.detail
    assert results.summary(said, [fdb, tcp, gone]) == "1 failed, 1 passed, 1 skipped"


def gate(folder, *words):
    """A gate of a build folder, with nothing in it."""
    found = Gate(parse_options(["--build", str(folder), *words]))
    for place in (found.report, found.logs):
        place.mkdir(parents=True, exist_ok=True)
    return found


def test_a_unit_program_that_fails_has_a_second_try(tmp_path, capsys):
    """One that passes then is flaky, and told; one that fails again fails the step."""

    def read(said):
        return [Case(*line.split()) for line in said.output.splitlines()]

    def step(second):
        one = gate(tmp_path)
        (one.report / make.STEPS).unlink(missing_ok=True)
        first = "echo good passed; echo late failed; exit 1"
        one.do(Task("units", ["sh", "-c", first], read, again=lambda names: Task("", ["sh", "-c", second, *names], read)))
        (found,) = read_lines(one.report / make.STEPS, Step)
        return found.outcome, [(case.name, case.outcome) for case in found.cases]

    assert step("echo $0 passed") == ("passed", [("good", "passed"), ("late", "flaky")])
    assert step("echo $0 failed; exit 1") == ("failed", [("good", "passed"), ("late", "failed")])
    assert "late: once more" in capsys.readouterr().out


def test_steps_are_recorded(tmp_path, capsys):
    one = gate(tmp_path)
    one.do(Task("good", ["echo", "fine"]))
    one.do(Task("so so", ["sh", "-c", "exit 5"], fine=frozenset({0, 5})))
    one.do(Task("bad", ["sh", "-c", "echo broken >&2; exit 3"]), beside=True)
    steps = read_lines(one.report / make.STEPS, Step)
    assert [(s.name, s.outcome, s.summary) for s in steps] == [("good", "passed", "fine"), ("so so", "passed", ""), ("bad", "failed", "broken")]
    assert "broken" in steps[2].output and (tmp_path / "gate" / "so-so.txt").exists()
    assert "== bad, beside the others" in capsys.readouterr().out


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_step_is_some_shards(tmp_path, count):
    shards = [gate(tmp_path, "--shard", f"{number}/{count}") for number in range(1, count + 1)]
    steps = [Task(name, []) for name in ("lint", "fuzz build", "unit tests", "conformance", "fuzz")]
    assert sorted(task.name for one in shards for task in one._mine(steps)) == sorted(task.name for task in steps)


def test_a_gate_that_failed_early_says_so():
    run = Run(steps=[Step("build", "failed", 3.0, output="error: expected ';'")])
    assert not run.ok and run.count("failed") == 1
