# SPDX-License-Identifier: BSD-3-Clause
"""Which tests of a run are this shard's, and in which order xdist hands them out: the longest first,
so that no worker ends up alone with one of them. By ``durations.json`` in pytest's root directory,
which ``ci/report durations`` writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from uvnet_report import shard

DURATIONS = "durations.json"

SHARED_SCOPES = frozenset({"class", "module", "package"})
"""Scopes of fixtures that tests share: tests that use one stay together."""


def unit_of(item: pytest.Item) -> str:
    """What a test stays together with: its xdist group, its module if it shares a fixture with it."""
    for mark in item.iter_markers("xdist_group"):
        return f"@{mark.args[0] if mark.args else mark.kwargs['name']}"
    definitions = getattr(item, "_fixtureinfo").name2fixturedefs.values()
    if any(definition.scope in SHARED_SCOPES for several in definitions for definition in several):
        return str(item.path)
    return item.nodeid


class Schedule:
    """The plugin that picks and orders tests.

    :param config: of pytest.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.durations = shard.read_durations(Path(config.rootpath) / DURATIONS)

    @pytest.hookimpl(trylast=True)  # type: ignore[misc]
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what other shards run, or what takes too long; put the long ones first, if there
        are workers."""
        every = list(items)
        if self.config.option.budget is not None:
            short = shard.within([item.nodeid for item in items], self.durations, self.config.option.budget)
            items[:] = [item for item in items if item.nodeid in short]
        units: dict[str, list[pytest.Item]] = {}
        for item in items:
            units.setdefault(unit_of(item), []).append(item)
        if self.config.option.shard:
            units = self._mine(units)
        if "PYTEST_XDIST_WORKER" in os.environ:
            units = dict(sorted(units.items(), key=lambda unit: -self._seconds(unit[1])))
        items[:] = [item for unit in units.values() for item in unit]
        kept = set(items)
        dropped = [item for item in every if item not in kept]
        if dropped:
            self.config.hook.pytest_deselected(items=dropped)

    def _mine(self, units: dict[str, list[pytest.Item]]) -> dict[str, list[pytest.Item]]:
        """The units of this shard."""
        wanted: shard.Shard = self.config.option.shard
        names = {name: [item.nodeid for item in unit] for name, unit in units.items()}
        mine = shard.split(names, self.durations, wanted.count)[wanted.number - 1]
        return {name: unit for name, unit in units.items() if unit[0].nodeid in mine}

    def _seconds(self, unit: list[pytest.Item]) -> float:
        return sum(self.durations.get(item.nodeid, shard.UNKNOWN) for item in unit)
