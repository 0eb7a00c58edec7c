# SPDX-License-Identifier: BSD-3-Clause
"""What a failed scenario leaves behind: one folder with everything that explains it.

============================  =======================================================================
``summary.txt``               test, failure, seed, and the one-line command that runs it again
``capture.pcapng``, ``.txt``  all frames of the fabric, and the first of them decoded, with verdicts
``decisions.jsonl``           what faults have decided, frame by frame
``topology.json``             hosts, wires, addresses, processes
``stats.json``, ``stats.txt`` the fabric's state at the failure, and what changed since the start
``ledger.txt``                where every cell is, at the failure and at the end; what is different
``fabric.log``                the daemon's log
``backtrace-NAME.txt``        all threads of each process, living or crashed, or why there are none
``HOST/``                     configuration, stack log and output of what ran on the host
============================  =======================================================================
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from uvnet_harness import fabric
from uvnet_harness.backtrace import backtrace
from uvnet_harness.proc import Process, describe_end

if TYPE_CHECKING:
    from uvnet_harness.net import Net

CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")


def collect_live(net: Net) -> None:
    """Before anything is stopped: state, ledger and back-traces."""
    _collect_state(net)
    if net.fabric.is_up:
        _write(net.folder / "ledger.txt", lambda: "at the failure:\n" + net.fabric.ledger()[1])
    for process in net.processes.all:
        if process.running and process.name != "capture":
            path = net.folder / f"backtrace-{process.name}.txt"
            _write(path, partial(backtrace, ["-p", str(process.pid)]))


def collect_dead(net: Net, reason: str) -> None:
    """After everything was stopped, before the fabric goes."""
    if not (net.folder / "topology.json").exists():  # it has failed at its end
        _collect_state(net)
    if net.fabric.is_up:
        _append(net.folder / "ledger.txt", lambda: "at the end:\n" + net.fabric.ledger()[1])
        _append(net.folder / "ledger.txt", lambda: "different from the start:\n" + ledger_difference(net))
        _write(net.folder / "fabric.log", lambda: net.fabric.log)
    for process in net.processes.all:
        if process.crashed:
            _write(net.folder / f"backtrace-{process.name}.txt", partial(backtrace_of_crash, process))
    capture = net.folder / "capture.pcapng"
    if capture.exists():
        _write(net.folder / "capture.txt", lambda: fabric.decode(capture))
    _write(net.folder / "summary.txt", lambda: summary(net, reason))


def _collect_state(net: Net) -> None:
    """What is there, and what the fabric has counted and decided."""
    _write(net.folder / "topology.json", lambda: json.dumps(topology(net), indent=1))
    if net.fabric.is_up:
        _write(net.folder / "stats.json", lambda: json.dumps(net.fabric.snapshot().data, indent=1))
        _write(net.folder / "stats.txt", lambda: _changes(net))
        _write(net.folder / "decisions.jsonl", lambda: net.fabric.decisions)


def ledger_difference(net: Net) -> str:
    """The numbers of the ledger, and of the cells under way from each queue, that are not what they were."""
    if net.start_stats is None:
        return "nothing is known of the start"
    before, after = net.start_stats.values, net.fabric.snapshot().values
    names = [name for name in before | after if name.startswith("ledger.") or name.endswith(".cells_in_flight")]
    lines = [f"{n}  {before.get(n, 0)} -> {after.get(n, 0)}" for n in sorted(names) if before.get(n, 0) != after.get(n, 0)]
    return "\n".join(lines) or "nothing"


def publish(net: Net) -> Path:
    """Move the working folder to its final place, in place of an older one."""
    target = net.artifacts_folder
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(str(net.folder), str(target))
    return target


def summary(net: Net, reason: str) -> str:
    """The first file to read."""
    processes = "\n".join(f"  {p.name} (pid {p.pid}): {describe_end(p.returncode)}" for p in net.processes.all)
    return (
        f"test     {net.test_id}\n"
        f"seed     {net.settings.seed}\n"
        f"fabric   {net.name}\n"
        f"replay   {replay_command(net)}\n"
        f"\nprocesses\n{processes}\n"
        f"\nfailure\n{reason}\n"
    )


def replay_command(net: Net) -> str:
    """One line that runs the test again with the same seed."""
    return f"{net.settings.replay} --seed={net.settings.seed}"


def topology(net: Net) -> dict[str, object]:
    """The network as data."""
    return {
        "test": net.test_id,
        "fabric": net.name,
        "options": net.fabric.options,
        "network": net.addresses.network,
        "hosts": {n: {"ip": h.ip, "mac": h.mac, "queues": h.queues} for n, h in net.hosts.items()},
        "kernel_hosts": {n: {"ip": h.ip, "mac": h.mac, "netns": h.netns} for n, h in net.kernel_hosts.items()},
        "dpdk_hosts": {n: [{"port": p.name, "mac": p.mac, "queues": p.queues} for p in d.ports] for n, d in net.dpdk_hosts.items()},
        "wires": {n: {"ip": w.ip, "mac": w.mac, "queues": w.queues} for n, w in net.wires.items()},
        "processes": [
            {"name": p.name, "pid": p.pid, "args": p.args, "end": describe_end(p.returncode)}
            for p in net.processes.all
        ],
    }


def backtrace_of_crash(process: Process) -> str:
    """All threads of a process when it crashed, or why they are not known."""
    core = core_of(process)
    if core is not None:
        return backtrace([executable_of(process, core), str(core)])
    pattern = CORE_PATTERN.read_text(encoding="utf-8").strip()
    if not re.fullmatch(r"[^|/%]+", pattern):
        return f"no core: kernel.core_pattern is {pattern!r}; as root: sysctl -w kernel.core_pattern=core\n"
    return f"no core in {process.folder}: is its size limited (ulimit -H -c)?\n"


def core_of(process: Process) -> Path | None:
    """The core file of a crashed process, if the system writes plain ones."""
    found = (process.folder / name for name in (f"core.{process.pid}", "core"))
    return next((path for path in found if path.exists()), None)


def executable_of(process: Process, core: Path) -> str:
    """The program that dumped core: what `file` reads out of it, else the command's own word."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(["file", core], capture_output=True, text=True, check=False, timeout=10)
        _, found, rest = done.stdout.partition("execfn: '")
        if found:
            return rest.partition("'")[0]
    return process.args[-1]


def _changes(net: Net) -> str:
    now = net.fabric.snapshot()
    return str(now - net.start_stats) + "\n" if net.start_stats else str(now.values) + "\n"


def _write(path: Path, produce: Callable[[], str]) -> None:
    """Write what `produce` returns. Artifacts never fail a test: an error is written instead."""
    try:
        text = produce()
    except Exception as error:  # pylint: disable=broad-except
        text = f"could not be had: {error!r}\n"
    path.write_text(text)


def _append(path: Path, produce: Callable[[], str]) -> None:
    before = path.read_text() + "\n" if path.exists() else ""
    _write(path, lambda: before + produce() + "\n")
