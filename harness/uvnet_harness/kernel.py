# SPDX-License-Identifier: BSD-3-Clause
"""Kernel hosts: a network namespace whose only way out is a tap port of the fabric. What runs in it
runs on the kernel's own stack, unmodified; made by ``net.kernel_host()``."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from uvnet_harness.host import App, CommandWord
from uvnet_harness.netns import ip
from uvnet_harness.proc import Process, Result

if TYPE_CHECKING:
    from uvnet_harness.net import Net

TUN = Path("/dev/net/tun")
IFNAME = "eth0"
"""Name of the interface in the namespace."""


def unavailable() -> str | None:
    """Why there can be no kernel hosts here, or None."""
    if os.geteuid() != 0:
        return "kernel hosts need root: they are network namespaces"
    if not TUN.exists():
        return f"kernel hosts need {TUN}"
    if shutil.which("ip") is None:
        return "kernel hosts need ip (iproute2)"
    return None


class KernelHost:
    """A host that is the kernel itself, in a namespace of its own. Any number of commands run on it
    at a time."""

    patience = 1.0

    def __init__(
        self,
        net: Net,
        name: str,
        number: int,
        *,
        queues: int,
        mtu: int,
        offload: bool,
        ipv6: bool,
    ) -> None:
        self.net, self.name, self.queues, self.mtu, self.offload = net, name, queues, mtu, offload
        self.ip: str = net.addresses.ip(number)
        self.mac: str = net.addresses.mac(number)
        self.ip6 = net.addresses.ip6(number) if ipv6 else None
        self.ifname = IFNAME
        self.netns: str = f"{net.name}.{name}"
        self.folder = net.folder / name
        self.folder.mkdir()
        self.port: Process | None = None

    def up(self) -> KernelHost:
        """Make the namespace, and attach its port.

        :returns: itself, once frames flow.
        """
        self.net.note_netns(self.netns)
        ip("netns", "add", self.netns)
        ip("-n", self.netns, "link", "set", "lo", "up")
        # Nobody here waits for the chatter of autoconfiguration; tests count frames.
        settings = ["disable_ipv6=0", "accept_dad=0", "router_solicitations=0"]
        for setting in settings if self.ip6 else ["disable_ipv6=1"]:
            for scope in ("all", "default"):
                ip("netns", "exec", self.netns, "sysctl", "-qw", f"net.ipv6.conf.{scope}.{setting}")
        self.attach()
        return self

    def attach(self, *words: str) -> Process:
        """Start the process that is its port (again, after `kill_port`), and wait until frames flow.

        :param words: options of ``uvbridge port tap``, added.
        """
        line: list[CommandWord] = [
            self.net.build.uvbridge, "port", "tap", self.net.name, self.name,
            "--netns", self.netns, "--ifname", self.ifname, "--mac", self.mac, "--mtu", str(self.mtu),
            "--queues", str(self.queues), "--address", f"{self.ip}/{self.net.addresses.prefix_len}",
        ]  # fmt: skip
        if self.ip6:
            line += ["--address", f"{self.ip6}/64"]
        if not self.offload:
            line += ["--no-offload"]
        self.port = self.net.processes.start(f"{self.name}.port", [*line, *words], self.folder)
        self.port.wait_output(r"^ready$")
        return self.port

    def kill_port(self) -> None:
        """SIGKILL its port; the interface goes with it."""
        assert self.port is not None
        self.port.kill()

    # ------------------------------------------------------------------------------- commands

    def command(self, *words: CommandWord) -> list[str]:
        """The command line that runs `words` in the namespace."""
        return ["ip", "netns", "exec", self.netns, *(os.fspath(word) for word in words)]

    def start(
        self, *words: CommandWord, env: Mapping[str, str] | None = None, stdin: bytes | None = None
    ) -> App:
        """Start a command on the host in the background."""
        label = f"{self.name}.{Path(os.fspath(words[0])).name}"
        process = self.net.processes.start(label, self.command(*words), self.folder, env=env, stdin=stdin)
        return App(self, process)

    def run(
        self,
        *words: CommandWord,
        timeout: float = 30,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
    ) -> Result:
        """Run a command on the host to its end.

        :param timeout: seconds, then SIGKILL.
        """
        app = self.start(*words, env=env, stdin=stdin)
        return self.net.processes.finish(app.process, timeout)

    def attached(self) -> bool:
        """True if its port is attached and started."""
        port = self.net.fabric.snapshot().port(self.name)
        return bool(port and port["started"])

    @property
    def interfaces(self) -> list[str]:
        """The interfaces in its namespace, lo aside."""
        lines = ip("-n", self.netns, "-o", "link", "show").splitlines()
        names = [line.split(": ")[1].split("@")[0] for line in lines]
        return [name for name in names if name != "lo"]

    def counters(self) -> Mapping[str, int]:
        """The interface's own statistics, by the kernel's names (``rx_packets``, ``tx_dropped``, …)."""
        text = self.run("sh", "-c", f"cd /sys/class/net/{self.ifname}/statistics && grep . *").check().stdout
        return {name: int(value) for name, _, value in (line.partition(":") for line in text.splitlines())}

    def close(self) -> None:
        """Remove the namespace. Its processes and its port have ended."""
        subprocess.run(["ip", "netns", "delete", self.netns], capture_output=True, check=False)
        self.net.forget_netns(self.netns)

    @property
    def log(self) -> str:
        """What its port had to say: nothing, if all is well."""
        return self.port.stderr if self.port is not None else ""

    def __str__(self) -> str:
        return f"kernel host {self.name} ({self.ip})"
