# SPDX-License-Identifier: BSD-3-Clause
"""`uvstack nic check`: what a port can do, and what the stack makes of it. On PCI cards: ci/pci."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from uvnet_harness.netns import ip

PCI = Path("/sys/bus/pci/devices")


@pytest.fixture
def check(net):
    """Run it: exit status, facts, problems."""

    def run(*words, prefix=()):
        net.need_stack()
        line = [*prefix, net.build.uvstack, "nic", "check", "--json", *words]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.stdout, done.stderr
        said = json.loads(done.stdout)
        assert done.returncode == (0 if said["usable"] else 1)
        return said["usable"], {key: fact["value"] for key, fact in said["facts"].items()}, said["problems"]

    return run


@pytest.fixture
def netns(net):
    """A namespace of the test's own; skipped without root."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    name = f"{net.name}.check"
    net.note_netns(name)
    ip("netns", "add", name)
    yield name
    ip("netns", "delete", name)
    net.forget_netns(name)


@pytest.mark.nic
def test_the_card_under_test(net):
    """What any card that is used at all has to say, and its own driver's name."""
    facts = net.host("server", queues=2).card.facts()
    assert re.fullmatch("(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", facts["mac"])
    assert facts["rx_queues"] >= 1 and facts["tx_queues"] >= 1 and facts["mtu_max"] >= 1500
    assert facts["link"] in ("up", "down")
    assert isinstance(facts["rx_interrupts"], bool) and isinstance(facts["flow_rules"], bool)
    assert bool(facts["rss_types"]) >= bool(facts["rss_key"])
    if net.settings.nic.kind == "pci":
        assert facts["kernel_driver"] == "vfio-pci" and facts["used_by"] == []
        assert facts["group_members"] == [] and facts["iommu_group"] >= 0


def test_uveth_has_it_all(net, check):
    usable, facts, _ = check("--set", "queues=4", f"uveth:fabric={net.name},name=nic")
    assert usable and facts["driver"] == "net_uveth"
    assert facts["rss_table"] == 128 and len(facts["rss_key"]) == 80 and "ipv4-tcp" in facts["rss_types"]
    assert facts["rx_interrupts"] and facts["flow_rules"] and facts["multicast_filter"] and facts["queue_restart"]
    net.fabric.wait_no_port("nic")


def test_text_says_what_the_stack_does(net):
    net.need_stack()
    words = [net.build.uvstack, "nic", "check", "--set", "queues=64", f"uveth:fabric={net.name},name=nic"]
    text = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    assert "the stack cannot use it" in text  # 64 are more than this fabric's ports may have
    words[4] = "queues=2"
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "the stack can use it" in text
    assert re.search(r"^rx queues +\d+ +uses 2 \(queues = 2\)$", text, re.M), text
    assert re.search(r"^rx interrupts +yes +idle threads sleep until a frame comes$", text, re.M), text


def test_af_packet(netns, check):
    ip("-n", netns, "link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    usable, facts, _ = check("af_packet:iface=veth0", prefix=["ip", "netns", "exec", netns])
    assert usable and facts["driver"] == "net_af_packet"
    assert not facts["rss_types"] and not facts["flow_rules"] and not facts["rx_interrupts"]


def test_tap_in_use_is_left_alone(net, netns, check):
    """The port's process has the interface: it is named, and not joined as one more queue."""
    inside = ["ip", "netns", "exec", netns]
    line = ["ethdev", net.name, "tap", "--dev", "net_tap0,iface=tap9", "--netns", netns]
    user = net.start("user", net.build.uvbridge, "port", *line)
    user.wait_output("^ready$")
    usable, facts, problems = check("tap:tap9", prefix=inside)
    assert not usable and "driver" not in facts
    assert facts["used_by"] == [str(user.pid)]
    assert problems == [f"it is in use, by process {user.pid}: it is left alone"]
    user.stop()
    usable, facts, _ = check("tap:tap9", prefix=inside)
    assert usable and facts["used_by"] == [] and facts["driver"] == "net_tap"


def kernel_devices():
    """PCI functions that a driver of the kernel has."""
    return [device for device in sorted(PCI.glob("*")) if (device / "driver").exists()]


def test_device_of_the_kernel_is_left_alone(check):
    found = kernel_devices()
    if not found:
        pytest.skip("this machine has no PCI device that a driver of the kernel has")
    driver = (found[0] / "driver").resolve().name
    usable, facts, problems = check(found[0].name)
    assert not usable and facts["kernel_driver"] == driver and "driver" not in facts
    assert f"the kernel's {driver} has it" in problems[0] and "driverctl" in problems[0]
    assert (found[0] / "driver").resolve().name == driver


@pytest.mark.parametrize(
    "device, message",
    [("0000:ff:1f.7", "there is no PCI device 0000:ff:1f.7"), ("ff:1f.7", "there is no PCI device 0000:ff:1f.7")],
)
def test_absent_device(check, device, message):
    usable, _, problems = check(device)
    assert not usable and message in problems[0]


@pytest.mark.parametrize("words", [["check"], ["check", "what:0"], ["chekc"], ["check", "a", "b"]])
def test_wrong_usage(net, words):
    net.need_stack()
    done = subprocess.run([net.build.uvstack, "nic", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr
