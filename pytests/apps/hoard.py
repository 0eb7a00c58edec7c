#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Connections that send to an echo service and never read what comes back.

    hoard.py ADDRESS PORT CONNECTIONS BYTES     print "stuck" when no more can be sent
"""

import contextlib
import select
import socket
import sys
import time

address, port, number, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
poller, left, socks = select.poll(), {}, {}
for _ in range(number):
    sock = socket.create_connection((address, port))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    poller.register(sock, select.POLLOUT)
    left[sock.fileno()], socks[sock.fileno()] = size, sock
progress = time.monotonic()
while left and time.monotonic() - progress < 0.5:
    for fd, _ in poller.poll(100):
        with contextlib.suppress(BlockingIOError):
            left[fd] -= socks[fd].send(bytes(min(left[fd], 65536)))
            progress = time.monotonic()
        if left[fd] == 0:
            poller.unregister(fd)
            del left[fd]
print("stuck", flush=True)
time.sleep(60)
