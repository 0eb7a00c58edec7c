# SPDX-License-Identifier: BSD-3-Clause
"""The page about a run: that it holds all there is to know, needs nothing but itself, and can be read
by everybody; and what is recorded for it."""

import base64
import html
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from uvnet_report import heat, make, model, page
from uvnet_report.model import (
    Case, Failure, Frame, Measure, Network, Node, Run, Scenario, Series, Step, merge, read_lines, read_run, to_json,
)  # fmt: skip

CHROMIUM = shutil.which("chromium")


class Page(HTMLParser):
    """A page as a reader without scripts has it."""

    VOID = {"meta", "input", "br", "link", "img", "line", "rect", "path", "polyline"}

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.ids, self.links, self.open, self.scripts = set(), [], [], 0
        self.words, self.titles = [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.elements.append((tag, named))
        self.ids |= {named["id"]} if "id" in named else set()
        self.links += [named[name] for name in ("href", "src") if name in named]
        self.scripts += tag == "script"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes <{self.open[-1:]}> at {self.getpos()}"
        self.open.pop()

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def network():
    """What a scenario with everything has been seen to do."""
    nodes = [Node("server", "host", "10.0.0.1", "02:00:00:00:00:01", 4, ["redis-server"]), Node("load", "wire", "10.0.0.2")]
    return Network(
        fabric="lab-1",
        nodes=nodes,
        faults=["server tx: verdict=drop; 1 of 1 frames"],
        spread={"server": [10, 0, 7, 3]},
        series=[Series("received by load", "B/s", [0, 1, 2], [0, 5e8, 1e6]), Series("waiting for load", "frames", [0, 1], [0, 40])],
        measures=[Measure("goodput", 9.2e9, "bit/s")],
    )


def failed_scenario():
    frames = [
        Frame(0.0, "load", "all", "ARP who has 10.0.0.1?", "delivered"),
        Frame(0.001, "server", "load", "ARP 10.0.0.1 is at 02:…", "lost to fault 1", skipped=7),
    ]
    text = "def test_it():\n>   assert 1 == 2\nE   assert 1 == 2 & <so on>\n\ntest_it.py:3: AssertionError"
    failure = Failure(text, "/tmp/artifacts/x", "pytest x --seed=1", frames, {"stats.txt": "port.load.rx_packets  +1"})
    return Scenario("tcp/test_it.py::test_it", "failed", 1.5, network=network(), failures=[failure])


def whole_run(*more):
    """A run with a bit of everything."""
    steps = [
        Step("build", "passed", 10.0, 0.0, "ninja: no work to do."),
        Step("unit tests", "passed", 30.0, 10.0, cases=[Case("uvbridge-fdb", "passed", 0.02, "seed 7")]),
        Step("lint", "failed", 40.0, 10.0, "lint: 3 checks, 1 with findings", "-- mypy --strict\nx.py:1: error"),
    ]
    scenarios = [
        Scenario("nic/test_rss.py::test_spread", "passed", 0.4, network=network()),
        Scenario("nic/test_rss.py::test_gone", "skipped", 0.0, "needs root"),
        Scenario("udp/test_echo.py::test_echo", "flaky", 0.3, failures=[Failure("E   no echo")]),
        *more,
    ]
    environment = {"kernel": "6.1", "revision": "abc123"}
    matrix = heat.read(make.MATRIX)
    return Run(when="2026-01-02T03:04:05Z", seconds=81, seed="4711", command="ci/gate", environment=environment,
               steps=steps, scenarios=scenarios, matrix=matrix)  # fmt: skip


def test_page_needs_nothing_but_itself():
    text = page.render(whole_run(failed_scenario()))
    shown = Page(text)
    assert shown.open == []
    assert [link for link in shown.links if not link.startswith("#")] == []
    assert {link[1:] for link in shown.links} <= shown.ids
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", text)


def test_page_says_everything_without_scripts():
    shown = Page(page.render(whole_run(failed_scenario())))
    wanted = [
        "Failed", "test_it", "assert 1 == 2 & <so on>", "pytest x --seed=1", "/tmp/artifacts/x", "lost to fault 1",
        "7 frames left out", "port.load.rx_packets", "needs root", "E no echo", "redis-server", "10.0.0.1", "4711", "abc123",
        "uvbridge-fdb", "x.py:1: error", "9.2 Gbit/s", "received by load", "waiting for load", "cubic, queue 64", "9,284",
    ]  # fmt: skip
    assert [words for words in wanted if words not in shown.text] == []


def test_page_can_be_used_without_seeing_it():
    shown = Page(page.render(whole_run(failed_scenario())))
    drawings = [named for tag, named in shown.elements if tag == "svg"]
    assert len(drawings) >= 8
    assert all(named.get("role") == "img" for named in drawings)
    assert sum(tag == "title" for tag, _ in shown.elements) == len(drawings) + 1
    regions = [named for tag, named in shown.elements if named.get("role") == "region"]
    assert regions and all(named.get("aria-label") and named.get("tabindex") == "0" for named in regions)
    assert ("html", {"lang": "en"}) in shown.elements
    headings = [int(tag[1]) for tag, _ in shown.elements if re.fullmatch(r"h[1-6]", tag)]
    assert headings[0] == 1 and all(b - a <= 1 for a, b in zip(headings, headings[1:]))


def luminance(colour):
    """Relative luminance (WCAG 2.1)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    a, b = sorted((luminance(one), luminance(other)), reverse=True)
    return (a + 0.05) / (b + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_words_stand_out_from_their_ground(mode):
    style = (page.TEMPLATES / "style.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", style, re.S)
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", blocks[0]))
    if mode == "dark":
        colours |= dict(re.findall(r"--([\w-]+): (#\w{6})", blocks[1]))
    pairs = [(word, ground) for word in ("ink", "dim", "accent") for ground in ("page", "card")]
    pairs += [("good", "good-soft"), ("bad", "bad-soft"), ("warn", "warn-soft"), ("dim", "none-soft"), ("on-switch", "switch")]
    weak = {pair: round(contrast(colours[pair[0]], colours[pair[1]]), 1) for pair in pairs}
    weak |= {(f"h{n}",): contrast(colours["heat-ink"], ground) for n, ground in re.findall(r"\.h(\d) \{ background: (#\w{6})", style)}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 4.5} == {}


def test_verdict():
    assert not whole_run(failed_scenario()).ok
    run = whole_run()
    assert not run.ok  # lint failed
    run.steps[-1].outcome = "passed"
    assert run.ok and Page(page.render(run)).text.startswith("passed: uvnet gate")
    assert not Run().ok  # nothing passed
    assert run.count("passed") == 3 and run.count("flaky") == 1


def test_a_step_that_fails_counts_once():
    run = Run(steps=[Step("scenarios", "failed", 1.0)], scenarios=[failed_scenario()])
    assert run.count("failed") == 1
    run = Run(steps=[Step("unit tests", "failed", 1.0, cases=[Case("fdb", "passed")])])
    assert run.count("failed") == 1 and run.count("passed") == 1


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_page_fits_a_phone(tmp_path):
    """In a frame of 390 pixels nothing sticks out, and the filter of the scenarios works."""
    inner = page.render(whole_run(failed_scenario())).replace("<details", "<details open")
    probe = """
    const frame = document.querySelector("iframe");
    frame.onload = () => {
      const inside = frame.contentDocument;
      const root = inside.documentElement;
      const box = inside.querySelector("#filter input");
      box.value = "spread";
      box.dispatchEvent(new Event("input"));
      const shown = [...inside.querySelectorAll("li[data-name]")].filter((item) => !item.hidden).length;
      document.title = `${root.scrollWidth} of ${root.clientWidth} pixels, ${shown} shown`;
    };"""
    outer = tmp_path / "phone.html"
    outer.write_text(
        f'<!DOCTYPE html><title>waiting</title><body><iframe width="390" height="800" style="border:0"></iframe>'
        f'<script>{probe} frame.srcdoc = atob("{b64(inner)}");</script>'
    )
    words = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--virtual-time-budget=5000",
        f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"file://{outer}",
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    said = re.search("<title>(.*?)</title>", done.stdout).group(1)
    wide, room, shown = map(int, re.findall(r"\d+", said))
    assert wide <= room <= 390 and shown == 1, said


def b64(text):
    """For a script's atob(): ASCII, all else as entities."""
    return base64.b64encode(text.encode("ascii", "xmlcharrefreplace")).decode()


# ------------------------------------------------------------------------------------ records


def test_what_was_recorded_is_read_again(tmp_path):
    run = whole_run(failed_scenario())
    make.write(run, tmp_path)
    assert read_run(tmp_path) == run
    log = tmp_path / "scenarios.jsonl"
    log.write_text("".join(to_json(s) + "\n" for s in run.scenarios) + '{"test": "torn')
    assert read_lines(log, Scenario) == run.scenarios


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is no report"),
        ('{"format": 99}', "has format 99, and this is format 1"),
        ('{"format": 1, "colour": 3}', "Run has no colour"),
        (None, "name the folder of a report"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path, text, why):
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(model.BadReport, match=why):
        read_run(tmp_path)


def test_parts_are_merged():
    first, second = whole_run(), Run(seconds=99, seed="4711", shards=["2/2"], scenarios=[failed_scenario()], environment={"kernel": "6.2"})
    first.shards = ["1/2"]
    both = merge([second, first])
    assert both.shards == ["1/2", "2/2"] and both.seconds == 99 and len(both.scenarios) == 4
    assert both.environment["kernel"] == "6.1 / 6.2"
    with pytest.raises(model.BadReport, match="these are not parts of one run"):
        merge([first, first])


def test_junit_has_every_check():
    root = make.junit(whole_run(failed_scenario()))
    again = ET.fromstring(ET.tostring(root))
    suites = {suite.get("name"): suite for suite in again}
    assert suites["scenarios.tcp"].get("failures") == "1"
    assert suites["scenarios.nic"].get("skipped") == "1"
    assert suites["lint"].find("testcase/failure").text.startswith("-- mypy")
    assert "replay: pytest x --seed=1" in suites["scenarios.tcp"].find("testcase/failure").text


def test_hostile_words_stay_words():
    scenario = failed_scenario()
    scenario.test = "x/test_x.py::test_x[<script>alert(1)</script>]"
    scenario.network.nodes[0].name = '"><script>alert(2)</script>'
    text = page.render(whole_run(scenario))
    assert Page(text).scripts == 1
    assert html.escape("<script>alert(1)") in text


def test_run_with_retry_and_report(runs):
    """A whole run: a flake, a failure and its exchange, all of it in the report."""
    runs.write(
        "TRIES = []\n"
        "def test_flake(net):\n"
        "    a, b = net.wire('a'), net.wire('b', queues=4)\n"
        "    a.arp(b.ip)\n"
        "    TRIES.append(1)\n"
        "    assert len(TRIES) == 2, 'not yet'\n"
        "def test_wrong(net, record_property):\n"
        "    record_property('rtt_us', '{\"p50\": 45.5, \"kind\": \"tcp\"}')\n"
        "    a, b = net.wire('a'), net.wire('b')\n"
        "    net.link('b').fault('arp', drop=0)\n"
        "    a.send(a.ether(b.mac) / b'hello')\n"
        "    net.measured('waiting', 2.5, 's')\n"
        "    assert False, 'wrong'\n"
    )
    folder = runs.folder / "report"
    done = runs.run("-n", "2", "--retry", f"--report={folder}")
    assert done.returncode == 1
    assert "FLAKY" in done.stdout and "1 failed, 1 passed, 2 run again" in done.stdout
    run = read_run(folder)
    flake, wrong = sorted(run.scenarios, key=lambda s: s.test)
    assert (flake.outcome, wrong.outcome) == ("flaky", "failed")
    assert "not yet" in flake.failures[0].text and len(flake.failures) == 1 and len(wrong.failures) == 2
    assert [node.name for node in flake.network.nodes] == ["a", "b"] and "b" in flake.network.spread
    assert [(f.source, f.target) for f in wrong.failures[1].frames] == [("a", "b")]
    assert wrong.network.measures == [Measure("waiting", 2.5, "s"), Measure("rtt_us p50", 45.5, "")] and "arp" in wrong.network.faults[0]
    for failure in (flake.failures[0], *wrong.failures):
        assert (runs.artifacts / failure.artifacts / "summary.txt").exists()  # also of what then passed
    assert "test_wrong" in Page((folder / "index.html").read_text()).text
    assert (folder / "junit.xml").exists()
