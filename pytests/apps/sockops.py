#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Do socket calls as told, and tell what they answered.

    sockops.py PATH      connects to the AF_UNIX socket PATH: a JSON list in, its JSON answer out, a line each

Sockets are numbered as they are made. All are non-blocking, on 127.0.0.1. Nothing in an answer depends on the
numbers that the system picks (descriptors, ports), nor on how long something takes: after each call that
has an effect elsewhere the program looks at all its sockets until nothing changes any more.
"""

import errno
import json
import select
import socket
import struct
import sys
import termios
from fcntl import ioctl

HERE = "127.0.0.1"
EVERYTHING = select.POLLIN | select.POLLPRI | select.POLLOUT | select.POLLRDHUP
QUIET_ROUNDS = 3
OPTIONS = {
    name: (getattr(socket, level), getattr(socket, name))
    for level, names in {
        "SOL_SOCKET": ["SO_TYPE", "SO_ERROR", "SO_ACCEPTCONN", "SO_KEEPALIVE", "SO_REUSEADDR", "SO_BROADCAST",
                       "SO_OOBINLINE", "SO_PROTOCOL", "SO_DOMAIN", "SO_RCVLOWAT", "SO_REUSEPORT"],
        "IPPROTO_TCP": ["TCP_NODELAY", "TCP_CORK", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"],
        "IPPROTO_IP": ["IP_TTL", "IP_TOS"],
    }.items()
    for name in names
}  # fmt: skip


class Calls:
    """One method for each kind of call."""

    def __init__(self):
        self.sockets = []
        self.epoll = select.epoll()
        self.sent = 0

    def reset(self):
        """Close everything."""
        for sock in self.sockets:
            sock.close()
        self.epoll.close()
        self.__init__()

    def make(self, kind):
        """socket()"""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        sock.setblocking(False)
        self.sockets.append(sock)
        return len(self.sockets) - 1

    def bind(self, index):
        """To a port of the system's choice."""
        self.sockets[index].bind((HERE, 0))

    def listen(self, index, backlog):
        """listen()"""
        self.sockets[index].listen(backlog)

    def connect(self, index, to):
        """To where another socket is bound."""
        self.sockets[index].connect(self.sockets[to].getsockname())

    def disconnect(self, index):
        """connect() to AF_UNSPEC, which Python has no word for, of a UDP socket; then it has no peer."""
        self.sockets[index].connect((HERE, 9))

    def accept(self, index):
        """accept()"""
        sock, peer = self.sockets[index].accept()
        sock.setblocking(False)
        self.sockets.append(sock)
        return [len(self.sockets) - 1, self.whose(peer)]

    def whose(self, name):
        """The number of the socket that has this name, or what can be said without ports."""
        for index, sock in enumerate(self.sockets):
            try:
                if sock.fileno() >= 0 and sock.getsockname() == name:
                    return index
            except OSError:
                pass
        return [name[0], name[1] != 0]

    def data(self, size):
        """The next bytes of a pattern."""
        self.sent += 1
        return bytes((self.sent * 31 + i * 7) & 0xFF for i in range(size))

    def send(self, index, size, flags):
        """send()"""
        return self.sockets[index].send(self.data(size), flags | socket.MSG_NOSIGNAL)

    def sendto(self, index, to, size):
        """sendto()"""
        return self.sockets[index].sendto(self.data(size), self.sockets[to].getsockname())

    def recv(self, index, size, flags):
        """recvmsg(): data, sender, flags."""
        data, _, got, peer = self.sockets[index].recvmsg(size, 0, flags)
        return [data.hex(), got, self.whose(peer) if peer else None]

    def shutdown(self, index, how):
        """shutdown()"""
        self.sockets[index].shutdown(how)

    def close(self, index):
        """close()"""
        self.sockets[index].close()

    def dup(self, index):
        """dup()"""
        self.sockets.append(self.sockets[index].dup())
        return len(self.sockets) - 1

    def poll(self, index, events):
        """What poll() says at once."""
        poll = select.poll()
        poll.register(self.sockets[index].fileno(), events)
        return [event for _, event in poll.poll(0)]

    def select(self, indices):
        """What select() says at once, of several."""
        fds = [self.sockets[index].fileno() for index in indices]
        return [[fds.index(fd) for fd in ready] for ready in select.select(fds, fds, fds, 0)]

    def epoll_ctl(self, index, what, events):
        """ADD, MOD, DEL"""
        fd = self.sockets[index].fileno()
        if what == "add":
            self.epoll.register(fd, events)
        elif what == "mod":
            self.epoll.modify(fd, events)
        else:
            self.epoll.unregister(fd)

    def epoll_wait(self, most):
        """What is ready at once, by socket."""
        by_fd = {sock.fileno(): index for index, sock in enumerate(self.sockets)}
        return sorted([by_fd.get(fd, -1), events] for fd, events in self.epoll.poll(0, most))

    def getsockopt(self, index, name):
        """getsockopt()"""
        return self.sockets[index].getsockopt(*OPTIONS[name])

    def setsockopt(self, index, name, value):
        """setsockopt()"""
        self.sockets[index].setsockopt(*OPTIONS[name], value)

    def linger(self, index, on, seconds):
        """SO_LINGER, there and back."""
        self.sockets[index].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", on, seconds))
        return list(struct.unpack("ii", self.sockets[index].getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)))

    def names(self, index):
        """getsockname() and getpeername()"""
        return [self.whose(self.sockets[index].getsockname()), self.whose(self.sockets[index].getpeername())]

    def fionread(self, index):
        """ioctl(FIONREAD)"""
        return struct.unpack("i", ioctl(self.sockets[index].fileno(), termios.FIONREAD, bytes(4)))[0]

    def look(self):
        """All that can be seen of all sockets without changing anything."""
        seen = []
        for sock in self.sockets:
            if sock.fileno() < 0:
                continue
            poll = select.poll()
            poll.register(sock.fileno(), EVERYTHING)
            try:
                size = ioctl(sock.fileno(), termios.FIONREAD, bytes(4))
            except OSError:
                size = None
            seen.append((poll.poll(0), size))
        return seen

    def settle(self):
        """Until it stays as it is."""
        last, quiet = self.look(), 0
        while quiet < QUIET_ROUNDS:
            select.poll().poll(1)
            now = self.look()
            quiet = quiet + 1 if now == last else 0
            last = now


SETTLING = {"connect", "send", "sendto", "shutdown", "close", "recv", "accept", "reset"}


def answer(calls, call):
    """What a call answers: its value, or the name of its error."""
    try:
        value = getattr(calls, call[0])(*call[1:])
    except OSError as error:
        value = {"error": errno.errorcode.get(error.errno, str(error.errno))}
    if call[0] in SETTLING:
        calls.settle()
    return value


def main(path):
    """Answer until nobody asks any more."""
    calls = Calls()
    with socket.socket(socket.AF_UNIX) as master:
        master.connect(path)
        with master.makefile("rw") as stream:
            for line in stream:
                stream.write(json.dumps(answer(calls, json.loads(line))) + "\n")
                stream.flush()


if __name__ == "__main__":
    main(sys.argv[1])
