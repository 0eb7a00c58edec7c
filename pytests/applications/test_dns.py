# SPDX-License-Identifier: BSD-3-Clause
"""dnsmasq and dig of the distribution, unmodified."""

import pytest

from uvnet_harness import apps

NAMES = {f"host{i}.test": f"10.1.{i}.2" for i in range(20)}


@pytest.fixture
def dns(net):
    """A name server and a client."""
    server, client = net.host("server"), net.host("client")
    apps.dnsmasq(server, NAMES)
    return server, client


def test_dig_asks_dnsmasq(dns):
    server, client = dns
    done = client.run("dig", "+short", f"@{server.ip}", *NAMES).check()
    assert done.stdout.split() == list(NAMES.values())


def test_dig_asks_over_tcp(dns):
    """dnsmasq forks for each connection; its children answer in any order."""
    server, client = dns
    done = client.run("dig", "+short", "+tcp", f"@{server.ip}", *NAMES).check()
    assert sorted(done.stdout.split()) == sorted(NAMES.values())


def test_dig_hears_that_a_name_does_not_exist(dns):
    server, client = dns
    done = client.run("dig", f"@{server.ip}", "nobody.test").check()
    assert "status: REFUSED" in done.stdout or "status: NXDOMAIN" in done.stdout, done
