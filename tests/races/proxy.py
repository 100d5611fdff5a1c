"""A loopback relay between the program and PostgreSQL that can cut a line at the worst moment.

`drop_next_commit()` lets the next COMMIT through to the server and then cuts the connection before the server's
answer comes back: the one case in which nobody can know whether the work is there. `hold_next_commit()` keeps the
next COMMIT back: all its work is done under the head, and nobody sees it yet. While `going` is cleared PostgreSQL
seems to stand still: whatever is sent is kept back, and no line ends.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit, urlunsplit


class Proxy:
    """Relays every connection; counts the commits it cut."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._armed = 0
        self._gate: asyncio.Event | None = None
        self.holding = asyncio.Event()
        self.going = asyncio.Event()
        self.going.set()
        self.cut = 0
        self.refusing = False  # new connections end at once, as if nobody were there
        self.refused = 0
        self.port = 0
        self._lines: set[asyncio.Task[None]] = set()

    def drop_next_commit(self, times: int = 1) -> None:
        """Cut the line behind each of the next `times` commits."""
        self._armed = times

    def hold_next_commit(self) -> None:
        """Keep the next commit back until `release`; `holding` is set once it is here."""
        self.holding.clear()
        self._gate = asyncio.Event()

    def release(self) -> None:
        """Let the commit that is kept back go on."""
        assert self._gate is not None
        self._gate.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            self.refused += 1
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._lines.add(task)
        task.add_done_callback(self._lines.discard)
        up_reader, up_writer = await asyncio.open_connection(*self._target)
        silent = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as both:
                down = both.create_task(self._downwards(up_reader, writer, silent))
                both.create_task(self._upwards(reader, up_writer, silent, down))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for end in (writer, up_writer):
                end.close()
                with suppress(OSError):
                    await end.wait_closed()

    async def _upwards(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        silent: asyncio.Event,
        down: "asyncio.Task[None]",
    ) -> None:
        while data := await reader.read(65536):
            await self.going.wait()
            last = self._armed > 0 and b"COMMIT" in data
            if last:
                self._armed -= 1
                self.cut += 1
                silent.set()
            if self._gate is not None and not self.holding.is_set() and b"COMMIT" in data:
                self.holding.set()
                await self._gate.wait()
                self._gate = None
            writer.write(data)
            await writer.drain()
            if last:
                # The server's answer proves that it has worked on the commit; the program never sees it.
                await down
                return
        writer.write_eof()

    async def _downwards(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silent: asyncio.Event
    ) -> None:
        while data := await reader.read(65536):
            if silent.is_set():
                return
            writer.write(data)
            await writer.drain()
        if not silent.is_set():
            writer.write_eof()

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def stop(self) -> None:
        for line in tuple(self._lines):
            line.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)


@asynccontextmanager
async def relayed(url: str) -> AsyncIterator[tuple[str, Proxy]]:
    """The address of `url` by way of a relay, and the relay."""
    parts = urlsplit(url)
    proxy = Proxy(parts.hostname or "127.0.0.1", parts.port or 5432)
    server = await proxy.start()
    login = parts.netloc.rpartition("@")[0]
    try:
        yield urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{proxy.port}")), proxy
    finally:
        server.close()
        await proxy.stop()
