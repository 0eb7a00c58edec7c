# SPDX-License-Identifier: BSD-3-Clause
"""Every flow lands on the queue that the specification predicts. Wires only."""

import ipaddress

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6

from uvnet_harness import Flow, HashType, Rss

QUEUES = 4
FLOWS = 1000

pytestmark = pytest.mark.uvnet(queues=QUEUES, capture=False)


def random_flow(random):
    """A flow of any of the four kinds."""
    version, protocol = random.choice([4, 6]), random.choice(["tcp", "udp"])
    kind = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
    # Unicast without meaning: 11.x.x.x and 2001:db8::/32.
    base, bits = (0x0B000000, 24) if version == 4 else (0x20010DB8 << 96, 96)
    src, dst = (str(kind(base | random.getrandbits(bits))) for _ in range(2))
    return Flow(src, dst, random.randrange(1, 65536), random.randrange(1, 65536), protocol)


def packet(wire, dst_mac, flow):
    """The flow's packet as sent by a wire."""
    network = IP if "." in flow.src else IPv6
    transport = TCP if flow.protocol == "tcp" else UDP
    return (
        wire.ether(dst_mac)
        / network(src=flow.src, dst=flow.dst)
        / transport(sport=flow.sport, dport=flow.dport)
    )


def check(net, rss, flows):
    """Send a packet of each flow and compare queue and hash."""
    sender, receiver = net.wires["sender"], net.wires["receiver"]
    sender.send(packet(sender, receiver.mac, flow) for flow in flows)
    by_flow = {}
    for frame in receiver.drain():
        inner = frame.packet.payload
        by_flow[inner.src, inner.dst, inner.payload.sport, inner.payload.dport] = frame
    wrong = []
    for flow in flows:
        key = flow.src, flow.dst, flow.sport, flow.dport
        frame = by_flow[key]
        if (frame.queue, frame.hash) != (rss.queue_of(flow), rss.hash_of(flow)):
            wrong.append((flow, frame.queue, rss.queue_of(flow), frame.hash, rss.hash_of(flow)))
    assert not wrong, f"{len(wrong)} of {len(flows)} on the wrong queue, e.g. {wrong[0]}"
    assert {rss.queue_of(flow) for flow in flows} == set(range(rss.queues))


@pytest.fixture
def wires(net):
    """A sender, and a receiver with several queues."""
    return net.wire("sender", mac="02:00:00:00:00:51"), net.wire("receiver", queues=QUEUES)


@pytest.mark.usefixtures("wires")
def test_random_flows_land_where_predicted(net):
    random = net.random("flows")
    check(net, Rss(QUEUES), [random_flow(random) for _ in range(FLOWS)])


def test_key_and_table_changed_at_run_time(net, wires):
    random = net.random("flows")
    flows = [random_flow(random) for _ in range(FLOWS // 4)]
    check(net, Rss(QUEUES), flows[:100])
    for size in (64, 512):
        key = random.randbytes(random.choice([40, 52]))
        reta = [random.randrange(QUEUES) for _ in range(size)]
        wires[1].configure(key=key, reta=reta)
        check(net, Rss(QUEUES, key=key, reta=reta), flows)


def test_hash_types_are_obeyed(net, wires):
    random = net.random("flows")
    flows = [random_flow(random) for _ in range(FLOWS // 4)]
    for types in (HashType.IPV4_TCP | HashType.IPV6_UDP, HashType.IPV4 | HashType.IPV6_TCP):
        wires[1].configure(rss_types=types)
        check(net, Rss(QUEUES, types=types), flows)
