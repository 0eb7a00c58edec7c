#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Show that the tests of lwIP's mistakes fail on lwIP's own source.

docs/lwip.md has a table of mistakes: the rules that mend each, and the test. For each row lwIP is
transformed without these rules, so that it is there as it was, compiled, and the test run: it must
fail. That it passes with all rules is for `meson test`.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
LWIP = HERE.parent
ROOT = LWIP.parent.parent

ROW = re.compile(r"^\| (?P<what>[^|]+) \| (?P<rules>`[^|]+`) \| `(?P<program>test_\w+\.c) (?P<test>\w+)` \|$", re.M)


@dataclass
class Mistake:
    """A row of the table."""

    what: str
    rules: list[str]
    program: str
    test: str


def mistakes() -> list[Mistake]:
    """The rows of the document."""
    text = (ROOT / "docs/lwip.md").read_text(encoding="utf-8")
    return [
        Mistake(row["what"], re.findall("`([^`]+)`", row["rules"]), row["program"], row["test"])
        for row in ROW.finditer(text)
    ]


def core_files() -> list[str]:
    """As the build has them."""
    text = (LWIP / "meson.build").read_text(encoding="utf-8")
    return re.findall(r"'(src/[^']+)'", text[: text.index("lwip_extra")])


def run(*command: str | Path) -> None:
    """Run, or raise with what it said."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: {(done.stdout + done.stderr)[-2000:]}")


NINJA = """\
rule cc
  command = cc -MD -MF $out.d -w -O0 -g -std=gnu11 -D_GNU_SOURCE -fno-strict-aliasing -include uvl.h $includes -c $in -o $out
  depfile = $out.d
  deps = gcc
rule link
  command = cc $flags $in -o $out
"""


def write_ninja(into: Path, core: list[str], programs: set[str]) -> None:
    """How to make the test programs: only what a row changes is compiled again."""
    shared = [into / "lwip" / Path(name).name for name in core]
    shared += [*sorted(LWIP.glob("*.c")), HERE / "sim.c", HERE / "simtest.c"]
    lines = [NINJA, f"includes = -I{LWIP} -I{HERE} -isystem {into}/lwip -isystem {into}/lwip/src/include"]
    for source in [*shared, *(HERE / name for name in sorted(programs))]:
        lines.append(f"build {source.stem}.o: cc {source}")
    for program in sorted(programs):
        wraps = "__wrap_uvl_malloc" in (HERE / program).read_text(encoding="utf-8")
        objects = " ".join(f"{source.stem}.o" for source in [*shared, Path(program)])
        lines += [f"build {Path(program).stem}: link {objects}", "  flags = -Wl,--wrap=uvl_malloc" if wraps else ""]
    (into / "build.ninja").write_text("\n".join(lines) + "\n", encoding="utf-8")


def build(source: Path, rules: list[str], program: str, into: Path) -> Path:
    """The test program on lwIP without these rules."""
    generated = into / "lwip"
    run(
        "/usr/bin/python3", LWIP / "transform.py", "--source", source, "--rules", *LWIP.glob("rules/*.toml"),
        "--headers", generated, "--sources", generated, "--stamp", generated / "uvl_generated.h",
        *(f"--without={rule}" for rule in rules), "--", *core_files(),
    )  # fmt: skip
    run("ninja", "-C", into, Path(program).stem)
    return into / Path(program).stem


def failure(binary: Path, test: str) -> str:
    """How the test ends: '' if it passes."""
    try:
        done = subprocess.run([binary, test], capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return "does not end"
    if test not in done.stdout and done.returncode == 0:
        raise RuntimeError(f"there is no test {test}")
    if done.returncode < 0:
        return f"signal {-done.returncode}"
    return (done.stdout.strip().splitlines() or ["fails"])[0].strip() if done.returncode else ""


def check(mistake: Mistake, source: Path, into: Path) -> str:
    """'' if the test fails without the rules."""
    try:
        how = failure(build(source, mistake.rules, mistake.program, into), mistake.test)
    except RuntimeError as error:
        return str(error)
    if not how:
        return f"{mistake.program} {mistake.test} passes without the rules"
    print(f"as it should, fails: {mistake.what}\n    {mistake.program} {mistake.test}: {how}", flush=True)
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, default=ROOT / ".deps/lwip", help="lwIP's source tree")
    parser.add_argument("words", nargs="*", help="only rows that have one of these words")
    options = parser.parse_args()

    rows = [m for m in mistakes() if not options.words or any(w in f"{m}" for w in options.words)]
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        write_ninja(Path(folder), core_files(), {m.program for m in rows})
        for mistake in rows:
            error = check(mistake, options.source, Path(folder))
            if error:
                wrong += 1
                print(f"WRONG: {mistake.what}: {error}", flush=True)
    print(f"{len(rows)} mistakes of lwIP 2.1.3, {len(rows) - wrong} with a test that fails without its rule")
    return 1 if wrong or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
