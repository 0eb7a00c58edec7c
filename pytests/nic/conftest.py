# SPDX-License-Identifier: BSD-3-Clause
"""Stock dpdk-testpmd on uveth ports, driven through its prompt."""

import os
import shutil

import pytest

from uvnet_harness.eal import EalGroup, huge_pages_free, unavailable
from uvnet_harness.testpmd import Testpmd, Typed, driver

MEMORY = {
    "no-huge": ["--no-huge", "-m", "160", "--no-shconf"],
    "in-memory": ["--in-memory", "-m", "160"],
}
"""How EAL gets its memory."""


class UvethTestpmd(Testpmd):
    """A testpmd with uveth ports.

    :param ports: device arguments of each port, without the fabric.
    :param options: of testpmd itself, after the ``--``.
    :param memory: of MEMORY, or the `EalGroup` it is a process of.
    :param primary: the first of its group.
    """

    def __init__(self, net, name, ports, options, memory, primary=True):
        prefix, eal = driver(net.build.pmd)
        env = {}
        if isinstance(memory, EalGroup):
            eal += memory.options(primary)
            prefix = [*memory.words, *prefix]
            env = memory.env
        else:
            cores = ",".join(str(core) for core in sorted(os.sched_getaffinity(0)))
            eal += [f"--lcores=0@({cores}),1@({cores})", "--no-pci", "--no-telemetry", *MEMORY[memory]]
        for number, arguments in enumerate(ports):
            eal += ["--vdev", f"net_uveth{number},fabric={net.name},{arguments}"]
        super().__init__(net.start, net.folder, name, eal, ["--total-num-mbufs=16384", *options], env, prefix)


class Member(Typed):
    """A process of a port that does what it is told, one command a line: uveth/test/member.c.

    :param port: device arguments without the fabric, for the primary; None: a secondary.
    :param queues: it sets the port up with so many, and starts it.
    """

    def __init__(self, net, group, name, port=None, queues=None):
        loader, eal = driver(net.build.pmd)
        eal += group.options(primary=port is not None, lcores=1)
        if port is not None:
            eal += ["--vdev", f"net_uveth0,fabric={net.name},{port}", "--no-telemetry"]
        program = net.build.directory / "uveth" / "uveth_member"
        words = [*group.words, *loader, program, *eal, "--", *([str(queues)] if queues else [])]
        super().__init__(net.start, net.folder, name, words, group.env)
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
        return self.answer(text, r"^((?:ok|error)\b[^\n]*)\n", 10)[1]


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
        started.append(UvethTestpmd(net, name, ports, options, memory, primary))
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
