# SPDX-License-Identifier: BSD-3-Clause
"""uveth beside the other ways to carry frames between two processes of one machine.

Rates: dpdk-testpmd in txonly mode sends, another in rxonly mode receives, each on a core of its own,
one queue, bursts of 32; what counts is what was received. Round trips: uvnet_pingpong and a testpmd
that sends each frame back (macswap, bursts of one). All of it by the same stock programs.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from uvnet_bench.figures import Series
from uvnet_bench.testpmd import BenchError, Testpmd, preload

FABRIC = "bench"
RX_MAC = "02:00:00:00:00:02"
TX_MAC = "02:00:00:00:00:01"
HUGE_PAGES = 192
"""Of 2 MiB, for two processes."""


@dataclass(frozen=True)
class Contender:
    """How the two ends are made.

    :param listener: EAL's arguments of the end that has to be there first; it receives.
    :param caller: of the other end.
    """

    name: str
    listener: Sequence[str]
    caller: Sequence[str]
    env: dict[str, str] = field(default_factory=dict)


def uveth(driver: Path) -> Contender:
    """This project's port."""
    env, load = preload(driver)
    return Contender(
        "uveth",
        [*load, "--vdev", f"net_uveth0,fabric={FABRIC},name=rx,rxq=1,txq=1,mac={RX_MAC}"],
        [*load, "--vdev", f"net_uveth0,fabric={FABRIC},name=tx,rxq=1,txq=1,mac={TX_MAC}"],
        env,
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
        ["--vdev", "net_af_packet0,iface=uvbench-rx1,framecnt=4096"],
        ["--vdev", "net_af_packet0,iface=uvbench-tx1,framecnt=4096"],
    )


@contextlib.contextmanager
def kernel_bridge() -> Iterator[None]:
    """The interfaces of `veth()`."""

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)

    def remove() -> None:
        for name in ("uvbench-rx0", "uvbench-tx0", "uvbench-br"):
            subprocess.run(["ip", "link", "del", name], check=False, capture_output=True)

    remove()
    try:
        ip("link", "add", "uvbench-br", "up", "type", "bridge")
        for end, mac in (("rx", RX_MAC), ("tx", TX_MAC)):
            ip("link", "add", f"uvbench-{end}0", "type", "veth", "peer", "name", f"uvbench-{end}1", "address", mac)
            ip("link", "set", f"uvbench-{end}0", "master", "uvbench-br", "up")
            ip("link", "set", f"uvbench-{end}1", "up")
        yield
    finally:
        remove()


@contextlib.contextmanager
def fabric(build: Path) -> Iterator[None]:
    """The fabric of `uveth()`, and of `filling_up()`."""
    command = str(build / "uvbridge" / "uvbridge")
    subprocess.run([command, "down", "--force", FABRIC], check=False, capture_output=True)
    subprocess.run([command, "up", "--ports", "66", FABRIC], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run([command, "down", "--force", FABRIC], check=False, capture_output=True)


def check_huge_pages() -> None:
    """Both ends of every contender have huge pages: what a rate means depends on it."""
    with open("/proc/meminfo", encoding="ascii") as info:
        found = re.search(r"HugePages_Free:\s+(\d+)", info.read())
    if found is None or int(found[1]) < HUGE_PAGES:
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


def rate(c: Contender, size: int, seconds: float, folder: Path) -> float:
    """Frames of `size` bytes that arrive, in millions per second."""
    receive = [*TESTPMD, "--forward-mode=rxonly"]
    transmit = [*TESTPMD, "--forward-mode=txonly", f"--txpkts={size}", f"--eth-peer=0,{RX_MAC}"]
    with Testpmd(eal(0, "uvbench-rx", c.listener), receive, c.env, folder / f"{c.name}-rx.log") as rx:
        rx.command("start")
        with Testpmd(eal(1, "uvbench-tx", c.caller), transmit, c.env, folder / f"{c.name}-tx.log") as tx:
            tx.command("start")
            rx.rate(0.2)
            return rx.rate(seconds) / 1e6


def round_trip(c: Contender, build: Path, trips: int, folder: Path) -> dict[str, float]:
    """Percentiles of the round trip of one frame, ns."""
    back = ["--total-num-mbufs=8192", "--rxd=256", "--txd=256", "--burst=1", "--forward-mode=macswap"]
    with Testpmd(eal(0, "uvbench-rx", c.listener), back, c.env, folder / f"{c.name}-echo.log") as echo:
        echo.command("start")
        memory = ["--in-memory", "--single-file-segments", "-m", "64"]
        command = [
            str(build / "harness" / "bench" / "uvnet_pingpong"), "--lcores=0@1", *memory, "--no-pci", "--no-telemetry",
            "--file-prefix=uvbench-ping", "--log-level=error", *c.caller, "--", str(trips), "60", RX_MAC,
        ]  # fmt: skip
        done = subprocess.run(command, env=os.environ | c.env, capture_output=True, text=True, timeout=120, check=False)
    if not done.stdout.strip().endswith("}"):
        raise BenchError(f"{c.name}: {done.stderr.strip() or done.stdout.strip()}")
    figures: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


Maker = Callable[[Path], Contender]
TRIES = 3


def patiently(
    make: Maker, measure: Callable[[Contender, Path], float], folder: Path, say: Callable[[str], None]
) -> tuple[str, float]:
    """One measurement in a folder of its own, again if the two ends do not find each other: memif's client
    sometimes does not.

    :returns: the contender's name and the figure.
    """
    for left in reversed(range(TRIES)):
        place = Path(tempfile.mkdtemp(dir=folder))
        contender = make(place)
        try:
            return contender.name, measure(contender, place)
        except BenchError as error:
            if left == 0:
                raise
            say(f"{contender.name}: once more, after: {str(error).splitlines()[-1]}")
    raise AssertionError("not reached")


def filling_up(build: Path, ports: int, senders: int) -> dict[str, float]:
    """What a frame of 64 bytes costs sender and receiver together when so many ports are attached and
    so many of them send in turn to one (frame_ns), and the median attach (attach_us)."""
    command = [str(build / "uvbridge" / "uvbridge_bench"), "-p", str(ports), "-n", str(senders), "-t", "0.3", FABRIC]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(done.stderr.strip())
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def run(build: Path, rounds: int, seconds: float, say: Callable[[str], None]) -> list[Series]:
    """All of it.

    :param build: the build directory.
    :param rounds: how often each contender has its turn.
    :param seconds: of each rate.
    :param say: is told of the progress.
    """
    check_huge_pages()
    small = Series("64 B frames, one queue", "Mpps", "uveth", aims={"memif": 2, "vhost+virtio-user": 2})
    large = Series("1,514 B frames, one queue", "Mpps", "uveth", aims={"memif": 1.2, "vhost+virtio-user": 1.2})
    trip = Series("round trip of a single 60 B frame, p50", "us", "uveth", more_is_better=False, aims={"memif": 1})
    frame = Series("64 B frame, sender and receiver, by ports attached", "ns", "2 ports", more_is_better=False)
    attach = Series("attach, by ports attached", "us", "2 ports", more_is_better=False)
    with tempfile.TemporaryDirectory(prefix="uvbench-") as name, fabric(build), kernel_bridge():
        folder = Path(name)
        sizes = {"2 ports": (2, 1), "64 ports, 1 sends": (64, 1), "16 ports, all send": (16, 15), "64 ports, all send": (64, 63)}
        driver = build / "uveth" / "librte_net_uveth.so"
        make: list[Maker] = [lambda _: uveth(driver), memif, vhost, lambda _: veth()]

        def turn(measure: Callable[[Contender, Path], float]) -> dict[str, float]:
            return dict(patiently(maker, measure, folder, say) for maker in make)

        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            small.rounds.append(turn(lambda c, place: rate(c, 64, seconds, place)))
            large.rounds.append(turn(lambda c, place: rate(c, 1514, seconds, place)))
            trip.rounds.append(turn(lambda c, place: round_trip(c, build, 20000, place)["p50"] / 1000))
            filled = {label: filling_up(build, *numbers) for label, numbers in sizes.items()}
            frame.rounds.append({label: f["frame_ns"] for label, f in filled.items()})
            attach.rounds.append({label: f["attach_us"] for label, f in filled.items()})
    return [small, large, trip, frame, attach]
