# SPDX-License-Identifier: BSD-3-Clause
"""ci/pci: what it says before it boots anything."""

import os
import subprocess
from pathlib import Path

PCI = Path(__file__).resolve().parents[2] / "ci" / "pci"


def run(*words, **environment):
    """The command, to its end."""
    return subprocess.run(
        [PCI, *words], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


def test_help_names_the_cards():
    done = run("--help")
    assert done.returncode == 0
    for card in ("igb ", "igbvf ", "virtio "):
        assert f"  {card}" in done.stdout


def test_unknown_card_is_refused():
    done = run("thunderbolt")
    assert done.returncode == 2
    assert "there is no card thunderbolt: igb, igbvf, virtio" in done.stderr


def test_no_place_for_the_packages_skips_with_the_reason():
    """As on a machine whose checkout is read-only; nothing is fetched, nothing booted."""
    done = run(UVNET_DEPS_CACHE="/proc/nothing")
    assert done.returncode == 0
    assert "ci/pci: skipped: /proc/nothing/vm cannot be made" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 passed, 0 failed, 1 skipped"
