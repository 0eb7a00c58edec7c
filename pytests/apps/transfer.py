#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Send or receive a known stream over TCP, with plain blocking sockets, and print its SHA-256.

    transfer.py receive ADDRESS PORT
    transfer.py send ADDRESS PORT BYTES SEED

Both print "BYTES SHA256" at the end; the receiver prints "listening" first.
"""

import hashlib
import random
import socket
import sys

BLOCK = 1 << 20


def stream(total, seed):
    """Blocks that differ from each other, `total` bytes in all."""
    block = bytearray(random.Random(seed).randbytes(BLOCK))
    for number in range(0, total, BLOCK):
        block[:8] = number.to_bytes(8, "big")
        yield memoryview(block)[: min(BLOCK, total - number)]


def send(address, port, total, seed):
    """Connect, send, and wait until the other side has closed, too."""
    digest = hashlib.sha256()
    with socket.create_connection((address, port), timeout=30) as connection:
        for block in stream(total, seed):
            digest.update(block)
            connection.sendall(block)
        connection.shutdown(socket.SHUT_WR)
        if connection.recv(1) != b"":
            sys.exit("the receiver has sent something")
    print(total, digest.hexdigest())


def receive(address, port):
    """Accept one connection and read it to its end."""
    digest, total = hashlib.sha256(), 0
    buffer = memoryview(bytearray(BLOCK))
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family) as server:
        print("listening", flush=True)
        connection, _ = server.accept()
        with connection:
            while length := connection.recv_into(buffer):
                digest.update(buffer[:length])
                total += length
    print(total, digest.hexdigest())


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
    else:
        receive(sys.argv[2], int(sys.argv[3]))
