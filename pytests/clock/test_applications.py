# SPDX-License-Identifier: BSD-3-Clause
"""Unmodified applications in virtual time: their clocks, sleeps and timeouts are the fabric's."""

import contextlib
import json
import re
import time

import pytest
from scapy.layers.inet import IP, TCP

from uvnet_harness import apps

PYTHON = "/usr/bin/python3"
HOUR = 3600
WAYS = 12


@contextlib.contextmanager
def soon(seconds=60):
    """What is in here takes moments, on a busy machine too, whatever the clock of the fabric says: all of it is more than
    a minute there."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


def took(text):
    """What pytests/apps/waits.py printed: seconds by both clocks, by name."""
    return {name: (float(wall), float(steady)) for name, wall, steady in re.findall(r"^(\w+) (\S+) (\S+)$", text, re.M)}


@pytest.mark.models
def test_ten_minutes_in_every_way_pass_in_a_moment(net, program):
    with soon(), net.clock.auto():
        done = net.host().run(*program("waits")).check()
    waited = took(done.stdout)
    assert len(waited) == WAYS
    assert waited == {name: (pytest.approx(600, abs=1),) * 2 for name in waited}
    assert net.clock.elapsed == pytest.approx(WAYS * 600, abs=60)


def test_kernel_time_if_that_is_asked_for(net):
    host = net.host(app_clock="kernel")
    with soon(), net.clock.auto():
        done = host.run(PYTHON, "-c", "import time; a = time.time(); time.sleep(0.2); print(time.time() - a)")
    assert 0.2 <= float(done.stdout) < 5
    assert net.clock.elapsed < 1


def test_a_sleep_that_began_in_real_time_goes_on_in_virtual_time(net):
    app = net.host().start(PYTHON, "-uc", "import time; print('now'); time.sleep(1000); print('done')")
    app.process.wait_output("^now$")
    with soon(), net.clock.auto():
        assert app.wait() == 0
    assert 990 < net.clock.elapsed < 1010


def test_time_that_stands_still_does_so_for_applications(net):
    net.clock.stop()
    code = "import time; a = time.time_ns(); [None for _ in range(10**6)]; print(time.time_ns() - a)"
    assert net.host().run(PYTHON, "-c", code).stdout == "0\n"


def test_hosts_of_one_fabric_agree_on_the_time(net):
    with net.clock.auto():
        net.host().run(PYTHON, "-c", "import time; time.sleep(3600)")
    seen = [float(net.host().run(PYTHON, "-c", "import time; print(time.time())").stdout) for _ in range(2)]
    assert seen[0] == pytest.approx(seen[1], abs=0.01)
    assert seen[0] - time.time() == pytest.approx(HOUR, abs=30)


def test_who_sleeps_between_packets_is_waited_for(net):
    """Both sides sleep, alternately; every sleep is kept, and nobody's time passes unseen."""
    server, client = net.host("server"), net.host("client")
    echo = (
        "import socket, time\n"
        f"s = socket.socket(); s.bind(('{server.ip}', 7)); s.listen(); print('ready', flush=True)\n"
        "c = s.accept()[0]\n"
        "while data := c.recv(100): time.sleep(60); c.send(data)\n"
    )
    ask = (
        "import socket, time\n"
        f"c = socket.create_connection(('{server.ip}', 7))\n"
        "a = time.monotonic()\n"
        "for i in range(10): c.send(b'x'); assert c.recv(100) == b'x'; time.sleep(30)\n"
        "print(time.monotonic() - a)\n"
    )
    app = server.start(PYTHON, "-c", echo)
    app.process.wait_output("ready")
    with soon(), net.clock.auto():
        done = client.run(PYTHON, "-c", ask).check()
        assert app.wait() == 0
    assert float(done.stdout) == pytest.approx(900, abs=1)


# ------------------------------------------------------------------------- what takes hours


def test_keepalive_of_two_hours(net):
    """A peer that is gone: probes after two hours, every 75 s, and the connection ends at the ninth."""
    server, client = net.host("server"), net.host("client")
    code = (
        "import socket, time\n"
        f"s = socket.socket(); s.bind(('{server.ip}', 7)); s.listen(); print('ready', flush=True)\n"
        "c = s.accept()[0]; c.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)\n"
        "a = time.monotonic()\n"
        "try: c.recv(1)\n"
        "except OSError as e: print(type(e).__name__, time.monotonic() - a)\n"
    )
    app = server.start(PYTHON, "-c", code)
    app.process.wait_output("ready")
    peer = client.start(PYTHON, "-c", f"import socket, time; c = socket.create_connection(('{server.ip}', 7)); print('up', flush=True); time.sleep(1e6)")
    peer.process.wait_output("up")
    peer.kill()
    net.fabric.wait_no_port("client")
    with soon(), net.clock.auto():
        assert app.wait() == 0
    error, after = app.stdout.split()[-2:]
    assert error == "TimeoutError"
    assert float(after) == pytest.approx(2 * HOUR + 9 * 75, abs=80)


def test_rto_backs_off_to_the_end(net):
    """Nobody acknowledges: each retransmission waits twice as long, to a limit, until the end."""
    server, client = net.host("server"), net.host("client")
    app = server.start(PYTHON, "-c", f"import socket; s = socket.socket(); s.bind(('{server.ip}', 7)); s.listen(); print('ready', flush=True); c = s.accept()[0]; c.recv(1); c.recv(1)")
    app.process.wait_output("ready")
    code = (
        "import socket, time\n"
        f"c = socket.create_connection(('{server.ip}', 7)); c.send(b'x'); time.sleep(1); print('up', flush=True)\n"
        "a = time.monotonic(); time.sleep(5); c.send(b'y')\n"
        "try: c.recv(1)\n"
        "except OSError as e: print(type(e).__name__, time.monotonic() - a)\n"
    )
    peer = client.start(PYTHON, "-c", code)
    peer.process.wait_output("up")
    lost = net.link(client).fault("tcp", drop=0)
    with soon(), net.clock.auto():
        assert peer.wait() == 0
    app.kill()
    error, after = peer.stdout.split()[-2:]
    assert error == "TimeoutError"
    assert 100 < float(after) < 1000, "at least R2 of RFC 9293, 3.8.3"
    assert lost.hits > 8


def test_time_wait_ends(net, program):
    """The side that closes first keeps the connection for two MSL; then its port is free again."""
    server, wire = net.host("server"), net.wire()
    code = (
        "import socket, time\n"
        f"s = socket.socket(); s.bind(('{server.ip}', 7)); s.listen(); print('ready', flush=True)\n"
        "while True: s.accept()[0].close()\n"
    )
    app = server.start(PYTHON, "-c", code)
    app.process.wait_output("ready")
    head = wire.ether(server.mac) / IP(src=wire.ip, dst=server.ip)

    def tcp(flags, seq, ack=0):
        return head / TCP(sport=1000, dport=7, flags=flags, seq=seq, ack=ack)

    def answers_to_fin():
        """It is asked with the FIN that ended the connection, again."""
        wire.drain()
        wire.send(tcp("FA", 101, end[TCP].seq + 1))
        return wire.expect("tcp src port 7").packet[TCP].flags

    wire.send(tcp("S", 100))
    opened = wire.expect("tcp[tcpflags] == tcp-syn|tcp-ack")
    wire.send(tcp("A", 101, opened[TCP].seq + 1))
    end = wire.expect("tcp[tcpflags] & tcp-fin != 0")
    wire.send(tcp("FA", 101, end[TCP].seq + 1))
    wire.expect("tcp[tcpflags] == tcp-ack")
    net.clock.stop()
    with soon():
        net.clock.step(14)
        assert answers_to_fin() == "A", "still there, and 15 s begin again"
        net.clock.step(14)
        assert answers_to_fin() == "A", "still there"
        net.clock.step(16)
        assert "R" in answers_to_fin(), "gone"
    app.kill()


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_idle_timeout_of_nginx(net, workers):
    """keepalive_timeout of 75 s: the connection of a client that asks no more is closed then, by the one process
    or by the worker, a child of it."""
    server, client = net.host("server"), net.host("client")
    (net.folder / "page").write_text("hello")
    apps.nginx(server, net.folder, workers=workers)
    code = (
        "import socket, time\n"
        f"c = socket.create_connection(('{server.ip}', 80)); c.send(b'GET /page HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n"
        "data = b''\n"
        "while b'hello' not in data: data += c.recv(10000)\n"
        "a = time.monotonic()\n"
        "assert c.recv(1) == b''\n"
        "print(time.monotonic() - a)\n"
    )
    with soon(), net.clock.auto():
        done = client.run(PYTHON, "-c", code).check()
    assert float(done.stdout) == pytest.approx(75, abs=1)


# --------------------------------------------------------------------------------- twice the same


def conversation(net, program, receiver, sender):
    """A transfer over a slow and bad link, in virtual time: what was sent, and what the link did."""
    net.clock.stop()
    net.clock.warp(1 - net.clock.now % 1)  # protocols count whole milliseconds
    listening = receiver.start(*program("transfer"), "receive", receiver.ip, "5001")
    listening.process.wait_output("listening")
    bad = {"rate": "1mbit", "queue": 60_000, "delay": "5ms", "jitter": "3ms", "reorder": True, "loss": "3%"}
    links = [net.link(host).model(**bad, seed=5) for host in (sender, receiver)]
    before = len(net.fabric.decisions)
    with net.clock.auto():
        sender.run(*program("transfer"), "send", receiver.ip, "5001", "100000", "7").check()
        assert listening.wait(10) == 0
    log = [json.loads(line) for line in net.fabric.decisions[before:].splitlines()]
    for link in links:
        link.remove()
    net.clock.real()
    return [(e["port"], e["len"], e["verdict"], e.get("ns")) for e in log]


def test_same_seed_same_packets(net, program):
    receiver, sender = net.host("receiver"), net.host("sender")
    one, two = (conversation(net, program, receiver, sender) for _ in range(2))
    assert len(one) > 100
    assert {"loss", "delay"} <= {verdict for _, _, verdict, _ in one}
    assert one == two
