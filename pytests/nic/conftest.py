# SPDX-License-Identifier: BSD-3-Clause
"""Stock dpdk-testpmd on uveth ports, driven through its prompt."""

import itertools
import os
import re
import shutil
import stat
from pathlib import Path

import pytest

from uvnet_harness import until

MEMORY = {
    "no-huge": ["--no-huge", "-m", "160", "--no-shconf"],
    "in-memory": ["--in-memory", "-m", "160"],
}
"""How EAL gets its memory."""


def huge_pages_free():
    """Huge pages that nobody has taken."""
    with open("/proc/meminfo", encoding="ascii") as meminfo:
        return int(re.search(r"HugePages_Free:\s+(\d+)", meminfo.read())[1])


def driver(pmd):
    """How a stock DPDK application loads the driver: words before the command, and EAL's options.

    EAL's -d refuses what lies below a world-writable directory, even a sticky one such as /tmp; in a
    checkout there the driver is preloaded.
    """
    path = Path(pmd).resolve()
    if any(place.stat().st_mode & stat.S_IWOTH for place in (path, *path.parents)):
        return ["env", f"LD_PRELOAD={path}"], []
    return [], ["-d", str(path)]


class Testpmd:
    """A dpdk-testpmd at its prompt.

    :param ports: device arguments of each port, without the fabric.
    :param options: of testpmd itself, after the ``--``.
    """

    __test__ = False
    _serial = itertools.count()

    def __init__(self, net, name, ports, options, memory):
        self._marks = itertools.count()
        cores = ",".join(str(core) for core in sorted(os.sched_getaffinity(0)))
        eal = [f"--lcores=0@({cores}),1@({cores})", "--no-pci", "--no-telemetry", *MEMORY[memory]]
        loader, options_of_eal = driver(net.build.pmd)
        eal += options_of_eal
        for number, arguments in enumerate(ports):
            eal += ["--vdev", f"net_uveth{number},fabric={net.name},{arguments}"]
        fifo = net.folder / f"{name}.{next(self._serial)}.in"
        os.mkfifo(fifo)
        self._input = os.open(fifo, os.O_RDWR)  # also a reader: it never sees the end
        try:
            self.process = net.start(
                name, "sh", "-c", 'exec "$@" <"$0"', fifo, *loader, "stdbuf", "-oL", "dpdk-testpmd", *eal, "--", "-i",
                "--total-num-mbufs=16384", *options,
            )  # fmt: skip
        except BaseException:
            os.close(self._input)
            raise

    def ready(self):
        """Wait for the prompt."""
        self.process.wait_output(r"^testpmd> ", 30)
        return self

    def type(self, text):
        """Type a line, and wait for nothing."""
        os.write(self._input, text.encode() + b"\n")

    def command(self, text, timeout=20):
        """Type a command.

        :returns: what it printed.
        """
        mark = f"mark{next(self._marks)}"
        start = len(self.process.stdout)
        self.type(text)
        self.type(mark)  # not a command; its echo says that the one before is done
        pattern = re.compile(rf"{re.escape(text)}\r?\n(.*?)^testpmd> {mark}\r?$", re.M | re.S)

        def answered():
            if not self.process.running:
                pytest.fail(f"{self.process} ended at '{text}'\n{self.process.output()}")
            return pattern.search(self.process.stdout, start)

        found = until(answered, timeout, lambda: f"an answer to '{text}'\n{self.process.output()}")
        assert "Bad arguments" not in found[1], f"{text}: {found[1]}"
        return found[1]

    def stats(self, port=0):
        """Basic statistics: RX-packets, RX-missed, RX-errors, RX-nombuf, TX-packets…"""
        text = self.command(f"show port stats {port}")
        return {key: int(value) for key, value in re.findall(r"([RT]X-\w+):\s+(\d+)", text)}

    def xstats(self, port=0):
        """Extended statistics by name."""
        text = self.command(f"show port xstats {port}")
        return {key: int(value) for key, value in re.findall(r"^(\w+): (\d+)\r?$", text, re.M)}

    def quit(self):
        """Leave as a user does.

        :returns: exit status.
        """
        self.type("quit")
        return self.process.wait(20)

    def close(self):
        """Let it end in order if it still can, and give back what the test process holds."""
        if self.process.running:
            self.type("quit")
            until(lambda: not self.process.running, 5, f"{self.process} to quit")
        os.close(self._input)


@pytest.fixture
def start_testpmd(net):
    """A function that starts testpmd without waiting for its prompt."""
    started = []

    def start(name="testpmd", *ports, options=(), memory="no-huge"):
        if shutil.which("dpdk-testpmd") is None:
            pytest.skip("dpdk-testpmd is not installed: run ci/setup")
        if problem := net.build.missing(net.build.pmd):
            pytest.skip(problem)
        if memory != "no-huge" and huge_pages_free() < 96:
            pytest.skip("fewer than 96 huge pages are free: as root, sysctl vm.nr_hugepages=256")
        started.append(Testpmd(net, name, ports or [f"name={name}"], options, memory))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def testpmd(start_testpmd):
    """A function that starts testpmd and waits for its prompt."""
    return lambda *args, **options: start_testpmd(*args, **options).ready()
