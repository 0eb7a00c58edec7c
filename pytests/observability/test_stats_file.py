# SPDX-License-Identifier: BSD-3-Clause
"""stats_file: what a stack has counted, as its process leaves it behind, and as the harness reads it."""

import json
import re

import pytest

from uvnet_harness import Stats

SCRIPT = """
import socket, sys
for i in range(int(sys.argv[2])):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.sendto(b"x", (sys.argv[1], 9))
"""


def talk(host, number):
    """Broadcast so many datagrams."""
    host.run("/usr/bin/python3", "-c", SCRIPT, host.ip.rpartition(".")[0] + ".255", str(number)).check()


def test_file_is_replaced_as_a_whole(net):
    """Who has the old one open reads that to its end, whatever becomes of the process that writes."""
    host = net.host("host")
    talk(host, 1)
    with host.stats_path.open() as old:
        first = host.stats()
        talk(host, 3)
        assert json.load(old)["lwip"]["udp"]["xmit"] == first["lwip.udp.xmit"] == 1
    assert host.stats()["lwip.udp.xmit"] == 3
    assert [path.name for path in host.folder.glob("stats*")] == ["stats.json"]


def test_file_that_cannot_be_written_is_told(net):
    host = net.host("host", stats_file="/nowhere/stats.json")
    net.allow_log("stats_file")
    talk(host, 1)
    assert "stats_file /nowhere/stats.json: no statistics: No such file or directory" in host.log


def test_counters_have_names_units_and_meanings(net):
    host = net.host("host", queues=2, stacks=2)
    talk(host, 2)
    stats = host.stats()
    assert isinstance(stats, Stats) and stats["port.tx_bytes"] == sum(stats[f"stacks.{i}.port.tx_bytes"] for i in (0, 1))
    assert stats.about("stacks.1.port.tx_bytes").unit == "bytes"
    assert stats.about("memory.mbufs_free").kind == "gauge" and stats.about("lwip.udp.xmit").help == "sent"
    assert re.search(r"^lwip\.udp\.xmit = 2 packets$", repr(stats), re.M)
    with pytest.raises(KeyError, match=r"lwip\.udp\.xmitt: no such counter \(.*lwip\.udp\.xmit"):
        stats["lwip.udp.xmitt"]
    assert all(stats.about(name).unit for name in stats)
