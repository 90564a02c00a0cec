"""Counts the requests that a Tango database gets: ``python -m bench.counting_port PORT HOST:PORT``.

It relays what comes, and answers each line on standard input with how many CORBA requests there were so far.
"""

from __future__ import annotations

import asyncio
import sys

_HEADER = 12  # bytes of a GIOP message before its body
_REQUEST = 0


class Counter:
    """How many requests there were."""

    def __init__(self, host: str, port: int) -> None:
        self.requests = 0
        self._host, self._port = host, port

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join a client with the database until either has gone."""
        database_reader, database_writer = await asyncio.open_connection(self._host, self._port)
        both = [self._requests(reader, database_writer), _copy(database_reader, writer)]
        tasks = [asyncio.ensure_future(each) for each in both]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for each in (writer, database_writer):
            each.close()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                header = await reader.readexactly(_HEADER)
                order = "little" if header[6] & 1 else "big"
                size = int.from_bytes(header[8:12], order)  # type: ignore[arg-type]
                self.requests += header[7] == _REQUEST
                writer.write(header + await reader.readexactly(size))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        return


async def _main(port: int, database: str) -> None:
    host, _, database_port = database.rpartition(":")
    counter = Counter(host, int(database_port))
    server = await asyncio.start_server(counter.relay, "127.0.0.1", port)
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print("ready", flush=True)
    async with server:
        while await lines.readline():
            print(counter.requests, flush=True)


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), sys.argv[2]))
