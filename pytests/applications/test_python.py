# SPDX-License-Identifier: BSD-3-Clause
"""Python's socket and asyncio modules, unmodified."""

import json

import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw


def test_blocking_sockets_echo(net, program):
    server, client = net.host("server"), net.host("client")
    server.start(*program("pingpong"), "serve", server.ip, "7").wait_port(7)
    done = client.run(*program("pingpong"), "ask", server.ip, "7", "0.2", "100").check()
    assert json.loads(done.stdout)["count"] > 10


@pytest.mark.parametrize("queues", [1, 4])
def test_asyncio_streams_echo(net, program, queues):
    server, client = net.host("server", queues=queues), net.host("client", queues=queues)
    server.start(*program("echo_asyncio"), "serve", server.ip, "7").wait_port(7)
    done = client.run(*program("echo_asyncio"), "ask", server.ip, "7", "20", "50").check()
    assert done.stdout.strip() == str(20 * 50)


def test_asyncio_datagrams_echo(net, program):
    server, wire = net.host("server", queues=4), net.wire("wire")
    server.start(*program("echo_asyncio"), "serve", server.ip, "7").wait_port(7)
    for size in (1, 512, 1472):
        payload = net.random(f"payload {size}").randbytes(size)
        question = (
            wire.ether(server.mac) / IP(src=wire.ip, dst=server.ip) / UDP(sport=1000 + size, dport=7) / payload
        )
        answer = wire.sr1(question)
        assert (answer[UDP].sport, answer[UDP].dport) == (7, 1000 + size)
        assert answer[UDP].len == 8 + size
        assert bytes(answer[Raw].load)[:size] == payload
