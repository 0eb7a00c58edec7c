# SPDX-License-Identifier: BSD-3-Clause
"""Connections of a puppet with a peer made by hand."""

import pytest


@pytest.fixture
def established(listener, peer):
    """A connection that the peer has opened: the puppet's socket `c`."""
    peer.connect()
    listener.until("poll(l) & 1", 1)
    listener("c = l.accept()[0]; c.setblocking(False)")
    return listener
