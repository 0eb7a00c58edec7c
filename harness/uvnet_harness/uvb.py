# SPDX-License-Identifier: BSD-3-Clause
"""libuvbridge.so by ctypes: the part of uvbridge/port.h that test programs use.

The structures mirror uvbridge/abi.h and uvbridge/port.h; `pytests/harness/test_abi.py` compares
every size and offset with what the C compiler says.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
from collections.abc import Sequence
from ctypes import (
    POINTER,
    Structure,
    byref,
    c_bool,
    c_char,
    c_char_p,
    c_int,
    c_uint8,
    c_uint16,
    c_uint32,
    c_uint64,
    c_void_p,
)
from enum import IntEnum
from pathlib import Path
from typing import Any

ERR_LEN = 256
KEY_MAX = 52
RETA_MAX = 512
MAC_MAX = 64
MC_MAX = 64
NAME_LEN = 32
CELL_ROOM = 2176 - 64

CONF_STARTED = 1 << 0
CONF_PROMISC = 1 << 1
CONF_ALLMULTI = 1 << 2

CELL_HASH = 1 << 0
CELL_CSUM_OK = 1 << 1
CELL_COPY = 1 << 2

BURST = 32
"""Frames handed over in one call."""


class Kind(IntEnum):
    """enum uvb_port_kind"""

    UVETH = 1
    WIRE = 2
    CAPTURE = 3
    TAP = 4
    SOCKET = 5
    PCAP = 6
    ETHDEV = 7


class Header(Structure):
    """struct uvb_hdr, up to the shape"""

    _fields_ = [
        ("magic", c_uint64),
        ("abi_version", c_uint32),
        ("hdr_size", c_uint32),
        ("epoch", c_uint64),
        ("size", c_uint64),
        ("name", c_char * NAME_LEN),
        ("nb_ports", c_uint32),
        ("nb_queues", c_uint32),
        ("cells_per_txq", c_uint32),
        ("voq_depth", c_uint32),
    ]


class Attach(Structure):
    """struct uvb_attach"""

    _fields_ = [
        ("fabric", c_char_p),
        ("name", c_char_p),
        ("mac", c_uint8 * 6),
        ("nb_rxq", c_uint16),
        ("nb_txq", c_uint16),
        ("kind", c_int),
        ("joinable", c_bool),
        ("shared", c_bool),
        ("adopt", c_bool),
    ]


class Conf(Structure):
    """struct uvb_conf"""

    _fields_ = [
        ("flags", c_uint32),
        ("nb_rxq", c_uint16),
        ("mtu", c_uint16),
        ("rss_types", c_uint32),
        ("key_len", c_uint16),
        ("reta_size", c_uint16),
        ("nb_mac", c_uint16),
        ("nb_mc", c_uint16),
        ("key", c_uint8 * KEY_MAX),
        ("pad", c_uint8 * 4),
        ("reta", c_uint16 * RETA_MAX),
        ("mac", (c_uint8 * 8) * MAC_MAX),
        ("mc", (c_uint8 * 8) * MC_MAX),
        ("vlan", c_uint32 * 128),
        ("tpid", c_uint16 * 2),
        ("gso_max", c_uint32),
    ]


class Seg(Structure):
    """struct uvb_seg"""

    _fields_ = [("base", c_void_p), ("len", c_uint32)]


class Frame(Structure):
    """struct uvb_frame"""

    _fields_ = [("seg", POINTER(Seg)), ("nb_seg", c_uint16), ("flags", c_uint16), ("len", c_uint32)]


class RxFrame(Structure):
    """struct uvb_rx_frame"""

    _fields_ = [
        ("cell", c_void_p),
        ("data", c_void_p),
        ("len", c_uint32),
        ("hash", c_uint32),
        ("flags", c_uint16),
        ("src_port", c_uint16),
    ]


class UvbError(OSError):
    """A call to libuvbridge failed; `errno` is the positive error number."""


_PROTOTYPES: dict[str, tuple[Any, list[Any]]] = {
    "uvb_open": (c_int, [POINTER(Attach), POINTER(c_void_p), c_char_p]),
    "uvb_close": (None, [c_void_p]),
    "uvb_forget": (None, [c_void_p]),
    "uvb_id": (c_uint16, [c_void_p]),
    "uvb_name": (c_char_p, [c_void_p]),
    "uvb_mac": (POINTER(c_uint8), [c_void_p]),
    "uvb_hdr": (POINTER(Header), [c_void_p]),
    "uvb_frame_max": (c_uint32, [c_void_p]),
    "uvb_link": (c_bool, [c_void_p]),
    "uvb_carrier": (c_bool, [c_void_p]),
    "uvb_control_fd": (c_int, [c_void_p]),
    "uvb_conf_default": (None, [c_void_p, POINTER(Conf)]),
    "uvb_conf_set": (c_int, [c_void_p, POINTER(Conf), c_char_p]),
    "uvb_txq": (c_void_p, [c_void_p, c_uint16]),
    "uvb_tx_burst": (c_uint16, [c_void_p, POINTER(Frame), c_uint16]),
    "uvb_tx_free": (c_uint32, [c_void_p]),
    "uvb_rxq": (c_void_p, [c_void_p, c_uint16]),
    "uvb_rx_peek": (c_uint16, [c_void_p, POINTER(RxFrame), c_uint16]),
    "uvb_rx_read": (c_uint32, [c_void_p, POINTER(RxFrame), c_uint32, c_void_p, c_uint32]),
    "uvb_rx_done": (None, [c_void_p, c_uint16]),
    "uvb_rx_count": (c_uint32, [c_void_p]),
    "uvb_rx_flush": (None, [c_void_p]),
    "uvb_rxq_fd": (c_int, [c_void_p]),
    "uvb_rx_arm": (c_bool, [c_void_p, c_bool]),
    "uvb_rx_disarm": (None, [c_void_p]),
    "uvb_view_open": (c_int, [c_char_p, POINTER(c_void_p), c_char_p]),
    "uvb_view_close": (None, [c_void_p]),
    "uvb_view_json": (c_void_p, [c_void_p]),
}


class Library:
    """The loaded library, with typed prototypes.

    :raises OSError: it cannot be loaded.
    """

    _loaded: dict[str, Library] = {}

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lib = ctypes.CDLL(str(path), use_errno=True)
        for name, (result, arguments) in _PROTOTYPES.items():
            function = getattr(self.lib, name)
            function.restype, function.argtypes = result, arguments
        libc = ctypes.CDLL(None)
        self._free = libc.free
        self._free.restype, self._free.argtypes = None, [c_void_p]

    @classmethod
    def load(cls, path: Path) -> Library:
        """The library at `path`, loaded once per process."""
        key = os.path.realpath(path)
        if key not in cls._loaded:
            cls._loaded[key] = cls(path)
        return cls._loaded[key]

    def check(self, status: int, err: ctypes.Array[c_char], what: str) -> None:
        """Raise what a negative status means.

        :raises UvbError: with the library's own sentence.
        """
        if status < 0:
            sentence = err.value.decode(errors="replace") or errno.errorcode.get(-status, str(status))
            raise UvbError(-status, f"{what}: {sentence}")

    def take_string(self, pointer: int) -> str:
        """Copy a string that is the caller's to free, and free it."""
        try:
            return ctypes.string_at(pointer).decode()
        finally:
            self._free(pointer)


class View:
    """A fabric mapped read-only; works while its daemon is stopped or dead."""

    def __init__(self, library: Library, fabric: str | Path) -> None:
        self._library = library
        self._handle = c_void_p()
        err = ctypes.create_string_buffer(ERR_LEN)
        status = library.lib.uvb_view_open(os.fsencode(fabric), byref(self._handle), err)
        library.check(status, err, f"looking at fabric {fabric}")

    def snapshot(self) -> dict[str, Any]:
        """Everything the fabric shows, as of now."""
        if not self._handle:
            raise ValueError("this view is closed")
        pointer = self._library.lib.uvb_view_json(self._handle)
        if not pointer:
            raise MemoryError("uvb_view_json")
        data: dict[str, Any] = json.loads(self._library.take_string(pointer))
        return data

    def close(self) -> None:
        """Unmap it."""
        if self._handle:
            self._library.lib.uvb_view_close(self._handle)
            self._handle = c_void_p()


def mac_bytes(mac: str) -> bytes:
    """The six bytes of "02:00:…".

    :raises ValueError: it is no MAC address.
    """
    raw = bytes.fromhex(mac.replace(":", ""))
    if len(raw) != 6:
        raise ValueError(f"not a MAC address: {mac!r}")
    return raw


def mac_text(raw: bytes | Sequence[int]) -> str:
    """ "02:00:…" of six bytes."""
    return ":".join(f"{byte:02x}" for byte in raw[:6])
