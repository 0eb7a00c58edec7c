# SPDX-License-Identifier: BSD-3-Clause
"""The same program on the kernel and on the stack: same returns, errno and events.

The program, ``build/stack/posix/tests/diff``, prints what each call answered; nothing of ours is linked
into it. ``loopback = stack`` gives it 127.0.0.1 on the stack as well. The self-checking stress cases, each
one of the traps of interposition, run beside it.
"""

import difflib
import os
import subprocess

import pytest

AREAS = ["tcp", "udp", "udp6", "raw", "raw6", "poll", "select", "epoll", "fd", "signal", "wake"]

STRESS = [
    "lost_wakeups", "fd_reuse", "cancellation", "exclusive", "signal_storm", "spawn_while_streaming",
    "fork_while_streaming", "fork_child_view", "vfork_waits", "close_everything", "daemonize", "nothing_inherited",
    "inherit_connection", "inherit_grandchild", "inherit_exec", "inherit_properties", "inherit_last_close",
    "inherit_listener_blocking", "inherit_listener_poll", "inherit_listener_epoll", "inherit_listener_on_any",
    "inherit_workers_die",
]  # fmt: skip


def cases(program, area):
    """The program's cases of an area."""
    listed = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    return [case for case in listed if case.startswith(area + "_")]


@pytest.fixture
def tool(net):
    """Path of one of the test programs of stack/posix."""
    return lambda name: os.fspath(net.build.directory / "stack" / "posix" / "tests" / name)


@pytest.mark.parametrize("area", AREAS)
def test_stack_answers_as_the_kernel(net, tool, area):
    compare(net.host(queues=2, loopback="stack", ipv6=area in ("udp6", "raw6")), tool("diff"), area)


@pytest.mark.parametrize("stack_model", ["separate"], indirect=True)
@pytest.mark.parametrize("area", ["udp", "wake"])
def test_stack_threads_answer_as_the_kernel(net, tool, area):
    """All areas: --model=separate."""
    compare(net.host(queues=2, loopback="stack"), tool("diff"), area)


def test_echo_sockets_answer_as_the_kernel(net, tool):
    """In a network namespace of their own, where everybody may have one (net.ipv4.ping_group_range)."""
    allowed = "ip link set lo up && echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range && exec \"$@\""
    host = net.host(queues=2, loopback="stack", ipv6=True)
    compare(host, tool("diff"), "echo", ["unshare", "--net", "sh", "-c", allowed, "sh"])


@pytest.mark.parametrize("area", ["mcast", "mcast6"])
def test_groups_answer_as_the_kernel(net, tool, area):
    """The kernel has an interface of its own for them."""
    interface = (
        "ip link set lo up && ip tuntap add t0 mode tap && ip link set t0 up && ip addr add 198.18.0.1/24 dev t0 && "
        "ip -6 addr add fd77::1/64 dev t0 nodad && ip route add 224.0.0.0/4 dev t0 && exec \"$@\""
    )
    compare(net.host(queues=2, ipv6=True), tool("diff"), area, ["unshare", "--net", "sh", "-c", interface, "sh"])


def compare(host, program, area, through=()):
    """Each case of an area, on the kernel and on a host, started through some other program."""
    wanted = cases(program, area)
    assert wanted
    for case in wanted:
        kernel = subprocess.run([*through, program, case], capture_output=True, text=True, check=True).stdout
        stack = host.run(*through, program, case).stdout
        difference = "\n".join(difflib.unified_diff(kernel.split("\n"), stack.split("\n"), "kernel", "stack", lineterm=""))
        assert not difference, f"{case}:\n{difference}"


@pytest.mark.parametrize("case", STRESS)
def test_stress(net, tool, case):
    stress(net.host(queues=2, loopback="stack"), tool("stress"), case)


@pytest.mark.parametrize("stack_model", ["separate"], indirect=True)
@pytest.mark.parametrize("case", ["lost_wakeups", "signal_storm", "fork_while_streaming"])
def test_stress_of_stack_threads(net, tool, case):
    """All cases: --model=separate."""
    stress(net.host(queues=2, loopback="stack"), tool("stress"), case)


def stress(host, program, case):
    """One case, which checks itself."""
    assert f"ok {case}" in host.run(program, case, timeout=90, env={"STRESS_STACK": "1"}).check().stdout
