# SPDX-License-Identifier: BSD-3-Clause
"""Processes that share a NIC, an address and its ports: each frame finds the one that it is for, whichever
queue it arrives on."""

import json
import signal
from pathlib import Path

import pytest

pytestmark = pytest.mark.uvnet(ports=6, queues=4, capture=False)

WHOAMI = Path(__file__).parent.parent / "apps" / "whoami.py"


@pytest.fixture
def host(net):
    return net.shared_host("web", queues=2)


def server(host, kind, port, name):
    return host.start("python3", WHOAMI, kind, host.ip, str(port), name).wait_ready(log="^ready$")


def asker(client, host, port, count):
    app = client.start("python3", WHOAMI, "ask", host.ip, str(port), str(count))
    return app, json.loads(app.process.wait_output(r"^\{.*\}$", 60)[0])


def moved(app, times):
    """How many of the asker's connections have somebody else at their other end now?"""
    app.process.send_signal(signal.SIGUSR1)
    return int(app.process.wait_output(rf"(?:moved \d+\s+){{{times - 1}}}moved (\d+)", 60)[1])


def total(host, column):
    return sum(row[column] for row in host.show("queues"))


def test_one_port_of_several_processes(net, host):
    """SO_REUSEPORT across processes, with fewer queues than processes: all get connections, and no
    connection moves when listeners come and go."""
    first, second = server(host, "tcp", 7000, "a"), server(host, "tcp", 7000, "b")
    client = net.host("client")
    app, names = asker(client, host, 7000, 24)
    assert set(names) == {"a", "b"}
    third = server(host, "tcp", 7000, "c")
    assert moved(app, 1) == 0
    _, later = asker(net.host("later"), host, 7000, 36)
    assert set(later) == {"a", "b", "c"}
    third.kill()
    assert moved(app, 2) == 0
    assert total(host, "lost") == 0
    assert (first.running, second.running) == (True, True)


def test_datagrams(net, host):
    """UDP ports of different processes, on whichever queue the datagrams arrive."""
    for number in range(3):
        server(host, "udp", 7000 + number, f"u{number}")
    client = net.host("client")
    script = (
        "import socket,sys\n"
        "for number in range(3):\n"
        "    for turn in range(8):\n"
        "        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)\n"
        f"        s.sendto(b'?', ('{host.ip}', 7000 + number)); print(s.recv(100).decode())\n"
    )
    done = client.run("python3", "-c", script).check()
    assert done.stdout.split() == [f"u{number}" for number in range(3) for _ in range(8)]
    assert total(host, "lost") == 0


def test_errors_find_their_socket(net, host):
    """An ICMP error goes to the process whose datagram it is about."""
    server(host, "tcp", 7000, "a")
    server(host, "tcp", 7001, "b")
    peer = net.host("peer")
    peer.start("python3", WHOAMI, "tcp", peer.ip, "7002", "peer").wait_ready(log="^ready$")
    for _ in range(2):  # from another port each time: the answers arrive on either queue
        assert host.run("python3", WHOAMI, "refused", peer.ip, "9").stdout == "ConnectionRefusedError\n"


def test_processes_of_one_host_talk(host):
    """Loopback between processes: frames to one's own address go straight to whose they are."""
    server(host, "tcp", 7000, "a")
    server(host, "tcp", 7001, "b")
    for port, name in ((7000, "a"), (7001, "b")):
        app, names = asker(host, host, port, 5)
        assert names == {name: 5}
        assert app.stop() is not None
    assert total(host, "direct") < 20  # nothing of it has been on the wire


def test_answers_come_home(net, host):
    """connect() takes a port that the NIC's hash brings to its own queue: nothing is forwarded."""
    peer = net.host("peer")
    peer.start("python3", WHOAMI, "tcp", peer.ip, "7000", "peer").wait_ready(log="^ready$")
    server(host, "tcp", 7001, "beside")  # has the other queue
    before = total(host, "forwarded")
    app, names = asker(host, peer, 7000, 30)
    assert names == {"peer": 30}
    assert total(host, "forwarded") - before <= 2  # ARP is everybody's
    assert app.running
