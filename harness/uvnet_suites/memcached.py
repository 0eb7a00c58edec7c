# SPDX-License-Identifier: BSD-3-Clause
"""memcached's t/: a client in Perl that starts servers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from uvnet_suites.base import Suite, lay_out, replace, sources, write_script
from uvnet_suites.tap import TapFile

SERVER = r"""case $1 in
-h) exec /usr/bin/memcached -h | grep -v unix-socket ;; # where there are those, the tests use no other
*) exec /usr/bin/memcached "$@" ;;
esac"""


class Memcached(TapFile):
    """A file of memcached's t/, with the distribution's memcached."""

    suite = "memcached"
    several_processes = True

    def prepare(self, folder: Path, address: str) -> None:
        lay_out(sources("memcached"), folder, ["t"])
        write_script(folder / "memcached-debug", SERVER)
        write_script(folder / "timedrun", 'shift\nexec "$@"')
        library = folder / "t" / "lib" / "MemcachedTest.pm"
        replace(library, '$args .= " -o relaxed_privileges";', "")  # the distribution's has no such option
        if address != "127.0.0.1":
            replace(library, "127.0.0.1", address)
            test = folder / "t" / self.name
            test.write_text(test.read_text(encoding="latin-1").replace("127.0.0.1", address), encoding="latin-1")

    def command(self, folder: Path, tests: Iterable[str]) -> list[str]:
        return ["/usr/bin/perl", "-It/lib", f"t/{self.name}"]

    @staticmethod
    def all() -> list[Suite]:
        """Every file that has to do with sockets that the distribution's memcached has."""
        others = ("ssl_", "proxy", "whitespace", "unixsocket")  # built without; of the source; no INET
        files = sorted(file.name for file in (sources("memcached") / "t").glob("*.t"))
        return [Memcached(name, 600) for name in files if not name.startswith(others)]
