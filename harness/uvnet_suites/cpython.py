# SPDX-License-Identifier: BSD-3-Clause
"""CPython's own tests (libpython3.11-testsuite)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from pathlib import Path

from uvnet_suites.base import Outcomes, Suite

PYTHON = "/usr/bin/python3"


class CPython(Suite):
    """A module of CPython's own tests."""

    suite = "cpython"

    def __init__(self, module: str, timeout: float = 600, patterns: Sequence[str] = ()) -> None:
        super().__init__(module, timeout)
        self.patterns = list(patterns)

    def command(self, folder: Path, tests: Iterable[str]) -> list[str]:
        words = [PYTHON, "-m", "test", "-u", "network", "--junit-xml", str(folder / "report"), "-i", "*VSOCK*"]
        for pattern in list(tests) or self.patterns:
            words += ["-m", pattern]
        return [*words, self.name]

    def outcomes(self, folder: Path, output: str) -> Outcomes:
        report = folder / "report"
        if not report.exists():
            return {}
        found: Outcomes = {}
        for case in ET.parse(report).getroot().iter("testcase"):
            # A failure of a class's or a module's setUp has the name "setUpClass (test.…)".
            name = case.get("name", "?")
            bad = case.find("failure") is not None or case.find("error") is not None
            skipped = case.find("skipped") is not None or case.get("result") == "skipped"
            found[name] = "fail" if bad else "skip" if skipped else "pass"
        return found
