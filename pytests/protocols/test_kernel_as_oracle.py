# SPDX-License-Identifier: BSD-3-Clause
"""The same segments to the stack and to the kernel; what they answer is compared field by field.

Each scenario is a conversation with an echo service, spoken by hand, on a connection of its own. Only
what the protocol decides is recorded: flags, numbers relative to those of the connection, lengths,
options, whether the window is open; not sizes of windows, nor when an acknowledgement goes by itself.
None of that may differ.
"""

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.packet import Raw

ECHO = 7
CLOSED = 8
ISN = 1_000_000
"""Our first sequence number; all relative numbers of ours count from it."""

FULL = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (111, 0)), ("WScale", 7)]

pytestmark = pytest.mark.nic


class Speaker:
    """Our end of a connection to one of the systems."""

    def __init__(self, wire, system, sport, dport=ECHO):
        self.wire, self.system, self.sport, self.dport = wire, system, sport, dport
        self.head = wire.ether(system.mac) / IP(src=wire.ip, dst=system.ip)
        self.theirs = 0  # their first sequence number, once known
        self.trace = []

    def send(self, flags, seq=0, ack=0, data=b"", window=65535, options=()):
        """A segment; numbers are relative, `ack` to their first."""
        segment = TCP(
            sport=self.sport, dport=self.dport, flags=flags, seq=(ISN + seq) % 2**32,
            ack=(self.theirs + ack) % 2**32 if "A" in flags else 0, window=window, options=list(options),
        )  # fmt: skip
        self.wire.send(self.head / segment / data if data else self.head / segment)

    def mine(self, frame):
        """It belongs to this connection."""
        return TCP in frame and (frame[TCP].sport, frame[TCP].dport) == (self.dport, self.sport)

    def record(self, what, frames):
        """Put down what was answered."""
        self.trace += [(what, self.fields(frame)) for frame in frames]

    def fields(self, frame):
        """What the protocol decides of a segment."""
        ip, tcp = frame[IP], frame[TCP]
        options = dict(tcp.options)
        if "Timestamp" in options:
            options["Timestamp"] = f"echoes {options['Timestamp'][1]}"
        if "SAck" in options:
            options["SAck"] = [(edge - ISN) % 2**32 for edge in options["SAck"]]
        if "WScale" in options:
            options["WScale"] = "any"
        fields = {
            "flags": str(tcp.flags), "seq": (tcp.seq - self.theirs) % 2**32, "length": size(frame),
            "ack": (tcp.ack - ISN) % 2**32 if tcp.flags.A else None, "window": "open" if tcp.window or tcp.flags.R else "closed",
            "urgent": tcp.urgptr, "ttl": ip.ttl, "tos": ip.tos, "fragments": "never" if ip.flags.DF else "may",
        }  # fmt: skip
        return {**fields, **{f"option {name}": value for name, value in options.items() if name not in ("NOP", "EOL")}}

    def answers(self, what):
        """Record what is answered at once: until an echo request sent afterwards is."""
        self.wire.send(self.head / ICMP(id=self.sport, seq=len(self.trace)) / b"fence")
        got = []
        while True:
            frame = self.wire.expect(lambda f: ICMP in f or self.mine(f))
            if ICMP in frame:
                break
            got.append(frame)
        self.record(what, got)
        return got

    def receive(self, what, until, ack=True, at=1):
        """Record what comes until the segment that ends at relative sequence number `until`, by its
        bytes and not by how they are cut up.

        :param ack: acknowledge it, as of our relative sequence number `at`.
        """
        next_, last = self.expected, None
        while next_ < until:
            last = self.wire.expect(lambda f: self.mine(f) and (size(f) or f[TCP].flags.F or f[TCP].flags.R))
            if (last[TCP].seq - self.theirs) % 2**32 == next_:
                next_ += size(last) + bool(last[TCP].flags.F)
        self.trace.append((what, {"from": self.expected, "until": next_, "ack": (last[TCP].ack - ISN) % 2**32}))
        self.expected = next_
        if ack:
            self.send("A", at, next_)

    def probes(self, frame):
        """It says something about data that waits: with a byte of it, or a number from before."""
        return size(frame) > 0 or (frame[TCP].seq - self.theirs) % 2**32 == self.expected - 1

    expected = 1
    """Next relative sequence number of theirs."""

    def connect(self, options=(("MSS", 1460),)):
        """Shake hands; nothing is recorded."""
        self.send("S", options=options)
        answer = self.wire.expect(self.mine)
        assert answer[TCP].flags == "SA", answer
        self.theirs = answer[TCP].seq
        self.send("A", 1, 1)
        return answer


def size(frame):
    """Bytes of data, without Ethernet's padding."""
    return frame[IP].len - 4 * frame[IP].ihl - 4 * frame[TCP].dataofs


# ------------------------------------------------------------------------------------ handshake


def syn(options):
    """A SYN with these options, and what is answered."""

    def scenario(peer):
        peer.send("S", options=options)
        answer = peer.wire.expect(peer.mine)
        peer.theirs = answer[TCP].seq
        peer.record("answer", [answer])
        peer.send("R", 1)

    return scenario


def syn_twice(peer):
    """The SYN is repeated before the handshake is over."""
    peer.send("S", options=[("MSS", 1460)])
    peer.theirs = peer.wire.expect(peer.mine)[TCP].seq
    peer.send("S", options=[("MSS", 1460)])
    peer.answers("answer")
    peer.send("R", 1)


def wrong_ack_in_handshake(peer):
    """The third segment acknowledges what was never sent (RFC 9293, 3.10.7.4)."""
    peer.send("S", options=[("MSS", 1460)])
    peer.theirs = peer.wire.expect(peer.mine)[TCP].seq
    peer.send("A", 1, 5000)
    peer.answers("answer")
    peer.send("R", 1)


HANDSHAKE = {
    "SYN with all options": syn(FULL),
    "SYN without options": syn([]),
    "SYN with MSS alone": syn([("MSS", 536)]),
    "SYN with timestamps alone": syn([("MSS", 1460), ("Timestamp", (5, 0))]),
    "SYN with window scale alone": syn([("MSS", 1460), ("WScale", 0)]),
    "SYN with an unknown option": syn([("MSS", 1460), (99, b"\0\0")]),
    "SYN twice": syn_twice,
    "wrong ACK in the handshake": wrong_ack_in_handshake,
}

# ---------------------------------------------------------------------------------------- close


def orderly_close(peer):
    """FIN, their FIN, the last ACK; a late segment then meets nobody."""
    peer.connect()
    peer.send("FA", 1, 1)
    peer.receive("their FIN", 2, at=2)
    peer.answers("after the end")
    peer.send("PA", 2, 2, b"late")
    peer.answers("late segment")


def fin_with_data(peer):
    """What came with the FIN is echoed before theirs."""
    peer.connect()
    peer.send("FPA", 1, 1, b"last words")
    peer.receive("echo and FIN", 1 + 10 + 1, at=12)
    peer.answers("after the end")


def half_close(peer):
    """We have closed and go on acknowledging: all the data comes, then the FIN."""
    peer.connect()
    peer.send("PA", 1, 1, b"a" * 1000)
    peer.send("FPA", 1001, 1, b"b" * 1000)
    peer.receive("echo and FIN", 1 + 2000 + 1, at=2002)


def fin_repeated(peer):
    """Our FIN once more, after it was acknowledged: acknowledged again."""
    peer.connect()
    peer.send("FA", 1, 1)
    peer.receive("their FIN", 2, ack=False)
    peer.send("FA", 1, 1)
    answer = peer.answers("repeated FIN")
    assert answer
    peer.send("A", 2, 2)


def fin_ahead_of_data(peer):
    """A FIN beyond a gap does not count before the gap is filled."""
    peer.connect()
    peer.send("FA", 5, 1)
    peer.answers("FIN beyond a gap")
    peer.send("PA", 1, 1, b"fill")
    peer.receive("echo and FIN", 1 + 4 + 1, at=6)


CLOSE = {
    "orderly close": orderly_close,
    "FIN with data": fin_with_data,
    "half close": half_close,
    "FIN repeated": fin_repeated,
    "FIN ahead of data": fin_ahead_of_data,
}

# ---------------------------------------------------------------------------------------- reset


def stray(flags, seq=0, ack=777, data=b"", dport=CLOSED):
    """One segment that belongs to no connection."""

    def scenario(peer):
        peer.dport = dport
        peer.send(flags, seq, ack, data)
        peer.answers("answer")

    return scenario


def established(flags, seq, ack=1, data=b""):
    """One segment into an established connection, and then data: does it still stand?"""

    def scenario(peer):
        peer.connect()
        peer.send(flags, seq, ack, data)
        peer.answers("answer")
        peer.send("PA", 1, 1, b"still there?")
        frame = peer.wire.expect(lambda f: peer.mine(f) and (size(f) or f[TCP].flags.R))
        peer.record("data afterwards", [frame])
        peer.send("R", 13)

    return scenario


RESET = {
    "SYN to a closed port": stray("S"),
    "SYN with data to a closed port": stray("S", data=b"data"),
    "ACK to a closed port": stray("A"),
    "FIN without ACK to a closed port": stray("F"),
    "FIN to a closed port": stray("FA"),
    "data to a closed port": stray("PA", data=b"data"),
    "RST to a closed port": stray("R"),
    "SYN-ACK to a closed port": stray("SA"),
    "ACK to a listener": stray("A", dport=ECHO),
    "SYN-ACK to a listener": stray("SA", dport=ECHO),
    "RST to a listener": stray("R", dport=ECHO),
    "FIN to a listener": stray("FA", dport=ECHO),
    "RST at the expected number": established("R", 1),
    "RST within the window": established("R", 100),
    "RST beyond the window": established("R", 2**31),
    "SYN into a connection": established("S", 1),
    "ACK of what was not sent": established("A", 1, 5000),
    "data beyond the window": established("PA", 2**30, 1, b"far"),
    "data from before the window": established("PA", -100, 1, b"old"),
}

# --------------------------------------------------------------------------- window and recovery


def zero_window(peer):
    """While our window is closed nothing comes but a probe of a byte or none; all of it when it opens."""
    peer.connect()
    peer.send("PA", 1, 1, b"x")
    peer.receive("window open", 2, ack=False)
    peer.send("PA", 2, 2, b"x" * 500, window=0)
    probe = peer.wire.expect(lambda f: peer.mine(f) and peer.probes(f), 8)
    peer.trace.append(("probe", {"a byte at most": size(probe) <= 1}))
    peer.send("A", 502, 2)
    peer.receive("window open again", 502, at=502)
    peer.send("R", 502)


def small_window(peer):
    """Never more than our window."""
    peer.connect()
    peer.send("PA", 1, 1, b"x")
    peer.receive("before", 2, ack=False)
    peer.send("PA", 2, 2, b"x" * 500, window=200)
    frame = peer.wire.expect(lambda f: peer.mine(f) and size(f))
    peer.trace.append(("first", {"within": size(frame) <= 200, "seq": (frame[TCP].seq - peer.theirs) % 2**32}))
    peer.expected = 2 + size(frame)
    peer.send("A", 502, peer.expected)
    peer.receive("rest", 502, at=502)
    peer.send("R", 502)


def lost_segment(peer):
    """What is not acknowledged comes again, as it was."""
    peer.connect()
    peer.send("PA", 1, 1, b"x" * 300)
    first = peer.wire.expect(lambda f: peer.mine(f) and size(f))
    again = peer.wire.expect(lambda f: peer.mine(f) and size(f), 5)
    peer.record("first and again", [first, again])
    assert bytes(first[Raw]) == bytes(again[Raw])
    peer.send("R", 301)


def lost_syn_ack(peer):
    """The SYN-ACK that is not acknowledged comes again."""
    peer.send("S", options=[("MSS", 1460)])
    first = peer.wire.expect(peer.mine)
    peer.theirs = first[TCP].seq
    again = peer.wire.expect(peer.mine, 5)
    peer.record("first and again", [first, again])
    peer.send("R", 1)


def fast_retransmit(peer):
    """Three duplicate acknowledgements: the first segment comes again at once."""
    peer.connect()
    peer.send("PA", 1, 1, b"x" * 1460)
    peer.send("PA", 1461, 1, b"y" * 1460)
    peer.send("PA", 2921, 1, b"z" * 1460)
    peer.receive("data", 1 + 3 * 1460, ack=False)
    for _ in range(3):
        peer.send("A", 4381, 1)
    again = peer.wire.expect(lambda f: peer.mine(f) and size(f))
    peer.trace.append(("again", {"seq": again[TCP].seq - peer.theirs}))
    peer.send("R", 4381)


def gap(options):
    """A segment beyond a gap; then the gap is filled."""

    def scenario(peer):
        peer.connect(options)
        stamps = [("NOP", None), ("NOP", None), ("Timestamp", (112, 0))] if options is FULL else []
        peer.send("PA", 101, 1, b"b" * 100, options=stamps)
        peer.answers("beyond a gap")
        peer.send("PA", 301, 1, b"d" * 100, options=stamps)
        peer.answers("beyond another")
        peer.send("PA", 1, 1, b"a" * 100, options=stamps)
        peer.receive("the first gap filled", 201, ack=False)
        peer.send("R", 401, options=stamps)

    return scenario


def repeated_data(peer):
    """Data that has been acknowledged comes again: acknowledged again, not echoed."""
    peer.connect()
    peer.send("PA", 1, 1, b"once")
    peer.receive("echo", 5, at=5)
    peer.send("PA", 1, 5, b"once")
    peer.answers("repeated")
    peer.send("R", 5)


def old_timestamp(peer):
    """A segment from the past (PAWS, RFC 7323, 5.3): acknowledged, not taken."""
    peer.connect([("MSS", 1460), ("Timestamp", (1000, 0))])
    peer.send("PA", 1, 1, b"old", options=[("NOP", None), ("NOP", None), ("Timestamp", (500, 0))])
    peer.answers("old timestamp")
    peer.send("R", 1)


WINDOW = {
    "zero window": zero_window,
    "small window": small_window,
    "lost segment": lost_segment,
    "lost SYN-ACK": lost_syn_ack,
    "fast retransmit": fast_retransmit,
    "gap": gap((("MSS", 1460),)),
    "gap with SACK and timestamps": gap(FULL),
    "repeated data": repeated_data,
    "old timestamp": old_timestamp,
}

GROUPS = {"handshake": HANDSHAKE, "close": CLOSE, "reset": RESET, "window": WINDOW}


@pytest.fixture
def systems(net):
    """The stack, on the card under test, and the kernel: each with an echo service."""
    stack, kernel = net.host("stack"), net.kernel_host("kernel", offload=False)
    stack.start(net.build.echo, stack.ip, str(ECHO)).wait_port(ECHO)
    kernel.start(net.build.echo, kernel.ip, str(ECHO)).process.wait_output("listening")
    return stack, kernel


def differences(stack, kernel):
    """What differs, and both values."""
    ours, theirs = ([(what, fields.get("flags")) for what, fields in trace] for trace in (stack, kernel))
    if [what for what, _ in ours] != [what for what, _ in theirs]:
        yield "segments", ours, theirs
        return
    for (what, mine), (_, other) in zip(stack, kernel):
        for field in sorted(mine.keys() | other.keys()):
            if mine.get(field) != other.get(field):
                yield f"{what}: {field}", mine.get(field), other.get(field)


@pytest.mark.parametrize("group", GROUPS)
def test_answers_as_the_kernel_does(net, systems, group):
    wire = net.wire("wire")
    ports = iter(net.random("ports").sample(range(20000, 60000), 64))
    found = []
    for name, scenario in GROUPS[group].items():
        traces = []
        for host in systems:
            wire.arp(host.ip)
            wire.drain()
            peer = Speaker(wire, host, next(ports))
            try:
                scenario(peer)
            except AssertionError as error:
                raise AssertionError(f"{name}, {host}: {error}") from error
            traces.append(peer.trace)
        found += [f"{name}: {what}: stack {ours!r}, kernel {theirs!r}" for what, ours, theirs in differences(*traces)]
    assert not found, "\n".join(found)
