#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Echo with asyncio, over TCP streams and UDP datagrams.

    echo_asyncio.py serve ADDRESS PORT
    echo_asyncio.py ask ADDRESS PORT CONNECTIONS MESSAGES     print how many answers were right
"""

import asyncio
import contextlib
import signal
import sys


async def echo(reader, writer):
    """Send back what comes."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


class DatagramEcho(asyncio.DatagramProtocol):
    """The same for datagrams."""

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(data, addr)


async def serve(address, port):
    """Both on one port."""
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(DatagramEcho, local_addr=(address, port))
    server = await asyncio.start_server(echo, address, port, backlog=512)
    loop.add_signal_handler(signal.SIGTERM, server.close)  # an end in order
    print("listening", flush=True)
    with contextlib.suppress(asyncio.CancelledError):
        await server.serve_forever()


async def talk(address, port, number, messages):
    """One connection; how many answers were right."""
    reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 10)
    right = 0
    for i in range(messages):
        message = f"{number}:{i}\n".encode() * (1 + i % 50)
        writer.write(message)
        right += await asyncio.wait_for(reader.readexactly(len(message)), 10) == message
    writer.close()
    await writer.wait_closed()
    return right


async def ask(address, port, connections, messages):
    """Many at once."""
    talks = (talk(address, port, number, messages) for number in range(connections))
    print(sum(await asyncio.gather(*talks)))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(sys.argv[2], int(sys.argv[3])))
    else:
        asyncio.run(ask(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])))
