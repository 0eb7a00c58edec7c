# SPDX-License-Identifier: BSD-3-Clause
"""What boots: an uncompressed kernel, and an initramfs of busybox, modules and `init`.

The initramfs only finds the way to the host's files, which the guest then runs on: they are mounted
read-only by 9p, with memory on top for what the guest writes.
"""

from __future__ import annotations

import lzma
import re
import shutil
import subprocess
from pathlib import Path

from uvnet_vm.packages import Packages, Unavailable

INIT = Path(__file__).with_name("init")

MODULES = (
    "virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay",
    "igb", "vfio-pci", "vfio_iommu_type1",
)  # fmt: skip
"""Modules of the kernel that the guest needs, without those they need themselves."""

XZ_MAGIC = b"\xfd7zXZ\x00"


class Image:
    """Kernel and initramfs, made of the packages once and kept beside them."""

    def __init__(self, packages: Packages) -> None:
        self.packages = packages
        self.kernel = packages.folder / "vmlinux"
        self.initramfs = packages.folder / "initramfs"

    def make(self) -> None:
        """Make what is missing or older than what it is made of.

        :raises Unavailable: the kernel is packed in a way that is not known.
        """
        if not self.kernel.exists():
            _replace(self.kernel, unpacked(self.packages.vmlinuz.read_bytes()))
        if not self.initramfs.exists() or self.initramfs.stat().st_mtime < INIT.stat().st_mtime:
            _replace(self.initramfs, self._archive())

    def _archive(self) -> bytes:
        tree = self.packages.folder / "tree"
        shutil.rmtree(tree, ignore_errors=True)
        for name in ("bin", "modules", "proc", "sys", "dev", "lower", "memory", "root"):
            (tree / name).mkdir(parents=True)
        shutil.copy2(self.packages.busybox, tree / "bin/busybox")
        shutil.copy2(INIT, tree / "init")
        (tree / "init").chmod(0o755)
        for number, module in enumerate(load_order(self.packages.modules, MODULES)):
            shutil.copy2(module, tree / "modules" / f"{number:02}-{module.name}")
        names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
        words = [str(self.packages.busybox), "cpio", "-o", "-H", "newc"]
        done = subprocess.run(words, cwd=tree, input=names.encode(), capture_output=True, check=True)
        shutil.rmtree(tree)
        return done.stdout


def _replace(path: Path, content: bytes) -> None:
    """Write a file such that it is never seen half written."""
    part = path.with_suffix(".part")
    part.write_bytes(content)
    part.replace(path)


def unpacked(vmlinuz: bytes) -> bytes:
    """The ELF file in a bzImage: QEMU starts it at once (PVH), without the boot sector's detours.

    :raises Unavailable: it is not compressed with xz.
    """
    for found in re.finditer(re.escape(XZ_MAGIC), vmlinuz):
        try:
            content = lzma.LZMADecompressor().decompress(vmlinuz[found.start() :])
        except lzma.LZMAError:
            continue
        if content.startswith(b"\x7fELF"):
            return content
    raise Unavailable("the kernel is not compressed with xz: uvnet_vm/image.py must learn how it is")


def _needs(module: Path) -> list[str]:
    found = re.search(rb"\0depends=([^\0]*)\0", module.read_bytes())
    return [name for name in (found[1].decode() if found else "").split(",") if name]


def load_order(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """The modules' files and those of the modules they need, each after those it needs.

    :raises Unavailable: the kernel does not have one.
    """
    files = {path.stem.replace("-", "_"): path for path in folder.rglob("*.ko")}
    order: list[Path] = []

    def add(name: str) -> None:
        path = files.get(name.replace("-", "_"))
        if path is None:
            raise Unavailable(f"the kernel in {folder} has no module {name}")
        if path not in order:
            for other in _needs(path):
                add(other)
            order.append(path)

    for name in names:
        add(name)
    return order
