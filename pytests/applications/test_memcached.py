# SPDX-License-Identifier: BSD-3-Clause
"""memcached of the distribution, unmodified, with its worker threads, over TCP and UDP."""

import struct

import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from uvnet_harness import apps


@pytest.mark.models("shared", "several")
def test_memcached_keeps_what_it_is_told(net, program):
    server, client = net.host("server", queues=4), net.host("client")
    apps.memcached(server, "-t", "4")
    done = client.run(*program("memcache"), server.ip, "11211", "16", "50").check()
    assert done.stdout.split() == ["800", "right", "0", "wrong"]


def test_memcached_is_told_by_nc(net):
    server, client = net.host("server"), net.host("client")
    apps.memcached(server)
    said = b"set a 0 0 5\r\nhello\r\nget a\r\nquit\r\n"
    done = client.run("nc", "-N", server.ip, "11211", stdin=said).check()
    assert done.stdout.split() == ["STORED", "VALUE", "a", "0", "5", "hello", "END"]


def test_memcached_answers_a_datagram(net):
    server, wire = net.host("server"), net.wire("wire")
    apps.memcached(server, "-U", "11211")
    head = struct.pack("!HHHH", 7, 0, 1, 0)  # request, sequence, datagrams, reserved
    frame = wire.ether(server.mac) / IP(src=wire.ip, dst=server.ip) / UDP(sport=5000, dport=11211)
    answer = wire.sr1(frame / (head + b"version\r\n"))
    assert answer[UDP].dport == 5000
    assert bytes(answer[Raw].load).startswith(head + b"VERSION ")
