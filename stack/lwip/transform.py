#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Apply the rules in rules/*.toml to lwIP's source and write the result into the build tree.

lwIP's source is not in this repository; what we change in it is. A rule states exactly what it
expects to find and how often. If lwIP's source and the rules disagree in any way, nothing is
written and the build stops, naming the rule: a change is never half applied.

A rule file holds, applied in this order:

  [[rule]]           name, why, file, count and either `find` (literal) or `regex`, and `replace`
                     (with a regex, \\1 and \\g<name> refer to groups). `file` is one path or a list;
                     the count is the total over the list.
  [drop."FILE"]      VARIABLE = 'definition': the definition disappears
  [state."FILE"]     VARIABLE = 'definition or declaration': becomes a macro that reaches the
                     member VARIABLE_ of the current instance (see uvl.h)

Files are read in the order of their names, so rules in 20-*.toml see what 10-*.toml made.

--without leaves rules out, to show that a test fails without them (tests/without.py).
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import re
import sys
import tomllib
from pathlib import Path
from typing import Any


class RuleError(Exception):
    """The rules and the source do not agree."""


class Tree:
    """The source files, read on demand and changed in memory only."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.texts: dict[str, str] = {}

    def get(self, path: str) -> str:
        if path not in self.texts:
            try:
                self.texts[path] = (self.root / path).read_text(encoding="utf-8")
            except OSError as error:
                raise RuleError(f"{path}: {error.strerror}") from error
        return self.texts[path]

    def load_all(self, *folders: str) -> None:
        for folder in folders:
            for path in sorted((self.root / folder).rglob("*.[ch]")):
                self.get(path.relative_to(self.root).as_posix())


def apply_rule(tree: Tree, origin: str, rule: dict[str, Any]) -> None:
    """One [[rule]]: replace exactly `count` matches or fail."""
    known = {"name", "why", "file", "find", "regex", "replace", "count"}
    name = f"{origin}: {rule.get('name', '(unnamed)')}"
    if set(rule) - known or not {"name", "why", "file", "replace", "count"} <= set(rule):
        raise RuleError(f"{name}: unknown or missing keys among {sorted(rule)}")
    if ("find" in rule) == ("regex" in rule):
        raise RuleError(f"{name}: exactly one of 'find' and 'regex' is needed")
    files = [rule["file"]] if isinstance(rule["file"], str) else rule["file"]
    found = 0
    for path in files:
        text = tree.get(path)
        if "find" in rule:
            found += text.count(rule["find"])
            tree.texts[path] = text.replace(rule["find"], rule["replace"])
        else:
            pattern = re.compile(rule["regex"], re.MULTILINE)
            tree.texts[path], times = pattern.subn(rule["replace"], text)
            found += times
    if found != rule["count"]:
        raise RuleError(
            f"{name}: {', '.join(files)}: expected {rule['count']} matches, found {found}"
        )


def apply_definition(tree: Tree, origin: str, path: str, definition: str, text: str) -> None:
    """Replace a definition that must be there once, as whole lines."""
    pattern = re.compile("^[ \t]*" + re.escape(definition) + "[ \t]*(?P<comment>/\\*.*\\*/)?$", re.M)
    result, times = pattern.subn(text, tree.get(path))
    if times != 1:
        raise RuleError(f"{origin}: {path}: expected 1 match of '{definition}', found {times}")
    tree.texts[path] = result


class LeftOut:
    """Patterns of rules that are not to be applied: 'FILE: NAME', with wildcards."""

    def __init__(self, patterns: list[str]) -> None:
        self.unused = set(patterns)
        self.patterns = patterns

    def __contains__(self, name: str) -> bool:
        found = [p for p in self.patterns if fnmatch.fnmatchcase(name, p)]
        self.unused.difference_update(found)
        return bool(found)


def apply_file(tree: Tree, rules: Path, left_out: LeftOut) -> int:
    """All of one rule file; the number of rules."""
    with rules.open("rb") as stream:
        content = tomllib.load(stream)
    if set(content) - {"rule", "drop", "state"}:
        raise RuleError(f"{rules.name}: unknown sections in {sorted(content)}")
    number = 0
    for rule in content.get("rule", []):
        if f"{rules.name}: {rule.get('name')}" in left_out:
            continue
        apply_rule(tree, rules.name, rule)
        number += 1
    for path, definitions in content.get("drop", {}).items():
        for variable, definition in definitions.items():
            if f"{rules.name}: drop {variable}" in left_out:
                continue
            apply_definition(tree, f"{rules.name}: drop {variable}", path, definition, "")
            number += 1
    for path, definitions in content.get("state", {}).items():
        for variable, definition in definitions.items():
            macro = f"#define {variable} (uvl_self->{variable}_)"
            apply_definition(tree, f"{rules.name}: state {variable}", path, definition, macro)
            number += 1
    return number


def write_changed(path: Path, text: str) -> None:
    """Write only what differs, so that a repeated run rebuilds nothing."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="lwIP's source tree")
    parser.add_argument("--rules", type=Path, nargs="+", required=True, help="rule files")
    parser.add_argument("--headers", type=Path, required=True, help="where the headers go (a tree)")
    parser.add_argument("--sources", type=Path, required=True, help="where the C files go (flat)")
    parser.add_argument("--stamp", type=Path, required=True, help="header written last")
    parser.add_argument("--without", action="append", default=[], help="rules: 'FILE: NAME', wildcards")
    parser.add_argument("files", nargs="*", help="C files wanted, relative to --source")
    options = parser.parse_args()

    tree = Tree(options.source)
    left_out = LeftOut(options.without)
    number = 0
    try:
        tree.load_all("src/include", "test/unit")
        for path in options.files:
            tree.get(path)
        rule_files: list[Path] = options.rules
        for rules in sorted(rule_files, key=lambda path: path.name):
            number += apply_file(tree, rules, left_out)
        if left_out.unused:
            raise RuleError(f"--without: no such rule: {', '.join(sorted(left_out.unused))}")
    except (RuleError, tomllib.TOMLDecodeError, re.error) as error:
        print(f"lwIP transformation: {error}", file=sys.stderr)
        return 1

    for path, text in tree.texts.items():
        if path.endswith(".h"):
            write_changed(options.headers / path, text)
    for path in options.files:
        write_changed(options.sources / Path(path).name, tree.get(path))
    # The headers are no outputs that the build knows: whoever includes one includes the stamp.
    headers = "".join(text for path, text in sorted(tree.texts.items()) if path.endswith(".h"))
    digest = hashlib.sha256(headers.encode()).hexdigest()
    write_changed(options.stamp, f"/* lwIP, transformed by {number} rules: {digest} */\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
