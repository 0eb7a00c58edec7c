# SPDX-License-Identifier: BSD-3-Clause
"""uveth beside the other ways to carry frames between two processes of one machine.

Rates: dpdk-testpmd in txonly mode sends, another in rxonly mode receives, each on a core of its own,
one queue, bursts of 32; what counts is what was received. Round trips: uvnet_pingpong and a testpmd
that sends each frame back (macswap, bursts of one). All of it by the same stock programs.

testpmd's sender makes each frame before it sends it. How many it makes when sending costs nothing
(net_null) is the most any contender can reach; what a contender takes beyond that is its own cost.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from uvnet_bench.figures import Series
from uvnet_harness import journal
from uvnet_harness.eal import huge_pages_free
from uvnet_harness.proc import Process, ProcessFailed, Processes, Result
from uvnet_harness.testpmd import Testpmd, driver
from uvnet_harness.wait import Timeout

FABRIC = "bench"
KERNEL = f"uvb{os.getpid()}"
"""How names of the kernel's interfaces begin."""
RX_MAC = "02:00:00:00:00:02"
TX_MAC = "02:00:00:00:00:01"
HUGE_PAGES = 192
"""Of 2 MiB, for two processes."""


@dataclass(frozen=True)
class Contender:
    """How the two ends are made.

    :param listener: EAL's arguments of the end that has to be there first; it receives.
    :param caller: of the other end.
    :param prefix: words before the command of either.
    """

    name: str
    listener: Sequence[str]
    caller: Sequence[str]
    prefix: Sequence[str] = ()


class BenchError(Exception):
    """A measurement is not possible here."""


class Place:
    """Where measurements are made: a folder, and the processes in it. All of it is noted in the journal,
    and gone when the run is."""

    def __init__(self, book: journal.Journal, folder: Path) -> None:
        self.book = book
        self.folder = folder
        self.processes = Processes(book, "bench")

    def start(self, name: str, *words: str | Path, env: Mapping[str, str] | None = None) -> Process:
        """A program in the background."""
        return self.processes.start(name, words, self.folder, env)

    def run(self, name: str, *words: str | Path) -> Result:
        """A program to its end."""
        return self.processes.run(name, words, self.folder, timeout=120)

    @contextlib.contextmanager
    def testpmd(self, name: str, c: Contender, eal_args: Sequence[str], options: Sequence[str]) -> Iterator[Testpmd]:
        """One end of a contender, forwarding."""
        process = Testpmd(self.start, self.folder, name, eal_args, options, prefix=c.prefix)
        try:
            process.ready().command("start")
            yield process
        finally:
            process.close()


def uveth(pmd: Path) -> Contender:
    """This project's port."""
    prefix, load = driver(pmd)
    return Contender(
        "uveth",
        [*load, "--vdev", f"net_uveth0,fabric={FABRIC},name=rx,rxq=1,txq=1,mac={RX_MAC}"],
        [*load, "--vdev", f"net_uveth0,fabric={FABRIC},name=tx,rxq=1,txq=1,mac={TX_MAC}"],
        prefix,
    )


def memif(folder: Path) -> Contender:
    """DPDK's shared-memory interface, both ends copying as between processes that do not trust each other."""
    common = f"socket={folder}/memif,socket-abstract=no,bsize=2048,rsize=10"
    return Contender(
        "memif",
        ["--vdev", f"net_memif0,role=server,{common},mac={RX_MAC}"],
        ["--vdev", f"net_memif0,role=client,{common},mac={TX_MAC}"],
    )


def vhost(folder: Path) -> Contender:
    """vhost-user and virtio-user, without a virtual machine."""
    return Contender(
        "vhost+virtio-user",
        ["--vdev", f"net_vhost0,iface={folder}/vhost,queues=1"],
        ["--vdev", f"net_virtio_user0,path={folder}/vhost,queues=1,queue_size=1024,mac={TX_MAC}"],
    )


def veth() -> Contender:
    """Two kernel veth pairs and a kernel bridge between them, by AF_PACKET."""
    return Contender(
        "veth+bridge (kernel)",
        ["--vdev", f"net_af_packet0,iface={KERNEL}rx1,framecnt=4096"],
        ["--vdev", f"net_af_packet0,iface={KERNEL}tx1,framecnt=4096"],
    )


@contextlib.contextmanager
def kernel_link(book: journal.Journal, name: str, *words: str) -> Iterator[None]:
    """A network interface of the kernel."""
    book.add("link", name)
    try:
        subprocess.run(["ip", "link", "add", name, "up", *words], check=True, capture_output=True, text=True)
        yield
    finally:
        subprocess.run(["ip", "link", "del", name], check=False, capture_output=True)
        book.remove("link", name)


@contextlib.contextmanager
def kernel_bridge(book: journal.Journal) -> Iterator[None]:
    """The interfaces of `veth()`."""
    with contextlib.ExitStack() as made:
        made.enter_context(kernel_link(book, f"{KERNEL}br", "type", "bridge"))
        for end, mac in (("rx", RX_MAC), ("tx", TX_MAC)):
            pair = [f"{KERNEL}{end}0", "type", "veth", "peer", "name", f"{KERNEL}{end}1", "address", mac]
            made.enter_context(kernel_link(book, *pair))
            for words in ([f"{KERNEL}{end}0", "master", f"{KERNEL}br"], [f"{KERNEL}{end}1", "up"]):
                subprocess.run(["ip", "link", "set", *words], check=True, capture_output=True, text=True)
        yield


@contextlib.contextmanager
def fabric(build: Path, book: journal.Journal, name: str) -> Iterator[None]:
    """A fabric."""
    command = str(build / "uvbridge" / "uvbridge")

    def down() -> None:
        subprocess.run([command, "down", "--force", name], check=False, capture_output=True)

    down()
    book.add("fabric", name, tool=command, rundir=str(journal.rundir()))
    try:
        subprocess.run([command, "up", "--ports", "66", name], check=True, capture_output=True)
        yield
    finally:
        down()
        book.remove("fabric", name)


def check_huge_pages() -> None:
    """Both ends of every contender have huge pages: what a rate means depends on it."""
    if huge_pages_free() < HUGE_PAGES:
        raise BenchError(
            f"fewer than {HUGE_PAGES} huge pages of 2 MiB are free: as root, sysctl vm.nr_hugepages={HUGE_PAGES + 64}"
        )


def eal(core: int, prefix: str, contender: Sequence[str]) -> list[str]:
    """EAL's arguments of one end."""
    memory = ["--in-memory", "--single-file-segments", "-m", "160"]
    other = 1 - core
    lcores = f"--lcores=0@{other},1@{core}"  # the prompt sits on the other end's core, asleep
    return [lcores, *memory, "--no-pci", "--no-telemetry", f"--file-prefix={prefix}", *contender]


TESTPMD = ["--total-num-mbufs=8192", "--rxd=1024", "--txd=1024", "--burst=32"]


def null() -> Contender:
    """Nowhere: frames are freed as they come."""
    return Contender("net_null (no receiver)", [], ["--vdev", "net_null0,no-rx=1"])


def txonly(size: int) -> list[str]:
    """testpmd's arguments of a sender."""
    return [*TESTPMD, "--forward-mode=txonly", f"--txpkts={size}", f"--eth-peer=0,{RX_MAC}"]


def counted(pmd: Testpmd, counter: str, seconds: float) -> float:
    """How fast a counter grows, in millions per second, once it has come up to speed."""

    def now() -> tuple[int, float]:
        return pmd.stats()[counter], time.monotonic()

    time.sleep(0.2)  # to come up to speed
    before, begin = now()
    time.sleep(seconds)  # the measurement itself
    after, end = now()
    return (after - before) / (end - begin) / 1e6


def ceiling(size: int, seconds: float, place: Place) -> dict[str, float]:
    """Frames of `size` bytes that testpmd makes and nobody receives, in millions per second."""
    c = null()
    with place.testpmd("tx", c, eal(1, "uvbench-tx", c.caller), txonly(size)) as tx:
        return {c.name: counted(tx, "TX-packets", seconds)}


def own_cost(rates: Mapping[str, float]) -> dict[str, float]:
    """What a frame takes beyond its making, ns."""
    limit = rates[null().name]
    return {name: 1000 / rate - 1000 / limit for name, rate in rates.items() if name != null().name and rate > 0}


def rate(c: Contender, size: int, seconds: float, place: Place) -> float:
    """Frames of `size` bytes that arrive, in millions per second."""
    receive = [*TESTPMD, "--forward-mode=rxonly"]
    with (
        place.testpmd("rx", c, eal(0, "uvbench-rx", c.listener), receive) as rx,
        place.testpmd("tx", c, eal(1, "uvbench-tx", c.caller), txonly(size)),
    ):
        return counted(rx, "RX-packets", seconds)


def last_json(done: Result) -> dict[str, float]:
    """The figures a program has printed."""
    if not done.ok or not done.stdout.strip().endswith("}"):
        raise ProcessFailed(done.stderr.strip() or done.stdout.strip())
    figures: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def round_trip(c: Contender, build: Path, trips: int, place: Place) -> dict[str, float]:
    """Percentiles of the round trip of one frame, ns."""
    back = ["--total-num-mbufs=8192", "--rxd=256", "--txd=256", "--burst=1", "--forward-mode=macswap"]
    with place.testpmd("echo", c, eal(0, "uvbench-rx", c.listener), back):
        memory = ["--in-memory", "--single-file-segments", "-m", "64"]
        done = place.run(
            "ping", *c.prefix,
            build / "harness" / "bench" / "uvnet_pingpong", "--lcores=0@1", *memory, "--no-pci", "--no-telemetry",
            "--file-prefix=uvbench-ping", "--log-level=error", *c.caller, "--", str(trips), "60", RX_MAC,
        )  # fmt: skip
    return last_json(done)


Maker = Callable[[Path], Contender]
TRIES = 3


def patiently(
    make: Maker, measure: Callable[[Contender, Place], float], place: Place, say: Callable[[str], None]
) -> tuple[str, float]:
    """One measurement in a folder of its own, again if the two ends do not find each other: memif's client
    sometimes does not.

    :returns: the contender's name and the figure.
    """
    for left in reversed(range(TRIES)):
        attempt = Place(place.book, Path(tempfile.mkdtemp(dir=place.folder)))
        contender = make(attempt.folder)
        try:
            return contender.name, measure(contender, attempt)
        except (ProcessFailed, Timeout) as error:
            if left == 0:
                raise
            say(f"{contender.name}: once more, after: {str(error).splitlines()[-1]}")
    raise AssertionError("not reached")


def filling_up(
    build: Path, ports: int, senders: int, place: Place, name: str = FABRIC
) -> dict[str, float]:
    """What a frame of 64 bytes costs sender and receiver together when so many ports are attached and
    so many of them send in turn to one (frame_ns), and how long attaching took (attach_..._us)."""
    bench = build / "uvbridge" / "uvbridge_bench"
    return last_json(place.run("fill", bench, "-p", str(ports), "-n", str(senders), "-t", "0.3", name))


def first_attach(build: Path, place: Place) -> float:
    """Of a fabric that has just been made, us."""
    with fabric(build, place.book, f"{FABRIC}-new"):
        return filling_up(build, 2, 1, place, f"{FABRIC}-new")["attach_first_us"]


def run(
    build: Path, rounds: int, seconds: float, book: journal.Journal, say: Callable[[str], None]
) -> list[Series]:
    """All of it.

    :param book: the journal of this run.
    :param build: the build directory.
    :param rounds: how often each contender has its turn.
    :param seconds: of each rate.
    :param say: is told of the progress.
    """
    check_huge_pages()
    small = Series("64 B frames, one queue", "Mpps", "uveth", aims={"memif": 2, "vhost+virtio-user": 2})
    own = Series("64 B frame, beyond its making", "ns", "uveth", more_is_better=False)
    large = Series("1,514 B frames, one queue", "Mpps", "uveth", aims={"memif": 1.2, "vhost+virtio-user": 1.2})
    trip = Series("round trip of a single 60 B frame, p50", "us", "uveth", more_is_better=False, aims={"memif": 1})
    frame = Series("64 B frame, sender and receiver, by ports attached", "ns", "2 ports", more_is_better=False)
    attach = Series("attach, by ports attached", "us", "2 ports", more_is_better=False)
    with journal.folder(book, "uvbench-") as folder, fabric(build, book, FABRIC), kernel_bridge(book):
        place = Place(book, folder)
        sizes = {"2 ports": (2, 1), "64 ports, 1 sends": (64, 1), "16 ports, all send": (16, 15), "64 ports, all send": (64, 63)}
        pmd = build / "uveth" / "librte_net_uveth.so"
        make: list[Maker] = [lambda _: uveth(pmd), memif, vhost, lambda _: veth()]

        def turn(measure: Callable[[Contender, Place], float]) -> dict[str, float]:
            return dict(patiently(maker, measure, place, say) for maker in make)

        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            rates = turn(lambda c, where: rate(c, 64, seconds, where)) | ceiling(64, seconds, place)
            small.rounds.append(rates)
            own.rounds.append(own_cost(rates))
            large.rounds.append(turn(lambda c, where: rate(c, 1514, seconds, where)))
            trip.rounds.append(turn(lambda c, where: round_trip(c, build, 20000, where)["p50"] / 1000))
            filled = {label: filling_up(build, *numbers, place) for label, numbers in sizes.items()}
            frame.rounds.append({label: f["frame_ns"] for label, f in filled.items()})
            attach.rounds.append(
                {label: f["attach_us"] for label, f in filled.items()}
                | {"slowest of 64": filled["64 ports, 1 sends"]["attach_slowest_us"]}
                | {"first of a new fabric": first_attach(build, place)}
            )
    return [small, own, large, trip, frame, attach]
