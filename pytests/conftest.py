# SPDX-License-Identifier: BSD-3-Clause
"""Loads the harness's plugin from this repository; what several groups of scenarios share."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))

pytest_plugins = ["uvnet_harness.plugin"]

APPS = Path(__file__).resolve().parent / "apps"


@pytest.fixture
def program():
    """Command words that run a program of pytests/apps: ``host.start(*program("transfer"), …)``."""

    def words(name, interpreter="/usr/bin/python3"):
        return [interpreter, APPS / (name if "." in name else f"{name}.py")]

    return words


@pytest.fixture
def redis_server():
    """Start redis-server on a host and wait until it listens: ``redis_server(host)``."""

    def start(host, *words):
        app = host.start(
            "redis-server", "--bind", host.ip, "--protected-mode", "no", "--save", "", "--appendonly", "no", *words
        )
        return app.wait_port(6379)

    return start


@pytest.fixture
def full(request):
    """True if durations are to be those of the requirements (``--full``), not those of the gate."""
    return request.config.option.full
