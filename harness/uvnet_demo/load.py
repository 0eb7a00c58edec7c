# SPDX-License-Identifier: BSD-3-Clause
"""A client that asks one question after the other and counts: load.py KIND HOST PORT RATE.

KIND is http or redis. Each connection is used for a hundred questions. A line on standard output for
every fifth of a second: answered, failed; a failure is a connection that was refused, reset or closed,
or an answer that took more than five seconds.
"""

import socket
import sys
import time

QUESTIONS = {
    "http": b"GET / HTTP/1.1\r\nHost: demo\r\n\r\n",
    "redis": b"PING\r\n",
}
ANSWER_BEGINS = {"http": b"HTTP/1.", "redis": b"+PONG\r\n"}
PER_CONNECTION = 100


def http_rest(answer: bytes) -> int:
    """Bytes of the answer that are still to come, at least."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return 1
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value) - len(body)
    return 0


def ask(connection: socket.socket, kind: str) -> None:
    """One question and its answer."""
    connection.sendall(QUESTIONS[kind])
    answer = b""
    begin = ANSWER_BEGINS[kind]
    while len(answer) < len(begin) or (kind == "http" and http_rest(answer) > 0):
        more = connection.recv(65536)
        if not more:
            raise ConnectionError("closed")
        answer += more
    if not answer.startswith(begin):
        raise ConnectionError("nonsense")


def main() -> None:
    """Until killed."""
    kind, host, port, rate = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    answered = failed = used = 0
    connection = None
    told = time.monotonic()
    while True:
        try:
            if connection is None:
                connection = socket.create_connection((host, port), 5)
                used = 0
            ask(connection, kind)
            answered += 1
            used += 1
            if used == PER_CONNECTION:
                connection.close()
                connection = None
        except OSError:
            failed += 1
            if connection is not None:
                connection.close()
            connection = None
        now = time.monotonic()
        if now - told >= 0.2:
            told = now
            print(answered, failed, flush=True)
        time.sleep(1 / rate)


if __name__ == "__main__":
    main()
