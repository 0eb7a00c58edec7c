# SPDX-License-Identifier: BSD-3-Clause
"""A shared host, and a fabric, are their user's alone: a process of somebody else is refused and told why,
and nothing changes for those who are there."""

import shutil
import subprocess

import pytest

pytestmark = pytest.mark.uvnet(ports=3, queues=2, capture=False)

SOMEBODY = 65534
"""The user nobody."""

BE_SOMEBODY = ["setpriv", f"--reuid={SOMEBODY}", f"--regid={SOMEBODY}", "--clear-groups"]


ATTACH = "import socket, sys; s = socket.socket(); s.bind((sys.argv[1], 8000)); s.listen()"
"""An application that needs a slot."""


def as_somebody(words, **env):
    """Run a command as that user to its end."""
    line = [*BE_SOMEBODY, "env", *(f"{key}={value}" for key, value in env.items()), *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, timeout=20, check=False)


@pytest.fixture
def host(net):
    if as_somebody(["test", "-x", net.build.uvstack]).returncode != 0:
        pytest.skip("other users cannot execute what was built: the directories above it are closed to them")
    return net.shared_host("web", queues=2)


def closed(host):
    """As the manager makes it: others do not see its directory."""
    return "another user's, and a host is its user's alone: be that user, or start a manager of your own"


def open_to_see(host):
    """Others may look into all directories on the way."""
    host.group.folder.chmod(0o755)
    host.directory.chmod(0o755)
    return closed(host)


def given_away(host):
    """Directory and socket are somebody's by mistake: the manager looks at who is at the other end."""
    host.group.folder.chmod(0o755)
    shutil.chown(host.directory, SOMEBODY)
    (host.directory / "control").chmod(0o666)
    return f"the host is user 0's alone, and that is a process of user {SOMEBODY}: be that user"


@pytest.mark.parametrize("way", [closed, open_to_see, given_away])
def test_somebody_else_s_process(host, way):
    """Neither the tool nor an application gets in; both say what is the matter."""
    before = host.show("status")[0]
    reason = way(host)
    tool = as_somebody([host.net.build.uvstack, "--host", host.directory, "status"])
    assert (tool.returncode, tool.stdout) == (1, "")
    assert reason in tool.stderr
    words = host.command("/usr/bin/python3", "-c", ATTACH, host.ip, set={"log_file": "", "stats_file": ""})
    at = words.index(str(host.net.build.uvrun))
    app = as_somebody([host.net.build.uvrun, *words[at + 1 :]], **host.group.env)
    assert reason in app.stderr
    assert app.returncode != 0
    after = host.show("status")[0]
    assert (after["attaches"], after["free"]) == (before["attaches"], before["free"])


@pytest.fixture
def rundir(net):
    """A fabric in a directory that only this test uses."""
    folder = net.scratch()
    env = {"UVNET_RUNDIR": str(folder)}
    if as_somebody(["test", "-x", net.build.uvbridge]).returncode != 0:
        pytest.skip("other users cannot execute what was built: the directories above it are closed to them")
    net.processes.run("up", [net.build.uvbridge, "up", "theirs", "--ports", "2"], net.folder, env=env).check()
    yield folder
    net.processes.run("down", [net.build.uvbridge, "down", "theirs"], net.folder, env=env)


def test_somebody_else_s_fabric(net, rundir):
    """Its directory is its user's, however it may be opened; its daemon looks at who is at the other end."""

    def unplug():
        tool = as_somebody([net.build.uvbridge, "unplug", "theirs", "p"], UVNET_RUNDIR=rundir)
        assert (tool.returncode, tool.stdout) == (1, "")
        return tool.stderr

    reason = f"{rundir} belongs to another user: set UVNET_RUNDIR to a directory of yours"
    assert reason in unplug()
    rundir.chmod(0o755)
    assert reason in unplug()
    shutil.chown(rundir, SOMEBODY)
    shutil.chown(rundir / "theirs", SOMEBODY)
    (rundir / "theirs" / "control").chmod(0o666)
    assert f"the fabric is user 0's alone, and that is a process of user {SOMEBODY}: be that user" in unplug()
