# SPDX-License-Identifier: BSD-3-Clause
"""Names, addresses and random streams from test ids."""

import re

from hypothesis import given
from hypothesis import strategies as st

from uvnet_harness import names


@given(st.text(max_size=200), st.sampled_from(["", "gw0", "gw17"]))
def test_fabric_names_fit_the_abi(test_id, worker):
    name = names.fabric_name(test_id, worker)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,30}", name)


def test_fabric_names_differ_by_test_and_worker():
    ids = ["a/test_x.py::test_one[1]", "a/test_x.py::test_one[2]", "b/test_x.py::test_one[1]"]
    made = {names.fabric_name(i, w) for i in ids for w in ("gw0", "gw1")}
    assert len(made) == 6


@given(st.text(min_size=1, max_size=300))
def test_folder_names_are_plain(test_id):
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,160}", names.folder_name(test_id))


def test_folder_names_tell_parameters_apart():
    assert names.folder_name("t.py::x[a/b]") != names.folder_name("t.py::x[a:b]")
    assert names.folder_name("bridge/test_flood.py::test_all") == "bridge.test_flood.test_all"


def test_addresses_are_valid_and_stable():
    one, again = names.Addresses.of("x"), names.Addresses.of("x")
    assert one == again
    assert one.ip(1).startswith("10.") and one.ip(1).endswith(".1")
    assert int(one.mac(7).split(":")[0], 16) & 3 == 2  # locally administered, unicast


def test_streams_are_named_and_independent():
    draw = names.stream(1, "test", "flows").random()
    assert names.stream(1, "test", "flows").random() == draw
    assert names.stream(1, "test", "other").random() != draw
    assert names.stream(2, "test", "flows").random() != draw
    assert names.stream(1, "te", "stflows").random() != draw
