#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a program may do with sockets, whichever stack of its process each of them is on.

    stacks.py ADDRESS     prints a word for each thing that went as on the kernel

Sockets that follow each other are on different stacks, so each case meets at least two.
"""

import errno
import os
import select
import socket
import sys
import threading

ADDRESS = sys.argv[1]
MANY = 48


def listener(port, *options, backlog=128):
    """A listening socket with these options of SOL_SOCKET."""
    sock = socket.socket()
    for option in options:
        sock.setsockopt(socket.SOL_SOCKET, option, 1)
    sock.bind((ADDRESS, port))
    sock.listen(backlog)
    return sock


def error_of(call, *args):
    """errno of a call that must fail."""
    try:
        call(*args)
    except OSError as failure:
        return failure.errno
    return 0


def port_is_taken_for_all():
    """bind() says so on another stack than the one that has the port, listening or not."""
    with socket.socket() as bound:
        bound.bind((ADDRESS, 1000))
        assert [error_of(listener, 1000) for _ in range(3)] == 3 * [errno.EADDRINUSE]
    with listener(1000):
        assert [error_of(listener, 1000, socket.SO_REUSEADDR) for _ in range(3)] == 3 * [errno.EADDRINUSE]
    listener(1000).close()


def any_thread_accepts():
    """Threads in accept() on one listener; each connection says which one it is."""
    served = []

    def serve(sock):
        while True:
            connection, _ = sock.accept()
            with connection:
                word = connection.recv(10)
                if not word:
                    return
                served.append(word)
                connection.sendall(word)

    with listener(1001) as sock:
        threads = [threading.Thread(target=serve, args=(sock,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(MANY):
            with socket.create_connection((ADDRESS, 1001)) as client:
                client.sendall(b"%d" % number)
                assert client.recv(10) == b"%d" % number
        for _ in threads:
            socket.create_connection((ADDRESS, 1001)).close()
        for thread in threads:
            thread.join()
    assert sorted(served) == sorted(b"%d" % number for number in range(MANY))


def one_epoll_for_all():
    """Clients and servers of both stacks in one epoll instance, edge-triggered, not blocking."""
    poll, open_sockets, answers = select.epoll(), {}, 0

    def watch(sock, events):
        sock.setblocking(False)
        open_sockets[sock.fileno()] = sock
        poll.register(sock, events | select.EPOLLET)

    def take(sock):
        try:
            while True:
                watch(sock.accept()[0], select.EPOLLIN)
        except BlockingIOError:
            pass

    with listener(1002) as server:
        watch(server, select.EPOLLIN)
        clients = set()
        for _ in range(MANY):
            client = socket.socket()
            client.setblocking(False)
            assert client.connect_ex((ADDRESS, 1002)) == errno.EINPROGRESS
            watch(client, select.EPOLLIN | select.EPOLLOUT)
            clients.add(client.fileno())
        asked = set()
        while answers < MANY:
            events = poll.poll(5)
            assert events, f"{answers} of {MANY} answers"
            for number, event in events:
                sock = open_sockets[number]
                if sock is server:
                    take(sock)
                elif number in clients:
                    if event & select.EPOLLOUT and number not in asked:
                        asked.add(number)
                        sock.send(b"?")
                    answers += bool(event & select.EPOLLIN and sock.recv(1) == b"!")
                elif event & select.EPOLLIN and sock.recv(1) == b"?":
                    sock.send(b"!")
    for sock in open_sockets.values():
        sock.close()


def reuseport_shares():
    """Two listeners of one port: each gets some of the connections, each connection one of them."""
    with listener(1003, socket.SO_REUSEPORT) as one, listener(1003, socket.SO_REUSEPORT) as two:
        clients = [socket.create_connection((ADDRESS, 1003)) for _ in range(MANY)]
        taken = {one: 0, two: 0}
        while sum(taken.values()) < MANY:
            ready, _, _ = select.select(list(taken), [], [], 5)
            assert ready
            for sock in ready:
                sock.accept()[0].close()
                taken[sock] += 1
        assert min(taken.values()) > 0
        for client in clients:
            client.close()


def bound_port_connects():
    """Source ports that were not chosen for their stack: the answers find it."""
    with listener(1004) as server:
        for port in range(2000, 2016):
            with socket.socket() as client:
                client.bind((ADDRESS, port))
                client.connect((ADDRESS, 1004))
                connection, peer = server.accept()
                assert peer == (ADDRESS, port)
                with connection:
                    connection.sendall(b"hello")
                    assert client.recv(5) == b"hello"


def datagrams_arrive():
    """A socket that is not connected hears from sockets of all stacks, and answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((ADDRESS, 1005))
        server.settimeout(5)
        for number in range(16):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(5)
                client.sendto(b"%d" % number, (ADDRESS, 1005))
                word, peer = server.recvfrom(10)
                server.sendto(word, peer)
                assert client.recv(10) == b"%d" % number


def shutdown_ends_accept():
    """Of the listener on all stacks; then nobody listens, and the port can be listened on again."""
    failure = []
    with listener(1006) as server:
        waiting = threading.Thread(target=lambda: failure.append(error_of(server.accept)))
        waiting.start()
        while not blocked(waiting.native_id):
            pass
        server.shutdown(socket.SHUT_RD)
        waiting.join()
        assert failure == [errno.EINVAL]
        assert [error_of(socket.create_connection, (ADDRESS, 1006)) for _ in range(4)] == 4 * [errno.ECONNREFUSED]
    listener(1006).close()


def blocked(thread):
    """Is the thread asleep in the kernel?"""
    with open(f"/proc/self/task/{thread}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "S"


def closed_listener_resets():
    """Connections that nobody has accepted, of all stacks, end with the listener."""
    server = listener(1007)
    clients = [socket.create_connection((ADDRESS, 1007)) for _ in range(8)]
    server.close()
    for client in clients:
        client.settimeout(5)
        assert error_of(client.recv, 1) == errno.ECONNRESET
        client.close()


def options_are_inherited():
    """What is accepted has the options its listener was given, before listen() or after."""
    with listener(1008) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for _ in range(8):
            with socket.create_connection((ADDRESS, 1008)):
                connection, _ = server.accept()
                with connection:
                    assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def forked_child_is_served():
    """A child uses what it was given, of whichever stack, while its parent accepts."""
    with listener(1009) as server:
        for _ in range(4):
            client = socket.create_connection((ADDRESS, 1009))
            connection, _ = server.accept()
            child = os.fork()
            if child == 0:
                connection.sendall(b"child")
                os._exit(0)
            connection.close()
            assert client.recv(5) == b"child"
            assert os.waitpid(child, 0)[1] == 0
            client.close()


CASES = [
    port_is_taken_for_all,
    any_thread_accepts,
    one_epoll_for_all,
    reuseport_shares,
    bound_port_connects,
    datagrams_arrive,
    shutdown_ends_accept,
    closed_listener_resets,
    options_are_inherited,
    forked_child_is_served,
]

for case in CASES:
    case()
    print(case.__name__, flush=True)
