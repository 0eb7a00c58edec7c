# SPDX-License-Identifier: BSD-3-Clause
"""Names and addresses made from the id of a test, so that tests that run beside each other (other
workers, other runs, other checkouts) never meet, and a replayed test uses the same addresses."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import random
import re
from dataclasses import dataclass

FABRIC_NAME_MAX = 31
PORT_NAME_MAX = 31


def digest(*parts: str | int) -> bytes:
    """SHA-256 over the parts, in a form that keeps ("ab", "c") apart from ("a", "bc")."""
    return hashlib.sha256("\0".join(str(part) for part in parts).encode()).digest()


def derive_seed(seed: int, *parts: str | int) -> int:
    """A 63-bit seed for the stream that `parts` name, under the run's `seed`."""
    return int.from_bytes(digest(seed, *parts)[:8], "big") >> 1


def stream(seed: int, *parts: str | int) -> random.Random:
    """The named random stream; the same for the same seed and name, independent of all others."""
    return random.Random(derive_seed(seed, *parts))


def slug(text: str, limit: int) -> str:
    """`text` with everything a fabric or file name may not have replaced, cut to `limit`."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.")[:limit]


def folder_name(test_id: str) -> str:
    """A readable folder name for a test id; ids that differ give names that differ."""
    name = slug(re.sub(r"^pytests/", "", test_id).replace(".py::", ".").replace("/", "."), 150)
    plain = re.fullmatch(r"[A-Za-z0-9_./:-]*", test_id) and len(test_id) < 150
    return name if plain and name else f"{name}-{digest(test_id).hex()[:6]}"


def fabric_name(test_id: str, worker: str = "") -> str:
    """Name of the test's fabric: the test's own name as far as it fits, and a hash that also covers
    the worker and this process, so that two runs of one test do not collide."""
    tail = digest(test_id, worker, os.getpid()).hex()[:8]
    head = slug(re.split(r"::", test_id)[-1].removeprefix("test_"), FABRIC_NAME_MAX - 9)
    return f"{head}-{tail}" if head else tail


@dataclass(frozen=True)
class Addresses:
    """The addresses of a test's network: 10.A.B.0/24 with A.B from the test id, fd00::/64, and MAC
    addresses 02:A:B:00:00:N, locally administered. Host numbers N run from 1 to 253."""

    a: int
    b: int

    @classmethod
    def of(cls, test_id: str) -> Addresses:
        """The addresses that belong to this test id."""
        raw = digest("addresses", test_id)
        return cls(raw[0], raw[1])

    prefix_len: int = 24

    def ip(self, number: int) -> str:
        """IPv4 address of host `number`."""
        return f"10.{self.a}.{self.b}.{number}"

    def ip6(self, number: int) -> str:
        """IPv6 address of host `number`, in fd00::/64."""
        return f"fd00::{number:x}"

    def mac(self, number: int) -> str:
        """MAC address of host `number`."""
        return f"02:{self.a:02x}:{self.b:02x}:00:00:{number:02x}"

    def link_local(self, number: int) -> str:
        """Link-local IPv6 address that follows from the MAC address (RFC 4291, appendix A)."""
        return str(ipaddress.IPv6Address(f"fe80::{self.a:x}:{self.b:02x}ff:fe00:{number:x}"))

    @property
    def network(self) -> str:
        """The network in CIDR notation."""
        return f"10.{self.a}.{self.b}.0/{self.prefix_len}"
