#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Open sockets, bound and listening, until there are no descriptors left; twice.

    exhaust.py ADDRESS
"""

import errno
import resource
import socket
import sys

resource.setrlimit(resource.RLIMIT_NOFILE, (512, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def open_all():
    """As many as there can be."""
    socks = []
    try:
        while len(socks) < 1000:
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM if len(socks) % 2 else socket.SOCK_DGRAM)
            socks.append(sock)
            sock.bind((sys.argv[1], 0))
            if len(socks) % 2 == 0:
                sock.listen()
    except OSError as error:
        assert error.errno == errno.EMFILE, error
    for sock in socks:
        sock.close()
    return len(socks)


first = open_all()
assert first > 100, first
assert open_all() == first
print("EMFILE, and again")
