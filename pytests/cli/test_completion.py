# SPDX-License-Identifier: BSD-3-Clause
"""What the shells offer after `uvbridge`."""

import os
import shlex
import shutil
import subprocess

import pytest

BASH = """
source <({program} completion bash)
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_uvbridge
printf '%s\\n' "${{COMPREPLY[@]}}"
"""

ZSH = """
compdef() {{}}
compadd() {{ print -l -- $found }}
_files() {{ }}
source <({program} completion zsh)
words=({words})
CURRENT=$#words
_uvbridge
"""


def offered(shell, net, *words):
    """The words that the shell gets for a command line whose last word is to be completed."""
    script = {"bash": BASH, "zsh": ZSH}[shell].format(
        program=net.build.uvbridge, words=shlex.join([str(net.build.uvbridge), *words])
    )
    command = [shell, *(["-f"] if shell == "zsh" else ["--norc"]), "-c", script]
    env = {**os.environ, "UVNET_RUNDIR": str(net.fabric.directory.parent)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    return set(done.stdout.split())


@pytest.fixture(params=["bash", "zsh"])
def complete(request, net):
    """Complete with one of the shells."""
    if shutil.which(request.param) is None:
        pytest.skip(f"there is no {request.param} on this machine")
    return lambda *words: offered(request.param, net, *words)


def test_verbs_and_their_words(complete):
    assert complete("fd") == {"fdb"}
    assert {"up", "show", "port", "--help"} <= complete("")
    assert {"list", "add", "del", "flush"} == complete("fdb", "lab", "")
    assert {"access", "trunk", "none"} == complete("vlan", "lab", "web", "")
    assert {"tx", "rx"} == complete("fault", "lab", "add", "web", "")
    assert {"mac", "max_tx_rate", "min_tx_rate"} == complete("vf", "lab", "nic0", "1", "m")


def test_options_are_those_of_the_help(complete):
    assert complete("up", "--") >= {"--ports", "--queues", "--cells", "--voq", "--help"}
    assert complete("port", "replay", "lab", "x", "--s") == {"--speed"}
    assert complete("port", "ethdev", "lab", "x", "--d") == {"--dev", "--die-with-parent"}
    assert complete("adapter", "lab", "set", "nic0", "--link", "") == {"up", "down"}


def test_what_there_is(net, complete):
    """Fabrics, and the ports of the one that is named."""
    net.wire("web")
    assert net.name in complete("show", "")
    assert "web" in complete("vlan", net.name, "")
    assert complete("fdb", net.name, "flush", "--port", "w") == {"web"}


def test_nonsense_is_no_error(complete):
    for words in ([""] * 70, ["frobnicate", ""], ["show", "nowhere", "--nothing", ""], ["port", "x", "y", "z", "-"]):
        complete(*words)
