# SPDX-License-Identifier: BSD-3-Clause
"""Reads a capture of a fabric (pcapng, each frame's comment with its way and its verdict) as the
exchange that a sequence diagram shows. Format: draft-ietf-opsawg-pcapng; comments: docs/uvbridge.md."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from uvnet_report.model import Frame

FRAMES_MAX = 60
"""Frames that a diagram shows: more cannot be read."""

SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
LITTLE = b"\x4d\x3c\x2b\x1a"
COMMENT, RESOLUTION = 1, 9
BLOCK_MIN = 12


@dataclass
class Record:
    """One captured frame."""

    time: float
    """seconds since 1970"""
    data: bytes
    comment: str


def _options(data: bytes, order: str) -> dict[int, bytes]:
    """The options of a block; of a repeated one, the last."""
    found = {}
    at = 0
    while at + 4 <= len(data):
        code, length = struct.unpack_from(order + "HH", data, at)
        if code == 0:
            break
        found[code] = data[at + 4 : at + 4 + length]
        at += 4 + (length + 3) // 4 * 4
    return found


def _tick(options: dict[int, bytes]) -> float:
    """Seconds of one unit of an interface's timestamps."""
    value = options.get(RESOLUTION, b"\x06")[0]
    return float(2.0 ** -(value & 0x7F) if value & 0x80 else 10.0**-value)


def records(data: bytes) -> Iterator[Record]:
    """The frames of a capture. One that was cut off in the middle of a block ends before it."""
    at, order = 0, "<"
    ticks: list[float] = []
    while at + BLOCK_MIN <= len(data):
        if struct.unpack_from("<I", data, at)[0] == SECTION:
            order = "<" if data[at + 8 : at + 12] == LITTLE else ">"
            ticks = []
        kind, length = struct.unpack_from(order + "II", data, at)
        if length < BLOCK_MIN or at + length > len(data):
            return
        body = data[at + 8 : at + length - 4]
        if kind == INTERFACE:
            ticks.append(_tick(_options(body[8:], order)))
        elif kind == PACKET:
            interface, high, low, kept, _ = struct.unpack_from(order + "IIIII", body)
            end = 20 + (kept + 3) // 4 * 4
            comment = _options(body[end:], order).get(COMMENT, b"").decode(errors="replace")
            yield Record(((high << 32) | low) * ticks[interface], body[20 : 20 + kept], comment)
        at += length


def exchange(path: Path, limit: int = FRAMES_MAX) -> list[Frame]:
    """The frames of a capture as a diagram wants them: the first few, those that were lost, the last.

    :param limit: of frames; what is left out is counted in `Frame.skipped`.
    """
    every = sorted(records(path.read_bytes()), key=lambda record: record.time)  # written source by source
    if not every:
        return []
    chosen = _choose(every, limit)
    begun, previous, found = every[0].time, -1, []
    for index in chosen:
        record = every[index]
        way = dict(word.partition("=")[::2] for word in record.comment.split())
        target = way.get("dst", "-").partition(":")[0]
        found.append(
            Frame(
                time=record.time - begun,
                source=way.get("src", "?").partition(":")[0],
                target={"flood": "all", "-": ""}.get(target, target),
                text=describe(record.data),
                verdict=_verdict(way),
                skipped=index - previous - 1,
            )
        )
        previous = index
    return found


def _verdict(way: dict[str, str]) -> str:
    """What became of a frame, and which fault did something to it."""
    verdict, fault = way.get("verdict", "delivered"), way.get("fault")
    if fault is None:
        return verdict
    return f"lost to fault {fault}" if verdict == "fault" else f"{verdict}, after fault {fault}"


def _choose(every: list[Record], limit: int) -> list[int]:
    """Which frames to show. The end is where it failed, the beginning says what it was."""
    if len(every) <= limit:
        return list(range(len(every)))
    head, tail = limit // 6, limit // 2
    chosen = {*range(head), *range(len(every) - tail, len(every))}
    lost = (i for i, record in enumerate(every) if "verdict=delivered" not in record.comment)
    for index in lost:
        if len(chosen) == limit:
            break
        chosen.add(index)
    return sorted(chosen)


def describe(data: bytes) -> str:
    """A frame in a few words."""
    # scapy takes half a second to load, and only failures need it.
    from scapy.layers.inet import ICMP, IP, TCP, UDP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import ARP, Ether

    packet = Ether(data)
    if ARP in packet:
        arp = packet[ARP]
        return f"ARP who has {arp.pdst}?" if arp.op == 1 else f"ARP {arp.psrc} is at {arp.hwsrc}"
    if TCP in packet:
        return _describe_tcp(packet[TCP])
    if UDP in packet:
        return f"UDP {packet[UDP].sport} → {packet[UDP].dport}, {max(int(packet[UDP].len or 8) - 8, 0)} bytes"
    if ICMP in packet:
        return str(packet[ICMP].sprintf("ICMP %ICMP.type%"))
    if IP in packet and packet[IP].frag:
        return f"IP fragment at {packet[IP].frag * 8}"
    if IPv6 in packet:
        return str(packet[IPv6].payload.name)
    return f"{packet.summary()[:40]}"


def _describe_tcp(tcp: object) -> str:
    """Flags, numbers and length of a TCP segment. Its own length: the capture may hold less of it."""
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6

    names = {"S": "SYN", "A": "ACK", "F": "FIN", "R": "RST", "P": "PSH", "U": "URG", "E": "ECE", "C": "CWR"}
    flags = " ".join(names.get(flag, flag) for flag in str(tcp.flags))  # type: ignore[attr-defined]
    under = tcp.underlayer  # type: ignore[attr-defined]
    head = (tcp.dataofs or 5) * 4  # type: ignore[attr-defined]
    if isinstance(under, IP):
        length = int(under.len or 0) - int(under.ihl or 5) * 4 - head
    elif isinstance(under, IPv6):
        length = int(under.plen or 0) - head
    else:
        length = 0
    text = f"{flags} {tcp.sport} → {tcp.dport} seq {tcp.seq}"  # type: ignore[attr-defined]
    return text + (f", {length} bytes" if length > 0 else "")
