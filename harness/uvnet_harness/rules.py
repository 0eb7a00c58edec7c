# SPDX-License-Identifier: BSD-3-Clause
"""What rte_flow rules make of a frame, after DPDK's programmer's guide: a model to judge the NIC by.

Frames are scapy packets and rules are lists of items, both as testpmd's user writes them; nothing
here knows how the fabric compiles or compares.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Packet, Raw

QUEUES = 4
APPLIED = 16
"""Rules that one frame meets at most."""
LINE = 480
"""Characters of a rule: testpmd reads lines of 512."""


def mac(number: int) -> str:
    """A MAC address as text."""
    return ":".join(f"{byte:02x}" for byte in number.to_bytes(6, "big"))


def mac_number(text: str) -> int:
    """And back."""
    return int(text.replace(":", ""), 16)


def ip_number(text: str) -> int:
    """An IP address as a number."""
    return int(ipaddress.ip_address(text))


@dataclass(frozen=True)
class Field:
    """A field that rules can look at: its name in testpmd, its bits, how to write and to read it."""

    name: str
    bits: int
    read: Callable[[Packet], int]
    write: Callable[[int], str] = str

    def words(self, part: str, value: int) -> str:
        """As in ``src spec 10.0.0.1``."""
        return f"{self.name} {part} {self.write(value)}"


def attribute(name: str) -> Callable[[Packet], int]:
    """Reader of a number that scapy has under this name."""
    return lambda packet: int(getattr(packet, name))


def v4(number: int) -> str:
    """An IPv4 address as text."""
    return str(ipaddress.IPv4Address(number))


def v6(number: int) -> str:
    """An IPv6 address as text."""
    return str(ipaddress.IPv6Address(number))


PORTS = [Field("src", 16, attribute("sport")), Field("dst", 16, attribute("dport"))]
ICMP_FIELDS = [Field("type", 8, attribute("type")), Field("code", 8, attribute("code"))]
FIELDS: dict[str, list[Field]] = {
    "eth": [
        Field("dst", 48, lambda p: mac_number(p.dst), mac),
        Field("src", 48, lambda p: mac_number(p.src), mac),
        Field("type", 16, lambda p: int.from_bytes(bytes(p)[12:14], "big"), hex),
    ],
    "vlan": [
        Field("tci", 16, lambda p: int.from_bytes(bytes(p)[0:2], "big"), hex),
        Field("inner_type", 16, lambda p: int.from_bytes(bytes(p)[2:4], "big"), hex),
    ],
    "ipv4": [
        Field("tos", 8, attribute("tos")),
        Field("ttl", 8, attribute("ttl")),
        Field("proto", 8, lambda p: bytes(p)[9]),
        Field("src", 32, lambda p: ip_number(p.src), v4),
        Field("dst", 32, lambda p: ip_number(p.dst), v4),
    ],
    "ipv6": [
        Field("proto", 8, lambda p: bytes(p)[6]),
        Field("hop", 8, attribute("hlim")),
        Field("src", 128, lambda p: ip_number(p.src), v6),
        Field("dst", 128, lambda p: ip_number(p.dst), v6),
    ],
    "tcp": [*PORTS, Field("flags", 8, lambda p: int(p.flags), hex)],
    "udp": PORTS,
    "sctp": [*PORTS, Field("tag", 32, attribute("tag"))],
    "icmp": ICMP_FIELDS,
    "icmp6": ICMP_FIELDS,
    "any": [],
}


@dataclass
class Item:
    """An item of a pattern: values of its fields as (spec, last or None, mask)."""

    kind: str
    values: dict[str, tuple[int, int | None, int]] = field(default_factory=dict)
    flags: dict[str, int] = field(default_factory=dict)
    raw: tuple[bool, int, bytes] | None = None
    """relative, offset, pattern"""

    def __str__(self) -> str:
        words = [self.kind]
        for known in FIELDS.get(self.kind, []):
            if known.name in self.values:
                spec, last, mask = self.values[known.name]
                words += [known.words("spec", spec), known.words("mask", mask)]
                words += [known.words("last", last)] if last is not None else []
        words += [f"{name} is {value}" for name, value in self.flags.items()]
        if self.raw:
            relative, offset, pattern = self.raw
            words.append(f"relative is {int(relative)} offset is {offset} pattern is {pattern.decode()}")
        return " ".join(words)


@dataclass
class Rule:
    """A flow rule; the later one of the same group and priority has the higher number."""

    number: int
    group: int
    priority: int
    items: list[Item]
    fate: tuple[str, int]
    """queue, drop, passthru or jump, and its argument"""
    mark: int | None
    flag: bool
    hits: int = 0
    bytes: int = 0

    def __str__(self) -> str:
        pattern = " / ".join([*map(str, self.items), "end"])
        fate, argument = self.fate
        last = {"queue": f"queue index {argument}", "jump": f"jump group {argument}"}.get(fate, fate)
        marks = [f"mark id {self.mark}"] if self.mark is not None else []
        marks += ["flag"] if self.flag else []
        actions = " / ".join([*marks, "count", last, "end"])
        return f"group {self.group} priority {self.priority} ingress pattern {pattern} actions {actions}"


# ----------------------------------------------------------------------------------- frames as layers


class Layers:
    """The layers of a frame that a NIC sees."""

    def __init__(self, packet: Packet) -> None:
        self.packet = packet
        self.bytes = bytes(packet)
        self._values: dict[tuple[int, str], int] = {}
        self.tags = [layer for layer in self._all() if isinstance(layer, (Dot1Q, Dot1AD))]
        self.l3 = packet.getlayer(IP) or packet.getlayer(IPv6)
        self.fragment = self._is_fragment()
        kinds = {TCP: "tcp", UDP: "udp", SCTP: "sctp", ICMP: "icmp", ICMPv6EchoRequest: "icmp6"}
        found = [(layer, name) for kind, name in kinds.items() if (layer := packet.getlayer(kind))]
        self.l4, self.l4_name = found[0] if found and not self.fragment else (None, "")

    def _all(self) -> Iterator[Packet]:
        layer = self.packet
        while layer:
            yield layer
            layer = layer.payload

    def _is_fragment(self) -> bool:
        if isinstance(self.l3, IP):
            return bool(self.l3.flags & 1 or self.l3.frag)
        return IPv6ExtHdrFragment in self.packet

    def value(self, layer: Packet, known: Field) -> int:
        """A field of one of the layers; scapy takes its time, so each is read once."""
        key = id(layer), known.name
        if key not in self._values:
            self._values[key] = known.read(layer)
        return self._values[key]

    def end(self, layer: Packet) -> int:
        """Where the bytes of a layer end in the frame."""
        key = id(layer), "end"
        if key not in self._values:
            self._values[key] = len(self.bytes) - len(bytes(layer.payload))
        return self._values[key]

    def transport_at(self) -> int | None:
        """Where what follows the IP header begins; None for fragments."""
        if self.l3 is None or self.fragment:
            return None
        last = self.packet.getlayer(IPv6ExtHdrHopByHop) or self.l3
        return self.end(last)


class Matcher:
    """Does a pattern fit a frame? Walks the items, as the guide stacks them."""

    def __init__(self, layers: Layers) -> None:
        self.layers = layers
        self.tags = 0
        self.end: int | None = 0
        self.any = 0

    def fits(self, items: Sequence[Item]) -> bool:
        """True if every item does."""
        return all(self._item(item) for item in items)

    def _item(self, item: Item) -> bool:
        if item.kind == "raw":
            return self._raw(item)
        if item.kind == "any":
            self.any += 1
            self.end = self.layers.transport_at()
            return True
        layer = self._layer(item.kind)
        if layer is None or not all(self._value(item, known, layer) for known in FIELDS[item.kind]):
            return False
        return all(self._flag(name) == bool(value) for name, value in item.flags.items())

    def _layer(self, kind: str) -> Packet | None:
        layers = self.layers
        if kind == "eth":
            self.end = 14
            return layers.packet
        if kind == "vlan":
            if self.tags >= len(layers.tags):
                return None
            self.tags += 1
            self.end = 14 + 4 * self.tags
            return layers.tags[self.tags - 1]
        if kind in ("ipv4", "ipv6"):
            self.end = layers.transport_at()
            return layers.l3 if isinstance(layers.l3, IP if kind == "ipv4" else IPv6) else None
        if kind == layers.l4_name:
            assert layers.l4 is not None
            self.end = layers.end(layers.l4)
            if kind == "icmp6":  # the item is type, code and checksum
                self.end = (layers.transport_at() or 0) + 4
            return layers.l4
        return None

    def _value(self, item: Item, known: Field, layer: Packet) -> bool:
        if known.name not in item.values:
            return True
        spec, last, mask = item.values[known.name]
        value = self.layers.value(layer, known) & mask
        if last is None or last in (0, spec):
            return value == spec & mask
        return spec & mask <= value <= last & mask

    def _flag(self, name: str) -> bool:
        if name == "has_vlan":
            return len(self.layers.tags) > 0
        if name == "has_more_vlan":
            return len(self.layers.tags) > self.tags
        assert name == "has_frag_ext"
        return IPv6ExtHdrFragment in self.layers.packet

    def _raw(self, item: Item) -> bool:
        assert item.raw
        relative, offset, pattern = item.raw
        if relative and self.end is None:
            return False
        start = (self.end or 0) * relative + offset
        self.end = start + len(pattern)
        seen = self.layers.bytes[:192]
        return start >= 0 and seen[start : self.end] == pattern


@dataclass
class Verdict:
    """What becomes of a frame; queue None: dropped."""

    queue: int | None = 0
    mark: int | None = None
    flag: bool = False


def judge(rules: Sequence[Rule], packet: Packet) -> Verdict:
    """Apply rules to a frame, counting their hits."""
    layers, verdict, group = Layers(packet), Verdict(), 0
    after = (-1, -1)
    for _ in range(APPLIED):
        fitting = [
            rule
            for rule in rules
            if rule.group == group and (rule.priority, rule.number) > after and Matcher(layers).fits(rule.items)
        ]
        if not fitting:
            break
        rule = min(fitting, key=lambda rule: (rule.priority, rule.number))
        rule.hits += 1
        rule.bytes += len(layers.bytes)
        verdict.mark = rule.mark if rule.mark is not None else verdict.mark
        verdict.flag |= rule.flag or rule.mark is not None
        fate, argument = rule.fate
        after = (rule.priority, rule.number)
        if fate == "jump":
            group, after = argument, (-1, -1)
        elif fate != "passthru":
            verdict.queue = argument if fate == "queue" else None
            break
    return verdict


# -------------------------------------------------------------------------------------- random things


class Chance:
    """Random frames and rules from pools so small that they meet.

    :param src: MAC address of the sender.
    :param dst: MAC address of the NIC.
    """

    def __init__(self, random: Random, src: str, dst: str) -> None:
        self.random, self.src, self.dst = random, src, dst

    def _address(self, version: int) -> str:
        tail = self.random.choice([1, 2, 3, 0x80])
        return f"10.0.{self.random.choice([0, 1])}.{tail}" if version == 4 else f"2001:db8::{tail:x}"

    def _port(self) -> int:
        return self.random.choice([1, 2, 53, 443, 1024, 0xFFFF])

    def _transport(self, version: int) -> Packet:
        random, ports = self.random, {"sport": self._port(), "dport": self._port()}
        icmp = ICMP(type=random.choice([0, 8]), code=random.choice([0, 3]))
        icmp6 = ICMPv6EchoRequest(code=random.choice([0, 3]))
        tcp = TCP(**ports, flags=random.choice(["S", "SA", "F", "A"]), options=[("NOP", None)] * random.choice([0, 4]))
        sctp = SCTP(**ports, tag=random.choice([0, 7]))
        return random.choice([tcp, UDP(**ports), sctp, icmp if version == 4 else icmp6])

    def _network(self, version: int) -> Packet:
        random = self.random
        ends = {"src": self._address(version), "dst": self._address(version)}
        if version == 4:
            fragment = {"frag": random.choice([0, 9]), "flags": "MF"} if random.random() < 0.15 else {}
            return IP(**ends, **fragment, tos=random.choice([0, 4]), ttl=random.choice([1, 64]))
        packet = IPv6(**ends, hlim=random.choice([1, 64]))
        if random.random() < 0.2:
            packet /= IPv6ExtHdrHopByHop()
        if random.random() < 0.15:
            packet /= IPv6ExtHdrFragment(m=1)
        return packet

    def frame(self, length: int) -> Packet:
        """A frame of exactly so many bytes."""
        random = self.random
        packet: Packet = Ether(src=self.src, dst=self.dst)
        for _ in range(random.choice([0, 0, 1, 2])):
            packet /= Dot1Q(vlan=random.choice([5, 6]), prio=random.choice([0, 3]))
        if random.random() < 0.1:
            packet.lastlayer().type = 0x88B5
        else:
            version = random.choice([4, 6])
            packet = packet / self._network(version) / self._transport(version)
        text = bytes(random.choice(b"ab") for _ in range(length))
        packet /= Raw(text[: length - len(bytes(packet))])
        assert len(bytes(packet)) == length
        return packet

    # -------------------------------------------------------------------------------------- rules

    def _item(self, kind: str, sample: Packet | None) -> Item:
        """An item about a layer of a frame that there is, more or less."""
        random, item = self.random, Item(kind)
        for known in FIELDS[kind]:
            if sample is None or random.random() < 0.6:
                continue
            mask, spec = (1 << known.bits) - 1, known.read(sample)
            if random.random() < 0.3:
                mask = mask & ~((1 << random.randrange(known.bits)) - 1) if random.random() < 0.5 else mask & 0x5A
            last = min(spec + random.choice([1, 30]), mask) if random.random() < 0.25 else None
            if last is not None and last & mask < spec & mask:
                last = None
            item.values[known.name] = spec, last, mask
        return item

    def _raw(self) -> Item:
        text = "".join(self.random.choice("ab") for _ in range(self.random.choice([1, 2])))
        return Item("raw", raw=(True, self.random.choice([0, 0, 1, 5]), text.encode()))

    def items(self) -> list[Item]:
        """A pattern."""
        random = self.random
        layers = Layers(self.frame(200))
        stack: list[Item] = []
        if random.random() < 0.7:
            stack.append(self._item("eth", layers.packet if random.random() < 0.5 else None))
            if random.random() < 0.2:
                stack[0].flags["has_vlan"] = random.choice([0, 1]) if not layers.tags else 1
        for tag in layers.tags[: random.choice([0, 1, 2])]:
            stack.append(self._item("vlan", tag))
        if layers.tags and len(stack) > 1 and random.random() < 0.3:
            stack[-1].flags["has_more_vlan"] = int(sum(i.kind == "vlan" for i in stack) < len(layers.tags))
        if random.random() < 0.8 and layers.l3 is not None:
            stack += self._network_items(layers)
        if random.random() < 0.25 and stack:
            stack.append(self._raw())
        return stack

    def _network_items(self, layers: Layers) -> list[Item]:
        random = self.random
        version = "ipv4" if isinstance(layers.l3, IP) else "ipv6"
        if random.random() < 0.15:
            network = Item("any")
        else:
            network = self._item(version, layers.l3)
            if version == "ipv6" and random.random() < 0.3:
                network.flags["has_frag_ext"] = random.choice([0, 1])
        if layers.l4 is None or random.random() < 0.3:
            return [network]
        return [network, self._item(layers.l4_name, layers.l4)]

    def rule(self, number: int) -> Rule:
        """A rule of one of three groups, that testpmd's command line has room for."""
        while True:
            rule = self._rule(number)
            if len(str(rule)) < LINE:
                return rule

    def _rule(self, number: int) -> Rule:
        random = self.random
        group = random.choice([0, 0, 0, 1, 2])
        fates = [("queue", random.randrange(QUEUES)), ("queue", random.randrange(QUEUES)), ("drop", 0), ("passthru", 0)]
        fates += [("jump", random.randrange(group + 1, 4))]
        mark = random.randrange(1, 1 << 32) if random.random() < 0.6 else None
        return Rule(
            number, group, random.randrange(3), self.items(), random.choice(fates), mark, random.random() < 0.1
        )


def outcome(queue: int, line: str) -> tuple[int | None, Any, bool]:
    """Queue, mark and flag of a frame as testpmd's `set verbose 1` shows it."""
    marked = line.partition("FDIR matched ID=0x")[2]
    return queue, int(marked.split(" ")[0], 16) if marked else None, "RTE_MBUF_F_RX_FDIR " in line
