# SPDX-License-Identifier: BSD-3-Clause
"""The virtual machine: QEMU with one network card, its cable an AF_UNIX socket or a tap interface."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from uvnet_vm import agent, run
from uvnet_vm.image import Image
from uvnet_vm.packages import Unavailable

PORTS = 6
"""Commands that may run in the machine at a time."""

MEMORY_MB = 1536
HUGE_PAGES = 192
CPUS = 2
MAC = "02:00:00:00:00:a1"
PF_MAC = "02:00:00:00:00:a0"
QUEUES = 4
BOOT_LIMIT = {"kvm": 20, "tcg": 60}
"""Seconds until a boot is given up: three times what it takes."""

DRIVERS = {
    "igb": "the PF of an Intel 82576 (net_e1000_igb)",
    "igbvf": "an SR-IOV VF of it, the PF held by the kernel (net_e1000_igb_vf)",
    "virtio": "virtio-net, multi-queue (net_virtio)",
}
"""The network cards there are."""


ACCELERATORS = ("tcg", "kvm")
"""How QEMU runs the machine's code: by itself, or on the processor, which not every machine lets it do
and some only seem to."""


@dataclass(frozen=True)
class Cable:
    """The end of the card's cable outside: what ``--peer`` of the pytest plugin takes."""

    peer: str
    netdev: str
    netns: str | None = None

    @classmethod
    def socket(cls, folder: Path) -> Cable:
        """Datagrams of an AF_UNIX socket: one queue."""
        here, there = folder / "cable.host", folder / "cable.vm"
        options = f"local.type=unix,local.path={there},remote.type=unix,remote.path={here}"
        return cls(f"socket:{here},peer={there}", f"dgram,id=cable,{options}")

    @classmethod
    @contextlib.contextmanager
    def tap(cls, name: str) -> Iterator[Cable]:
        """A tap interface at a bridge, in a network namespace: several queues, and checksums and
        segments left to the other end. Needs root."""

        def ip(*words: str) -> None:
            subprocess.run(["ip", *words], check=True)

        ip("netns", "add", name)
        try:
            quiet = [f"net.ipv6.conf.{scope}.disable_ipv6=1" for scope in ("all", "default")]
            if Path("/proc/sys/net/bridge").exists():  # its filters would drop what is malformed
                quiet += [f"net.bridge.bridge-nf-call-{tables}=0" for tables in ("iptables", "ip6tables", "arptables")]
            ip("netns", "exec", name, "sysctl", "-qw", *quiet)  # the kernel is to have no word in it
            ip("-n", name, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
            ip("-n", name, "link", "set", "br0", "up")
            options = f"ifname=cable,script=no,downscript=no,queues={QUEUES}"
            yield cls(f"bridge:br0,netns={name}", f"tap,id=cable,{options}", name)
        finally:
            ip("netns", "del", name)


def can_tap() -> bool:
    """This user can make tap interfaces."""
    return os.geteuid() == 0 and Path("/dev/net/tun").exists()


class Machine:
    """A machine that runs, from `start` on, until `stop`.

    :param share: a folder that is the same inside and outside, read and write. All other files of this
        machine are there inside, as they are; what is written to them inside is lost.
    """

    def __init__(self, image: Image, driver: str, share: Path, accel: str = "tcg") -> None:
        self.image, self.driver, self.share = image, driver, share.absolute()
        self.accel = accel
        self.folder = Path(tempfile.mkdtemp(prefix="uvnet-vm-", dir="/dev/shm"))
        self.console = self.share / f"console-{driver}.log"
        self.bdf = ""
        self.boot_seconds = 0.0
        self._stack = contextlib.ExitStack()
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._qemu: subprocess.Popen[bytes] | None = None
        self.cable: Cable

    def __enter__(self) -> Machine:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Machine:
        """Boot it; returns once the card is ready and commands can be run. An emulated processor's timer
        now and then stops while the kernel boots: a second attempt is made, by emulation.

        :raises Unavailable: it does not boot; with what its console says.
        """
        begun = time.monotonic()
        if self.driver == "virtio" and can_tap():
            self.cable = self._stack.enter_context(Cable.tap(self.folder.name))
        else:
            self.cable = Cable.socket(self.folder)
        wanted = {"driver": self.driver, "mac": MAC, "ports": PORTS}
        (self.share / "vm.json").write_text(json.dumps(wanted))
        if not self._boot():
            print(f"the machine did not boot ({self.accel}), once more; its console:\n{self._console_end()}", file=sys.stderr)
            self.accel = "tcg"
            if not self._boot():
                raise Unavailable(f"the machine does not boot; its console:\n{self._console_end()}")
        self.bdf = json.loads(self._ready.read_text())["bdf"]
        self._peer_up()
        self.boot_seconds = time.monotonic() - begun
        return self

    @property
    def _ready(self) -> Path:
        return self.share / "ready.json"

    def _boot(self) -> bool:
        self._ready.unlink(missing_ok=True)
        with self.console.open("wb") as console:
            self._qemu = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                env=self.image.packages.environment(), process_group=0,
            )  # fmt: skip
        end = time.monotonic() + BOOT_LIMIT[self.accel]
        while not self._ready.exists():
            if self._qemu.poll() is not None or time.monotonic() > end:
                self._unplug()
                return False
            time.sleep(0.05)
        return True

    def _unplug(self) -> None:
        if self._qemu is not None:
            self._qemu.kill()
            self._qemu.wait()
            self._qemu = None

    def stop(self) -> None:
        """Pull the plug."""
        self._unplug()
        self._stack.close()

    def run(self, *words: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command in it to its end."""
        line = [*command_prefix(self.folder), *map(str, words)]
        return subprocess.run(line, capture_output=True, text=True, timeout=timeout, check=False)

    # ------------------------------------------------------------------------------- its parts

    def _command(self) -> list[str]:
        packages = self.image.packages
        prefix = ["setpriv", "--pdeathsig", "KILL", "--"]
        if self.cable.netns:
            prefix = ["ip", "netns", "exec", self.cable.netns, *prefix]
        append = (
            "console=ttyS0 panic=-1 loglevel=4 no_timer_check intel_iommu=on iommu=pt mitigations=off "
            f"hugepages={HUGE_PAGES} share={self.share} agent={Path(agent.__file__).resolve()}"
        )
        return [
            *prefix, str(packages.qemu), "-L", str(packages.firmware), "-L", str(packages.root / "usr/share/seabios"),
            "-M", "q35", *self._processor(), "-m", str(MEMORY_MB), "-smp", str(CPUS),
            "-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio",
            "-kernel", str(self.image.kernel), "-initrd", str(self.image.initramfs), "-append", append,
            "-device", "intel-iommu,intremap=on,device-iotlb=on",
            *_shared("host", Path("/"), ",readonly=on"), *_shared("share", self.share),
            *self._agent_ports(), *self._card(),
        ]  # fmt: skip

    def _processor(self) -> Sequence[str]:
        if self.accel == "kvm":  # interrupts are remapped by the emulated IOMMU
            return "-accel", "kvm,kernel-irqchip=split", "-cpu", "max,-arch-capabilities"
        return "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max"

    def _agent_ports(self) -> Iterator[str]:
        yield from ("-device", "virtio-serial-pci,max_ports=16")
        for number in range(PORTS):
            path = self.folder / f"agent.{number}"
            yield from ("-chardev", f"socket,id=agent{number},path={path},server=on,wait=off")
            yield from ("-device", f"virtserialport,chardev=agent{number},name=agent.{number}")

    def _card(self) -> Sequence[str]:
        port = ("-device", "pcie-root-port,id=card_port,slot=1")
        cable = ("-netdev", self.cable.netdev)
        if self.driver == "virtio":
            options = f"mq={'on' if self.cable.netns else 'off'},vectors={2 * QUEUES + 2},rss=on,hash=on"
            card = f"virtio-net-pci,mac={MAC},disable-legacy=on,iommu_platform=on,ats=on,{options}"
        else:
            card = f"igb,mac={MAC if self.driver == 'igb' else PF_MAC}"
        return [*port, *cable, "-device", f"{card},bus=card_port,netdev=cable,romfile="]

    def _peer_up(self) -> None:
        if self.cable.netns:
            words = ["ip", "-n", self.cable.netns, "link", "set", "cable", "up", "master", "br0"]
            subprocess.run(words, check=True)

    def _console_end(self) -> str:
        return "\n".join(self.console.read_text(errors="replace").splitlines()[-15:])


def _shared(tag: str, path: Path, more: str = "") -> Iterator[str]:
    yield from ("-fsdev", f"local,id={tag},path={path},security_model=none,multidevs=remap{more}")
    yield from ("-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}")


def command_prefix(folder: Path) -> list[str]:
    """The words before a command that is to run in the machine of that folder."""
    return ["/usr/bin/python3", run.__file__, str(folder), "--"]
