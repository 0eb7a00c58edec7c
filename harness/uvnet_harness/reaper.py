# SPDX-License-Identifier: BSD-3-Clause
"""The reaper: a small process that outlives its run by a moment and removes what the run has left.

It holds the reading end of a pipe whose writing end only the run has. When the run ends, in whatever
way (SIGKILL included), the pipe reads EOF, and everything that stands in the run's journal goes. A
run that ended in order has left nothing and the reaper just exits.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# pylint: disable=wrong-import-position
from uvnet_harness import journal, wait  # noqa: E402


class Reaper:
    """Starts the reaper of this process; see the module."""

    def __init__(self) -> None:
        read_end, self._write_end = os.pipe()
        started = journal.start_time(os.getpid())
        # -S -E: it needs nothing but the standard library, and starts faster.
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-E", __file__, str(read_end), str(os.getpid()), str(started)],
            pass_fds=[read_end],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_end)

    @property
    def pid(self) -> int:
        """The reaper's pid."""
        return self._process.pid

    def close(self) -> None:
        """Let the reaper go, after the journal was closed."""
        os.close(self._write_end)
        # It waits for the end of this process, which is not yet; do not wait for it in turn.
        self._process.returncode = 0


def main() -> None:
    """`reaper.py FD PID STARTED`: wait for EOF on FD and the end of PID, then sweep."""
    fd, pid, started = map(int, sys.argv[1:4])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(fd, 64):
        pass
    # The pipe closes a moment before the process is gone; its journal counts as a leftover only then.
    if journal.alive(pid, started):  # and its number is not somebody else's by now
        wait.process_end(pid, 60)
    journal.sweep()


if __name__ == "__main__":
    main()
