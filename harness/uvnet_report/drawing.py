# SPDX-License-Identifier: BSD-3-Clause
"""Drawings as inline SVG. Colours come from the page's style sheet by class, so that they follow its
light and dark modes; each drawing has a title that says in words what it shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from markupsafe import Markup

from uvnet_report.model import Frame, Network, Node, Series

NODES_MAX = 12
"""Boxes that a topology draws; the rest is a number."""

NODES_IN_ROW = 4
BOX_WIDTH, BOX_HEIGHT, BOX_GAP = 150, 66, 18
CURVES_MAX = 6
"""Curves in one plot, those with the highest peaks; as many as there are colours."""


def svg(width: float, height: float, title: str, parts: Iterable[str], kind: str) -> Markup:
    """A drawing that shrinks with the page."""
    body = "".join(parts)
    return Markup(
        f'<svg class="{kind}" viewBox="0 0 {width:g} {height:g}" style="max-width:{width:g}px" role="img">'
        f"<title>{escape(title)}</title>{body}</svg>"
    )


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """Words at a place."""
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}"{named} text-anchor="{anchor}">{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line."""
    return f'<line class="{kind}" x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"/>'


def rect(x: float, y: float, width: float, height: float, kind: str, radius: float = 0) -> str:
    """A rectangle."""
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}"/>'


def shorten(words: str, limit: int) -> str:
    """Words that fit."""
    return words if len(words) <= limit else words[: limit - 1] + "…"


# --------------------------------------------------------------------------------- topology


def topology(network: Network) -> Markup:
    """The fabric and what is attached to it."""
    shown = network.nodes[:NODES_MAX]
    per_row = min(len(shown), NODES_IN_ROW) or 1
    above = shown[: (len(shown) + 1) // 2] if len(shown) > 2 else shown
    below = shown[len(above) :]
    rows_above = [above[i : i + per_row] for i in range(0, len(above), per_row)]
    rows_below = [below[i : i + per_row] for i in range(0, len(below), per_row)]
    columns = max((len(row) for row in rows_above + rows_below), default=1)
    width = max(columns * (BOX_WIDTH + BOX_GAP) + BOX_GAP, 300)
    step = BOX_HEIGHT + BOX_GAP + 8
    switch = BOX_GAP / 2 + len(rows_above) * step
    parts: list[str] = []
    for number, row in enumerate(rows_above):
        parts += _row(row, width, BOX_GAP / 2 + number * step, switch)
    for number, row in enumerate(rows_below):
        parts += _row(row, width, switch + 26 + BOX_GAP + 8 + number * step, switch + 26)
    parts.append(rect(BOX_GAP / 2, switch, width - BOX_GAP, 26, "switch", 6))
    more = len(network.nodes) - len(shown)
    label = f"fabric {network.fabric}" + (f" (and {more} more)" if more else "")
    parts.append(text(width / 2, switch + 17, label, "on-switch", "middle"))
    height = switch + 26 + BOX_GAP / 2 + len(rows_below) * step
    names = ", ".join(f"{node.kind} {node.name}" for node in network.nodes)
    return svg(width, height, f"Topology: {names or 'nothing'} on fabric {network.fabric}", parts, "topology")


def _row(row: Sequence[Node], width: float, y: float, switch: float) -> list[str]:
    """Boxes beside each other, each with its cable."""
    left = (width - len(row) * (BOX_WIDTH + BOX_GAP) + BOX_GAP) / 2
    parts = []
    for number, node in enumerate(row):
        x = left + number * (BOX_WIDTH + BOX_GAP)
        near = y + BOX_HEIGHT if y < switch else y
        for queue in range(min(node.queues, 8)):
            at = x + BOX_WIDTH / 2 + (queue - (min(node.queues, 8) - 1) / 2) * 7
            parts.append(line(at, near, at, switch, "cable"))
        parts += _box(node, x, y)
    return parts


def _box(node: Node, x: float, y: float) -> list[str]:
    """A host or a wire."""
    queues = f", {node.queues} queues" if node.queues > 1 else ""
    runs = ", ".join(node.runs)
    return [
        rect(x, y, BOX_WIDTH, BOX_HEIGHT, f"node {node.kind}", 6),
        text(x + 9, y + 18, shorten(node.name, 20), "name"),
        text(x + 9, y + 33, shorten(f"{node.kind}{queues}", 25), "small"),
        text(x + 9, y + 46, node.ip or node.mac, "small"),
        text(x + 9, y + 59, shorten(runs, 25), "small runs"),
    ]


# --------------------------------------------------------------------------------- sequence

COLUMN_WIDTH, ARROW_HEIGHT, SEQUENCE_TOP, SEQUENCE_LEFT, SEQUENCE_RIGHT = 290, 32, 40, 150, 170
LABEL_MAX = 44
"""Characters between two lanes."""


def sequence(frames: Sequence[Frame]) -> Markup:
    """Who sent what to whom, from top to bottom."""
    ends = [f.source for f in frames] + [f.target for f in frames if f.target not in ("", "all")]
    names = list(dict.fromkeys(ends))
    place = {name: SEQUENCE_LEFT + number * COLUMN_WIDTH for number, name in enumerate(names)}
    width = SEQUENCE_LEFT + max(len(names) - 1, 1) * COLUMN_WIDTH + SEQUENCE_RIGHT
    parts: list[str] = []
    y: float = SEQUENCE_TOP
    for frame in frames:
        if frame.skipped:
            y += 24
            parts.append(text(SEQUENCE_LEFT + 8, y, f"… {frame.skipped:,} frames left out", "small"))
        y += ARROW_HEIGHT
        parts += _arrow(frame, place, y)
    lanes = []
    for name, x in place.items():
        lanes += [line(x, 30, x, y + 14, "lane"), text(x, 20, shorten(name, 24), "name", "middle")]
    lost = sum(1 for frame in frames if not frame.verdict.startswith("delivered"))
    title = f"Sequence of {len(frames)} frames between {', '.join(names)}; {lost} of them were not simply delivered"
    return svg(width, y + 22, title, lanes + parts, "sequence")


def _arrow(frame: Frame, place: dict[str, int], y: float) -> list[str]:
    """One frame: to its receiver; to all; or to nobody, which ends in a cross."""
    start = place[frame.source]
    arrived = frame.verdict.startswith("delivered")
    onward = COLUMN_WIDTH if start == SEQUENCE_LEFT else -COLUMN_WIDTH
    known = frame.target in place and frame.target != frame.source
    end = place[frame.target] if known else start + onward * 0.5
    reach = end if arrived else start + (end - start) * 0.6
    side = 1 if end > start else -1
    kind = "arrow" if arrived else "arrow lost"
    parts = [text(4, y + 3, f"{frame.time * 1000:,.3f} ms", "clock"), line(start, y, reach, y, kind)]
    if arrived:
        parts.append(f'<path class="{kind}" d="M{reach - 7 * side:g} {y - 4:g}L{reach:g} {y:g}L{reach - 7 * side:g} {y + 4:g}"/>')
    else:
        parts.append(f'<path class="{kind}" d="M{reach - 5:g} {y - 5:g}l10 10m0 -10l-10 10"/>')
    if frame.verdict != "delivered":
        at, anchor = (reach + 10 * side, "start" if side > 0 else "end") if not arrived else ((start + end) / 2, "middle")
        parts.append(text(at, y + 13, frame.verdict, "label lost", anchor))
    where = "to all: " if frame.target == "all" else ""
    anchor, at = ("start", start + 8) if side > 0 else ("end", start - 8)
    parts.append(text(at, y - 5, shorten(where + frame.text, LABEL_MAX), "label", anchor))
    return parts


# ------------------------------------------------------------------------------------- plots

PLOT_WIDTH, PLOT_HEIGHT, LEFT, BOTTOM, TOP = 510.0, 190.0, 78.0, 26.0, 12.0


def quantity(value: float, unit: str) -> str:
    """A number as people say it."""
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {letter}{unit}"
    return f"{value:.3g} {unit}"


def plot(curves: Sequence[Series], title: str, ticks: Sequence[str] = ()) -> Markup:
    """Curves; of many, those with the highest peaks.

    :param ticks: what stands below the places 0, 1, 2, … of the curves' `times`; none: they are seconds.
    """
    shown = sorted(curves, key=lambda c: -max(c.values, default=0))[:CURVES_MAX]
    peak = max((max(c.values, default=0) for c in shown), default=0) or 1.0
    last = max((c.times[-1] for c in shown if c.times), default=0) or 1.0
    height = PLOT_HEIGHT + (len(shown) + 1) // 2 * 16
    right, low = PLOT_WIDTH - 24, PLOT_HEIGHT - BOTTOM
    labels = ticks or [f"{last * share:.3g} s" for share in (0, 0.25, 0.5, 0.75, 1)]
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = low - share * (low - TOP)
        parts += [line(LEFT, y, right, y, "grid"), text(LEFT - 6, y + 4, quantity(peak * share, shown[0].unit), "small", "end")]
    for number, label in enumerate(labels):
        x = LEFT + number / max(len(labels) - 1, 1) * (right - LEFT)
        parts.append(text(x, PLOT_HEIGHT - 9, label, "small", "middle"))
    for number, curve in enumerate(shown):
        points = " ".join(
            f"{LEFT + t / last * (right - LEFT):.1f},{low - v / peak * (low - TOP):.1f}"
            for t, v in zip(curve.times, curve.values)
        )
        parts.append(f'<polyline class="curve c{number}" points="{points}"/>')
        x, y = LEFT + number % 2 * 210, PLOT_HEIGHT + 10 + number // 2 * 16
        parts += [line(x, y - 4, x + 18, y - 4, f"curve c{number}"), text(x + 24, y, shorten(curve.name, 28), "small")]
    said = "; ".join(f"{c.name}: at most {quantity(max(c.values), c.unit)}" for c in shown)
    return svg(PLOT_WIDTH, height, f"{title}. {said}", parts, "plot")


def bars(values: Sequence[int], title: str) -> Markup:
    """How packets spread over receive queues."""
    most = max(values) or 1
    height = 4.0 + len(values) * 15
    parts = []
    for number, value in enumerate(values):
        y = 2 + number * 15
        parts += [
            text(0, y + 11, f"queue {number}", "small"),
            rect(56, y + 2, max(value / most * 200, 0.5), 11, "bar"),
            text(262, y + 11, f"{value:,}", "small"),
        ]
    return svg(330, height, f"{title}: {', '.join(map(str, values))} packets by queue", parts, "bars")
