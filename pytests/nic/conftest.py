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
from uvnet_harness.eal import EalGroup, huge_pages_free, unavailable

MEMORY = {
    "no-huge": ["--no-huge", "-m", "160", "--no-shconf"],
    "in-memory": ["--in-memory", "-m", "160"],
}
"""How EAL gets its memory."""


def driver(pmd):
    """How a stock DPDK application loads the driver: words before the command, and EAL's options.

    EAL's -d refuses what lies below a world-writable directory, even a sticky one such as /tmp; in a
    checkout there the driver is preloaded.
    """
    path = Path(pmd).resolve()
    if any(place.stat().st_mode & stat.S_IWOTH for place in (path, *path.parents)):
        return ["env", f"LD_PRELOAD={path}"], []
    return [], ["-d", str(path)]


class Typed:
    """A program that takes commands from its standard input."""

    _serial = itertools.count()

    def __init__(self, net, name, words, env=None):
        fifo = net.folder / f"{name}.{next(self._serial)}.in"
        os.mkfifo(fifo)
        self._input = os.open(fifo, os.O_RDWR)  # also a reader: it never sees the end
        try:
            self.process = net.start(name, "sh", "-c", 'exec "$@" <"$0"', fifo, *words, env=env)
        except BaseException:
            os.close(self._input)
            raise

    def type(self, text):
        """Type a line, and wait for nothing."""
        os.write(self._input, text.encode() + b"\n")

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
            until(lambda: not self.process.running, 20, f"{self.process} to quit")
        os.close(self._input)


class Testpmd(Typed):
    """A dpdk-testpmd at its prompt.

    :param ports: device arguments of each port, without the fabric.
    :param options: of testpmd itself, after the ``--``.
    :param memory: of MEMORY, or the `EalGroup` it is a process of.
    :param primary: the first of its group.
    """

    __test__ = False

    def __init__(self, net, name, ports, options, memory, primary=True):
        self._marks = itertools.count()
        loader, eal = driver(net.build.pmd)
        env = {}
        if isinstance(memory, EalGroup):
            eal += memory.options(primary)
            loader = [*memory.words, *loader]
            env = memory.env
        else:
            cores = ",".join(str(core) for core in sorted(os.sched_getaffinity(0)))
            eal += [f"--lcores=0@({cores}),1@({cores})", "--no-pci", "--no-telemetry", *MEMORY[memory]]
        for number, arguments in enumerate(ports):
            eal += ["--vdev", f"net_uveth{number},fabric={net.name},{arguments}"]
        words = [*loader, "stdbuf", "-oL", "dpdk-testpmd", *eal, "--", "-i", "--total-num-mbufs=16384", *options]
        super().__init__(net, name, words, env)

    def ready(self):
        """Wait for the prompt."""
        self.process.wait_output(r"^testpmd> ", 30)
        return self

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


class Member(Typed):
    """A process of a port that does what it is told, one command a line: uveth/test/member.c.

    :param port: device arguments without the fabric, for the primary; None: a secondary.
    :param queues: it sets the port up with so many, and starts it.
    """

    def __init__(self, net, group, name, port=None, queues=None):
        loader, eal = driver(net.build.pmd)
        eal = [*eal, *group.options(primary=port is not None, lcores=1)]
        if port is not None:
            eal += ["--vdev", f"net_uveth0,fabric={net.name},{port}", "--no-telemetry"]
        program = net.build.directory / "uveth" / "uveth_member"
        words = [*group.words, *loader, program, *eal, "--", *([str(queues)] if queues else [])]
        super().__init__(net, name, words, group.env)
        self.pid = self.process.pid

    def ready(self):
        """Wait until it takes commands."""
        self.process.wait_output("^ready$", 20)
        return self

    def tell(self, text):
        """Give a command that is to succeed.

        :returns: what it answered, without the "ok".
        """
        answer = self.ask(text)
        assert answer.startswith("ok"), f"{text}: {answer}"
        return answer.removeprefix("ok").lstrip()

    def ask(self, text):
        """Give a command.

        :returns: what it answered.
        """
        pattern = re.compile(r"^((?:ok|error)\b.*)\n", re.M)
        start = len(self.process.stdout)
        self.type(text)

        def answered():
            if not self.process.running:
                pytest.fail(f"{self.process} ended at '{text}'\n{self.process.output()}")
            return pattern.search(self.process.stdout, start)

        return until(answered, 10, lambda: f"an answer to '{text}'\n{self.process.output()}")[1]


@pytest.fixture
def start_testpmd(net):
    """A function that starts testpmd without waiting for its prompt."""
    started = []

    def start(name="testpmd", *ports, options=(), memory="no-huge", primary=True):
        if shutil.which("dpdk-testpmd") is None:
            pytest.skip("dpdk-testpmd is not installed: run ci/setup")
        if problem := net.build.missing(net.build.pmd):
            pytest.skip(problem)
        if memory == "in-memory" and huge_pages_free() < 96:
            pytest.skip("fewer than 96 huge pages are free: as root, sysctl vm.nr_hugepages=256")
        if primary and not ports:
            ports = [f"name={name}"]
        started.append(Testpmd(net, name, ports, options, memory, primary))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def testpmd(start_testpmd):
    """A function that starts testpmd and waits for its prompt."""
    return lambda *args, **options: start_testpmd(*args, **options).ready()


@pytest.fixture
def eal_group(net):
    """A primary and secondaries that share memory."""
    if problem := unavailable(megabytes=64):
        pytest.skip(problem)
    return EalGroup(net, megabytes=64)


@pytest.fixture
def member(net, eal_group):
    """A function that starts a process of a port; the first one is to be the primary."""
    if problem := net.build.missing(net.build.pmd):
        pytest.skip(problem)
    started = []

    def start(name, port=None, queues=None, ready=True):
        started.append(Member(net, eal_group, name, port, queues))
        return started[-1].ready() if ready else started[-1]

    yield start
    for one in reversed(started):
        one.close()
