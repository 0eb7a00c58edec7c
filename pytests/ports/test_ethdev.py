# SPDX-License-Identifier: BSD-3-Clause
"""A port of DPDK bridged into the fabric, by each driver that needs no hardware."""

import subprocess
import time

import pytest
from scapy.layers.inet import IP, UDP

from uvnet_harness import until


def ip(*words):
    """The command, which has to succeed."""
    subprocess.run(["ip", *words], check=True)


@pytest.fixture
def veth(net):
    """A pair of interfaces in two namespaces; yields their names. The outer one has an address."""
    inner, outer = names = [f"{net.name}.{end}" for end in ("inner", "outer")]
    for name in names:
        net.note_netns(name)
        ip("netns", "add", name)
    ip("-n", inner, "link", "add", "veth0", "type", "veth", "peer", "name", "veth1", "netns", outer)
    ip("-n", inner, "link", "set", "veth0", "up")
    ip("-n", outer, "link", "set", "veth1", "up")
    yield inner, outer
    for name in names:
        ip("netns", "del", name)
        net.forget_netns(name)


def test_net_ring_gives_back_what_it_is_given(net, port):
    """net_ring is a loop: what goes out of the fabric comes in again, unchanged and in order."""
    port("ethdev", "ring", "--dev", "net_ring0")
    a = net.wire("a")
    frames = [
        a.ether("ff:ff:ff:ff:ff:ff") / IP(src=a.ip, dst="255.255.255.255") / UDP(sport=4, dport=n) / bytes(size)
        for n, size in enumerate((18, 100, 1400, 1472), 1)
    ]
    for frame in frames:
        a.send(frame, ack=False)
    back = [a.expect("udp").packet for _ in frames]
    assert [bytes(packet) for packet in back] == [bytes(frame) for frame in frames]


def test_kernel_behind_af_packet(net, port, veth):
    """A kernel behind a veth pair pings one behind a tap port, at full MTU."""
    inner, outer = veth
    kernel = net.kernel_host("kernel")
    address = kernel.ip.rsplit(".", 1)[0] + ".250/24"
    ip("-n", outer, "addr", "add", address, "dev", "veth1")
    port("ethdev", "wire", "--dev", "net_af_packet0,iface=veth0", "--netns", inner)
    done = subprocess.run(
        ["ip", "netns", "exec", outer, "ping", "-c", "20", "-i", "0.01", "-s", "1472", "-M", "do", kernel.ip],
        capture_output=True, text=True, check=False,
    )
    assert " 0% packet loss" in done.stdout, done.stdout + done.stderr


def test_link_of_the_device_is_the_link_of_the_port(net, port, veth):
    """net_tap follows its interface: while it is down, frames to the port are dropped by name."""
    inner, _ = veth
    dev = port("ethdev", "tap", "--dev", "net_tap0,iface=tap7", "--netns", inner)
    wire = net.wire("wire")
    ip("-n", inner, "link", "set", "tap7", "down")
    dev.wait_output("link down")
    wire.send(wire.ether("ff:ff:ff:ff:ff:ff") / bytes(50), ack=False)
    until(lambda: net.fabric.snapshot().sum("*.drops.*rx_stopped") > 0, 5)
    ip("-n", inner, "link", "set", "tap7", "up")
    dev.wait_output("link up")


def test_idle_port_takes_naps(net, port):
    dev = port("ethdev", "ring", "--dev", "net_ring0")
    before = dev.cpu_seconds()
    time.sleep(1)  # what does not happen cannot be waited for
    assert dev.cpu_seconds() - before < 0.15


@pytest.mark.parametrize(
    "words, message",
    [
        ((), "--dev"),
        (("--dev", "net_nonsense0"), "net_nonsense0"),
        (("--dev", "net_af_packet0,iface=nothere"), "nothere"),
        (("--dev", "net_ring0", "--queues", "99"), "--queues 99"),
        (("--dev", "net_ring0", "--netns", "nothere"), "nothere"),
    ],
)
def test_what_is_wrong_is_said(net, port, words, message):
    process = port("ethdev", "bad", *words, ready=False)
    assert process.wait(10) in (1, 2)
    assert message in process.stderr
