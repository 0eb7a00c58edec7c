# SPDX-License-Identifier: BSD-3-Clause
"""Run a command in the virtual machine, as if it ran here.

    run.py FOLDER -- COMMAND [ARGUMENT…]

FOLDER is that of the machine. Environment, working directory, standard input (if it is a file), output
and signals are passed on; the exit status, or the signal it died of, is the command's. A SIGKILL to
this process kills the command.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import signal
import socket
import stat
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
BUSY_LIMIT = 30.0
"""Seconds to wait for a free port of the agent."""


def connect(folder: Path) -> socket.socket:
    """A port of the agent that nobody else uses. The lock goes with this process."""
    deadline = time.monotonic() + BUSY_LIMIT
    while time.monotonic() < deadline:
        for path in sorted(folder.glob("agent.?")):
            lock = os.open(folder / f"{path.name}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            port = socket.socket(socket.AF_UNIX)
            port.connect(str(path))
            return port
        time.sleep(0.05)
    sys.exit(f"{folder}: no port of the machine's agent was free for {BUSY_LIMIT:g} s")


def standard_input() -> str | None:
    """What is in the file that is standard input; None: it is no file."""
    if not stat.S_ISREG(os.fstat(0).st_mode):
        return None
    with open(0, "rb", closefd=False) as file:
        return base64.b64encode(file.read()).decode()


def answers(port: socket.socket, session: str) -> Iterator[dict[str, Any]]:
    """What the agent says in this session."""
    with port.makefile("rb") as lines:
        for line in lines:
            try:
                answer = json.loads(line)
            except ValueError:
                continue  # the rest of what was said to somebody else
            if answer["session"] == session:
                yield answer


def end(status: int) -> None:
    """End as the command did."""
    sys.stdout.flush()
    if status >= 0:
        os._exit(status)
    if -status != signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)


def main() -> None:
    """Start it and stay until it ends."""
    folder, words = Path(sys.argv[1]), sys.argv[3:]
    port, session = connect(folder), uuid.uuid4().hex

    def say(**what: Any) -> None:
        port.sendall(json.dumps({"session": session, **what}).encode() + b"\n")

    request = {"argv": words, "env": dict(os.environ), "cwd": os.getcwd()}
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    say(**request, stdin=standard_input())
    for number in FORWARDED:
        signal.signal(number, lambda got, _: say(signal=got))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    for answer in answers(port, session):
        if "exit" in answer:
            end(answer["exit"])
        for fd, stream in ((1, "out"), (2, "err")):
            os.write(fd, base64.b64decode(answer.get(stream, "")))
    sys.exit(f"{folder}: the machine is gone")


if __name__ == "__main__":
    main()
