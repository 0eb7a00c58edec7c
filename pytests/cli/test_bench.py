# SPDX-License-Identifier: BSD-3-Clause
"""ci/bench: what is left when it is ended."""

import os
import signal
from pathlib import Path

import pytest

from uvnet_harness import journal, until

BENCH = Path(__file__).resolve().parents[2] / "ci" / "bench"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left(net, number):
    if os.geteuid() != 0:
        pytest.skip("ci/bench needs root")
    rundir = net.scratch()
    bench = net.start(
        "bench", BENCH, "fabric", "--build", net.build.directory, "--rounds", "1",
        env={"UVNET_RUNDIR": str(rundir)},
    )  # fmt: skip
    until(
        lambda: journal.daemon_of(rundir / "bench") or not bench.running, 20, lambda: f"a fabric\n{bench.output()}"
    )
    if "huge pages" in bench.stderr:  # other tests have them at the moment
        pytest.skip(bench.stderr.strip())
    daemon = journal.daemon_of(rundir / "bench")
    bench.send_signal(number)
    bench.wait(20)
    until(lambda: not rundir.exists() or not list(rundir.iterdir()), 20, "its fabric and its journal to go")
    assert not journal.alive(daemon, None)
