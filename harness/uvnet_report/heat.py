# SPDX-License-Identifier: BSD-3-Clause
"""The TCP matrix (stack/lwip/tests/matrix.txt) as heat maps: what goodput is of what the wire could
carry, by speed, delay, loss, queue and algorithm; and how long requests take."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from uvnet_report.model import BadReport, Cell

HEAD = r"(?P<kind>goodput|request)\s+(?P<mbit>\d+) Mbit/s, RTT\s+(?P<rtt>\d+) us, loss\s+(?P<loss>\d+) ppm of (?P<of>\w+)"
GOODPUT = re.compile(HEAD + r", queue\s+(?P<queue>\d+), (?P<algorithm>\w+)\s*:\s+(?P<value>\d+) kbit/s,\s+\d+ again")
REQUEST = re.compile(HEAD + r": p50\s+(?P<value>\d+), p99\s+(?P<p99>\d+), p99\.9\s+\d+, worst\s+(?P<worst>\d+) us")


@dataclass
class Square:
    """A cell as it is shown."""

    text: str
    level: int
    """0 (bad) to 9 (as good as can be): its colour"""
    title: str


@dataclass
class Map:
    """One heat map."""

    title: str
    columns: list[str]
    rows: list[tuple[str, list[Square]]]


def read(path: Path) -> list[Cell]:
    """The figures of a matrix file.

    :raises BadReport: a line is none.
    """
    cells = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        found = GOODPUT.fullmatch(line) or REQUEST.fullmatch(line)
        if found is None:
            raise BadReport(f"{path}:{number}: this is no figure of the TCP matrix: {line!r}")
        word = found.groupdict()
        cells.append(
            Cell(
                kind=word["kind"],
                mbit=int(word["mbit"]),
                rtt_us=int(word["rtt"]),
                loss_ppm=int(word["loss"]),
                loss_of=word["of"],
                queue=int(word.get("queue") or 0),
                algorithm=word.get("algorithm") or "",
                value=int(word["value"]),
                p99=int(word.get("p99") or 0),
                worst=int(word.get("worst") or 0),
            )
        )
    return cells


def maps(cells: Iterable[Cell]) -> list[Map]:
    """A map for each wire, then one of the requests."""
    every = list(cells)
    goodput = [c for c in every if c.kind == "goodput"]
    requests = [c for c in every if c.kind == "request"]
    wires = dict.fromkeys((c.mbit, c.rtt_us) for c in goodput)
    found = [_goodput([c for c in goodput if (c.mbit, c.rtt_us) == wire], *wire) for wire in wires]
    return found + ([_requests(requests)] if requests else [])


def percent(ppm: int) -> str:
    """Parts per million, as percent."""
    return f"{ppm / 10_000:g} %"


def duration(us: int) -> str:
    """Microseconds, as people say them."""
    return f"{us} µs" if us < 1000 else f"{us / 1000:g} ms"


def wire_name(mbit: int, rtt_us: int) -> str:
    """A wire in words."""
    speed = f"{mbit // 1000} Gbit/s" if mbit >= 1000 else f"{mbit} Mbit/s"
    return f"{speed}, RTT {duration(rtt_us)}"


def _goodput(cells: list[Cell], mbit: int, rtt_us: int) -> Map:
    columns = dict.fromkeys((c.algorithm, c.queue) for c in cells)
    rows = dict.fromkeys((c.loss_ppm, c.loss_of) for c in cells)
    by_place = {(c.loss_ppm, c.loss_of, c.algorithm, c.queue): c for c in cells}
    lines = []
    for loss, of in rows:
        row = []
        for algorithm, queue in columns:
            cell = by_place.get((loss, of, algorithm, queue))
            row.append(_goodput_square(cell) if cell else Square("", 0, "not measured"))
        lines.append((f"{percent(loss)} of {of}" if loss else "no loss", row))
    return Map(
        f"Goodput in Mbit/s, {wire_name(mbit, rtt_us)}",
        [f"{algorithm}, queue {queue}" for algorithm, queue in columns],
        lines,
    )


def _goodput_square(cell: Cell) -> Square:
    share = cell.value / (cell.mbit * 1000)
    return Square(f"{cell.value / 1000:,.0f}" if cell.value >= 10_000 else f"{cell.value / 1000:.2f}", min(int(share * 10), 9), f"{share:.0%} of the wire")


def _requests(cells: list[Cell]) -> Map:
    wires = dict.fromkeys((c.mbit, c.rtt_us) for c in cells)
    losses = dict.fromkeys(c.loss_ppm for c in cells)
    by_place = {(c.mbit, c.rtt_us, c.loss_ppm): c for c in cells}
    lines = []
    for wire in wires:
        for name in ("p50", "p99", "worst"):
            row = []
            for loss in losses:
                cell = by_place.get((*wire, loss))
                took = 0 if cell is None else cell.value if name == "p50" else getattr(cell, name)
                slower = took / wire[1]
                level = 9 if slower <= 1.05 else 7 if slower <= 3 else 5 if slower <= 12 else 3 if slower <= 100 else 1
                row.append(Square(duration(took), level, f"{slower:.1f} round trips"))
            lines.append((f"{wire_name(*wire)}: {name}", row))
    return Map("Time of a request, by loss", [percent(loss) for loss in losses], lines)
