# SPDX-License-Identifier: BSD-3-Clause
"""Several stacks in one process, a queue each: every thread uses every socket, whichever stack it is on."""

import re
from pathlib import Path

import pytest

CASES = re.findall(r"^def (\w+)\(\):\n", (Path(__file__).parents[1] / "apps" / "stacks.py").read_text(), re.M)

CONNECTIONS = 32


def of_each(stats, name):
    """A counter of each stack of a host with two."""
    return [stats[f"stacks.{number}.{name}"] for number in range(2)]


@pytest.mark.models("shared", "several")
def test_sockets_of_all_stacks_are_used_as_one(net, program, stack_model):
    host = net.host("server", **({"queues": 2, "stacks": 2} if stack_model == "shared" else {}))
    done = host.run(*program("stacks"), host.ip, timeout=60).check()
    assert done.stdout.split() == CASES


@pytest.mark.models("several")
def test_connections_spread_over_the_stacks(net, program):
    """Those that arrive by RSS; those that are made one by one, each from a port whose answers come to
    its own stack, so that none is handed from one to the other."""
    server, client = net.host("server"), net.host("client")
    app = server.start(*program("echo_asyncio"), "serve", server.ip, "7").wait_port(7)
    client.run(*program("echo_asyncio"), "ask", server.ip, "7", str(CONNECTIONS), "5").check()
    app.stop()
    assert of_each(client.stats(), "lwip.tcp_active_opens") == [CONNECTIONS // 2, CONNECTIONS // 2]
    assert sum(n for name, n in client.stats().items() if name.startswith("steer.to_")) == 0
    arrived = of_each(server.stats(), "lwip.tcp_passive_opens")
    assert min(arrived) > 0 and sum(arrived) == CONNECTIONS + 1, "with the one that asked whether it listens"
