# SPDX-License-Identifier: BSD-3-Clause
"""Back-traces, by gdb."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

GDB_TIMEOUT = 30.0
"""Seconds for one back-trace."""


def backtrace(target: Sequence[str]) -> str:
    """All threads of a process or core file, by gdb.

    :param target: gdb's arguments: ``-p PID``, or program and core.
    """
    if not shutil.which("gdb"):
        return "gdb is not installed\n"
    words = ["gdb", "-batch", "-nx", "-iex", "set debuginfod enabled off", "-ex", "thread apply all bt"]
    try:
        done = subprocess.run(
            [*words, *target], capture_output=True, text=True, errors="replace", timeout=GDB_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return f"gdb took longer than {GDB_TIMEOUT:g} s\n"
    return done.stdout + done.stderr
