# SPDX-License-Identifier: BSD-3-Clause
"""An application that does not call: its connections live on without it."""

import pytest
from scapy.layers.inet import IP, TCP

pytestmark = pytest.mark.models

PORT, SPORT = 7, 40000


@pytest.fixture
def exchange(net):
    """Send a segment from a wire, get the host's next one: ``exchange(host, flags, seq, ack, payload)``."""
    wire = net.wire("peer")

    def run(host, flags, seq, ack=0, payload=b""):
        header = TCP(sport=SPORT, dport=PORT, flags=flags, seq=seq, ack=ack, window=65535)
        wire.send(wire.ether(host.mac) / IP(src=wire.ip, dst=host.ip) / header / payload)
        return wire.expect(f"tcp src port {PORT} and tcp dst port {SPORT}", 0.9)[TCP]

    return run


@pytest.mark.parametrize("how", ["compute", "handler"])
def test_connection_is_served_while_the_application_is_away(net, program, exchange, full, how):
    """Data is acknowledged, a keep-alive's probe answered, both while the application does not call."""
    host = net.host("server")
    app = host.start(*program("absent"), how, host.ip, str(PORT), "5" if full else "1.2").wait_port(PORT)
    answer = exchange(host, "S", 999)
    assert str(answer.flags) == "SA"
    ack = answer.seq + 1
    # The handshake's last segment is not answered: it comes with the first data.
    answer = exchange(host, "A", 1000, ack, b"x" * 100)
    assert answer.ack == 1100
    app.process.wait_output("away")
    for number in range(1, 4):
        answer = exchange(host, "PA", 1000 + 100 * number, ack, b"x" * 100)
        assert answer.ack == 1100 + 100 * number
    assert exchange(host, "A", 1399, ack).ack == 1400  # a probe
    assert "back" not in app.stdout
    # It comes back to all that was said meanwhile, and to the end.
    app.process.wait_output("back")
    frame = exchange(host, "FA", 1400, ack)
    while not bytes(frame.payload).startswith(b"400"):
        frame = exchange(host, "A", 1401, ack)
