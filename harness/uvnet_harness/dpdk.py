# SPDX-License-Identifier: BSD-3-Clause
"""Anybody's DPDK application as the thing under test: its ports are ports of the fabric.

The application is not told of uvnet. It gets EAL's arguments, as from any operator, and finds
ethdevs; what is wrong with it shows on the wires, in its output, in how it ends and in the ledger.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from uvnet_harness.host import App, CommandWord
from uvnet_harness.proc import Process, Result
from uvnet_harness.testpmd import driver

if TYPE_CHECKING:
    from uvnet_harness.net import Net


@dataclass(frozen=True)
class DpdkPort:
    """A port of a DPDK host: an ethdev to the application, number `number`."""

    number: int
    name: str
    """of the port in the fabric"""
    mac: str
    queues: int

    def device(self, fabric: str) -> str:
        """The argument of EAL's ``--vdev``."""
        queues = f"rxq={self.queues},txq={self.queues}"
        return f"net_uveth{self.number},fabric={fabric},name={self.name},mac={self.mac},{queues}"


class DpdkHost:
    """Where a DPDK application runs, alone. Made by ``net.dpdk()``.

    :param ports: addresses of its ports, ethdev 0 first.
    :param queues: most queues of each direction that a port can be configured with.
    :param lcores: how many the application has; all of them may run on any processor.
    :param memory: megabytes of memory, without huge pages.
    :param eal: more arguments for EAL.
    """

    patience = 1.0
    """What starts on it takes so many times as long as elsewhere."""

    def __init__(
        self,
        net: Net,
        name: str,
        ports: Sequence[str],
        *,
        queues: int = 1,
        lcores: int = 1,
        memory: int = 64,
        eal: Sequence[str] = (),
    ) -> None:
        self.net, self.name = net, name
        self.ports = [DpdkPort(n, f"{name}.{n}", mac, queues) for n, mac in enumerate(ports)]
        self.lcores, self.memory, self.eal = lcores, memory, list(eal)
        self.folder = net.folder / name
        self.folder.mkdir()
        self._current: Process | None = None

    def eal_arguments(self) -> list[str]:
        """What EAL is told: processors, memory, devices. The driver is loaded beside it."""
        cores = ",".join(str(core) for core in sorted(os.sched_getaffinity(0)))
        words = ["--lcores=" + ",".join(f"{n}@({cores})" for n in range(self.lcores))]
        words += ["--no-huge", "-m", str(self.memory), "--no-shconf", "--no-pci", "--no-telemetry"]
        for port in self.ports:
            words += ["--vdev", port.device(self.net.name)]
        return [*words, *self.eal]

    def command(self, program: CommandWord, *args: CommandWord) -> list[str]:
        """The command line that runs it: what comes before ``--`` is EAL's, `args` come after."""
        before, load = driver(self.net.build.pmd)
        words = [*before, os.fspath(program), *load, *self.eal_arguments()]
        return [*words, "--", *(os.fspath(word) for word in args)]

    def start(self, program: CommandWord, *args: CommandWord, env: Mapping[str, str] | None = None) -> App:
        """Start the application in the background, with these arguments of its own.

        ``wait_ready(log=…)`` waits for what it says when it is ready; ``wait_ready()`` until all of
        its ports are started.

        :raises NotBuilt: there is no driver; in pytest the test is then skipped.
        :raises FileNotFoundError: there is no such program.
        :raises RuntimeError: one still runs, and has the ports.
        """
        if self._current is not None and self._current.running:
            raise RuntimeError(f"{self._current} runs on {self.name}, and has its ports: stop it first")
        self.net.need_driver()
        label = f"{self.name}.{Path(os.fspath(program)).name}"
        self._current = self.net.processes.start(label, self.command(program, *args), self.folder, env=env)
        return App(self, self._current)

    def run(
        self,
        program: CommandWord,
        *args: CommandWord,
        timeout: float = 30,
        env: Mapping[str, str] | None = None,
    ) -> Result:
        """Run the application to its end.

        :param timeout: seconds, then SIGKILL.
        """
        return self.net.processes.finish(self.start(program, *args, env=env).process, timeout)

    def attached(self) -> bool:
        """True if all of its ports are attached and started."""
        snapshot = self.net.fabric.snapshot()
        found = [snapshot.port(port.name) for port in self.ports]
        return all(port is not None and port["started"] for port in found)

    def __str__(self) -> str:
        return f"DPDK host {self.name} ({len(self.ports)} ports)"
