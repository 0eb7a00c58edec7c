# SPDX-License-Identifier: BSD-3-Clause
"""Every line marked Y in docs/uveth.ini names the tests that judge it, and they exist."""

import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Order of DPDK's doc/guides/nics/features/default.ini, of the lines that are ours.
COVERED = {
    "Speed capabilities": ["control: link", "test_port_info"],
    "Link status": ["control: link", "test_port_info"],
    "Link status event": ["intr: link event", "test_fabric_restarted_under_a_port"],
    "Removal event": ["test_unplugged_under_traffic", "test_fabric_taken_down_under_two_ports"],
    "Rx interrupt": ["intr: per queue", "intr: no lost wake-up", "intr: not configured"],
    "Lock-free Tx queue": ["burst: many threads, one queue"],
    "Fast mbuf free": ["burst: fast free", "burst: clone"],
    "Free Tx mbuf on demand": ["control: information"],
    "Queue start/stop": ["control: queue start and stop", "control: deferred start"],
    "Runtime Rx queue setup": ["control: queue set-up at run time", "control: late queue"],
    "Runtime Tx queue setup": ["control: late queue"],
    "Burst mode info": ["control: information"],
    "MTU update": ["control: MTU"],
    "Scattered Rx": ["burst: jumbo, scattered", "burst: pool exhausted in a chain"],
    "LRO": ["lro: joined", "lro: not joined", "tso: whole", "test_lro", "test_tso_meets_lro"],
    "TSO": ["tso: cut", "tso: in a burst", "tso: flooded", "tso: no cells", "tso: bad super-frames", "test_tso",
            "test_tso_meets_lro"],
    "Promiscuous mode": ["control: promiscuous"],
    "Allmulticast mode": ["control: multicast"],
    "Unicast MAC filter": ["control: MAC addresses"],
    "Multicast MAC filter": ["control: multicast"],
    "RSS hash": ["rss: default key and table", "rss: every hash type", "rss: by MAC addresses",
                 "test_default_key_and_table", "test_hash_types_changed_at_run_time"],
    "RSS key update": ["rss: key and table changed at run time", "rss: key of 52 bytes",
                       "test_key_and_table_changed_at_run_time"],
    "RSS reta update": ["rss: table update by mask", "rss: table of 512",
                        "test_key_and_table_changed_at_run_time"],
    "VLAN filter": ["vlan: filter", "test_vlan_filter"],
    "VLAN offload": ["vlan: strip", "vlan: strip, at run time", "vlan: insert", "vlan: insert with checksum",
                     "test_vlan_strip", "test_vlan_insert"],
    "QinQ offload": ["vlan: strip two", "vlan: TPIDs", "vlan: insert", "test_qinq"],
    "L3 checksum offload": ["csum: sent right", "csum: the receiver checks", "csum: bad requests",
                             "test_checksums", "test_bad_checksums_are_reported"],
    "L4 checksum offload": ["csum: sent right", "csum: UDP zero", "csum: awkward frames", "csum: the receiver checks",
                             "test_checksums", "test_bad_checksums_are_reported"],
    "Timestamp offload": ["time: receive timestamp", "time: without timestamp",
                          "test_timestamps_are_of_the_fabrics_clock"],
    "Packet type parsing": ["control: packet types"],
    "Timesync": ["time: PTP registers", "time: PTP clock"],
    "Rx descriptor status": ["control: descriptors"],
    "Tx descriptor status": ["control: descriptors"],
    "Basic stats": ["stats: basic and per queue", "stats: reset", "stats: conservation"],
    "Extended stats": ["stats: names", "stats: drops by the switch", "stats: conservation"],
    "Stats per queue": ["stats: basic and per queue", "stats: mapping", "test_statistics_of_mapped_queues"],
    "FW version": ["control: information", "test_port_info"],
    "Registers dump": ["stats: registers"],
    "Multiprocess aware": ["test_each_process_serves_its_queue", "test_leaving_harms_nobody"],
    "Linux": ["test_four_queues_between_two_processes"],
    "x86-64": ["test_four_queues_between_two_processes"],
    "Usage doc": ["test_every_line_is_covered"],
}  # fmt: skip
"""Line of the matrix: names of unit tests (of uveth/test) or of functions in pytests/nic."""


MODEL = ["test_rules_against_the_model"]
FLOW = {
    "rte_flow items": {name: MODEL for name in
                       ("any", "eth", "icmp", "icmp6", "ipv4", "ipv6", "raw", "sctp", "tcp", "udp", "vlan")},
    "rte_flow actions": {
        **{name: MODEL for name in ("count", "drop", "flag", "jump", "mark", "passthru", "queue")},
        "rss": ["flow: rss of a rule", "flow: hash functions"],
    },
}  # fmt: skip
"""The same for the sections of rte_flow."""


def section(name):
    """The lines of a section marked Y, or P for a part."""
    ini = configparser.ConfigParser()
    ini.optionxform = str  # type: ignore[assignment,method-assign]
    ini.read(ROOT / "docs" / "uveth.ini", encoding="utf-8")
    return [name for name, value in ini[name].items() if value in ("Y", "P")]


def lines():
    """The features marked Y."""
    return section("Features")


def known_tests():
    """Names of all tests of the driver."""
    names = set()
    for source in (ROOT / "uveth" / "test").glob("test_*.c"):
        names |= set(re.findall(r'^\t\{"(.+)",\s+\w+\},', source.read_text(encoding="utf-8"), re.M))
    for source in Path(__file__).parent.glob("test_*.py"):
        names |= set(re.findall(r"^def (test_\w+)", source.read_text(encoding="utf-8"), re.M))
    return names


@pytest.mark.parametrize("line", lines())
def test_every_line_is_covered(line):
    assert COVERED.get(line), f"docs/uveth.ini says '{line} = Y', and no test is named here for it"
    missing = set(COVERED[line]) - known_tests()
    assert not missing, f"'{line}' is covered by tests that do not exist: {missing}"


def test_no_line_is_forgotten():
    gone = set(COVERED) - set(lines())
    assert not gone, f"tests cover what docs/uveth.ini does not claim: {gone}"


@pytest.mark.parametrize("name", FLOW)
def test_flow_items_and_actions_are_covered(name):
    assert section(name) == list(FLOW[name])
    missing = {test for tests in FLOW[name].values() for test in tests} - known_tests()
    assert not missing, f"tests that do not exist: {missing}"
