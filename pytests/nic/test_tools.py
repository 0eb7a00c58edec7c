# SPDX-License-Identifier: BSD-3-Clause
"""The distribution's tools on a uveth port: as secondaries of a testpmd, by telemetry, and its tests."""

import json
import re
import shutil
import subprocess

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

pytestmark = pytest.mark.uvnet(ports=8, queues=4, capture=False)

FRAMES = 20


@pytest.fixture
def forwarder(net, testpmd, eal_group):
    """A testpmd on port "nic" that swaps addresses, through which 20 frames of 74 bytes have gone."""
    pmd = testpmd("nic", memory=eal_group,
                  options=["--total-num-mbufs=4096", "--forward-mode=macswap", "--rxq=2", "--txq=2"])  # fmt: skip
    pmd.command("start")
    send(net, net.wire("wire"))
    return pmd


def send(net, wire):
    """The frames, there and back."""
    mac = net.fabric.wait_port("nic")["mac"]
    for number in range(FRAMES):
        wire.send(Ether(dst=mac, src=wire.mac) / IP(dst="10.9.0.2") / UDP(sport=number) / bytes(32), ack=False)
        assert wire.expect("udp")[UDP].sport == number


def dpdk_libraries(program):
    """The DPDK libraries a program is linked with."""
    path = shutil.which(program)
    text = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
    return re.findall(r"=> (\S+/librte_\S+)", text)


@pytest.fixture
def tool(net, eal_group):
    """A function that runs a tool of the distribution as a secondary, and returns what it printed.

    Not every tool takes EAL's options: the driver is preloaded. And before it what testpmd is linked
    with: a mempool says by number which driver it has, and the number is the order of loading. (The
    distribution's dpdk-dumpcap captures nothing of its testpmd without that, whatever the port.)
    """

    def run(name, *words, ready=None):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed: run ci/setup")
        preload = [*dpdk_libraries("dpdk-testpmd"), str(net.build.pmd.resolve())]
        command = [*eal_group.words, "env", f"LD_PRELOAD={':'.join(preload)}", name, *words]
        process = net.start(name, *command, env=eal_group.env)
        if ready:
            process.wait_output(ready, 20)
            return process
        assert process.wait(20) == 0, process.output()
        return process.stdout

    return run


def test_proc_info_statistics(forwarder, tool):
    text = tool("dpdk-proc-info", "--", "--stats")
    assert re.search(rf"RX-packets:\s+{FRAMES}\s+RX-errors:\s+0\s+RX-bytes:\s+{FRAMES * 74}\b", text)
    assert re.search(rf"TX-packets:\s+{FRAMES}\s", text)
    text = tool("dpdk-proc-info", "--", "--xstats")
    xstats = {name: int(value) for name, value in re.findall(r"^(\w+): (\d+)$", text, re.M)}
    assert xstats["rx_good_packets"] == xstats["tx_good_packets"] == FRAMES
    assert xstats["rx_q0_packets"] + xstats["rx_q1_packets"] == FRAMES
    assert xstats["rx_drop_ring_full"] == 0
    assert xstats["rx_good_bytes"] == FRAMES * 74
    tool("dpdk-proc-info", "--", "--xstats-reset")
    assert forwarder.stats()["RX-packets"] == 0


def test_proc_info_port_and_memory(forwarder, tool):
    text = tool("dpdk-proc-info", "--", "--show-port")
    assert "driver net_uveth device net_uveth0" in text
    assert "Link up at 100 Gbps FDX" in text
    assert len(re.findall("mempool mb_pool_0.*burst mode : Scalar copy", text)) == 2
    assert "key (hex) : 6d5a56da255b0ec2" in text
    pool = tool("dpdk-proc-info", "--", "--show-mempool=mb_pool_0")
    assert re.search("mb_pool_0", pool) and "lf_stack" in pool
    assert "show - RING" in tool("dpdk-proc-info", "--", "--show-ring")


def test_dumpcap(net, forwarder, tool):
    """What the port sends and receives, in a file that tshark reads."""
    path = net.folder.resolve() / "dump.pcapng"
    capture = tool("dpdk-dumpcap", "-i", "0", "-c", str(FRAMES), "-w", path, ready="Packets captured")
    send(net, net.wires["wire"])
    assert capture.wait(20) == 0, capture.output()
    fields = ["frame.len", "udp.srcport", "eth.src"]
    columns = [word for field in fields for word in ("-e", field)]
    tshark = net.start("tshark", "tshark", "-r", path, "-T", "fields", *columns)
    assert tshark.wait(30) == 0, tshark.output()
    rows = [line.split("\t") for line in tshark.stdout.splitlines()]
    assert len(rows) >= FRAMES
    assert {row[0] for row in rows} == {"74"}
    assert {row[2] for row in rows} == {net.wires["wire"].mac, net.fabric.wait_port("nic")["mac"]}


def test_telemetry(net, forwarder, eal_group):
    """dpdk-telemetry.py asks for all of /ethdev."""
    asked = ["/ethdev/list", "/ethdev/stats,0", "/ethdev/xstats,0", "/ethdev/link_status,0", "/ethdev/info,0"]
    script = f'printf "%s\\n" {" ".join(asked)} | dpdk-telemetry.py'
    process = net.start("telemetry", "sh", "-c", script, env=eal_group.env)
    assert process.wait(20) == 0, process.output()
    answers = {}
    for line in process.stdout.splitlines():
        if line.startswith('{"/ethdev'):
            answers |= json.loads(line)
    assert answers["/ethdev/list"] == [0]
    assert answers["/ethdev/stats"]["ipackets"] == answers["/ethdev/stats"]["opackets"] == FRAMES
    assert answers["/ethdev/stats"]["q_ipackets"][:2] == [queue["packets"] for queue in
                                                          net.fabric.snapshot().port("nic")["rxqs"][:2]]  # fmt: skip
    assert answers["/ethdev/xstats"]["rx_good_bytes"] == FRAMES * 74
    assert answers["/ethdev/link_status"] == {"status": "UP", "speed": 100000, "duplex": "full-duplex"}
    info = answers["/ethdev/info"]
    assert (info["name"], info["state"], info["nb_rx_queues"], info["mtu"]) == ("net_uveth0", 1, 2, 1500)
    assert info["mac_addr"].lower() == net.fabric.wait_port("nic")["mac"]


@pytest.mark.parametrize(
    "case",
    ["ethdev_link_status", "event_eth_tx_adapter_autotest", "latencystats_autotest", "bitratestats_autotest"],
)
def test_dpdk_test(net, case):
    """The cases of dpdk-test that are about an ethdev and need nothing that sends back."""
    if shutil.which("dpdk-test") is None:
        pytest.skip("dpdk-test is not installed: run ci/setup")
    if problem := net.build.missing(net.build.pmd):
        pytest.skip(problem)
    process = net.start(
        "dpdk-test", "env", f"LD_PRELOAD={net.build.pmd.resolve()}", f"DPDK_TEST={case}", "dpdk-test", "--no-huge",
        "-m", "256", "--no-shconf", "--no-pci", "--no-telemetry", "--lcores=0@0,1@0",
        "--vdev", f"net_uveth0,fabric={net.name},name=nic",
    )  # fmt: skip
    assert process.wait(60) == 0, process.output()
    assert "Test OK" in process.stdout
