# SPDX-License-Identifier: BSD-3-Clause
"""Waiting for conditions, with deadlines, and never for a fixed time.

Everything in the harness that must wait goes through this module, so that no scenario sleeps longer
than the thing it waits for and none waits for ever.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

FIRST_PAUSE = 0.0002
"""Seconds between the first two looks at a condition that has no descriptor to wait on."""

LONGEST_PAUSE = 0.02
"""Seconds between two looks, at most; the pause doubles from FIRST_PAUSE."""


class Timeout(AssertionError):
    """A condition did not come true before its deadline."""


class Deadline:
    """A point in time (CLOCK_MONOTONIC) that several waits share."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.at = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(0.0, self.at - time.monotonic())

    @property
    def passed(self) -> bool:
        """True once the deadline is over."""
        return time.monotonic() >= self.at


def until(
    condition: Callable[[], T | None],
    timeout: float,
    what: str | Callable[[], str] = "the condition",
) -> T:
    """Call `condition` until it returns something true, and return that.

    :param timeout: seconds; the condition is looked at once more when they are over.
    :param what: completes the sentence "waited N s for …"; a function is called only on failure.
    :raises Timeout: the deadline passed.
    """
    deadline = Deadline(timeout)
    pause = FIRST_PAUSE
    while True:
        last = deadline.passed
        value = condition()
        if value:
            return value
        if last:
            text = what if isinstance(what, str) else what()
            raise Timeout(f"waited {timeout:g} s for {text}")
        time.sleep(min(pause, deadline.left))
        pause = min(pause * 2, LONGEST_PAUSE)


def readable(fd: int, timeout: float) -> bool:
    """Wait until a descriptor is readable.

    :param timeout: seconds; 0 only looks.
    :returns: False if the time was over first.
    """
    poller = select.poll()
    poller.register(fd, select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poller.poll(max(0, int(timeout * 1000 + 0.999))))


def process_end(pid: int, timeout: float) -> bool:
    """Wait until a process (a child or not) is dead; a zombie counts as dead.

    :param timeout: seconds.
    :returns: False if it still lives when the time is over.
    """
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return readable(fd, timeout)
    finally:
        os.close(fd)
