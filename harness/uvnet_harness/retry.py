# SPDX-License-Identifier: BSD-3-Clause
"""--retry: what fails is run once more, and is called flaky if it then passes.

(pytest-rerunfailures forgets the fixtures of modules and of the session when it runs a test again:
they would never be ended.)
"""

from __future__ import annotations

import pytest
from _pytest.runner import runtestprotocol
from _pytest.terminal import TerminalReporter

ATTEMPTS = 2
"""How often a test is run at most."""

AGAIN = "rerun"
"""Outcome of the report of a failure that is followed by another attempt."""

_attempt = pytest.StashKey[int]()


def attempt(item: pytest.Item) -> int:
    """Which attempt this is, from 1."""
    return item.stash.get(_attempt, 1)


def worth_retrying(reports: list[pytest.TestReport]) -> bool:
    """True for a failure, unless it took all the time that the test had: there is none left."""
    failed = [report for report in reports if report.failed]
    return bool(failed) and not any("Timeout >" in report.longreprtext for report in failed)


class Retry:
    """The plugin of a run with --retry."""

    @pytest.hookimpl(tryfirst=True)  # type: ignore[misc]
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """Run a test, up to `ATTEMPTS` times."""
        for number in range(1, ATTEMPTS + 1):
            item.stash[_attempt] = number
            item.user_properties.clear()  # what an earlier attempt has noted
            item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            reports = runtestprotocol(item, log=False, nextitem=nextitem)
            again = number < ATTEMPTS and worth_retrying(reports)
            for report in reports:
                if again and report.failed:
                    report.outcome = AGAIN  # type: ignore[assignment]
                if not again or report.outcome == AGAIN:
                    item.ihook.pytest_runtest_logreport(report=report)
            item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
            if not again:
                break
        return True

    def pytest_report_teststatus(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> tuple[str, str, str] | None:
        """An attempt that failed and is followed by another one."""
        return ("run again", "R", "FAILED, AGAIN") if str(report.outcome) == AGAIN else None

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """Name the flakes: those that did not fail in the end."""
        stats = terminalreporter.stats
        lost = {report.nodeid for kind in ("failed", "error") for report in stats.get(kind, [])}
        for report in stats.get("run again", []):
            if report.nodeid not in lost:
                terminalreporter.write_line(f"FLAKY {report.nodeid}")
