# SPDX-License-Identifier: BSD-3-Clause
"""--nic=tap and --nic=af_packet: scenarios of any card do run on them, those about uveth do not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import uvnet_harness

HARNESS = Path(uvnet_harness.__file__).resolve().parents[1]
SCENARIOS = HARNESS.parent / "pytests"
PING = f"{SCENARIOS}/protocols/test_arp_icmp.py::test_echo_is_answered"
UVETH = f"{SCENARIOS}/bridge/test_rss.py"


def run(net, *words):
    """pytest, to its end: its last line."""
    if os.geteuid() != 0:
        pytest.skip("interfaces in network namespaces need root")
    net.need_stack()
    line = [sys.executable, "-m", "pytest", "-c", f"{SCENARIOS}/pytest.ini", "-p", "uvnet_harness.plugin", "-q", "-rs"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [*line, f"--build-dir={net.build.directory}", f"--artifacts={net.settings.artifacts}", *words], cwd=net.folder, capture_output=True, text=True,
        env={**environment, "PYTHONPATH": str(HARNESS)}, timeout=100, check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_on_tap_interfaces(net):
    """A scenario of any card, and one about uveth."""
    said = run(net, "--nic=tap", PING, UVETH)
    assert "1 passed" in said
    assert "is about uveth: not for --nic=tap" in said


def test_on_af_packet(net):
    assert "1 passed" in run(net, "--nic=af_packet", PING)
