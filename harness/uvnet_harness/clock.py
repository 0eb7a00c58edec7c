# SPDX-License-Identifier: BSD-3-Clause
"""Time as a device: the clock of a fabric, which delays, uveth ports and the stack go by.

It is real until a scenario takes it over::

    with net.clock.auto():      # time passes as soon as everybody waits for it
        client.run("curl", ...)
    assert net.clock.elapsed > 60
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uvnet_harness.fabric import Fabric


class Clock:
    """The clock of a fabric. All times are seconds."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._taken = False

    def _tool(self, *words: str) -> str:
        return self._fabric.tool("clock", self._fabric.name, *words)

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = self._fabric.snapshot().data["fabric"]["clock"]
        return state

    @property
    def now(self) -> float:
        """What it shows."""
        return float(self._state()["now"]) / 1e9

    @property
    def elapsed(self) -> float:
        """Virtual time since `stop` or `auto` made it virtual; 0 if it is real."""
        return float(self._state()["elapsed"]) / 1e9

    @property
    def is_virtual(self) -> bool:
        """False: it goes as the kernel's."""
        return bool(self._state()["virtual"])

    def stop(self) -> None:
        """Virtual, and still."""
        self._taken = True
        self._tool("stop")

    def step(self, seconds: float, timeout: float = 10) -> None:
        """On by so much, to everything that falls due on the way, one after the other.

        :param timeout: seconds of real time.
        :raises FabricError: it does not get there: somebody is busy all the time.
        """
        self._tool("step", f"{round(seconds * 1e9)}ns", "--timeout", f"{timeout:g}")

    def warp(self, seconds: float) -> None:
        """On by so much, at once."""
        self._tool("warp", f"{round(seconds * 1e9)}ns")

    def run(self) -> None:
        """Virtual, and it goes by itself: whenever nobody has anything to do, to when somebody has."""
        self.stop()
        self._tool("auto", "on")

    @contextlib.contextmanager
    def auto(self) -> Iterator[Clock]:
        """`run` within the block. At its end the clock stands still."""
        self.run()
        try:
            yield self
        finally:
            self._tool("auto", "off")

    def real(self) -> None:
        """It goes as the kernel's, on from where it stands."""
        self._taken = False
        self._tool("real")

    def end(self) -> None:
        """Let time go on, so that what is to end can."""
        if self._taken and self._fabric.daemon_alive:
            self.real()
