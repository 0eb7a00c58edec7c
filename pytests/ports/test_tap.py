# SPDX-License-Identifier: BSD-3-Clause
"""The kernel as a port: a namespace with a tap port, and wires that talk to it."""

import os
import signal
import subprocess

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Dot1Q, Ether

from uvnet_harness import journal, until


@pytest.fixture
def kernel(net):
    """A kernel host."""
    return net.kernel_host("kernel")


@pytest.fixture
def wire(net):
    """A wire beside it."""
    return net.wire("wire")


def ping(wire, kernel, size=56, seq=1):
    """An echo request."""
    return wire.ether(kernel.mac) / IP(src=wire.ip, dst=kernel.ip) / ICMP(id=1, seq=seq) / bytes(size)


def test_arp_is_answered_with_the_address_of_the_port(wire, kernel):
    assert wire.arp(kernel.ip) == kernel.mac


@pytest.mark.parametrize("size", [0, 56, 1472])
def test_echo_is_answered(wire, kernel, size):
    reply = wire.sr1(ping(wire, kernel, size))
    assert (reply[ICMP].type, reply[IP].len) == (0, 28 + size)


def test_kernel_pings_the_wire(wire, kernel):
    """The wire plays the host: it answers ARP by itself, and the echo requests here."""
    app = kernel.start("ping", "-c", "3", "-i", "0.01", "-W", "5", wire.ip)
    for _ in range(3):
        request = wire.expect("icmp[icmptype] == icmp-echo")
        reply = request.packet.copy()
        reply[Ether].src, reply[Ether].dst = wire.mac, kernel.mac
        reply[IP].src, reply[IP].dst = wire.ip, kernel.ip
        reply[ICMP].type = 0
        del reply[ICMP].chksum, reply[IP].chksum
        wire.send(reply, ack=False)
    assert app.wait(10) == 0, app.stdout
    assert " 0% packet loss" in app.stdout


def test_fragments_of_both_sides(wire, kernel):
    """4,000 bytes in frames of 1,500: the kernel puts them together, and answers in fragments."""
    from scapy.layers.inet import defragment, fragment

    whole = wire.ether(kernel.mac) / IP(src=wire.ip, dst=kernel.ip, id=77) / ICMP(id=2) / (bytes(range(200)) * 20)
    wire.send(fragment(whole, fragsize=1400), ack=False)
    pieces = []
    while not any(not piece[IP].flags.MF for piece in pieces):
        pieces.append(wire.expect("icmp or (ip[6:2] & 0x1fff != 0)").packet)
    (reply,) = defragment(pieces)
    assert bytes(Ether(bytes(reply))[ICMP].payload) == bytes(range(200)) * 20


def test_partial_checksums_are_finished(net, wire, kernel):
    """The kernel leaves the checksum of UDP to its card; scapy recomputes what is on the fabric."""
    for size in (1, 2, 33, 1000, 1471, 1472):
        word = net.random("udp").randbytes(size).hex()
        code = (
            "import socket,sys; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 4000));"
            f"s.sendto(bytes.fromhex('{word}'), ('{wire.ip}', 4001))"
        )
        app = kernel.start("/usr/bin/python3", "-c", code)
        frame = wire.expect("udp dst port 4001")
        assert app.wait(10) == 0, app.stderr
        assert bytes(frame[UDP].payload) == bytes.fromhex(word)
        sent = frame[UDP].chksum
        again = frame.packet.copy()
        del again[UDP].chksum, again[IP].chksum
        assert Ether(bytes(again))[UDP].chksum == sent
        assert Ether(bytes(again))[IP].chksum == frame[IP].chksum


def test_bad_checksum_is_the_kernels_to_find(wire, kernel):
    """Nobody vouches for what a wire sends: the kernel looks."""
    bad = ping(wire, kernel, seq=5)
    bad[ICMP].chksum = 0x1234
    wire.send(bad, ack=False)
    assert wire.sr1(ping(wire, kernel, seq=6))[ICMP].seq == 6
    assert not [frame for frame in wire.seen if ICMP in frame and frame[ICMP].seq == 5]


def test_closed_port_is_refused(wire, kernel):
    syn = wire.ether(kernel.mac) / IP(src=wire.ip, dst=kernel.ip) / TCP(sport=5555, dport=9, flags="S", seq=7)
    assert wire.sr1(syn)[TCP].flags == "RA"


def test_vlan_interface(wire, kernel):
    """A VLAN of the kernel on top of the tap interface: tags are in the frames."""
    ns = ("ip", "-n", kernel.netns)
    if subprocess.run([*ns, "link", "add", "link", "eth0", "name", "v7", "type", "vlan", "id", "7"], check=False).returncode:
        pytest.skip("this kernel has no VLAN interfaces")
    subprocess.run([*ns, "address", "add", "192.0.2.1/24", "dev", "v7"], check=True)
    subprocess.run([*ns, "link", "set", "v7", "up"], check=True)
    subprocess.run([*ns, "neighbour", "add", "192.0.2.9", "lladdr", wire.mac, "dev", "v7"], check=True)
    request = Ether(src=wire.mac, dst=kernel.mac) / Dot1Q(vlan=7) / IP(src="192.0.2.9", dst="192.0.2.1") / ICMP(id=3)
    reply = wire.sr1(request)
    assert reply[Dot1Q].vlan == 7


# --------------------------------------------------------------- the interface and the port are one


def test_interface_is_as_asked(net):
    kernel = net.kernel_host("kernel", queues=3, mtu=4000)
    link = subprocess.run(
        ["ip", "-n", kernel.netns, "-d", "link", "show", "eth0"], capture_output=True, text=True, check=True
    ).stdout
    assert "mtu 4000" in link and kernel.mac in link and "numqueues 3" in link and "vnet_hdr on" in link
    port = net.fabric.snapshot().port("kernel")
    assert (port["kind"], port["mtu"], port["mac"]) == ("tap", 4000, kernel.mac)
    assert len(port["rxqs"]) == 3


def test_port_follows_the_interface(net, wire, kernel):
    """MTU, address, promiscuous mode, up and down."""

    def link(*words):
        subprocess.run(["ip", "-n", kernel.netns, "link", "set", "eth0", *words], check=True)

    def port(key):
        return net.fabric.snapshot().port("kernel")[key]

    link("mtu", "3000")
    until(lambda: port("mtu") == 3000, 5, "the port's MTU to follow")
    link("promisc", "on")
    stranger = wire.ether("02:99:99:99:99:99") / IP(src=wire.ip, dst=kernel.ip) / ICMP()
    before = net.fabric.snapshot()

    def taken():
        wire.send(stranger)
        return (net.fabric.snapshot() - before)["port.kernel.rxq.0.packets"]

    until(taken, 5, "the port to be promiscuous")
    link("promisc", "off")
    link("address", "02:77:77:77:77:77")
    until(lambda: wire.arp(kernel.ip) == "02:77:77:77:77:77", 5)
    kernel.mac = "02:77:77:77:77:77"
    wire.sr1(ping(wire, kernel))
    link("down")
    until(lambda: not port("started"), 5, "the port to stop")
    before = net.fabric.snapshot()
    wire.send(ping(wire, kernel))
    change = net.fabric.snapshot() - before
    assert change["pair.wire.0.kernel.drops.rx_stopped"] == 1, str(change)
    link("up")
    until(lambda: port("started"), 5, "the port to start")
    wire.sr1(ping(wire, kernel))


def test_interface_removed_ends_the_port(net, kernel):
    subprocess.run(["ip", "-n", kernel.netns, "link", "delete", "eth0"], check=True)
    assert kernel.port.wait(5) == 1
    assert "the interface eth0 has been removed" in kernel.log
    net.fabric.wait_no_port("kernel")


# ---------------------------------------------------------------------------------------- the end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_clean_end(net, kernel, number):
    kernel.port.send_signal(number)
    assert kernel.port.wait(5) == 0
    assert net.fabric.snapshot().port("kernel") is None
    assert kernel.interfaces == []
    assert kernel.log == ""


def test_killed_port_takes_its_interface_along(net, wire, kernel):
    """kill -9 under traffic: interface gone, port reclaimed; the next one starts at once."""
    wire.sr1(ping(wire, kernel))
    kernel.start("ping", "-q", "-f", wire.ip)
    wire.expect("icmp")
    wire.send([ping(wire, kernel)] * 100, ack=False)
    kernel.kill_port()
    wire.send([ping(wire, kernel)] * 100, ack=False)
    assert kernel.interfaces == []
    net.fabric.wait_no_port("kernel")
    wire.acknowledged()
    wire.drain()
    net.fabric.assert_clean()
    kernel.attach()
    wire.sr1(ping(wire, kernel))


def test_port_ends_with_its_parent(net):
    kernel = net.kernel_host("kernel")
    kernel.kill_port()
    net.fabric.wait_no_port("kernel")
    line = f"{net.build.uvbridge} port tap {net.name} kernel --netns {kernel.netns} --die-with-parent & wait"
    shell = net.start("shell", "setsid", "--wait", "sh", "-c", line)
    shell.wait_output("^ready$")
    pid = net.fabric.snapshot().port("kernel")["pid"]
    parent = int(journal.stat_fields(pid)[1])
    os.kill(parent, signal.SIGKILL)
    net.fabric.wait_no_port("kernel")
    until(lambda: kernel.interfaces == [], 5, "the interface to go")


def test_port_outlives_the_daemon(net, wire, kernel):
    wire.sr1(ping(wire, kernel))
    net.fabric.kill_daemon()
    wire.sr1(ping(wire, kernel))
    net.fabric.restart_daemon()
    wire.sr1(ping(wire, kernel))
    kernel.port.stop()
    net.fabric.wait_no_port("kernel")


def test_port_ends_with_its_fabric(net, kernel):
    net.fabric.stop_capture()
    net.fabric.down()
    assert kernel.port.wait(5) == 3
    assert "has gone" in kernel.log
    assert kernel.interfaces == []


def test_namespace_of_a_process(port, kernel):
    """A namespace can be named by any process that is in it."""
    inside = kernel.start("sleep", "60").process
    until(lambda: os.readlink(f"/proc/{inside.pid}/exe").endswith("sleep"), 5)
    port("tap", "other", "--netns", inside.pid, "--ifname", "eth7")
    assert "eth7" in kernel.interfaces
    inside.stop()


# ------------------------------------------------------------------------------------ what is wrong

WRONG = {
    "no such namespace": (["--netns", "nowhere"], 1, "no network namespace nowhere"),
    "name in use": (["--netns", "{netns}", "--ifname", "eth0"], 1, "there is an interface eth0 already"),
    "no address": (["--address", "10.0.0.1"], 2, "like 192.0.2.1/24"),
    "bad mac": (["--mac", "01:00:00:00:00:01"], 2, "unicast address"),
    "bad name": (["--ifname", "a/b"], 2, "--ifname"),
    "too many queues": (["--netns", "{netns}", "--ifname", "x", "--queues", "16"], 1, "queue"),
    "unknown option": (["--frobnicate"], 2, "Usage"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(net, port, kernel, case):
    words, status, text = WRONG[case]
    process = port("tap", "other", *(word.format(netns=kernel.netns) for word in words), ready=False)
    assert process.wait(5) == status
    assert text in process.stderr, process.stderr
    assert process.stdout == ""
    assert net.fabric.snapshot().port("other") is None


@pytest.mark.usefixtures("kernel")
def test_without_privileges(net):
    """One sentence, not a stack of errno."""
    process = net.start(
        "other", "setpriv", "--bounding-set", "-all", "--inh-caps", "-all", net.build.uvbridge, "port", "tap",
        net.name, "other",
    )  # fmt: skip
    assert process.wait(5) == 1
    assert "needs CAP_NET_ADMIN: run this as root" in process.stderr
    assert len(process.stderr.splitlines()) == 1


def test_ready_descriptor(net, kernel, tmp_path):
    """An empty line when all is well, else what is wrong; standard output stays silent."""
    line = f"{net.build.uvbridge} port tap {net.name} other --netns {{}} --ready-fd 3 3> {tmp_path}/ready & wait"
    shell = net.start("shell", "sh", "-c", line.format(kernel.netns))
    until(lambda: (tmp_path / "ready").exists() and (tmp_path / "ready").read_text() == "\n", 5)
    assert shell.stdout == ""
    shell.stop()
    net.fabric.wait_no_port("other")
    again = net.start("shell", "sh", "-c", line.format("nowhere"))
    again.wait(5)
    assert "no network namespace nowhere" in (tmp_path / "ready").read_text()


@pytest.mark.parametrize("kind", ["tap", "socket", "replay", "record", "ethdev"])
def test_help_has_an_example(net, kind):
    done = subprocess.run([net.build.uvbridge, "port", kind, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"Usage: uvbridge port {kind} FABRIC NAME")
    assert f"  uvbridge port {kind} lab " in done.stdout
