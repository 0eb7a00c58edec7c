# SPDX-License-Identifier: BSD-3-Clause
"""Faults: what goes wrong on the cable of a port.

``net.link(host)`` is the cable of a host, wire or port name. Its methods return handles::

    lost = net.link(client).fault("tcp[tcpflags] & tcp-syn != 0", drop=1)
    net.link(server).rate("10mbit", queue="100KiB")
    ...
    assert lost.hits == 1
    lost.remove()

Directions are the port's: ``tx`` is from it into the fabric, ``rx`` from the fabric to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from uvnet_harness.fabric import Fabric

Direction = Literal["tx", "rx"]

VERDICTS = ("drop", "duplicate", "delay", "reorder", "corrupt", "truncate", "hold")
"""What a rule can do, as keyword arguments of `Link.fault`."""


class Fault:
    """A fault that is in force, until it is removed or the fabric ends."""

    def __init__(self, fabric: Fabric, handle: int) -> None:
        self._fabric, self.handle = fabric, handle

    @property
    def state(self) -> Mapping[str, Any]:
        """Terms and counters, as ``uvbridge fault list --json`` has them.

        :raises KeyError: it was removed.
        """
        for fault in self._fabric.snapshot().data["faults"]:
            if fault["handle"] == self.handle:
                found: Mapping[str, Any] = fault
                return found
        raise KeyError(f"there is no fault {self.handle}")

    @property
    def matched(self) -> int:
        """Frames that met it."""
        return int(self.state["matched"])

    @property
    def hits(self) -> int:
        """Frames that it did something to; of a model, other than making them late."""
        return int(self.state["hits"])

    @property
    def held(self) -> int:
        """Frames held now."""
        state = self.state
        return int(state["held"]) - int(state["released"])

    def release(self, count: int = 0) -> int:
        """Let go of frames it holds.

        :param count: the ones held longest; 0: all.
        :returns: how many.
        """
        words = ["--count", str(count)] if count else []
        return int(self._fabric.tool("fault", self._fabric.name, "release", str(self.handle), *words).split()[0])

    def remove(self) -> None:
        """Make it go; what it holds is released."""
        self._fabric.tool("fault", self._fabric.name, "remove", str(self.handle))

    def __enter__(self) -> Fault:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class Link:
    """The cable of a port.

    :param seed: what the models' chance comes from, unless told otherwise.
    """

    def __init__(self, fabric: Fabric, port: str, seed: str) -> None:
        self._fabric, self.port, self._seed = fabric, port, seed

    def fault(
        self,
        filter: str = "",  # pylint: disable=redefined-builtin
        *,
        skip: int = 0,
        direction: Direction = "tx",
        **verdict: int | str,
    ) -> Fault:
        """Add a rule.

        :param filter: tcpdump filter; none: every frame.
        :param skip: matching frames that pass first.
        :param verdict: one of `VERDICTS`. The value is how often: ``drop=1``, ``hold=0`` (always).
            ``delay="20ms"``, ``reorder=2`` (frames that overtake) and ``truncate=60`` (bytes) have
            another value, and ``count=N`` says how often.
        """
        count = verdict.pop("count", None)
        if len(verdict) != 1 or next(iter(verdict)) not in VERDICTS:
            raise ValueError(f"one of {', '.join(VERDICTS)} is wanted, not {list(verdict)}")
        (name, value), *_ = verdict.items()
        words = ["add", self.port, direction, "--skip", str(skip)]
        if name == "reorder":
            words.append(f"--reorder={value}")
        elif name in ("delay", "truncate"):
            words += [f"--{name}", str(value)]
        else:
            words.append(f"--{name}")
            count = value
        words += ["--count", str(count or 0)]
        if filter:
            words += ["--filter", filter]
        return self._made("fault", self._fabric.name, *words)

    def model(self, direction: Direction = "tx", **terms: object) -> Fault:
        """Add a model. The terms are the options of ``uvbridge link``: ``rate="10mbit"``,
        ``loss="1%"``, ``reorder=True``, ``gemodel="1%,10%"``, …; ``seed`` if it is not to be the link's.
        """
        terms.setdefault("seed", f"{self._seed}/{direction}")
        words: list[str] = []
        for name, value in terms.items():
            words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        return self._made("link", self._fabric.name, self.port, direction, *words)

    def loss(self, probability: str, direction: Direction = "tx", **terms: object) -> Fault:
        """Lose frames with a probability (``"1%"``)."""
        return self.model(direction, loss=probability, **terms)

    def delay(self, time: str, direction: Direction = "tx", **terms: object) -> Fault:
        """Deliver frames later (``"20ms"``); ``jitter="5ms"``, ``reorder=True``, ``normal=True``."""
        return self.model(direction, delay=time, **terms)

    def rate(self, rate: str, direction: Direction = "tx", **terms: object) -> Fault:
        """Be a line of that rate (``"10mbit"``); ``queue="100KiB"``, ``burst="15KiB"``."""
        return self.model(direction, rate=rate, **terms)

    def _made(self, *words: str) -> Fault:
        return Fault(self._fabric, int(json.loads(self._fabric.tool(*words, "--json"))["handle"]))


def read_log(text: str) -> Sequence[Mapping[str, Any]]:
    """The decisions in what ``uvbridge fault … log`` prints."""
    return [json.loads(line) for line in text.splitlines()]
