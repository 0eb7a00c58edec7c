# SPDX-License-Identifier: BSD-3-Clause
"""Hosts: a network card, a stack and the applications that run on it, one at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from uvnet_harness import nics, wait
from uvnet_harness.proc import GRACE, Process, Result
from uvnet_harness.rss import Rss
from uvnet_harness.stats import Stats

if TYPE_CHECKING:
    from uvnet_harness.net import Net

CommandWord = str | os.PathLike[str]


class AppHost(Protocol):
    """What applications run on."""

    net: Net

    @property
    def patience(self) -> float:
        """What starts on it takes so many times as long as elsewhere."""

    def attached(self) -> bool:
        """True if its ports are attached and started."""


@runtime_checkable
class Addressed(AppHost, Protocol):
    """A host with a TCP/IP stack."""

    ip: str
    mac: str


class App:
    """An application in the background on a host."""

    def __init__(self, host: AppHost, process: Process) -> None:
        self.host = host
        self.process = process

    @property
    def pid(self) -> int:
        """Its pid."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """True while it has not ended."""
        return self.process.running

    @property
    def stdout(self) -> str:
        """What it has written to its standard output so far."""
        return self.process.stdout

    @property
    def stderr(self) -> str:
        """What it has written to its standard error so far."""
        return self.process.stderr

    def wait_ready(
        self,
        *,
        port: int | None = None,
        log: str | None = None,
        condition: Callable[[], object] | None = None,
        timeout: float = 15,
    ) -> App:
        """Wait until it is ready for the scenario; with no argument, until its network port is up.

        :param port: a TCP port answers a SYN with SYN/ACK (asked from the fabric; the half-open
            connection is reset, so the application does not see it).
        :param log: a regular expression in what it prints.
        :param condition: any other sign.
        :param timeout: seconds for all together; more where the host runs on an emulated processor.
        :returns: itself.
        :raises wait.Timeout: the time is over.
        :raises ProcessFailed: it ended first.
        """
        deadline = wait.Deadline(timeout * self.host.patience)
        if log is not None:
            self.process.wait_output(log, deadline.left)
        else:
            self.process.wait_ready(self.host.attached, deadline.left)
        if port is not None:
            self._wait_listening(port, deadline.left)
        if condition is not None:
            self.process.wait_ready(condition, deadline.left)
        return self

    def wait_port(self, port: int, timeout: float = 15) -> App:
        """Wait until it listens on a TCP port; see `wait_ready`."""
        return self.wait_ready(port=port, timeout=timeout)

    def _wait_listening(self, port: int, timeout: float) -> None:
        if not isinstance(self.host, Addressed):
            raise ValueError(f"{self.host} has no address to ask: wait for log= or condition=")
        host: Addressed = self.host
        with host.net.probe() as probe:
            self.process.wait_ready(lambda: probe.tcp_listens(host, port), timeout)

    def wait(self, timeout: float = 30) -> int:
        """Wait for its end.

        :returns: exit status, or negative number of the signal that killed it.
        """
        return self.process.wait(timeout)

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL it (and its children) and wait until it is gone. Its port is then reclaimed by the
        daemon; see `Fabric.wait_no_port`."""
        self.process.kill()

    def stop(self, grace: float = GRACE) -> int:
        """SIGTERM it, SIGKILL after `grace` seconds; wait until it is gone.

        :returns: exit status, or negative number of the signal that ended it.
        """
        return self.process.stop(grace=grace)

    def __str__(self) -> str:
        return str(self.process)


SEVERAL = "several"
"""In place of a thread model: ``separate`` with a stack for each queue, and two at least."""


def models(queues: int, config: Mapping[str, str | int]) -> dict[str, str | int]:
    """What a host's configuration says of queues, stacks and who runs them."""
    if config.get("model") != SEVERAL:
        return {"queues": queues}
    stacks = max(2, queues)
    return {"model": "separate", "queues": stacks, "stacks": stacks}


class Host:
    """A host on the fabric. Made by ``net.host()``.

    A host has its port to itself: one command at a time, each attaching the port anew. Use several
    hosts for several applications at once.
    """

    def __init__(
        self, net: Net, name: str, number: int, queues: int, ipv6: bool, config: Mapping[str, str | int]
    ) -> None:
        self.net, self.name = net, name
        running = models(queues, config)
        self.queues = int(running["queues"])
        self.ip: str = net.addresses.ip(number)
        self.mac: str = net.addresses.mac(number)
        self.ip6 = net.addresses.ip6(number) if ipv6 else None
        self.link_local = net.addresses.link_local(number) if ipv6 else None
        self.folder = net.folder / name
        self.folder.mkdir()
        self.config_path = self.folder / "uvnet.conf"
        self.log_path = self.folder / "stack.log"
        self.stats_path = self.folder / "stats.json"
        self._current: Process | None = None
        self.card: nics.Card = nics.card(net, self)
        self.settings: dict[str, str | int] = {
            **self.card.config(),
            "address": f"{self.ip}/{net.addresses.prefix_len}",
            **({"address6": f"{self.ip6}/64"} if ipv6 else {}),
            "log_file": str(self.log_path),
            "stats_file": str(self.stats_path),
            **config,
            **running,
        }
        self._write_config()

    def _write_config(self) -> None:
        lines = [f"# host {self.name} of {self.net.test_id}"]
        lines += [f"{key} = {value}" for key, value in self.settings.items()]
        self.config_path.write_text("\n".join(lines) + "\n")

    @property
    def patience(self) -> float:
        """What starts on it takes so many times as long."""
        return self.card.patience

    def wait_gone(self) -> None:
        """After a kill: wait until its network card can be used again."""
        self.card.wait_gone()

    def need(self, queues: int = 1, rss: str | None = None, fragments: bool = False) -> None:
        """What a scenario needs of the host's network card, and of its cable; see `Facts.lacks`.

        :param fragments: they arrive as they were sent.
        :raises NotPossible: it is not so; in pytest the test is then skipped.
        """
        from uvnet_harness.net import NotPossible

        problem = self.card.facts().lacks(queues, rss)
        if fragments and self.card.reassembles:
            problem = "the cable is a kernel's interface, which net_af_packet asks to reassemble fragments"
        if problem:
            raise NotPossible(problem)

    @property
    def rss(self) -> Rss:
        """What its port is configured with by default, for predictions."""
        return self.card.rss()

    def command(self, *words: CommandWord, set: Mapping[str, str | int] | None = None) -> list[str]:
        """The command line that runs `words` on this host."""
        line = [*self.card.prefix(), str(self.net.build.uvrun), "--config", str(self.config_path)]
        for key, value in (set or {}).items():
            line += ["--set", f"{key}={value}"]
        return [*line, "--", *(os.fspath(word) for word in words)]

    def run(
        self,
        *words: CommandWord,
        timeout: float = 30,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        set: Mapping[str, str | int] | None = None,
    ) -> Result:
        """Run a command on the host to its end.

        :param timeout: seconds, then SIGKILL.
        :param set: configuration of this command alone.
        """
        app = self.start(*words, env=env, stdin=stdin, set=set)
        return self.net.processes.finish(app.process, timeout)

    def start(
        self,
        *words: CommandWord,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        set: Mapping[str, str | int] | None = None,
    ) -> App:
        """Start a command on the host in the background.

        :raises RuntimeError: another one still runs on this host.
        """
        if self._current is not None and self._current.running:
            raise RuntimeError(
                f"{self._current} runs on host {self.name}, and a host has its port to itself: "
                "stop it, or use another host"
            )
        self.net.need_stack()
        app = self._launch(words, env, stdin, set)
        self._current = app.process
        return app

    def _launch(
        self,
        words: Sequence[CommandWord],
        env: Mapping[str, str] | None,
        stdin: bytes | None,
        set: Mapping[str, str | int] | None,
    ) -> App:
        label = f"{self.name}.{Path(os.fspath(words[0])).name}"
        line = self.command(*words, set=set)
        return App(self, self.net.processes.start(label, line, self.folder, env=env, stdin=stdin))

    def attached(self) -> bool:
        """True if its port is attached and started."""
        return self.card.attached()

    @property
    def pid(self) -> int:
        """Pid of what runs on it.

        :raises RuntimeError: nothing does.
        """
        if self._current is None or not self._current.running:
            raise RuntimeError(f"nothing runs on host {self.name}")
        return self._current.pid

    @property
    def log(self) -> str:
        """The stack's log on this host."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def stats(self) -> Stats:
        """The stack's counters, as the last command that ended in order has left them.

        :raises FileNotFoundError: none has.
        """
        return Stats.read(self.stats_path, self.net.build.uvstack)

    def asserted(self) -> bool:
        """True if an assertion of lwIP failed in the last command that ended in order."""
        return self.stats_path.exists() and self.stats()["loop.asserts"] > 0

    def __str__(self) -> str:
        return f"host {self.name} ({self.ip})"

