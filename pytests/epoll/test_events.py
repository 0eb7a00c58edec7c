# SPDX-License-Identifier: BSD-3-Clause
"""What epoll says of connections, event by event, while a peer made by hand does one thing at a time. What
it says beside the kernel is compared in stack/posix/tests; here the network decides."""

import select

import pytest

IN, OUT, RDHUP, HUP, ERR = select.EPOLLIN, select.EPOLLOUT, select.EPOLLRDHUP, select.EPOLLHUP, select.EPOLLERR
ET, ONESHOT = select.EPOLLET, select.EPOLLONESHOT


class Watched:
    """The puppet's socket `c` of a connection, in its epoll `e`."""

    def __init__(self, puppet, peer):
        self.puppet, self.peer = puppet, peer

    def watch(self, events):
        """Put it in."""
        self.puppet(f"e = select.epoll(); e.register(c, {events})")

    def events(self, seconds=0):
        """What epoll_wait() says now."""
        answer = self.puppet(f"dict(e.poll({seconds})).get(c.fileno(), 0)")
        assert isinstance(answer, int), answer
        return answer

    def becomes(self, events):
        """Wait until it says that."""
        self.puppet.until("dict(e.poll(0)).get(c.fileno(), 0)", events)


@pytest.fixture
def conn(listener, peer):
    """An open connection."""
    peer.connect()
    listener.until("poll(l) & 1", 1)
    listener("c = l.accept()[0]; c.setblocking(False)")
    yield Watched(listener, peer)
    listener("e.close() if 'e' in globals() else None")


def test_a_listener_is_readable_when_somebody_is_there(listener, peer):
    listener(f"e = select.epoll(); e.register(l, {IN})")
    assert listener("e.poll(0)") == []
    peer.connect()
    listener.until("len(e.poll(0))", 1)
    listener("l.accept()[0].close()")
    assert listener("e.poll(0)") == []
    listener("e.close()")


def test_an_idle_connection_is_writable(conn):
    conn.watch(IN | OUT | RDHUP)
    assert conn.events() == OUT


def test_data_makes_it_readable_until_it_is_read(conn):
    conn.watch(IN)
    assert conn.events() == 0
    conn.peer.send("PA", b"abc")
    conn.becomes(IN)
    assert conn.events() == IN, "level"
    conn.puppet("c.recv(2)")
    assert conn.events() == IN, "there is more"
    conn.puppet("c.recv(2)")
    assert conn.events() == 0


def test_an_edge_is_told_once(conn):
    conn.watch(IN | ET)
    conn.peer.send("PA", b"abc")
    conn.becomes(IN)
    assert conn.events() == 0


def test_every_arrival_is_an_edge(conn):
    conn.watch(IN | ET)
    for _ in range(3):
        conn.peer.send("PA", b"abc")
        conn.becomes(IN)
        assert conn.events() == 0, "although nothing was read"


def test_one_shot_is_one_event(conn):
    conn.watch(IN | ONESHOT)
    conn.peer.send("PA", b"abc")
    conn.becomes(IN)
    conn.peer.send("PA", b"def")
    assert conn.events() == 0
    conn.puppet(f"e.modify(c, {IN | ONESHOT})")
    assert conn.events() == IN


def test_the_end_of_the_stream_is_told(conn):
    conn.watch(IN | RDHUP)
    conn.peer.send("FA")
    conn.becomes(IN | RDHUP)
    assert conn.puppet("c.recv(1)") == ""
    assert conn.events() == IN | RDHUP, "it stays"


def test_the_end_of_both_halves_is_a_hang_up(conn):
    conn.watch(IN | RDHUP)
    conn.peer.send("FA")
    conn.peer.expect("A")
    conn.puppet("c.shutdown(socket.SHUT_WR)")
    conn.becomes(IN | RDHUP | HUP)


def test_a_reset_is_an_error_and_a_hang_up(conn):
    conn.watch(IN | OUT | RDHUP)
    conn.peer.send("R")
    conn.becomes(IN | OUT | RDHUP | HUP | ERR)
    assert conn.puppet("c.recv(1)") == {"error": "ECONNRESET"}


def test_errors_are_told_unasked(conn):
    conn.watch(0)
    conn.peer.send("R")
    conn.becomes(HUP | ERR)


def test_a_full_send_buffer_is_not_writable(conn):
    conn.watch(OUT)
    conn.puppet("c.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20000)\nwhile poll(c) & 4: c.send(bytes(10000))")
    assert conn.events() == 0


def test_acknowledgments_make_it_writable_again(conn):
    conn.watch(OUT | ET)
    conn.events()
    conn.puppet("c.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20000)\nwhile poll(c) & 4: c.send(bytes(10000))")
    conn.events()
    seen = 0
    while not seen:
        conn.peer.take(conn.peer.expect("A"))
        conn.peer.send("A")
        seen = conn.events()
    assert seen == OUT


def test_a_refused_connection_is_told(puppet, peer):
    puppet(f"c = tcp(['{puppet.host.ip}', 0]); connect(c, ['{peer.wire.ip}', {peer.sport}])")
    watched = Watched(puppet, peer)
    watched.watch(IN | OUT)
    assert watched.events() == 0
    syn = peer.wire.expect(f"tcp dst port {peer.sport}")
    peer.dport, peer.ack = syn.packet["TCP"].sport, syn.packet["TCP"].seq + 1
    peer.send("RA", seq=0)
    watched.becomes(IN | OUT | HUP | ERR)
    puppet("e.close()")


def test_a_connection_that_opens_is_writable(puppet, peer):
    puppet(f"c = tcp(['{puppet.host.ip}', 7]); connect(c, ['{peer.wire.ip}', {peer.sport}])")
    watched = Watched(puppet, peer)
    watched.watch(IN | OUT)
    assert watched.events() == 0
    peer.accept()
    watched.becomes(OUT)
    puppet("e.close()")


def test_a_closed_socket_is_gone(conn):
    conn.watch(IN)
    conn.peer.send("PA", b"abc")
    conn.becomes(IN)
    conn.puppet("c.close()")
    assert conn.puppet("e.poll(0)") == []


def test_a_duplicate_keeps_it_in(conn):
    """The open file description is in the set, not the number (epoll(7))."""
    conn.watch(IN)
    conn.puppet("n = c.fileno(); d = c.dup(); c.close()")
    conn.peer.send("PA", b"abc")
    conn.puppet.until("dict(e.poll(0)).get(n, 0)", IN)
    conn.puppet("d.close()")
    assert conn.puppet("e.poll(0)") == []


def test_taken_out_it_is_silent(conn):
    conn.watch(IN)
    conn.puppet("e.unregister(c)")
    conn.peer.send("PA", b"abc")
    conn.puppet.until("poll(c) & 1", 1)
    assert conn.events() == 0


def test_put_in_late_it_tells_what_is(conn):
    conn.peer.send("PA", b"abc")
    conn.puppet.until("poll(c) & 1", 1)
    conn.watch(IN | ET)
    assert conn.events() == IN


def test_modified_it_tells_what_is(conn):
    conn.watch(IN | ET)
    conn.peer.send("PA", b"abc")
    conn.becomes(IN)
    conn.puppet(f"e.modify(c, {IN | ET})")
    assert conn.events() == IN


def test_twice_in_one_set_is_refused(conn):
    conn.watch(IN)
    assert conn.puppet(f"e.register(c, {IN})") == {"error": "EEXIST"}


def test_two_sets_tell_both(conn):
    conn.watch(IN)
    conn.puppet(f"f = select.epoll(); f.register(c, {IN})")
    conn.peer.send("PA", b"abc")
    conn.becomes(IN)
    assert conn.puppet("dict(f.poll(0)).get(c.fileno(), 0)") == IN
    conn.puppet("f.close()")


def test_a_set_within_a_set(conn):
    conn.watch(IN)
    conn.puppet(f"f = select.epoll(); f.register(e.fileno(), {IN})")
    assert conn.puppet("f.poll(0)") == []
    conn.peer.send("PA", b"abc")
    conn.puppet.until("len(f.poll(0))", 1)
    conn.puppet("c.recv(10)")
    assert conn.puppet("f.poll(0)") == []
    conn.puppet("f.close()")


def test_kernel_and_stack_in_one_set(conn):
    conn.watch(IN)
    conn.puppet(f"a, b = socket.socketpair(); e.register(a, {IN}); b.send(b'x')")
    conn.peer.send("PA", b"abc")
    conn.puppet.until("len(e.poll(0))", 2)


def test_more_than_asked_for_comes_later(conn):
    """With room for one event, both get their turn."""
    conn.watch(IN)
    conn.puppet(f"a, b = socket.socketpair(); e.register(a, {IN}); b.send(b'x')")
    conn.peer.send("PA", b"abc")
    conn.puppet.until("len(e.poll(0))", 2)
    assert conn.puppet("len({e.poll(0, 1)[0][0] for _ in range(8)})") == 2


def test_a_wait_ends_when_something_comes(conn):
    """Asleep in epoll_wait(), in the kernel."""
    conn.watch(IN)
    conn.puppet._stream.write('"dict(e.poll(5)).get(c.fileno(), 0)"\n')
    conn.puppet._stream.flush()
    conn.peer.send("PA", b"abc")
    assert conn.puppet._stream.readline() == f"{IN}\n"
