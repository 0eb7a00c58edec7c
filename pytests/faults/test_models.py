# SPDX-License-Identifier: BSD-3-Clause
"""Links: rate, delay, jitter, losses, seen by wires."""

import time

import pytest
from scapy.layers.inet import IP, UDP

from uvnet_harness.fabric import FabricError
from uvnet_harness.faults import read_log


def numbered(a, b, count, length=60):
    """UDP datagrams of `length` bytes that say which they are."""
    return [
        bytes(
            a.ether(b.mac)
            / IP(src=a.ip, dst=b.ip)
            / UDP(sport=5000, dport=6000)
            / i.to_bytes(4, "big")
            / bytes(length - 46)
        )
        for i in range(count)
    ]


def numbers(frames):
    """What `numbered` frames say."""
    return [int.from_bytes(frame.raw[42:46], "big") for frame in frames]


def collect(wire, count, timeout=5):
    """So many frames, and when each was taken."""
    return [wire.expect(timeout=timeout) for _ in range(count)]


def sent_and_drained(a, b, count):
    """Numbers that arrive, of so many sent."""
    a.send(numbered(a, b, count))
    return numbers(b.drain())


def test_every_nth_frame_is_lost(net):
    a, b = net.wire("a"), net.wire("b")
    fault = net.link(a).model(nth=4)
    assert sent_and_drained(a, b, 12) == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert net.fabric.snapshot()["port.a.txq.0.drops.link_loss"] == fault.hits == 3


def test_loss_has_its_probability(net):
    a, b = net.wire("a"), net.wire("b")
    net.link(b).loss("10%", "rx", seed=7)
    arrived = len(sent_and_drained(a, b, 3000))
    assert 2600 < arrived < 2800
    assert net.fabric.snapshot()["pair.a.0.b.drops.link_loss"] == 3000 - arrived


def test_gilbert_elliott_loses_in_runs(net):
    a, b = net.wire("a"), net.wire("b")
    net.link(a).model(gemodel="2%,20%", seed=3)
    got = set(sent_and_drained(a, b, 4000))
    lost = [i for i in range(4000) if i not in got]
    runs = sum(1 for i in lost if i - 1 in got)
    assert 0.05 < len(lost) / 4000 < 0.15, "2 / (2 + 20) of the time is bad"
    assert 3.5 < len(lost) / runs < 7, "bad times last 5 frames"


def test_duplicates_and_damage_by_chance(net):
    a, b = net.wire("a"), net.wire("b")
    net.link(a).model(duplicate="20%", seed=1)
    assert 1150 < len(sent_and_drained(a, b, 1000)) < 1250
    net.fabric.tool("fault", net.fabric.name, "remove", "--all")
    net.link(a).model(corrupt="20%", seed=1)
    frames = numbered(a, b, 1000)
    a.send(frames)
    damaged = sum(r.raw != f for r, f in zip(b.drain(), frames, strict=True))
    assert 150 < damaged < 250


def test_delay(net):
    a, b = net.wire("a"), net.wire("b")
    net.link(a).delay("30ms")
    net.link(b).delay("20ms", "rx")
    start = time.monotonic()
    a.send(numbered(a, b, 5), ack=False)
    frames = collect(b, 5)
    assert numbers(frames) == [0, 1, 2, 3, 4]
    assert all(0.05 <= frame.time - start < 0.5 for frame in frames)


def test_a_sleeping_receiver_is_woken_in_time(net):
    a, b = net.wire("a"), net.wire("b")
    net.link(a).delay("40ms")
    a.send(numbered(a, b, 1), ack=False)
    cpu = time.process_time()
    b.expect(timeout=2)
    assert time.process_time() - cpu < 0.02, "it did not sleep"


def test_jitter_keeps_the_order_unless_told_otherwise(net):
    a, b = net.wire("a"), net.wire("b")
    link = net.link(a)
    ordered = link.delay("10ms", jitter="10ms")
    a.send(numbered(a, b, 100), ack=False)
    assert numbers(collect(b, 100)) == list(range(100))
    ordered.remove()
    link.delay("10ms", jitter="10ms", reorder=True)
    a.send(numbered(a, b, 100), ack=False)
    got = numbers(collect(b, 100))
    assert sorted(got) == list(range(100)) != got


def test_a_cable_holds_as_many_frames_as_a_voq(net):
    """What is beyond has a name of its own: the receiver is not to blame."""
    a, b = net.wire("a"), net.wire("b")
    net.clock.stop()
    net.link(b).delay("1s", "rx")
    room = net.fabric.snapshot()["fabric.voq_depth"]
    a.send(numbered(a, b, room + 7), ack=False)
    counters = net.fabric.snapshot()
    assert counters["port.b.drops.link_delay_full"] == 7
    assert counters["port.b.rxq.0.imissed"] == 0
    net.clock.step(1)
    assert numbers(b.drain()) == list(range(room))


@pytest.mark.parametrize("normal", [False, True], ids=["uniform", "normal"])
def test_distribution_of_jitter(net, normal):
    a, b = net.wire("a"), net.wire("b")
    net.link(a).delay("20ms", jitter="5ms", reorder=True, **({"normal": True} if normal else {}))
    a.send(numbered(a, b, 400), ack=False)
    collect(b, 400)
    delays = [entry["ns"] / 1e6 for entry in read_log(net.fabric.decisions)]
    mean = sum(delays) / 400
    sigma = (sum((d - mean) ** 2 for d in delays) / 400) ** 0.5
    assert 19 < mean < 21
    assert 4.5 < sigma < 5.5 if normal else 2.6 < sigma < 3.2
    assert max(delays) > 25 if normal else 15 <= min(delays) <= max(delays) <= 25


def test_rate(net):
    a, b = net.wire("a"), net.wire("b")
    net.link(a).rate("8mbit")
    start = time.monotonic()
    a.send(numbered(a, b, 50, 1000), ack=False)
    frames = collect(b, 50)
    assert numbers(frames) == list(range(50))
    took = frames[-1].time - start
    assert 0.05 <= took < 0.5, "50,000 bytes at a million a second"
    assert frames[24].time - start >= 0.025


def test_burst_passes_at_once(net):
    a, b = net.wire("a"), net.wire("b")
    net.link(a).rate("80kbit", burst="10000")
    a.send(numbered(a, b, 11, 1000), ack=False)
    assert numbers(b.drain()) == list(range(10)), "a frame a tenth of a second after that"


def test_queue_limit_and_bufferbloat(net):
    """A longer queue loses less and delays more: a frame of 1,000 bytes takes the line a millisecond."""
    a, b = net.wire("a"), net.wire("b")
    link = net.link(a)
    net.clock.stop()
    for kept in (10, 100):
        fault = link.rate("8mbit", queue=kept * 1000)
        a.send(numbered(a, b, 150, 1000), ack=False)
        net.clock.step((kept - 0.5) / 1000)
        assert numbers(b.drain()) == list(range(kept - 1))
        net.clock.step(0.0005)
        assert numbers(b.drain()) == [kept - 1]
        assert fault.hits == 150 - kept, "the others found the queue full"
        net.clock.step(1)
        assert b.drain() == []
        fault.remove()
    assert net.fabric.snapshot()["port.a.txq.0.drops.link_queue_full"] == 140 + 50


def test_models_come_after_rules(net):
    a, b = net.wire("a"), net.wire("b")
    model = net.link(a).model(nth=2)
    net.link(a).fault(drop=1)
    assert sent_and_drained(a, b, 5) == [1, 3]
    assert model.matched == 4


def test_same_seed_same_fate(net):
    a, b = net.wire("a"), net.wire("b")
    link = net.link(a)
    outcomes = []
    for seed in ("monday", "monday", "tuesday"):
        fault = link.model(
            loss="10%", duplicate="10%", corrupt="10%", delay="5ms", jitter="5ms", reorder=True, seed=seed
        )
        before = net.fabric.decisions
        a.send(numbered(a, b, 200), ack=False)
        a.acknowledged()
        log = net.fabric.decisions[len(before) :].replace(f'"fault":{fault.handle},', "")
        outcomes.append((sorted(frame.raw for frame in b.drain()), log))
        fault.remove()
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][1] != outcomes[2][1]


def test_log_tells_what_was_decided(net):
    a, b = net.wire("a"), net.wire("b")
    net.link(a).fault("udp", drop=1, skip=1)
    net.link(b).fault("udp", truncate=60, direction="rx", count=1)
    a.send(numbered(a, b, 3, 100))
    assert read_log(net.fabric.decisions) == [
        {"fault": 2, "port": "b", "dir": "rx", "n": 0, "len": 100, "verdict": "truncate", "bytes": 60},
        {"fault": 1, "port": "a", "dir": "tx", "n": 1, "len": 100, "verdict": "drop"},
    ]


def test_list_shows_terms_and_counters(net):
    a, b = net.wire("a"), net.wire("b")
    net.link(a).model(rate="10mbit", queue="100KiB", delay="1ms", loss="50%", seed=1)
    net.link(a).fault("udp port 1", hold=0)
    a.send(numbered(a, b, 10), ack=False)
    text = net.fabric.tool("fault", net.fabric.name, "list")
    assert "rate 10000000bit queue 102400b delay 1ms loss 50%" in text
    assert "udp port 1" in text
    state = net.fabric.snapshot().data["faults"][0]
    assert (state["rate_bps"], state["queue_bytes"], state["delay_ns"]) == (10_000_000, 102_400, 1_000_000)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--loss", "1"], "no unit"),
        (["--loss", "101%"], "out of range"),
        (["--rate", "fast"], "out of range"),
        (["--queue", "1k"], "wants a rate"),
        (["--delay", "2h"], "more than an hour"),
        (["--gemodel", "1%,2%,3%,4%,5%"], "out of range"),
        (["--rate", "10bit"], "below 1000"),
    ],
)
def test_nonsense_is_refused_in_words(net, words, says):
    with pytest.raises(FabricError, match=says):
        net.fabric.tool("link", net.fabric.name, "a", "tx", *words)
