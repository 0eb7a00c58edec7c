# SPDX-License-Identifier: BSD-3-Clause
"""Wires: raw ports of the fabric inside the test, speaking scapy.

A wire is attached by libuvbridge itself; there is no kernel in between, so nothing is sent that the
test did not send, and nothing is missed because a sniffer started late. Sending acknowledges: when
`send()` returns, every frame has been taken by its receiver or counted as a drop.
"""

from __future__ import annotations

import ctypes
import importlib
import ipaddress
import select
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from ctypes import byref, c_void_p
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from scapy.config import conf as scapy_conf
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from uvnet_harness import bpf, uvb, wait
from uvnet_harness.rss import ALL_TYPES, MICROSOFT_KEY, HashType

scapy_conf.verb = 0
for _layer in ("inet", "inet6"):
    importlib.import_module(f"scapy.layers.{_layer}")  # dissection knows what is loaded

BROADCAST = "ff:ff:ff:ff:ff:ff"

FrameLike: TypeAlias = "bytes | bytearray | Packet"
Match: TypeAlias = "str | type[Packet] | Callable[[Received], Any] | None"

SEEN_KEPT = 64
"""Frames that were looked at and did not match, kept for the failure message."""


def solicited_node(address: str) -> str:
    """The solicited-node group of an IPv6 address (RFC 4291, 2.7.1)."""
    low = int(ipaddress.IPv6Address(address)) & 0xFFFFFF
    return str(ipaddress.IPv6Address(int(ipaddress.IPv6Address("ff02::1:ff00:0")) | low))


def multicast_mac(group: str) -> str:
    """The Ethernet address of an IPv6 group (RFC 2464, 7)."""
    return "33:33:" + ":".join(f"{byte:02x}" for byte in ipaddress.IPv6Address(group).packed[-4:])


@dataclass
class Received:
    """A frame as it arrived. Layers are reached as with scapy: ``frame[IP].src``, ``TCP in frame``."""

    raw: bytes
    queue: int
    """Receive queue it came in on."""
    hash: int | None
    """RSS hash, if the fabric computed one."""
    src_port: int
    """Id of the port that sent it."""
    time: float
    """CLOCK_MONOTONIC seconds when it was taken."""
    _packet: Packet | None = field(default=None, repr=False, compare=False)

    @property
    def packet(self) -> Packet:
        """The frame dissected."""
        if self._packet is None:
            self._packet = Ether(self.raw)
        return self._packet

    def __getitem__(self, layer: Any) -> Any:
        return self.packet[layer]

    def __contains__(self, layer: Any) -> bool:
        return layer in self.packet

    def __str__(self) -> str:
        return f"{self.packet.summary()} ({len(self.raw)} bytes, queue {self.queue})"


def to_bytes(frame: FrameLike) -> bytes:
    """The bytes of a frame, lengths and checksums filled in by scapy where they are None."""
    return frame if isinstance(frame, bytes) else bytes(frame)


def matcher(match: Match) -> Callable[[Received], Any]:
    """A predicate from what a scenario gives: a tcpdump filter, a scapy layer, a function, or None
    for any frame."""
    if match is None:
        return lambda frame: True
    if isinstance(match, str):
        program = bpf.compiled(match)
        return lambda frame: program.matches(frame.raw)
    if isinstance(match, type):
        layer = match
        return lambda frame: layer in frame.packet
    return match


def describe(match: Match) -> str:
    """The match in words."""
    if match is None:
        return "any frame"
    if isinstance(match, str):
        return f"a frame matching {match!r}"
    return f"a frame matching {getattr(match, '__name__', match)}"


class _Queue:
    """A receive queue of a wire."""

    def __init__(self, library: uvb.Library, handle: int, number: int) -> None:
        self._lib = library.lib
        self.handle = handle
        self.number = number
        self.fd: int = self._lib.uvb_rxq_fd(handle)
        self._frames = (uvb.RxFrame * uvb.BURST)()

    def take(self, limit: int = uvb.BURST) -> list[Received]:
        """Take the frames that wait, at most `limit` (up to a burst)."""
        count = self._lib.uvb_rx_peek(self.handle, self._frames, limit)
        taken = [self._copy(self._frames[i]) for i in range(count)]
        if count:
            self._lib.uvb_rx_done(self.handle, 0)
        return taken

    def arm(self) -> bool:
        """Ask for the bell. False: there is work already."""
        return bool(self._lib.uvb_rx_arm(self.handle, False))

    def disarm(self) -> None:
        """Back to polling."""
        self._lib.uvb_rx_disarm(self.handle)

    def _copy(self, frame: uvb.RxFrame) -> Received:
        buffer = ctypes.create_string_buffer(frame.len)
        length = self._lib.uvb_rx_read(self.handle, byref(frame), 0, buffer, frame.len)
        hashed = frame.hash if frame.flags & uvb.CELL_HASH else None
        return Received(buffer.raw[:length], self.number, hashed, frame.src_port, time.monotonic())


class WireSet:
    """The wires of one network. Frames for any of them are taken while one waits for an
    acknowledgement, so that wires of one test can send to each other."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []

    def pump(self) -> int:
        """Take what waits for any wire (but the paused ones) into its inbox.

        :returns: the number of frames."""
        return sum(wire.pump() for wire in self.wires if not wire.paused)

    def sleep(self, waiting: Wire, deadline: wait.Deadline) -> None:
        """Wait for the bell of any queue that `pump` would look at, or of the wire that waits."""
        queues = [q for wire in self.wires if wire is waiting or not wire.paused for q in wire.rx_queues]
        poller = select.poll()
        armed = []
        try:
            for queue in queues:
                poller.register(queue.fd, select.POLLIN)
                armed.append(queue)
                if not queue.arm():
                    return
            poller.poll(deadline.left * 1000)
        finally:
            for queue in armed:
                queue.disarm()


class Wire:
    """A raw port. One thread at a time.

    :param fabric: name of the fabric.
    :param name: of the port.
    :param mac: its address; the source of frames it makes itself.
    :param ip: its IPv4 address: ARP requests for it are answered while the wire receives, unless
        `answer_arp` is False. None: it has none.
    :param promiscuous: take frames for any address.
    :param queues: receive and transmit queues.
    :raises uvb.UvbError: the fabric does not let it in.
    """

    def __init__(
        self,
        library: uvb.Library,
        fabric: str,
        name: str,
        mac: str,
        ip: str | None = None,
        *,
        promiscuous: bool = False,
        queues: int = 1,
        wires: WireSet | None = None,
    ) -> None:
        self._library = library
        self._lib = library.lib
        self.fabric, self.name, self.mac, self.ip = fabric, name, mac, ip
        self.queues = queues
        self.answer_arp = ip is not None
        self.answer_nd = True
        self.is_router = False
        self.ip6: str | None = None
        self.link_local: str | None = None
        self._promiscuous = promiscuous
        self._groups: list[str] = []
        self.paused = False
        self._inbox: deque[Received] = deque()
        self.seen: deque[Received] = deque(maxlen=SEEN_KEPT)
        self._dev = c_void_p()
        self._open(queues)
        self.id: int = self._lib.uvb_id(self._dev)
        self.frame_max: int = self._lib.uvb_frame_max(self._dev)
        self._txqs = [self._lib.uvb_txq(self._dev, i) for i in range(queues)]
        self.rx_queues = [_Queue(library, self._lib.uvb_rxq(self._dev, i), i) for i in range(queues)]
        self._cells: int = self._lib.uvb_hdr(self._dev).contents.cells_per_txq
        self.configure(promiscuous=promiscuous)
        self._set = wires or WireSet()
        self._set.wires.append(self)

    def _open(self, queues: int) -> None:
        request = uvb.Attach(
            fabric=self.fabric.encode(),
            name=self.name.encode(),
            mac=(ctypes.c_uint8 * 6)(*uvb.mac_bytes(self.mac)),
            nb_rxq=queues,
            nb_txq=queues,
            kind=uvb.Kind.WIRE,
        )
        err = ctypes.create_string_buffer(uvb.ERR_LEN)
        status = self._lib.uvb_open(byref(request), byref(self._dev), err)
        self._library.check(status, err, f"attaching wire {self.name} to {self.fabric}")

    # ------------------------------------------------------------------------------- settings

    def configure(
        self,
        *,
        promiscuous: bool = False,
        started: bool = True,
        mtu: int = 1500,
        rss_types: HashType = ALL_TYPES,
        key: bytes = MICROSOFT_KEY,
        reta: Sequence[int] | None = None,
        rx_queues: int | None = None,
        macs: Sequence[str] = (),
        multicast: Sequence[str] = (),
    ) -> None:
        """Publish the port's receive configuration; everything not given is at its default, but for
        the groups of the wire's IPv6 addresses, which it always hears.

        :param mtu: bytes of payload; frames longer than mtu + 18 are dropped by the sender.
        :param reta: indirection table, a power of two of entries; default 128, round robin.
        :param macs: unicast addresses besides the wire's own.
        :raises uvb.UvbError: the fabric finds no sense in it.
        """
        self._promiscuous = promiscuous
        multicast = [*self._groups, *multicast]
        conf = uvb.Conf()
        self._lib.uvb_conf_default(self._dev, byref(conf))
        conf.flags = (uvb.CONF_STARTED if started else 0) | (uvb.CONF_PROMISC if promiscuous else 0)
        conf.mtu, conf.rss_types = mtu, int(rss_types)
        conf.nb_rxq = self.queues if rx_queues is None else rx_queues
        conf.key_len = len(key)
        ctypes.memmove(conf.key, key, len(key))
        table = reta or [i % conf.nb_rxq for i in range(128)]
        conf.reta_size = len(table)
        conf.reta[: len(table)] = table
        for index, address in enumerate(macs, start=1):
            conf.mac[index][:6] = tuple(uvb.mac_bytes(address))
        conf.nb_mac = 1 + len(macs)
        for index, address in enumerate(multicast):
            conf.mc[index][:6] = tuple(uvb.mac_bytes(address))
        conf.nb_mc = len(multicast)
        err = ctypes.create_string_buffer(uvb.ERR_LEN)
        status = self._lib.uvb_conf_set(self._dev, byref(conf), err)
        self._library.check(status, err, f"configuring wire {self.name}")

    @property
    def up(self) -> bool:
        """Link: this attachment is the one the fabric knows."""
        return bool(self._dev) and bool(self._lib.uvb_link(self._dev))

    @property
    def carrier(self) -> bool:
        """Link as a NIC sees it: up, and not put down by the switch."""
        return bool(self._dev) and bool(self._lib.uvb_carrier(self._dev))

    def close(self) -> None:
        """Detach. Frames not yet received are gone."""
        if self._dev:
            self._lib.uvb_close(self._dev)
            self._dev = c_void_p()
            self._set.wires.remove(self)

    # ---------------------------------------------------------------------------------- sending

    def send(
        self,
        frames: FrameLike | Iterable[FrameLike],
        *,
        queue: int = 0,
        ack: bool = True,
        timeout: float = 5,
    ) -> int:
        """Send frames, in order, on one transmit queue.

        :param ack: wait, burst by burst, until each frame was taken by its receiver or dropped under
            a name: no queue overflows. Without, return as soon as the fabric has them.
        :param timeout: seconds.
        :returns: the number of frames.
        :raises wait.Timeout: not taken in time (a receiver that is stopped, all cells in flight).
        """
        if isinstance(frames, (bytes, bytearray, Packet)):
            frames = [frames]
        raw = [to_bytes(frame) for frame in frames]
        deadline = wait.Deadline(timeout)
        for start in range(0, len(raw), uvb.BURST):
            self._send_burst(self._txqs[queue], raw[start : start + uvb.BURST], deadline)
            if ack:
                self.acknowledged(queue, deadline.left)
        return len(raw)

    def _send_burst(self, txq: int, raw: Sequence[bytes], deadline: wait.Deadline) -> None:
        segments = (uvb.Seg * len(raw))()
        frames = (uvb.Frame * len(raw))()
        for i, data in enumerate(raw):
            segments[i].base = ctypes.cast(ctypes.c_char_p(data), c_void_p)
            segments[i].len = frames[i].len = len(data)
            frames[i].seg = ctypes.pointer(segments[i])
            frames[i].nb_seg = 1
        done = 0

        def push() -> bool:
            nonlocal done
            rest = ctypes.cast(byref(frames, done * ctypes.sizeof(uvb.Frame)), ctypes.POINTER(uvb.Frame))
            done += self._lib.uvb_tx_burst(txq, rest, len(raw) - done)
            if done < len(raw):
                self._set.pump()
            return done == len(raw)

        wait.until(push, deadline.left, lambda: f"cells of {self.name}: {len(raw) - done} frames not sent")

    def acknowledged(self, queue: int = 0, timeout: float = 5) -> None:
        """Wait until all that was sent on a queue has been taken.

        :raises wait.Timeout: some frames still wait in the fabric.
        """
        txq = self._txqs[queue]

        def quiet() -> bool:
            if self._lib.uvb_tx_free(txq) == self._cells:
                return True
            self._set.pump()
            return bool(self._lib.uvb_tx_free(txq) == self._cells)

        wait.until(
            quiet,
            timeout,
            lambda: f"{self._cells - self._lib.uvb_tx_free(txq)} frames of {self.name} to be received",
        )

    # -------------------------------------------------------------------------------- receiving

    def pump(self) -> int:
        """Take what waits now into the inbox, without waiting.

        :returns: the number of frames.
        """
        count = 0
        for queue in self.rx_queues:
            while taken := queue.take():
                count += len(taken)
                self._inbox.extend(taken)
                self._answer(taken)
        return count

    def use_ipv6(self, ip6: str, link_local: str) -> None:
        """Have two IPv6 addresses: hear and answer neighbour solicitations for them."""
        self.ip6, self.link_local = ip6, link_local
        groups = {solicited_node(ip6), solicited_node(link_local)}
        self._groups = ["33:33:00:00:00:01", *sorted(multicast_mac(group) for group in groups)]
        self.configure(promiscuous=self._promiscuous)

    def _answer_nd(self, frame: Received) -> None:
        if frame.raw[20:21] != b"\x3a" or frame.raw[54:55] != b"\x87":
            return
        target = frame[ICMPv6ND_NS].tgt
        if target not in (self.ip6, self.link_local) or frame[IPv6].src == "::":
            return
        self.send(
            Ether(src=self.mac, dst=frame[Ether].src)
            / IPv6(src=target, dst=frame[IPv6].src, hlim=255)
            / ICMPv6ND_NA(tgt=target, R=int(self.is_router), S=1, O=1)
            / ICMPv6NDOptDstLLAddr(lladdr=self.mac),
            ack=False,
        )

    def _answer(self, frames: Iterable[Received]) -> None:
        for frame in frames:
            if self.ip6 and self.answer_nd and frame.raw[12:14] == b"\x86\xdd":
                self._answer_nd(frame)
            if self.answer_arp and frame.raw[12:14] == b"\x08\x06" and ARP in frame:
                request = frame[ARP]
                if request.op == 1 and request.pdst == self.ip and request.hwsrc != self.mac:
                    self.send(
                        Ether(src=self.mac, dst=request.hwsrc)
                        / ARP(op=2, hwsrc=self.mac, psrc=self.ip, hwdst=request.hwsrc, pdst=request.psrc),
                        ack=False,
                    )

    def recv(self, timeout: float = 5) -> Received | None:
        """The next frame, in order of arrival.

        :param timeout: seconds; 0 only looks.
        :returns: None if none came.
        """
        deadline = wait.Deadline(timeout)
        while not self._inbox:
            if self.pump() or self._set.pump():
                continue
            if deadline.passed:
                return None
            self._set.sleep(self, deadline)
        return self._inbox.popleft()

    def drain(self) -> list[Received]:
        """Everything that has arrived by now."""
        self.pump()
        frames = list(self._inbox)
        self._inbox.clear()
        return frames

    def expect(self, match: Match = None, timeout: float = 5) -> Received:
        """Receive until a frame matches; the frames before it are passed over (see `seen`).

        :param match: tcpdump filter, scapy layer, predicate on `Received`, or None for any frame.
        :param timeout: seconds.
        :raises wait.Timeout: none came; the message lists what came instead.
        """
        matches = matcher(match)
        deadline = wait.Deadline(timeout)
        self.seen.clear()
        while (frame := self.recv(deadline.left)) is not None:
            if matches(frame):
                return frame
            self.seen.append(frame)
        raise wait.Timeout(
            f"{self.name}: waited {timeout:g} s for {describe(match)}; it received {self._seen_text()}"
        )

    def assert_nothing(self, match: Match = None, within: float = 0.05) -> None:
        """Assert that no matching frame arrives.

        What other wires have sent by now has arrived by now, so `within=0` is exact for them. For a
        host's answer it is a bet on how fast it would have come.

        :param within: seconds.
        :raises AssertionError: one did.
        """
        matches = matcher(match)
        deadline = wait.Deadline(within)
        while (frame := self.recv(deadline.left)) is not None:
            if matches(frame):
                raise AssertionError(f"{self.name} received {frame}, and expected nothing of the kind")
            self.seen.append(frame)

    def _seen_text(self) -> str:
        if not self.seen:
            return "nothing"
        return f"{len(self.seen)} others:\n  " + "\n  ".join(str(frame) for frame in self.seen)

    # ----------------------------------------------------------------------------- conversations

    def sr(
        self, frames: FrameLike | Iterable[FrameLike], timeout: float = 5
    ) -> tuple[list[tuple[Packet, Received]], list[Packet]]:
        """Send frames and collect one answer to each, as scapy understands "answer".

        :param timeout: seconds for all of them.
        :returns: pairs of question and answer in order of arrival, and the unanswered.
        """
        if isinstance(frames, (bytes, bytearray, Packet)):
            frames = [frames]
        waiting = [frame if isinstance(frame, Packet) else Ether(bytes(frame)) for frame in frames]
        questions = [(packet, Ether(bytes(packet))) for packet in waiting]
        deadline = wait.Deadline(timeout)
        self.send(waiting, ack=False, timeout=timeout)
        pairs: list[tuple[Packet, Received]] = []
        self.seen.clear()
        while questions and (answer := self.recv(deadline.left)) is not None:
            hit = next((q for q in questions if _answers(answer.packet, q[1])), None)
            if hit is None:
                self.seen.append(answer)
            else:
                questions.remove(hit)
                pairs.append((hit[0], answer))
        return pairs, [question for question, _ in questions]

    def sr1(self, frame: FrameLike, timeout: float = 5) -> Received:
        """Send one frame and return the answer to it.

        :raises wait.Timeout: there was none; the message lists what came instead.
        """
        pairs, _ = self.sr(frame, timeout)
        if not pairs:
            question = frame if isinstance(frame, Packet) else Ether(bytes(frame))
            raise wait.Timeout(
                f"{self.name}: no answer within {timeout:g} s to {question.summary()}; "
                f"it received {self._seen_text()}"
            )
        return pairs[0][1]

    def arp(self, ip: str, timeout: float = 5) -> str:
        """Ask who has an address.

        :returns: the MAC address that answers.
        :raises wait.Timeout: nobody does.
        """
        request = Ether(src=self.mac, dst=BROADCAST) / ARP(
            op=1, hwsrc=self.mac, psrc=self.ip or "0.0.0.0", pdst=ip
        )
        self.send(request, ack=False)
        reply = self.expect(
            lambda frame: ARP in frame and frame[ARP].op == 2 and frame[ARP].psrc == ip, timeout
        )
        return str(reply[ARP].hwsrc)

    def ether(self, dst: str) -> Packet:
        """An Ethernet header from this wire."""
        return Ether(src=self.mac, dst=dst)

    def __str__(self) -> str:
        return f"wire {self.name} ({self.mac})"


def _answers(answer: Packet, question: Packet) -> bool:
    """True if scapy says so, whichever way the addresses on the Ethernet go."""
    return bool(answer.answers(question))
