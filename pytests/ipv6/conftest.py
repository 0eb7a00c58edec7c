# SPDX-License-Identifier: BSD-3-Clause
"""A host with IPv6 and an echo service on TCP and UDP port 7, and a wire to speak to it."""

import pytest


@pytest.fixture
def server(net, program):
    """The host; ``server.app`` is what runs on it."""
    host = net.host("server", ipv6=True)
    host.app = host.start(*program("echo_asyncio"), "serve", host.ip6, "7")
    host.app.process.wait_output("listening")
    return host


@pytest.fixture
def wire(net):
    """The wire, with IPv6 addresses of its own."""
    return net.wire("wire", ipv6=True)
