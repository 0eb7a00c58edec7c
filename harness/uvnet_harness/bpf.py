# SPDX-License-Identifier: BSD-3-Clause
"""tcpdump filters on frames, compiled and run by libpcap."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_long, c_uint, c_uint32, c_void_p
from functools import cache, lru_cache

DLT_EN10MB = 1
SNAPLEN = 65535
NETMASK_UNKNOWN = 0xFFFFFFFF


class _Program(Structure):
    _fields_ = [("bf_len", c_uint), ("bf_insns", c_void_p)]


class _Header(Structure):
    _fields_ = [("tv_sec", c_long), ("tv_usec", c_long), ("caplen", c_uint32), ("len", c_uint32)]


@lru_cache(maxsize=1)
def _libpcap() -> ctypes.CDLL:
    lib = ctypes.CDLL("libpcap.so.0.8")
    lib.pcap_open_dead.restype = c_void_p
    lib.pcap_open_dead.argtypes = [c_int, c_int]
    lib.pcap_compile.argtypes = [c_void_p, POINTER(_Program), c_char_p, c_int, c_uint32]
    lib.pcap_geterr.restype = c_char_p
    lib.pcap_geterr.argtypes = [c_void_p]
    lib.pcap_offline_filter.argtypes = [POINTER(_Program), POINTER(_Header), c_char_p]
    lib.pcap_close.restype = None
    lib.pcap_close.argtypes = [c_void_p]
    lib.pcap_freecode.restype = None
    lib.pcap_freecode.argtypes = [POINTER(_Program)]
    return lib


class Filter:
    """A tcpdump filter such as ``"tcp port 80 and tcp[tcpflags] & tcp-syn != 0"``.

    :raises ValueError: libpcap does not understand it.
    """

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self._program = _Program()
        lib = _libpcap()
        pcap = lib.pcap_open_dead(DLT_EN10MB, SNAPLEN)
        try:
            if lib.pcap_compile(pcap, byref(self._program), expression.encode(), 1, NETMASK_UNKNOWN) != 0:
                raise ValueError(f"filter {expression!r}: {lib.pcap_geterr(pcap).decode()}")
        finally:
            lib.pcap_close(pcap)

    def matches(self, frame: bytes) -> bool:
        """True if the filter accepts the frame (Ethernet, without FCS)."""
        header = _Header(0, 0, len(frame), len(frame))
        return bool(_libpcap().pcap_offline_filter(byref(self._program), byref(header), frame))


@cache
def compiled(expression: str) -> Filter:
    """The compiled filter. It is kept, as is libpcap's program in it: there are few different ones."""
    return Filter(expression)
