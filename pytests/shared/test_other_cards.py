# SPDX-License-Identifier: BSD-3-Clause
"""Several processes on a network card that is not uveth: shared where its driver works in several
processes, refused with the reason where it does not. With --nic=tap the same scenario of any card."""

import subprocess

import pytest

from uvnet_harness import until
from uvnet_harness.netns import ip

pytestmark = pytest.mark.uvnet(ports=6, queues=4)

NOISE = ["nobody polls queue 0"]
"""What the manager says of a card that takes no flow rule, when the process that has its queue is killed."""


@pytest.mark.nic
def test_killed_process_leaves_the_others_serving(net):
    """Two processes on one card, by forwarding where it has no redirection table; each is killed and
    comes back."""
    if net.settings.nic.kind == "pci":
        pytest.skip("a shared host needs its hugetlbfs beside the harness, not in a virtual machine")
    for pattern in NOISE if net.settings.nic.kind != "uveth" else ():
        net.allow_log(pattern)
    host = net.shared_host("web", queues=4)
    first = host.start(net.build.echo, host.ip, "7").wait_port(7)
    second = host.start(net.build.echo, host.ip, "8").wait_port(8)
    second.kill()
    until(lambda: not host.slots_of(second), 5, "the slot to be free")
    first.wait_port(7)
    second = host.start(net.build.echo, host.ip, "8").wait_port(8)
    first.kill()
    until(lambda: not host.slots_of(first), 5, "the slot to be free")
    # On a card of one queue the second one was cut off; who takes the queue serves it again.
    host.start(net.build.echo, host.ip, "7").wait_port(7)
    second.wait_port(8)


def test_driver_of_one_process_is_refused(net):
    """The manager of a host on af_packet says why and ends; nothing is left running."""
    host = net.shared_host("web", queues=4)
    namespace = f"{net.name}.cards"
    net.note_netns(namespace)
    ip("netns", "add", namespace)
    ip("-n", namespace, "link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    words = [net.build.uvstackd, "--config", host.config_path, "--set", "nic=af_packet:iface=veth0"]
    words += ["--set", f"host={host.group.folder / 'other'}"]
    line = ["ip", "netns", "exec", namespace, *host.group.words, *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=30, check=False)
    ip("netns", "delete", namespace)
    net.forget_netns(namespace)
    assert done.returncode == 1
    assert "net_af_packet cannot be shared: its sockets are those of the process that opened it" in done.stderr
