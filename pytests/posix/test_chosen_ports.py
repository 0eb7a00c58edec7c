# SPDX-License-Identifier: BSD-3-Clause
"""Ports that the system chooses for a socket that is bound to any address."""

import pytest

pytestmark = pytest.mark.uvnet(ports=2, capture=False)

CLIENTS = """
import socket, threading
server = socket.create_server(("127.0.0.1", 0))

def serve():
    while True:
        end, _ = server.accept()
        end.recv(1)
        end.close()

threading.Thread(target=serve, daemon=True).start()
for _ in range(700):
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.bind(("", 0))
    client.connect(server.getsockname())
    client.close()
print("connected")
"""


def test_a_chosen_port_is_no_connections(net):
    """As Tcl does it: bound before they connect, the earlier ones in TIME_WAIT. Of 28,000 ports one or another of 700
    would be chosen a second time, and could not be connected."""
    done = net.host("host", loopback="stack").run("/usr/bin/python3", "-c", CLIENTS)
    assert done.stdout == "connected\n", done
