# SPDX-License-Identifier: BSD-3-Clause
"""redis's tests: clients in Tcl that start servers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from uvnet_suites.base import Outcomes, Suite, lay_out, replace, sources

UNITS = (
    "protocol", "quit", "auth", "querybuf", "limits", "pendingquerybuf", "introspection-2", "tracking",
    "multi", "pubsub", "pubsubshard", "info", "info-command", "keyspace", "scan", "slowlog", "pause",
    "obuf-limits", "client-eviction", "expire", "other", "replybufsize", "type/string", "type/incr", "type/list",
    "type/hash", "type/set",
)  # fmt: skip
"""Those of one server, but for what is about memory, persistence and scripts, and for those that want 127.0.0.2, the
machine's other addresses and ports taken at 127.0.0.1 (networking, introspection)."""

PORTS = 300

AS_IF_LOCAL = "protected-mode no\nenable-protected-configs yes\nenable-debug-command yes\nenable-module-command yes\n"
"""What redis lets clients at 127.0.0.1 do."""

LINE = re.compile(r"\[(?P<what>ok|err|exception|skip|ignore|timeout)\]: (?P<name>.*?)(?: \(\d+ ms\))?(?: in tests/.*)?$")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
OUTCOME = {"ok": "pass", "skip": "skip", "ignore": "skip"}


class Redis(Suite):
    """A unit, with the distribution's redis."""

    suite = "redis"
    several_processes = True

    def prepare(self, folder: Path, address: str) -> None:
        lay_out(sources("redis"), folder, ["tests"])
        (folder / "src").mkdir()
        for program in ("redis-server", "redis-cli", "redis-benchmark"):
            (folder / "src" / program).symlink_to(f"/usr/bin/{program}")
        if address != "127.0.0.1":  # what the clients and their master say to each other stays the kernel's
            replace(folder / "tests" / "test_helper.tcl", "set ::host 127.0.0.1", f"set ::host {address}")
            for name in ("default.conf", "minimal.conf"):
                config = folder / "tests" / "assets" / name
                text = config.read_text().replace("bind 127.0.0.1", f"bind {address}")
                config.write_text(f"{text}\n{AS_IF_LOCAL}")
            replace(folder / "tests" / "support" / "redis.tcl", "{server 127.0.0.1}", f"{{server {address}}}")

    def command(self, folder: Path, tests: Iterable[str]) -> list[str]:
        base = 21111 + PORTS * UNITS.index(self.name)  # units run beside each other
        words = ["/usr/bin/tclsh", "tests/test_helper.tcl", "--single", f"unit/{self.name}", "--clients", "1",
                 "--baseport", str(base), "--portcount", str(PORTS - 40)]  # fmt: skip
        for test in tests:
            words += ["--only", test]
        return words

    def outcomes(self, folder: Path, output: str) -> Outcomes:
        found: Outcomes = {}
        for text in COLOURS.sub("", output).splitlines():
            if line := LINE.match(text):
                name = line["name"]
                if line["what"] in ("skip", "ignore"):
                    name = name.partition(": ")[0]  # what follows is the reason
                found[name] = OUTCOME.get(line["what"], "fail")
        return found

    @staticmethod
    def all() -> list[Suite]:
        """The units."""
        sources("redis")
        return [Redis(unit, 300) for unit in UNITS]
