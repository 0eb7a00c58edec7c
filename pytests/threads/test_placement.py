# SPDX-License-Identifier: BSD-3-Clause
"""Where the threads run."""

import os
from pathlib import Path

import pytest

from uvnet_harness import until

ALLOWED = sorted(os.sched_getaffinity(0))

needs_two = pytest.mark.skipif(len(ALLOWED) < 2, reason="one CPU: nobody can be kept off it")


def threads(pid):
    """CPUs that each thread may use, by the thread's name."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        found[(task / "comm").read_text().strip()] = os.sched_getaffinity(int(task.name))
    return found


@needs_two
def test_stack_thread_has_its_cpu_and_the_application_the_others(net, program):
    host = net.host("server", model="separate", cpus=ALLOWED[-1], app_cpus="others")
    app = host.start(*program("pingpong"), "serve", host.ip, "7").wait_port(7)
    cpus = threads(app.pid)
    assert cpus["uvs-stack0"] == {ALLOWED[-1]}
    assert cpus["python3"] == set(ALLOWED[:-1])


def test_application_goes_where_it_likes_unless_asked(net, program):
    host = net.host("server", model="separate", cpus=ALLOWED[0])
    app = host.start(*program("pingpong"), "serve", host.ip, "7").wait_port(7)
    cpus = threads(app.pid)
    assert cpus["uvs-stack0"] == {ALLOWED[0]}
    assert cpus["python3"] == set(ALLOWED)


def test_a_numa_node_is_a_list_of_cpus(net, program):
    host = net.host("server", model="separate", cpus="numa:0")
    app = host.start(*program("pingpong"), "serve", host.ip, "7").wait_port(7)
    assert len(threads(app.pid)["uvs-stack0"]) == 1


@pytest.mark.uvnet(allow_log=["cpus: not all of them"])
def test_cpus_that_are_not_there_are_named(net, program):
    host = net.host("server", model="separate", cpus="1023")
    done = host.run(*program("pingpong"), "ask", host.ip, "7", "1")
    assert done.returncode != 0
    until(lambda: "cpus: not all of them are there for this process" in host.log, 5, "the reason in the log")


@pytest.mark.parametrize(
    "config, reason",
    [
        ("model=separate cpus=1-", "is no list of CPUs"),
        ("model=separate cpus=3-1", "ends before it begins"),
        ("model=separate cpus=4096", "beyond 1023"),
        ("model=separate cpus=numa:900", "no CPUs here"),
        ("cpus=1", "without model = separate"),
        ("model=separate app_cpus=others", "needs cpus"),
    ],
)
def test_what_makes_no_sense_is_refused(net, config, reason):
    host = net.host("server")
    sets = dict(pair.split("=") for pair in config.split())
    words = host.command(set=sets)
    words[-1] = "--check-config"
    done = net.processes.run("uvrun", words, host.folder)
    assert done.returncode != 0
    assert reason in done.stderr
