# SPDX-License-Identifier: BSD-3-Clause
"""A process of a shared host ends in every way there is: the others serve on, its peers hear of it, and
what it had is another's at once."""

import pytest

from uvnet_harness import until

pytestmark = pytest.mark.uvnet(ports=6, queues=4, capture=False)

@pytest.fixture
def host(net):
    return net.shared_host("web", queues=2)


def redis(host, port):
    words = ["--save", "", "--protected-mode", "no", "--bind", host.ip, "--port", str(port)]
    return host.start("redis-server", *words).wait_ready(port=port)


def established(host):
    return [row for row in host.show("ss") if row["state"] == "ESTAB"]


def test_killed_with_connections(net, host):
    """Its peers hear RST at once, its slot and its port are another process's, and a connection to
    the process beside it is not disturbed."""
    victim, other = redis(host, 7001), redis(host, 7002)
    near, far = net.host("near"), net.host("far")
    subscriber = near.start("redis-cli", "-h", host.ip, "-p", "7001", "subscribe", "news")
    subscriber.wait_ready(log="^subscribe$")
    witness = far.start("redis-cli", "-h", host.ip, "-p", "7002", "subscribe", "news")
    witness.wait_ready(log="^subscribe$")
    (slot,) = host.slots_of(victim)
    victim.kill()
    subscriber.process.wait_output("Connection reset by peer", 2)
    assert subscriber.wait() == 1
    until(lambda: not host.slots_of(victim), 2, "the slot to be reclaimed")
    heir = redis(host, 7001)
    assert host.slots_of(heir)[0]["slot"] == slot["slot"]
    assert len(established(host)) == 1
    assert witness.running
    caller = net.host("caller")
    assert caller.run("redis-cli", "-h", host.ip, "-p", "7002", "publish", "news", "x").stdout == "1\n"
    witness.process.wait_output("^x$", 5)
    row = next(row for row in host.show("queues") if row["slot"] == slot["slot"])
    assert row["reclaims"] == 1
    assert row["reclaim_us"] < 100_000
    assert sum(row["lost"] for row in host.show("queues")) == 0
    assert other.running


def test_without_queue_among_the_dead(net):
    """The only process with a queue is killed: one that has none talks on, and so it does when another one
    has the queue, and when the manager is replaced meanwhile."""
    host = net.shared_host("web", queues=1)
    net.allow_log("took the host over")
    first, second = redis(host, 7001), redis(host, 7002)
    client, caller = net.host("client"), net.host("caller")
    watching = client.start("redis-cli", "-h", host.ip, "-p", "7002", "subscribe", "news").wait_ready(log="^subscribe$")

    def talks(word):
        said = caller.run("redis-cli", "-h", host.ip, "-p", "7002", "publish", "news", word)
        assert said.stdout == "1\n"
        watching.process.wait_output(f"^{word}$", 5)

    first.kill()
    until(lambda: len(host.show("ps")) == 1, 2, "the death to be seen")
    talks("alone")
    assert host.run("redis-cli", "-h", host.ip, "-p", "7002", "ping").stdout == "PONG\n"
    talks("again")
    host.tool("reload")
    until(lambda: host.ask("status").ok, 5, "the new manager")
    talks("reloaded")
    heir = redis(host, 7001)
    assert host.slots_of(heir)[0]["slot"] == 1
    talks("heir")
    assert sum(row["lost"] for row in host.show("queues")) == 0
    assert second.running


ENDINGS = {
    "exec": "os.execv('/usr/bin/python3', ['python3', '-c', 'import time; print(\"another\", flush=True); time.sleep(60)'])",
    "out of memory": "open('/proc/self/oom_score_adj', 'w').write('1000'); os.kill(os.getpid(), 9)",
    "terminated": "os.kill(os.getpid(), 15)",
}
"""What a process does in the end, in python. The kernel's out-of-memory killer sends SIGKILL."""


def test_every_kind_of_end(net, host):
    """exec of another program, SIGKILL, a signal without a handler: peers hear of it, port and slot are free."""
    net.allow_log("the sockets of the stack end here")
    client = net.host("client")
    for kind, ending in ENDINGS.items():
        program = (
            "import os, socket, sys\n"
            "s = socket.create_server((sys.argv[1], 7001)); print('ready', flush=True)\n"
            "c, _ = s.accept(); c.recv(1)\n" + ending + "\n"
        )
        server = host.start("/usr/bin/python3", "-c", program, host.ip)
        server.wait_ready(log="^ready$")
        asking = (
            "import socket, sys\n"
            "s = socket.create_connection((sys.argv[1], 7001)); s.settimeout(5); s.send(b'x')\n"
            "try:\n    print(s.recv(1))\nexcept ConnectionResetError:\n    print('reset')\n"
        )
        answer = client.run("/usr/bin/python3", "-c", asking, host.ip).stdout
        assert answer in ("reset\n", "b''\n"), kind
        until(lambda: not [row for row in host.show("rules") if row["port"] == 7001], 2, f"the port after {kind}")
        server.kill()
        host.apps.remove(server)
    status = host.show("status")[0]
    assert status["deaths"] + status["exits"] == len(ENDINGS)
