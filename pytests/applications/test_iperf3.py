# SPDX-License-Identifier: BSD-3-Clause
"""iperf3 of the distribution, unmodified: TCP both ways, UDP; what was sent was received."""

import json
from types import SimpleNamespace

import pytest

from uvnet_harness import until

pytestmark = [pytest.mark.uvnet(capture=False), pytest.mark.xdist_group("timing")]

RETRANSMITTED_AT_MOST = 0.001
"""Share of the sent segments. A queue may overflow now and then when a receiver waits for a core."""

HEADERS = 14 + 20 + 32
"""Bytes of headers that a NIC makes for each further segment that it cuts, and takes from each that it joins."""

BUFFERS = (512 << 10) + (1 << 20) + (128 << 10)
"""Bytes that a connection holds: tcp_sndbuf as it grows by itself, tcp_rcvbuf, a block of iperf3's. iperf3 counts what it has
written and what it has read; it ends with a message on another connection, so the counts differ by
what is under way then (over the kernel's loopback by some megabytes)."""


@pytest.fixture
def iperf3(net, full):
    """A function that runs iperf3 between two hosts; both reports, statistics of both ends."""
    server, client = net.host("server"), net.host("client")
    seconds = 10 if full else 2
    listening = server.start("iperf3", "-s", "-B", server.ip, "--json", "--forceflush")
    listening.wait_port(5201)

    def run(*words):
        before = net.fabric.snapshot()
        words = ["iperf3", "-c", server.ip, "-t", str(seconds), "--json", *words]
        done = client.run(*words, timeout=seconds + 20).check()
        report = until(lambda: first_json(listening.stdout), 10, "the server's report")
        sent = client.stats()

        def arrived():
            # Between the two: the port's own counts may have the last frame of wait_port()'s probe.
            received = net.fabric.snapshot() - before
            wire = received.sum("voq.client.*.server.*.packets") + received.sum("voq.client.*.server.*.full")
            # More, if the NIC has cut some of them (TSO).
            whole = sent["port.tx_packets"] <= wire <= sent["port.tx_packets"] + sent["port.tx_joined"]
            return received if whole and wire == received.sum("port.client.txq.*.packets") else None

        received = until(arrived, 5, lambda: f"the last frames: {sent}, {net.fabric.snapshot() - before}")
        return SimpleNamespace(client=json.loads(done.stdout), server=report, sent=sent, received=received, listening=listening)

    return run


def first_json(text):
    """The first JSON document of a text, if it is complete."""
    try:
        return json.JSONDecoder().raw_decode(text)[0]
    except ValueError:
        return None


@pytest.mark.parametrize("direction", ["upload", "download"])
def test_tcp_byte_counts_agree(iperf3, direction, record_property):
    run = iperf3(*(["-R"] if direction == "download" else []))
    ends = [run.client["end"], run.server["end"]]
    sender, receiver = ends if direction == "upload" else reversed(ends)
    sent, received = sender["sum_sent"], receiver["sum_received"]
    record_property("gbit_per_second", round(received["bits_per_second"] / 1e9, 2))
    record_property("retransmits", sent["retransmits"])
    # On the wire: every byte of every frame, exactly.
    assert run.received["port.server.rxq.0.imissed"] == 0
    cut = run.received.sum("voq.client.*.server.*.packets") - run.sent["port.tx_packets"]
    assert run.received.sum("voq.client.*.server.*.bytes") == run.sent["port.tx_bytes"] + cut * HEADERS
    joined = run.received.sum("voq.server.*.client.*.packets") - run.sent["port.rx_packets"]
    assert run.received.sum("voq.server.*.client.*.bytes") == run.sent["port.rx_bytes"] + joined * HEADERS
    # In the applications: but for what was under way.
    assert 0 < received["bytes"] <= sent["bytes"] <= received["bytes"] + BUFFERS
    assert sent["retransmits"] <= max(20, sent["bytes"] / 1460 * RETRANSMITTED_AT_MOST)


@pytest.mark.models("shared", "several")
def test_tcp_with_parallel_streams(iperf3):
    streams = iperf3("-P", "4").client["end"]["streams"]
    assert len(streams) == 4
    assert all(stream["receiver"]["bytes"] > 0 for stream in streams)


def test_udp_arrives_or_is_counted(iperf3, record_property):
    run = iperf3("-u", "-b", "50M", "-l", "1400")
    summary = run.server["end"]["sum"]
    record_property("lost_percent", summary["lost_percent"])
    assert run.client["end"]["sum"]["packets"] == summary["packets"] > 0
    assert run.server["end"]["sum_received"]["bytes"] == (summary["packets"] - summary["lost_packets"]) * 1400
    # Whether the socket's buffer was full, the server tells when it ends.
    assert run.listening.stop() in (0, 1)
    full = run.listening.host.stats()["dropped.udp_rcvbuf_full"]
    assert summary["lost_packets"] == run.received.sum("port.server.rxq.*.imissed") + full
    assert summary["lost_percent"] < 5, summary
