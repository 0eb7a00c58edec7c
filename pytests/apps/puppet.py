#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Does what it is told, in Python: for scenarios that decide call by call what a host does.

    puppet.py PATH      connects to the AF_UNIX socket PATH; a line of JSON in, a line of JSON out

A text is executed; if it is an expression, its value is the answer (bytes as Latin-1). An OSError is
answered as {"error": NAME}. Names live until "reset", which closes all sockets without a word on the wire
that anybody would have to wait for.
"""

import ast
import errno
import json
import select
import socket
import struct
import sys

STATES = ("?", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT",
          "LAST_ACK", "LISTEN", "CLOSING")  # fmt: skip


def info(sock):
    """Fields of TCP_INFO by name."""
    raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    words = struct.unpack("8B24I", raw)
    names = ("rto", "ato", "snd_mss", "rcv_mss", "unacked", "sacked", "lost", "retrans", "fackets", "last_data_sent",
             "last_ack_sent", "last_data_recv", "last_ack_recv", "pmtu", "rcv_ssthresh", "rtt", "rttvar",
             "snd_ssthresh", "snd_cwnd")  # fmt: skip
    return {"state": STATES[words[0]], "options": words[5], **dict(zip(names, words[8:]))}


def state(sock):
    """The state of a TCP socket."""
    return info(sock)["state"]


def poll(sock, events=select.POLLIN | select.POLLOUT | select.POLLRDHUP):
    """What poll() says of a socket at once."""
    poller = select.poll()
    poller.register(sock, events)
    return dict(poller.poll(0)).get(sock.fileno(), 0)


def tcp(address=None, **options):
    """A non-blocking TCP socket, bound if an address is given."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if address:
        sock.bind(tuple(address))
    return sock


def connect(sock, address):
    """Begin to connect."""
    try:
        sock.connect(tuple(address))
    except BlockingIOError:
        pass


def fresh():
    """The names a scenario begins with."""
    return {"socket": socket, "select": select, "struct": struct, "info": info, "state": state, "poll": poll, "tcp": tcp,
            "connect": connect}  # fmt: skip


def close_all(names):
    """Abort what is open."""
    for value in names.values():
        if isinstance(value, socket.socket) and value.fileno() >= 0:
            value.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            value.close()
        elif isinstance(value, type(select.epoll)):
            value.close()


def execute(text, names):
    """What the text answers."""
    tree = ast.parse(text)
    if len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr):
        return eval(text, names)  # pylint: disable=eval-used
    exec(text, names)  # pylint: disable=exec-used
    return None


def main(path):
    """Answer until nobody asks any more."""
    names = fresh()
    with socket.socket(socket.AF_UNIX) as master:
        master.connect(path)
        waiting = select.poll()
        waiting.register(master, select.POLLIN)
        with master.makefile("rw") as stream:
            while waiting.poll() and (line := stream.readline()):
                text = json.loads(line)
                try:
                    if text == "reset":
                        close_all(names)
                        names, value = fresh(), None
                    else:
                        value = execute(text, names)
                except OSError as error:
                    value = {"error": errno.errorcode.get(error.errno, str(error))}
                except Exception as error:  # pylint: disable=broad-except
                    value = {"error": repr(error)}  # the scenario's mistake: it is told
                stream.write(json.dumps(value, default=lambda data: data.decode("latin-1")) + "\n")
                stream.flush()


if __name__ == "__main__":
    main(sys.argv[1])
