# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's TCP and ours on one fabric: each is the other's judge."""

import pytest

SIZE = 16 << 20


@pytest.fixture
def both(net):
    """A kernel host and a host of the stack."""
    return net.kernel_host("kernel"), net.host("stack", queues=2)


def test_ping(program, both):
    kernel, stack = both
    stack.start(*program("transfer"), "receive", stack.ip, "4000").wait_ready(log="listening")
    done = kernel.run("ping", "-c", "5", "-i", "0.01", "-s", "1472", stack.ip).check()
    assert " 0% packet loss" in done.stdout


@pytest.mark.uvnet(capture=False)
@pytest.mark.parametrize("to_kernel", [True, False], ids=["to_kernel", "to_stack"])
def test_stream_arrives_whole(program, both, to_kernel):
    kernel, stack = both
    sink, source = (kernel, stack) if to_kernel else (stack, kernel)
    receiver = sink.start(*program("transfer"), "receive", sink.ip, "4000")
    receiver.process.wait_output("listening")
    done = source.run(*program("transfer"), "send", sink.ip, "4000", str(SIZE), "3", timeout=60).check()
    assert receiver.wait(10) == 0
    assert receiver.stdout.split()[-2:] == done.stdout.split() != []
    assert kernel.log == ""


def test_redis(redis_server, both):
    kernel, stack = both
    redis_server(stack)
    assert kernel.run("redis-cli", "-h", stack.ip, "SET", "key", "value").stdout == "OK\n"
    assert kernel.run("redis-cli", "-h", stack.ip, "GET", "key").stdout == "value\n"
