# SPDX-License-Identifier: BSD-3-Clause
"""Processes that share a NIC, an address and its ports: each frame finds the one that it is for, whichever
queue it arrives on."""

import json
import signal
from pathlib import Path

import pytest

from uvnet_harness import until

pytestmark = pytest.mark.uvnet(ports=6, queues=4, capture=False)

WHOAMI = Path(__file__).parent.parent / "apps" / "whoami.py"


@pytest.fixture
def host(net):
    return net.shared_host("web", queues=2)


def server(host, kind, port, name, address=None):
    words = ["python3", WHOAMI, kind, address or host.ip, str(port), name]
    return host.start(*words).wait_ready(log="^ready$")


def asker(client, host, port, count, address=None):
    app = client.start("python3", WHOAMI, "ask", address or host.ip, str(port), str(count))
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


@pytest.mark.parametrize("family", ["ip", "ip6"])
def test_rules_in_the_nic(net, family):
    """Connections whose frames come to another process have a rule in the network card, which brings them to
    their own: nobody forwards them any more. It goes with their process."""
    host = net.shared_host("web", queues=3, ipv6=family == "ip6")
    address = getattr(host, family)
    first, second = (server(host, "tcp", 7000, name, address) for name in "ab")
    app, names = asker(net.host("client", ipv6=family == "ip6"), host, 7000, 64, address)
    assert set(names) == {"a", "b"}
    server(host, "tcp", 7001, "beside", address)  # a third of what arrives comes to its queue now

    def rules():
        return [row for row in host.show("rules", "rules") if row["nic"] == "yes"]

    assert moved(app, 1) == 0  # by soft queues: whoever has them asks for rules
    until(lambda: {row["slot"] for row in rules()} == {1, 2}, 5, "rules for connections of both")
    known = rules()
    by_software = total(host, "forwarded")
    assert by_software >= len(known)
    assert moved(app, 2) == 0
    assert total(host, "forwarded") - by_software <= 2  # ARP and the like are everybody's
    frames = {row["remote"]: int(row["frames"]) for row in known}
    assert all(int(row["frames"]) > frames[row["remote"]] for row in rules())
    first.kill()
    until(lambda: {row["slot"] for row in rules()} == {2}, 5, "the rules of the dead to go")
    (nic,) = host.show("rules", "nic")
    assert (nic["takes"], nic["rules"], nic["refused"]) == ("tcp,udp,tcp6,udp6", len(rules()), 0)
    assert second.running


def test_rules_in_the_nic_after_the_manager(net):
    """They lead on while there is no manager, and the next one has them as the last one had."""
    net.allow_log("the manager of the host has gone|took the host over")
    host = net.shared_host("web", queues=3)
    for name in "ab":
        server(host, "tcp", 7000, name)
    app, _ = asker(net.host("client"), host, 7000, 24)
    server(host, "tcp", 7001, "beside")
    assert moved(app, 1) == 0
    until(lambda: host.show("rules", "nic")[0]["rules"] > 0, 5, "rules")
    before = total(host, "forwarded")
    host.manager.kill()
    assert moved(app, 2) == 0
    host.restart_manager()
    assert total(host, "forwarded") - before <= 2
    table = host.show("rules", "rules")
    assert {row["nic"] for row in table} == {"yes"}
    assert host.show("rules", "nic")[0]["rules"] == len(table)
    assert moved(app, 3) == 0
    assert total(host, "forwarded") - before <= 4


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


def test_connected_datagrams(net, host):
    """Sockets that are connected have their peers' datagrams, though another process has bound the port,
    too, and takes what is anybody's."""
    client = net.host("client")
    words = [host.ip, "7000", "connected", client.ip, "9000", "12"]
    connected = host.start("python3", WHOAMI, "peers", *words).wait_ready(log="^ready$")
    server(host, "udp", 7000, "anybody")
    script = (
        "import socket\n"
        "for port in [*range(9000, 9012), *range(9100, 9112)]:\n"
        "    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)\n"
        "    s.bind(('0.0.0.0', port))\n"
        f"    s.sendto(b'?', ('{host.ip}', 7000)); print(s.recv(100).decode())\n"
    )
    done = client.run("python3", "-c", script).check()
    assert done.stdout.split() == ["connected"] * 12 + ["anybody"] * 12
    assert connected.stop() is not None
    until(lambda: host.show("rules", "rules") == [], 5, "the rules to go with their connections")


def test_groups(net, host):
    """What is sent to a group reaches its members in all processes, from without and from within; those
    that have left hear no more."""
    group, port = "239.1.2.3", "7000"
    members = [host.start("python3", WHOAMI, "group", group, port).wait_ready(log="^ready$") for _ in range(3)]
    peer = net.host("peer")
    peer.run("python3", WHOAMI, "send", group, port, "outside", "1").check()
    for member in members:
        member.process.wait_output("^heard outside$", 5)
    host.run("python3", WHOAMI, "send", group, port, "inside", "1").check()
    for member in members:
        member.process.wait_output("^heard inside$", 5)
    peer.run("python3", WHOAMI, "send", group, port, "leave", "1").check()
    for member in members:
        member.process.wait_output("^left$", 5)
    late = host.start("python3", WHOAMI, "group", group, port).wait_ready(log="^ready$")
    peer.run("python3", WHOAMI, "send", group, port, "late", "1").check()
    late.process.wait_output("^heard late$", 5)
    assert all("late" not in member.stdout for member in members)


@pytest.mark.parametrize("sender", ["peer", "host"])
def test_large_datagrams(net, host, sender):
    """In fragments from the wire, in one piece from a process of the host: whole at whose they are."""
    apps = [
        host.start("python3", WHOAMI, "udp", host.ip, str(7000 + number), f"u{number}").wait_ready(log="^ready$")
        for number in range(2)
    ]
    at = host if sender == "host" else net.host("peer")
    script = (
        "import socket\n"
        "for number in range(2):\n"
        "    for size in (3000, 20000, 60000):\n"
        "        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)\n"
        f"        s.sendto(b'?' * size, ('{host.ip}', 7000 + number)); print(s.recv(100).decode())\n"
    )
    done = at.run("python3", "-c", script).check()
    assert done.stdout.split() == [f"u{number}" for number in range(2) for _ in range(3)]
    assert all(app.running for app in apps)


def test_ipv6(net):
    """As with IPv4: a shared port, ports of one process each, datagrams, the end of a process."""
    host = net.shared_host("six", queues=2, ipv6=True)
    server(host, "tcp", 7000, "a", host.ip6)
    server(host, "tcp", 7000, "b", host.ip6)
    server(host, "udp", 7001, "c", host.ip6)
    client = net.host("client", ipv6=True)
    app, names = asker(client, host, 7000, 16, host.ip6)
    assert set(names) == {"a", "b"}
    assert moved(app, 1) == 0
    script = (
        "import socket\n"
        "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.settimeout(5)\n"
        f"s.sendto(b'?' * 4000, ('{host.ip6}', 7001)); print(s.recv(100).decode())\n"
    )
    assert net.host("other", ipv6=True).run("python3", "-c", script).check().stdout == "c\n"
    waiting = (
        "import socket\n"
        f"s = socket.create_connection(('{host.ip6}', 7002)); print('ready', flush=True); s.recv(1)\n"
    )
    victim = server(host, "tcp", 7002, "d", host.ip6)
    peer = net.host("peer", ipv6=True).start("python3", "-c", waiting).wait_ready(log="^ready$")
    victim.kill()
    peer.process.wait_output("ConnectionResetError", 2)
