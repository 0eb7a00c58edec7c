# SPDX-License-Identifier: BSD-3-Clause
"""uvrun --trace, and what uvstack trace and babeltrace2 make of it."""

import json
import re
import subprocess

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from uvnet_harness import Flow

pytestmark = pytest.mark.uvnet(ports=3, capture=False)


def run(*words, status=0):
    """A command to its end; what it printed."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == status, done
    return done.stdout if status == 0 else done.stderr


def test_life_of_a_connection(net):
    """The timeline shows a connection from SYN to the end, with the calls and bursts around it; the same trace
    is one for babeltrace2 and for Perfetto."""
    server, client = net.host("server"), net.host("client")
    traces = net.folder / "traces"
    app = server.start(
        "redis-server", "--bind", server.ip, "--protected-mode", "no", "--save", "",
        set={"trace": "uvstack.*,pmd.net.uveth.*", "trace_dir": traces},
    ).wait_port(6379)  # fmt: skip
    assert client.run("redis-cli", "-h", server.ip, "PING").stdout == "PONG\n"
    assert app.stop() == 0

    lines = [json.loads(line) for line in run(net.build.uvstack, "trace", "--json", traces).splitlines()]
    assert {line["pid"] for line in lines} == {app.pid}
    assert [line["ns"] for line in lines] == sorted(line["ns"] for line in lines)
    states = [line["fields"] for line in lines if line["event"] == "uvstack.tcp.state"]
    peer = next(state["remote_port"] for state in reversed(states) if state["to"] == "LAST_ACK")
    last = [state for state in states if state["remote_port"] == peer]
    assert {state["local_port"] for state in last} == {6379}
    path = [state["to"] for state in last]
    assert path == ["SYN_RCVD", "ESTABLISHED", "CLOSE_WAIT", "LAST_ACK", "CLOSED"], path
    assert [state["from"] for state in last[1:]] == path[:-1]

    seen = {line["event"] for line in lines}
    assert {"uvstack.sock.listen", "uvstack.sock.accept", "uvstack.sock.recv", "uvstack.sock.send"} <= seen
    assert {"pmd.net.uveth.rx", "pmd.net.uveth.tx", "uvstack.loop.sleep", "uvstack.poll.end"} <= seen
    sent = [line["fields"]["result"] for line in lines if line["event"] == "uvstack.sock.send"]
    assert len("+PONG\r\n") in sent

    text = run(net.build.uvstack, "trace", traces)
    assert re.search(r"^ +[0-9.]+ +\+[0-9.]+ +\d+ +\S+ +uvstack\.tcp\.state +.*from=SYN_RCVD to=ESTAB", text, re.M)
    run(net.build.uvstack, "trace", "--perfetto", traces / "p.json", traces)
    records = json.loads((traces / "p.json").read_text())["traceEvents"]
    polls = [record for record in records if record["name"] == "poll"]
    assert polls and all(record["ph"] == "X" and record["dur"] >= 0 for record in polls)
    assert {"thread_name"} == {record["name"] for record in records if record["ph"] == "M"}
    assert "uvstack.tcp.state" in run("babeltrace2", traces)


def test_off_unless_asked_for(net):
    """No trace is written without the option, and one that is not there is said so."""
    host = net.host("server")
    traces = net.folder / "traces"
    assert host.run("redis-server", "--version", set={"trace_dir": traces}).ok
    assert not traces.exists()
    assert "there is no trace" in run(net.build.uvstack, "trace", net.folder, status=1)


ECHO = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((sys.argv[1], 7))
print("bound", flush=True)
data = b""
while data != b"end":
    data, peer = sock.recvfrom(100)
    sock.sendto(data, peer)
"""


def test_steering(net):
    """Of two stacks one claims the port, and has from the other what the NIC gave that one: as the flows predict."""
    server, wire = net.host("server", queues=2, stacks=2), net.wire("wire")
    traces = net.folder / "traces"
    app = server.start("/usr/bin/python3", "-c", ECHO, server.ip, set={"trace": "uvstack.steer.*", "trace_dir": traces})
    app.process.wait_output("bound")
    wire.arp(server.ip)
    sports = range(5000, 5016)
    queues = [server.rss.queue_of(Flow(wire.ip, server.ip, sport, 7, "udp")) for sport in sports]
    sent = [b"x" * number for number in range(4, 19)] + [b"end"]
    for sport, data in zip(sports, sent):
        wire.sr1(wire.ether(server.mac) / IP(src=wire.ip, dst=server.ip) / UDP(sport=sport, dport=7) / data)
    assert app.wait(timeout=10) == 0

    lines = [json.loads(line) for line in run(net.build.uvstack, "trace", "--json", traces).splitlines()]
    claims = [line["fields"] for line in lines if line["event"] == "uvstack.steer.claim"]
    assert [claim["result"] for claim in claims if claim["port"] == 7] == [0], claims
    forwards = [line["fields"] for line in lines if line["event"] == "uvstack.steer.forward"]
    (slot,) = {forward["slot"] for forward in forwards}
    headers = len(Ether() / IP() / UDP())
    expected = [headers + len(data) for queue, data in zip(queues, sent) if queue != slot - 1]  # slots count from 1
    assert 0 < len(expected) < len(sent) and [forward["len"] for forward in forwards] == expected
