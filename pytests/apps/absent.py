#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A server that is somewhere else when its connection needs it.

    absent.py compute|handler ADDRESS PORT SECONDS

It accepts one connection, then computes, or sits in a signal handler, for so long without a call that
concerns the network; then it reads all and answers with the number of bytes.
"""

import signal
import socket
import sys
import time


def compute(seconds):
    """Use the processor."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def main():
    """One connection."""
    how, address, port, seconds = sys.argv[1:]
    signal.signal(signal.SIGUSR1, lambda *_: time.sleep(float(seconds)))
    with socket.create_server((address, int(port))) as server:
        connection, _ = server.accept()
    with connection:
        print("away", flush=True)
        if how == "compute":
            compute(float(seconds))
        else:
            signal.raise_signal(signal.SIGUSR1)
        print("back", flush=True)
        count = 0
        while data := connection.recv(65536):
            count += len(data)
        connection.sendall(str(count).encode())


main()
