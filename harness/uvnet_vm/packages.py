# SPDX-License-Identifier: BSD-3-Clause
"""QEMU, a kernel and busybox: packages of the distribution, unpacked into a folder and not installed.

QEMU comes from the distribution's backports (the release itself has none that knows igb); what it
needs and is not installed here comes along. apt checks the signatures; its own lists, caches and
configuration stay as they are, and no root is needed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

KERNEL = "linux-image-amd64"
QEMU = "qemu-system-x86"
BUSYBOX = "busybox-static"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class Unavailable(Exception):
    """There can be no virtual machine here; the text says why, and what helps."""


class Packages:
    """The unpacked packages.

    :param folder: where they are, or will be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self._stamp = folder / "packages"

    # ------------------------------------------------------------------------------ what is there

    @property
    def qemu(self) -> Path:
        """The emulator."""
        return self.root / "usr/bin/qemu-system-x86_64"

    @property
    def busybox(self) -> Path:
        """A shell and tools that need no libraries."""
        return self.root / "bin/busybox"

    @property
    def firmware(self) -> Path:
        """Where QEMU finds what it starts a machine with."""
        return self.root / "usr/share/qemu"

    @property
    def vmlinuz(self) -> Path:
        """The kernel as it is packed.

        :raises Unavailable: there is not exactly one.
        """
        found = sorted((self.root / "boot").glob("vmlinuz-*"))
        if len(found) != 1:
            raise Unavailable(f"{self.root}/boot has {len(found)} kernels instead of one: remove {self.folder}")
        return found[0]

    @property
    def modules(self) -> Path:
        """The kernel's modules."""
        return self.root / "lib/modules" / self.vmlinuz.name.removeprefix("vmlinuz-") / "kernel"

    @property
    def versions(self) -> str:
        """What was unpacked, a package=version each line."""
        return self._stamp.read_text()

    def environment(self) -> dict[str, str]:
        """The environment of QEMU: where its libraries are."""
        places = [self.root / "usr/lib/x86_64-linux-gnu", self.root / "lib/x86_64-linux-gnu"]
        return {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, places))}

    def usable(self) -> bool:
        """QEMU is there and finds its libraries."""
        if not self._stamp.exists() or not self.qemu.exists():
            return False
        words = [str(self.qemu), "--version"]
        return subprocess.run(words, env=self.environment(), capture_output=True, check=False).returncode == 0

    # ---------------------------------------------------------------------------------- getting it

    def get(self) -> None:
        """Fetch and unpack what is missing; nothing, if it is all there.

        :raises Unavailable: it cannot be had.
        """
        if self.usable():
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        work = self.folder / "work"
        try:
            for part in ("parts", "lists/partial", "cache/archives/partial", "get"):
                (work / part).mkdir(parents=True)
        except OSError as error:
            raise Unavailable(f"{self.folder} cannot be made ({error.strerror}): make the folder writable") from None
        apt = _Apt(work)
        wanted = apt.wanted()
        apt.download(wanted)
        for package in sorted((work / "get").glob("*.deb")):
            _run(["dpkg-deb", "-x", str(package), str(self.root)], f"{package.name} cannot be unpacked")
        shutil.rmtree(work)
        self._stamp.write_text("\n".join(wanted) + "\n")
        if not self.usable():
            raise Unavailable(f"{self.qemu} does not start: LD_LIBRARY_PATH={self.root}/usr/lib/… ldd shows what it lacks")


class _Apt:
    """apt with lists and caches of its own."""

    def __init__(self, work: Path) -> None:
        self.work = work
        if not shutil.which("apt-get"):
            raise Unavailable("QEMU comes as a Debian package, and there is no apt-get here")
        codename, mirror = _codename(), _mirror()
        self.backports = f"{codename}-backports"
        (work / "parts/vm.sources").write_text(
            f"Types: deb\nURIs: {mirror}\nSuites: {codename} {codename}-updates {self.backports}\n"
            f"Components: main\nArchitectures: amd64\nSigned-By: {KEYRING}\n"
        )
        places = {
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": work / "parts",
            "Dir::State::lists": work / "lists",
            "Dir::Cache": work / "cache",
            "Acquire::Languages": "none",
            "Debug::NoLocking": "1",
        }
        if os.geteuid() == 0:  # the folder belongs to us, not to apt's sandbox user
            places["APT::Sandbox::User"] = "root"
        self._options = [f"-o{key}={value}" for key, value in places.items()]
        self._ask("the package lists cannot be fetched", "apt-get", "-q", "update", "--error-on=any")

    def _ask(self, what: str, program: str, *words: str) -> str:
        return _run([program, *self._options, *words], what, self.work / "get")

    def wanted(self) -> list[str]:
        """package=version of what is to be unpacked."""
        plan = self._ask(
            f"{QEMU} of {self.backports} cannot be had",
            "apt-get", "-s", "--no-install-recommends", "-t", self.backports, "install", "--reinstall", QEMU,
        )  # fmt: skip
        wanted = [f"{name}={version}" for name, version in re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+)", plan, re.M)]
        depends = self._ask(f"{KERNEL} is unknown", "apt-cache", "depends", KERNEL)
        kernel = re.search(r"Depends: (linux-image-\d\S+)", depends)
        if kernel is None:
            raise Unavailable(f"the archive's {KERNEL} names no kernel")
        return [*wanted, kernel[1], BUSYBOX]

    def download(self, wanted: list[str]) -> None:
        """Fetch them."""
        self._ask("the packages cannot be fetched", "apt-get", "-q", "download", *wanted)


def _run(words: list[str], what: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        words, cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}
    )
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("E:")] or done.stderr.splitlines()[-1:]
        raise Unavailable(f"{what} ({' '.join(said[:1])}): is there a network, and a Debian archive in /etc/apt?")
    return done.stdout


def _codename() -> str:
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    if release.get("ID") != "debian":
        raise Unavailable("the virtual machine is made of Debian packages, and this is no Debian")
    return release.get("VERSION_CODENAME", "").strip('"')


def _mirrors() -> Iterator[str]:
    for file in sorted(Path("/etc/apt").glob("sources.list.d/*.sources")):
        yield from re.findall(r"^URIs:\s*(\S+)", file.read_text(), re.M | re.I)
    for file in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt").glob("sources.list.d/*.list"))]:
        if file.exists():
            yield from re.findall(r"^deb\s+(?:\[[^]]*\]\s+)?(\S+)", file.read_text(), re.M)


def _mirror() -> str:
    """The archive that this machine uses already."""
    for mirror in _mirrors():
        if re.search(r"/debian/?$", mirror):
            return mirror
    raise Unavailable("/etc/apt names no Debian archive (an address that ends in /debian)")
