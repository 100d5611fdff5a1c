"""A plain HTTP/1.1 client on one connection: what was sent, what came back, and nothing retried by itself."""

import asyncio
import json
from typing import Any, NamedTuple


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def replayed(self) -> bool:
        return self.headers.get("idempotent-replayed") == "true"


class Unknown(Exception):
    """The connection ended before the answer: the request may have had its effect or not."""


class Client:
    """One connection to one server; opened at the first call and again after a loss."""

    def __init__(self, port: int, key: str, host: str = "127.0.0.1") -> None:
        self._host, self._port, self._key = host, port, key
        self._link: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str, **headers: str) -> Reply:
        return await self.call("GET", path, None, **headers)

    async def post(
        self, path: str, body: Any, *, idempotency_key: str | None = None, **headers: str
    ) -> Reply:
        """POST `body` as JSON."""
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        return await self.call("POST", path, body, **headers)

    async def call(self, method: str, path: str, body: Any, **headers: str) -> Reply:
        """Send one request and wait for its answer.

        Raises: ConnectionRefusedError when nothing was sent, Unknown when the answer was lost.
        """
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        media = headers.pop("Content_Type", "application/json")
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}:{self._port}"]
        if self._key:
            lines.append(f"Authorization: Bearer {self._key}")
        if body is not None:
            lines += [f"Content-Type: {media}", f"Content-Length: {len(content)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return await self.send("\r\n".join([*lines, "", ""]).encode() + content)

    async def send(self, request: bytes) -> Reply:
        """Send these very bytes and wait for one answer. Raises: as `call` does."""
        if self._link is None:
            self._link = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._link
        try:
            writer.write(request)
            await writer.drain()
            return await self._read(reader)
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            await self.close()
            raise Unknown from error
        except asyncio.CancelledError:
            await self.close()
            raise

    async def _read(self, reader: asyncio.StreamReader) -> Reply:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = (line.split(":", 1) for line in head[1:] if line)
        headers = {name.strip().lower(): value.strip() for name, value in fields}
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int((await reader.readline()).split(b";")[0], 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection", "").lower() == "close":
            await self.close()
        return Reply(int(head[0].split()[1]), headers, body)

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._link is None:
            return
        (_, writer), self._link = self._link, None
        writer.close()
        try:
            await writer.wait_closed()
        except OSError:
            return
