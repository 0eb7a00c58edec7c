# SPDX-License-Identifier: BSD-3-Clause
"""No network call of an application reaches the kernel for a socket of the stack.

Behind the number of such a socket stands a kernel socket that is never connected, the placeholder. A call
that got past us would hit it, and mostly fail at once; but it must not happen at all. ``strace -yy`` names
the socket behind every descriptor: to a TCP or UDP socket of the kernel only what asks about the number
itself, or about a socket that has no address yet, may go.
"""

import re

import pytest

from uvnet_harness import apps

DATA = (
    "read,write,readv,writev,pread64,pwrite64,preadv,pwritev,preadv2,pwritev2,sendfile,splice,tee,vmsplice,"
    "poll,ppoll,select,pselect6,epoll_ctl,ioctl,io_uring_setup,io_uring_enter"
)
UNDECIDED = {"socket", "getsockopt", "setsockopt", "getsockname"}
"""What a socket without an address may ask the kernel: nothing of it is about data or peers."""

CALL = re.compile(r"^\d+ +(\w+)\((.*)")
INTERNET = re.compile(r"<(?:TCP|UDP)(?:v6)?:")


def traced(path, *words):
    """The command under strace, its calls in `path`."""
    return ["strace", "-f", "-yy", "--seccomp-bpf", "-qq", "-o", path, "-e", f"trace=%network,{DATA}", *words]


def escaped(path):
    """Lines of the trace that should not be there."""
    lines = path.read_text(errors="replace").splitlines()
    calls = [match for match in map(CALL.match, lines) if match]
    assert len(calls) > 10, "strace has seen nothing"
    return [call[0] for call in calls if INTERNET.search(call[2]) and call[1] not in UNDECIDED]


def redis(net, host, trace):
    """Many connections, pipelined requests."""
    words = ["--bind", host.ip, "--protected-mode", "no", "--save", "", "--appendonly", "no"]
    host.start(*traced(trace, "redis-server", *words)).wait_port(6379)
    client = net.host("client")
    client.run("redis-benchmark", "-h", host.ip, "-n", "500", "-c", "20", "-P", "4", "-t", "set,get", "-q").check()


def nginx(net, host, trace):
    """sendfile, workers that inherit."""
    root = net.scratch()
    (root / "file").write_bytes(bytes(200_000))
    config = apps.nginx_config(host, root)
    host.start(*traced(trace, "nginx", "-c", config, "-p", host.folder)).wait_port(80)
    client = net.host("client")
    client.run("curl", "-sS", "-f", "-o", "/dev/null", *[f"http://{host.ip}/file"] * 5).check()


def node(net, host, trace, program):
    """libuv, which makes system calls of its own."""
    script = program("http_node.js", interpreter="node")
    server = net.host("server")
    server.start(*script, "serve", server.ip, "80").wait_port(80)
    host.run(*traced(trace, *script, "ask", server.ip, "80", "5", "2")).check()


@pytest.mark.uvnet(capture=False)
@pytest.mark.parametrize("application", ["redis", "nginx", "node"])
def test_nothing_escapes_to_the_kernel(net, program, application):
    host = net.host("traced", queues=2)
    trace = host.folder / "strace.txt"
    if application == "redis":
        redis(net, host, trace)
    elif application == "nginx":
        nginx(net, host, trace)
    else:
        node(net, host, trace, program)
    assert not escaped(trace)


@pytest.mark.parametrize("loopback", ["kernel"])
def test_the_trace_would_show_it(net, program, loopback):
    """The same question about sockets that are the kernel's: there it finds them."""
    host = net.host("traced", loopback=loopback)
    trace = host.folder / "strace.txt"
    code = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname())"
    host.run(*traced(trace, "/usr/bin/python3", "-c", code)).check()
    assert {CALL.match(line)[1] for line in escaped(trace)} >= {"bind", "listen", "connect"}
