# SPDX-License-Identifier: BSD-3-Clause
"""PostgreSQL of the distribution, unmodified: a process for each connection, forked by the one that accepts."""

import re

from uvnet_harness import apps


def test_pgbench_counts_every_transaction(net):
    server, client = net.host("server", queues=2), net.host("client", queues=2)
    database = apps.PostgreSQL(server)
    database.app.wait_port(5432)
    client.run(*database.client("pgbench"), "-i", "-q").check()
    done = client.run(*database.client("pgbench"), "-c", "4", "-t", "25").check()
    assert re.search(r"processed: 100/100\n.*failed transactions: 0 ", done.stdout), done
    query = "SELECT count(*), sum(delta) = (SELECT sum(tbalance) FROM pgbench_tellers) FROM pgbench_history"
    assert client.run(*database.client("psql"), "-Atc", query).check().stdout == "100|t\n"
