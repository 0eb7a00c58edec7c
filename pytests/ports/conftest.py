# SPDX-License-Identifier: BSD-3-Clause
"""Ports that are not DPDK: what their scenarios share."""

import pytest


@pytest.fixture
def port(net):
    """Start ``uvbridge port KIND`` as a port NAME and wait until frames flow."""

    def start(kind, name, *words, ready=True):
        process = net.start(name, net.build.uvbridge, "port", kind, net.name, name, *map(str, words))
        if ready:
            process.wait_output("^ready$")
        return process

    return start
