# SPDX-License-Identifier: BSD-3-Clause
"""rte_flow as testpmd's user has it: rules by command, frames from a wire, a model as the judge."""

import re

import pytest
from scapy.layers.inet import IP, UDP

from uvnet_harness import until
from uvnet_harness.rules import QUEUES, Chance, judge, outcome

pytestmark = pytest.mark.uvnet(queues=QUEUES, capture=False)

ROUNDS, RULES, FRAMES, SHORTEST = 3, 25, 60, 140

REFUSED = [
    ("egress pattern eth / end actions drop / end", "egress rules are not supported"),
    ("transfer pattern eth / end actions drop / end", "transfer rules are not supported"),
    ("ingress pattern eth / udp / end actions drop / end", "IP header is missing"),
    ("ingress pattern eth / ipv4 / udp / vxlan / end actions drop / end", "an item that uveth does not know"),
    ("ingress pattern raw search is 1 pattern is abc / end actions drop / end", "raw cannot search"),
    ("ingress pattern eth / end actions queue index 4 / end", "no such receive queue"),
    ("ingress pattern eth / end actions mark id 5 / end", "where the frame goes"),
    ("ingress group 3 pattern eth / end actions jump group 3 / end", "a group with a higher number"),
    ("ingress pattern eth / end actions of_pop_vlan / drop / end", "an action that uveth does not know"),
]
"""Commands, and words of the error that testpmd prints."""


@pytest.fixture
def wire(net):
    return net.wire("wire")


@pytest.fixture
def pmd(net, testpmd, wire):
    """testpmd that prints what it receives; without RSS, so that queue 0 means no rule has decided."""
    one = testpmd(
        "nic", "name=nic", options=[f"--rxq={QUEUES}", f"--txq={QUEUES}", "--disable-rss", "--forward-mode=rxonly"]
    )
    one.command("set verbose 1")
    one.command("start")
    net.fabric.wait_port("nic")
    return one


def flow(pmd, command):
    """A flow command that succeeds.

    :returns: what it printed.
    """
    start = len(pmd.process.stderr)
    text = pmd.command(f"flow {command}")
    assert len(pmd.process.stderr) == start, pmd.process.stderr[start:]
    return text


def refused(pmd, command, *words):
    """A flow command that is refused, with these words."""
    start = len(pmd.process.stderr)
    pmd.command(f"flow {command}")
    said = until(lambda: pmd.process.stderr[start:], 5, f"an error from {command}")
    for word in words:
        assert word in said


def counted(pmd, rule):
    """(hits, bytes) of a rule that counts."""
    text = flow(pmd, f"query 0 {rule} count")
    return int(re.search(r"hits: (\d+)", text)[1]), int(re.search(r"bytes: (\d+)", text)[1])


def seen_by(net, pmd, wire, frames):
    """Send frames, and see what testpmd says of each, by its length: (queue, mark, flag). One that it never
    had is not in it; all are received or dropped by name."""
    start, before = len(pmd.process.stdout), net.fabric.snapshot()
    wire.send(frames, ack=False)

    def settled():
        change = net.fabric.snapshot() - before
        return change["port.nic.rx_packets"] + change.sum("port.nic.drops.*") == len(frames) and change

    received = until(settled, 10, "all frames to be accounted for")["port.nic.rx_packets"]
    until(lambda: pmd.process.stdout.count("ol_flags:", start) == received, 10, "all frames to be printed")
    seen, queue, line = {}, 0, ""
    for text in pmd.process.stdout[start:].splitlines():
        if match := re.search(r"port 0/queue (\d+): received", text):
            queue = int(match[1])
        elif "length=" in text:
            line = text
        elif "ol_flags:" in text:
            seen[int(re.search(r"length=(\d+)", line)[1])] = outcome(queue, f"{line} {text} ")
    return seen


def udp(wire, mac, port, length=100):
    """A datagram to this port, in a frame of this length."""
    packet = wire.ether(mac) / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=7, dport=port)
    return packet / bytes(length - len(packet))


def create_all(pmd, rules):
    """Type rules, one behind the other, and wait once."""
    for rule in rules:
        pmd.type(f"flow create 0 {rule}")
    listed = flow(pmd, "list 0")
    assert len(re.findall(r"^\d+\s", listed, re.M)) == len(rules), pmd.process.output()


def all_counted(pmd):
    """(hits, bytes) of all rules, in the order in which they were made."""
    found = re.findall(r"^slot \d+ number (\d+) .*\r?\n +counted: (\d+) frames, (\d+) bytes", flow(pmd, "dump 0 all"), re.M)
    return [(int(hits), int(size)) for _, hits, size in sorted(found, key=lambda one: int(one[0]))]


def test_rules_against_the_model(net, pmd, wire):
    """Random rules, random frames: every frame arrives where the model says, with the mark it says, and every
    counter says how often."""
    chance = Chance(net.random("rules"), wire.mac, net.fabric.snapshot().port("nic")["mac"])
    for _ in range(ROUNDS):
        rules = [chance.rule(number) for number in range(RULES)]
        create_all(pmd, rules)
        frames = [chance.frame(SHORTEST + i) for i in range(FRAMES)]
        seen = seen_by(net, pmd, wire, frames)
        for packet in frames:
            verdict = judge(rules, packet)
            expected = None if verdict.queue is None else (verdict.queue, verdict.mark, verdict.flag)
            where = "\n".join(map(str, rules))
            assert seen.get(len(packet)) == expected, f"{packet!r}\n{where}\n{flow(pmd, 'dump 0 all')}"
        assert all_counted(pmd) == [(rule.hits, rule.bytes) for rule in rules]
        flow(pmd, "flush 0")


def test_drop_is_counted_by_name(net, pmd, wire):
    mac = net.fabric.snapshot().port("nic")["mac"]
    flow(pmd, "create 0 ingress pattern eth / ipv4 / udp dst is 53 / end actions count / drop / end")
    assert seen_by(net, pmd, wire, [udp(wire, mac, 53, 100), udp(wire, mac, 54, 101)]) == {101: (0, None, False)}
    assert pmd.xstats()["rx_drop_flow"] == 1
    assert counted(pmd, 0) == (1, 100)
    snapshot = net.fabric.snapshot()
    (rule,) = snapshot.port("nic")["rules"]
    assert re.fullmatch("number .* udp l4\\+2=0035 -> count drop", rule["rule"])
    assert (rule["frames"], rule["bytes"]) == (1, 100)
    assert f"nic: {rule['rule']}, 1 frames" in net.fabric.tool("show", net.name, "rules")
    assert snapshot["port.nic.drops.flow_drop"] == snapshot["pair.wire.0.nic.drops.flow_drop"] == 1
    flow(pmd, "destroy 0 rule 0")
    assert 100 in seen_by(net, pmd, wire, [udp(wire, mac, 53, 100)])


def test_isolated_port_takes_what_its_rules_bring(net, pmd, wire):
    mac = net.fabric.snapshot().port("nic")["mac"]
    flow(pmd, "isolate 0 1")
    assert seen_by(net, pmd, wire, [udp(wire, mac, 53)]) == {}
    flow(pmd, "create 0 ingress pattern eth / ipv4 / udp dst is 53 / end actions queue index 2 / end")
    assert seen_by(net, pmd, wire, [udp(wire, mac, 53, 100), udp(wire, mac, 54, 101)]) == {100: (2, None, False)}
    assert pmd.xstats()["rx_drop_isolated"] == 2
    flow(pmd, "isolate 0 0")
    assert seen_by(net, pmd, wire, [udp(wire, mac, 54, 101)]) == {101: (0, None, False)}


def test_list_dump_and_refusals(pmd):
    """The words of testpmd's user; and a rule that is refused leaves nothing behind."""
    for command, words in REFUSED:
        refused(pmd, f"validate 0 {command}", words)
        refused(pmd, f"create 0 {command}", words)
    flow(pmd, "create 0 priority 7 ingress pattern eth / vlan vid is 5 / ipv6 / end actions mark id 9 / queue index 1 / end")
    flow(pmd, "create 0 group 1 ingress pattern ipv4 / tcp dst spec 80 dst last 90 dst mask 0xffff / end actions drop / end")
    listed = flow(pmd, "list 0")
    assert re.search(r"^0\s+0\s+7\s+i--\s+ETH VLAN IPV6 => MARK QUEUE", listed, re.M)
    dumped = flow(pmd, "dump 0 all")
    assert "2 flow rules" in dumped
    assert "number 1 group 0 priority 7: vlan ipv6 frame+14=0005/0fff -> mark 9 queue 1" in dumped
    assert "number 2 group 1 priority 0: ipv4 tcp l4+2=0050..005a -> drop" in dumped
    assert "priority 7" in flow(pmd, "dump 0 rule 0")


def test_rules_end_with_the_port(net, pmd, wire, testpmd):
    """Whoever takes its name begins without them."""
    mac = net.fabric.snapshot().port("nic")["mac"]
    flow(pmd, "create 0 ingress pattern eth / ipv4 / udp dst is 53 / end actions mark id 1 / queue index 3 / end")
    assert seen_by(net, pmd, wire, [udp(wire, mac, 53)]) == {100: (3, 1, True)}
    pmd.process.kill()
    net.fabric.wait_no_port("nic")
    again = testpmd("nic", "name=nic", options=["--forward-mode=rxonly", "--disable-rss"])
    again.command("set verbose 1")
    again.command("start")
    net.fabric.wait_port("nic")
    assert seen_by(net, again, wire, [udp(wire, mac, 53)]) == {100: (0, None, False)}
    assert "0 flow rules" in flow(again, "dump 0 all")
