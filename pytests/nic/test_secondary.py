# SPDX-License-Identifier: BSD-3-Clause
"""Several processes on one uveth port: a primary and secondaries, each on queues of its own."""

import os
import re
import signal
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from uvnet_harness import until
from uvnet_harness.rss import Flow, Rss

pytestmark = pytest.mark.uvnet(ports=8, queues=4, capture=False)


def port_of(net, name="nic"):
    """A port, attached or not."""
    return next(port for port in net.fabric.snapshot().data["ports"] if port["name"] == name)


def wait_members(net, pids, name="nic"):
    until(lambda: sorted(port_of(net, name)["members"]) == sorted(pids), 5,
          lambda: f"members {pids}: {port_of(net, name)['members']}")  # fmt: skip


def datagram(dst, src, flow):
    """A frame of which `flow` is the source port."""
    return Ether(dst=dst, src=src) / IP(src="10.9.0.1", dst="10.9.0.2") / UDP(sport=flow, dport=7) / bytes(32)


class Flows:
    """Flows from a wire to a port with so many queues, by the queue they land on."""

    def __init__(self, net, queues, count=64):
        rss = Rss(queues=queues)
        self.wire = net.wire("wire")
        self.mac = net.fabric.wait_port("nic")["mac"]
        self.queue = {
            number: rss.queue_of(Flow("10.9.0.1", "10.9.0.2", number, 7, "udp"))
            for number in range(1000, 1000 + count)
        }

    def send(self, number):
        self.wire.send(datagram(self.mac, self.wire.mac, number), ack=False)

    def of(self, *queues):
        """The flows that land on these queues."""
        return [number for number, queue in self.queue.items() if queue in queues]

    def returned(self, expected):
        """Wait until so many frames of each of these flows have come back; frames of others may, too."""
        missing = dict(expected)
        while missing:
            frame = self.wire.expect("udp", timeout=5)
            assert frame[Ether].src == self.mac
            number = frame[UDP].sport
            if number in missing:
                missing[number] -= 1
                if missing[number] == 0:
                    del missing[number]

    def echoed(self, *queues):
        """Send a frame on each flow of these queues: each comes back."""
        for number in self.of(*queues):
            self.send(number)
        self.returned(dict.fromkeys(self.of(*queues), 1))


@pytest.fixture
def nic(net, member):
    """A function that starts the primary and as many secondaries; process N serves queue N."""

    def start(secondaries=1, how="echo", devargs=""):
        queues = secondaries + 1
        processes = [member("member0", f"name=nic,rxq={queues},txq={queues}{devargs}", queues)]
        processes += [member(f"member{number}") for number in range(1, queues)]
        for number, process in enumerate(processes):
            process.tell(f"{how} {number}")
        wait_members(net, [process.pid for process in processes[1:]])
        return processes

    return start


def test_each_process_serves_its_queue(net, nic):
    processes = nic(secondaries=2)
    flows = Flows(net, 3)
    flows.echoed(0, 1, 2)
    queues = port_of(net)
    assert all(queue["packets"] > 0 for queue in queues["rxqs"])
    assert [q["packets"] for q in queues["rxqs"]] == [q["packets"] for q in queues["txqs"]]
    total = sum(queue["packets"] for queue in queues["rxqs"])
    assert {process.tell("stats") for process in processes} == {f"{total} {total}"}
    assert [process.quit() for process in reversed(processes)] == [0, 0, 0]


@pytest.mark.parametrize("leave", ["quit", "close", "kill"])
def test_leaving_harms_nobody(net, nic, member, leave):
    """In whichever way one goes: the others serve on, and its queue is another's after a restart."""
    processes = nic(secondaries=2)
    flows = Flows(net, 3)
    if leave == "kill":
        processes[2].process.kill()
    elif leave == "close":
        processes[2].tell("close")
    else:
        assert processes[2].quit() == 0
    wait_members(net, [processes[1].pid])
    for number in flows.of(2):
        flows.send(number)
    flows.echoed(0, 1)
    processes[0].tell("restart 2")
    assert port_of(net)["rxqs"][2]["waiting"] == 0
    heir = member("heir")
    heir.tell("echo 2")
    flows.echoed(0, 1, 2)
    assert port_of(net)["rxqs"][2]["lost"] == len(flows.of(2))


def test_kills_under_load(net, nic, member):
    """SIGKILL in the midst of traffic, again and again: what goes to the others' queues is forwarded
    to the last frame, and the dead one's queue serves again at once."""
    chance = net.random("kills")
    processes = nic(secondaries=2)
    flows = Flows(net, 3, 48)
    others, theirs = flows.of(0, 1), flows.of(2)
    for _ in range(2):
        before, after = chance.randrange(15), chance.randrange(15)
        for turn in range(before + after):
            if turn == before:
                os.kill(processes[2].pid, signal.SIGKILL)
            for number in (*theirs[:4], *others[:8]):
                flows.send(number)
        processes[2].process.kill()
        flows.returned(dict.fromkeys(others[:8], before + after))
        wait_members(net, [processes[1].pid])
        processes[0].tell("restart 2")
        processes[2] = member("member2")
        processes[2].tell("echo 2")
        flows.wire.drain()
        flows.echoed(0, 1, 2)


@pytest.mark.slow
def test_testpmd_symmetric(net, testpmd, eal_group):
    """testpmd's own mode for several processes on one port. One of three is killed and started again
    while frames flow: not one of the others' is missing."""
    common = ["--rxq=3", "--txq=3", "--num-procs=3", "--forward-mode=macswap", "--total-num-mbufs=8192"]

    def start(number):
        ports = ["name=nic,rxq=3,txq=3"] if number == 0 else []
        process = testpmd(f"testpmd{number}", *ports, options=[*common, f"--proc-id={number}"],
                          memory=eal_group, primary=number == 0)  # fmt: skip
        process.command("start")
        return process

    processes = [start(number) for number in range(3)]
    flows = Flows(net, 3)
    flows.echoed(0, 1, 2)
    others = flows.of(0, 1)[:8]
    for turn in range(40):
        for number in (*flows.of(2)[:4], *others):
            flows.send(number)
        if turn == 10:
            os.kill(processes[2].process.pid, signal.SIGKILL)
    processes[2].process.kill()
    flows.returned(dict.fromkeys(others, 40))
    wait_members(net, [processes[1].process.pid])
    processes[0].command("port 0 rxq 2 stop")
    processes[0].command("port 0 rxq 2 start")
    processes[0].command("port 0 txq 2 stop")
    processes[0].command("port 0 txq 2 start")
    processes[2] = start(2)
    flows.wire.drain()
    flows.echoed(0, 1, 2)
    assert [process.quit() for process in reversed(processes)] == [0, 0, 0]


def test_queue_goes_from_process_to_process(net, nic):
    """And back: each time it is restarted, whoever serves it next knows where it stands."""
    processes = nic(secondaries=2)
    flows = Flows(net, 3)
    for turn in range(6):
        processes[(turn + 1) % 3].tell("leave 1")
        processes[0].tell("restart 1")
        processes[(turn + 2) % 3].tell("echo 1")
        flows.echoed(0, 1, 2)
    queue = port_of(net)["rxqs"][1]
    assert (queue["packets"], queue["bad"], queue["lost"]) == (6 * len(flows.of(1)), 0, 0)
    assert port_of(net)["txqs"][1]["packets"] == queue["packets"]


def processor_seconds(process):
    """Of a process, so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_secondary_sleeps(net, nic):
    """RX interrupts in every process: nobody polls, every frame is served, each queue's bell rings."""
    processes = nic(secondaries=1, how="sleep")
    flows = Flows(net, 2, 32)
    before = sum(processor_seconds(process) for process in processes)
    for _ in range(5):
        flows.echoed(0, 1)
    assert all(queue["wakes"] > 0 for queue in port_of(net)["rxqs"][:2])
    assert sum(processor_seconds(process) for process in processes) - before < 0.5
    assert [process.quit() for process in reversed(processes)] == [0, 0]


def test_primary_killed(net, nic):
    """The link goes with it: a secondary is told, sends and receives nothing, and leaves in order."""
    processes = nic()
    flows = Flows(net, 2)
    flows.echoed(0, 1)
    processes[0].process.kill()
    until(lambda: port_of(net)["state"] == "down", 5, "the link to go down")
    until(lambda: processes[1].tell("events") == "1", 5, "the link event")
    assert processes[1].tell("link") == "down"
    for number in flows.of(1):
        flows.send(number)
    assert re.fullmatch(r"\d+ \d+", processes[1].tell("stats"))
    assert processes[1].quit() == 0
    until(lambda: port_of(net)["state"] == "free", 5, "the port to be reclaimed")


def test_primary_killed_and_the_port_lives(net, nic):
    """life=any: the secondary serves on as before, until it leaves, and the port with it."""
    processes = nic(devargs=",life=any")
    flows = Flows(net, 2)
    processes[0].process.kill()
    until(lambda: port_of(net)["pid"] == 0, 5, "the death to be seen")
    for _ in range(3):
        flows.echoed(1)
    assert processes[1].tell("link") == "up"
    assert processes[1].tell("events") == "0"
    assert processes[1].quit() == 0
    until(lambda: port_of(net)["state"] == "free", 5, "the port to be reclaimed")


def test_hot_plug(net, nic):
    """A port that comes, is started, and goes again in the primary does so in the secondary. Either can
    have it removed: EAL removes it in both."""
    primary, secondary = nic()
    for remover in (primary, secondary, primary):
        primary.tell(f"plug net_uveth7 fabric={net.name},name=late,rxq=1,txq=1")
        wait_members(net, [secondary.pid], "late")
        primary.tell("start net_uveth7")
        secondary.tell("leave 1")
        secondary.tell("use net_uveth7")
        assert secondary.tell("link") == "up"
        secondary.tell("sleep 0")
        late = net.wire("caller")
        late.send(datagram(net.fabric.wait_port("late")["mac"], late.mac, 5), ack=False)
        late.expect("udp")
        net.close_wire(late)
        secondary.tell("leave 0")
        secondary.tell("use net_uveth0")
        remover.tell("unplug net_uveth7")
        net.fabric.wait_no_port("late")


def test_primary_closes_the_port(net, nic):
    """Under a secondary that polls it: the secondary receives nothing more, and may leave it."""
    primary, secondary = nic()
    primary.tell("close")
    secondary.type("stats")
    secondary.process.wait_output("^error stats: Operation not supported$")
    secondary.tell("close")
    assert secondary.quit() == 0
    net.fabric.wait_no_port("nic")


@pytest.mark.parametrize("how", ["echo", "sleep"])
def test_primary_closes_the_port_of_one_that_is_stopped(net, nic, how):
    """A secondary that cannot be told finds the port closed when it goes on. What it still looked at
    then is the primary's again when it has closed it, too."""
    primary, secondary = nic(how=how)
    with secondary.process.frozen():
        primary.tell("close")
    assert "a secondary process does not answer" in primary.process.stderr
    until(lambda: secondary.ask("stats") == "error stats: Operation not supported", 5, "the port to be closed")
    primary.tell(f"plug net_uveth1 fabric={net.name},name=second,rxq=1,txq=1")
    assert primary.tell("number net_uveth1") == "1"
    secondary.tell("close")
    net.fabric.wait_no_port("nic")
    primary.tell(f"plug net_uveth2 fabric={net.name},name=third,rxq=1,txq=1")
    assert primary.tell("number net_uveth2") == "0"
    assert [process.quit() for process in (secondary, primary)] == [0, 0]


def test_daemon_gone(net, nic, member):
    """Who attaches then is told that it may only look; who is there already goes on."""
    processes = nic(secondaries=2)
    flows = Flows(net, 3)
    net.fabric.kill_daemon()
    late = member("late")
    assert re.search("has no daemon any more.*can look at the port, but not use its queues", late.process.stderr)
    assert late.tell("link") == "up"
    late.tell("stats")
    late.tell("echo 2")
    late.type("sleep 2")
    late.process.wait_output("^error sleep: no interrupt")
    flows.echoed(0, 1, 2)
    assert late.quit() == 0
    net.fabric.restart_daemon()
    wait_members(net, [process.pid for process in processes[1:]])
    assert [process.quit() for process in reversed(processes)] == [0, 0, 0]


def refusal(late):
    """The sentence with which the driver refuses to be a port in a secondary."""
    late.process.wait_output("^uveth: net_uveth0: ", 10)
    return next(line for line in late.process.stderr.splitlines() if line.startswith("uveth: net_uveth0: "))


def test_fabric_restarted(net, nic, member):
    """The link goes down in every process; who comes then is told why it cannot have the port."""
    processes = nic()
    net.fabric.down()
    net.fabric.up()
    for process in processes:
        until(lambda: process.tell("link") == "down", 5, "the link to go down")
    assert "taken down and up again" in refusal(member("late", ready=False))
    assert [process.quit() for process in reversed(processes)] == [0, 0]


def test_other_build(nic, member):
    primary = nic(secondaries=0)[0]
    primary.tell("stale")
    assert "driver of another build" in refusal(member("late", ready=False))


def test_no_permission(net, nic, member):
    """The fabric's directory cannot be entered any more, as by a process of another user."""
    nic(secondaries=0)
    hidden = net.fabric.directory.with_name(net.fabric.directory.name + ".hidden")
    net.fabric.directory.rename(hidden)
    try:
        assert re.search("cannot join port 0 of .*no fabric", refusal(member("late", ready=False)))
    finally:
        hidden.rename(net.fabric.directory)
