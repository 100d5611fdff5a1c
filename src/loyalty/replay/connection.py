"""One kept-alive HTTP/1.1 connection, as a till would hold it: a request, its answer, the next request.

A general client library spends more time on a request than the server does, which would make every rate printed
by a replay a figure of the client; docs/decisions/http-client-of-the-replay.md has the measurement.
"""

import asyncio
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

import httptools
from msgspec import Struct

from loyalty.replay.types import ReplayError

ANSWER_BYTES_MAX = 8 * 1024 * 1024
_READ = 65_536


class Response(Struct, frozen=True):
    """Status, headers (lower-case names) and body of an answer."""

    status: int
    headers: dict[str, str]
    body: bytes


class ConnectionLost(OSError):
    """The other side closed before it had answered: what became of the request is not known."""


class Connection:
    """Talks to the host of `base_url`; connects when it is first needed, and again after a loss.

    `headers` go with every request. Raises: ReplayError when `base_url` is no address.
    """

    def __init__(self, base_url: str, headers: Mapping[str, str], *, timeout_s: float = 30.0) -> None:
        try:
            parts = urlsplit(base_url)
            port = parts.port  # reading it checks it
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ReplayError(f"{base_url!r} is no address such as http://127.0.0.1:8080")
        self._host = parts.hostname
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = port or (443 if self._tls else 80)
        self._prefix = parts.path.rstrip("/")
        self._fixed = "".join(
            f"{k}: {v}\r\n" for k, v in {"Host": parts.netloc.rpartition("@")[2], **headers}.items()
        )
        self._timeout_s = timeout_s
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Response:
        """The answer to one request. Raises: OSError (TimeoutError and ConnectionLost too) when there is none."""
        given = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        head = f"{method} {self._prefix}{path} HTTP/1.1\r\n{self._fixed}{given}Content-Length: {len(body)}\r\n\r\n"
        try:
            async with asyncio.timeout(self._timeout_s):
                reader, writer = await self._open()
                writer.write(head.encode("latin-1") + body)
                await writer.drain()
                answer = _Answer()
                while not answer.complete:
                    part = await reader.read(_READ)
                    if not part:
                        raise ConnectionLost("the connection was closed before the answer came")
                    answer.feed(part)
        except BaseException:
            self.close()
            raise
        if not answer.keep_alive:
            self.close()
        return Response(answer.status, answer.headers, b"".join(answer.parts))

    def close(self) -> None:
        """Let go of the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        return self._streams


class _Answer:
    """Collects one answer; httptools calls the `on_…` methods."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.parts: list[bytes] = []
        self.status = 0
        self.keep_alive = False
        self.complete = False
        self._bytes = 0
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, part: bytes) -> None:
        try:
            self._parser.feed_data(part)
        except httptools.HttpParserError as error:
            raise ConnectionLost(f"the answer is no HTTP: {error}") from error

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, part: bytes) -> None:
        self._bytes += len(part)
        if self._bytes > ANSWER_BYTES_MAX:
            raise ConnectionLost("the answer is too long")
        self.parts.append(part)

    def on_message_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self.keep_alive = self._parser.should_keep_alive()
        self.complete = True
