# SPDX-License-Identifier: BSD-3-Clause
"""Every verb explains itself, and says what it says as JSON, too."""

import json
import re
import subprocess

import pytest


def verbs(program):
    """The verbs of `uvbridge --help`."""
    text = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    return re.findall(r"^  ([a-z]+) +[^ ]", text, re.M)


def test_help_of_every_verb(net):
    """What it is for, how it is called, its options one by one, an example."""
    found = verbs(net.build.uvbridge)
    assert {"up", "down", "list", "show", "watch", "capture", "ledger", "port", "completion"} <= set(found)
    for verb in found:
        done = subprocess.run([net.build.uvbridge, verb, "--help"], capture_output=True, text=True, check=True)
        assert done.stdout.startswith(f"Usage: uvbridge {verb} "), verb
        assert done.stderr == ""
        if verb != "port":  # its kinds have examples, see pytests/ports
            assert f"uvbridge {verb}" in done.stdout.split("Example", 1)[-1], verb
        usage = "\n".join(line for line in done.stdout.splitlines() if "uvbridge " + verb in line)
        for option in set(re.findall(r"\[(--[a-z-]+)", usage)) - {"--json"}:
            assert re.search(rf"^ +(-., )?{option}\b", done.stdout, re.M), (verb, option)


def test_unknown_options_are_refused(net):
    for verb in set(verbs(net.build.uvbridge)) - {"port", "completion"}:
        done = subprocess.run(
            [net.build.uvbridge, verb, net.name, "--frobnicate"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2 and done.stderr != "", (verb, done.stderr)


def test_list_and_ledger_as_json(net):
    net.wire("web")
    listed = {entry["fabric"]: entry for entry in json.loads(net.fabric.tool("list", "--json"))}
    assert listed[net.name]["daemon"] == "alive" and listed[net.name]["ports"] >= 1
    assert listed[net.name]["directory"] == str(net.fabric.directory)
    ledger = json.loads(net.fabric.tool("ledger", net.name, "--json"))
    assert ledger["clean"] is True and ledger["offenders"] == []
    assert ledger["cells"] == ledger["free"] + ledger["in_flight"]


@pytest.mark.uvnet(capture=False)
def test_watch_as_json(net):
    """A line for each interval; rates are those of the frames sent meanwhile."""
    wire, other = net.wire("web"), net.wire("other")
    watch = net.start(
        "watch", net.build.uvbridge, "watch", net.name, "--interval", "0.2", "--count", "3", "--json"
    )
    for _ in range(20):
        wire.send(wire.ether(other.mac) / bytes(100), ack=False)
    assert watch.wait(10) == 0
    looks = [json.loads(line) for line in watch.stdout.splitlines()]
    assert len(looks) == 3 and all(look["fabric"] == net.name for look in looks)
    last = {port["port"]: port for port in looks[-1]["ports"]}
    assert last["web"]["tx_packets"] >= 20
    assert {"rx_pps", "rx_bps", "tx_pps", "tx_bps", "drops_per_second"} <= set(last["other"])
