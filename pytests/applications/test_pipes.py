# SPDX-License-Identifier: BSD-3-Clause
"""socat, nc and openssl of the distribution, unmodified, as servers and as clients."""

import subprocess

import pytest

SIZE = 200_000


@pytest.fixture
def text(net):
    """Characters of a random stream."""
    return net.random("text").randbytes(SIZE // 2).hex()


def test_socat_through_a_program(net, text):
    server, client = net.host("server"), net.host("client")
    server.start("socat", f"TCP-LISTEN:7,bind={server.ip}", "EXEC:tr a-f A-F").wait_ready()
    done = client.run("socat", "-t10", "-", f"TCP:{server.ip}:7,retry=20,interval=0.05", stdin=text.encode())
    assert done.check().stdout == text.upper()


def test_nc_sends_a_file(net, text):
    server, client = net.host("server"), net.host("client")
    listening = server.start("nc", "-l", server.ip, "7").wait_ready()
    client.run("nc", "-N", server.ip, "7", stdin=text.encode()).check()
    assert listening.wait() == 0
    assert listening.stdout == text


def test_socat_forks_for_each_connection(net, text):
    server, clients = net.host("server"), [net.host("one"), net.host("two")]
    server.start("socat", f"TCP-LISTEN:7,bind={server.ip},fork", "EXEC:tr a-f A-F").wait_port(7)
    asking = [client.start("socat", "-t10", "-", f"TCP:{server.ip}:7", stdin=text.encode()) for client in clients]
    assert [app.wait() for app in asking] == [0, 0]
    assert [app.stdout for app in asking] == [text.upper()] * 2


def test_program_executed_on_a_connection(net, text):
    """With the connection as its standard input and output, as inetd does it: `nofork`."""
    server, client = net.host("server"), net.host("client")
    server.start("socat", f"TCP-LISTEN:7,bind={server.ip},fork", "EXEC:tr a-f A-F,nofork").wait_port(7)
    done = client.run("socat", "-t10", "-", f"TCP:{server.ip}:7", stdin=text.encode()).check()
    assert done.stdout == text.upper()


@pytest.fixture
def certificate(net):
    """Options that name a key and its self-signed certificate, and the certificate."""
    folder = net.scratch()
    key, cert = folder / "key", folder / "cert"
    subprocess.run(
        ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-keyout", key, "-out", cert, "-subj", "/CN=server", "-days", "2"],
        check=True, capture_output=True,
    )  # fmt: skip
    return ["-key", key, "-cert", cert], cert


@pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])
def test_openssl_talks_to_openssl(net, text, certificate, version):
    server, client = net.host("server"), net.host("client")
    options, cert = certificate
    server.start("openssl", "s_server", "-accept", f"{server.ip}:443", *options, "-rev", "-quiet").wait_port(443)
    lines = [text[at : at + 1000] for at in range(0, 50_000, 1000)]
    done = client.run(
        "openssl", "s_client", "-connect", f"{server.ip}:443", f"-{version}", "-CAfile", cert,
        "-verify_return_error", "-quiet", stdin="".join(line + "\n" for line in [*lines, "CLOSE"]).encode(),
    )  # fmt: skip
    assert done.stdout.split() == [line[::-1] for line in lines], done
