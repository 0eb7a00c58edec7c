# SPDX-License-Identifier: BSD-3-Clause
"""HTTP servers and clients of the distribution, unmodified: what arrives is what was served."""

import json
import re

import pytest

from uvnet_harness import apps

FILE_SIZE = 300_000


@pytest.fixture
def site(net):
    """A folder with a file of random bytes, and these."""
    root = net.scratch()
    data = net.random("site").randbytes(FILE_SIZE)
    (root / "file").write_bytes(data)
    return root, data


def download(client, url, *words):
    """What curl gets."""
    into = client.folder / "got"
    client.run("curl", "--silent", "--show-error", "--fail", "--output", into, *words, url).check()
    return into.read_bytes()


@pytest.mark.parametrize("workers", [0, 2])
def test_nginx_serves_curl(net, site, workers):
    server, client = net.host("server", queues=2), net.host("client")
    root, data = site
    apps.nginx(server, root, workers=workers)
    assert download(client, f"http://{server.ip}/file") == data
    assert download(client, f"http://{server.ip}/file", "--range", "100-299") == data[100:300]


def test_curl_fetches_many_files_over_parallel_connections(net, site):
    server, client = net.host("server", queues=2), net.host("client", queues=2)
    root, data = site
    apps.nginx(server, root)
    urls = f"http://{server.ip}/file?[1-20]"
    client.run(
        "curl", "--silent", "--show-error", "--fail", "--parallel", "--output", client.folder / "got.#1", urls
    ).check()
    assert all((client.folder / f"got.{i}").read_bytes() == data for i in range(1, 21))


@pytest.mark.models("shared", "several")
def test_nginx_serves_wrk(net, site, full, record_property):
    server, client = net.host("server", queues=2), net.host("client")
    root, _ = site
    (root / "small").write_text("hello\n")
    apps.nginx(server, root, extra="location = /hello { return 200 hello; }")
    done = client.run(
        "wrk", "-t2", "-c20", f"-d{10 if full else 1}s", "--latency", f"http://{server.ip}/hello"
    ).check()
    requests = int(re.search(r"(\d+) requests in", done.stdout)[1])
    assert requests > 100, done
    assert "Non-2xx" not in done.stdout and "Socket errors" not in done.stdout, done
    record_property("requests", requests)


@pytest.mark.parametrize("keepalive", [True, False])
def test_ab_counts_no_failure(net, site, keepalive):
    server, client = net.host("server", queues=2), net.host("client")
    root, data = site
    apps.nginx(server, root)
    words = ["-k"] if keepalive else []
    done = client.run("ab", *words, "-q", "-n", "200", "-c", "10", f"http://{server.ip}/file").check()
    figures = dict(re.findall(r"^([A-Z][\w -]+): +(\d+)", done.stdout, re.M))
    assert (figures["Complete requests"], figures["Failed requests"]) == ("200", "0"), done
    assert int(figures["HTML transferred"]) == 200 * len(data)


@pytest.mark.parametrize("mode", ["http", "tcp"])
def test_haproxy_spreads_over_two_servers(net, mode):
    servers = [net.host("one"), net.host("two")]
    proxy, client = net.host("proxy"), net.host("client")
    for server in servers:
        root = net.scratch()
        (root / "name").write_text(server.name)
        server.start("python3", "-m", "http.server", "--bind", server.ip, "--directory", root, "80").wait_port(80)
    apps.haproxy(proxy, [(server.ip, 80) for server in servers], mode=mode)
    url = f"http://{proxy.ip}/name"
    # Each its own connection; the two processes of one curl would share one.
    done = client.run("curl", "--silent", "--show-error", "--fail", "-H", "Connection: close", url, url, url, url)
    counts = [done.check().stdout.count(server.name) for server in servers]
    assert counts == [2, 2], done


def test_python_serves_files(net, site):
    server, client = net.host("server"), net.host("client")
    root, data = site
    server.start("python3", "-m", "http.server", "--bind", server.ip, "--directory", root, "80").wait_port(80)
    assert download(client, f"http://{server.ip}/file") == data
    asked = client.run(
        "python3", "-c", f"import urllib.request as r; print(len(r.urlopen('http://{server.ip}/file').read()))"
    ).check()
    assert asked.stdout.strip() == str(len(data))


def test_node_serves_and_asks(net, program):
    server, client = net.host("server"), net.host("client")
    script = program("http_node.js", interpreter="node")
    server.start(*script, "serve", server.ip, "80").wait_port(80)
    done = client.run(*script, "ask", server.ip, "80", "50", "4").check()
    assert json.loads(done.stdout) == {"answers": 200, "wrong": 0}
