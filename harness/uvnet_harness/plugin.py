# SPDX-License-Identifier: BSD-3-Clause
"""The pytest plugin: options, the fixture ``net``, artifacts of failures, clean-up after crashes."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shlex
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from uvnet_harness import journal, nics, recording
from uvnet_harness.fabric import Build, Change
from uvnet_harness.host import SEVERAL
from uvnet_harness.net import Missing, Net, Settings, Shape
from uvnet_harness.reaper import Reaper
from uvnet_harness.recorder import Recorder
from uvnet_harness.retry import Retry, attempt
from uvnet_harness.schedule import Schedule
from uvnet_report.model import Network
from uvnet_report.shard import Shard

MODELS = ("shared", "separate")
"""Thread models of the stack; the first is the default."""

TIMES = ("real", "virtual")
"""How the fabrics' clocks go; the first is the default."""

REPOSITORY = Path(__file__).resolve().parents[2]

_failure = pytest.StashKey[str]()
_observed = pytest.StashKey[Network]()


class Run:
    """What one pytest process keeps: its journal and its reaper."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.journal = journal.Journal()
        self.reaper = Reaper()
        self.facts: dict[str, nics.Facts] = {}

    def close(self) -> None:
        """End in order."""
        self.journal.close()
        self.reaper.close()

    def settings(self, item: pytest.Item, model: str) -> Settings:
        """The settings for one test.

        :param model: thread model of its hosts.
        """
        option = self.config.option
        return Settings(
            build=Build(build_directory(self.config)),
            artifacts=artifacts_directory(self.config),
            seed=option.seed,
            nic=self.config.stash[_nic],
            facts=self.facts,
            config={"model": model},
            keep=option.keep,
            virtual_time=option.time == "virtual",
            worker=os.environ.get("PYTEST_XDIST_WORKER", ""),
            attempt=attempt(item),
            replay=replay(item),
        )


def build_directory(config: pytest.Config) -> Path:
    """--build-dir, else $UVNET_BUILD, else build/ of the repository."""
    return Path(config.option.build_dir or os.environ.get("UVNET_BUILD") or REPOSITORY / "build").absolute()


def artifacts_directory(config: pytest.Config) -> Path:
    """--artifacts, else artifacts/ of the repository."""
    return Path(config.option.artifacts or REPOSITORY / "artifacts").absolute()


def replay(item: pytest.Item) -> str:
    """The command that runs this test again, from the directory where pytest was started; without the
    seed."""
    config, option = item.config, item.config.option
    location = os.path.relpath(item.path, config.invocation_params.dir)
    _, _, inside = item.nodeid.partition("::")
    inside = inside.partition("@")[0] if "PYTEST_XDIST_WORKER" in os.environ else inside
    words = ["/usr/bin/python3", "-m", "pytest", f"{location}::{inside}"]
    environment = []
    if not loaded_by_conftest(config):
        environment.append(f"PYTHONPATH={REPOSITORY / 'harness'}")
        words += ["-p", __name__]
    if build_directory(config) != REPOSITORY / "build":
        words.append(f"--build-dir={build_directory(config)}")
    if option.full:
        words.append("--full")
    for name, default in (("model", MODELS[0]), ("nic", "uveth"), ("peer", None), ("guest", None), ("time", TIMES[0])):
        if getattr(option, name) != default:
            words.append(f"--{name}={getattr(option, name)}")
    return " ".join([*map(shlex.quote, environment), shlex.join(words)])


def loaded_by_conftest(config: pytest.Config) -> bool:
    """True if a conftest.py of the tests names this plugin."""
    return any(__name__ in getattr(one, "pytest_plugins", ()) for one in config.pluginmanager.get_plugins())


# ----------------------------------------------------------------------------------- options


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options, in a section of ``pytest --help``."""
    group = parser.getgroup("uvnet", "networks of user-space hosts")
    group.addoption("--seed", type=int, help="seed of every random choice (default: a new one)")
    group.addoption(
        "--retry", action="store_true", help="run what failed once more; what passes then is called flaky"
    )
    group.addoption("--keep", action="store_true", help="leave each test's fabric up and its folder in place")
    group.addoption(
        "--pause-on-failure", action="store_true", help="wait for Enter while the network of what failed still runs"
    )
    group.addoption(
        "--time", default=TIMES[0], choices=TIMES, help="virtual: hosts never wait, time passes when all have nothing to do"
    )
    group.addoption("--artifacts", metavar="DIR", help="where failures are explained (default: artifacts/)")
    group.addoption("--report", metavar="DIR", help="record the run, and write DIR/index.html, a page about it")
    group.addoption(
        "--budget", metavar="S", type=float, help="run what fits into S seconds, one after the other; of each file one"
    )
    group.addoption("--shard", metavar="I/N", type=Shard.parse, help="run part I of N, which are about as long as each other")
    group.addoption("--build-dir", metavar="DIR", help="the build to test (default: $UVNET_BUILD or build/)")
    group.addoption(
        "--nic",
        metavar="KIND",
        default="uveth",
        help="network card of the hosts: uveth, ring, tap, af_packet or pci:ADDRESS[,vf=N]; "
        "with others than uveth, scenarios that are marked nic run (docs/real-nic.md)",
    )
    group.addoption(
        "--peer",
        metavar="KIND:WHAT",
        help="with --nic=pci: the other end of its cable: socket:PATH[,peer=PATH], "
        "bridge:NAME[,netns=NAME], af_packet:INTERFACE[,netns=NAME] or pci:ADDRESS",
    )
    group.addoption("--guest", metavar="DIR", help="with --nic=pci: the virtual machine that has the card (ci/pci)")
    group.addoption("--model", default=MODELS[0], choices=(*MODELS, SEVERAL), help="thread model of the hosts' stacks")
    group.addoption("--full", action="store_true", help="full durations, where the gate is content with less")


def pytest_configure(config: pytest.Config) -> None:
    """Check the options; clean up after runs that crashed; choose the seed."""
    config.addinivalue_line(
        "markers",
        "uvnet(ports, queues, cells, voq, capture, snaplen, capture_size, allow_log): "
        "shape of the network of this test",
    )
    config.addinivalue_line("markers", "models(*names): run this test under every thread model of the stack, or these")
    config.addinivalue_line("markers", "nic: a scenario for any network card of the host, whatever --nic says")
    try:
        config.stash[_nic] = nics.Spec.parse(config.option.nic, config.option.peer, config.option.guest)
    except nics.BadSpec as error:
        raise pytest.UsageError(str(error)) from None
    if config.option.pause_on_failure and not in_a_terminal(config):
        raise pytest.UsageError("--pause-on-failure waits for Enter: run pytest in a terminal, without -n")
    if config.option.seed is None:
        config.option.seed = random.SystemRandom().randrange(1 << 32)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        config.stash[_swept] = journal.sweep()
        if config.option.report:
            config.pluginmanager.register(recording.Recording(config, build_directory(config)), "uvnet-recording")
    config.pluginmanager.register(Schedule(config), "uvnet-schedule")
    if config.option.retry:
        config.pluginmanager.register(Retry(), "uvnet-retry")
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


_swept = pytest.StashKey[list[str]]()
_nic = pytest.StashKey[nics.Spec]()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What looks into uveth, or leads it astray, is for uveth alone."""
    nic = item.config.stash[_nic]
    if nic.kind != "uveth" and "net" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("nic"):
        pytest.skip(f"is about uveth: not for --nic={nic}")


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Seed, build, and what an earlier run had left behind."""
    lines = [f"uvnet: --seed={config.option.seed} build={build_directory(config)} nic={config.option.nic}"]
    swept = config.stash.get(_swept, None)
    if swept:
        lines.append(f"uvnet: removed what a crashed run had left: {', '.join(swept)}")
    return lines


# ----------------------------------------------------------------------------------- fixtures


@pytest.fixture(scope="session")
def uvnet_run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """The journal and the reaper of this process."""
    run = Run(request.config)
    yield run
    run.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests marked ``models`` run once under each; all others under the model that --model names."""
    mark = metafunc.definition.get_closest_marker("models")
    if "stack_model" in metafunc.fixturenames and mark:
        metafunc.parametrize("stack_model", mark.args or MODELS, indirect=True)


@pytest.fixture
def stack_model(request: pytest.FixtureRequest) -> str:
    """The thread model of this test's hosts."""
    return str(getattr(request, "param", request.config.option.model))


@pytest.fixture
def uvnet_settings(request: pytest.FixtureRequest, uvnet_run: Run, stack_model: str) -> Settings:
    """What the options say, for this test."""
    settings: Settings = uvnet_run.settings(request.node, stack_model)
    return settings


@pytest.fixture
def net(request: pytest.FixtureRequest, uvnet_run: Run, uvnet_settings: Settings) -> Iterator[Net]:
    """A network of the test's own: a fabric that is up, to which hosts and wires are added.

    At the end everything is stopped, and the test fails if the ledger is not clean, if a process
    died unasked, or if a log has a warning that the test has not allowed.
    """
    request.node.stash[_failure] = ""  # of an earlier attempt
    network = Net(uvnet_settings, request.node.nodeid, uvnet_run.journal, shape_of(request.node))
    need_build(network)
    try:
        network.up()
        with recorded(request.node, network):
            yield network
    except BaseException as error:
        network.close(failed=True, reason=repr(error))
        raise
    reason = request.node.stash.get(_failure, "")
    if reason and request.config.option.pause_on_failure:
        pause(request.node, network)
    problems = network.close(failed=bool(reason), reason=reason)
    if problems:
        text = "\n".join(problems)
        if not reason:
            text += f"\n\n{where(network)}"
        pytest.fail("at the end of the test: " + text, pytrace=False)


@contextlib.contextmanager
def uncaptured(config: pytest.Config) -> Iterator[None]:
    """Standard input and output are the user's within the block."""
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    capture.suspend(in_=True)
    try:
        yield
    finally:
        capture.resume()


def in_a_terminal(config: pytest.Config) -> bool:
    """True if somebody can be asked."""
    with uncaptured(config):
        return "PYTEST_XDIST_WORKER" not in os.environ and not getattr(config.option, "tx", None) and sys.stdin.isatty()


def pause(item: pytest.Item, network: Net) -> None:
    """Let somebody look at a network that has failed, until Enter."""
    if item.config.pluginmanager.hasplugin("timeout"):
        item.ihook.pytest_timeout_cancel_timer(item=item)
    running = [str(process) for process in network.processes.all if process.running]
    words = ["", f"{item.nodeid} has failed; its network still runs:", *(f"  {line}" for line in running)]
    words += [f"  {network.build.uvbridge} show {network.name}", f"  its folder: {network.folder}"]
    with uncaptured(item.config):
        print("\n".join(words))
        input("Enter ends it: ")


@contextlib.contextmanager
def recorded(item: pytest.Item, network: Net) -> Iterator[None]:
    """Watch a network within the block, if there is to be a report."""
    if not item.config.option.report:
        yield
        return
    recorder = Recorder(network)
    try:
        yield
    finally:
        item.stash[_observed] = recorder.stop()


def need_build(network: Net) -> None:
    """Skip what cannot run because it is not built."""
    build = network.build
    problem = build.missing(build.uvbridge, build.uvbridged, build.libuvbridge)
    if problem:
        network.close()
        pytest.skip(problem)


def shape_of(item: pytest.Item) -> Shape:
    """The shape that the nearest ``uvnet`` marks ask for; nearer ones win."""
    wanted: dict[str, Any] = {}
    for mark in reversed(list(item.iter_markers("uvnet"))):
        wanted.update(mark.kwargs)
    if "allow_log" in wanted:
        wanted["allow_log"] = tuple(wanted["allow_log"])
    return Shape(**wanted)


def where(network: Net) -> str:
    """Where to look, and how to see it again."""
    return (
        f"artifacts: {network.artifacts_folder}\n"
        f"replay:    {network.settings.replay} --seed={network.settings.seed}"
    )


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """What else changed, where a comparison of a counter's change fails."""
    changes = [side for side in (left, right) if isinstance(side, Change)]
    if not changes:
        return None
    names = " and ".join(dict.fromkeys(change.name for change in changes))
    return [f"{left} {op} {right}, where {names} is of:", *str(changes[0].among).splitlines()]


@pytest.hookimpl(hookwrapper=True)  # type: ignore[misc]
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, None]:
    """Note a failure for the fixture's end; a missing build is a skip; say where to look."""
    outcome = yield
    report = outcome.get_result()
    if call.excinfo is not None and call.excinfo.errisinstance(Missing):
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1], f"Skipped: {call.excinfo.value}")
        return
    network = getattr(item, "funcargs", None) and item.funcargs.get("net")  # type: ignore[attr-defined]
    words: dict[str, str] = {}
    if report.failed:
        words["replay"] = f"{replay(item)} --seed={item.config.option.seed}"
        if report.when in ("setup", "call"):
            item.stash[_failure] = report.longreprtext
        if isinstance(network, Net):
            words["artifacts"] = str(network.artifacts_folder)
            if report.when != "teardown":
                report.sections.append(("uvnet", where(network)))
    observed = item.stash.get(_observed, None) if report.when == "teardown" else None
    recording.attach(report, observed, **words)
