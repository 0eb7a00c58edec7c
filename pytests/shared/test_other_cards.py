# SPDX-License-Identifier: BSD-3-Clause
"""Several processes on a network card that is not uveth: refused, with the reason, where its driver is
not made for it."""

import subprocess

import pytest

from uvnet_harness.netns import ip

pytestmark = pytest.mark.uvnet(ports=6, queues=4)

REFUSED = {
    "af_packet": "net_af_packet cannot be shared: its sockets are those of the process that opened it",
    "tap": "net_tap cannot be shared: it does not give back the buffers of a process that died",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_driver_that_cannot_be_shared_is_refused(net, kind):
    """The manager says why and ends; nothing is left running."""
    host = net.shared_host("web", queues=4)
    namespace = f"{net.name}.cards"
    net.note_netns(namespace)
    ip("netns", "add", namespace)
    ip("-n", namespace, "link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    words = [net.build.uvstackd, "--config", host.config_path, "--set", f"nic={kind}:iface={'veth0' if kind == 'af_packet' else 'tap0'}"]
    words += ["--set", f"host={host.group.folder / 'other'}"]
    line = ["ip", "netns", "exec", namespace, *host.group.words, *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=30, check=False)
    ip("netns", "delete", namespace)
    net.forget_netns(namespace)
    assert done.returncode == 1
    assert REFUSED[kind] in done.stderr
