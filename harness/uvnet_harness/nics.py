# SPDX-License-Identifier: BSD-3-Clause
"""Network cards of hosts, and the cables that lead from them into the fabric.

With ``--nic=uveth`` a host's card is a port of the fabric. With any other the fabric is the far end of
its cable: a port of the fabric, of the host's name, hands on what the host sends and gives it what is
for it. Wires, captures, faults and the other hosts are what they always are.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uvnet_harness.netns import ip
from uvnet_harness.rss import HashType, Rss

if TYPE_CHECKING:
    from uvnet_harness.host import Host
    from uvnet_harness.net import Net

KINDS = ("uveth", "ring", "tap", "af_packet", "pci")
EMULATED = 4.0
"""Patience with a processor that is emulated."""

PCI_DEVICES = Path("/sys/bus/pci/devices")
CARD_IF = "card0"
"""Interface that a host's driver has, in the host's namespace."""
CABLE_IF = "cable0"
"""The other end of its veth pair."""
PORT_IF = "uvnet0"
"""Interface of the fabric's port at a bridge."""


class BadSpec(ValueError):
    """``--nic`` or ``--peer`` makes no sense; the text says why."""


@dataclass(frozen=True)
class Peer:
    """What is at the other end of a real card's cable: ``--peer=KIND:WHAT[,KEY=VALUE…]``."""

    kind: str
    what: str
    options: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> Peer:
        """From what the option says.

        :raises BadSpec: it makes no sense.
        """
        kind, _, rest = text.partition(":")
        what, *more = rest.split(",")
        known = {"socket": {"peer"}, "af_packet": {"netns"}, "bridge": {"netns"}, "pci": set[str]()}
        options = dict(word.split("=", 1) for word in more if "=" in word)
        if kind not in known or not what or len(options) != len(more) or set(options) - known[kind]:
            raise BadSpec(
                f"--peer={text}: is none of socket:PATH[,peer=PATH], bridge:NAME[,netns=NAME], "
                "af_packet:INTERFACE[,netns=NAME], pci:ADDRESS"
            )
        return cls(kind, what, options)

    def port(self) -> list[str]:
        """The words of ``uvbridge port`` that join it to a fabric, without fabric and name."""
        if self.kind == "socket":
            return ["socket", "--path", self.what, *self._option("peer", "--peer")]
        if self.kind == "bridge":
            return ["tap", "--ifname", PORT_IF, *self._option("netns", "--netns")]
        device = self.what if self.kind == "pci" else f"net_af_packet0,iface={self.what}"
        return ["ethdev", "--dev", device, *self._option("netns", "--netns")]

    def join(self) -> None:
        """What is left to do when that port is up: a bridge of the kernel takes its interface."""
        if self.kind == "bridge":
            ip(*self._option("netns", "-n"), "link", "set", PORT_IF, "master", self.what)

    def _option(self, key: str, option: str) -> Iterator[str]:
        if key in self.options:
            yield from (option, self.options[key])


@dataclass(frozen=True)
class Spec:
    """What ``--nic``, ``--peer`` and ``--guest`` say."""

    kind: str = "uveth"
    device: str = ""
    """pci: address of the function."""
    peer: Peer | None = None
    guest: Path | None = None
    """Folder of the virtual machine that has the card (``uvnet_vm``); None: this machine has."""

    @classmethod
    def parse(cls, nic: str, peer: str | None = None, guest: str | None = None) -> Spec:
        """From what the options say.

        :raises BadSpec: it makes no sense.
        """
        kind, _, rest = nic.partition(":")
        if kind not in KINDS or (kind != "pci" and rest):
            raise BadSpec(f"--nic={nic}: is none of uveth, ring, tap, af_packet, pci:ADDRESS[,vf=N]")
        if kind != "pci" and (peer or guest):
            raise BadSpec(f"--nic={nic}: --peer and --guest are for pci:…")
        if kind == "pci" and not peer:
            raise BadSpec(f"--nic={nic}: say with --peer what is at the other end of its cable")
        return cls(
            kind, _function(nic, rest) if kind == "pci" else "", Peer.parse(peer) if peer else None,
            Path(guest) if guest else None,
        )  # fmt: skip

    def __str__(self) -> str:
        return f"{self.kind}:{self.device}" if self.device else self.kind

    @property
    def is_real(self) -> bool:
        """There is one card: the first host of a network has it, the others are on uveth."""
        return self.kind == "pci"

    def prefix(self) -> list[str]:
        """The words before a command that is to run where the card is."""
        if self.guest is None:
            return []
        from uvnet_vm.machine import command_prefix

        return command_prefix(self.guest)


def _function(nic: str, text: str) -> str:
    """The PCI address that ADDRESS[,vf=N] means."""
    found = re.fullmatch(r"((?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])(?:,vf=(\d+))?", text, re.I)
    if found is None:
        raise BadSpec(f"--nic={nic}: the address of a PCI function is wanted, such as pci:0000:3b:00.0 or …,vf=0")
    address = found[1] if found[1].count(":") == 2 else f"0000:{found[1]}"
    if found[2] is None:
        return address
    function = PCI_DEVICES / address / f"virtfn{found[2]}"
    if not function.exists():
        raise BadSpec(
            f"--nic={nic}: {address} has no VF {found[2]}: echo {int(found[2]) + 1} > {PCI_DEVICES}/{address}/sriov_numvfs"
        )
    return function.resolve().name


class Facts:
    """What ``uvstack nic check`` says of a port. The harness asks it once in a run for each kind."""

    def __init__(self, text: str) -> None:
        self.data: dict[str, Any] = json.loads(text)

    def __getitem__(self, key: str) -> Any:
        """A fact of the port; None, if nothing is known."""
        fact = self.data["facts"].get(key)
        return fact["value"] if fact else None

    def lacks(self, queues: int = 1, rss: str | None = None) -> str | None:
        """What the port does not have, or None.

        :param queues: receive queues.
        :param rss: a kind of packets that it spreads by a key and a table that are known: ``ipv4-tcp``.
        """
        if self["rx_queues"] < queues:
            return f"{self['driver']} has {self['rx_queues']} receive queues here, not {queues}"
        if rss and not (rss in self["rss_types"] and self["rss_table"] and self["rss_key"]):
            return f"{self['driver']} has no RSS of {rss} that can be predicted"
        return None


class Card:
    """The network card of a host, here: a port of the fabric, ``net_uveth``."""

    patience = 1.0
    """What starts takes so many times as long."""

    reassembles = False
    """Fragments are put together on the way."""

    def __init__(self, net: Net, host: Host) -> None:
        self.net, self.host = net, host

    def config(self) -> dict[str, str | int]:
        """Keys of uvrun's configuration."""
        return {"nic": f"uveth:fabric={self.net.name},name={self.host.name}", "mac": self.host.mac}

    def prefix(self) -> list[str]:
        """The words before each command of the host."""
        return []

    def plug_in(self) -> None:
        """Lay the cable."""

    def unplug(self) -> None:
        """Take away what `plug_in` made outside of the fabric."""

    def facts(self) -> Facts:
        """What the card can do.

        :raises AssertionError: it cannot be used; with the reason.
        """
        known = self.net.settings.facts
        kind = f"{type(self).__name__} {self.host.queues}"
        if kind not in known:
            known[kind] = self._check()
        return known[kind]

    def _check(self) -> Facts:
        line = [*self.prefix(), str(self.net.build.uvstack), "nic", "check", "--json", *self.checked()]
        done = self.net.processes.run("nic-check", line, self.net.folder, timeout=60)
        assert done.ok, str(done)
        return Facts(done.stdout)

    def checked(self) -> list[str]:
        """The words that name the port to ``uvstack nic check``; here: another like it."""
        return ["--set", f"queues={self.host.queues}", f"uveth:fabric={self.net.name},name=nic-check"]

    def wait_gone(self) -> None:
        """After a kill: wait until it can be started again."""
        self.net.fabric.wait_no_port(self.host.name)

    def rss(self) -> Rss:
        """How its port spreads what it receives."""
        return Rss(self.host.queues)

    def attached(self) -> bool:
        """The host's stack has its port up."""
        port = self.net.fabric.snapshot().port(self.host.name)
        return bool(port and port["started"])


class FarCard(Card):
    """A card whose cable ends at a port of the fabric."""

    def lay_cable(self, words: Sequence[str]) -> None:
        """Start that port: ``uvbridge port`` with these words."""
        kind, *options = words
        line = [str(self.net.build.uvbridge), "port", kind, self.net.name, self.host.name, *options]
        self.net.start(f"{self.host.name}.cable", *line).wait_output(r"^ready$")

    def checked(self) -> list[str]:
        return ["--set", f"queues={self.host.queues}", str(self.config()["nic"])]

    def wait_gone(self) -> None:
        """The kernel takes it from a process that ends, before anybody hears of the end."""

    def rss(self) -> Rss:
        facts = self.facts()
        if facts.lacks(queues=2, rss="ipv4"):
            return Rss(1, types=HashType(0))
        types = HashType(0)
        for word in facts["rss_types"]:
            types |= HashType[word.upper().replace("-", "_")]
        queues = min(self.host.queues, facts["rx_queues"])
        return Rss(queues, bytes.fromhex(facts["rss_key"]), types, facts["rss_table"])

    def attached(self) -> bool:
        """It answers ARP."""
        with self.net.probe() as probe:
            return probe.answers_arp(self.host)


class KernelCard(FarCard):
    """A card that is an interface of the kernel, in a namespace of its own."""

    reassembles = True

    def __init__(self, net: Net, host: Host) -> None:
        super().__init__(net, host)
        self.netns = f"{net.name}.{host.name}"

    def prefix(self) -> list[str]:
        """Into the namespace."""
        return ["ip", "netns", "exec", self.netns]

    def make_interfaces(self) -> str:
        """Make them, in the namespace; the one that is the cable's end."""
        raise NotImplementedError

    def plug_in(self) -> None:
        """Namespace, interfaces, port."""
        self.net.note_netns(self.netns)
        ip("netns", "add", self.netns)
        for setting in ("all", "default"):  # the kernel is to have no word in it
            ip("netns", "exec", self.netns, "sysctl", "-qw", f"net.ipv6.conf.{setting}.disable_ipv6=1")
        end = self.make_interfaces()
        for name in ("lo", CARD_IF, end):
            ip("-n", self.netns, "link", "set", name, "up")
        self.lay_cable(["ethdev", "--dev", f"net_af_packet0,iface={end}", "--netns", self.netns])

    def unplug(self) -> None:
        """The namespace, with all that is in it."""
        subprocess.run(["ip", "netns", "delete", self.netns], capture_output=True, check=False)
        self.net.forget_netns(self.netns)


class TapCard(KernelCard):
    """``net_tap``. The interface is there before the driver, and stays when it goes."""

    def config(self) -> dict[str, str | int]:
        return {"nic": f"tap:{CARD_IF}", "mac": self.host.mac}

    def make_interfaces(self) -> str:
        ip("-n", self.netns, "tuntap", "add", "dev", CARD_IF, "mode", "tap", "multi_queue")
        return CARD_IF


class PacketCard(KernelCard):
    """``net_af_packet`` on one end of a veth pair."""

    def config(self) -> dict[str, str | int]:
        return {"nic": f"af_packet:iface={CARD_IF}"}

    def make_interfaces(self) -> str:
        ip(
            "-n", self.netns, "link", "add", CARD_IF, "address", self.host.mac,
            "type", "veth", "peer", "name", CABLE_IF,
        )  # fmt: skip
        return CABLE_IF


class RealCard(FarCard):
    """A PCI function that vfio-pci has. Its address is its own."""

    def __init__(self, net: Net, host: Host) -> None:
        super().__init__(net, host)
        self.reassembles = self._peer.kind == "af_packet"
        net.allow_log("EAL: Error disabling MSI-X interrupts")  # EAL's, of a device that it has just closed
        self.patience = 1.0 if self.net.settings.nic.guest is None else EMULATED
        host.mac = self.facts()["mac"]

    @property
    def _peer(self) -> Peer:
        peer = self.net.settings.nic.peer
        assert peer is not None
        return peer

    def config(self) -> dict[str, str | int]:
        return {"nic": f"pci:{self.net.settings.nic.device}"}

    def prefix(self) -> list[str]:
        """Into the machine that has it."""
        return self.net.settings.nic.prefix()

    def plug_in(self) -> None:
        self.lay_cable(self._peer.port())
        self._peer.join()


CARDS: Mapping[str, type[Card]] = {"uveth": Card, "tap": TapCard, "af_packet": PacketCard, "pci": RealCard}


def problem(spec: Spec) -> str | None:
    """Why hosts cannot have such cards here, or None."""
    if spec.kind == "ring":
        return "net_ring is a loop without a far end: nobody else can be on its cable"
    if spec.kind in ("tap", "af_packet") and os.geteuid() != 0:
        return f"--nic={spec} needs root: it is an interface in a network namespace"
    return None


def card(net: Net, host: Host) -> Card:
    """The card of one more host, plugged in: of the kind that ``--nic`` asks for; uveth, if there is but
    one such card and another host has it."""
    kind = net.settings.nic.kind
    taken = net.settings.nic.is_real and any(isinstance(other, RealCard) for other in net.cards)
    made = CARDS["uveth" if taken else kind](net, host)
    net.cards.append(made)
    made.plug_in()
    return made
