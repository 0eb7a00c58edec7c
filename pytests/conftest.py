# SPDX-License-Identifier: BSD-3-Clause
"""Loads the harness's plugin from this repository; what several groups of scenarios share."""

import itertools
import json
import socket
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))

from uvnet_harness import Net, until
from uvnet_harness.peer import Peer
from uvnet_harness.plugin import need_build, shape_of

pytest_plugins = ["uvnet_harness.plugin"]

PORTS = itertools.count(20000)
"""Source ports of hand-made connections."""

APPS = Path(__file__).resolve().parent / "apps"


@pytest.fixture
def program():
    """Command words that run a program of pytests/apps: ``host.start(*program("transfer"), …)``."""

    def words(name, interpreter="/usr/bin/python3"):
        return [interpreter, APPS / (name if "." in name else f"{name}.py")]

    return words


@pytest.fixture
def redis_server():
    """Start redis-server on a host and wait until it listens: ``redis_server(host)``."""

    def start(host, *words):
        app = host.start(
            "redis-server", "--bind", host.ip, "--protected-mode", "no", "--save", "", "--appendonly", "no", *words
        )
        return app.wait_port(6379)

    return start


@pytest.fixture
def full(request):
    """True if durations are to be those of the requirements (``--full``), not those of the gate."""
    return request.config.option.full


class Puppet:
    """A program on a host that does what it is told: pytests/apps/puppet.py.

    ``puppet("s = tcp()")``, ``puppet("state(s)")``: the answer is the value, or {"error": NAME}.
    """

    def __init__(self, net, host, **config):
        self.net, self.host = net, host
        path = net.scratch() / "puppet"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            listener.settimeout(15)
            self.app = host.start("/usr/bin/python3", APPS / "puppet.py", path, **config)
            self._socket, _ = listener.accept()
        self._socket.settimeout(15)
        self._stream = self._socket.makefile("rw")

    def __call__(self, text):
        self._stream.write(json.dumps(text) + "\n")
        self._stream.flush()
        return json.loads(self._stream.readline())

    def until(self, text, value=True, seconds=5):
        """Wait until an expression has that value."""
        seen = []

        def has():
            seen[:] = [self(text)]
            return seen[0] == value

        until(has, seconds, lambda: f"{text} to be {value!r}: {seen}")

    def close(self):
        """Let go of it."""
        self._stream.close()
        self._socket.close()


def starter(net):
    """A function that starts a puppet on a host, until the fixture ends."""
    made = []

    def start(host, **config):
        made.append(Puppet(net, host, **config))
        return made[-1]

    yield start
    for puppet in made:
        puppet.close()


@pytest.fixture
def puppet_on(net):
    """A function that starts a puppet on a host."""
    yield from starter(net)


@pytest.fixture(scope="module")
def module_net(request, uvnet_run):
    """A network for all tests of a module, which leave it as they found it; checked at the end of the module."""
    failed = request.session.testsfailed
    settings = uvnet_run.settings(request.node, request.config.option.model)
    network = Net(settings, request.node.nodeid, uvnet_run.journal, shape_of(request.node))
    need_build(network)
    yield network.up()
    problems = network.close(failed=request.session.testsfailed > failed)
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="module")
def module_puppet_on(module_net):
    """The same, for all tests of a module."""
    yield from starter(module_net)


@pytest.fixture(scope="module")
def module_puppet(module_net):
    """A puppet on a host "server", for all tests of a module."""
    puppet = Puppet(module_net, module_net.host("server"))
    puppet("tcp(['%s', 1]).close()" % puppet.host.ip)  # brings the stack up
    yield puppet
    puppet.close()


@pytest.fixture(scope="module")
def module_wire(module_net, module_puppet):
    """A wire for all tests of a module, known to the host."""
    wire = module_net.wire("wire")
    wire.arp(module_puppet.host.ip)
    return wire


@pytest.fixture
def puppet(module_puppet):
    """The module's puppet, with nothing open."""
    yield module_puppet
    module_puppet("reset")


@pytest.fixture
def wire(module_wire):
    """The module's wire, with nothing waiting."""
    module_wire.drain()
    module_wire.seen.clear()
    yield module_wire
    module_wire.paused = False


@pytest.fixture
def peer(puppet, wire):
    """A hand-made end of a connection with port 7 of the puppet, with a port that nobody has used."""
    return Peer(wire, puppet.host.mac, puppet.host.ip, sport=next(PORTS), dport=7)


@pytest.fixture
def listener(puppet):
    """The puppet listens on port 7: its socket `l`."""
    puppet(f"l = tcp(['{puppet.host.ip}', 7]); l.listen(8)")
    return puppet
