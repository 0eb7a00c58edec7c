# SPDX-License-Identifier: BSD-3-Clause
"""Ports sleep on bells and descriptors: while no frames flow they cost nothing."""

import time

import pytest

pytestmark = pytest.mark.uvnet(capture=False)

WATCHED = 1.0
"""seconds; the processor time of a process is counted in steps of 10 ms"""


def test_idle_ports_use_no_processor(net, port):
    kernel = net.kernel_host("kernel", queues=2)
    processes = [
        kernel.port,
        port("socket", "socket", "--path", net.folder / "socket"),
        port("record", "recorder", "-w", net.folder / "recorded.pcap"),
    ]
    before = [process.cpu_seconds() for process in processes]
    time.sleep(WATCHED)  # what does not happen cannot be waited for
    used = [process.cpu_seconds() - was for process, was in zip(processes, before)]
    assert max(used) <= 0.02 * WATCHED, used
