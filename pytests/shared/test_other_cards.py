# SPDX-License-Identifier: BSD-3-Clause
"""Several processes on a network card that is not uveth. Where the driver's queues are one process's, the manager
polls them for all: any process may be killed, and none of them is ever in the driver."""

import dataclasses
from pathlib import Path

import pytest

from uvnet_harness import nics, until

pytestmark = pytest.mark.uvnet(ports=6, queues=4)

WHOAMI = Path(__file__).parent.parent / "apps" / "whoami.py"


@pytest.fixture(params=["tap", "af_packet"])
def host(net, monkeypatch, request):
    """A shared host on such a card; other hosts are on uveth."""
    problem = nics.problem(nics.Spec(request.param))
    if problem:
        pytest.skip(problem)
    with monkeypatch.context() as patch:
        patch.setattr(net, "settings", dataclasses.replace(net.settings, nic=nics.Spec(request.param)))
        return net.shared_host("web", queues=4)


def redis(host, port):
    words = ["--save", "", "--protected-mode", "no", "--bind", host.ip, "--port", str(port)]
    return host.start("redis-server", *words).wait_ready(port=port)


def slot_of(host, app):
    (row,) = host.slots_of(app)
    return row["slot"]


def test_killed_process_leaves_the_others_serving(net, host):
    """Two unmodified servers; one is killed, its peer hears of it, the other serves on, and the slot is the next
    one's."""
    assert [row["name"] for row in host.show("queues")] == ["uvstackd", "", "", ""]
    other, victim = redis(host, 7001), redis(host, 7002)
    client, caller = net.host("client"), net.host("caller")

    def say(port, *words):
        return caller.run("redis-cli", "-h", host.ip, "-p", str(port), *words).stdout

    assert say(7001, "set", "key", "x" * 5000) == "OK\n"
    watching = client.start("redis-cli", "-h", host.ip, "-p", "7002", "subscribe", "news").wait_ready(log="^subscribe$")
    slot = slot_of(host, victim)
    victim.kill()
    watching.process.wait_output("Connection reset by peer", 2)
    until(lambda: not host.slots_of(victim), 2, "the slot to be free")
    host.assert_clean()
    assert say(7001, "strlen", "key") == "5000\n"
    assert slot_of(host, redis(host, 7002)) == slot
    assert say(7002, "ping") == "PONG\n"
    assert sum(row["lost"] for row in host.show("queues")) == 0
    assert other.running


def test_the_card_goes_with_its_manager(net, host):
    """It alone has it: while there are processes it is not replaced, and when it was killed the next one waits
    for their end."""
    net.allow_log("the manager of the host has gone|no port was found")
    server = redis(host, 7001)
    assert not host.ask("reload").ok
    host.manager.kill()
    words = [*host.card.prefix(), *host.group.words, str(net.build.uvstackd), "--config", str(host.config_path)]
    refused = net.processes.run("again", words, host.folder, env=host.group.env, timeout=10)
    assert refused.returncode == 1
    assert "has died, and the network card with it" in refused.stderr
    server.kill()
    host.apps.remove(server)
    host.restart_manager()
    redis(host, 7001)


def test_on_rings(net):
    """net_ring, whose frames come back to who sent them: what a process sends to a group its members hear, in
    each process; one of them is killed, and its slot is the next one's."""
    net.allow_log("net_ring does not let its address be set")
    host = net.shared_host("web", nic="ring")
    group, port = "239.1.2.3", "7000"
    members = [host.start("python3", WHOAMI, "group", group, port).wait_ready(log="^ready$") for _ in range(2)]
    script = (
        "import socket\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)\n"
        f"for _ in range(40): s.sendto(b'by wire', ('{group}', {port}))\n"
    )
    host.run("python3", "-c", script).check()
    for member in members:
        member.process.wait_output("^heard by wire$", 5)
    slot = slot_of(host, members[1])
    members[1].kill()
    until(lambda: not host.slots_of(members[1]), 2, "the slot to be free")
    heir = host.start("python3", WHOAMI, "group", group, port).wait_ready(log="^ready$")
    assert slot_of(host, heir) == slot
    host.assert_clean()
    assert members[0].running
