# SPDX-License-Identifier: BSD-3-Clause
"""Waiting with deadlines."""

import os
import subprocess
import time

import pytest

from uvnet_harness import wait


def test_until_returns_the_condition_s_value():
    values = iter([None, 0, "", "ready"])
    assert wait.until(lambda: next(values), 5) == "ready"


def test_until_looks_once_more_at_the_deadline():
    looks = []
    with pytest.raises(wait.Timeout, match=r"waited 0 s for the moon"):
        wait.until(lambda: looks.append(1), 0, "the moon")
    assert len(looks) == 1


def test_until_builds_its_message_only_on_failure():
    with pytest.raises(wait.Timeout, match="built late"):
        wait.until(lambda: False, 0.01, lambda: "built late")
    assert wait.until(lambda: True, 0, lambda: pytest.fail("built for nothing"))


def test_deadline_does_not_go_below_zero():
    assert wait.Deadline(-1).left == 0
    assert wait.Deadline(-1).passed


def test_readable_wakes_at_once():
    read_end, write_end = os.pipe()
    try:
        assert not wait.readable(read_end, 0)
        os.write(write_end, b"x")
        assert wait.readable(read_end, 60)
    finally:
        os.close(read_end)
        os.close(write_end)


def test_process_end_is_seen_at_once():
    with subprocess.Popen(["sleep", "60"]) as process:
        assert not wait.process_end(process.pid, 0)
        process.kill()
        started = time.monotonic()
        assert wait.process_end(process.pid, 60)
        assert time.monotonic() - started < 30
    assert wait.process_end(process.pid, 0)
