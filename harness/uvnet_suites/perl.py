# SPDX-License-Identifier: BSD-3-Clause
"""Perl's own tests of sockets."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from uvnet_suites.base import Suite, lay_out, sources
from uvnet_suites.tap import TapFile

SOCKETS = ("io_sock.t", "io_sel.t", "io_poll.t", "io_udp.t", "io_multihomed.t", "io_sock_errstr.t", "cachepropagate-tcp.t",
           "cachepropagate-udp.t")  # fmt: skip
"""Of dist/IO, whose other files are about files."""


class Perl(TapFile):
    """A file of cpan/Socket, cpan/IO-Socket-IP, dist/IO or t/io, with the distribution's perl."""

    suite = "perl"

    def prepare(self, folder: Path, address: str) -> None:
        lay_out(sources("perl"), folder, ["cpan/Socket/t", "cpan/IO-Socket-IP/t", "dist/IO/t", "t"])
        lay_out(sources("perl") / "t", folder / "dist" / "IO" / "t", ["test.pl"])

    def command(self, folder: Path, tests: Iterable[str]) -> list[str]:
        place, test = self.name.split("/t/") if "/t/" in self.name else (".", self.name)
        return ["/usr/bin/env", "-C", str(folder / place), "/usr/bin/perl", f"t/{test}" if place != "." else test]

    @staticmethod
    def all() -> list[Suite]:
        """What uses sockets."""
        source = sources("perl")
        names = [f"dist/IO/t/{name}" for name in SOCKETS]
        for place in ("cpan/Socket/t", "cpan/IO-Socket-IP/t"):
            names += [f"{place}/{file.name}" for file in sorted((source / place).glob("*.t"))]
        return [Perl(name, 60) for name in [*names, "t/io/socket.t"]]
