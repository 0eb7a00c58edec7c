# SPDX-License-Identifier: BSD-3-Clause
"""DPDK processes that share memory: a primary and its secondaries.

EAL shares memory by files in a hugetlbfs, and finds a primary by files in its runtime directory. A
group has both to itself, and nothing of either outlives it: the hugetlbfs is mounted in a mount
name space that only the group's processes are in.

A process may be killed in the middle of anything, so mbufs come from pools without a lock and without
a half-done enqueue that others would wait for: EAL's ``lf_stack``.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uvnet_harness.net import Net

PAGE_MB = 2


def huge_pages_free() -> int:
    """Huge pages of 2 MiB that nobody has taken."""
    text = Path("/proc/meminfo").read_text(encoding="ascii")
    found = re.search(r"HugePages_Free:\s+(\d+)", text)
    return int(found[1]) if found else 0


def unavailable(megabytes: int) -> str | None:
    """Why there can be no group that takes so much memory, here and for this user; None: it can."""
    if os.geteuid() != 0:
        return "needs root: DPDK processes share memory by a hugetlbfs, which has to be mounted"
    pages = megabytes // PAGE_MB
    if huge_pages_free() < pages:
        return f"fewer than {pages} huge pages are free: as root, sysctl vm.nr_hugepages=256"
    return None


class EalGroup:
    """Where a primary and its secondaries meet.

    :param net: the network they are run beside.
    :param megabytes: of memory for all of them together; the primary takes it when it starts.
    """

    def __init__(self, net: Net, megabytes: int = 64) -> None:
        self.megabytes = megabytes
        self.folder = net.scratch()
        self._lcores = itertools.count()
        self._keeper = net.start(
            "hugetlbfs", "unshare", "--mount", "sh", "-c",
            'mkdir "$0" && mount -t hugetlbfs uvnet "$0" && echo mounted && exec sleep infinity',
            self.folder / "huge",
        )  # fmt: skip
        self._keeper.wait_output("^mounted$")

    @property
    def env(self) -> dict[str, str]:
        """Environment of each process."""
        return {"RUNTIME_DIRECTORY": str(self.folder)}

    @property
    def words(self) -> list[str]:
        """What stands before the command of each process."""
        nsenter = shutil.which("nsenter") or "nsenter"
        return [nsenter, f"--mount=/proc/{self._keeper.pid}/ns/mnt", f"--wdns={self.folder}", "--"]

    def lcores(self, count: int) -> list[str]:
        """EAL option for that many lcores: numbers that no other process of the group has (mempool
        caches go by them), on any processor."""
        cpus = ",".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0)))
        numbers = itertools.islice(self._lcores, count)
        return ["--lcores=" + ",".join(f"{number}@({cpus})" for number in numbers)]

    def options(self, primary: bool, lcores: int = 2) -> Sequence[str]:
        """EAL options of a process.

        :param primary: the first process of the group; the others are secondaries.
        :param lcores: how many it has.
        """
        kind = ["--proc-type=primary", "-m", str(self.megabytes)] if primary else ["--proc-type=secondary"]
        shared = [f"--huge-dir={self.folder / 'huge'}", "--mbuf-pool-ops-name=lf_stack", "--no-pci"]
        return [*kind, *self.lcores(lcores), *shared]
