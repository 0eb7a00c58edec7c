# SPDX-License-Identifier: BSD-3-Clause
"""What processes of one host do with each other's frames, and without their manager."""

import pytest

from uvnet_harness import until

pytestmark = pytest.mark.uvnet(ports=6, queues=4, capture=False)


@pytest.fixture
def host(net):
    return net.shared_host("web", queues=4)


def redis(host, port):
    words = ["--save", "", "--protected-mode", "no", "--bind", host.ip, "--port", str(port)]
    return host.start("redis-server", *words).wait_ready(port=port)


def cli(host, port, *words):
    return ["redis-cli", "-h", host.ip, "-p", str(port), *words]


def test_processes_of_a_host_talk_to_each_other(host):
    """By the host's own address: nothing of it is seen on the wire."""
    redis(host, 7001)
    before = host.net.fabric.snapshot()
    assert host.run(*cli(host, 7001, "set", "key", "x" * 5000)).stdout == "OK\n"
    assert host.run(*cli(host, 7001, "strlen", "key")).stdout == "5000\n"
    sent = (host.net.fabric.snapshot() - before)["port.web.tx_packets"]
    assert sent <= 8  # announcements of the address


def test_outgoing_connections_of_all(net, host):
    """From one address, at the same time, each with the answers that are its own."""
    server = net.host("server")
    redis(server, 7001)
    apps = [
        host.start(*cli(server, 7001, "-r", "200", "-i", "0.002", "echo", f"answer{number}")) for number in range(3)
    ]
    for number, app in enumerate(apps):
        assert app.wait() == 0
        assert app.stdout.split() == [f"answer{number}"] * 200
    assert sum(row["lost"] for row in host.show("queues")) == 0


def test_process_with_several_stacks(host, program):
    """It takes a slot for each, beside another process, and gives them back."""
    redis(host, 7001)
    done = host.run(*program("stacks"), host.ip, set={"model": "separate", "stacks": 3}).check()
    assert done.stdout.split()[-1] == "forked_child_is_served"
    assert host.run(*cli(host, 7001, "ping")).stdout == "PONG\n"
    until(lambda: len(host.show("ps")) == 1, 5, "the slots to be given back")


def test_one_port_in_two_processes(net, host):
    """SO_REUSEPORT: new connections are spread; the end of one process leaves all to the other."""
    program = (
        "import socket, sys, os\n"
        "s = socket.socket()\n"
        "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)\n"
        "s.bind((sys.argv[1], 7000))\n"
        "s.listen()\n"
        "print('listening', flush=True)\n"
        "while True:\n"
        "    c, _ = s.accept()\n"
        "    c.sendall(sys.argv[2].encode())\n"
        "    c.close()\n"
    )
    servers = [
        host.start("/usr/bin/python3", "-c", program, host.ip, name).wait_ready(log="listening")
        for name in ("left", "right")
    ]
    asking = (
        "import socket, sys\n"
        "for _ in range(40):\n"
        "    print(socket.create_connection((sys.argv[1], 7000)).recv(9).decode())\n"
    )
    client = net.host("client")
    answers = client.run("/usr/bin/python3", "-c", asking, host.ip).check().stdout.split()
    assert len(answers) == 40
    assert set(answers) == {"left", "right"}
    servers[0].kill()
    until(lambda: len(host.show("ps")) == 1, 5, "the death to be seen")
    answers = client.run("/usr/bin/python3", "-c", asking, host.ip).check().stdout.split()
    assert answers == ["right"] * 40


def talks(watching, caller, host, port, word):
    """Is what is published to a redis heard by the one that has subscribed before?"""
    assert caller.run(*cli(host, port, "publish", "news", word)).stdout == "1\n"
    watching.process.wait_output(f"^{word}$", 5)


def test_manager_killed(net, host):
    """What runs goes on without it. The next one takes it over: processes come, go and die as ever, and what
    was the dead's is reclaimed - also of one that died while there was no manager."""
    net.allow_log("does not run: start it|the manager of the host has gone|took the host over")
    servers = [redis(host, 7001 + number) for number in range(3)]
    watching = net.host("client").start(*cli(host, 7001, "subscribe", "news")).wait_ready(log="^subscribe$")
    peer = net.host("peer").start(*cli(host, 7002, "subscribe", "news")).wait_ready(log="^subscribe$")
    caller = net.host("caller")
    host.manager.kill()
    talks(watching, caller, host, 7001, "alone")
    servers[1].kill()
    assert host.start("redis-server", "--port", "7009").wait() != 0
    assert "does not run: start it, uvstackd --config FILE" in host.log
    host.restart_manager()
    peer.process.wait_output("Connection reset by peer", 2)
    assert {row["pid"] for row in host.show("ps")} == {servers[0].pid, servers[2].pid}
    assert sum(row["reta"] for row in host.show("queues")) == 128
    talks(watching, caller, host, 7001, "taken over")
    late = redis(host, 7002)
    assert servers[2].stop() == 0
    late.kill()
    until(lambda: len(host.show("ps")) == 1, 2, "the end of two to be seen")
    status = host.show("status")[0]
    assert (status["exits"], status["deaths"]) == (1, 2)
    host.assert_clean()
    talks(watching, caller, host, 7001, "still there")


def test_reload(net, host):
    """The manager is replaced, twice, and nobody notices; with nobody there it makes its host anew."""
    server = redis(host, 7001)
    watching = net.host("client").start(*cli(host, 7001, "subscribe", "news")).wait_ready(log="^subscribe$")
    caller = net.host("caller")
    for word in ("once", "twice"):
        host.tool("reload")
        late = redis(host, 7002)  # waits for the new one
        assert host.show("status")[0]["manager"] == host.manager.pid
        talks(watching, caller, host, 7001, word)
        assert late.stop() == 0
    assert (server.stop(), watching.wait()) == (0, 1)
    host.tool("reload")
    redis(host, 7003)
    net.allow_log("took the host over")
