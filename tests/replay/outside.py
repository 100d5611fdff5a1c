"""A server outside of the program, scripted by a test: what comes in is kept, what goes out is what the test says."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any


@dataclass(frozen=True)
class Request:
    """One request as it arrived, and on which connection."""

    connection: int
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def key(self) -> str:
        return self.headers["idempotency-key"]


@dataclass(frozen=True)
class Say:
    """An answer; `None` instead of one closes the connection without a word."""

    status: int = 201
    body: dict[str, Any] = field(default_factory=dict[str, Any])
    headers: dict[str, str] = field(default_factory=dict[str, str])


Script = Callable[[Request], Say | None]


@asynccontextmanager
async def serving(script: Script) -> AsyncGenerator[tuple[str, list[Request]]]:
    """The address of a server that answers as `script` says, and the requests it has seen."""
    seen: list[Request] = []
    writers: list[asyncio.StreamWriter] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        mine = len(writers)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")
                headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:] if line)}
                body = json.loads(await reader.readexactly(int(headers["content-length"])) or b"{}")
                request = Request(mine, headers, body)
                seen.append(request)
                answer = script(request)
                if answer is None:
                    return
                text = json.dumps(answer.body).encode()
                more = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
                writer.write(
                    f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n{more}"
                    f"Content-Length: {len(text)}\r\n\r\n".encode()
                    + text
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen
        for writer in writers:
            writer.close()
