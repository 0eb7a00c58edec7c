# SPDX-License-Identifier: BSD-3-Clause
"""uveth as a VF: what a DPDK application sees of what the PF asks."""

from uvnet_harness import until


def test_vf_in_testpmd(net, testpmd):
    """Address from the PF, no promiscuous mode without trust, link state with an event."""
    nic = net.adapter("nic0", vfs=1)
    vf = nic.vf(0)
    vf.set(mac="02:00:00:00:00:11")
    pmd = testpmd("vf", "name=nic0.vf0")
    text = pmd.command("show port info 0")
    assert "MAC address: 02:00:00:00:00:11" in text
    assert "Link status: up" in text
    assert "Promiscuous mode: disabled" in text, "although testpmd asked for it at the start"
    pmd.command("mac_addr set 0 02:00:00:00:00:12")
    assert "MAC address: 02:00:00:00:00:11" in pmd.command("show port info 0")
    vf.set(trust=True)
    pmd.command("set promisc 0 on")
    assert "Promiscuous mode: enabled" in pmd.command("show port info 0")
    vf.set(trust=False)
    pmd.command("port config mtu 0 1400")
    assert "MTU: 1400" in pmd.command("show port info 0"), "whatever mode it was in"
    seen = pmd.process.stdout.count("link state change event")
    vf.set(state="disable")
    until(lambda: pmd.process.stdout.count("link state change event") > seen, 5, "the link event")
    assert "Link status: down" in pmd.command("show port info 0")
    vf.set(state="auto")
    until(lambda: "Link status: up" in pmd.command("show port info 0"), 5, "the link")
