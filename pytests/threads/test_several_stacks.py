# SPDX-License-Identifier: BSD-3-Clause
"""Several stacks in one process, a queue each: every thread uses every socket, whichever stack it is on."""

import re
from pathlib import Path

import pytest
from scapy.layers.inet import IP

CASES = re.findall(r"^def (\w+)\(\):\n", (Path(__file__).parents[1] / "apps" / "stacks.py").read_text(), re.M)

CONNECTIONS = 32


def of_each(stats, name):
    """A counter of each stack of a host with two."""
    return [stats[f"stacks.{number}.{name}"] for number in range(2)]


@pytest.mark.models("shared", "several")
def test_sockets_of_all_stacks_are_used_as_one(net, program, stack_model):
    host = net.host("server", **({"queues": 2, "stacks": 2} if stack_model == "shared" else {}))
    done = host.run(*program("stacks"), host.ip, timeout=60).check()
    assert done.stdout.split() == CASES


@pytest.mark.models("several")
def test_connections_spread_over_the_stacks(net, program):
    """Those that arrive by RSS; those that are made one by one, each from a port whose answers come to
    its own stack, so that none is handed from one to the other."""
    server, client = net.host("server"), net.host("client")
    app = server.start(*program("echo_asyncio"), "serve", server.ip, "7").wait_port(7)
    client.run(*program("echo_asyncio"), "ask", server.ip, "7", str(CONNECTIONS), "5").check()
    app.stop()
    assert of_each(client.stats(), "lwip.tcp_active_opens") == [CONNECTIONS // 2, CONNECTIONS // 2]
    assert sum(n for name, n in client.stats().items() if name.startswith("steer.to_")) == 0
    arrived = of_each(server.stats(), "lwip.tcp_passive_opens")
    assert min(arrived) > 0 and sum(arrived) == CONNECTIONS + 1, "with the one that asked whether it listens"


ALLOWED = ("unshare", "--net", "sh", "-c", 'echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range && exec "$@"', "sh")
"""Ping sockets are for everybody: net.ipv4.ping_group_range of a network namespace."""

ECHOES = """
import socket, struct, sys
target, family = sys.argv[1], socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
icmp, request, reply = (socket.IPPROTO_ICMPV6, 128, 129) if ":" in target else (socket.IPPROTO_ICMP, 8, 0)
pings = [socket.socket(family, socket.SOCK_DGRAM, icmp) for _ in range(4)]
raws = [socket.socket(family, socket.SOCK_RAW, icmp) for _ in range(4)]
for sock in pings + raws:
    sock.settimeout(10)
for number, sock in enumerate(pings):
    sock.sendto(struct.pack("!BBHHH", request, 0, 0, 0, number) + bytes(64), (target, 0))
for number, sock in enumerate(pings):
    assert sock.recv(100)[6:8] == bytes([0, number]), number
for sock in raws:
    seen = 0
    while seen < 4:
        packet = sock.recv(200)
        seen += packet[0 if ":" in target else 20] == reply
print("all heard")
"""


@pytest.mark.models("several")
@pytest.mark.parametrize("family", [4, 6])
def test_raw_and_ping_sockets_of_all_stacks_hear(net, program, family):
    """The answer to a ping comes by any queue; the socket may be on any stack, and raw ones on all."""
    host, other = net.host("host", ipv6=True), net.host("other", ipv6=True)
    other.start(*program("echo_asyncio"), "serve", other.ip, "7").process.wait_output("listening")
    target = other.ip if family == 4 else other.ip6
    done = host.run(*ALLOWED, "/usr/bin/python3", "-c", ECHOES, target, timeout=30).check()
    assert done.stdout.strip() == "all heard"


PROTOCOL = """
import socket, sys
socks = [socket.socket(socket.AF_INET, socket.SOCK_RAW, 99) for _ in range(4)]
print("open", flush=True)
for sock in socks:
    sock.settimeout(10)
    assert sock.recv(100)[20:] == b"for all"
"""


@pytest.mark.models("several")
def test_raw_sockets_of_all_stacks_hear_their_protocol(net):
    host, wire = net.host("host"), net.wire("wire")
    app = host.start("/usr/bin/python3", "-c", PROTOCOL)
    app.process.wait_output("open")
    wire.send(wire.ether(host.mac) / IP(src=wire.ip, dst=host.ip, proto=99) / b"for all")
    assert app.wait(15) == 0, app.stderr
    wire.assert_nothing("icmp")
