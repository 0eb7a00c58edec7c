# SPDX-License-Identifier: BSD-3-Clause
"""The journal: what a dead run has left goes, and nothing else does."""

import os
import subprocess

import pytest

from uvnet_harness import journal, wait


@pytest.fixture
def sleeper():
    """A process group of its own, killed in the end."""
    with subprocess.Popen(["sleep", "60"], process_group=0) as process:
        yield process
        process.kill()


def dead_journal(directory, *lines):
    """A journal whose owner was pid 1 in another life."""
    path = directory / "1-1.journal"
    path.write_text("".join(line + "\n" for line in lines))
    return path


def group_line(process, started=None):
    started = journal.start_time(process.pid) if started is None else started
    return f'{{"op": "add", "kind": "group", "name": {process.pid}, "started": {started}}}'


def test_additions_and_removals(tmp_path):
    book = journal.Journal(tmp_path)
    book.add("fabric", "a")
    book.add("group", 7, started=1)
    book.remove("fabric", "a")
    assert [entry["name"] for entry in journal.outstanding(book.path)] == [7]
    book.remove("group", 7)
    book.close()
    assert not book.path.exists()


def test_leftover_group_is_killed(tmp_path, sleeper):
    path = dead_journal(tmp_path, group_line(sleeper))
    assert journal.sweep(tmp_path) == [f"group {sleeper.pid}"]
    assert wait.process_end(sleeper.pid, 5)
    assert not path.exists()


def test_reused_pid_is_left_alone(tmp_path, sleeper):
    dead_journal(tmp_path, group_line(sleeper, started=1))
    journal.sweep(tmp_path)
    assert not wait.process_end(sleeper.pid, 0.05)


def test_journal_of_a_living_run_is_left_alone(tmp_path, sleeper):
    book = journal.Journal(tmp_path)
    book.add("group", sleeper.pid, started=journal.start_time(sleeper.pid))
    assert journal.sweep(tmp_path) == []
    assert not wait.process_end(sleeper.pid, 0.05)
    book.close()


def test_torn_last_line_is_ignored(tmp_path, sleeper):
    dead_journal(tmp_path, group_line(sleeper), '{"op": "add", "kind": "gro')
    assert journal.sweep(tmp_path) == [f"group {sleeper.pid}"]


def test_leftover_folder_is_removed(tmp_path):
    folder = tmp_path / "work"
    (folder / "deep").mkdir(parents=True)
    journals = tmp_path / "journals"
    journals.mkdir()
    dead_journal(journals, f'{{"op": "add", "kind": "folder", "name": "{folder}"}}')
    journal.sweep(journals)
    assert not folder.exists()


def test_orphans_of_a_group_are_known_by_their_token():
    environment = {**os.environ, journal.TOKEN_VARIABLE: "mine"}
    words = ["sh", "-c", "sleep 60 & echo $!"]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True, process_group=0) as shell:
        orphan = int(shell.stdout.readline())
        group = shell.pid
    journal.kill_group(group, started=1, token="another")
    assert not wait.process_end(orphan, 0.05)
    journal.kill_group(group, started=1, token="mine")
    assert wait.process_end(orphan, 5)
