# SPDX-License-Identifier: BSD-3-Clause
"""--nic, --peer and --guest: what they may say."""

import pytest

from uvnet_harness import nics
from uvnet_harness.nics import BadSpec, Spec

SOCKET = "socket:/tmp/a,peer=/tmp/b"


def test_real_card_and_what_it_is_cabled_to():
    spec = Spec.parse("pci:3b:00.0", SOCKET)
    assert (spec.kind, spec.device, str(spec)) == ("pci", "0000:3b:00.0", "pci:0000:3b:00.0")
    assert spec.peer.port() == ["socket", "--path", "/tmp/a", "--peer", "/tmp/b"]
    assert spec.prefix() == []


def test_function_of_a_card(tmp_path, monkeypatch):
    """vf=N is the N-th VF of that PF, by whatever address it has."""
    monkeypatch.setattr(nics, "PCI_DEVICES", tmp_path)
    pf, vf = tmp_path / "0000:3b:00.0", tmp_path / "0000:3b:10.2"
    pf.mkdir()
    vf.mkdir()
    (pf / "virtfn1").symlink_to(vf)
    assert Spec.parse("pci:3b:00.0,vf=1", SOCKET).device == "0000:3b:10.2"
    with pytest.raises(BadSpec, match="has no VF 3: echo 4 > .*/sriov_numvfs"):
        Spec.parse("pci:3b:00.0,vf=3", SOCKET)


@pytest.mark.parametrize(
    "peer, words",
    [
        ("pci:0000:3b:00.1", ["ethdev", "--dev", "0000:3b:00.1"]),
        ("bridge:br0,netns=lab", ["tap", "--ifname", "uvnet0", "--netns", "lab"]),
        ("af_packet:eth1", ["ethdev", "--dev", "net_af_packet0,iface=eth1"]),
        ("af_packet:eth1,netns=lab", ["ethdev", "--dev", "net_af_packet0,iface=eth1", "--netns", "lab"]),
    ],
)
def test_other_end_of_the_cable(peer, words):
    assert Spec.parse("pci:3b:00.0", peer).peer.port() == words


@pytest.mark.parametrize(
    "nic, peer, message",
    [
        ("uveth:x", None, "is none of"),
        ("pci:3b:00.0", None, "say with --peer"),
        ("pci:eth0", SOCKET, "address of a PCI function"),
        ("tap", SOCKET, "are for pci"),
        ("pci:3b:00.0", "socket:", "is none of"),
        ("pci:3b:00.0", "socket:/tmp/a,pear=/tmp/b", "is none of"),
        ("pci:3b:00.0", "pigeon:coop", "is none of"),
    ],
)
def test_nonsense_is_refused(nic, peer, message):
    with pytest.raises(BadSpec, match=message):
        Spec.parse(nic, peer)


def test_ring_has_no_far_end():
    assert "loop" in nics.problem(Spec.parse("ring"))
