# SPDX-License-Identifier: BSD-3-Clause
"""1,000 random flows of each kind land on the queue that key and table predict, as testpmd sees it."""

import ipaddress
import re
import struct

import pytest

from uvnet_harness import Flow, HashType, Rss, until
from uvnet_harness.rss import toeplitz

QUEUES = 4
FLOWS = 1000
SHORTEST = 80
"""Bytes of the first frame. Each is a byte longer than the one before: the length tells them apart."""

pytestmark = pytest.mark.uvnet(queues=QUEUES, capture=False)

KINDS = [(4, "tcp"), (4, "udp"), (6, "tcp"), (6, "udp")]


def random_flow(random, version, protocol):
    """A flow with any addresses and ports at all."""
    kind, bits = (ipaddress.IPv4Address, 32) if version == 4 else (ipaddress.IPv6Address, 128)
    src, dst = (kind(random.getrandbits(bits)) for _ in range(2))
    return Flow(src, dst, random.getrandbits(16), random.getrandbits(16), protocol)


def frame(wire, dst_mac, flow, length):
    """The flow's packet, in so many bytes."""
    ethernet = bytes.fromhex((dst_mac + wire.mac).replace(":", ""))
    addresses = flow.src.packed + flow.dst.packed
    ports = struct.pack(">HH", flow.sport, flow.dport)
    if flow.src.version == 4:
        head = struct.pack(">HBBHHHBBH", 0x0800, 0x45, 0, length - 14, 0, 0, 64, flow.number, 0) + addresses
    else:
        head = struct.pack(">HIHBB", 0x86DD, 6 << 28, length - 54, flow.number, 64) + addresses
    if flow.protocol == "tcp":
        transport = ports + struct.pack(">IIBBHHH", 0, 0, 5 << 4, 0x10, 0, 0, 0)
    else:
        transport = ports + struct.pack(">HH", length - 14 - (20 if flow.src.version == 4 else 40), 0)
    return (ethernet + head + transport).ljust(length, b"\0")


def received(text):
    """(queue, hash) by frame length, from what `set verbose 1` prints."""
    seen, queue = {}, None
    for line in text.splitlines():
        if match := re.search(r"port 0/queue (\d+): received", line):
            queue = int(match[1])
        elif match := re.search(r"length=(\d+) .*RSS hash=0x([0-9a-f]+) - RSS queue=0x([0-9a-f]+)", line):
            assert int(match[3], 16) == queue
            seen[int(match[1])] = queue, int(match[2], 16)
    return seen


def check(net, pmd, rss, version, protocol):
    """Send the flows of one kind and compare queue and hash."""
    wire, random = net.wires["wire"], net.random(f"{version}{protocol}")
    flows = [random_flow(random, version, protocol) for _ in range(FLOWS)]
    mac = net.fabric.snapshot().port("nic")["mac"]
    start = len(pmd.process.stdout)
    wire.send(frame(wire, mac, flow, SHORTEST + i) for i, flow in enumerate(flows))
    until(
        lambda: pmd.process.stdout.count("RSS queue=", start) == FLOWS,
        20,
        lambda: f"{FLOWS} frames; {pmd.process.stdout.count('RSS queue=', start)} were printed",
    )
    seen = received(pmd.process.stdout[start:])
    expected = {SHORTEST + i: (rss.queue_of(flow), rss.hash_of(flow)) for i, flow in enumerate(flows)}
    wrong = {length: (seen.get(length), right) for length, right in expected.items() if seen.get(length) != right}
    assert not wrong, f"{len(wrong)} of {FLOWS} wrong, as (queue, hash) seen and expected: {list(wrong.items())[:3]}"
    assert {queue for queue, _ in seen.values()} == set(range(QUEUES))


def check_all(net, pmd, rss):
    """The flows of all kinds."""
    for version, protocol in KINDS:
        check(net, pmd, rss, version, protocol)


@pytest.fixture
def pmd(net, testpmd):
    """testpmd that prints what it receives, with its queue and hash; and a wire to send from."""
    net.wire("wire")
    one = testpmd("nic", "name=nic", options=[f"--rxq={QUEUES}", f"--txq={QUEUES}", "--forward-mode=rxonly"])
    one.command("port stop 0")
    one.command("port config 0 rx_offload rss_hash on")
    one.command("port start 0")
    one.command("port config all rss all")
    one.command("set verbose 1")
    one.command("start")
    return one


def set_key(pmd, key):
    """Change the key while it receives. The command sets the hash types, too."""
    pmd.command(f"port config 0 rss-hash-key ipv4 {key.hex()}")
    pmd.command("port config all rss all")
    assert key.hex().upper() in pmd.command("show port 0 rss-hash key").upper()


def set_table(pmd, table):
    """Change the redirection table while it receives; testpmd takes a few entries at a time."""
    for start in range(0, len(table), 8):
        pairs = ",".join(f"({i},{table[i]})" for i in range(start, start + 8))
        pmd.command(f"port config 0 rss reta {pairs}")


def shown_table(pmd):
    """The redirection table as testpmd shows it."""
    text = pmd.command("show port 0 rss reta 128 (0xffffffffffffffff,0xffffffffffffffff)")
    return [int(queue) for queue in re.findall(r"hash index=\d+, queue=(\d+)", text)]


def test_default_key_and_table(net, pmd):
    assert shown_table(pmd) == [i % QUEUES for i in range(128)]
    check_all(net, pmd, Rss(QUEUES))


def test_key_and_table_changed_at_run_time(net, pmd):
    random = net.random("rss")
    key = random.randbytes(40)
    set_key(pmd, key)
    check_all(net, pmd, Rss(QUEUES, key=key))
    table = [random.randrange(QUEUES) for _ in range(128)]
    set_table(pmd, table)
    assert shown_table(pmd) == table
    check_all(net, pmd, Rss(QUEUES, key=key, reta=table))


def test_hash_types_changed_at_run_time(net, pmd):
    """`rss ip`: addresses only, whatever the protocol."""
    pmd.command("port config all rss ip")
    for version, protocol in KINDS:
        check(net, pmd, Rss(QUEUES, types=HashType.IPV4 | HashType.IPV6), version, protocol)


def test_by_mac_addresses(net, pmd):
    """`rss eth`: frames of no protocol, by source and destination address."""
    pmd.command("port config all rss eth")
    wire, random = net.wires["wire"], net.random("eth")
    mac = bytes.fromhex(net.fabric.snapshot().port("nic")["mac"].replace(":", ""))
    expected = {}
    for length in range(SHORTEST, SHORTEST + 100):
        src = b"\x02" + random.randbytes(5)
        value = toeplitz(src + mac)
        expected[length] = value % 128 % QUEUES, value
        wire.send((mac + src + b"\x88\xb5").ljust(length, b"\0"))
    until(lambda: pmd.process.stdout.count("RSS queue=") == 100, 20, "100 frames")
    assert received(pmd.process.stdout) == expected
