#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Round trips of one message over TCP, with plain sockets.

    pingpong.py serve ADDRESS PORT                 answer any number of clients, a thread each
    pingpong.py ask ADDRESS PORT SECONDS [BYTES]   print statistics as JSON, microseconds
"""

import json
import socket
import sys
import threading
import time


def answer(connection):
    """Send back what comes."""
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := connection.recv(65536):
            connection.sendall(data)


def serve(address, port):
    """Accept for ever."""
    with socket.create_server((address, port), backlog=64) as server:
        print("listening", flush=True)
        while True:
            connection, _ = server.accept()
            threading.Thread(target=answer, args=(connection,), daemon=True).start()


def round_trip(connection, message):
    """Seconds that one message takes there and back."""
    begun = time.perf_counter()
    connection.sendall(message)
    missing = len(message)
    while missing:
        data = connection.recv(missing)
        if not data:
            sys.exit("the server has closed")
        missing -= len(data)
    return time.perf_counter() - begun


def ask(address, port, seconds, size):
    """Round trips for some time."""
    message, times = bytes(size), []
    with socket.create_connection((address, port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            times.append(round_trip(connection, message) * 1e6)
    times.sort()
    at = {name: times[int(len(times) * share)] for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))}
    print(json.dumps({"count": len(times), "min": times[0], **at, "max": times[-1]}))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], int(sys.argv[3]))
    else:
        ask(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]) if len(sys.argv) > 5 else 1)
