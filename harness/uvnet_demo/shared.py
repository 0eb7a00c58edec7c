# SPDX-License-Identifier: BSD-3-Clause
"""Many processes, one NIC: two nginx that share a port, redis and a python server share one 4-queue
network card and one address. Load on all of them; one is killed every second, and started again. The
table shows slots, what was forwarded and reclaimed, and for each service the questions that were
answered and those that were lost: a service that was killed loses those that were under way, all
others lose none.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from uvnet_demo import stage
from uvnet_harness import Net, Shape, wait
from uvnet_harness.host import App
from uvnet_harness.shared import SharedHost

QUEUES = 4
GRACE = 1.5
"""Seconds after a kill in which failures of the killed service are its own; longer, if it does not
answer again before."""

NGINX = """
daemon off; master_process off; worker_processes 1; error_log stderr; pid {folder}/{name}.pid;
events {{ worker_connections 256; }}
http {{
  access_log off; keepalive_requests 100000;
  client_body_temp_path {folder}/{name}.body; proxy_temp_path {folder}/{name}.proxy;
  fastcgi_temp_path {folder}/{name}.fastcgi; uwsgi_temp_path {folder}/{name}.uwsgi;
  scgi_temp_path {folder}/{name}.scgi;
  server {{ listen {ip}:8080 reuseport; location / {{ return 200 "nginx"; }} }}
}}
"""

PYTHON = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"python")
    def log_message(self, *words):
        pass
class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
Server((sys.argv[1], 8000), Handler).serve_forever()
"""


@dataclass
class Service:
    """Processes that answer on one port, and the client that asks them."""

    name: str
    kind: str
    port: int
    commands: list[list[str]]
    apps: list[App] = field(default_factory=list)
    client: App | None = None
    killed_at: float = 0.0
    recovering: bool = False
    kills: int = 0
    answered: int = 0
    failed: int = 0
    lost: int = 0
    """failures while none of its processes was killed"""

    def look(self, now: float) -> None:
        """Read the client's counts; it may be in the middle of a line."""
        assert self.client is not None
        lines = self.client.stdout.split("\n")[:-1]
        if not lines:
            return
        answered, failed = map(int, lines[-1].split())
        if self.recovering:
            self.recovering = now - self.killed_at < GRACE or answered == self.answered
        else:
            self.lost += failed - self.failed
        self.answered, self.failed = answered, failed


@dataclass
class Result:
    """What the demo found."""

    seconds: int
    kills: int = 0
    services: dict[str, dict[str, int]] = field(default_factory=dict)
    lost: int = 0
    reclaim_us: int = 0
    ledger_clean: bool = False
    errors: str = ""


def services_of(host: SharedHost) -> list[Service]:
    """What runs on the host."""
    for name in ("nginx1", "nginx2"):
        text = NGINX.format(folder=host.folder, name=name, ip=host.ip)
        (host.folder / f"{name}.conf").write_text(text)
    (host.folder / "server.py").write_text(PYTHON)
    nginx = [["nginx", "-c", str(host.folder / f"{name}.conf")] for name in ("nginx1", "nginx2")]
    redis = ["redis-server", "--save", "", "--protected-mode", "no", "--bind", host.ip, "--port", "6379"]
    python = ["/usr/bin/python3", str(host.folder / "server.py"), host.ip]
    return [
        Service("nginx", "http", 8080, nginx),
        Service("redis", "redis", 6379, [redis]),
        Service("python", "http", 8000, [python]),
    ]


def start(net: Net, host: SharedHost, services: list[Service], rate: int) -> None:
    """Start everything, and wait until all of it answers."""
    load = Path(__file__).with_name("load.py")
    for service in services:
        service.apps = [host.start(*words) for words in service.commands]
    for service in services:
        service.apps[0].wait_ready(port=service.port)
    for service in services:
        client = net.host(f"load-{service.name}")
        words = ["/usr/bin/python3", str(load), service.kind, host.ip, str(service.port), str(rate)]
        service.client = client.start(*words)
        service.client.wait_ready(log=r"^[1-9]\d* ")


def kill_one(host: SharedHost, services: list[Service], turn: int) -> str:
    """Kill a process of the service whose turn it is, and start another in its place."""
    victims = [(service, number) for service in services for number in range(len(service.apps))]
    service, number = victims[turn % len(victims)]
    service.killed_at = time.monotonic()
    service.recovering = True
    service.kills += 1
    service.apps[number].kill()
    host.apps.remove(service.apps[number])
    service.apps[number] = host.start(*service.commands[number])
    return f"{service.name}.{number}"


def table(host: SharedHost, services: list[Service], now: int, victim: str) -> str:
    """The state of things, for people."""
    lines = [f"--- second {now}: killed {victim}", host.tool("queues").rstrip(), ""]
    lines.append(f"{'service':10} {'kills':>6} {'answered':>9} {'own losses':>11} {'lost':>6}")
    for s in services:
        lines.append(f"{s.name:10} {s.kills:6} {s.answered:9} {s.failed - s.lost:11} {s.lost:6}")
    return "\n".join(lines)


def storm(host: SharedHost, services: list[Service], seconds: int, screen: TextIO, result: Result) -> None:
    """Kill one every second."""
    begun = time.monotonic()
    for second in range(seconds):
        victim = kill_one(host, services, second)
        result.kills += 1
        while time.monotonic() < begun + second + 1:
            for service in services:
                service.look(time.monotonic())
            time.sleep(0.05)
        worst = max(row["reclaim_us"] for row in host.show("queues"))
        result.reclaim_us = max(result.reclaim_us, worst)
        home = "\x1b[H\x1b[2J" if screen.isatty() else ""
        print(home + table(host, services, second + 1, victim), file=screen, flush=True)


def run(net: Net, options: argparse.Namespace, screen: TextIO, result: Result) -> None:
    """Everything between network up and network down."""
    host = net.shared_host("web", queues=QUEUES, slots=6)
    services = services_of(host)
    start(net, host, services, options.rate)
    storm(host, services, options.seconds, screen, result)
    for service in services:
        assert service.client is not None
        service.client.kill()
        service.look(time.monotonic())
        result.services[service.name] = {
            "kills": service.kills, "answered": service.answered, "lost": service.lost,
        }  # fmt: skip
        result.lost += service.lost
    for app in list(host.apps):
        app.stop()
    host.assert_clean()
    result.ledger_clean = True


def parse_options(words: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="ci/demo shared", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=60, metavar="N", help="and kills (default: 60)")
    parser.add_argument("--rate", type=int, default=200, metavar="N", help="questions a second and service (default: 200)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, and nothing else on stdout")
    parser.add_argument("--no-setup", action="store_true", help="neither ci/setup nor a build: all is there")
    stage.add_options(parser)
    return parser.parse_args(words)


def demonstrate(options: argparse.Namespace) -> Result:
    """The demo on a network of its own."""
    result = Result(options.seconds)
    screen = sys.stderr if options.json else sys.stdout
    with stage.network(options, "demo-shared", Shape(queues=QUEUES, ports=8, capture=False)) as ground:
        run(ground.net, options, screen, result)
        ground.failed = False
    result.errors = "\n".join(ground.problems)
    return result


def main(words: list[str]) -> int:
    """The demo."""
    options = parse_options(words)
    try:
        result = demonstrate(options)
    except KeyboardInterrupt:
        print("\nci/demo: ended; nothing is left behind", file=sys.stderr)
        return 130
    except (AssertionError, OSError, wait.Timeout) as error:
        print(f"ci/demo: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(result.__dict__, indent=1))
    else:
        print(
            f"\n{result.kills} kills in {result.seconds} s; slowest reclaim {result.reclaim_us} us; "
            f"lost by services that were not killed: {result.lost}; "
            f"ledger {'clean' if result.ledger_clean else 'NOT clean'}"
        )
    if result.errors:
        print(f"ci/demo: {result.errors}", file=sys.stderr)
    return 0 if result.ledger_clean and result.lost == 0 and not result.errors else 1
