# SPDX-License-Identifier: BSD-3-Clause
"""Processes of one shared host die and come again, at random and for long, under load: two nginx that share a
port, redis, a python server and iperf3. At each turn one of them is killed, ended, or stopped for a while, a
process is killed while it attaches, or the manager is killed or replaced. Every choice comes from the seed.

Services that were not touched lose no question, iperf3, which nobody touches, flows on, and at the end nothing
has grown and every buffer is at home. The last line says what happened; exit status 0 only if that is so.

With --starts N, instead: N processes start and end one after the other, every second one killed. The last line
has the times that attaching and reclaiming took; exit status 0 only if nothing has grown.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from uvnet_demo import shared, stage, starts
from uvnet_demo.shared import Service
from uvnet_harness import Net, Shape, wait
from uvnet_harness.shared import SharedHost

SLOTS = 8
DEEDS = {"kill": 8, "end": 2, "stop": 1, "kill attaching": 3, "kill manager": 1, "reload": 1}
"""What is done, and how often beside the others."""

EXPECTED_LOGS = (
    "took the host over|does not run: start it|is stopped: its queues' traffic|runs again"
    "|the manager of the host has gone|were held by a process that is gone"
)


@dataclass
class Found:
    """What happened."""

    deeds: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DEEDS, 0))
    attach_ms: float = 0.0
    """p99, the worst of all managers"""
    reclaim_ms: float = 0.0
    lost: int = 0
    stalled: int = 0
    """seconds in which iperf3 sent nothing"""
    wrong: list[str] = field(default_factory=list)
    minutes: float = 0.0

    def __str__(self) -> str:
        deeds = ", ".join(f"{name} {count}" for name, count in self.deeds.items())
        return (
            f"{self.minutes:g} min: {deeds}; attach p99 {self.attach_ms:.0f} ms, reclaim p99 {self.reclaim_ms:.1f} ms; "
            f"lost by others {self.lost}; iperf3 stalled {self.stalled} s; {len(self.wrong)} wrong"
        )


class Storm:
    """A host, what runs on it, and what is done to it."""

    def __init__(self, net: Net, seed: int, rate: int) -> None:
        self.net, self.chance, self.found = net, random.Random(seed), Found()
        self.lost: dict[str, int] = {}
        net.allow_log(EXPECTED_LOGS)
        self.host: SharedHost = net.shared_host("web", queues=shared.QUEUES, slots=SLOTS)
        before = self.host.show("status")[0]
        self.services = shared.services_of(self.host)
        shared.start(net, self.host, self.services, rate)
        # The first death makes what the driver keeps for flow rules.
        self._kill_first()
        self.before = {**before, "heap": self.host.show("status")[0]["heap"]}
        words = ["iperf3", "-s", "-B", self.host.ip]
        self.iperf_server = self.host.start(*words).wait_ready(port=5201)
        words = ["iperf3", "-c", self.host.ip, "-t", "86400", "-b", "20M", "-i", "1", "--forceflush"]
        self.iperf_client = net.host("iperf").start(*words)

    def _kill_first(self) -> None:
        (first,) = (row for row in self.host.show("queues") if row["slot"] == 1)
        for service in self.services:
            for number, app in enumerate(service.apps):
                if app.pid == first["pid"]:
                    self._kill_one(service, number)
        wait.until(lambda: bool(self.host.show("status")[0]["deaths"] == 1), 5, "the first death to be seen")

    # ------------------------------------------------------------------------------------ deeds

    def _victim(self) -> tuple[Service, int]:
        choices = [(service, number) for service in self.services for number in range(len(service.apps))]
        return self.chance.choice(choices)

    def _touch(self, service: Service) -> None:
        service.killed_at = time.monotonic()
        service.recovering = True

    def _again(self, service: Service, number: int) -> None:
        self._touch(service)  # its end may have taken a while
        self.host.apps.remove(service.apps[number])
        service.apps[number] = self.host.start(*service.commands[number])

    def _revive(self) -> None:
        """A port may still have been its predecessor's: then it has given up."""
        for service in self.services:
            for number, app in enumerate(service.apps):
                if not app.running:
                    self._touch(service)
                    app.kill()
                    self._again(service, number)

    def _kill(self) -> None:
        self._kill_one(*self._victim())

    def _kill_one(self, service: Service, number: int) -> None:
        self._touch(service)
        service.apps[number].kill()
        self._again(service, number)

    def _end(self) -> None:
        service, number = self._victim()
        self._touch(service)
        service.apps[number].stop()
        self._again(service, number)

    def _stop(self) -> None:
        service, number = self._victim()
        self._touch(service)
        service.apps[number].send_signal(signal.SIGSTOP)
        self._pause(self.chance.uniform(0.1, 3))
        self._touch(service)
        service.apps[number].send_signal(signal.SIGCONT)

    def _kill_attaching(self) -> None:
        script = "import socket, sys; socket.socket().bind((sys.argv[1], 0))"
        app = self.host.start("/usr/bin/python3", "-c", script, self.host.ip)
        self._pause(self.chance.uniform(0, 0.4))
        app.kill()
        self.host.apps.remove(app)

    def _note_spans(self) -> None:
        """What this manager has measured: the next one begins anew."""
        status = self.host.show("status")[0]
        self.found.attach_ms = max(self.found.attach_ms, status["attach_p99_us"] / 1000)
        self.found.reclaim_ms = max(self.found.reclaim_ms, status["reclaim_p99_us"] / 1000)

    def _wait_attached(self) -> None:
        """Who attaches while the manager dies has to be started again: that is known, and not asked for here."""
        everybody = sum(len(service.apps) for service in self.services) + 1

        def there() -> bool:
            self._revive()
            return len(self.host.show("ps")) == everybody

        wait.until(there, 20, "all processes to be attached")

    def _kill_manager(self) -> None:
        self._wait_attached()
        self._note_spans()
        self.host.manager.kill()
        self._pause(self.chance.uniform(0, 1))
        self.host.restart_manager()

    def _reload(self) -> None:
        self._wait_attached()
        self._note_spans()
        wait.until(lambda: bool(self.host.ask("reload").ok), 10, "nobody to be attaching")
        wait.until(lambda: bool(self.host.ask("status").ok), 10, "the new manager")

    # -------------------------------------------------------------------------------------- turns

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for service in self.services:
                service.look(time.monotonic())
            time.sleep(0.05)

    def run(self, seconds: float) -> None:
        """Until the time is over."""
        deeds = {
            "kill": self._kill,
            "end": self._end,
            "stop": self._stop,
            "kill attaching": self._kill_attaching,
            "kill manager": self._kill_manager,
            "reload": self._reload,
        }
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._revive()
            deed = self.chance.choices(list(DEEDS), weights=list(DEEDS.values()))[0]
            deeds[deed]()
            self.found.deeds[deed] += 1
            self._pause(self.chance.uniform(0.1, 1))
            self._note_losses(deed)

    def _note_losses(self, deed: str) -> None:
        for service in self.services:
            lost = service.lost - self.lost.get(service.name, 0)
            self.lost[service.name] = service.lost
            self.found.lost += lost
            if lost:
                turn = sum(self.found.deeds.values())
                self.found.wrong.append(f"{service.name} lost {lost} questions around turn {turn}, {deed}")

    # -------------------------------------------------------------------------------------- the end

    def _growth(self) -> None:
        after = self.host.show("status")[0]
        for what in ("heap", "files", "free"):
            if after[what] > self.before[what] or what == "free" and after[what] != self.before[what]:
                self.found.wrong.append(f"{what}: {self.before[what]} at first, {after[what]} in the end")

    def end(self) -> None:
        """Stop all that runs, and look at what is left."""
        found = self.found
        if not (self.iperf_server.running and self.iperf_client.running):
            found.wrong.append("iperf3 did not live through it")
        found.stalled = self.iperf_client.stdout.count(" 0.00 bits/sec")
        self.iperf_client.kill()
        for service in self.services:
            assert service.client is not None
            service.client.kill()
        self._wait_attached()
        self._note_spans()
        for app in list(self.host.apps):
            app.stop()
        wait.until(lambda: self.host.show("ps") == [], 5, "the last process to be gone")
        self.host.assert_clean()
        self._growth()


def parse_options(words: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="ci/soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10, metavar="M", help="(default: 10)")
    parser.add_argument("--starts", type=int, default=0, metavar="N", help="N starts and ends, and no storm")
    parser.add_argument("--seed", type=int, default=None, metavar="S", help="of all choices (default: random, printed)")
    parser.add_argument("--rate", type=int, default=100, metavar="N", help="questions a second and service (default: 100)")
    stage.add_options(parser)
    return parser.parse_args(words)


def storm(net: Net, options: argparse.Namespace, seed: int) -> Found:
    """A storm, to its end."""
    made = Storm(net, seed, options.rate)
    made.found.minutes = options.minutes
    made.run(options.minutes * 60)
    made.end()
    return made.found


def on_network(options: argparse.Namespace, deed: Callable[[Net], Found | starts.Starts]) -> Found | starts.Starts:
    """Do it on a network of its own."""
    with stage.network(options, "soak", Shape(queues=shared.QUEUES, ports=10, capture=False)) as ground:
        found = deed(ground.net)
        ground.failed = bool(found.wrong)
    found.wrong += ground.problems
    return found


def main(words: list[str]) -> int:
    """The soak."""
    options = parse_options(words)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 32)
    print(f"ci/soak --starts {options.starts}" if options.starts else f"ci/soak --minutes {options.minutes:g} --seed {seed}", flush=True)
    try:
        if options.starts:
            found = on_network(options, lambda net: starts.run(net, options.starts))
        else:
            found = on_network(options, lambda net: storm(net, options, seed))
    except KeyboardInterrupt:
        print("\nci/soak: ended; nothing is left behind", file=sys.stderr)
        return 130
    except (AssertionError, OSError, wait.Timeout) as error:
        print(f"ci/soak: {error}", file=sys.stderr)
        return 1
    for what in found.wrong:
        print(f"ci/soak: {what}", file=sys.stderr)
    print(found)
    return 1 if found.wrong else 0
