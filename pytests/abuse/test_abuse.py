# SPDX-License-Identifier: BSD-3-Clause
"""Floods, storms and hoarders: service to others goes on, and memory stays under the limits.

Rates are asserted against a floor that only a service that stands still falls below: on a busy
machine attacker, victim and friend share a core."""

import random
import re
import struct
import subprocess

import pytest
from scapy.layers.inet import TCP

SYN, ACK, RST, FIN, PSH = 2, 16, 4, 1, 8
FLOOR = 20  # answers per second
CAP = 40 << 10  # KB: the pool's pages, touched for the first time, and the depot


@pytest.fixture
def chance(net):
    """Numbers of the test's own."""
    return random.Random(net.random("attack").random())


def test_syn_flood(town, chance):
    before = town.rss_kb()

    def burst():
        return [town.attacker.tcp(chance.randrange(1024, 65536), SYN, seq=chance.getrandbits(32)) for _ in range(64)]

    for _ in range(12):  # the queue is full before anybody asks
        town.attacker.wire.send(burst())
    rate, flood = town.ask(burst, frames=10000)
    grown = town.rss_kb() - before
    counters = town.counters()
    assert rate > FLOOR, f"{rate:.0f} answers/s beside {flood:.0f} SYNs/s"
    assert counters["limits.syn_cookies_sent"] > 0
    assert counters["limits.syn_cookies_accepted"] >= 4, "the friend's connections came by cookies"
    assert counters["limits.tcp_half_open"] <= 513
    assert grown < CAP, f"{grown} KB more"


def handshakes(attacker, ports, window):
    """Connections of the attacker's; the server's sequence number by port."""
    wire, found = attacker.wire, {}
    wire.drain()
    wire.send([attacker.tcp(port, SYN, seq=1000, window=window) for port in ports])
    while len(found) < len(ports):
        header = wire.expect("tcp src port 7 and tcp[13] == 0x12")[TCP]
        found[header.dport] = header.seq + 1
    wire.send([attacker.tcp(port, ACK, seq=1001, ack=found[port], window=window) for port in ports])
    return found


def test_storms(town, chance):
    """RST, FIN, SYN and data for one's own connection and for the friend's, all of them wrong."""
    wire, attacker = town.attacker.wire, town.attacker
    [(port, ours)] = handshakes(town.attacker, [5000], 8192).items()
    friend = bytes(int(part) for part in town.friend.ip.split("."))
    wire.drain()

    def burst():
        wrong = chance.randrange(1, 30000)
        kinds = [
            attacker.tcp(port, RST, seq=1001 + wrong),
            attacker.tcp(port, SYN, seq=1001 + wrong),
            attacker.tcp(port, ACK, seq=1001 + (1 << 30) + wrong, ack=ours),
            attacker.tcp(port, ACK | PSH, seq=1001, ack=ours + (1 << 29) + wrong, data=b"not mine"),
            attacker.tcp(port, FIN | ACK, seq=1001 + (1 << 28), ack=ours),
            attacker.tcp(chance.randrange(32768, 61000), RST, seq=chance.getrandbits(32), source=friend),
            attacker.tcp(chance.randrange(32768, 61000), ACK, chance.getrandbits(32), 1, source=friend),
        ]
        return kinds * 8

    rate, storm = town.ask(burst, frames=8000)
    answers = sum(1 for _ in iter(lambda: wire.recv(timeout=0), None))
    # the connection that all this was about is still there
    wire.send(attacker.tcp(port, ACK | PSH, seq=1001, ack=ours, data=b"mine"))
    wire.expect("tcp src port 7 and dst port 5000 and tcp[13] & 8 != 0")
    counters = town.counters()
    assert rate > FLOOR, f"{rate:.0f} answers/s beside {storm:.0f} segments/s"
    assert counters["limits.challenge_acks_left_out"] > 100
    assert counters["limits.challenge_acks"] < 100
    assert answers < 20 + 8000 / 7, f"{answers} answers: but for a FIN far off, which is data, hardly any"


def test_out_of_order_hoard(town):
    """Connections with a hole at their beginning, each as much behind it as it may have."""
    ports = list(range(7000, 7016))
    ours = handshakes(town.attacker, ports, window=8192)
    attacker, at = town.attacker, dict.fromkeys(ports, 1002)

    def burst():
        frames = []
        for port in ports:
            for _ in range(4):
                frames.append(attacker.tcp(port, ACK, seq=at[port], ack=ours[port], data=b"behind"))
                at[port] += 7
        return frames

    for _ in range(120):  # 7680 of 8192 buffers
        attacker.wire.send(burst())
    rate, flood = town.ask(burst, frames=4000)
    counters = town.counters()
    assert rate > FLOOR, f"{rate:.0f} answers/s beside {flood:.0f} segments/s"
    assert counters["limits.ooseq_dropped"] > 0


def test_fragments(town, chance):
    """Beginnings and ends of datagrams that never have a middle."""

    def burst():
        frames = []
        for _ in range(32):
            name, where = chance.getrandbits(16), chance.randrange(1, 8000)
            frames.append(town.attacker.ipv4(bytes(1400), 17, identification=name, offset=0x2000))
            frames.append(town.attacker.ipv4(bytes(8), 17, identification=name, offset=where))
        return frames

    before = town.rss_kb()
    rate, flood = town.ask(burst, frames=8000)
    grown = town.rss_kb() - before
    counters = town.counters()
    assert rate > FLOOR, f"{rate:.0f} answers/s beside {flood:.0f} fragments/s"
    assert counters["lwip.ip_frag.recv"] > 1000
    assert counters["memory.mbufs_free"] > counters["memory.mbufs"] / 2
    assert grown < CAP, f"{grown} KB more"


def test_arp_flood(net, town, chance):
    """Everybody asks, and none of them is there."""
    net.allow_log("another host, .* has .* as well")  # some ask as if they were the server or its friend
    network = bytes(int(part) for part in town.server.ip.split("."))[:2]

    def burst():
        return [town.attacker.arp(network + struct.pack("!H", chance.randrange(1, 65535))) for _ in range(64)]

    before = town.rss_kb()
    rate, flood = town.ask(burst, frames=8000)
    grown = town.rss_kb() - before
    town.counters()
    assert rate > FLOOR, f"{rate:.0f} answers/s beside {flood:.0f} requests/s"
    assert grown < CAP, f"{grown} KB more"


def test_tiny_windows_and_silly_segments(town):
    """Connections that take a byte at a time, and send one at a time."""
    ports = list(range(6000, 6100))
    ours = handshakes(town.attacker, ports, window=1)
    attacker, sent = town.attacker, dict.fromkeys(ports, 0)

    def burst():
        frames = []
        for port in ports[:64]:
            at = 1001 + sent[port]
            frames.append(attacker.tcp(port, ACK | PSH, seq=at, ack=ours[port], window=1, data=b"x"))
            sent[port] += 1
        return frames

    before = town.rss_kb()
    rate, storm = town.ask(burst, frames=8000)
    grown = town.rss_kb() - before
    counters = town.counters()
    assert rate > FLOOR, f"{rate:.0f} answers/s beside {storm:.0f} segments/s"
    assert counters["memory.mbufs_free"] > counters["memory.mbufs"] / 2
    assert grown < CAP, f"{grown} KB more"


def test_slow_readers(net, town, program, full):
    """Connections that ask for much and read nothing. With --full, 1500 of them."""
    greedy = net.host("greedy")
    number = 1500 if full else 150
    before = town.rss_kb()
    hoard = greedy.start(*program("hoard"), town.server.ip, "7", str(number), "2000000")
    hoard.wait_ready(log="stuck", timeout=60)
    rate, _ = town.ask(lambda: [town.attacker.arp(town.attacker.own)], frames=100)
    grown = town.rss_kb() - before
    counters = town.counters()
    hoard.stop()
    assert rate > FLOOR, f"{rate:.0f} answers/s"
    assert counters["memory.depot_allocs"] > 0, "nobody was greedy enough"
    assert counters["memory.heap_bytes"] <= counters["memory.depot_bytes"] == 16 << 20
    assert counters["memory.mbufs_free"] >= counters["memory.mbufs_reserve"] / 2
    # what asyncio keeps of the unsent is the application's own
    assert grown < CAP + number * 400, f"{grown} KB more"


def test_out_of_descriptors(net, program):
    """Sockets until EMFILE; and as many again when they are closed."""
    host = net.host("server")
    done = host.run(*program("exhaust"), host.ip).check()
    assert done.stdout == "EMFILE, and again\n"


def test_joined_segments_that_nobody_reads(net, puppet_on, attack):
    """What the card has joined is dozens of buffers, and each connection keeps what it was sent last."""
    server = net.host("server", mbufs=2048, depot_mb=1, tcp_max_connections=200)
    puppet = puppet_on(server)
    puppet(f"l = tcp(['{server.ip}', 7]); l.listen(100)")
    attacker = attack(server)
    wire = attacker.wire
    ours = handshakes(attacker, list(range(7000, 7080)), window=8192)
    for first in range(0, 40, 20):
        for port, ack in ours.items():
            flight = [
                attacker.tcp(port, ACK, 1001 + 1400 * i, ack, data=bytes(1400), identification=i)
                for i in range(first, first + 20)
            ]
            wire.send(flight)
            puppet("0")
    line = [net.build.uvstack, "--pid", str(puppet.app.pid), "metrics"]
    text = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    values = re.findall(r"^uvstack_memory_(\w+?)(?:_total)?\{.*\} (\d+)$", text, re.M)
    memory = {name: int(value) for name, value in values}
    wire.arp(server.ip)
    assert memory["mbufs_free"] > memory["mbufs_reserve"] / 2
    assert memory["rx_cut"] > 0, "nothing was joined, or nobody was short of memory"
