# SPDX-License-Identifier: BSD-3-Clause
"""A host with an echo service on TCP and UDP port 7, and a wire to speak to it."""

import pytest


@pytest.fixture
def server(net):
    """The host; ``server.app`` is what runs on it."""
    host = net.host("server", queues=4)
    host.app = host.start(net.build.echo, host.ip, "7").wait_port(7)
    return host


@pytest.fixture
def wire(net, server):
    """The wire, which has said who it is."""
    made = net.wire("wire")
    made.arp(server.ip)
    return made
