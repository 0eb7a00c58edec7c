# SPDX-License-Identifier: BSD-3-Clause
"""pytest inside pytest: whole runs of scenarios, each in a folder of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import uvnet_harness
from uvnet_harness import journal
from uvnet_harness.fabric import Build
from uvnet_harness.plugin import build_directory

HARNESS = Path(uvnet_harness.__file__).resolve().parents[1]


class Runs:
    """pytest runs in a folder of their own, with a RUNDIR of their own."""

    def __init__(self, folder, rundir, build):
        self.folder, self.rundir, self.build = folder, rundir, build
        self.artifacts = folder / "artifacts"
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(HARNESS),
            "UVNET_RUNDIR": str(rundir),
            "UVNET_BUILD": str(build),
        }
        for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_ADDOPTS"):
            self.environment.pop(name, None)
        (folder / "pytest.ini").write_text("[pytest]\ncache_dir = .cache\n")

    def write(self, text):
        """The scenario file."""
        (self.folder / "test_it.py").write_text(text)

    def words(self, *options):
        """The command line."""
        plugin = ["-p", "uvnet_harness.plugin", f"--artifacts={self.artifacts}"]
        return [sys.executable, "-m", "pytest", *plugin, *options, "test_it.py"]

    def run(self, *options, command=None):
        """A run to its end."""
        words = command or self.words(*options)
        return subprocess.run(
            words, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )

    def start(self, *options):
        """A run in the background."""
        return subprocess.Popen(
            self.words("-s", *options), cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, text=True
        )

    def left(self):
        """What stands in RUNDIR."""
        try:
            return sorted(os.listdir(self.rundir))
        except FileNotFoundError:  # the last run's reaper took it
            return []


@pytest.fixture
def runs(tmp_path, request, uvnet_run):
    """See `Runs`; skipped if there is no fabric to run on."""
    build = Build(build_directory(request.config))
    problem = build.missing(build.uvbridge, build.uvbridged, build.libuvbridge)
    if problem:
        pytest.skip(problem)
    with journal.folder(uvnet_run.journal, "uvnet-test-", "/dev/shm") as rundir:
        yield Runs(tmp_path, rundir, build.directory)
        for folder in rundir.glob("[!.]*"):
            journal.remove_fabric(folder.name, "", rundir)
