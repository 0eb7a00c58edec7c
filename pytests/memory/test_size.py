# SPDX-License-Identifier: BSD-3-Clause
"""What a host with one queue takes: its whole process, huge pages included."""

import pytest

SCRIPT = """
import socket, sys
sock = socket.create_server((sys.argv[1], 7))
for line in open("/proc/self/status"):
    if line.startswith(("VmRSS", "HugetlbPages")):
        print(line.split()[1])
"""


@pytest.mark.parametrize("hugepages", ["auto", "no"])
def test_starts_in_64_megabytes(net, hugepages):
    host = net.host("server", hugepages=hugepages, log_level="notice")
    done = host.run("/usr/bin/python3", "-c", SCRIPT, host.ip).check()
    kilobytes = sum(map(int, done.stdout.split()))
    assert kilobytes <= 64 << 10, f"{kilobytes} KB, of which the interpreter has about 11,000"
    if hugepages == "no":
        assert host.log.count("no huge pages") == 1, host.log


def test_memory_follows_the_number_of_buffers(net):
    """memory_mb needs no thought: more packet buffers are given what they take."""
    host = net.host("server", hugepages="no", mbufs=65536)
    host.run("/usr/bin/python3", "-c", SCRIPT, host.ip).check()
    assert host.stats()["memory.mbufs_free"] == 65536
