# SPDX-License-Identifier: BSD-3-Clause
"""Loss and reordering between the kernel's TCP and ours: what one sends, the other has in the end."""

import pytest

SIZE = 6 << 20


@pytest.fixture
def both(net):
    """A kernel host and a host of the stack."""
    return net.kernel_host("kernel"), net.host("stack")


def lose(link):
    """One frame in fifty, either way."""
    return [link.loss("2%"), link.loss("2%", direction="rx")]


def reorder(link):
    """Frames overtake each other."""
    return [link.delay("500us", jitter="500us", reorder=True, direction=way) for way in ("tx", "rx")]


def lose_and_reorder(link):
    """Both, and frames that come twice."""
    return [*lose(link), *reorder(link), link.model(duplicate="2%")]


@pytest.mark.uvnet(capture=False)
@pytest.mark.parametrize("fault", [lose, reorder, lose_and_reorder], ids=lambda f: f.__name__)
@pytest.mark.parametrize("to_kernel", [True, False], ids=["to_kernel", "to_stack"])
def test_stream_arrives_whole(net, program, both, fault, to_kernel):
    kernel, stack = both
    sink, source = (kernel, stack) if to_kernel else (stack, kernel)
    receiver = sink.start(*program("transfer"), "receive", sink.ip, "4000")
    receiver.process.wait_output("listening")
    faults = fault(net.link(stack))
    done = source.run(*program("transfer"), "send", sink.ip, "4000", str(SIZE), "3", timeout=60).check()
    assert receiver.wait(10) == 0
    assert receiver.stdout.split()[-2:] == done.stdout.split() != []
    assert sum(f.matched for f in faults) > 1000, "the faults met no traffic"


CLIENT = """
import socket, struct, sys
def method(): return s.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\\0").decode()
s = socket.create_connection((sys.argv[1], 4000))
names = [method()]
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
names.append(method())
try: s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"nonesuch")
except FileNotFoundError: names.append("ENOENT")
s.sendall(bytes(4 << 20))
info = struct.unpack("8B24I", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104))
s.shutdown(socket.SHUT_WR)
s.recv(1)
rto, rtt, retrans = info[8], info[8 + 15], info[8 + 23]
print(*names, 200000 <= rto < 500000, 0 < rtt < 200000, retrans > 0)
"""


@pytest.mark.uvnet(capture=False)
def test_what_getsockopt_tells(net, program, both):
    kernel, stack = both
    receiver = kernel.start(*program("transfer"), "receive", kernel.ip, "4000")
    receiver.process.wait_output("listening")
    net.link(stack).loss("1%")
    done = stack.run("/usr/bin/python3", "-c", CLIENT, kernel.ip, timeout=60).check()
    assert done.stdout.split() == ["cubic", "reno", "ENOENT", "True", "True", "True"]
