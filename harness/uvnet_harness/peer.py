# SPDX-License-Identifier: BSD-3-Clause
"""One end of a TCP connection, made by hand: a wire says exactly which segments it sends, and sees
exactly which it gets. The other end is a host's stack::

    peer = Peer(wire, host.mac, host.ip, dport=7)
    peer.connect()
    peer.send("PA", b"hello")
    assert peer.read(5) == b"hello"
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uvnet_harness.wire import Received, Wire

MODULUS = 1 << 32


class Peer:
    """The hand-made end. Nothing is answered by itself.

    :param wire: where it is.
    :param mac: address of the host.
    :param ip: the host's.
    :param sport: its own port.
    :param dport: the host's.
    :param seq: its initial sequence number.
    """

    def __init__(self, wire: Wire, mac: str, ip: str, *, sport: int, dport: int, seq: int = 1000) -> None:
        self.wire, self.mac, self.ip = wire, mac, ip
        self.sport, self.dport = sport, dport
        self.seq, self.ack = seq, 0
        self.window = 65535
        self.tos = 0
        """of the IP header: 3 is a mark of congestion"""
        self.iss = 0
        """of the host, once it is known"""

    def segment(self, flags: str, payload: bytes = b"", **fields: Any) -> Any:
        """A segment at the current position; `fields` of scapy's TCP take precedence."""
        from scapy.layers.inet import IP, TCP

        here = {"seq": self.seq, "ack": self.ack if "A" in flags else 0, "window": self.window}
        for name in ("seq", "ack"):
            fields[name] = fields.get(name, here[name]) % MODULUS
        header = TCP(sport=self.sport, dport=self.dport, flags=flags, **{**here, **fields})
        packet = self.wire.ether(self.mac) / IP(src=self.wire.ip, dst=self.ip, tos=self.tos) / header
        return packet / payload if payload else packet

    def send(self, flags: str, payload: bytes = b"", **fields: Any) -> None:
        """Send a segment and move on past what it has; `seq` given: stay where we are."""
        self.wire.send(self.segment(flags, payload, **fields))
        if "seq" not in fields:
            self.seq = (self.seq + len(payload) + ("S" in flags) + ("F" in flags)) % MODULUS

    def is_ours(self, frame: Received) -> bool:
        """It belongs to this connection."""
        from scapy.layers.inet import TCP

        return TCP in frame and (frame[TCP].sport, frame[TCP].dport) == (self.dport, self.sport)

    def expect(self, flags: str = "", timeout: float = 5, but: str = "") -> Any:
        """The next segment; with `flags`, the next that has all of these.

        :param but: flags that it has none of: ``F``, where a FIN may be sent again meanwhile.
        :raises AssertionError: none comes.
        """
        from scapy.layers.inet import TCP

        def right(frame: Received) -> bool:
            has = set(str(frame[TCP].flags)) if self.is_ours(frame) else set()
            return bool(has) and set(flags) <= has and not has & set(but)

        frame = self.wire.expect(right, timeout)
        if "S" in str(frame[TCP].flags):
            self.iss = frame[TCP].seq
        return frame

    def assert_nothing(self, within: float = 0.03, but: str = "") -> None:
        """No segment of this connection comes; with `but`, none without one of these flags."""
        from scapy.layers.inet import TCP

        def counts(frame: Received) -> bool:
            return self.is_ours(frame) and not set(but) & set(str(frame[TCP].flags))

        self.wire.assert_nothing(counts, within)

    def connect(self, **fields: Any) -> Any:
        """Shake hands, `fields` in the SYN; the SYN and ACK."""
        from scapy.layers.inet import TCP

        fields.setdefault("options", [("MSS", 1460)])
        self.send("S", **fields)
        answer = self.expect("SA")
        assert answer[TCP].ack == self.seq, "it acknowledges our SYN"
        self.ack = (answer[TCP].seq + 1) % MODULUS
        self.send("A")
        return answer

    def accept(self, **fields: Any) -> Any:
        """Wait for the host's SYN and shake hands, `fields` in the SYN and ACK; the SYN."""
        from scapy.layers.inet import TCP

        syn = self.expect("S")
        self.ack = (syn[TCP].seq + 1) % MODULUS
        fields.setdefault("options", [("MSS", 1460)])
        self.send("SA", **fields)
        self.expect("A")
        return syn

    def take(self, frame: Any) -> bytes:
        """The payload of a segment, of which the next expected one moves `ack` on; a FIN does, too."""
        from scapy.layers.inet import TCP

        payload = payload_of(frame)
        if frame[TCP].seq == self.ack:
            self.ack = (self.ack + len(payload) + ("F" in str(frame[TCP].flags))) % MODULUS
        return payload

    def read(self, length: int) -> bytes:
        """Receive and acknowledge that many bytes, in order."""
        from scapy.layers.inet import TCP

        data = b""
        while len(data) < length:
            frame = self.expect()
            if frame[TCP].seq == self.ack and payload_of(frame):
                data += self.take(frame)
                self.send("A")
        return data


def payload_of(frame: Any) -> bytes:
    """The data of a segment, without the padding of a short frame."""
    from scapy.layers.inet import IP, TCP

    length = frame[IP].len - frame[IP].ihl * 4 - frame[TCP].dataofs * 4
    return bytes(frame[TCP].payload)[:length]
