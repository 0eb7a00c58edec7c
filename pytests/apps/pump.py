#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A wire in a process of its own, to be killed: sends numbered frames as fast as they are taken, and
receives whatever comes.

    pump.py LIBUVBRIDGE FABRIC PORT MAC DESTINATION-MAC [FRAMES]

Prints "attached", then, if a number of FRAMES is given, "sent N" after the last one, and waits.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "harness"))

# pylint: disable=wrong-import-position
from uvnet_harness import uvb  # noqa: E402
from uvnet_harness.wire import Wire  # noqa: E402


def main() -> None:
    """Pump."""
    library, fabric, port, mac, target = sys.argv[1:6]
    limit = int(sys.argv[6]) if len(sys.argv) > 6 else None
    wire = Wire(uvb.Library.load(Path(library)), fabric, port, mac)
    print("attached", flush=True)
    head = uvb.mac_bytes(target) + uvb.mac_bytes(mac) + b"\x88\xb5"
    number = 0
    while limit is None or number < limit:
        burst = [head + (number + i).to_bytes(8, "big") + bytes(50) for i in range(uvb.BURST)]
        wire.send(burst, ack=False, timeout=3600)
        number += len(burst)
        wire.drain()
    print(f"sent {number}", flush=True)
    while True:
        wire.recv(3600)


if __name__ == "__main__":
    main()
