# SPDX-License-Identifier: BSD-3-Clause
"""redis-server, redis-cli and redis-benchmark of the distribution, unmodified."""

import csv
import io

import pytest

from uvnet_harness import Flow


@pytest.mark.nic
@pytest.mark.models("shared", "separate", "several")
def test_redis_answers(net, redis_server):
    server, client = net.host("server", queues=4), net.host("client")
    redis_server(server)
    cli = ["redis-cli", "-h", server.ip]
    assert client.run(*cli, "PING").check().stdout == "PONG\n"
    assert client.run(*cli, "SET", "key", "value").check().stdout == "OK\n"
    assert client.run(*cli, "GET", "key").check().stdout == "value\n"
    assert client.run(*cli, "-x", "SET", "big", stdin=bytes(range(256)) * 4096).check().stdout == "OK\n"
    assert client.run(*cli, "STRLEN", "big").check().stdout == "1048576\n"


def benchmark(client, server, requests, *words, timeout=90):
    """Requests per second of each test, by name."""
    done = client.run(
        "redis-benchmark", "-h", server.ip, "-n", str(requests), "-c", "50", "--csv", *words, timeout=timeout
    ).check()
    assert not done.stderr.strip(), done
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    return {row["test"]: float(row["rps"]) for row in rows}


@pytest.mark.uvnet(capture=False)
def test_benchmark_runs_without_an_error(net, redis_server, full, record_property):
    server, client = net.host("server", queues=4), net.host("client")
    redis_server(server)
    rates = benchmark(client, server, 100_000 if full else 20_000, "-t", "get,set")
    assert rates.keys() == {"GET", "SET"}
    record_property("requests_per_second", str(rates))


@pytest.mark.models
@pytest.mark.uvnet(capture=False)
def test_pipelined_benchmark(net, redis_server):
    server, client = net.host("server", queues=4), net.host("client")
    redis_server(server)
    assert benchmark(client, server, 50_000, "-t", "get", "-P", "16", "-d", "512")["GET"] > 0


def test_connections_spread_over_the_server_s_queues(net, redis_server):
    """Each connection's frames arrive on the queue that its addresses and ports predict."""
    server, client = net.host("server", queues=4), net.host("client")
    redis_server(server)
    before = net.fabric.snapshot().rx_queues("server")
    benchmark(client, server, 2_000, "-t", "get")
    after = net.fabric.snapshot().rx_queues("server")
    received = [b - a for a, b in zip(before, after)]
    assert min(received) > 0, received
    wire = net.wire("wire")
    for sport in range(40000, 40016):
        flow = Flow(wire.ip, server.ip, sport, 6379)
        before = net.fabric.snapshot().rx_queues("server")
        wire.send(syn(wire, server, sport))
        after = net.fabric.snapshot().rx_queues("server")
        assert after[server.rss.queue_of(flow)] > before[server.rss.queue_of(flow)]


def syn(wire, server, sport):
    """A SYN that no one will follow up, and its RST."""
    from scapy.layers.inet import IP, TCP

    head = wire.ether(server.mac) / IP(src=wire.ip, dst=server.ip)
    return [
        head / TCP(sport=sport, dport=6379, flags="S", seq=1),
        head / TCP(sport=sport, dport=6379, flags="R", seq=2),
    ]


@pytest.mark.uvnet(capture=False)
def test_redis_is_served_while_the_daemon_is_stopped(net, redis_server):
    server, client = net.host("server", queues=4), net.host("client")
    redis_server(server)
    app = client.start("redis-benchmark", "-h", server.ip, "-n", "200000", "-c", "50", "-t", "get", "--csv")
    app.wait_ready()
    net.fabric.stop_daemon()
    before = net.fabric.snapshot()
    app.wait_ready(condition=lambda: (net.fabric.snapshot() - before)["port.server.rx_packets"] > 5000)
    net.fabric.cont_daemon()
    assert app.wait(60) == 0, app.process.output()
    assert '"GET"' in app.stdout
