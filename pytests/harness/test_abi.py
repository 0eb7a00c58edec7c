# SPDX-License-Identifier: BSD-3-Clause
"""The ctypes mirror of the headers, against the C compiler."""

import ctypes
import subprocess
from pathlib import Path

import pytest

from uvnet_harness import uvb

REPOSITORY = Path(__file__).resolve().parents[2]

STRUCTURES = {
    "uvb_hdr": uvb.Header,
    "uvb_attach": uvb.Attach,
    "uvb_conf": uvb.Conf,
    "uvb_seg": uvb.Seg,
    "uvb_frame": uvb.Frame,
    "uvb_rx_frame": uvb.RxFrame,
}
PREFIXES = {uvb.Header}
"""Mirrored only as far as they are used."""

CONSTANTS = {
    "UVB_ERR_LEN": uvb.ERR_LEN,
    "UVB_NAME_LEN": uvb.NAME_LEN,
    "UVB_CELL_ROOM": uvb.CELL_ROOM,
    "UVB_KIND_WIRE": uvb.Kind.WIRE,
    "UVB_CONF_STARTED": uvb.CONF_STARTED,
    "UVB_CONF_PROMISC": uvb.CONF_PROMISC,
    "UVB_CONF_ALLMULTI": uvb.CONF_ALLMULTI,
    "UVB_CELL_HASH": uvb.CELL_HASH,
    "UVB_CELL_CSUM_OK": uvb.CELL_CSUM_OK,
}


def layout_by_ctypes():
    """Every size, offset and constant as Python has them."""
    for name, structure in STRUCTURES.items():
        if structure not in PREFIXES:
            yield f"sizeof {name}", ctypes.sizeof(structure)
        for member, *_ in structure._fields_:
            yield f"{name}.{member}", getattr(structure, member).offset
    yield from ((name, int(value)) for name, value in CONSTANTS.items())


def probe_source():
    """A C program that prints the same."""
    lines = []
    for name, structure in STRUCTURES.items():
        if structure not in PREFIXES:
            lines.append(f'P("sizeof {name}", sizeof(struct {name}));')
        for member, *_ in structure._fields_:
            lines.append(f'P("{name}.{member}", offsetof(struct {name}, {member}));')
    lines += [f'P("{name}", {name});' for name in CONSTANTS]
    body = "\n".join(lines)
    return (
        "#include <stdio.h>\n#include <stddef.h>\n#include <uvbridge/port.h>\n"
        "#define P(what, value) printf(\"%s=%lu\\n\", what, (unsigned long)(value))\n"
        f"int main(void) {{ {body} return 0; }}\n"
    )


def test_structures_match_the_headers(tmp_path):
    if not (REPOSITORY / "uvbridge" / "port.h").exists():
        pytest.skip("no headers here: an installed harness")
    (tmp_path / "probe.c").write_text(probe_source())
    subprocess.run(
        ["cc", "-std=gnu11", "-I", REPOSITORY, "-o", tmp_path / "probe", tmp_path / "probe.c"], check=True
    )
    printed = subprocess.run([tmp_path / "probe"], capture_output=True, text=True, check=True).stdout
    by_c = {name: int(value) for name, value in (line.split("=") for line in printed.splitlines())}
    assert dict(layout_by_ctypes()) == by_c
