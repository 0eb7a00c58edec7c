# SPDX-License-Identifier: BSD-3-Clause
"""tcpdump filters in Python."""

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from uvnet_harness import bpf


def test_filter_selects():
    syn = bytes(Ether() / IP() / TCP(dport=80, flags="S"))
    ack = bytes(Ether() / IP() / TCP(dport=80, flags="A"))
    program = bpf.Filter("tcp[tcpflags] & tcp-syn != 0 and dst port 80")
    assert program.matches(syn)
    assert not program.matches(ack)
    assert not program.matches(b"")


def test_nonsense_is_named():
    with pytest.raises(ValueError, match="filter 'tcp prot 80': .*syntax error"):
        bpf.Filter("tcp prot 80")
