# SPDX-License-Identifier: BSD-3-Clause
"""Test suites that others wrote for the kernel's sockets, as ci/conformance runs them on the stack."""

from uvnet_suites.base import Outcomes, Suite
from uvnet_suites.cpython import CPython
from uvnet_suites.memcached import Memcached
from uvnet_suites.perl import Perl
from uvnet_suites.redis import Redis

__all__ = ["CPython", "Memcached", "Outcomes", "Perl", "Redis", "Suite"]
