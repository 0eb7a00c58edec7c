# SPDX-License-Identifier: BSD-3-Clause
"""Receive-side scaling, predicted: the Toeplitz hash and the queue that it leads to.

An implementation of its own, written from the Microsoft RSS specification and sharing no code with
the fabric or with DPDK, so that agreement between them means something. It is checked against the
specification's verification suite (`pytests/harness/test_rss.py`).
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

MICROSOFT_KEY = bytes.fromhex(
    "6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa"
)
"""The 40-byte key of the specification's verification suite; the fabric's default."""

IPAddress = str | ipaddress.IPv4Address | ipaddress.IPv6Address


class HashType(enum.IntFlag):
    """What a port hashes; the bits of UVB_RSS_* in uvbridge/abi.h."""

    IPV4 = 1 << 0
    IPV4_TCP = 1 << 1
    IPV4_UDP = 1 << 2
    IPV4_SCTP = 1 << 3
    IPV6 = 1 << 4
    IPV6_TCP = 1 << 5
    IPV6_UDP = 1 << 6
    IPV6_SCTP = 1 << 7


ALL_TYPES = HashType(0xFF)

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_WITH_PORTS = {
    (4, 6): HashType.IPV4_TCP,
    (4, 17): HashType.IPV4_UDP,
    (4, 132): HashType.IPV4_SCTP,
    (6, 6): HashType.IPV6_TCP,
    (6, 17): HashType.IPV6_UDP,
    (6, 132): HashType.IPV6_SCTP,
}


@lru_cache(maxsize=64)
def _tables(key: bytes, length: int) -> tuple[tuple[int, ...], ...]:
    """For each byte position, the hash contribution of each of its 256 values."""
    if len(key) < length + 4:
        raise ValueError(f"a key of {len(key)} bytes is too short for {length} bytes of input")
    bits = int.from_bytes(key, "big")
    total = len(key) * 8

    def window(position: int) -> int:
        return (bits >> (total - 32 - position)) & 0xFFFFFFFF

    tables = []
    for byte in range(length):
        windows = [window(byte * 8 + bit) for bit in range(8)]
        row = []
        for value in range(256):
            contribution = 0
            for bit in range(8):
                if value & (0x80 >> bit):
                    contribution ^= windows[bit]
            row.append(contribution)
        tables.append(tuple(row))
    return tuple(tables)


def toeplitz(data: bytes, key: bytes = MICROSOFT_KEY) -> int:
    """The 32-bit Toeplitz hash of `data`.

    :raises ValueError: the key is shorter than the input and 32 bits.
    """
    result = 0
    for table, byte in zip(_tables(key, len(data)), data):
        result ^= table[byte]
    return result


@dataclass(frozen=True)
class Flow:
    """One direction of a connection, as the receiver sees its packets.

    `protocol` is "tcp", "udp", "sctp", a protocol number, or None for a packet whose ports do not
    count (another protocol, or a fragment).
    """

    src: IPAddress
    dst: IPAddress
    sport: int = 0
    dport: int = 0
    protocol: str | int | None = "tcp"

    def reversed(self) -> Flow:
        """The other direction."""
        return Flow(self.dst, self.src, self.dport, self.sport, self.protocol)

    @property
    def number(self) -> int | None:
        """The protocol's number."""
        if isinstance(self.protocol, str):
            return PROTOCOLS[self.protocol]
        return self.protocol


@dataclass(frozen=True)
class Rss:
    """What a receiving port is configured with, and thereby where each flow goes.

    :param queues: used only to make the default indirection table, round robin.
    """

    queues: int
    key: bytes = MICROSOFT_KEY
    types: HashType = ALL_TYPES
    reta_size: int = 128
    reta: Sequence[int] = field(default_factory=tuple)

    def table(self) -> Sequence[int]:
        """The indirection table in force."""
        return self.reta or tuple(i % self.queues for i in range(self.reta_size))

    def hash_of(self, flow: Flow) -> int | None:
        """The hash the port computes, or None if it does not hash such packets."""
        src, dst = ipaddress.ip_address(flow.src), ipaddress.ip_address(flow.dst)
        addresses = src.packed + dst.packed
        number = flow.number
        four = _WITH_PORTS.get((src.version, number)) if number is not None else None
        if four is not None and self.types & four:
            ports = flow.sport.to_bytes(2, "big") + flow.dport.to_bytes(2, "big")
            return toeplitz(addresses + ports, self.key)
        two = HashType.IPV4 if src.version == 4 else HashType.IPV6
        return toeplitz(addresses, self.key) if self.types & two else None

    def queue_of(self, flow: Flow) -> int:
        """The receive queue: RETA[hash mod size], or 0 for what is not hashed."""
        value = self.hash_of(flow)
        if value is None:
            return 0
        table = self.table()
        return table[value % len(table)]
