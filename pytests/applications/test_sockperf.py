# SPDX-License-Identifier: BSD-3-Clause
"""sockperf of the distribution, unmodified: every message comes back, in order."""

import re

import pytest


@pytest.mark.parametrize("words", [["--tcp"], []], ids=["tcp", "udp"])
def test_ping_pong_loses_nothing(net, words, full, record_property):
    server, client = net.host("server"), net.host("client")
    address = ["-i", server.ip, "-p", "5000", *words]
    server.start("sockperf", "server", *address).wait_ready(log="Warmup stage")
    seconds = "10" if full else "1"
    done = client.run("sockperf", "ping-pong", *address, "-t", seconds, "-m", "200", timeout=30).check()
    lost = re.search(r"dropped messages = (\d+).* duplicated messages = (\d+).* out-of-order messages = (\d+)", done.stdout)
    assert lost and lost.groups() == ("0", "0", "0"), done
    median = re.search(r"percentile 50.000 = +([\d.]+)", done.stdout)
    record_property("median_one_way_us", median[1])
