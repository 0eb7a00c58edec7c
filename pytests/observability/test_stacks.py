# SPDX-License-Identifier: BSD-3-Clause
"""uvstack top, softnet, drops, latency and metrics: what a stack does, seen from outside, alive or dead."""

import json
import re
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families
from scapy.layers.inet import IP, UDP

from uvnet_harness import until

pytestmark = pytest.mark.uvnet(ports=4, queues=2, capture=False)


def look(net, *words, status=0):
    """What uvstack says, of one process or another."""
    line = [net.build.uvstack, *(str(word) for word in words)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == status, done
    return done.stdout if status == 0 else done.stderr


def rows(net, pid, *words):
    """The first table of a command, of one process."""
    return next(iter(json.loads(look(net, "--json", "--pid", pid, *words)).values()))


def metrics(text):
    """Prometheus' own parser refuses what breaks the format."""
    return {family.name: family for family in text_string_to_metric_families(text)}


@pytest.fixture
def hosts(net):
    """A redis that measures latency and has answered, and its client."""
    server, client = net.host("server", queues=2), net.host("client", queues=2)
    app = server.start(
        "redis-server", "--bind", server.ip, "--protected-mode", "no", "--save", "", set={"latency": "yes"}
    ).wait_port(6379)
    done = client.run("redis-benchmark", "-h", server.ip, "-t", "get", "-n", "2000", "-c", "5", "-q")
    assert "requests per second" in done.stdout
    return server, client, app


def test_a_process_alive_and_killed(net, hosts):
    """All that counts is seen while it runs, and is there unchanged once it has been killed."""
    server, _, app = hosts
    queues = rows(net, app.pid, "softnet")
    assert [row["queue"] for row in queues] == [0, 1]
    assert sum(row["packets"] for row in queues) >= 2000 and queues[0]["polls"] > 0
    assert queues[0]["requests"] > 0 and queues[0]["process"] == "alive"
    (now,) = rows(net, app.pid, "top", "--once", "-d", "0.05")
    assert now["name"] == "redis-server" and 0 < now["free"] <= now["mbufs"]

    stages = {row["stage"]: row for row in rows(net, app.pid, "latency")}
    assert set(stages) == {"nic-rx", "rx-queue", "queue-read", "write-tx"}
    for stage in stages.values():
        assert stage["count"] >= 1000
        assert 0 <= stage["p50_us"] <= stage["p99_us"] <= stage["p99.9_us"] < 10e6
        assert stage["mean_us"] > 0

    app.kill()
    dead = rows(net, app.pid, "softnet")
    assert {row["process"] for row in dead} == {"dead"}
    assert [row["packets"] for row in dead] >= [row["packets"] for row in queues]
    assert {row["stage"] for row in rows(net, app.pid, "latency")} == set(stages)
    families = metrics(look(net, "--pid", app.pid, "metrics"))
    received = families["uvstack_port_rx_packets"]
    assert received.type == "counter" and received.documentation == "frames received"
    (sample,) = received.samples
    assert sample.labels["state"] == "dead" and sample.labels["pid"] == str(app.pid)
    assert sample.value == sum(row["packets"] for row in dead)
    by_queue = {s.labels["queue"]: s.value for s in families["uvstack_queue_packets"].samples}
    assert by_queue == {str(row["queue"]): row["packets"] for row in dead}
    latency = families["uvstack_latency_seconds"]
    assert latency.type == "summary" and {s.labels["stage"] for s in latency.samples} == set(stages)


def test_an_orderly_end_leaves_nothing(net):
    """Who ends is forgotten, and named when asked for."""
    host = net.host("server")
    app = host.start("redis-server", "--bind", host.ip, "--save", "").wait_port(6379)
    assert app.stop() == 0
    assert f"process {app.pid} has no stack that can be seen" in look(
        net, "--pid", app.pid, "softnet", status=1
    )


def test_a_datagram_too_many(net):
    """What is dropped is shown with its reason, its place, and the last frame, by tcpdump."""
    host, wire = net.host("server"), net.wire("peer")
    app = host.start("socat", f"UDP4-LISTEN:7777,bind={host.ip}", "EXEC:sleep 60").wait_ready()
    for number in range(3):
        datagram = IP(src=wire.ip, dst=host.ip) / UDP(sport=4000 + number, dport=9) / b"nobody listens"
        wire.send(wire.ether(host.mac) / datagram)
    reasons = {}

    def dropped():
        nonlocal reasons
        reasons = {row["reason"]: row for row in rows(net, app.pid, "drops")}
        return reasons.get("lwip.udp.drop", {"count": 0})["count"] == 3

    until(dropped, 10, "three datagrams are dropped")
    udp = reasons["lwip.udp.drop"]
    assert udp["where"] == "lwip udp"
    assert re.search(rf"\.4002 > {re.escape(host.ip)}\.9: UDP, length 14", udp["last_frame"]), udp
    rates = rows(net, app.pid, "drops", "-d", "0.05")
    assert {row["reason"]: row["per_s"] for row in rates}["lwip.udp.drop"] == 0.0


def test_latency_is_switched(net):
    """Off until asked for, and off again."""
    server, client = net.host("server"), net.host("client")
    app = server.start("redis-server", "--bind", server.ip, "--protected-mode", "no", "--save", "")
    app.wait_port(6379)

    def ask():
        client.run("redis-cli", "-h", server.ip, "PING")
        return sum(row["count"] for row in rows(net, app.pid, "latency"))

    assert ask() == 0
    look(net, "--pid", app.pid, "latency", "on")
    measured = ask()
    assert measured > 0
    look(net, "--pid", app.pid, "latency", "off")
    assert ask() == measured


def test_a_shared_host(net):
    """Every slot, also of one that has just died, the manager, and the NIC's own counters."""
    host = net.shared_host("web", queues=2)
    line = ["redis-server", "--bind", host.ip, "--protected-mode", "no", "--save", "", "--port"]
    first, second = (host.start(*line, str(port)).wait_port(port) for port in (6379, 6380))
    client = net.host("client")
    for port in (6379, 6380):
        assert client.run("redis-cli", "-h", host.ip, "-p", str(port), "PING").stdout == "PONG\n"
    second.kill()
    until(lambda: host.show("status")[0]["deaths"] == 1, 10, "the death is noticed")
    seen = {row["pid"]: row for row in host.show("softnet")}
    assert seen[first.pid]["process"] == "alive" and seen[second.pid]["process"] == "dead"
    # By its own queue, or handed over by the other one.
    assert seen[second.pid]["packets"] + seen[second.pid]["taken"] > 0 and seen[second.pid]["host"] == host.directory.name
    assert {row["pid"] for row in json.loads(host.tool("--json", "top", "--once", "-d", "0.05"))["stacks"]} == {
        first.pid,
        second.pid,
    }
    families = metrics(host.tool("metrics"))
    assert families["uvstack_manager_deaths"].samples[0].value == 1
    nic = {s.labels["xstat"]: s.value for s in families["uvstack_nic_xstat"].samples}
    assert nic["rx_good_packets"] > 0
    taken = {int(s.labels["pid"]): s.value for s in families["uvstack_steer_own"].samples}
    assert taken[first.pid] > 0
    host.net.allow_log("died")


def test_wrong_usage(net):
    """What makes no sense is refused with the reason."""
    assert "--delay soon" in look(net, "top", "-d", "soon", status=2)
    assert "--pid me" in look(net, "-p", "me", "softnet", status=2)
    assert "can be switched on or off" in look(net, "latency", "maybe", status=2)
    assert "no command" in look(net, "bottom", status=2)
