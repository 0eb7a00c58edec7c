# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's own tools: dpdk-telemetry.py, and dpdk-proc-info --metrics."""

import json
import os
import subprocess

import pytest

from uvnet_harness import until

pytestmark = pytest.mark.uvnet(ports=4, queues=2, capture=False)


def telemetry(prefix, runtime, *questions):
    """Ask with the distribution's tool; what it answers, question by question."""
    done = subprocess.run(
        ["dpdk-telemetry.py", "-f", prefix],
        input="".join(f"{question}\n" for question in questions),
        env={**os.environ, "RUNTIME_DIRECTORY": str(runtime)},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == 0, done
    answers = {}
    decoder, text = json.JSONDecoder(), done.stdout
    while (at := text.find("{")) >= 0:
        answer, end = decoder.raw_decode(text[at:])
        answers.update(answer)
        text = text[at + end :]
    return [answers[question.split(",", maxsplit=1)[0]] for question in questions]


def test_a_process(net):
    """Stack and driver answer, with what uvstack sees."""
    host, client = net.host("server", queues=2), net.host("client")
    app = host.start(
        "redis-server", "--bind", host.ip, "--protected-mode", "no", "--save", "",
        set={"telemetry": "yes", "latency": "yes"}, env={"RUNTIME_DIRECTORY": str(host.folder)},
    ).wait_port(6379)  # fmt: skip
    assert client.run("redis-cli", "-h", host.ip, "PING").stdout == "PONG\n"
    commands, stacks, info, counters, softnet, latency, ports, port, queues, drops, nonsense = telemetry(
        "uvstack", host.folder,
        "/", "/uvstack/stacks", "/uvstack/info", "/uvstack/counters", "/uvstack/softnet,0", "/uvstack/latency",
        "/net_uveth/list", "/net_uveth/info,0", "/net_uveth/queues,0", "/net_uveth/drops,0", "/uvstack/drops,77",
    )  # fmt: skip
    assert {"/uvstack/drops", "/net_uveth/drops", "/ethdev/xstats"} <= set(commands)
    assert (stacks, info["pid"], info["name"], info["queues"]) == ([0], app.pid, "redis-server", 2)
    assert counters["lwip_tcp_recv"] > 0 and counters["memory_mbufs_free"] > 0
    assert "steer_own" not in counters  # it is no shared host
    assert sum(queue["packets"] for queue in softnet.values()) == counters["port_rx_packets"]
    assert latency["queue_read"]["count"] > 0
    assert (ports, port["port"], port["link"], port["started"]) == ([0], "server", "up", "yes")
    assert {"rx_q0_waiting", "rx_q1_waiting", "tx_q0_cells_free"} <= set(queues)
    assert all(name.startswith(("rx_drop", "tx_drop", "tx_far")) for name in drops)
    assert nonsense is None
    assert app.stop() == 0


def test_a_shared_host(net):
    """The manager answers for all slots; rte_metrics has the sums."""
    host = net.shared_host("web", queues=2, telemetry="yes")
    app = host.start("redis-server", "--bind", host.ip, "--protected-mode", "no", "--save", "").wait_port(6379)
    (slot,) = (row["slot"] for row in host.slots_of(app))
    prefix = f"uvs-{host.directory.name}"
    stacks, manager, own = telemetry(
        prefix, host.group.folder, "/uvstack/stacks", "/uvstack/counters,0", f"/uvstack/info,{slot}"
    )
    assert stacks == [0, slot] and manager["manager_attaches"] == 1 and own["pid"] == app.pid

    line = [*host.group.words, "env", f"LD_PRELOAD={net.build.pmd.resolve()}", "dpdk-proc-info"]
    line += [f"--file-prefix={prefix}", f"--huge-dir={host.settings['huge_dir']}", "--no-pci", "--", "--metrics"]

    def attaches():
        done = net.processes.run("proc-info", line, host.folder, env=host.group.env, timeout=20)
        assert done.ok, done.stdout + done.stderr
        return "uvstack.manager.attaches: 1" in done.stdout

    until(attaches, 10, "the metrics are those of the host")
