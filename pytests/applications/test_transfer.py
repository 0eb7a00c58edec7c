# SPDX-License-Identifier: BSD-3-Clause
"""A long stream arrives byte for byte."""

import pytest

GIB = 1 << 30


@pytest.mark.uvnet(capture=False)
@pytest.mark.slow
def test_sha256_of_a_gibibyte_agrees(net, program, record_property):
    receiver, sender = net.host("receiver", queues=2), net.host("sender", queues=2)
    listening = receiver.start(*program("transfer"), "receive", receiver.ip, "5001")
    listening.process.wait_output("listening")
    seed = net.random("stream").randrange(1 << 30)
    done = sender.run(
        *program("transfer"), "send", receiver.ip, "5001", str(GIB), str(seed), timeout=100
    ).check()
    assert listening.wait(10) == 0, listening.process.output()
    assert listening.stdout.splitlines()[-1] == done.stdout.strip()
    assert done.stdout.startswith(f"{GIB} ")
    record_property("gbit_per_second", GIB * 8 / done.seconds / 1e9)
