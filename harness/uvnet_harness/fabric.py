# SPDX-License-Identifier: BSD-3-Clause
"""The fabric of a test: raise it, look at it, hurt its daemon, take it down."""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from uvnet_harness import journal, uvb, wait
from uvnet_harness.proc import Process, Processes, freeze
from uvnet_report.capture import records

CONTROL_TIMEOUT = 20.0
"""Seconds that any command to the daemon may take."""

GAUGES = frozenset(
    {
        "fabric.daemon.pid",
        "fabric.epoch",
        "fabric.abi",
        "fabric.reclaim_ns_max",
        "fabric.clock.now",
        "fabric.clock.elapsed",
        "ledger.free",
        "ledger.in_flight",
        "ledger.cells",
    }
)
"""Numbers in a snapshot that are not counters: a difference leaves them out."""


class FabricError(AssertionError):
    """A fabric command failed."""


class Build:
    """Where the built programs are.

    :param directory: the build directory.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.uvbridge = directory / "uvbridge" / "uvbridge"
        self.uvbridged = directory / "uvbridge" / "uvbridged"
        self.libuvbridge = directory / "uvbridge" / "libuvbridge.so"
        self.pmd = directory / "uveth" / "librte_net_uveth.so"
        self.uvrun = directory / "stack" / "uvrun"
        self.libuvstack = directory / "stack" / "libuvstack.so"
        self.uvstackd = directory / "stack" / "uvstackd"
        self.uvstack = directory / "stack" / "uvstack"
        self.echo = directory / "harness" / "bench" / "uvnet_echo"

    def missing(self, *programs: Path) -> str | None:
        """A sentence about those that are not built, or None."""
        absent = [str(p.relative_to(self.directory)) for p in programs if not p.exists()]
        if not absent:
            return None
        return f"not built in {self.directory}: {', '.join(absent)} (run ninja -C {self.directory})"

    def library(self) -> uvb.Library:
        """libuvbridge, loaded."""
        return uvb.Library.load(self.libuvbridge)


class Snapshot:
    """The state of the fabric at one moment, as `uvbridge show --json` has it.

    Counters are reached by dotted names, ports, queues and VOQs by their own names:
    ``port.web.rx_packets``, ``port.web.drops.mac_filter``, ``port.web.rxq.0.packets``,
    ``voq.web.0.load.2.full``, ``pair.web.0.load.drops.oversize``, ``ledger.leaked``.
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data
        self.values: dict[str, int] = dict(self._flatten())

    def _flatten(self) -> Iterator[tuple[str, int]]:
        yield from numbers("fabric", self.data.get("fabric", {}))
        yield from numbers("ledger", self.data.get("ledger", {}))
        names = {port["id"]: port["name"] or f"#{port['id']}" for port in self.data.get("ports", [])}
        for port in self.data.get("ports", []):
            prefix = f"port.{names[port['id']]}"
            static = ("id", "pid", "gen", "mtu", "nb_rxq", "nb_txq", "rxqs", "txqs")
            plain = {k: v for k, v in port.items() if k not in static}
            yield from numbers(prefix, plain)
            for kind in ("rxq", "txq"):
                for queue in port.get(kind + "s", []):
                    yield from numbers(f"{prefix}.{kind}.{queue['id']}", queue, skip=("id", "waiting"))
        for voq in self.data.get("voqs", []):
            ends = names.get(voq["src"], voq["src"]), names.get(voq["dst"], voq["dst"])
            prefix = f"voq.{ends[0]}.{voq['txq']}.{ends[1]}.{voq['rxq']}"
            yield from numbers(prefix, voq, skip=("src", "txq", "dst", "rxq"))
        for pair in self.data.get("pairs", []):
            ends = names.get(pair["src"], pair["src"]), names.get(pair["dst"], pair["dst"])
            yield from numbers(f"pair.{ends[0]}.{pair['txq']}.{ends[1]}", pair, skip=("src", "txq", "dst"))

    def __getitem__(self, name: str) -> int:
        """A counter; one that is not there counts as 0."""
        return self.values.get(name, 0)

    def sum(self, pattern: str) -> int:
        """Sum of the counters whose names match a shell pattern (``port.*.drops.*``)."""
        return sum(value for name, value in self.values.items() if fnmatch.fnmatchcase(name, pattern))

    def port(self, name: str) -> Mapping[str, Any] | None:
        """The attached port of that name."""
        for port in self.data.get("ports", []):
            if port["name"] == name and port["state"].lower() == "up":
                found: Mapping[str, Any] = port
                return found
        return None

    def rx_queues(self, name: str) -> list[int]:
        """Packets received by each queue of a port.

        :raises KeyError: there is no such port.
        """
        port = self.port(name)
        if port is None:
            raise KeyError(f"no attached port {name!r}")
        return [queue["packets"] for queue in port["rxqs"]]

    def __sub__(self, earlier: Snapshot) -> Difference:
        return Difference(earlier, self)


class Change(int):
    """What a counter changed by. A failed assertion about it shows all that changed; else it is a number.

    :param name: of the counter.
    :param among: the difference it was taken from.
    """

    name: str
    among: Difference

    def __new__(cls, value: int, name: str, among: Difference) -> Change:
        change = super().__new__(cls, value)
        change.name, change.among = name, among
        return change


class Difference:
    """What grew (or shrank) between two snapshots. Prints as a table, for assertion messages."""

    def __init__(self, before: Snapshot, after: Snapshot) -> None:
        names = sorted(before.values.keys() | after.values.keys())
        changes = {n: after[n] - before[n] for n in names if n not in GAUGES and not n.endswith(".depth")}
        self.values = {name: change for name, change in changes.items() if change}

    def __getitem__(self, name: str) -> Change:
        """Change of a counter; 0 if it did not change."""
        return Change(self.values.get(name, 0), name, self)

    def matching(self, pattern: str) -> dict[str, int]:
        """The changes whose names match a shell pattern."""
        return {n: v for n, v in self.values.items() if fnmatch.fnmatchcase(n, pattern)}

    def sum(self, pattern: str) -> Change:
        """Sum of the changes whose names match a shell pattern."""
        return Change(sum(self.matching(pattern).values()), f"sum of {pattern}", self)

    def __str__(self) -> str:
        if not self.values:
            return "nothing changed"
        width = max(map(len, self.values))
        return "\n".join(f"{name:<{width}}  {change:+d}" for name, change in self.values.items())

    __repr__ = __str__


def numbers(prefix: str, value: Any, skip: Sequence[str] = ()) -> Iterator[tuple[str, int]]:
    """The numbers in a JSON object, with dotted names; elements of lists by their index. Texts are left out."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in skip:
                yield from numbers(f"{prefix}.{key}" if prefix else key, inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from numbers(f"{prefix}.{index}", inner)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield prefix, value


class Fabric:
    """A fabric and its daemon.

    :param options: of ``uvbridge up``: ports, queues, cells, voq; those not given are the tool's.
    """

    def __init__(
        self,
        build: Build,
        name: str,
        processes: Processes,
        book: journal.Journal,
        folder: Path,
        options: Mapping[str, int] | None = None,
    ) -> None:
        self.build, self.name, self.folder = build, name, folder
        self.options = dict(options or {})
        self.directory = journal.rundir() / name
        self._processes, self._journal = processes, book
        self._view: uvb.View | None = None
        self._capture: Process | None = None
        self.is_up = False

    # ------------------------------------------------------------------------------ life cycle

    def up(self) -> None:
        """Raise it.

        :raises FabricError: with what the tool said.
        """
        problem = self.build.missing(self.build.uvbridge, self.build.uvbridged, self.build.libuvbridge)
        if problem:
            raise FabricError(problem)
        self._journal.add("fabric", self.name, tool=str(self.build.uvbridge), rundir=str(journal.rundir()))
        self._tool("up", self.name, *self._option_words())
        self.is_up = True

    def _option_words(self) -> list[str]:
        return [word for key, value in self.options.items() for word in (f"--{key}", str(value))]

    def down(self, force: bool = True) -> None:
        """Take it down. Ports still attached lose their link."""
        if not self.is_up:
            return
        self.stop_capture()
        self.cont_daemon()
        self.close_view()
        self._tool("down", self.name, *(["--force"] if force else []), check=False)
        if self.directory.exists():
            journal.remove_fabric(self.name, "", journal.rundir())
        self._journal.remove("fabric", self.name)
        self.is_up = False

    def _tool(
        self, *words: str, check: bool = True, timeout: float = CONTROL_TIMEOUT
    ) -> subprocess.CompletedProcess[str]:
        """Run the `uvbridge` tool."""
        environment = {**os.environ, journal.TOKEN_VARIABLE: self._processes.token}
        done = subprocess.run(
            [self.build.uvbridge, *words],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode != 0:
            raise FabricError(
                f"uvbridge {' '.join(words)}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def tool(self, *words: str) -> str:
        """Run ``uvbridge``; what it printed.

        :raises FabricError: it failed.
        """
        return self._tool(*words).stdout

    # ------------------------------------------------------------------------------- observing

    def snapshot(self) -> Snapshot:
        """The state now, read from the segment: no daemon is asked."""
        if self._view is None:
            self._view = uvb.View(self.build.library(), self.name)
        return Snapshot(self._view.snapshot())

    def close_view(self) -> None:
        """Forget the mapping; the next snapshot makes a new one."""
        if self._view is not None:
            self._view.close()
            self._view = None

    def show(self) -> dict[str, Any]:
        """What ``uvbridge show --json`` prints."""
        data: dict[str, Any] = json.loads(self._tool("show", self.name, "--json").stdout)
        return data

    def ledger(self) -> tuple[bool, str]:
        """Whether every cell is where it belongs, and what ``uvbridge ledger`` says about it."""
        done = self._tool("ledger", self.name, check=False)
        return done.returncode == 0, (done.stdout + done.stderr).strip()

    def assert_clean(self, timeout: float = 5) -> None:
        """Wait until the ledger is clean.

        :param timeout: seconds, for ports that are being reclaimed.
        :raises AssertionError: it stays dirty; the message is the ledger.
        """
        last = ""

        def clean() -> bool:
            nonlocal last
            is_clean, last = self.ledger()
            return is_clean

        with contextlib.suppress(wait.Timeout):
            wait.until(clean, timeout)
            return
        raise AssertionError(f"the ledger of fabric {self.name} is not clean:\n{last}")

    def wait_port(self, name: str, timeout: float = 10) -> Mapping[str, Any]:
        """Wait until a port is attached and started.

        :returns: the port, as in the snapshot.
        """

        def started() -> Mapping[str, Any] | None:
            port = self.snapshot().port(name)
            return port if port and port["started"] else None

        return wait.until(started, timeout, f"port {name} to be attached and started")

    def wait_no_port(self, name: str, timeout: float = 10) -> None:
        """Wait until no port of that name is attached."""
        wait.until(lambda: self.snapshot().port(name) is None, timeout, f"port {name} to be gone")

    def unplug(self, name: str) -> None:
        """Take an attached port away from its process."""
        self._tool("unplug", self.name, name)

    @property
    def log(self) -> str:
        """What the daemon has written to its log."""
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def decisions(self) -> str:
        """What all faults have decided so far: a JSON object a line."""
        return self.tool("fault", self.name, "log")

    # -------------------------------------------------------------------------------- the daemon

    @property
    def daemon_pid(self) -> int:
        """Pid of the daemon in charge; 0 if there is none."""
        return int(self.snapshot().data["fabric"]["daemon"]["pid"])

    @property
    def daemon_alive(self) -> bool:
        """True if the daemon in charge lives (stopped counts as living)."""
        pid = self.daemon_pid
        return bool(pid) and journal.alive(pid, None)

    def kill_daemon(self) -> None:
        """SIGKILL the daemon and wait until it is gone."""
        pid = self.daemon_pid
        os.kill(pid, signal.SIGKILL)
        if not wait.process_end(pid, 5):
            raise wait.Timeout(f"waited 5 s for the end of uvbridged (pid {pid})")

    def stop_daemon(self) -> None:
        """SIGSTOP the daemon and wait until it stands still."""
        freeze(self.daemon_pid)

    def cont_daemon(self) -> None:
        """SIGCONT the daemon, if there is one."""
        with contextlib.suppress(uvb.UvbError, ProcessLookupError, KeyError):
            pid = self.daemon_pid
            if pid:
                os.kill(pid, signal.SIGCONT)

    def restart_daemon(self) -> None:
        """Start a daemon for the fabric that is there (after `kill_daemon`)."""
        self._tool("up", self.name, *self._option_words())
        wait.until(lambda: self.daemon_alive, 5, "a new uvbridged")

    # ---------------------------------------------------------------------------------- capture

    def capture(self, path: Path | None = None, snaplen: int = 256, max_size: int = 64 << 20) -> Path:
        """Capture every frame of the fabric from now on.

        :param snaplen: bytes kept of each frame.
        :param max_size: bytes the file may reach.
        :returns: the pcapng file.
        """
        path = path or self.folder / "capture.pcapng"
        self._capture = self._processes.start(
            "capture",
            [
                self.build.uvbridge, "capture", self.name, "-w", path,
                "--snaplen", str(snaplen), "--max-size", str(max_size),
            ],
            self.folder,
        )  # fmt: skip
        self._capture.wait_ready(self._capturing, 5)
        return path

    def _capturing(self) -> bool:
        ports = self.snapshot().data["ports"]
        return any(port["kind"] == "capture" and port["state"].lower() == "up" for port in ports)

    def stop_capture(self) -> None:
        """End the capture; the file is complete when this returns."""
        if self._capture is not None:
            self._capture.stop(signal.SIGINT)
            self._capture = None


def decode(path: Path, limit: int = 200) -> str:
    """The first `limit` frames of a capture, one a line, each with its way and its verdict: decoded by
    tcpdump or tshark, or why not."""
    for tool in ("tcpdump", "tshark"):
        if shutil.which(tool):
            done = subprocess.run(
                [tool, "-n", "-c", str(limit), "-r", path], capture_output=True, text=True, check=False, timeout=60
            )
            return annotate(done.stdout, [record.comment for record in records(path.read_bytes())]) or done.stderr
    return "neither tcpdump nor tshark is installed\n"


def annotate(text: str, comments: Sequence[str]) -> str:
    """Put the comment of each frame above its decoded line. A frame begins with a digit (its time, or
    its number); lines that go on with one do not."""
    every = iter(comments)
    lines = []
    for line in text.splitlines():
        if line.lstrip()[:1].isdigit():
            lines.append(next(every, ""))
        lines.append(f"  {line}")
    return "".join(f"{line}\n" for line in lines)


LOG_TROUBLE = re.compile(r"\b(warn(ing)?|err(or)?|crit(ical)?|alert|emerg(ency)?|panic|assert\w*)\b", re.I)
"""A line of a daemon's or a stack's log that a clean run does not have."""
