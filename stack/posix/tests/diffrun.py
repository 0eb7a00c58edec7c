#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Run the cases of a differential test program on the kernel and under a command that puts them on
another stack, and show where the outputs differ. Exit status 1 if any does."""

from __future__ import annotations

import argparse
import concurrent.futures
import difflib
import os
import shlex
import subprocess
import sys


def run(command: list[str], env: dict[str, str] | None = None) -> list[str]:
    """Its output, and how it ended if not well."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            timeout=60,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        return [*(late.stdout or b"").decode(errors="replace").splitlines(), "!! timed out"]
    lines = done.stdout.decode(errors="replace").splitlines()
    return lines if done.returncode == 0 else [*lines, f"!! exit status {done.returncode}"]


def compare(case: str, options: argparse.Namespace) -> list[str]:
    """Lines of difference of one case."""
    command = [options.program, "--addr", options.kernel_addr, case]
    kernel = run(command)
    env = dict(word.split("=", 1) for word in options.env)
    command[2] = options.addr
    stack = run([*shlex.split(options.under), *command], env)
    bad = [line for line in kernel if line.startswith("!!")]
    if bad:
        return [f"the kernel's own run is no good: {bad}"]
    return list(difflib.unified_diff(kernel, stack, "kernel", "stack", lineterm="", n=2))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--under", default="", help="command line to put before the program")
    parser.add_argument("--env", action="append", default=[], help="NAME=VALUE for the stack's run")
    parser.add_argument("--addr", default="127.0.0.1", help="address to use on the stack")
    parser.add_argument("--kernel-addr", default="127.0.0.1", help="address to use on the kernel")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("program")
    parser.add_argument("cases", nargs="*", help="default: all; a trailing * takes all that begin so")
    options = parser.parse_args()
    known = run([options.program, "--list"])
    wanted = options.cases or ["*"]
    cases = [
        case
        for case in known
        if any(case == word or (word.endswith("*") and case.startswith(word[:-1])) for word in wanted)
    ]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=options.jobs) as pool:
        for case, difference in zip(cases, pool.map(lambda c: compare(c, options), cases)):
            failed += bool(difference)
            print(f"{'not ok' if difference else 'ok'} {case}")
            for line in difference:
                print(f"    {line}")
    print(f"{len(cases) - failed} same, {failed} different")
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
