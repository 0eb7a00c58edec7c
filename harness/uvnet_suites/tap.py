# SPDX-License-Identifier: BSD-3-Clause
"""The Test Anything Protocol, which Perl's tests speak."""

from __future__ import annotations

import re
from pathlib import Path

from uvnet_suites.base import Outcomes, Suite

LINE = re.compile(r"(?P<bad>not )?ok (?P<number>\d+)(?P<rest>.*)")
PLAN = re.compile(r"1\.\.(?P<last>\d+)(?P<rest>.*)")
SKIP = re.compile(r"#\s*skip", re.I)
TODO = re.compile(r"#\s*todo", re.I)


def outcome(line: re.Match[str]) -> str:
    """Of one test."""
    if SKIP.search(line["rest"]):
        return "skip"
    return "fail" if line["bad"] and not TODO.search(line["rest"]) else "pass"


class TapFile(Suite):
    """A file of such tests. It counts as one test, which passes if all of it was run; and each part of it that does not
    pass is one more, "NAME NUMBER"."""

    def outcomes(self, folder: Path, output: str) -> Outcomes:
        found: Outcomes = {}
        ran = 0
        last: int | None = None
        for text in output.splitlines():
            if line := LINE.fullmatch(text):
                ran += 1
                found[f"{self.name} {line['number']}"] = outcome(line)
            elif plan := PLAN.fullmatch(text):
                last = int(plan["last"])
        if last is None and not found:
            return {}
        whole = "skip" if last == 0 else "pass" if last == ran else "fail"
        return {**{test: what for test, what in found.items() if what != "pass"}, self.name: whole}

    def look_up(self, outcomes: Outcomes, test: str) -> str | None:
        """What passed is not told apart."""
        return outcomes.get(test, outcomes.get(self.name) if outcomes.get(self.name) == "pass" else None)
