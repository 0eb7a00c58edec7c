# SPDX-License-Identifier: BSD-3-Clause
"""A shared host and its manager: slots, refusals, orderly ends."""

import pytest

pytestmark = pytest.mark.uvnet(ports=6, queues=4, capture=False)



def command(host, port):
    """On the stack's address only: the kernel's ports are all tests'."""
    return ["redis-server", "--save", "", "--protected-mode", "no", "--bind", host.ip, "--port", str(port)]


@pytest.fixture
def host(net):
    return net.shared_host("web", queues=2)


def redis(host, port=6379, **more):
    return host.start(*command(host, port), **more).wait_ready(port=port)


def test_an_application_comes_and_goes(net, host):
    """It has a slot with a queue while it runs, answers, and leaves nothing."""
    server = redis(host)
    (slot,) = host.slots_of(server)
    assert (slot["state"], slot["name"], slot["reta"]) == ("live", "redis-server", 128)
    client = net.host("client")
    assert client.run("redis-cli", "-h", host.ip, "set", "key", "value").stdout == "OK\n"
    assert client.run("redis-cli", "-h", host.ip, "get", "key").stdout == "value\n"
    assert server.stop() == 0
    assert host.show("ps") == []
    (slot,) = [row for row in host.show("queues") if row["slot"] == slot["slot"]]
    assert (slot["state"], slot["reclaims"]) == ("free", 0)
    assert host.show("status")[0]["exits"] == 1
    host.assert_clean()


def test_no_slot_left(host):
    """More processes than slots: the one too many is told why it cannot have one."""
    servers = [redis(host, 7000 + number) for number in range(4)]
    late = host.start(*command(host, 7009))
    assert late.wait() != 0
    assert "wants 1 slots, and 0 of 4 are free" in host.log
    servers[0].stop()
    redis(host, 7010)
    host.net.allow_log("wants 1 slots")


def test_manager_twice(net, host):
    """There is one manager to a host; the second one says which."""
    words = [*host.group.words, net.build.uvstackd, "--config", host.config_path]
    second = net.processes.run("second", words, net.folder, timeout=10, env=host.group.env)
    assert second.returncode == 1
    assert f"the host has a manager already: process {host.manager.pid}" in second.stderr


def test_mode_exclusive_has_no_manager(net):
    host = net.host("alone")
    result = net.processes.run(
        "uvstackd", [net.build.uvstackd, "--config", host.config_path], net.folder, timeout=10
    )
    assert result.returncode == 2
    assert "mode is exclusive, and such a host has no manager: mode = shared" in result.stderr


def test_no_manager(net, host):
    """Without it nobody new comes in, and is told what to do."""
    host.manager.stop()
    late = host.start(*command(host, 6379))
    assert late.wait() != 0
    net.allow_log("there is no host at")
    assert "start its manager, uvstackd --config FILE" in host.log


def test_processes_share_an_address(net, host):
    """More processes than queues, each on a port of its own: each answers, whichever queue its frames
    arrive on."""
    servers = [redis(host, 7000 + number) for number in range(4)]
    client = net.host("client")
    for number in range(4):
        cli = ["redis-cli", "-h", host.ip, "-p", str(7000 + number)]
        client.run(*cli, "set", "who", str(number)).check()
    for number in range(4):
        cli = ["redis-cli", "-h", host.ip, "-p", str(7000 + number)]
        assert client.run(*cli, "get", "who").stdout == f"{number}\n"
        client.run("redis-benchmark", "-h", host.ip, "-p", str(7000 + number), "-n", "2000", "-q", "-t", "get")
    rows = host.show("queues")
    assert sum(row["forwarded"] for row in rows) > 1000
    assert sum(row["lost"] for row in rows) == 0
    assert [server.stop() for server in servers] == [0, 0, 0, 0]


def test_port_taken_by_another_process(host):
    redis(host, 6379)
    second = host.start(*command(host, 6379))
    assert second.wait() == 1
    assert "Address already in use" in second.stdout
