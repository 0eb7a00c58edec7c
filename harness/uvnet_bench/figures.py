# SPDX-License-Identifier: BSD-3-Clause
"""Figures of several contenders, taken in turn: medians, spreads and ratios.

A machine that others share is as fast as they let it be at the moment. What is taken in the same
minute, in turn, can be compared all the same: each round gives one ratio, and the median of those is
the result. The figures themselves are this machine's of this hour.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Series:
    """One thing measured, for all contenders.

    :param title: what it is.
    :param unit: of its figures.
    :param subject: the contender the others are compared with.
    :param more_is_better: a rate; otherwise a time.
    :param aims: by contender: how many times better the subject is to be.
    :param limits: by contender: what its figure is not to exceed.
    """

    title: str
    unit: str
    subject: str
    more_is_better: bool = True
    aims: dict[str, float] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)
    rounds: list[dict[str, float]] = field(default_factory=list)

    def contenders(self) -> list[str]:
        """In the order they were measured."""
        return list(dict.fromkeys(name for figures in self.rounds for name in figures))

    def values(self, name: str) -> list[float]:
        """All figures of one contender."""
        return [figures[name] for figures in self.rounds if name in figures]

    def ratios(self, name: str) -> list[float]:
        """How many times better the subject was, round by round."""
        pairs = [(r[self.subject], r[name]) for r in self.rounds if r.get(self.subject) and r.get(name)]
        return [mine / other if self.more_is_better else other / mine for mine, other in pairs]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "title": self.title,
            "unit": self.unit,
            "more_is_better": self.more_is_better,
            "contenders": {name: self._contender(name) for name in self.contenders()},
        }

    def _contender(self, name: str) -> dict[str, Any]:
        values = self.values(name)
        out: dict[str, Any] = {
            "median": statistics.median(values),
            "min": min(values),
            "max": max(values),
            "values": values,
        }
        if name in self.limits:
            out["limit"] = self.limits[name]
        if name != self.subject and (ratios := self.ratios(name)):
            out |= {"ratio": statistics.median(ratios), "ratios": ratios, "aim": self.aims.get(name)}
        return out

    def lines(self) -> list[str]:
        """As a table."""
        out = [f"{self.title} ({self.unit}, median of {len(self.rounds)} rounds)"]
        for name in self.contenders():
            c = self._contender(name)
            line = f"  {name:<22}{c['median']:>10.2f}   {c['min']:>9.2f} .. {c['max']:<9.2f}"
            if "ratio" in c:
                verdict = ""
                if c["aim"] is not None:
                    verdict = f"  (aim {c['aim']:g}: {'met' if c['ratio'] >= c['aim'] else 'NOT met'})"
                line += f" {self.subject} is {c['ratio']:.2f} x{verdict}"
            if "limit" in c:
                line += f"  (limit {c['limit']:g}: {'kept' if c['median'] <= c['limit'] else 'NOT kept'})"
            out.append(line)
        return out


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    model = "unknown"
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
        for line in info:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"cores": os.cpu_count(), "model": model, "kernel": os.uname().release, "load": os.getloadavg()[0]}


def text(series: Sequence[Series]) -> str:
    """All tables, and the machine."""
    about = machine()
    head = f"{about['cores']} cores, {about['model']}, Linux {about['kernel']}; load at the end {about['load']:.1f}"
    return "\n\n".join([head, *("\n".join(s.lines()) for s in series)])
