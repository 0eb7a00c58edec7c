#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Which of several processes answers?

    whoami.py tcp|udp ADDRESS PORT NAME     answers whatever it is sent with NAME; SO_REUSEPORT
    whoami.py ask ADDRESS PORT COUNT        makes COUNT connections and keeps them; says who answers
                                            the first byte, as JSON; then, for each SIGUSR1, how many
                                            are answered by somebody else now
    whoami.py refused ADDRESS PORT          sends a datagram; says which error the answer is
    whoami.py peers ADDRESS PORT NAME PEER FIRST COUNT
                                            answers with NAME on COUNT sockets, connected to PEER's
                                            ports from FIRST on; SO_REUSEPORT
    whoami.py group GROUP PORT              is a member of GROUP and says what it hears; of "leave"
                                            no longer a member
    whoami.py send ADDRESS PORT TEXT TIMES  sends a datagram of TEXT, TIMES as long
"""

import json
import selectors
import signal
import socket
import sys


def family(address):
    """Of a numeric address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def bound(kind, address, port):
    """A socket that shares its port."""
    sock = socket.socket(family(address), kind)
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


def serve_peers(address, port, name, peer, first, count):
    """Answer every datagram of these peers, on a socket for each."""
    selector = selectors.DefaultSelector()
    for number in range(int(count)):
        sock = bound(socket.SOCK_DGRAM, address, port)
        sock.connect((peer, int(first) + number))
        selector.register(sock, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            key.fileobj.recv(1000)
            key.fileobj.send(name.encode())


def listen_to_group(group, port):
    """Say what is heard, as a member of the group and afterwards."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("0.0.0.0", int(port)))
    member = socket.inet_aton(group) + socket.inet_aton("0.0.0.0")
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    print("ready", flush=True)
    while text := sock.recv(1000).decode():
        print("heard", text, flush=True)
        if text == "leave":
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, member)
            print("left", flush=True)


def send(address, port, text, times):
    """One datagram."""
    with socket.socket(family(address), socket.SOCK_DGRAM) as sock:
        sock.sendto(text.encode() * int(times), (address, int(port)))


if __name__ == "__main__":
    {
        "tcp": serve_tcp,
        "udp": serve_udp,
        "ask": ask,
        "refused": refused,
        "peers": serve_peers,
        "group": listen_to_group,
        "send": send,
    }[sys.argv[1]](*sys.argv[2:])
