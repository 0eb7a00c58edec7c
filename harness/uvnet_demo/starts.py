# SPDX-License-Identifier: BSD-3-Clause
"""Processes of a shared host start and end, one after the other, every second one killed: how long attaching and
reclaiming take, and that nothing grows."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from uvnet_harness import Net, wait
from uvnet_harness.shared import SharedHost

SCRIPT = "import os, socket, sys; s = socket.socket(); s.bind((sys.argv[1], 0)); s.listen()"
KILLED = "; os.kill(os.getpid(), 9)"
WARM_UP = 4
"""Starts before anything is noted: the first ones fill what is kept."""
RESIDENT_KB = 512
"""What the manager may have grown by: the C library's own."""


@dataclass
class Starts:
    """What was seen."""

    number: int
    status: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        def span(name: str) -> str:
            p50, p99 = (self.status[f"{name}_p{p}_us"] / 1000 for p in (50, 99))
            return f"{name} p50 {p50:.1f} ms, p99 {p99:.1f} ms"

        grown = "nothing has grown" if not self.wrong else f"{len(self.wrong)} wrong"
        return f"{self.number} starts, every second one killed: {span('attach')}; {span('reclaim')}; {grown}"


def _resident_kb(host: SharedHost) -> int:
    text = Path(f"/proc/{host.manager.pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS:"))


def _start(host: SharedHost, killed: bool) -> None:
    app = host.start("/usr/bin/python3", "-S", "-E", "-c", SCRIPT + (KILLED if killed else ""), host.ip)
    app.wait()
    app.kill()
    host.apps.remove(app)


def run(net: Net, number: int) -> Starts:
    """So many starts on a host of their own."""
    host = net.shared_host("starts", queues=2)
    for turn in range(WARM_UP):
        _start(host, killed=turn % 2 == 1)
    wait.until(lambda: host.show("ps") == [], 5, "the last process to be gone")
    resident = _resident_kb(host)
    before = host.footprint()
    for turn in range(number):
        _start(host, killed=turn % 2 == 1)
    wait.until(lambda: host.show("ps") == [], 5, "the last process to be gone")
    host.assert_clean()
    found = Starts(number, host.show("status")[0])
    try:
        wait.until(lambda: not host.grown(before), 5, "nothing to have grown")
    except wait.Timeout:
        found.wrong = host.grown(before)
    if _resident_kb(host) > resident + RESIDENT_KB:
        found.wrong.append(f"the manager: {resident} kB at first, {_resident_kb(host)} in the end")
    return found
