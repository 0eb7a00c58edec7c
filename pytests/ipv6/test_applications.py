# SPDX-License-Identifier: BSD-3-Clause
"""Applications of the distribution over IPv6, unmodified; and sockets that speak both families."""

import json

import pytest

SERVE = """
import socket, sys
listener = socket.create_server((sys.argv[1], 0), family=socket.AF_INET6, dualstack_ipv6=sys.argv[2] == "dual")
print("listening", listener.getsockname()[1], flush=True)
for _ in range(int(sys.argv[3])):
    connection, peer = listener.accept()
    print(peer[0], connection.getsockname()[0], flush=True)
    connection.sendall(peer[0].encode())
    connection.close()
"""

ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10) as s:
    print(s.getsockname()[0], s.recv(100).decode())
"""


def python(host, text, *words, **options):
    return host.start("/usr/bin/python3", "-c", text, *words, **options)


def serve(host, *words):
    """Start SERVE, on a port of the system's choice: what listens on "::" listens in the kernel, too."""
    app = python(host, SERVE, *words)
    app.process.wait_output("listening [0-9]+")
    return app, app.stdout.split()[1]


def ask(client, address, port):
    """Run ASK; what it says."""
    return client.run("/usr/bin/python3", "-c", ASK, address, port)


def test_redis(net):
    server, client = net.host("server", ipv6=True), net.host("client", ipv6=True)
    app = server.start("redis-server", "--bind", server.ip6, "--protected-mode", "no", "--save", "")
    app.wait_ready(log="Ready to accept connections")
    cli = ["redis-cli", "-h", server.ip6]
    assert client.run(*cli, "-x", "SET", "big", stdin=bytes(range(256)) * 4096).check().stdout == "OK\n"
    assert client.run(*cli, "STRLEN", "big").check().stdout == "1048576\n"
    done = client.run("redis-benchmark", "-h", server.ip6, "-n", "2000", "-c", "20", "-t", "get", "-q").check()
    assert "requests per second" in done.stdout


@pytest.mark.uvnet(capture=False)
def test_iperf3(net):
    server, client = net.host("server", ipv6=True), net.host("client", ipv6=True)
    app = server.start("iperf3", "-6", "-s", "-B", server.ip6, "--forceflush")
    app.wait_ready(log="Server listening")
    report = json.loads(client.run("iperf3", "-6", "-c", server.ip6, "-n", "20M", "--json").check().stdout)
    assert report["end"]["sum_received"]["bytes"] >= 19 << 20


def test_curl_from_http_server(net, tmp_path):
    server, client = net.host("server", ipv6=True), net.host("client", ipv6=True)
    content = net.random("content").randbytes(300_000)
    (tmp_path / "file").write_bytes(content)
    app = server.start("/usr/bin/python3", "-m", "http.server", "--bind", server.ip6, "-d", tmp_path, "8080")
    app.wait_ready(condition=lambda: "Serving HTTP" in app.stdout)
    to = tmp_path / "got"
    client.run("curl", "-sS", "-g", "-o", to, f"http://[{server.ip6}]:8080/file").check()
    assert to.read_bytes() == content


def test_a_dual_stack_listener_hears_both_families(net):
    server, client = net.host("server", ipv6=True), net.host("client", ipv6=True)
    app, port = serve(server, "::", "dual", "2")
    assert ask(client, server.ip6, port).check().stdout.split() == [client.ip6] * 2
    assert ask(client, server.ip, port).check().stdout.split() == [client.ip, f"::ffff:{client.ip}"]
    app.wait(10)
    assert app.stdout.split()[2:] == [client.ip6, server.ip6, f"::ffff:{client.ip}", f"::ffff:{server.ip}"]


def test_a_v6only_listener_refuses_ipv4(net):
    server, client = net.host("server", ipv6=True), net.host("client", ipv6=True)
    app, port = serve(server, "::", "only", "1")
    assert "ConnectionRefusedError" in ask(client, server.ip, port).stderr
    ask(client, server.ip6, port).check()
    assert app.wait(10) == 0


def test_link_local_addresses_with_scope_id(net):
    """uv0 is interface 2; without a scope id a link-local address says too little."""
    server, client = net.host("server", ipv6=True), net.host("client", ipv6=True)
    app, port = serve(server, "::", "only", "1")
    done = ask(client, f"{server.link_local}%2", port).check()
    assert done.stdout.split() == [client.link_local] * 2
    assert app.wait(10) == 0
    bare = client.run(
        "/usr/bin/python3", "-c",
        "import socket, sys; socket.socket(socket.AF_INET6).connect((sys.argv[1], 80))", server.link_local,
    )  # fmt: skip
    assert "Invalid argument" in bare.stderr


def test_datagrams_tell_their_destination_and_hop_limit(net):
    server, client = net.host("server", ipv6=True), net.host("client", ipv6=True)
    app = python(
        server,
        """
import socket, struct, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
for option in socket.IPV6_RECVPKTINFO, socket.IPV6_RECVHOPLIMIT, socket.IPV6_RECVTCLASS:
    s.setsockopt(socket.IPPROTO_IPV6, option, 1)
s.bind((sys.argv[1], 9))
print("bound", flush=True)
data, control, flags, peer = s.recvmsg(100, 200)
got = {kind: value for level, kind, value in control}
info = got[socket.IPV6_PKTINFO]
print(socket.inet_ntop(socket.AF_INET6, info[:16]), *struct.unpack("i", info[16:]),
      *struct.unpack("i", got[socket.IPV6_HOPLIMIT]), *struct.unpack("i", got[socket.IPV6_TCLASS]))
""",
        server.ip6,
    )
    app.process.wait_output("bound")
    client.run(
        "/usr/bin/python3", "-c",
        "import socket, struct, sys\n"
        "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n"
        "s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 33)\n"
        "s.sendmsg([b'x'], [(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, struct.pack('i', 0x28))], 0,\n"
        "          (sys.argv[1], 9))",
        server.ip6,
    ).check()  # fmt: skip
    assert app.wait(10) == 0, app.stderr
    assert app.stdout.split()[1:] == [server.ip6, "2", "33", "40"]


def test_checksums_are_the_port_s_and_right(net):
    """What a wire receives carries the sum that IPv6 demands."""
    from scapy.layers.inet import UDP
    from scapy.layers.inet6 import IPv6

    host, wire = net.host("host", ipv6=True), net.wire("wire", ipv6=True)
    app = python(
        host,
        "import socket, sys, time\n"
        "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n"
        "s.settimeout(10); s.sendto(b'ping', (sys.argv[1], 5)); print(s.recv(9))",
        wire.ip6,
    )
    frame = wire.expect("udp and ip6")
    again = frame[IPv6].copy()
    del again[UDP].chksum
    assert IPv6(bytes(again))[UDP].chksum == frame[UDP].chksum
    answer = IPv6(src=wire.ip6, dst=host.ip6) / UDP(sport=5, dport=frame[UDP].sport) / b"pong"
    wire.send(bytes(wire.ether(host.mac) / answer).replace(b"pong", b"pung"))
    wire.send(wire.ether(host.mac) / answer)
    assert app.wait(10) == 0, app.stderr
    assert "pong" in app.stdout
