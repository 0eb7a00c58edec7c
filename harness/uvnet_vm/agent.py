# SPDX-License-Identifier: BSD-3-Clause
"""What runs in the virtual machine: makes the network card ready for DPDK, and starts commands.

    agent.py SHARE

SHARE/vm.json says what is wanted; once all is ready SHARE/ready.json says what there is. Then each
virtio-serial port serves one command at a time. A session is lines of JSON:

    host: {"session": ID, "argv": [...], "env": {...}, "cwd": DIR, "stdin": BASE64 or null}
          {"session": ID, "signal": NUMBER}
    here: {"session": ID, "out": BASE64}, {…, "err": BASE64}, {…, "exit": STATUS}

STATUS is negative if a signal ended it. A host that hangs up, or begins another session, has its
command killed, with all its children, before the port serves another.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PCI = Path("/sys/bus/pci/devices")
PORTS = Path("/dev/virtio-ports")
DRIVERS = Path("/usr/lib/x86_64-linux-gnu/dpdk")
NEEDED = ("bus_pci", "bus_vdev", "mempool_ring", "net_e1000", "net_ring", "net_virtio")
"""DPDK's drivers that are needed here. EAL loads all there are, which takes seconds on this processor."""

INTEL_82576 = ("0x8086", "0x10c9")
VIRTIO_NET = ("0x1af4", "0x1041")


# --------------------------------------------------------------------------- the network card


def find(ids: tuple[str, str]) -> Path:
    """The PCI device of that vendor and kind."""
    for device in sorted(PCI.iterdir()):
        if ((device / "vendor").read_text().strip(), (device / "device").read_text().strip()) == ids:
            return device
    raise SystemExit(f"agent: no PCI device {':'.join(ids)}")


def bind(device: Path) -> str:
    """Give a device to vfio-pci, whoever had it; its address."""
    driver = device / "driver"
    if driver.exists():
        (driver / "unbind").write_text(device.name)
    (device / "driver_override").write_text("vfio-pci")
    Path("/sys/bus/pci/drivers_probe").write_text(device.name)
    return device.name


def virtual_function(pf: Path, number: int, mac: str) -> Path:
    """Make VFs, the PF staying with the kernel, which has to be up before a VF has a link."""
    (pf / "sriov_numvfs").write_text(str(number + 1))
    name = next((pf / "net").iterdir()).name
    for words in (["vf", str(number), "mac", mac], ["up"]):
        subprocess.run(["ip", "link", "set", "dev", name, *words], check=True)
    while (pf / "net" / name / "operstate").read_text().strip() != "up":
        time.sleep(0.02)
    return (pf / f"virtfn{number}").resolve()


def card(driver: str, mac: str) -> str:
    """Make the card ready that is asked for: the address of its function."""
    if driver == "virtio":
        return bind(find(VIRTIO_NET))
    pf = find(INTEL_82576)
    return bind(pf if driver == "igb" else virtual_function(pf, 0, mac))


def thin_out_drivers() -> None:
    """Leave DPDK only the drivers that are needed (the host's files stay as they are)."""
    for library in DRIVERS.glob("pmds-*/*.so*"):
        if library.name.split(".")[0].removeprefix("librte_") not in NEEDED:
            library.unlink()


# ------------------------------------------------------------------------------------ commands


class Port:
    """A virtio-serial port. Edge-triggered: the kernel reports a host that is not there for ever."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self.epoll = select.epoll()
        self.epoll.register(self.fd, select.EPOLLIN | select.EPOLLHUP | select.EPOLLET)
        self._rest = b""
        self.session = ""
        self.next: dict[str, Any] | None = None  # a request that has come already

    def lines(self) -> Iterator[Any]:
        """What has come, decoded."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.fd, 65536):
                self._rest += data
        *whole, self._rest = self._rest.split(b"\n")
        for line in whole:
            with contextlib.suppress(ValueError):  # of a host that was killed while it spoke
                yield json.loads(line)

    def hung_up(self) -> bool:
        """The host is gone."""
        poll = select.poll()
        poll.register(self.fd, 0)
        return any(event & select.POLLHUP for _, event in poll.poll(0))

    def say(self, **words: Any) -> None:
        """Tell the host; nothing, if it is gone."""
        data = json.dumps({"session": self.session, **words}).encode() + b"\n"
        while data and not self.hung_up():
            try:
                data = data[os.write(self.fd, data) :]
            except BlockingIOError:
                select.select([], [self.fd], [], 0.1)

    def request(self) -> dict[str, Any]:
        """Wait for the next command."""
        while self.next is None:
            self.epoll.poll()
            for line in self.lines():
                if "argv" in line:
                    self.next = line
        request, self.next = self.next, None
        self.session = request["session"]
        return request


class Command:
    """A command of a session, with a process group of its own."""

    def __init__(self, port: Port, request: dict[str, Any]) -> None:
        self.port = port
        self.process = subprocess.Popen(
            request["argv"], env=request["env"], cwd=request["cwd"], start_new_session=True,
            stdin=_input(request["stdin"]), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdout and self.process.stderr
        self.streams = {self.process.stdout.fileno(): "out", self.process.stderr.fileno(): "err"}
        self.pidfd = os.pidfd_open(self.process.pid)
        for fd in (*self.streams, self.pidfd):
            port.epoll.register(fd, select.EPOLLIN)

    def run(self) -> None:
        """Until it ends, or the host hangs up."""
        ended = False
        while not ended:
            ready = [fd for fd, _ in self.port.epoll.poll()]
            for fd in self.streams.keys() & set(ready):
                self.forward(fd)
            if self.port.fd in ready:
                self.obey()
            ended = self.pidfd in ready
        self.close()

    def obey(self) -> None:
        """Do what the host says; it has gone: so does the command."""
        for line in self.port.lines():
            if "argv" in line:
                self.port.next = line
            elif line["session"] == self.port.session:
                self.kill(line["signal"], os.kill)
        if self.port.next is not None or self.port.hung_up():
            self.kill(signal.SIGKILL, os.killpg)

    def kill(self, number: int, how: Any) -> None:
        """Send a signal, to the command or to its group."""
        with contextlib.suppress(ProcessLookupError):
            how(self.process.pid, number)

    def forward(self, fd: int) -> bool:
        """Pass on what it has printed. False: nothing now."""
        os.set_blocking(fd, False)
        with contextlib.suppress(BlockingIOError):
            if data := os.read(fd, 32768):
                self.port.say(**{self.streams[fd]: base64.b64encode(data).decode()})
                return True
            with contextlib.suppress(OSError):
                self.port.epoll.unregister(fd)
        return False

    def close(self) -> None:
        """The rest of what it has printed, and how it ended."""
        status = self.process.wait()
        for fd in self.streams:
            while self.forward(fd):
                pass
        self.kill(signal.SIGKILL, os.killpg)  # what it has left behind
        self.port.say(exit=status)
        os.close(self.pidfd)
        assert self.process.stdout and self.process.stderr
        self.process.stdout.close()
        self.process.stderr.close()


def _input(encoded: str | None) -> int:
    if encoded is None:
        return subprocess.DEVNULL
    fd = os.memfd_create("stdin")
    os.write(fd, base64.b64decode(encoded))
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def serve(path: Path) -> None:
    """One session after the other, for ever."""
    port = Port(path)
    while True:
        request = port.request()
        try:
            Command(port, request).run()
        except OSError as error:
            port.say(err=base64.b64encode(f"{error}\n".encode()).decode())
            port.say(exit=127)


def main() -> None:
    """Make the card ready, serve each port from a process of its own."""
    share = Path(sys.argv[1])
    wanted = json.loads((share / "vm.json").read_text())
    bdf = card(wanted["driver"], wanted["mac"])
    thin_out_drivers()
    ports = [PORTS / f"agent.{number}" for number in range(wanted["ports"])]
    for number in range(1, 32):  # udev is not here to name them
        for name in Path("/sys/class/virtio-ports").glob(f"vport*p{number}/name"):
            PORTS.mkdir(exist_ok=True)
            (PORTS / name.read_text().strip()).symlink_to(f"/dev/{name.parent.name}")
    for path in ports:
        if os.fork() == 0:
            serve(path)
    part = share / "ready.part"
    part.write_text(json.dumps({"bdf": bdf}))
    part.rename(share / "ready.json")
    os.wait()


if __name__ == "__main__":
    main()
