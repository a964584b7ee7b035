# SPDX-License-Identifier: Apache-2.0
"""A link with a delay and a bandwidth, between two ports of the loopback interface.

Not every kernel has netem, so the link is a relay: bytes leave it at the rate of the link, which
all connections share, and half a round trip after they could have. A connection takes a round trip
to open, and starts slowly as TCP does: ten segments may be under way, then twice as many each
round trip. Losses are not simulated.

    python3 -m link LISTEN CONNECT MS MBIT      ports; round trip in ms; Mbit/s
"""

import asyncio
import contextlib
import sys

CHUNK = 16 * 1024
SEGMENTS_AT_FIRST = 10 * 1460


class Wire:
    """One direction of the link: who sends waits for those before."""

    def __init__(self, delay, rate):
        self.delay = delay  # s, one way
        self.rate = rate  # bytes/s
        self.free_at = 0.0

    def arrival(self, n_bytes):
        now = asyncio.get_running_loop().time()
        self.free_at = max(self.free_at, now) + n_bytes / self.rate
        return self.free_at + self.delay


class Window:
    """How many bytes a connection may have under way: doubled by each round trip's acks."""

    def __init__(self):
        self.size = SEGMENTS_AT_FIRST
        self.under_way = 0
        self.room = asyncio.Event()
        self.room.set()

    async def take(self, n_bytes):
        while self.under_way + n_bytes > max(self.size, n_bytes):
            self.room.clear()
            await self.room.wait()
        self.under_way += n_bytes

    def ack(self, n_bytes):
        self.under_way -= n_bytes
        self.size += n_bytes
        self.room.set()


async def carry(reader, writer, wire):
    loop = asyncio.get_running_loop()
    window = Window()
    arrived = asyncio.Queue()

    async def deliver():
        while (item := await arrived.get()) is not None:
            at, data = item
            await asyncio.sleep(at - loop.time())
            writer.write(data)
            await writer.drain()
            loop.call_later(wire.delay, window.ack, len(data))
        writer.close()

    delivery = asyncio.create_task(deliver())
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(CHUNK):
            await window.take(len(data))
            arrived.put_nowait((wire.arrival(len(data)), data))
    arrived.put_nowait(None)
    with contextlib.suppress(ConnectionError):
        await delivery


async def serve(listen, connect, delay, rate):
    there, back = Wire(delay, rate), Wire(delay, rate)

    async def on_connection(reader, writer):
        await asyncio.sleep(2 * delay)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", connect)
        await asyncio.gather(carry(reader, far_writer, there), carry(far_reader, writer, back))

    server = await asyncio.start_server(on_connection, "127.0.0.1", listen, limit=CHUNK)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    listen, connect, ms, mbit = (float(arg) for arg in sys.argv[1:])
    asyncio.run(serve(int(listen), int(connect), ms / 2000, mbit * 1e6 / 8))
