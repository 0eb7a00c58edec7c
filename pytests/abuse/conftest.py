# SPDX-License-Identifier: BSD-3-Clause
"""A town: an echo server, a client that is served, and somebody who wants neither to be."""

import socket
import struct
import time
from dataclasses import dataclass

import pytest


def checksum(data):
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@dataclass
class Attacker:
    """Frames by the thousand: made from bytes, since scapy would be the slowest of all."""

    wire: object
    server: object

    def __post_init__(self):
        self.ethernet = bytes.fromhex((self.server.mac + self.wire.mac).replace(":", ""))
        self.target = socket.inet_aton(self.server.ip)
        self.own = socket.inet_aton(self.wire.ip)

    def ipv4(self, payload, protocol=6, source=None, identification=0, offset=0):
        """An IPv4 frame."""
        header = struct.pack(
            "!BBHHHBBH4s4s",
            0x45, 0, 20 + len(payload), identification, offset, 64, protocol, 0, source or self.own, self.target,
        )  # fmt: skip
        header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
        return self.ethernet + b"\x08\x00" + header + payload

    def tcp(self, sport, flags, seq=0, ack=0, window=8192, data=b"", source=None, dport=7, identification=0):
        """A TCP segment; flags as a number."""
        source = source or self.own
        header = struct.pack("!HHIIBBHHH", sport, dport, seq % 2**32, ack % 2**32, 5 << 4, flags, window, 0, 0)
        pseudo = source + self.target + struct.pack("!BBH", 0, 6, len(header) + len(data))
        total = checksum(pseudo + header + data)
        segment = header[:16] + struct.pack("!H", total) + header[18:] + data
        return self.ipv4(segment, source=source, identification=identification)

    def arp(self, source):
        """A request for the server's address by somebody who never was."""
        body = struct.pack("!HHBBH", 1, 0x800, 6, 4, 1) + self.ethernet[6:] + source + bytes(6) + self.target
        return self.ethernet + b"\x08\x06" + body


@dataclass
class Town:
    """The three, and the measurement."""

    server: object
    friend: object
    attacker: Attacker
    words: list

    def rss_kb(self):
        """The server process's resident memory."""
        with open(f"/proc/{self.server.app.pid}/status", encoding="ascii") as status:
            return int(next(line for line in status if line.startswith("VmRSS")).split()[1])

    def ask(self, burst, frames, connections=4, messages=60):
        """The friend's requests, while `burst()` gives frames that are sent again and again.

        Every answer must be right. Returns answers and frames per second, while both go on."""
        app = self.friend.start(*self.words, "ask", self.server.ip, "7", str(connections), str(messages))
        begun, sent = time.monotonic(), 0
        while app.running and sent < frames:
            sent += self.attacker.wire.send(burst())
        attacked = time.monotonic() - begun
        assert app.wait(timeout=60) == 0, app.stderr
        answers = int(app.stdout)
        assert answers == connections * messages
        return answers / (time.monotonic() - begun), sent / attacked

    def counters(self):
        """The server's, after its end."""
        self.server.app.stop()
        return self.server.stats()


@pytest.fixture
def attack(net):
    """A function that gives an attacker of a host."""

    def start(server):
        wire = net.wire("attacker")
        wire.arp(server.ip)
        return Attacker(wire, server)

    return start


@pytest.fixture
def town(net, program, attack):
    """The town, with everybody's address known."""
    server, friend = net.host("server", **net_limits), net.host("friend")
    server.app = server.start(*program("echo_asyncio"), "serve", server.ip, "7").wait_port(7)
    return Town(server, friend, attack(server), program("echo_asyncio"))


net_limits = {"tcp_max_connections": 2000, "tcp_max_tw_buckets": 500, "depot_mb": 16, "exit_linger_ms": 100}
