# SPDX-License-Identifier: BSD-3-Clause
"""Watches a network while its test runs, for the report: what is attached, how much flows, how deep
the fabric's queues get. Reads the shared memory only; nothing that it watches is asked or slowed."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uvnet_harness import uvb
from uvnet_report.model import Network, Node, Series

if TYPE_CHECKING:
    from uvnet_harness.net import Net

PERIOD = 0.1
"""Seconds between two looks, at first. A look takes about a millisecond."""

SAMPLES_MAX = 120
"""Looks that are kept; when there are more, every other one goes and the period doubles."""

WORTH_DRAWING = 1e6
"""Bytes a second: a port that has never received as much has no curve."""

DEPTH_WORTH_DRAWING = 8
"""Frames that waited: a port for which fewer did has no curve."""

COMMANDS_MAX = 6
"""Commands named for one host."""


class Sample:
    """One look at the fabric.

    :param at: seconds since the network was up.
    :param data: of `uvb.View.snapshot`.
    """

    def __init__(self, at: float, data: dict[str, Any]) -> None:
        self.at = at
        ports = [port for port in data["ports"] if port["kind"] != "capture"]
        names = {port["id"]: port["name"] for port in ports}
        self.received = {port["name"]: int(port["rx_bytes"]) for port in ports}
        self.depth: dict[str, int] = {}
        for voq in data["voqs"]:
            if voq["dst"] in names:
                name = names[voq["dst"]]
                self.depth[name] = self.depth.get(name, 0) + int(voq["depth"])
        self.spread = {
            port["name"]: [int(queue["packets"]) for queue in port["rxqs"]]
            for port in ports
            if len(port["rxqs"]) > 1 and port["rx_packets"]
        }


class Recorder:
    """Looks at a network now and then, from a thread of its own, until `stop`."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.samples: list[Sample] = []
        self._spread: dict[str, list[int]] = {}
        self._period = PERIOD
        self._end = threading.Event()
        self._view = uvb.View(net.build.library(), net.name)
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._watch, name="recorder", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        self._look()
        while not self._end.wait(self._period):
            self._look()

    def _look(self) -> None:
        sample = Sample(time.monotonic() - self._began, self._view.snapshot())
        self.samples.append(sample)
        self._spread |= sample.spread  # a port may be gone at the end
        if len(self.samples) > SAMPLES_MAX:
            del self.samples[1::2]
            self._period *= 2

    def stop(self) -> Network:
        """End the watch.

        :returns: what there was to see.
        """
        self._end.set()
        self._thread.join()
        self._look()
        faults = self._view.snapshot()["faults"]
        self._view.close()
        return Network(
            fabric=self.net.name,
            nodes=nodes(self.net),
            faults=[describe_fault(fault) for fault in faults],
            spread=self._spread,
            series=[*self._throughput(), *self._depths()],
            measures=list(self.net.measures),
        )

    def _throughput(self) -> list[Series]:
        """Bytes a second that each port received, where that was worth a curve."""
        curves = []
        for name in sorted({name for sample in self.samples for name in sample.received}):
            times, rates = [0.0], [0.0]
            for before, after in zip(self.samples, self.samples[1:]):
                passed = after.at - before.at
                grown = after.received.get(name, 0) - before.received.get(name, 0)
                if passed > 0:
                    times.append(round(after.at, 3))
                    rates.append(round(max(grown, 0) / passed))  # less: the port was attached anew
            if max(rates) >= WORTH_DRAWING:
                curves.append(Series(f"received by {name}", "B/s", times, rates))
        return curves

    def _depths(self) -> list[Series]:
        """Frames that waited for each port."""
        times = [round(sample.at, 3) for sample in self.samples]
        curves = []
        for name in sorted({name for sample in self.samples for name in sample.depth}):
            depths = [float(sample.depth.get(name, 0)) for sample in self.samples]
            if max(depths) >= DEPTH_WORTH_DRAWING:
                curves.append(Series(f"waiting for {name}", "frames", times, depths))
        return curves


def nodes(net: Net) -> list[Node]:
    """Everything with a port, and what ran on it."""
    found = []
    for name, host in net.hosts.items():
        kind = "shared" if host in net.shared_hosts else "host"
        found.append(Node(name, kind, host.ip, host.mac, host.queues, _commands(net, name)))
    for name, kernel in net.kernel_hosts.items():
        found.append(Node(name, "kernel", kernel.ip, kernel.mac, kernel.queues, _commands(net, name)))
    for name, application in net.dpdk_hosts.items():
        found += [Node(p.name, "dpdk", None, p.mac, p.queues, _commands(net, name)) for p in application.ports]
    for name, wire in net.wires.items():
        found.append(Node(name, "wire", wire.ip, wire.mac, wire.queues))
    return found


def _commands(net: Net, host: str) -> list[str]:
    """The programs that ran on a host, without what launched them."""
    processes = [p for p in net.processes.all if p.name.startswith(host + ".") and p.name != f"{host}.port"]
    return [Path(_launched(p.args)[0]).name for p in processes][:COMMANDS_MAX]


def _launched(words: tuple[str, ...]) -> tuple[str, ...]:
    """A command line without uvrun or ip netns exec before it."""
    if "--" in words:
        return words[words.index("--") + 1 :] or words
    return words[4:] if words[:3] == ("ip", "netns", "exec") else words


def describe_fault(fault: dict[str, Any]) -> str:
    """A fault in a line: where, what, and how often."""
    terms = {key: value for key, value in fault.items() if value and key not in ("handle", "port", "dir", "matched", "hits")}
    what = " ".join(f"{key}={value}" for key, value in terms.items())
    return f"{fault['port']} {fault['dir']}: {what}; {fault['hits']} of {fault['matched']} frames"
