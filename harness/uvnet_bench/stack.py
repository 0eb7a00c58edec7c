# SPDX-License-Identifier: BSD-3-Clause
"""Applications on the stack, over the fabric, beside the same binaries on the kernel's, over veth pairs
and a bridge between two network namespaces.

Each measurement starts its server anew, on each contender in turn, in each round. Server and client
share the machine's cores with whatever carries the frames between them, on either side.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import resource
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uvnet_bench.fabric import kernel_link
from uvnet_bench.figures import Series
from uvnet_harness import apps, journal
from uvnet_harness.fabric import Build
from uvnet_harness.host import App, CommandWord, Host
from uvnet_harness.net import Net, NotPossible, Settings, Shape
from uvnet_harness.proc import ProcessFailed, Processes, Result
from uvnet_harness.wait import Timeout

SUBJECT = "uvnet"
KERNEL = "kernel, veth+bridge"
PREFIX = "uvstk-"
"""Names of the kernel's interfaces and namespaces begin so."""

MANY = 100_000
"""Connections; fewer where a process may not have so many descriptors: see `many()`."""
SPARE = 1000
"""Descriptors that are not connections: the program's, the stack's."""
FEW = 100
PORTS = 8
"""Ports of the server with many connections: a client has 28,000 ports of its own for each."""

MEMORY = {"mbufs": 65536, "memory_mb": 320}
"""Of each host: an answer keeps its mbuf until it is acknowledged, and of many connections none soon has
another request with which the acknowledgement could travel."""

Figures = dict[str, float]
"""Of one measurement, by the title of the series."""


# ----------------------------------------------------------------------------- the kernel's hosts


class KernelApp(App):
    """A program in a network namespace."""

    def _wait_listening(self, port: int, timeout: float) -> None:
        words = ["ip", "netns", "exec", self.host.netns, "ss", "-Hltn", f"sport = :{port}"]  # type: ignore[attr-defined]

        def listening() -> bool:
            return bool(subprocess.run(words, capture_output=True, check=True, text=True).stdout.strip())

        self.process.wait_ready(listening, timeout)


class VethHost:
    """One end of a veth pair, in a namespace; as far as measurements use a `Host`."""

    patience = 1.0

    def __init__(self, name: str, ip: str, folder: Path, processes: Processes) -> None:
        self.name, self.ip, self.netns = name, ip, PREFIX + name
        self.folder = folder / f"kernel-{name}"
        self.folder.mkdir()
        self._processes = processes

    def start(self, *words: CommandWord) -> KernelApp:
        """Start a program."""
        line = ["ip", "netns", "exec", self.netns, *(os.fspath(word) for word in words)]
        return KernelApp(self, self._processes.start(f"{self.name}.{Path(line[4]).name}", line, self.folder))  # type: ignore[arg-type]

    def run(self, *words: CommandWord, timeout: float = 30) -> Result:
        """Run a program to its end."""
        return self._processes.finish(self.start(*words).process, timeout)

    def attached(self) -> bool:
        """There is nothing to wait for."""
        return True


def ip(*words: str) -> None:
    """A command of iproute2."""
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@contextlib.contextmanager
def namespace(book: journal.Journal, name: str) -> Iterator[None]:
    """A network namespace."""
    book.add("netns", name)
    try:
        ip("netns", "add", name)
        yield
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        book.remove("netns", name)


@contextlib.contextmanager
def kernel_hosts(book: journal.Journal, folder: Path) -> Iterator[tuple[VethHost, VethHost]]:
    """Server and client."""
    processes = Processes(book, token=f"{PREFIX}{os.getpid()}")
    with contextlib.ExitStack() as made:
        made.enter_context(kernel_link(book, f"{PREFIX}br", "type", "bridge"))
        hosts = []
        for number, name in enumerate(("server", "client"), 1):
            outer = f"{PREFIX}{name[0]}0"
            made.enter_context(namespace(book, PREFIX + name))
            made.enter_context(kernel_link(book, outer, "type", "veth", "peer", "name", "eth0", "netns", PREFIX + name))
            ip("link", "set", outer, "master", f"{PREFIX}br")
            host = VethHost(name, f"10.99.77.{number}", folder, processes)
            ip("-n", host.netns, "address", "add", f"{host.ip}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                ip("-n", host.netns, "link", "set", link, "up")
            hosts.append(host)
        made.callback(processes.stop_all)
        yield hosts[0], hosts[1]


# ------------------------------------------------------------------------------------ contenders


@dataclass(frozen=True)
class Pair:
    """Two hosts on which to measure."""

    contender: str
    server: Host
    client: Host
    build: Path
    seconds: float

    @property
    def whole_seconds(self) -> int:
        """For programs that take no fractions."""
        return max(1, round(self.seconds))

    @property
    def load(self) -> str:
        """The program that sends requests."""
        return str(self.build / "harness" / "bench" / "uvnet_load")


@contextlib.contextmanager
def fabric_hosts(
    build: Path, book: journal.Journal, folder: Path, config: Mapping[str, str | int]
) -> Iterator[tuple[Host, Host]]:
    """Server and client on a fabric of their own."""
    net = Net(Settings(Build(build), folder / "artifacts", config=config), f"bench/{config['model']}", book, Shape(capture=False))
    try:
        net.up()
        yield net.host("server"), net.host("client")
    finally:
        net.close()


# ---------------------------------------------------------------------------------- measurements


@contextlib.contextmanager
def running(app: App) -> Iterator[App]:
    """Until the measurement is over."""
    try:
        yield app
    finally:
        app.stop()


def found(pattern: str, done: Result) -> float:
    """A number in what a program printed."""
    match = re.search(pattern, done.stdout)
    if match is None:
        raise ProcessFailed(f"no {pattern!r} in {done}")
    return float(match[1])


def iperf3(pair: Pair, *words: str) -> dict[str, Any]:
    """The client's report."""
    with running(pair.server.start("iperf3", "-s", "-B", pair.server.ip).wait_port(5201)):
        line = ["iperf3", "-c", pair.server.ip, "-t", str(pair.whole_seconds), "--json", *words]
        end: dict[str, Any] = json.loads(pair.client.run(*line, timeout=pair.seconds + 30).check().stdout)["end"]
    return end


def stream(pair: Pair) -> Figures:
    """One TCP stream."""
    return {"iperf3, one TCP stream": iperf3(pair)["sum_received"]["bits_per_second"] / 1e9}


def datagrams(pair: Pair) -> Figures:
    """As many as the client can send."""
    end = iperf3(pair, "-u", "-l", "64", "-b", "0")["sum"]
    return {"UDP datagrams of 64 B received": (end["packets"] - end["lost_packets"]) / end["seconds"] / 1e3}


def ping_pong(pair: Pair) -> Figures:
    """One message under way at a time; sockperf tells half the round trip."""
    address = ["-i", pair.server.ip, "-p", "5000", "--tcp"]
    with running(pair.server.start("sockperf", "server", *address).wait_port(5000)):
        done = pair.client.run("sockperf", "ping-pong", *address, "-t", str(pair.whole_seconds), "-m", "64", timeout=60).check()
    return {
        "TCP ping-pong, half a round trip, median": found(r"percentile 50.000 = +([\d.]+)", done),
        "TCP ping-pong, half a round trip, p99.9": found(r"percentile 99.900 = +([\d.]+)", done),
    }


def redis(pair: Pair) -> Figures:
    """GET and SET with 50 connections, one request and sixteen at a time."""
    line = ["redis-server", "--bind", pair.server.ip, "--protected-mode", "no", "--save", "", "--appendonly", "no"]
    out: Figures = {}
    with running(pair.server.start(*line).wait_port(6379)):
        for depth, rate in ((1, 40_000), (16, 400_000)):
            words = ["-h", pair.server.ip, "-c", "50", "-P", str(depth), "-n", str(int(rate * pair.seconds)), "-t", "set,get", "--csv"]
            done = pair.client.run("redis-benchmark", *words, timeout=60 * pair.seconds + 30).check()
            for row in csv.DictReader(io.StringIO(done.stdout)):
                out[f"redis {row['test']}, 50 connections, {depth} at a time"] = float(row["rps"]) / 1e3
    return out


def wrk(pair: Pair, header: str) -> float:
    """Thousand requests a second over 50 connections."""
    words = ["-t1", "-c50", f"-d{pair.whole_seconds}s", "-H", header, f"http://{pair.server.ip}/hello"]
    done = pair.client.run("wrk", *words, timeout=pair.seconds + 30).check()
    return found(r"Requests/sec: +([\d.]+)", done) / 1e3


def nginx(pair: Pair) -> Figures:
    """wrk, keeping its connections and with a connection for each request; one process that serves, and two
    workers, for which the stack's process passes on what they inherit."""
    out: Figures = {}
    for name, workers in (("nginx", 0), (NGINX_WORKERS, 2)):
        extra = "location = /hello { return 200 hello; }"
        with running(apps.nginx(pair.server, pair.server.folder, workers=workers, extra=extra)):
            for title, header in (("keep-alive", "Connection: keep-alive"), ("a connection each", "Connection: close")):
                out[f"{name} and wrk, 50 connections, {title}"] = wrk(pair, header)
    return out


def ask(pair: Pair, *words: str) -> dict[str, float]:
    """What uvnet_load prints."""
    figures: dict[str, float] = json.loads(pair.client.run(*words, timeout=pair.seconds + 120).check().stdout)
    return figures


def memcached(pair: Pair) -> Figures:
    """GET of 32 bytes over 50 connections."""
    value = "x" * 32
    stored, got = f"set key 0 0 32\r\n{value}\r\n", f"VALUE key 0 32\r\n{value}\r\nEND\r\n"
    server = pair.server.start("memcached", "-u", "root", "-l", pair.server.ip, "-t", "1")
    with running(server.wait_port(11211)):
        words = [pair.load, "ask", pair.server.ip, "11211", "1", "50", "50", f"{pair.seconds:g}", "get key\r\n", str(len(got))]
        rate = ask(pair, *words, stored, str(len("STORED\r\n")))["per_second"]
    return {"memcached GET, 50 connections": rate / 1e3}


def connections(pair: Pair) -> Figures:
    """Connect, one request, close; 50 at a time."""
    with running(pair.server.start(pair.load, "serve", pair.server.ip, "7000", str(PORTS)).wait_port(7000)):
        words = [pair.load, "connect", pair.server.ip, "7000", str(PORTS), "50", f"{pair.seconds:g}", "x" * 64, "64"]
        return {"connections, each with a request": ask(pair, *words)["per_second"] / 1e3}


def many() -> int:
    """As many connections as the hard limit of open files allows, which only root of the machine can raise."""
    return min(MANY, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - SPARE)


def crowd(pair: Pair) -> Figures:
    """What a request costs when each of many connections has its turn."""
    most = many()
    limit = ["prlimit", f"--nofile={most + SPARE}:{most + SPARE}"]
    rates = {}
    for number in (FEW, most):
        with running(pair.server.start(*limit, pair.load, "serve", pair.server.ip, "7000", str(PORTS)).wait_port(7000)):
            words = [*limit, pair.load, "ask", pair.server.ip, "7000", str(PORTS), str(number), "50", f"{pair.seconds:g}", "x" * 64, "64"]
            rates[number] = ask(pair, *words)["per_second"]
    return {
        f"requests over {FEW} connections": rates[FEW] / 1e3,
        f"requests over {most} connections": rates[most] / 1e3,
        f"cost of a request at {most} connections, by that at {FEW}": rates[FEW] / rates[most],
    }


def native(pair: Pair) -> Figures:
    """An echo server by the native interface, and its twin by plain sockets and epoll."""
    servers = {"plain sockets": [pair.load, "serve"]}
    if pair.contender != KERNEL:
        servers["native interface"] = [str(pair.build / "stack" / "uvnet_native_echo")]
    out: Figures = {}
    for size in (64, 4096):
        for name, words in servers.items():
            with running(pair.server.start(*words, pair.server.ip, "7000", "1").wait_port(7000)):
                line = [pair.load, "ask", pair.server.ip, "7000", "1", "50", "50", f"{pair.seconds:g}", "x" * size, str(size)]
                out[f"echo of {size} B, {name}"] = ask(pair, *line)["per_second"] / 1e3
    return out


@dataclass(frozen=True)
class Measurement:
    """One of the functions above: what it is called, what it is to reach beside the kernel."""

    run: Callable[[Pair], Figures]
    unit: str
    aim: float | None = None
    more_is_better: bool = True


MEASUREMENTS = {
    "iperf3": Measurement(stream, "Gbit/s", 3),
    "udp": Measurement(datagrams, "thousand/s", 4),
    "pingpong": Measurement(ping_pong, "us", 10, more_is_better=False),
    "redis": Measurement(redis, "thousand/s"),
    "nginx": Measurement(nginx, "thousand/s", 3),
    "memcached": Measurement(memcached, "thousand/s", 4),
    "connections": Measurement(connections, "thousand/s", 3),
    "crowd": Measurement(crowd, "thousand/s"),
    "native": Measurement(native, "thousand/s"),
}

NGINX_WORKERS = "nginx of two workers"

AIMS: dict[str, float | None] = {
    "redis GET, 50 connections, 1 at": 4,
    "redis GET, 50 connections, 16 at": 1.5,
    NGINX_WORKERS: None,
}
"""Beginnings of titles that have an aim of their own, or none."""


def series_for(title: str, what: Measurement) -> Series:
    """An empty table for it."""
    aim = next((aim for start, aim in AIMS.items() if title.startswith(start)), what.aim)
    cost = title.startswith("cost")
    return Series(
        title, "x" if cost else what.unit, SUBJECT, what.more_is_better and not cost, {KERNEL: aim} if aim is not None else {}
    )


# --------------------------------------------------------------------------------------- the run


def note(tables: dict[str, Series], what: Measurement, figures: Mapping[str, Figures]) -> None:
    """A round's figures, by contender, into the tables, by title."""
    for contender, by_title in figures.items():
        for title, figure in by_title.items():
            table = tables.setdefault(title, series_for(title, what))
            if not table.rounds or contender in table.rounds[-1]:
                table.rounds.append({})
            table.rounds[-1][contender] = figure


def attempt(what: Measurement, pair: Pair, name: str, say: Callable[[str], None]) -> Figures:
    """One measurement; nothing, said aloud, where a program failed: the others are still of use."""
    try:
        return what.run(pair)
    except (ProcessFailed, Timeout, subprocess.SubprocessError, ValueError, KeyError) as error:
        say(f"{name} on {pair.contender} has no figure: {str(error).splitlines()[-1]}")
        return {}


def run(
    build: Path, rounds: int, seconds: float, book: journal.Journal, say: Callable[[str], None], only: str = ""
) -> list[Series]:
    """All of it.

    :param only: measurements to make, by name, separated by commas; all if empty.
    """
    if os.geteuid() != 0:
        raise NotPossible("ci/bench stack makes network namespaces for the kernel's turn: run it as root")
    wanted = only.split(",") if only else list(MEASUREMENTS)
    unknown = [name for name in wanted if name not in MEASUREMENTS]
    if unknown:
        raise NotPossible(f"there is no measurement {', '.join(unknown)}; there are {', '.join(MEASUREMENTS)}")
    if "crowd" in wanted and many() < MANY:
        say(f"crowd: {many():,} connections instead of {MANY:,}: ulimit -Hn allows no more")
    tables: dict[str, Series] = {}
    models = {SUBJECT: "shared", "uvnet, a thread of its own": "separate"}
    with journal.folder(book, "uvbench-") as folder, contextlib.ExitStack() as made:
        pairs = [
            Pair(name, *made.enter_context(fabric_hosts(build, book, folder, MEMORY | {"model": model})), build, seconds)
            for name, model in models.items()
        ]
        server, client = made.enter_context(kernel_hosts(book, folder))
        pairs.append(Pair(KERNEL, server, client, build, seconds))  # type: ignore[arg-type]
        for number in range(rounds):
            for name in wanted:
                say(f"round {number + 1} of {rounds}: {name}")
                what = MEASUREMENTS[name]
                note(tables, what, {pair.contender: attempt(what, pair, name, say) for pair in pairs})
    return list(tables.values())
