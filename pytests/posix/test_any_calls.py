# SPDX-License-Identifier: BSD-3-Clause
"""Any sequence of socket calls answers on the stack as on the kernel.

Hypothesis makes the sequences; two processes make the calls, one on the kernel's sockets, one on the stack's
(127.0.0.1 is its own there), and every answer is compared: values, errors, events, bytes. A difference is
shrunk to the shortest sequence that shows it. ``--seed`` repeats a run; ``--full`` tries many more.
"""

import json
import select
import socket
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, Verbosity, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

MOST_SOCKETS = 12
MOST_UNREAD = 12_000
"""Bytes under way in one direction: below what fills any buffer, since sizes of buffers are not compared."""

EVENTS = st.sampled_from([select.EPOLLIN, select.EPOLLOUT, select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP])
MODES = st.sampled_from([0, select.EPOLLET, select.EPOLLONESHOT, select.EPOLLET | select.EPOLLONESHOT])
OPTIONS = ["SO_KEEPALIVE", "SO_REUSEADDR", "SO_OOBINLINE", "TCP_NODELAY", "TCP_CORK", "TCP_KEEPIDLE",
           "TCP_KEEPINTVL", "TCP_KEEPCNT", "IP_TTL", "IP_TOS", "SO_BROADCAST"]  # fmt: skip
READ_ONLY = ["SO_TYPE", "SO_ERROR", "SO_ACCEPTCONN", "SO_PROTOCOL", "SO_DOMAIN"]
ANY = st.integers(0, MOST_SOCKETS - 1)


class Worker:
    """A process that makes the calls it is told."""

    def __init__(self, ends, folder, name, start):
        path = str(folder / name)
        listener = ends.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        listener.listen()
        listener.settimeout(30)
        start(path)
        connection = ends.enter_context(listener.accept()[0])
        connection.settimeout(30)
        self.stream = ends.enter_context(connection.makefile("rw"))

    def ask(self, call):
        """The answer to a call."""
        self.stream.write(json.dumps(call) + "\n")
        self.stream.flush()
        return json.loads(self.stream.readline())


class AnyCalls(RuleBasedStateMachine):
    """Socket calls on two systems, side by side."""

    def __init__(self, kernel, stack):
        super().__init__()
        self.kernel, self.stack = kernel, stack
        self.kinds = []  # of the sockets made: "tcp", "udp", "accepted"; None: closed
        self.bound = set()
        self.started = set()  # connected, or tried, or listening
        self.under_way = 0

    def teardown(self):
        self.call("reset")

    def call(self, *call):
        """Make a call on both; the answer, if they agree."""
        kernel, stack = self.kernel.ask(call), self.stack.ask(call)
        note(f"{call} = {kernel}")
        assert stack == kernel, f"{call}: {stack} on the stack, {kernel} on the kernel"
        return kernel

    def pick(self, number, *kinds):
        """One of the open sockets of these kinds, or None."""
        fit = [i for i, kind in enumerate(self.kinds) if kind and (not kinds or kind in kinds)]
        return fit[number % len(fit)] if fit else None

    def on(self, number, *kinds):
        """True if there is one; for rules that do nothing without."""
        return self.pick(number, *kinds) is not None

    def room(self):
        """True if more sockets may be made."""
        return len(self.kinds) < MOST_SOCKETS

    @precondition(room)
    @rule(kind=st.sampled_from(["tcp", "tcp", "udp"]))
    def make(self, kind):
        self.call("make", kind)
        self.kinds.append(kind)

    @rule(number=ANY)
    def bind(self, number):
        if self.on(number):
            index = self.pick(number)
            if self.call("bind", index) is None:
                self.bound.add(index)

    @rule(number=ANY, backlog=st.integers(1, 8))
    def listen(self, number, backlog):
        index = self.pick(number, "tcp")
        if index in self.bound:
            self.call("listen", index, backlog)
            self.started.add(index)

    @rule(number=ANY, to=ANY)
    def connect(self, number, to):
        index = self.pick(number, "tcp", "udp")
        if index is None:
            return
        others = [i for i in self.bound if self.kinds[i] == self.kinds[index] and i != index]
        if others:
            self.call("connect", index, others[to % len(others)])
            self.started.add(index)

    @precondition(room)
    @rule(number=ANY)
    def accept(self, number):
        if self.on(number, "tcp"):
            answer = self.call("accept", self.pick(number, "tcp"))
            if isinstance(answer, list):
                self.started.add(len(self.kinds))
                self.kinds.append("accepted")

    @precondition(lambda self: len(self.kinds) + 3 <= MOST_SOCKETS)
    @rule()
    def pair(self):
        """A connection, as one step: so that there is something to talk about."""
        listener, client = self.call("make", "tcp"), self.call("make", "tcp")
        self.call("bind", listener)
        self.call("listen", listener, 4)
        self.call("connect", client, listener)
        self.call("accept", listener)
        self.bound.add(listener)
        self.started |= {listener, client, client + 1}
        self.kinds += ["tcp", "tcp", "accepted"]

    @precondition(lambda self: self.under_way < MOST_UNREAD)
    @rule(number=ANY, size=st.integers(0, 3000), flags=st.sampled_from([0, 0, socket.MSG_DONTWAIT]))
    def send(self, number, size, flags):
        if self.on(number):
            self.call("send", self.pick(number), size, flags)
            self.under_way += size

    @precondition(lambda self: self.under_way < MOST_UNREAD)
    @rule(number=ANY, to=ANY, size=st.integers(0, 1400))
    def sendto(self, number, to, size):
        index = self.pick(number, "udp")
        others = [i for i in self.bound if self.kinds[i] == "udp"]
        if index is not None and others:
            self.call("sendto", index, others[to % len(others)], size)
            self.under_way += size

    @rule(
        number=ANY,
        size=st.sampled_from([0, 1, 100, 5000]),
        flags=st.sampled_from([0, 0, socket.MSG_PEEK, socket.MSG_TRUNC, socket.MSG_WAITALL]),
    )
    def recv(self, number, size, flags):
        if self.on(number):
            self.call("recv", self.pick(number), size, flags)

    @rule(number=ANY, how=st.sampled_from([socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR]))
    def shutdown(self, number, how):
        # Of a socket that never had a peer: a difference that docs/posix.md names.
        if self.pick(number) in self.started:
            self.call("shutdown", self.pick(number), how)

    @rule(number=ANY)
    def close(self, number):
        if self.on(number):
            index = self.pick(number)
            self.call("close", index)
            self.kinds[index] = None
            self.bound.discard(index)

    @rule(number=ANY, events=st.sampled_from([0, select.POLLIN, select.POLLOUT, 0x2007]))
    def poll(self, number, events):
        if self.on(number):
            self.call("poll", self.pick(number), events)

    @rule(number=ANY)
    def select(self, number):
        if self.on(number):
            self.call("select", [self.pick(number), self.pick(number + 1)])

    @rule(number=ANY, what=st.sampled_from(["add", "add", "mod", "del"]), events=EVENTS, mode=MODES)
    def epoll_ctl(self, number, what, events, mode):
        if self.on(number):
            self.call("epoll_ctl", self.pick(number), what, events | mode)

    @rule()
    def epoll_wait(self):
        self.call("epoll_wait", MOST_SOCKETS)

    @rule(number=ANY, name=st.sampled_from(OPTIONS), value=st.sampled_from([-1, 0, 1, 5, 300]))
    def setsockopt(self, number, name, value):
        if self.on(number):
            self.call("setsockopt", self.pick(number), name, value)

    @rule(number=ANY, name=st.sampled_from(OPTIONS + READ_ONLY))
    def getsockopt(self, number, name):
        if self.on(number):
            self.call("getsockopt", self.pick(number), name)

    @rule(number=ANY, on=st.integers(0, 1), seconds=st.sampled_from([0, 3]))
    def linger(self, number, on, seconds):
        if self.on(number):
            self.call("linger", self.pick(number), on, seconds)

    @rule(number=ANY)
    def names(self, number):
        if self.on(number):
            self.call("names", self.pick(number))

    @rule(number=ANY)
    def fionread(self, number):
        if self.on(number):
            self.call("fionread", self.pick(number))


@pytest.mark.uvnet(capture=False)
def test_any_calls_answer_as_on_the_kernel(net, program, full):
    host, folder = net.host("stack", loopback="stack"), net.scratch()
    with ExitStack() as ends:
        kernel = Worker(ends, folder, "kernel", lambda path: net.start("kernel", *program("sockops"), path))
        stack = Worker(ends, folder, "stack", lambda path: host.start(*program("sockops"), path))

        def machine():
            return AnyCalls(kernel, stack)

        seed(net.random("calls").getrandbits(32))(machine)
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=500 if full else 12,
                stateful_step_count=60 if full else 30,
                deadline=None,
                database=None,
                verbosity=Verbosity.normal,
                suppress_health_check=list(HealthCheck),
            ),
        )
