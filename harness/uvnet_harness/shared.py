# SPDX-License-Identifier: BSD-3-Clause
"""Shared hosts: one network card and one address, a manager, and any number of applications at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uvnet_harness import wait
from uvnet_harness.eal import EalGroup
from uvnet_harness.fabric import numbers
from uvnet_harness.host import App, CommandWord, Host
from uvnet_harness.proc import Process

if TYPE_CHECKING:
    from uvnet_harness.net import Net

MEGABYTES = 64
"""Huge pages a shared host takes with the settings below."""

DEFAULTS = {"slots": 4, "mbufs": 2048, "connections": 1024}


class SharedHost(Host):
    """A host whose network card belongs to a manager, ``uvstackd``, and whose applications share it.

    Made by ``net.host(shared=True)``. The manager starts with the host; each `run` and `start` is one
    more process beside those that run already.
    """

    def __init__(
        self, net: Net, name: str, number: int, queues: int, ipv6: bool, config: Mapping[str, str | int]
    ) -> None:
        net.need_stack()
        self.group = EalGroup(net, MEGABYTES)
        self.directory = self.group.folder / "stack"
        shared: dict[str, str | int] = {
            "mode": "shared",
            "host": str(self.directory),
            "huge_dir": str(self.group.folder / "huge"),
            **DEFAULTS,
        }
        super().__init__(net, name, number, queues, ipv6, {**shared, **config})
        self.settings["stats_file"] = str(self.folder / "stats-%p.json")
        self._write_config()
        self.apps: list[App] = []
        self.manager = self._start_manager()

    def _start_manager(self) -> Process:
        words = [*self.card.prefix(), *self.group.words, str(self.net.build.uvstackd), "--config", str(self.config_path)]
        manager = self.net.processes.start(f"{self.name}.uvstackd", words, self.folder, env=self.group.env)
        manager.wait_ready(lambda: self.ask("status").ok, 15)
        return manager

    def restart_manager(self) -> None:
        """Start the manager again after it has ended or was killed."""
        self.manager = self._start_manager()

    def command(self, *words: CommandWord, set: Mapping[str, str | int] | None = None) -> list[str]:
        """The command line that runs `words` on this host."""
        # The group's mount name space does not know the card's network name space: into that first.
        prefix = self.card.prefix()
        return [*prefix, *self.group.words, *super().command(*words, set=set)[len(prefix) :]]

    def start(
        self,
        *words: CommandWord,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        set: Mapping[str, str | int] | None = None,
    ) -> App:
        """Start one more command on the host in the background."""
        app = self._launch(words, {**self.group.env, **(env or {})}, stdin, set)
        self.apps.append(app)
        return app

    def tool(self, *words: str) -> str:
        """Run ``uvstack`` on the host.

        :returns: what it printed.
        :raises AssertionError: its exit status was not 0.
        """
        result = self.ask(*words)
        assert result.ok, f"uvstack {' '.join(words)}: {result}"
        return str(result.stdout)

    def ask(self, *words: str) -> Any:
        """Run ``uvstack`` on the host to its end, whatever that is."""
        line = [str(self.net.build.uvstack), "--host", str(self.directory), *words]
        return self.net.processes.run("uvstack", line, self.folder, timeout=10)

    def show(self, what: str, table: str | None = None) -> list[dict[str, Any]]:
        """A table of ``uvstack``, the first one that it shows unless named; a dictionary a row."""
        tables = json.loads(self.tool("--json", what))
        rows: list[dict[str, Any]] = tables[table] if table else next(iter(tables.values()))
        return rows

    def slots_of(self, app: App) -> list[dict[str, Any]]:
        """The slots that an application has now."""
        return [row for row in self.show("queues") if row["pid"] == app.pid]

    def footprint(self) -> dict[str, int]:
        """How much there is of all that processes which are gone could have left behind: DPDK's heap and
        files, slots, the manager's descriptors (with those of who asked it last), entries of the host's and of
        DPDK's directories."""
        status = self.show("status")[0]
        manager = Path(f"/proc/{self.manager.pid}")
        folder = manager / "root" / str(self.group.folder).lstrip("/")  # with its hugetlbfs
        return {
            **{key: int(status[key]) for key in ("heap", "files")},
            "slots": int(status["slots"]) - int(status["free"]),
            "descriptors": len(list((manager / "fd").iterdir())),
            "entries": len(list(folder.rglob("*"))),
        }

    def grown(self, before: Mapping[str, int]) -> list[str]:
        """What there is more of than there was."""
        now = self.footprint()
        return [f"{what}: {before[what]} at first, {now[what]} now" for what in before if now[what] > before[what]]

    def asserted(self) -> bool:
        """True if an assertion of lwIP failed in a command that ended in order."""
        return any(
            dict(numbers("", json.loads(path.read_text()))).get("loop.asserts", 0) > 0
            for path in self.folder.glob("stats-*.json")
        )

    def assert_clean(self, timeout: float = 5) -> None:
        """Wait until every buffer of the host is in exactly one place.

        :raises AssertionError: it does not come to that; with the ledger.
        """
        last = self.ask("ledger")

        def clean() -> bool:
            nonlocal last
            last = self.ask("ledger")
            return bool(last.ok)

        try:
            wait.until(clean, timeout, "a clean ledger")
        except wait.Timeout:
            raise AssertionError(f"the ledger of host {self.name} is not clean:\n{last.stdout}") from None

    def close(self) -> None:
        """Stop its applications, look at its ledger, and stop the manager."""
        for app in reversed(self.apps):
            app.stop()
        if self.manager.running:
            self.assert_clean()
            self.manager.stop()
