# SPDX-License-Identifier: BSD-3-Clause
"""Several stacks in one process, a queue each: every thread uses every socket, whichever stack it is on."""

import pytest

pytestmark = pytest.mark.models("several")


def test_echo(net, program):
    server, client = net.host("server"), net.host("client")
    server.start(*program("pingpong"), "serve", server.ip, "7").wait_port(7)
    for n in range(4):
        done = client.run(*program("pingpong"), "ask", server.ip, "7", "0.2").check()
        print(done.stdout)
    print(client.stats())
