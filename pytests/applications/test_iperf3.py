# SPDX-License-Identifier: BSD-3-Clause
"""iperf3 of the distribution, unmodified: TCP both ways, UDP; what was sent was received."""

import json

import pytest

pytestmark = pytest.mark.uvnet(capture=False)

RETRANSMITTED_AT_MOST = 0.01
"""Share of the sent segments; a fabric without loss needs none but for a full queue now and then."""


@pytest.fixture
def pair(net, full):
    """A function that runs iperf3 between two hosts and returns both reports."""
    server, client = net.host("server"), net.host("client")
    seconds = 10 if full else 2

    def run(*words):
        listening = server.start("iperf3", "-s", "-1", "-B", server.ip, "--json", "-p", "5201")
        listening.wait_port(5201)
        done = client.run(
            "iperf3", "-c", server.ip, "-p", "5201", "-t", str(seconds), "--json", *words, timeout=seconds + 20
        )
        assert done.ok, done
        assert listening.wait(10) == 0, listening.process.output()
        return json.loads(done.stdout), json.loads(listening.stdout)

    return run


def assert_no_storm(end, sent):
    """Few retransmissions, by iperf3's own count where it has one."""
    retransmits = end["sum_sent"].get("retransmits")
    if retransmits is not None:
        assert retransmits <= max(20, sent / 1448 * RETRANSMITTED_AT_MOST), end["sum_sent"]


@pytest.mark.parametrize("direction", [[], ["-R"]], ids=["upload", "download"])
def test_tcp_byte_counts_agree(pair, direction, record_property):
    at_client, at_server = pair(*direction)
    sent, received = at_client["end"]["sum_sent"], at_client["end"]["sum_received"]
    record_property("gbit_per_second", received["bits_per_second"] / 1e9)
    assert received["bytes"] > 0
    sender, receiver = (at_client, at_server) if not direction else (at_server, at_client)
    sent_bytes = sender["end"]["sum_sent"]["bytes"]
    received_bytes = receiver["end"]["sum_received"]["bytes"]
    assert sent["bytes"] == sent_bytes
    assert received_bytes == sent_bytes
    assert_no_storm(sender["end"], sent_bytes)


def test_tcp_with_parallel_streams(pair):
    at_client, _ = pair("-P", "4")
    assert len(at_client["end"]["streams"]) == 4
    assert all(stream["receiver"]["bytes"] > 0 for stream in at_client["end"]["streams"])


def test_udp_arrives(pair, record_property):
    at_client, _ = pair("-u", "-b", "100M", "-l", "1400")
    summary = at_client["end"]["sum"]
    record_property("lost_percent", summary["lost_percent"])
    assert summary["packets"] > 0
    assert summary["lost_percent"] < 1, summary
    assert summary["bytes"] == summary["packets"] * 1400
