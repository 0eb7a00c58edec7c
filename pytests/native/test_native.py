# SPDX-License-Identifier: BSD-3-Clause
"""The native interface (uvstack.h): what its test program finds, and its example beside plain sockets."""

import pytest

pytestmark = pytest.mark.models

CASES = ["stream", "all_or_nothing", "hold", "datagrams", "beside_posix", "memory", "poll"]


def test_native_interface(net):
    """Both ends in one process, on the host's own address."""
    host = net.host("server", queues=2, mbufs=8192, depot_mb=4)
    done = host.run(net.build.directory / "stack" / "native_test", host.ip).check()
    assert done.stdout.split() == [word for case in CASES for word in ("ok", case)]


def test_example_echoes(net):
    """A megabyte over a bad line: what is sent from buffers is sent again from them."""
    server, client = net.host("server", queues=2), net.host("client")
    server.start(net.build.directory / "stack" / "uvnet_native_echo", server.ip, "7").wait_port(7)
    net.link(server).loss("1%")
    data = net.random("data").randbytes(500_000).hex()
    done = client.run("socat", "-t10", "-", f"TCP:{server.ip}:7", stdin=data.encode()).check()
    assert done.stdout == data
    assert client.stats()["lwip.ip_frag.recv"] == 0, "a segment did not fit into a packet"
