# SPDX-License-Identifier: BSD-3-Clause
"""What steering costs, beside the two old schemes: a central forwarder that copies between isolated
processes, and a NIC's flow director alone.

Everything is measured by steer_bench (stack/share/) on a NIC that costs next to nothing, in turns of a
burst each, as medians: what else the machine does moves them little. The two ends of a way run on two
processors.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uvnet_bench.fabric import Place
from uvnet_bench.figures import Series
from uvnet_harness import journal

LIMIT_NS = 40.0
"""What steering may add to a frame."""

HOST = 8
"""Processes, and processors, of the host that is worked out from the costs of each end."""

WORK_NS = 300
"""What TCP and the socket do for a segment, at least: iperf3's 17.5 Gbit/s (docs/performance.md) are 670 ns
for all of a segment's way."""

COUNTS = {10: "10 rules", 1000: "1,000 rules", 100_000: "100,000 rules", 1_000_000: "1,000,000 rules"}
PROCESSES = (2, 4, 8, 16)
FORWARDED = ("to_holder", "to_rule", "to_listener")


@dataclass(frozen=True)
class Bench:
    """steer_bench, in a place where its processes are looked after."""

    program: Path
    place: Place
    seconds: float

    def __call__(self, what: str, **options: int) -> Any:
        words = [text for key, value in options.items() for text in (f"-{key}", str(value))]
        done = self.place.run(what, self.program, what, *words, "-t", str(self.seconds)).check()
        return json.loads(done.stdout)

    def added(self, **options: int) -> dict[str, float]:
        """What steering adds to a frame, ns, by how it is decided."""
        cost: dict[str, float] = self("cost", **options)
        return {name: cost[name] - cost["plain"] for name in cost if not name.startswith("plain")}


ANSWERED = "_answered"
"""Of an end's name: what it costs when each frame has an answer."""


def rates(ends: dict[str, list[float]]) -> dict[str, float]:
    """Frames that one receiving processor brings to where they belong, millions per second: an end that
    is slower than the other holds it up."""
    return {name: 1000 / max(costs) for name, costs in ends.items()}


def of_exchanges(ends: dict[str, list[float]]) -> dict[str, list[float]]:
    """What frames with an answer cost."""
    return {name.removesuffix(ANSWERED): costs for name, costs in ends.items() if name.endswith(ANSWERED)}


def of_frames(ends: dict[str, list[float]]) -> dict[str, list[float]]:
    """What frames cost that come in."""
    return {name: costs for name, costs in ends.items() if not name.endswith(ANSWERED)}


def flow_rates(ends: dict[str, list[float]]) -> dict[str, float]:
    """Segments per second of a flow whose owner has more to do with them than to read a header."""
    receiver, owner = ends["forwarded"]
    return {
        "direct": 1000 / (ends["direct"][0] + WORK_NS),
        "forwarded": 1000 / max(receiver, owner + WORK_NS),
    }


def host_rates(ends: dict[str, list[float]]) -> dict[str, float]:
    """Frames, or exchanges, of a whole host, with a process on each processor: the central forwarder takes
    one of them and is in the way of all; otherwise each receives for itself, and forwards what is not its
    own."""
    away = (HOST - 1) / HOST
    spread = (1 - away) * ends["direct"][0] + away * sum(ends["forwarded"])
    found = {
        "all come home": 1000 * HOST / ends["direct"][0],
        "spread at random": 1000 * HOST / spread,
        "central": 1000 * min(1 / ends["central"][0], (HOST - 1) / ends["central"][1]),
    }
    if "hardware" in ends:
        found["flow director alone"] = 1000 * HOST / ends["hardware"][0]
    return found


@dataclass(frozen=True)
class Ways:
    """The ways from a NIC to a process, for frames of one size."""

    one: Series
    exchanges: Series
    flow: Series
    host: Series
    host_exchanges: Series

    @classmethod
    def of(cls, size: int) -> Ways:
        """Nothing measured yet.

        :param size: bytes of a frame.
        """
        about, all_of_them = f"{size:,} B frames", f"{HOST} processes on {HOST} processors, worked out"
        aims = {"central": 5.0}
        return cls(
            one=Series(f"{about}, one receiver", "Mpps", "forwarded", aims=aims),
            exchanges=Series(f"{about}, each answered, one receiver", "M/s", "forwarded", aims=aims),
            flow=Series(f"{about} of a flow, {WORK_NS} ns of TCP each", "Mpps", "forwarded", aims={"direct": 0.8}),
            host=Series(f"{about}, {all_of_them}", "Mpps", "spread at random", aims=aims),
            host_exchanges=Series(f"{about}, each answered, {all_of_them}", "M/s", "spread at random", aims=aims),
        )

    @property
    def series(self) -> list[Series]:
        """All of them."""
        return [self.one, self.exchanges, self.flow, self.host, self.host_exchanges]

    def add(self, ends: dict[str, list[float]]) -> None:
        """A round.

        :param ends: ns of a frame at the receiver and at the owner, by way.
        """
        frames, exchanges = of_frames(ends), of_exchanges(ends)
        self.one.rounds.append(rates(frames))
        self.exchanges.rounds.append(rates(exchanges))
        self.flow.rounds.append(flow_rates(frames))
        self.host.rounds.append(host_rates(frames))
        self.host_exchanges.rounds.append(host_rates(exchanges))


def run(
    build: Path, rounds: int, seconds: float, book: journal.Journal, say: Callable[[str], None]
) -> list[Series]:
    """All of it; parameters as of `fabric.run`."""
    limits = {name: LIMIT_NS for name in ("own", "own_shared", *FORWARDED)}
    added = Series("added to a frame, 2 processes, 1,000 rules", "ns", "own", more_is_better=False, limits=limits)
    processes = Series("added to a frame of our own on a shared port, by processes", "ns", "2", more_is_better=False)
    rules = Series("added to a frame forwarded by a rule, by rules", "ns", COUNTS[10], more_is_better=False)
    lookups = {
        n: Series(f"a rule looked up, of {COUNTS[n]}", "ns", "uvnet", more_is_better=False, aims={"rte_hash": 1})
        for n in COUNTS
    }
    ways = {size: Ways.of(size) for size in (64, 1514)}
    with journal.folder(book, "uvbench-") as folder:
        bench = Bench(build / "stack" / "share" / "steer_bench", Place(book, folder), seconds / 4)
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            added.rounds.append(bench.added(p=2, r=1000))
            processes.rounds.append({str(p): bench.added(p=p, r=1000)["own_shared"] for p in PROCESSES})
            rules.rounds.append({label: bench.added(p=2, r=n)["to_rule"] for n, label in COUNTS.items()})
            for n, series in lookups.items():
                series.rounds.append(bench("lookup", r=n))
            for size, way in ways.items():
                way.add(bench("rate", s=size))
    return [added, processes, rules, *lookups.values(), *(series for way in ways.values() for series in way.series)]
