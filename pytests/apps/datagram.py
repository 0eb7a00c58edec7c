#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""One UDP socket, and what it is told.

    datagram.py errors ADDRESS PORT      sends a datagram there; for each error that the error queue has, a
                                         line: errno, type, code, info, who said so, whom it was sent to
    datagram.py members GROUP PORT       two sockets that join; tell what they hear; "first leaves" and "second
                                         leaves" close one of them
"""

import errno
import select
import socket
import struct
import sys

EXTENDED_ERROR = struct.Struct("=IBBBBII")
RECVERR = {socket.AF_INET: (socket.IPPROTO_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}


def offender(family, data):
    """The address in the sockaddr behind the error."""
    at, length = (4, 4) if family == socket.AF_INET else (8, 16)
    return socket.inet_ntop(family, data[EXTENDED_ERROR.size + at : EXTENDED_ERROR.size + at + length])


def errors(address, port):
    """Send; then tell of each error until the program is ended."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setsockopt(*RECVERR[family], 1)
    sock.sendto(b"what is quoted", (address, int(port)))
    print("sent", flush=True)
    poll = select.poll()
    poll.register(sock, 0)
    while poll.poll():
        data, control, _, name = sock.recvmsg(500, 500, socket.MSG_ERRQUEUE)
        said = control[0][2]
        number, _, kind, code, _, info, _ = EXTENDED_ERROR.unpack(said[: EXTENDED_ERROR.size])
        print(errno.errorcode[number], kind, code, info, offender(family, said), name[0], data.decode(), flush=True)


def member(group, port):
    """A socket in the group."""
    family = socket.AF_INET6 if ":" in group else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((group, port))
    packed = socket.inet_pton(family, group)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, packed + bytes(4))
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, packed + bytes(4))
    return sock


def members(group, port):
    """Two of them, until both have left."""
    socks = {"first": member(group, int(port)), "second": member(group, int(port))}
    print("joined", flush=True)
    while True:
        ready, _, _ = select.select(list(socks.values()), [], [])
        for name in [name for name, sock in socks.items() if sock in ready]:
            text = socks[name].recv(100).decode()
            print(name, "heard", text, flush=True)
            if text == f"{name} leaves":
                socks.pop(name).close()
                print(name, "left", flush=True)


if __name__ == "__main__":
    {"errors": errors, "members": members}[sys.argv[1]](*sys.argv[2:])
