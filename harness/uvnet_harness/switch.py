# SPDX-License-Identifier: BSD-3-Clause
"""The managed switch and its SR-IOV adapters, as a scenario asks things of them.

Everything is asked of a port by its name, before or while it is attached, and kept for that name::

    net.vlan("web", access=10)
    nic = net.adapter("nic0", vfs=2, uplink_rate="1gbit")
    nic.vf(0).set(mac="02:00:00:00:00:11", spoofchk=True)
    client = net.wire(nic.vf(0).name)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from uvnet_harness.fabric import Fabric


class Named(Protocol):
    """A host, a wire: anything that has the name of a port."""

    @property
    def name(self) -> str: ...


Port = Named | str


def port_name(port: Port) -> str:
    """The name of the port."""
    return port if isinstance(port, str) else port.name


class Switch:
    """What can be asked of the switch; `net.switch`."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric

    def _ask(self, verb: str, *words: str) -> None:
        self._fabric.tool(*verb.split(), self._fabric.name, *words)

    def vlan(
        self, port: Port, *, access: int | None = None, trunk: str | None = None, native: int | None = None
    ) -> None:
        """Put a port into VLANs; with neither `access` nor `trunk`, into none: the default.

        :param access: its one VLAN, untagged.
        :param trunk: its VLANs, tagged: ``"10,20-30"``.
        :param native: the trunk's VLAN of untagged frames.
        """
        words = ["none"]
        if access is not None:
            words = ["access", str(access)]
        if trunk is not None:
            words = ["trunk", trunk, *(["--native", str(native)] if native is not None else [])]
        self._ask("vlan", port_name(port), *words)

    def port_set(
        self,
        port: Port,
        *,
        weight: int | None = None,
        isolation: int | None = None,
        storm_broadcast: int | None = None,
        storm_multicast: int | None = None,
        storm_unknown: int | None = None,
    ) -> None:
        """Set what is given; 0 is none.

        :param weight: share of a receive queue, 1 to 64.
        :param isolation: group of ports that do not see each other.
        :param storm_broadcast: frames per second.
        """
        given = {
            "weight": weight,
            "isolation": isolation,
            "storm-broadcast": storm_broadcast,
            "storm-multicast": storm_multicast,
            "storm-unknown": storm_unknown,
        }
        options = [f"--{key}={value}" for key, value in given.items() if value is not None]
        self._ask("port set", port_name(port), *options)

    def mirror(self, port: Port, to: Port | None, *, rx: bool = True, tx: bool = True) -> None:
        """Have another port get a copy of what a port sends (tx) and of what is delivered to it (rx).

        :param to: who gets it, if it is promiscuous; None: nobody any more.
        """
        ways = [*(["--rx"] if rx else []), *(["--tx"] if tx else [])]
        if to is None:
            self._ask("mirror", "del", port_name(port), *ways)
        else:
            self._ask("mirror", "add", port_name(port), port_name(to), *ways)

    # ----------------------------------------------------------------------------- address table

    def fdb_add(self, mac: str, port: Port, *, vlan: int | None = None) -> None:
        """A static entry.

        :param vlan: default: the VLAN of the port's untagged frames.
        """
        self._ask("fdb", "add", mac, port_name(port), *_vlan_words(vlan))

    def fdb_del(self, mac: str, *, vlan: int | None = None) -> None:
        """Forget an address of a VLAN; default: of none."""
        self._ask("fdb", "del", mac, *_vlan_words(vlan))

    def fdb_flush(self, *, port: Port | None = None, vlan: int | None = None, static: bool = False) -> None:
        """Forget addresses: of a port, of a VLAN, all.

        :param static: static ones, too.
        """
        words = [*(["--port", port_name(port)] if port is not None else []), *_vlan_words(vlan)]
        self._ask("fdb", "flush", *words, *(["--static"] if static else []))

    def fdb(self, mac: str) -> list[Mapping[str, Any]]:
        """What the table has for an address, one entry for each VLAN (``vlan``, ``port``, ``static``)."""
        found: list[Mapping[str, Any]] = [e for e in self._fabric.snapshot().data["fdb"] if e["mac"] == mac]
        return found

    def settings(self, port: Port) -> Mapping[str, Any] | None:
        """What is asked of a port, as in ``uvbridge show --json``; None: nothing."""
        for entry in self._fabric.snapshot().data["settings"]:
            if entry["name"] == port_name(port):
                found: Mapping[str, Any] = entry
                return found
        return None

    # ---------------------------------------------------------------------------------- adapters

    def adapter(self, name: str, vfs: int, uplink_rate: str | None = None) -> Adapter:
        """Make an SR-IOV adapter.

        :param uplink_rate: that its functions share, each way: ``"10gbit"``.
        """
        rate = ["--uplink-rate", uplink_rate] if uplink_rate is not None else []
        self._ask("adapter", "add", name, "--vfs", str(vfs), *rate)
        return Adapter(self._fabric, name, vfs)


class Adapter:
    """A PF and its VFs. Who attaches by a function's name is that function."""

    def __init__(self, fabric: Fabric, name: str, vfs: int) -> None:
        self._fabric, self.name = fabric, name
        self.vfs = [Vf(fabric, name, number) for number in range(vfs)]
        self.pf = f"{name}.pf"

    def vf(self, number: int) -> Vf:
        """A VF."""
        return self.vfs[number]

    def link(self, up: bool) -> None:
        """Put the uplink up or down."""
        self._fabric.tool("adapter", self._fabric.name, "set", self.name, "--link", "up" if up else "down")

    def rate(self, uplink_rate: str) -> None:
        """Set the uplink's rate."""
        self._fabric.tool("adapter", self._fabric.name, "set", self.name, "--uplink-rate", uplink_rate)

    def remove(self) -> None:
        """Remove it; none of its functions is attached."""
        self._fabric.tool("adapter", self._fabric.name, "del", self.name)


class Vf:
    """A VF of an adapter."""

    def __init__(self, fabric: Fabric, adapter: str, number: int) -> None:
        self._fabric, self.adapter, self.number = fabric, adapter, number
        self.name = f"{adapter}.vf{number}"

    def set(
        self,
        *,
        mac: str | None = None,
        vlan: int | None = None,
        qos: int | None = None,
        spoofchk: bool | None = None,
        trust: bool | None = None,
        state: Literal["auto", "enable", "disable"] | None = None,
        max_tx_rate: str | int | None = None,
        min_tx_rate: str | int | None = None,
    ) -> None:
        """As ``ip link set dev PF vf N``: set what is given.

        :param vlan: 0: none.
        :param qos: priority of its frames; together with `vlan`.
        :param max_tx_rate: Mbit/s, or ``"10gbit"``; 0: no limit.
        """
        given: dict[str, object] = {"mac": mac, "vlan": vlan, "qos": qos}
        given |= {key: "on" if on else "off" for key, on in (("spoofchk", spoofchk), ("trust", trust)) if on is not None}
        given |= {"state": state, "max_tx_rate": max_tx_rate, "min_tx_rate": min_tx_rate}
        words = [str(word) for key, value in given.items() if value is not None for word in (key, value)]
        self._fabric.tool("vf", self._fabric.name, self.adapter, str(self.number), *words)

    def __str__(self) -> str:
        return f"VF {self.name}"


def _vlan_words(vlan: int | None) -> list[str]:
    return ["--vlan", str(vlan)] if vlan is not None else []
