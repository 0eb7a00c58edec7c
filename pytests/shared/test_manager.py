# SPDX-License-Identifier: BSD-3-Clause
"""A shared host and its manager: slots, refusals, orderly ends."""

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from uvnet_harness import until

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


def test_only_the_driver_of_the_card_is_loaded(host):
    """An application does not load the others that DPDK has: that took most of a start."""
    maps = Path(f"/proc/{redis(host).pid}/maps").read_text(encoding="ascii")
    assert set(re.findall(r"librte_(?:net|crypto|event)_\w+", maps)) == {"librte_net_uveth"}


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


ATTACH = "import socket, sys; s = socket.socket(); s.bind((sys.argv[1], 0)); s.listen()"
"""A process that attaches and ends."""


def attach(host, ending="", **more):
    return host.start("/usr/bin/python3", "-c", ATTACH + ending, host.ip, **more)


def test_starts_and_ends_leave_nothing(host):
    """In order or killed: no memory, no file, no descriptor, no buffer more than before. ci/soak --starts 100
    has more of them."""
    before = host.footprint()
    for _ in range(3):
        apps = [attach(host, "; import os; os.kill(os.getpid(), 9)" if number % 2 else "") for number in range(4)]
        for app in apps:
            app.wait()
            app.kill()  # the harness is not surprised
            host.apps.remove(app)
    until(lambda: not host.grown(before), 5, lambda: f"nothing to have grown: {host.grown(before)}")
    status = host.show("status")[0]
    assert (status["exits"], status["deaths"]) == (6, 6)
    host.assert_clean()


def run_tool(net, *words):
    return subprocess.run([net.build.uvstack, *words], capture_output=True, text=True, check=True).stdout


def test_traced_process_takes_no_shared_memory(net, host):
    """The buffers of its trace are its own: who is killed leaves none behind, nor the lock of what all share."""
    before = host.show("status")[0]
    tracing = {"trace": "uvstack.*", "trace_dir": net.folder / "traces"}
    killed = attach(host, "; import os; os.kill(os.getpid(), 9)", set=tracing)
    killed.wait()
    killed.kill()
    host.apps.remove(killed)
    until(lambda: host.show("ps") == [], 5, "it to be reclaimed")
    assert host.show("status")[0]["heap"] == before["heap"]
    assert attach(host, set=tracing).wait() == 0
    assert "uvstack.sock.listen" in run_tool(net, "trace", net.folder / "traces")


def test_killed_while_attaching(net, host):
    """At moments of chance: whatever it held, the next one attaches."""
    chance = net.random("moments")
    for _ in range(4):
        app = attach(host)
        until(lambda: [row for row in host.show("ps") if row["pid"] == app.pid] or not app.running, 10, "it to attach")
        time.sleep(chance.random() * 0.1)  # a moment of chance, not a wait
        app.kill()
        host.apps.remove(app)
        late = attach(host)
        assert late.wait() == 0
    assert host.show("ps") == []


def test_drained(host):
    """Nobody new comes in; who is there serves on."""
    server = redis(host)
    host.tool("drain")
    assert attach(host).wait() != 0
    assert "the host is being drained" in host.log
    host.net.allow_log("the host is being drained")
    client = host.net.host("client")
    assert client.run("redis-cli", "-h", host.ip, "ping").stdout == "PONG\n"
    host.tool("accept")
    assert attach(host).wait() == 0
    assert server.running


def test_ports_and_who_holds_them(host):
    server = redis(host, 7001)
    (port,) = [row for row in host.show("rules") if row["port"] == 7001]
    (slot,) = host.slots_of(server)
    assert (port["proto"], port["held_by"], port["open_in"]) == ("tcp", str(slot["slot"]), str(slot["slot"]))


def test_stopped_process_keeps_its_connections(net, host):
    """Its queue's traffic goes to the others after a while, and comes back when it runs again."""
    stopped, other = redis(host, 7001), redis(host, 7002)
    stopped.send_signal(signal.SIGSTOP)
    until(lambda: host.slots_of(stopped)[0]["state"] == "stalled", 5, "it to be noticed")
    assert (host.slots_of(stopped)[0]["reta"], host.slots_of(other)[0]["reta"]) == (0, 128)
    stopped.send_signal(signal.SIGCONT)
    until(lambda: host.slots_of(stopped)[0]["state"] == "live", 5, "it to be noticed")
    client = net.host("client")
    assert client.run("redis-cli", "-h", host.ip, "-p", "7001", "ping").stdout == "PONG\n"
    net.allow_log("is stopped: its queues' traffic|runs again")


def test_help_and_completion(net):
    """Every command that --help names is completed; what there is not is refused."""
    tool = str(net.build.uvstack)
    text = subprocess.run([tool, "--help"], capture_output=True, text=True, check=True).stdout
    script = subprocess.run([tool, "completion"], capture_output=True, text=True, check=True).stdout
    commands = re.findall(r"^  ([a-z]+)  ", text, re.M)
    assert {"ps", "queues", "rules", "pools", "ss", "ledger", "drain", "status"} <= set(commands)
    assert [word for word in commands if not re.search(rf"\b{word}\b", script)] == []
    wrong = subprocess.run([tool, "frobnicate"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert 'there is no command "frobnicate"' in wrong.stderr
