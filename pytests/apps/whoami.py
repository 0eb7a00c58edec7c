#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Which of several processes answers?

    whoami.py tcp|udp ADDRESS PORT NAME     answers whatever it is sent with NAME; SO_REUSEPORT
    whoami.py ask ADDRESS PORT COUNT        makes COUNT connections and keeps them; says who answers
                                            the first byte, as JSON; then, for each SIGUSR1, how many
                                            are answered by somebody else now
    whoami.py refused ADDRESS PORT          sends a datagram; says which error the answer is
"""

import json
import selectors
import signal
import socket
import sys


def bound(kind, address, port):
    """A socket that shares its port."""
    sock = socket.socket(socket.AF_INET, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((address, int(port)))
    return sock


def serve_tcp(address, port, name):
    """Answer on every connection."""
    listener = bound(socket.SOCK_STREAM, address, port)
    listener.listen()
    print("ready", flush=True)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                selector.register(listener.accept()[0], selectors.EVENT_READ)
            elif key.fileobj.recv(1000):
                key.fileobj.sendall(name.encode())
            else:
                selector.unregister(key.fileobj)
                key.fileobj.close()


def serve_udp(address, port, name):
    """Answer every datagram."""
    sock = bound(socket.SOCK_DGRAM, address, port)
    print("ready", flush=True)
    while True:
        sock.sendto(name.encode(), sock.recvfrom(1000)[1])


def answer(sock):
    """Who is at the other end?"""
    sock.sendall(b"?")
    return sock.recv(100).decode()


def ask(address, port, count):
    """Connections, and who has them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    socks = [socket.create_connection((address, int(port))) for _ in range(int(count))]
    first = [answer(sock) for sock in socks]
    print(json.dumps({name: first.count(name) for name in first}), flush=True)
    while signal.sigwait([signal.SIGUSR1]):
        print("moved", sum(answer(sock) != name for sock, name in zip(socks, first)), flush=True)


def refused(address, port):
    """What becomes of a datagram to a port nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((address, int(port)))
        sock.send(b"?")
        try:
            sock.recv(100)
        except OSError as error:
            print(type(error).__name__, flush=True)


if __name__ == "__main__":
    {"tcp": serve_tcp, "udp": serve_udp, "ask": ask, "refused": refused}[sys.argv[1]](*sys.argv[2:])
