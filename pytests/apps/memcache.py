#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Ask a memcached: each of CONNECTIONS threads sets, appends to and gets KEYS values of its own.

    memcache.py ADDRESS PORT CONNECTIONS KEYS       print how many were right and wrong
"""

import concurrent.futures
import socket
import sys


def say(stream, words, value=None):
    """One command, with its data if it has some; the first line of the answer."""
    stream.write(words.encode() + b"\r\n")
    if value is not None:
        stream.write(value + b"\r\n")
    stream.flush()
    return stream.readline().split()


def client(address, port, number, keys):
    """One connection; how many values were right."""
    right = 0
    with socket.create_connection((address, port), 10) as sock, sock.makefile("rwb") as stream:
        for i in range(keys):
            key, value = f"{number}.{i}", bytes([33 + i]) * (i * 397)
            assert say(stream, f"set {key} 0 0 {len(value)}", value) == [b"STORED"]
            assert say(stream, f"append {key} 0 0 3", b"end") == [b"STORED"]
        for i in range(keys):
            size = int(say(stream, f"get {number}.{i}")[3])
            right += stream.read(size) == bytes([33 + i]) * (i * 397) + b"end"
            assert (stream.readline(), stream.readline()) == (b"\r\n", b"END\r\n")
    return right


def main(address, port, connections, keys):
    """All at once."""
    with concurrent.futures.ThreadPoolExecutor(connections) as pool:
        right = sum(pool.map(lambda number: client(address, port, number, keys), range(connections)))
    print(f"{right} right {connections * keys - right} wrong")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
