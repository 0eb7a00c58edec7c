# SPDX-License-Identifier: BSD-3-Clause
"""What a run has made and not yet removed, on disk, so that somebody else can remove it.

Each run (each pytest process, each xdist worker, each demo) appends to its own file
RUNDIR/.harness/PID-STARTTIME.journal, one JSON object a line: ``{"op": "add" | "del", "kind": …}``.
A journal whose process is dead (pid *and* start time say so) is a leftover: `sweep()` removes what
it lists and then the file. This is done by the run's reaper as soon as the run has died, and by
every later run when it starts, in case the reaper was killed as well.

Kinds and what removing them means:

===========  ================================================================================
``group``    a process group: SIGKILL, if its leader is still the process that was started
``fabric``   ``uvbridge down --force``, and without that tool: kill the daemon, remove the folder
``link``     a network interface of the kernel: ``ip link delete``
``netns``    a network namespace: ``ip netns delete``
``folder``   a working folder: removed with all it holds
===========  ================================================================================
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

Entry = dict[str, Any]

ORDER = ("group", "fabric", "link", "netns", "folder")
"""Kinds in the order in which they are removed."""

TOKEN_VARIABLE = "UVNET_RUN"
"""Environment variable by which a run's processes are told from others."""


def rundir() -> Path:
    """The directory of all fabrics of this user; see uvbridge/abi.h."""
    return Path(os.environ.get("UVNET_RUNDIR") or f"/dev/shm/uvnet-{os.getuid()}")


def start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat (clock ticks since boot), or None if there is no such process."""
    fields = stat_fields(pid)
    return int(fields[19]) if fields else None


def stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the third (state) on, or None if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return text.rpartition(")")[2].split()


def alive(pid: int, started: int | None) -> bool:
    """True if `pid` is still the process that started then (any, if None) and not a zombie."""
    fields = stat_fields(pid)
    if not fields or fields[0] in "ZX":
        return False
    return started is None or int(fields[19]) == started


def members(group: int) -> list[int]:
    """The processes of a process group, zombies left out."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = stat_fields(int(name))
            if fields and int(fields[2]) == group and fields[0] not in "ZX":
                found.append(int(name))
    return found


class Journal:
    """The journal of this process."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory or rundir() / ".harness"
        pid = os.getpid()
        self.path = self.directory / f"{pid}-{start_time(pid)}.journal"
        self._file = self._open()

    def _open(self) -> TextIO:
        """Open the file; the folder may be removed, as empty, by another run in between."""
        while True:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                return open(self.path, "a", encoding="utf-8")

    def _write(self, entry: Entry) -> None:
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()

    def add(self, kind: str, name: str | int, **detail: Any) -> None:
        """Note that this run has made something. Call it *before* making it where that is possible."""
        self._write({"op": "add", "kind": kind, "name": name, **detail})

    def remove(self, kind: str, name: str | int) -> None:
        """Note that it is gone."""
        self._write({"op": "del", "kind": kind, "name": name})

    def close(self) -> None:
        """End the journal; it is removed if nothing is left in it."""
        self._file.close()
        if not outstanding(self.path):
            self.path.unlink(missing_ok=True)
            remove_if_empty(self.directory)


@contextlib.contextmanager
def folder(book: Journal, prefix: str, place: str | None = None) -> Iterator[Path]:
    """A folder within the block, with a name that begins so; noted in the journal.

    :param place: in which folder; None: that of temporary files.
    """
    with tempfile.TemporaryDirectory(prefix=prefix, dir=place, ignore_cleanup_errors=True) as name:
        book.add("folder", name)
        yield Path(name)
        book.remove("folder", name)


def outstanding(path: Path) -> list[Entry]:
    """The entries of a journal that were added and not removed. A torn last line is ignored."""
    entries: dict[tuple[str, str], Entry] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        with contextlib.suppress(ValueError, KeyError):
            entry = json.loads(line)
            key = (entry["kind"], str(entry["name"]))
            if entry["op"] == "add":
                entries[key] = entry
            else:
                entries.pop(key, None)
    return sorted(entries.values(), key=lambda e: ORDER.index(e["kind"]) if e["kind"] in ORDER else 9)


def remove_if_empty(directory: Path) -> None:
    """Remove a folder of journals, and RUNDIR around it, if nothing is in them."""
    with contextlib.suppress(OSError):
        directory.rmdir()
        if directory.name == ".harness":
            directory.parent.rmdir()


def leftovers(directory: Path | None = None) -> Iterator[Path]:
    """The journals whose owners are dead."""
    directory = directory or rundir() / ".harness"
    if not directory.is_dir():
        return
    for path in sorted(directory.glob("*.journal")):
        pid, _, started = path.stem.partition("-")
        if pid.isdigit() and started.isdigit() and not alive(int(pid), int(started)):
            yield path


def sweep(directory: Path | None = None) -> list[str]:
    """Remove what dead runs have left.

    :returns: a line for each thing removed.
    """
    done = []
    for path in leftovers(directory):
        try:
            file = open(path, "r+", encoding="utf-8")
        except FileNotFoundError:
            continue
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # another run is cleaning this one
            for entry in outstanding(path):
                done.append(remove_entry(entry))
            path.unlink(missing_ok=True)
    remove_if_empty(directory or rundir() / ".harness")
    return done


def remove_entry(entry: Entry) -> str:
    """Remove one thing and say so. Nothing is removed that is not the run's any more."""
    kind, name = entry["kind"], entry["name"]
    if kind == "group":
        kill_group(int(name), entry.get("started"), entry.get("token", ""))
    elif kind == "fabric":
        remove_fabric(str(name), entry.get("tool", ""), Path(entry.get("rundir") or rundir()))
    elif kind == "link":
        subprocess.run(["ip", "link", "delete", str(name)], capture_output=True, check=False)
    elif kind == "netns":
        subprocess.run(["ip", "netns", "delete", str(name)], capture_output=True, check=False)
    elif kind == "folder":
        shutil.rmtree(str(name), ignore_errors=True)
        with contextlib.suppress(OSError):
            Path(name).parent.rmdir()  # if it is empty
    return f"{kind} {name}"


def kill_group(group: int, started: int | None, token: str) -> None:
    """SIGKILL a process group, if it is still the one that was started.

    The leader's start time proves it. When the leader is gone, the members must carry the run's
    token in their environment.
    """
    leader_started = start_time(group)
    if leader_started is not None and started is not None:
        if leader_started == started:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        return
    for pid in members(group):
        if token and _has_token(pid, token):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _has_token(pid: int, token: str) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"{TOKEN_VARIABLE}={token}".encode() in environment


def remove_fabric(name: str, tool: str, directory: Path) -> None:
    """Take a fabric down by its tool, or by hand where that is not possible."""
    folder = directory / name
    if not folder.exists():
        return
    daemon = daemon_of(folder)
    if daemon:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(daemon, signal.SIGCONT)
    if tool and os.access(tool, os.X_OK):
        environment = {**os.environ, "UVNET_RUNDIR": str(directory)}
        with contextlib.suppress(subprocess.SubprocessError, OSError):
            subprocess.run(
                [tool, "down", name, "--force"], capture_output=True, check=False, timeout=20, env=environment
            )
    if folder.exists():
        daemon = daemon_of(folder)
        if daemon:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(daemon, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def daemon_of(folder: Path) -> int | None:
    """Pid of the daemon that serves this fabric's folder, from its command line and open files."""
    target = str(folder / "segment")
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if os.readlink(f"/proc/{name}/exe").split("/")[-1].split(" ")[0] != "uvbridged":
                continue
            maps = Path(f"/proc/{name}/maps").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if any(line.endswith((target, target + " (deleted)")) for line in maps.splitlines()):
            return int(name)
    return None
