# SPDX-License-Identifier: BSD-3-Clause
"""What waiting costs, and how long it takes to wake up."""

import json
import os

import pytest

from uvnet_harness import until, wait

pytestmark = [pytest.mark.uvnet(capture=False), pytest.mark.xdist_group("timing")]

IDLE_SHARE = 0.05
"""Of one core, for everything together."""

QUANTUM_US = 1000
"""A round trip that waited for the scheduler takes a time slice, some milliseconds."""


@pytest.mark.models
def test_idle_hosts_cost_next_to_nothing(net, redis_server, full, record_property):
    """The demo between two benchmarks: a server of 4 queues, a client with 50 idle connections."""
    server, client = net.host("server", queues=4), net.host("client")
    busy = [redis_server(server)]
    busy.append(client.start("redis-benchmark", "-h", server.ip, "-c", "50", "-I").wait_ready())
    connected(net, client)
    seconds = 5 if full else 2
    begun = [app.process.cpu_seconds() for app in busy]
    daemon = cpu_of(net.fabric.daemon_pid)
    # Measuring takes a time; nothing is waited for. The processes end if they crash.
    assert not wait.process_end(busy[0].pid, seconds)
    used = [app.process.cpu_seconds() - before for app, before in zip(busy, begun)]
    used.append(cpu_of(net.fabric.daemon_pid) - daemon)
    record_property("idle_share", sum(used) / seconds)
    assert sum(used) / seconds < IDLE_SHARE, dict(zip(("server", "client", "daemon"), used))


def connected(net, client):
    """Wait until the client's connections are made: it has sent, and then nothing more."""
    seen = []

    def quiet():
        seen.append(net.fabric.snapshot()[f"port.{client.name}.tx_packets"])
        return len(seen) > 20 and seen[-1] > 50 and len(set(seen[-20:])) == 1

    until(quiet, 15, "50 connections")


def cpu_of(pid):
    """Seconds."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_round_trip_with_three_pollers_on_two_cores(net, program, full, record_property):
    """One server and two clients, each wanting a core, on whatever cores there are."""
    server = net.host("server", queues=2)
    clients = [net.host(), net.host()]
    server.start(*program("pingpong"), "serve", server.ip, "7").wait_port(7)
    seconds = "5" if full else "2"
    apps = [client.start(*program("pingpong"), "ask", server.ip, "7", seconds) for client in clients]
    for app in apps:
        assert app.wait(30) == 0, app.process.output()
    results = [json.loads(app.stdout) for app in apps]
    record_property("round_trip_us", json.dumps(results))
    for result in results:
        assert result["p50"] < QUANTUM_US, results


def test_round_trip_of_a_lone_pair(net, program, record_property):
    server, client = net.host("server"), net.host("client")
    server.start(*program("pingpong"), "serve", server.ip, "7").wait_port(7)
    done = client.run(*program("pingpong"), "ask", server.ip, "7", "1").check()
    result = json.loads(done.stdout)
    record_property("round_trip_us", json.dumps(result))
    assert result["p50"] < QUANTUM_US / 2, result


@pytest.mark.models
def test_what_waiting_costs_is_told(net):
    """The statistics of half a second in which nothing comes, asleep and polling."""
    host = net.host("server", poll="adaptive")
    idle = ["/usr/bin/python3", "-c", IDLE, host.ip]
    host.run(*idle).check()
    asleep = host.stats()
    assert asleep["loop.asleep_ns"] > 0.4e9
    assert asleep["loop.busy_ns"] + asleep["loop.spin_ns"] < 0.1e9
    assert asleep["loop.sleeps"] >= asleep["loop.wakeups"]
    host.run(*idle, set={"poll": "busy"}).check()
    busy = host.stats()
    assert busy["loop.spin_ns"] > 0.4e9
    assert busy["loop.asleep_ns"] < 0.1e9


IDLE = """
import select, socket, sys
s = socket.create_server((sys.argv[1], 7))
select.select([s], [], [], 0.5)
"""


@pytest.mark.models
def test_sleeping_server_wakes_up(net, program):
    """After a pause long enough to sleep, the first message is answered as fast as any."""
    server, wire = net.host("server", queues=4), net.wire("wire")
    server.start(*program("pingpong"), "serve", server.ip, "7").wait_port(7)
    for _ in range(5):
        port = net.fabric.snapshot().port("server")
        slept = sum(queue["sleeps"] for queue in port["rxqs"])
        assert wire.arp(server.ip, timeout=1) == server.mac
        until(
            lambda: sum(q["sleeps"] for q in net.fabric.snapshot().port("server")["rxqs"]) > slept,
            5,
            "the server to fall asleep again",
        )
