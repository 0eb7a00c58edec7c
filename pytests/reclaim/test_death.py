# SPDX-License-Identifier: BSD-3-Clause
"""Hosts and the daemon are killed under traffic: the others go on, the dead return, nothing leaks."""

import json

import pytest

from uvnet_harness import until

pytestmark = pytest.mark.uvnet(capture=False)


@pytest.fixture
def bystanders(net, program):
    """Two hosts with a conversation of their own; a function that asserts that it goes on."""
    server, client = net.host("calm"), net.host("calm-client")
    server.start(*program("pingpong"), "serve", server.ip, "7").wait_port(7)

    def converse():
        done = client.run(*program("pingpong"), "ask", server.ip, "7", "0.2").check()
        assert json.loads(done.stdout)["count"] > 10

    converse()
    return converse


def load(client, server):
    """A benchmark without end, under way."""
    app = client.start("redis-benchmark", "-h", server.ip, "-c", "50", "-t", "get,set", "-l", "-q")
    app.wait_ready()
    traffic(client.net, server)
    return app


def traffic(net, host, packets=1000):
    """Wait until the host receives."""
    before = net.fabric.snapshot()
    name = f"port.{host.name}.rx_packets"
    until(lambda: (net.fabric.snapshot() - before)[name] > packets, 15, f"{packets} packets to {host.name}")


def assert_answers(client, server):
    """redis answers."""
    done = client.run("redis-cli", "-h", server.ip, "PING")
    assert done.stdout == "PONG\n", done


def test_killed_server_returns(net, redis_server, bystanders):
    server, client, other = net.host("server", queues=4), net.host("client"), net.host("other")
    for _ in range(2):
        app = redis_server(server)
        pressure = load(client, server)
        app.kill()
        net.fabric.wait_no_port("server")
        bystanders()
        pressure.kill()
        net.fabric.wait_no_port("client")
    redis_server(server)
    assert_answers(other, server)
    assert_answers(client, server)


@pytest.mark.nic
def test_killed_server_serves_again_on_the_same_card(net, redis_server):
    server, client = net.host("server", queues=4), net.host("client")
    for _ in range(2):
        app = redis_server(server)
        assert_answers(client, server)
        app.kill()
        server.wait_gone()
    redis_server(server)
    assert_answers(client, server)


def test_killed_client_returns(net, redis_server, bystanders):
    server, client = net.host("server", queues=4), net.host("client")
    redis_server(server)
    for _ in range(3):
        load(client, server).kill()
        net.fabric.wait_no_port("client")
        assert_answers(client, server)
    bystanders()


def test_killed_daemon_is_replaced_under_traffic(net, redis_server):
    server, client, other = net.host("server", queues=4), net.host("client"), net.host("other")
    redis_server(server)
    pressure = load(client, server)
    net.fabric.kill_daemon()
    traffic(net, server)
    net.fabric.restart_daemon()
    traffic(net, server)
    assert_answers(other, server)
    pressure.kill()
    net.fabric.wait_no_port("client")
    assert_answers(client, server)


def test_host_killed_while_the_daemon_is_dead(net, redis_server):
    server, client, other = net.host("server", queues=4), net.host("client"), net.host("other")
    app = redis_server(server)
    pressure = load(client, server)
    net.fabric.kill_daemon()
    app.kill()
    pressure.kill()
    net.fabric.restart_daemon()
    net.fabric.wait_no_port("server")
    redis_server(server)
    assert_answers(other, server)
