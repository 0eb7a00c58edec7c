#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Prove from the symbol tables that an lwIP instance is all there is.

Fails if an object file or archive member defines a writable object that is not thread-local, has
bytes in a writable section that no symbol accounts for, or if the thread-local objects are not
exactly the expected ones. Plain nm will not do: it prints thread-local objects as b and d too.
"""

from __future__ import annotations

import re
import subprocess
import sys


def readelf(*arguments: str) -> str:
    """The output of readelf in the C locale."""
    return subprocess.run(
        ["readelf", *arguments], check=True, capture_output=True, text=True, env={"LC_ALL": "C"}
    ).stdout


SECTION = re.compile(
    r"^ *\[ *(?P<index>\d+)\] (?P<name>\S+) +\S+ +[0-9a-f]+ [0-9a-f]+ (?P<size>[0-9a-f]+) "
    r"[0-9a-f]+ +(?P<flags>[A-Za-z]*) "
)
SYMBOL = re.compile(
    r"^ *\d+: [0-9a-f]+ +(?:0x)?[0-9a-f]+ (?P<type>\S+) +\S+ +\S+ +(?P<section>\S+) (?P<name>\S+)"
)


def members(text: str) -> list[tuple[str, list[str]]]:
    """readelf's output, one part per archive member."""
    parts: list[tuple[str, list[str]]] = [("", [])]
    for line in text.splitlines():
        if line.startswith("File: "):
            parts.append((line[6:], []))
        parts[-1][1].append(line)
    return [part for part in parts if part[1]]


def writable_sections(lines: list[str]) -> dict[str, str]:
    """Sections that stay writable at run time and hold something: index to name."""
    result = {}
    for match in filter(None, map(SECTION.match, lines)):
        flags = match["flags"]
        # .data.rel.ro is written by the dynamic loader only, then protected.
        constant = match["name"].startswith(".data.rel.ro")
        if "W" in flags and "T" not in flags and not constant and int(match["size"], 16) != 0:
            result[match["index"]] = match["name"]
    return result


def main() -> int:
    if len(sys.argv) < 3:
        print("usage: symbol_gate.py TLS-NAME[,TLS-NAME...] FILE...", file=sys.stderr)
        return 2
    expected = set(sys.argv[1].split(","))
    thread_local: set[str] = set()
    bad: list[str] = []
    objects = 0
    for path in sys.argv[2:]:
        sections = dict(members(readelf("-SW", path)))
        for member, lines in members(readelf("-sW", path)):
            writable = writable_sections(sections.get(member, []))
            named = set()
            for match in filter(None, map(SYMBOL.match, lines)):
                if match["section"] == "UND":
                    continue
                objects += match["type"] in ("OBJECT", "TLS", "FUNC")
                if match["type"] == "TLS":
                    thread_local.add(match["name"])
                elif match["section"] == "COM" or (
                    match["section"] in writable and match["type"] != "SECTION"
                ):
                    named.add(match["section"])
                    bad.append(f"{member or path}: {match['name']} is writable and shared")
            for index in sorted(set(writable) - named):
                bad.append(f"{member or path}: section {writable[index]} is writable and shared")
    if thread_local != expected:
        bad.append(f"thread-local objects are {sorted(thread_local)}, expected {sorted(expected)}")
    if objects < 100:
        bad.append(f"only {objects} symbols seen: this test has not looked at lwIP")
    for line in bad:
        print(line, file=sys.stderr)
    print(f"{objects} symbols, {len(bad)} findings")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
