# SPDX-License-Identifier: BSD-3-Clause
"""Shards, budgets and order: who runs what, by how long it took before."""

import argparse
import json
import random
import re

import pytest

from uvnet_report.shard import Shard, read_durations, split, within, write_durations


def groups_of(durations):
    return {test: [test] for test in durations}


def test_shards_are_parts_of_a_whole_and_balanced(request):
    draw = random.Random(request.config.option.seed)
    durations = {f"x.py::t{n}": draw.expovariate(1) for n in range(300)}
    for count in (1, 2, 3, 7):
        parts = split(groups_of(durations), durations, count)
        assert sorted(test for part in parts for test in part) == sorted(durations)
        loads = [sum(durations[test] for test in part) for part in parts]
        best = max(sum(durations.values()) / count, max(durations.values()))
        assert max(loads) <= best * 4 / 3


def test_groups_stay_together():
    durations = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0}
    parts = split({"one": ["a", "b", "c"], "two": ["d"]}, durations, 2)
    assert sorted(map(sorted, parts)) == [["a", "b", "c"], ["d"]]


def test_a_budget_keeps_the_shortest_and_one_of_each_file():
    durations = {"x.py::short": 1.0, "x.py::long": 50.0, "x.py::middle": 3.0, "y.py::slow": 20.0}
    assert within(list(durations), durations, 24) == {"x.py::short", "x.py::middle", "y.py::slow"}
    assert within(list(durations), durations, 0) == {"x.py::short", "y.py::slow"}


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", ""])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is no shard: I/N"):
        Shard.parse(text)


def test_durations_are_kept(tmp_path):
    path = tmp_path / "durations.json"
    assert read_durations(path) == {}
    write_durations(path, {"b": 1.26, "a": 2})
    assert read_durations(path) == {"a": 2, "b": 1.3}
    assert path.read_text().index('"a"') < path.read_text().index('"b"')


SCENARIOS = """
import pytest
@pytest.fixture(scope="module")
def shared():
    return []
@pytest.mark.parametrize("n", range(4))
def test_alone(n): pass
def test_first(shared): shared.append(1)
def test_second(shared): assert shared == [1]
"""


def ran(done):
    """The tests of a verbose run, in order."""
    return re.findall(r"test_it\.py::(\S+) PASSED|PASSED test_it\.py::(\S+)", done.stdout)


def test_shards_of_a_run_make_a_whole(runs):
    runs.write(SCENARIOS)
    write_durations(runs.folder / "durations.json", {f"test_it.py::test_alone[{n}]": n for n in range(4)})
    found = []
    for number in (1, 2):
        done = runs.run("-v", f"--shard={number}/2")
        found.append({one or other for one, other in ran(done)})
    assert not found[0] & found[1] and len(found[0] | found[1]) == 6
    assert any({"test_first", "test_second"} <= part for part in found)


def test_workers_get_the_longest_first(runs):
    runs.write(SCENARIOS)
    (runs.folder / "durations.json").write_text(json.dumps({f"test_it.py::test_alone[{n}]": n * 10 for n in range(4)}))
    done = runs.run("-v", "-n", "1")
    names = [one or other for one, other in ran(done)]
    assert names == [*(f"test_alone[{n}]" for n in (3, 2, 1)), "test_first", "test_second", "test_alone[0]"]
