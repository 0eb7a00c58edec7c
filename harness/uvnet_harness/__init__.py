# SPDX-License-Identifier: BSD-3-Clause
"""Networks of user-space hosts for pytest: see docs/harness.md."""

from uvnet_harness.dpdk import DpdkHost, DpdkPort
from uvnet_harness.fabric import Build, Difference, Fabric, Snapshot
from uvnet_harness.host import App, Host
from uvnet_harness.kernel import KernelHost
from uvnet_harness.net import Net, Settings, Shape
from uvnet_harness.proc import Process, ProcessFailed, Result
from uvnet_harness.rss import Flow, HashType, Rss
from uvnet_harness.stats import Counter, Stats
from uvnet_harness.wait import Deadline, Timeout, until

__all__ = [
    "App",
    "Build",
    "Counter",
    "Deadline",
    "Difference",
    "DpdkHost",
    "DpdkPort",
    "Fabric",
    "Flow",
    "HashType",
    "Host",
    "KernelHost",
    "Net",
    "Process",
    "ProcessFailed",
    "Result",
    "Rss",
    "Settings",
    "Shape",
    "Snapshot",
    "Stats",
    "Timeout",
    "until",
]
