# SPDX-License-Identifier: BSD-3-Clause
"""Servers of the distribution, unmodified, started on a host with what they need to serve at once.

Each function takes a host (of the stack or of the kernel), writes the configuration the program needs
into the host's folder, starts it in the foreground and waits until it listens.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from uvnet_harness import journal

if TYPE_CHECKING:
    from uvnet_harness.host import App, Host

NGINX = """\
daemon off;
{processes}
user root;
error_log stderr;
pid {folder}/nginx.pid;
events {{ worker_connections 512; }}
http {{
    access_log off;
    {paths}
    server {{
        listen {ip}:{port} backlog=512;
        root {root};
        sendfile on;
        {extra}
    }}
}}
"""

NGINX_PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")

HAPROXY = """\
global
    log stderr local0 warning
    maxconn 512
    nbthread 1
defaults
    mode {mode}
    timeout connect 5s
    timeout client 10s
    timeout server 10s
listen front
    bind {ip}:{port}
    balance roundrobin
    {options}
{servers}
"""


def nginx_config(host: Host, root: Path, port: int = 80, workers: int = 2, extra: str = "") -> Path:
    """The configuration of `nginx`, written into the host's folder."""
    paths = "\n    ".join(f"{name}_temp_path {host.folder}/{name};" for name in NGINX_PATHS)
    config = host.folder / "nginx.conf"
    processes = f"worker_processes {workers};" if workers else "master_process off;"
    config.write_text(
        NGINX.format(
            processes=processes, folder=host.folder, paths=paths, ip=host.ip, port=port, root=root, extra=extra
        )
    )
    return config


def nginx(host: Host, root: Path, port: int = 80, workers: int = 2, extra: str = "") -> App:
    """nginx that serves the files below `root`.

    :param workers: worker processes, which inherit the listening socket; 0: the one process that is
        started serves.
    :param extra: more lines for its `server` block.
    """
    config = nginx_config(host, root, port, workers, extra)
    return host.start("nginx", "-c", config, "-p", host.folder).wait_port(port)


def haproxy(
    host: Host, servers: Sequence[tuple[str, int]], port: int = 80, mode: str = "http", options: str = ""
) -> App:
    """haproxy that spreads what comes to `port` over `servers` (addresses and ports), one after the other."""
    lines = "\n".join(f"    server s{i} {ip}:{number}" for i, (ip, number) in enumerate(servers))
    config = host.folder / "haproxy.cfg"
    config.write_text(HAPROXY.format(mode=mode, ip=host.ip, port=port, options=options, servers=lines))
    return host.start("haproxy", "-db", "-f", config).wait_port(port)


def memcached(host: Host, *words: str, port: int = 11211) -> App:
    """memcached on the host's address."""
    return host.start("memcached", "-u", "root", "-l", host.ip, "-p", str(port), *words).wait_port(port)


def dnsmasq(host: Host, names: Mapping[str, str]) -> App:
    """dnsmasq that knows these names (IPv4 addresses by name) and nothing else."""
    config = host.folder / "dnsmasq.conf"
    lines = [f"address=/{name}/{ip}" for name, ip in names.items()]
    config.write_text("\n".join(["no-resolv", "no-hosts", "bind-interfaces", f"listen-address={host.ip}", *lines]))
    words = ["--keep-in-foreground", "--user=root", "--log-facility=-", f"--pid-file={host.folder}/dnsmasq.pid"]
    return host.start("dnsmasq", "-C", config, *words).wait_port(53)


class PostgreSQL:
    """A PostgreSQL server with an empty cluster in memory, that trusts everybody.

    The programs refuse to run as root; root runs them in a user namespace in which it is somebody else.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.folder = host.net.scratch()
        self.programs = max(Path("/usr/lib/postgresql").glob("*/bin"))
        self._as_user = ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
        data = self.folder / "data"
        words: list[str | Path] = [*self._as_user, self.programs / "initdb", "-D", data, "-A", "trust", "-U", "test", "-N"]
        subprocess.run(words, check=True, capture_output=True)
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all trust\n")
        settings = {"listen_addresses": host.ip, "unix_socket_directories": self.folder, "fsync": "off"}
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        self.app = host.start(
            *self._as_user, self.programs / "postgres", "-D", data, *options, env=self._environment()
        )

    def _environment(self) -> dict[str, str]:
        """Where the fabric and DPDK are looked for depends on who asks."""
        return {"UVNET_RUNDIR": str(journal.rundir()), "XDG_RUNTIME_DIR": str(self.folder)}

    def client(self, program: str) -> list[str | Path]:
        """The words that start one of its clients, psql or pgbench, on another host."""
        return [self.programs / program, "-h", self.host.ip, "-U", "test", "-d", "postgres"]
