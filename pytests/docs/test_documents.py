# SPDX-License-Identifier: BSD-3-Clause
"""What the documents say is so: their commands run, their links lead somewhere, what they name exists.

The convention: on the line before each ```sh block stands ``<!-- run -->`` or ``<!-- not run: REASON -->``. Blocks of a
page are run one after the other in one shell, with the built programs on PATH.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from uvnet_harness import journal
from uvnet_harness.fabric import Build
from uvnet_harness.plugin import build_directory

ROOT = Path(__file__).resolve().parents[2]

FENCE = re.compile(r"(?:^ *<!-- (?P<mark>run|not run: .{10,}?) -->\n)?^ *```(?P<kind>\w*)\n(?P<text>.*?)^ *```$", re.M | re.S)
HEADING = re.compile(r"^#{1,6} (.+)$", re.M)
PROGRAM = r"(?:uvbridge|uvrun|uvstackd?|pytest|meson|ninja|(?:\./)?(?:ci|build|stack|pytests)/\S+)"
COMMAND = re.compile(rf"^ *{PROGRAM}(?! .*[A-Z]{{3}}| \[)(?: .*)?$", re.M)
"""A call of one of ours; a synopsis has METAVARIABLES or [brackets]."""
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    kind: str
    text: str
    mark: str
    """what the comment before it says; empty: there is none"""

    @property
    def is_run(self) -> bool:
        """True if it is to be run."""
        return self.mark == "run"


class Page:
    """A Markdown file of the repository."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path.relative_to(ROOT))
        self.text = path.read_text(encoding="utf-8")

    @property
    def blocks(self) -> list[Block]:
        """Its fenced blocks."""
        return [Block(m["kind"], m["text"], m["mark"] or "") for m in FENCE.finditer(self.text)]

    @property
    def commands(self) -> list[Block]:
        """Blocks of commands, run or not."""
        return [block for block in self.blocks if block.kind == "sh"]

    @property
    def prose(self) -> str:
        """It without its blocks."""
        return FENCE.sub("", self.text)

    @property
    def anchors(self) -> set[str]:
        """What a link may name after a #."""
        return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in HEADING.findall(self.prose)}

    @property
    def links(self) -> list[str]:
        """Where its links go."""
        return LINK.findall(self.prose)


PAGES = [Page(path) for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])]
WITH_COMMANDS = [page for page in PAGES if any(block.is_run for block in page.commands)]


@pytest.fixture
def checkout(tmp_path, build):
    """A folder that looks like a checkout, to write into: what is in the repository, and the build."""
    for entry in ROOT.iterdir():
        if not entry.name.startswith((".git", "build", "artifacts")):
            (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / "build").symlink_to(build.directory)
    return tmp_path


@pytest.fixture
def build(request):
    """The build under test."""
    return Build(build_directory(request.config))


@pytest.fixture
def rundir(uvnet_run):
    """A place for fabrics with any name."""
    with journal.folder(uvnet_run.journal, "uvnet-docs-", "/dev/shm") as folder:
        yield folder
        for fabric in folder.glob("[!.]*"):
            journal.remove_fabric(fabric.name, "", folder)


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.name)
def test_commands_run(page, checkout, rundir):
    script = "".join(block.text for block in page.commands if block.is_run)
    programs = ":".join(str(checkout / "build" / folder) for folder in ("uvbridge", "stack"))
    environment = {
        **os.environ,
        "UVNET_RUNDIR": str(rundir),
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
        "PATH": f"{programs}:{os.environ['PATH']}",
    }
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        environment.pop(name, None)
    done = subprocess.run(
        ["unshare", "--user", "--map-current-user", "--pid", "--kill-child", "--fork", "--mount-proc",
         "bash", "-euxo", "pipefail", "-c", script],
        cwd=checkout, env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{page.name}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    by_path = {other.path: other for other in PAGES}
    for link in page.links:
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.path.parent / name).resolve() if name else page.path
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in by_path[target].anchors, f"{page.name}: no heading for {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_programs_it_names_exist(page):
    prefixes = "stack|uvbridge|uveth|harness|pytests|ci|docs"
    for name in re.findall(rf"`(?:\./)?((?:{prefixes})/[\w./-]+)", page.text):
        assert (ROOT / name).exists(), f"{page.name}: there is no {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_called_so(page):
    """In ```sh, where they are run: not in a block of no kind."""
    hidden = [found.group(0) for block in page.blocks if not block.kind for found in COMMAND.finditer(block.text)]
    assert not hidden, f"{page.name}: ```sh is for commands: {hidden}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_run_or_it_says_why_not(page):
    unmarked = [block.text for block in page.commands if not block.mark]
    assert not unmarked, (
        f"{page.name}: put <!-- run --> or <!-- not run: REASON --> on the line before the ```sh of\n" + "\n".join(unmarked)
    )


def test_the_site_is_built_without_a_warning(tmp_path, build):
    """All pages, the reference made from --help, headers and docstrings included."""
    site = tmp_path / "site"
    done = subprocess.run(
        ["/usr/bin/python3", ROOT / "ci" / "docs", "--build", build.directory, "--site", site],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert {f"{page.path.stem.lower()}/index.html" for page in PAGES if page.path.stem != "README"} <= {
        str(path.relative_to(site)) for path in site.rglob("index.html")
    }
    commands = (site / "reference" / "commands" / "index.html").read_text(encoding="utf-8")
    assert all(word in commands for word in ("uvbridge clock", "--set KEY=VALUE", "ci/gate", "--seed"))
