# SPDX-License-Identifier: BSD-3-Clause
"""Interfaces and network namespaces of the kernel."""

from __future__ import annotations

import subprocess


def ip(*words: str) -> str:
    """Run ip(8).

    :returns: what it prints.
    :raises AssertionError: it fails; with what it says.
    """
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr.strip()}"
    return done.stdout
