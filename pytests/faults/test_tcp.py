# SPDX-License-Identifier: BSD-3-Clause
"""TCP of the stack on bad lines: whatever happens to the frames, the stream arrives as it was sent.
Time is virtual, so that timeouts cost nothing."""

import pytest


def transfer(net, program, receiver, sender, length):
    """Send a stream from one host to the other and compare digests; seconds of virtual time."""
    listening = receiver.start(*program("transfer"), "receive", receiver.ip, "5001")
    listening.process.wait_output("listening")
    with net.clock.auto():
        seed = net.random("stream").randrange(1 << 30)
        done = sender.run(
            *program("transfer"), "send", receiver.ip, "5001", str(length), str(seed), timeout=40
        ).check()
        assert listening.wait(10) == 0, listening.process.output()
    assert listening.stdout.splitlines()[-1] == done.stdout.strip()
    return net.clock.elapsed


BAD = {
    "loss": {"loss": "3%"},
    "bursts of loss": {"gemodel": "1%,30%"},
    "reordering": {"delay": "2ms", "jitter": "2ms", "reorder": True},
    "duplication": {"duplicate": "20%"},
    "damage": {"corrupt": "3%"},
    "everything": {
        "loss": "1%", "duplicate": "2%", "corrupt": "1%", "delay": "5ms", "jitter": "3ms", "reorder": True,
    },
}  # fmt: skip


@pytest.mark.parametrize("terms", BAD.values(), ids=BAD)
def test_the_stream_survives(net, program, terms):
    receiver, sender = net.host("receiver"), net.host("sender")
    faults = [net.link(sender).model(**terms), net.link(receiver).model(**terms)]
    transfer(net, program, receiver, sender, 1_000_000)
    assert faults[0].matched > 500
    if "delay" not in terms:
        assert faults[0].hits > 0


def test_truncated_frames_are_not_believed(net, program):
    receiver, sender = net.host("receiver"), net.host("sender")
    cut = net.link(receiver).fault("tcp and greater 200", direction="rx", skip=5, truncate=100, count=5)
    transfer(net, program, receiver, sender, 300_000)
    assert cut.hits == 5


def test_a_slow_line_with_a_short_queue(net, program):
    """A line of 10 Mbit/s takes its time, and its queue of 20 KiB does not take the sender's window."""
    receiver, sender = net.host("receiver"), net.host("sender")
    line = net.link(sender).rate("10mbit", queue="20KiB")
    seconds = transfer(net, program, receiver, sender, 2_000_000)
    assert seconds > 1.6, "sixteen million bits"
    assert line.state["queue_full"] > 0, "the sender met the end of the queue"
