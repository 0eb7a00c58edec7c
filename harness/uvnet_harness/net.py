# SPDX-License-Identifier: BSD-3-Clause
"""A network: a fabric, the hosts and wires on it, and how all that ends.

`Net` needs no pytest: the demo uses it as a context manager. The plugin makes one for each test and
hands it out as the fixture ``net``.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from uvnet_harness import artifacts, journal, names, nics
from uvnet_harness.clock import Clock
from uvnet_harness.dpdk import DpdkHost
from uvnet_harness.eal import unavailable as huge_pages_problem
from uvnet_harness.fabric import LOG_TROUBLE, Build, Fabric, Snapshot
from uvnet_harness.faults import Link
from uvnet_harness.host import Addressed, Host
from uvnet_harness.kernel import KernelHost, unavailable
from uvnet_harness.proc import Process, Processes

from uvnet_harness.switch import Adapter, Port, Switch
from uvnet_report.model import Measure

if TYPE_CHECKING:
    from uvnet_harness.shared import SharedHost
    from uvnet_harness.wire import Wire, WireSet

PROBE_HOST = 253
"""Host number of the wire that asks whether a TCP port listens."""

FIRST_CABLE = 3000
"""VLAN of the first cable; each has one of its own."""


class Missing(Exception):
    """Something a scenario needs is not there; the text says what. In pytest the test is skipped."""


class NotBuilt(Missing):
    """A part that a scenario needs is not built."""


class NotPossible(Missing):
    """This machine, or this user, cannot do what a scenario needs."""


@dataclass(frozen=True)
class Settings:
    """What a run decides for all of its networks."""

    build: Build
    artifacts: Path
    seed: int = 0
    nic: nics.Spec = nics.Spec()
    facts: dict[str, nics.Facts] = field(default_factory=dict)
    """What has been found out about network cards in this run."""
    config: Mapping[str, str | int] = field(default_factory=dict)
    """Configuration of every host, unless the test asks for something else."""
    keep: bool = False
    virtual_time: bool = False
    """the fabric's clock goes by itself, as in `Clock.auto`"""
    worker: str = ""
    attempt: int = 1
    """which try this is, with --retry"""
    replay: str = ""
    """The command that runs this test again, without the seed."""


@dataclass(frozen=True)
class Shape:
    """How one network is made; in pytest, the arguments of ``@pytest.mark.uvnet(…)``."""

    ports: int | None = None
    queues: int | None = None
    cells: int | None = None
    """cells per transmit queue"""
    voq: int | None = None
    """references per VOQ"""
    capture: bool = True
    snaplen: int = 256
    """bytes of each captured frame"""
    capture_size: int = 64 << 20
    """bytes a capture may reach"""
    allow_log: tuple[str, ...] = field(default_factory=tuple)
    """regular expressions for log lines that may look like trouble"""

    def options(self) -> dict[str, int]:
        """The options for ``uvbridge up``."""
        wanted = {"ports": self.ports, "queues": self.queues, "cells": self.cells, "voq": self.voq}
        return {name: value for name, value in wanted.items() if value is not None}


def make_folder(folder: Path) -> None:
    """Make a folder and those around it, which other tests may be removing as empty."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            folder.mkdir(parents=True)
            return


class Probe:
    """Asks hosts from the fabric, without their applications seeing anything."""

    def __init__(self, wire: Wire, source: random.Random) -> None:
        self._wire = wire
        self._random = source

    def answers_arp(self, host: Addressed, timeout: float = 0.3) -> bool:
        """Ask for the host's address.

        :param timeout: seconds to wait for the answer.
        """
        try:
            return self._wire.arp(host.ip, timeout) == host.mac
        except AssertionError:
            return False

    def tcp_listens(self, host: Addressed, port: int, timeout: float = 0.3) -> bool:
        """Send a SYN, and a RST if it is answered by SYN/ACK.

        :param timeout: seconds to wait for the answer.
        """
        from scapy.layers.inet import IP, TCP

        sport = self._random.randrange(20000, 60000)
        wire = self._wire
        head = wire.ether(host.mac) / IP(src=wire.ip, dst=host.ip)
        syn = TCP(sport=sport, dport=port, flags="S", seq=self._random.randrange(1 << 32))
        wire.drain()
        wire.send(head / syn, ack=False)
        try:
            answer = wire.expect(f"tcp src port {port} and tcp dst port {sport}", timeout)
        except AssertionError:
            return False
        if answer[TCP].flags != "SA":
            return False
        wire.send(head / TCP(sport=sport, dport=port, flags="R", seq=answer[TCP].ack), ack=False)
        return True


class Net:
    """A fabric with hosts and wires.

    :param test_id: names and addresses come from it.
    :param book: where everything made is noted.
    """

    def __init__(
        self, settings: Settings, test_id: str, book: journal.Journal, shape: Shape | None = None
    ) -> None:
        self.settings, self.test_id, self.shape = settings, test_id, shape or Shape()
        self.build = settings.build
        self.name = names.fabric_name(test_id, settings.worker)
        self.addresses = names.Addresses.of(test_id)
        self._journal = book
        self.folder = settings.artifacts / ".work" / self.name
        book.add("folder", str(self.folder))
        make_folder(self.folder)
        self.processes = Processes(book, token=self.name)
        self.fabric = Fabric(self.build, self.name, self.processes, book, self.folder, self.shape.options())
        self._scratches: list[Path] = []
        self.clock = Clock(self.fabric)
        self.hosts: dict[str, Host] = {}
        self.cards: list[nics.Card] = []
        self.shared_hosts: list[SharedHost] = []
        self.kernel_hosts: dict[str, KernelHost] = {}
        self.dpdk_hosts: dict[str, DpdkHost] = {}
        self._cables = itertools.count(FIRST_CABLE)
        self.wires: dict[str, Wire] = {}
        self._wire_set: WireSet | None = None
        self._numbers = iter(range(1, PROBE_HOST))
        self._allowed = [re.compile(pattern) for pattern in self.shape.allow_log]
        self.start_stats: Snapshot | None = None
        self.measures: list[Measure] = []
        self.closed = False

    def up(self) -> Net:
        """Raise the fabric, and the capture if there is to be one."""
        self.fabric.up()
        if self.shape.capture:
            self.fabric.capture(snaplen=self.shape.snaplen, max_size=self.shape.capture_size)
        if self.settings.virtual_time:
            self.clock.run()
        self.start_stats = self.fabric.snapshot()
        return self

    # -------------------------------------------------------------------------------- topology

    def _add_host(
        self, kind: type[Host], name: str | None, queues: int, ipv6: bool, config: Mapping[str, str | int]
    ) -> Host:
        number = next(self._numbers)
        name = name or f"host{number}"
        self._check_name(name)
        if problem := nics.problem(self.settings.nic):
            raise NotPossible(problem)
        every = {**self.settings.config, **config}
        host = kind(self, name, number, queues, ipv6, every)
        self.hosts[name] = host
        return host

    def host(
        self, name: str | None = None, queues: int = 1, *, ipv6: bool = False, **config: str | int
    ) -> Host:
        """Add a host. Nothing of it is on the fabric until something runs on it.

        :param name: of the host and of its port; default host1, host2, …
        :param queues: receive and transmit queues of its network card.
        :param ipv6: give it an IPv6 address as well (``host.ip6``, ``host.link_local``).
        :param config: keys of uvrun's configuration file, added or replaced.
        """
        return self._add_host(Host, name, queues, ipv6, config)

    def shared_host(
        self, name: str | None = None, queues: int = 1, *, ipv6: bool = False, **config: str | int
    ) -> SharedHost:
        """Add a host whose network card is shared by all that runs on it, at the same time.

        :param ipv6: give it an IPv6 address as well.

        :raises NotPossible: not here; in pytest the test is then skipped.
        """
        from uvnet_harness.shared import MEGABYTES, SharedHost

        problem = huge_pages_problem(MEGABYTES)
        if problem:
            raise NotPossible(problem)
        host = self._add_host(SharedHost, name, queues, ipv6, config)
        assert isinstance(host, SharedHost)
        self.shared_hosts.append(host)
        return host

    def kernel_host(
        self,
        name: str | None = None,
        *,
        queues: int = 1,
        mtu: int = 1500,
        offload: bool = True,
        ipv6: bool = False,
    ) -> KernelHost:
        """Add a host that runs on the kernel's stack: a network namespace with a tap port.

        :param name: of the host and of its port; default kernel1, kernel2, …
        :param queues: of its interface and of its port.
        :param offload: let the kernel leave checksums and segmentation to the port.
        :param ipv6: give it an IPv6 address as well.
        :raises NotPossible: not here; in pytest the test is then skipped.
        """
        problem = unavailable()
        if problem:
            raise NotPossible(problem)
        number = next(self._numbers)
        name = name or f"kernel{number}"
        self._check_name(name)
        host = KernelHost(self, name, number, queues=queues, mtu=mtu, offload=offload, ipv6=ipv6)
        self.kernel_hosts[name] = host
        return host.up()

    def dpdk(
        self,
        name: str | None = None,
        *,
        ports: int = 1,
        queues: int = 1,
        lcores: int = 1,
        memory: int = 64,
        eal: Sequence[str] = (),
    ) -> DpdkHost:
        """Add a host for a DPDK application that is not ours: ``.start(program, …)`` runs it with
        these ports.

        :param name: default dpdk1, dpdk2, …; its ports are NAME.0, NAME.1, …
        :param ports: how many ethdevs it finds.
        :param queues: most queues of each direction of a port.
        :param lcores: how many EAL gives it; the first one is its main one.
        :param memory: megabytes, without huge pages.
        :param eal: more arguments for EAL.
        """
        numbers = [next(self._numbers) for _ in range(ports)]
        name = name or f"dpdk{numbers[0]}"
        self._check_name(name)
        macs = [self.addresses.mac(number) for number in numbers]
        host = DpdkHost(self, name, macs, queues=queues, lcores=lcores, memory=memory, eal=eal)
        self.dpdk_hosts[name] = host
        return host

    def note_netns(self, name: str) -> None:
        """Write down that a network namespace is about to be made."""
        self._journal.add("netns", name)

    def forget_netns(self, name: str) -> None:
        """Write down that it is gone."""
        self._journal.remove("netns", name)

    def wire(
        self,
        name: str | None = None,
        *,
        promiscuous: bool = False,
        queues: int = 1,
        ip: bool = True,
        ipv6: bool = False,
        mac: str | None = None,
    ) -> Wire:
        """Attach a raw port to the fabric.

        :param name: of the port; default wire1, wire2, …
        :param promiscuous: take frames for any address.
        :param ip: give it an address, and answer ARP for it while it receives.
        :param ipv6: give it IPv6 addresses (``wire.ip6``, ``wire.link_local``), and answer neighbour
            solicitations for them while it receives.
        :param mac: its address, if it is not to be the next of the network.
        """
        number = next(self._numbers)
        name = name or f"wire{number}"
        self._check_name(name)
        self.wires[name] = self._attach(name, number, promiscuous, queues, ip, mac)
        if ipv6:
            self.wires[name].use_ipv6(self.addresses.ip6(number), self.addresses.link_local(number))
        return self.wires[name]

    def _attach(
        self, name: str, number: int, promiscuous: bool, queues: int, ip: bool, mac: str | None
    ) -> Wire:
        # scapy takes half a second to load; tests that have no wire do without.
        from uvnet_harness.wire import Wire, WireSet

        if self._wire_set is None:
            self._wire_set = WireSet()
        return Wire(
            self.build.library(),
            self.name,
            name,
            mac or self.addresses.mac(number),
            self.addresses.ip(number) if ip else None,
            promiscuous=promiscuous,
            queues=queues,
            wires=self._wire_set,
        )

    def _check_name(self, name: str) -> None:
        if name in {*self.hosts, *self.wires, *self.kernel_hosts, *self.dpdk_hosts}:
            raise ValueError(f"there is a {name!r} in this network already")
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,31}", name):
            raise ValueError(f"{name!r} cannot name a port: 1 to 31 of A-Z a-z 0-9 _ . -")

    def close_wire(self, wire: Wire) -> None:
        """Detach a wire."""
        wire.close()
        self.wires.pop(wire.name, None)

    @contextlib.contextmanager
    def probe(self) -> Iterator[Probe]:
        """A wire for a moment, to ask whether TCP ports listen."""
        wire = self._attach("probe", PROBE_HOST, False, 1, True, None)
        try:
            yield Probe(wire, self.random("probe"))
        finally:
            wire.close()

    def need_driver(self) -> None:
        """Check that the driver of uveth ports is built.

        :raises NotBuilt: it is not; in pytest the test is then skipped.
        """
        problem = self.build.missing(self.build.pmd)
        if problem:
            raise NotBuilt(problem)

    def need_stack(self) -> None:
        """Check that the stack is built.

        :raises NotBuilt: it is not; in pytest the test is then skipped.
        """
        problem = self.build.missing(self.build.uvrun, self.build.libuvstack, self.build.pmd)
        if problem:
            raise NotBuilt(problem)

    def start(self, name: str, *words: str | Path, env: Mapping[str, str] | None = None) -> Process:
        """Start any program beside the network (not on a host), guarded like all others."""
        return self.processes.start(name, list(words), self.folder, env=env)

    # --------------------------------------------------------------------------------- faults

    def link(self, port: Host | KernelHost | Wire | str) -> Link:
        """The cable of a port, on which things go wrong. The port need not be attached yet."""
        name = port if isinstance(port, str) else port.name
        return Link(self.fabric, name, f"{self.settings.seed}/{self.test_id}/{name}")

    # --------------------------------------------------------------------------------- switch

    @property
    def switch(self) -> Switch:
        """The switch: VLANs, storms, mirrors, its address table."""
        return Switch(self.fabric)

    def vlan(
        self, port: Port, *, access: int | None = None, trunk: str | None = None, native: int | None = None
    ) -> None:
        """Put a port into VLANs; see `Switch.vlan`."""
        self.switch.vlan(port, access=access, trunk=trunk, native=native)

    def cable(self, one: Port, other: Port) -> None:
        """Connect two ports with each other alone, as a cable without a switch would: what either
        sends, whatever its address, only the other one gets."""
        number = next(self._cables)
        for end in (one, other):
            self.switch.vlan(end, access=number)

    def adapter(self, name: str, vfs: int, uplink_rate: str | None = None) -> Adapter:
        """Make an SR-IOV adapter: hosts and wires by the names of its functions are on it."""
        return self.switch.adapter(name, vfs, uplink_rate)

    def scratch(self) -> Path:
        """A new folder with a short path (AF_UNIX sockets want one), gone with the network."""
        folder = Path(tempfile.mkdtemp(prefix="uvnet-scratch-", dir="/dev/shm"))
        self._journal.add("folder", str(folder))
        self._scratches.append(folder)
        return folder

    # --------------------------------------------------------------------------------- chance

    def random(self, stream: str) -> random.Random:
        """The random stream of that name: the same for the same --seed, test and name."""
        return names.stream(self.settings.seed, self.test_id, stream)

    # --------------------------------------------------------------------------------- figures

    def snapshot(self) -> Snapshot:
        """The fabric's counters now; what two snapshots differ by explains itself in assertions."""
        return self.fabric.snapshot()

    def measured(self, name: str, value: float, unit: str) -> None:
        """Put a figure into the report (``--report``).

        :param name: what it is, in a few words: ``"goodput"``.
        :param unit: of `value`, without a prefix: ``"bit/s"``, ``"s"``.
        """
        self.measures.append(Measure(name, value, unit))

    # ------------------------------------------------------------------------------------ end

    def allow_log(self, pattern: str) -> None:
        """Lines of the daemon's or a stack's log that match are no trouble in this test."""
        self._allowed.append(re.compile(pattern))

    def troubling_lines(self) -> list[str]:
        """Warnings and errors in the logs of the fabric and the hosts that nobody has allowed."""
        logs = {"fabric": self.fabric.log, **{name: host.log for name, host in self.hosts.items()}}
        return [
            f"{name}: {line}"
            for name, text in logs.items()
            for line in text.splitlines()
            if LOG_TROUBLE.search(line) and not any(p.search(line) for p in self._allowed)
        ]

    def close(self, failed: bool = False, reason: str = "", keep_folder: bool = False) -> list[str]:
        """End the network: stop what runs, check what it leaves, take the fabric down.

        :param failed: the scenario has failed: artifacts are collected, from the living network.
        :param reason: the failure's text, for the artifacts.
        :param keep_folder: keep captures, logs and outputs although nothing failed.
        :returns: what is wrong with the end itself, a sentence each.
        """
        if self.closed:
            return []
        self.closed = True
        if failed:
            artifacts.collect_live(self)
        problems = self._stop()
        if failed or problems:
            artifacts.collect_dead(self, reason or "\n".join(problems))
        self._dismantle(keep_folder or failed or bool(problems) or self.settings.keep)
        return problems

    def abort(self) -> None:
        """End the network at once, without questions: nothing of it is left, nor kept."""
        self.closed = True
        for process in reversed(self.processes.all):
            process.kill()
        self._unplug()
        self._close_wires()
        self.fabric.down()
        self._dismantle(keep_folder=False)

    def _stop(self) -> list[str]:
        """Stop everything but the fabric; what is wrong."""
        problems: list[str] = []
        steps = [
            self.clock.end, self._close_shared_hosts, self._stop_apps, self._close_kernel_hosts, self._unplug,
            self._close_wires,
        ]  # fmt: skip
        if self.fabric.is_up:
            steps += [self._check_ledger, self.fabric.stop_capture]
        for step in steps:
            try:
                step()
            except Exception as error:  # pylint: disable=broad-except
                problems.append(str(error))
        problems += filter(None, (process.unexpected_end for process in self.processes.all))
        problems += self.processes.complaints
        problems += [f"lwIP asserted on host {name}" for name, host in self.hosts.items() if host.asserted()]
        lines = self.troubling_lines()
        if lines:
            problems.append("unexpected lines in the logs:\n  " + "\n  ".join(lines[:20]))
        return problems

    def _close_shared_hosts(self) -> None:
        for host in self.shared_hosts:
            host.close()

    def _stop_apps(self) -> None:
        for process in reversed(self.processes.all):
            if process.name != "capture":
                process.stop()

    def _close_kernel_hosts(self) -> None:
        for host in self.kernel_hosts.values():
            host.close()

    def _unplug(self) -> None:
        for card in self.cards:
            card.unplug()

    def _close_wires(self) -> None:
        for wire in list(self._wire_set.wires if self._wire_set else ()):
            wire.close()

    def _check_ledger(self) -> None:
        self.fabric.cont_daemon()
        if not self.fabric.daemon_alive:
            self.fabric.restart_daemon()
        self.fabric.assert_clean()

    def _dismantle(self, keep_folder: bool) -> None:
        self.processes.stop_all()
        if self.settings.keep and self.fabric.is_up:
            self._journal.remove("fabric", self.name)
            self.fabric.close_view()
        else:
            self.fabric.down()
        for folder in self._scratches:
            shutil.rmtree(folder, ignore_errors=True)
            self._journal.remove("folder", str(folder))
        if keep_folder:
            artifacts.publish(self)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
            shutil.rmtree(self.artifacts_folder, ignore_errors=True)  # of an earlier failure
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()  # if it is empty
        self._journal.remove("folder", str(self.folder))

    @property
    def artifacts_folder(self) -> Path:
        """Where the artifacts of this test go if it fails."""
        again = f"-try{self.settings.attempt}" if self.settings.attempt > 1 else ""
        return self.settings.artifacts / (names.folder_name(self.test_id) + again)

    def __enter__(self) -> Net:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        problems = self.close(failed=error is not None, reason=repr(error) if error else "")
        if problems and error is None:
            raise AssertionError("\n".join(problems))
