# SPDX-License-Identifier: BSD-3-Clause
"""Hosts on the stack follow the fabric's clock: minutes of protocol pass in a moment."""

import time

import pytest


@pytest.fixture
def pair(net, program):
    """A receiver that listens, and the host that is to send to it."""
    receiver, sender = net.host("receiver"), net.host("sender")
    listening = receiver.start(*program("transfer"), "receive", receiver.ip, "5001")
    listening.process.wait_output("listening")
    return receiver, sender, listening


def transfer(net, program, receiver, sender, listening, length):
    """Send a stream; it arrives as it was."""
    seed = net.random("stream").randrange(1 << 30)
    done = sender.run(
        *program("transfer"), "send", receiver.ip, "5001", str(length), str(seed), timeout=30
    ).check()
    assert listening.wait(10) == 0, listening.process.output()
    assert listening.stdout.splitlines()[-1] == done.stdout.strip()


def test_lost_syns_are_sent_again(net, program, pair):
    receiver, sender, listening = pair
    lost = net.link(sender).fault("tcp[tcpflags] & tcp-syn != 0", drop=3)
    start = time.monotonic()
    with net.clock.auto():
        transfer(net, program, receiver, sender, listening, 100_000)
    assert lost.hits == 3
    assert net.clock.elapsed > 7, "three timeouts, each longer than the one before"
    assert time.monotonic() - start < 5


def test_a_blackout_of_minutes_passes_in_a_moment(net, program, pair):
    receiver, sender, listening = pair
    cut = net.link(sender).fault("tcp and greater 200", skip=20, drop=6)
    start = time.monotonic()
    with net.clock.auto():
        transfer(net, program, receiver, sender, listening, 1_000_000)
    assert cut.hits == 6
    assert net.clock.elapsed > 1
    assert time.monotonic() - start < 8


def test_a_long_fat_link(net, program, pair):
    receiver, sender, listening = pair
    net.link(sender).model(rate="100kbit", delay="500ms")
    net.link(receiver).delay("500ms")
    start = time.monotonic()
    with net.clock.auto():
        transfer(net, program, receiver, sender, listening, 500_000)
    assert net.clock.elapsed > 40, "four million bits at a hundred thousand a second"
    assert time.monotonic() - start < 10


def test_a_timeout_of_an_application_passes_too(net, program):
    host, silent = net.host("host"), net.wire("silent")
    start = time.monotonic()
    with net.clock.auto():
        done = host.run(
            "/usr/bin/python3", "-c",
            "import socket\n"
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            f"s.bind(('{host.ip}', 9)); s.settimeout(600)\n"
            "try: s.recv(10)\n"
            "except TimeoutError: print('timed out')",
        )  # fmt: skip
    assert done.stdout.strip() == "timed out", done.stderr
    assert 600 <= net.clock.elapsed < 700
    assert time.monotonic() - start < 5
    silent.drain()
