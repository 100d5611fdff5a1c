"""The outermost layer: every request gets an id, a log line and a measure; what no address could mean is refused.

Headers, host and path are checked here once for all, before any routing. Nothing of what went wrong inside leaks:
an unexpected exception is logged under the request's id and told as `internal_error`.
"""

import asyncio
import contextlib
import re
import secrets
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any
from urllib.parse import unquote_to_bytes

import structlog
from litestar.types import ASGIApp, Message, Receive, Send

from loyalty.base.errors import (
    Busy,
    LoyaltyError,
    MediaRefused,
    MethodRefused,
    TooLarge,
    TooMany,
    Unauthenticated,
)
from loyalty.base.problems import MEDIA_TYPE, render
from loyalty.posting.commands import Answer
from loyalty.web.exchange import Exchange
from loyalty.web.metrics import Metrics
from loyalty.web.types import HostNotServed, IncompleteBody, InternalError, MalformedRequest, RouteNotFound

# Keys in an ASGI scope.
EXCHANGE = "loyalty.exchange"  # of the Exchange
ARRIVED_NS = "loyalty.arrived_ns"  # of when the first byte came, by perf_counter_ns
WRITE = "loyalty.write"  # of what our own server offers to send an answer with

HEADER_BYTES_MAX = 32 * 1024
HEADERS_MAX = 100
PATH_BYTES_MAX = 2_048
QUERY_BYTES_MAX = 8_192
DROPPED_MAX = 16 * 1024 * 1024  # bytes of a body that is read although it was refused as too large
REST_S = 0.5  # a sender who is silent for so long has stopped, or waits for the answer

# Headers that this program reads; each may come once.
_READ = frozenset(
    {
        b"host",
        b"authorization",
        b"content-type",
        b"content-length",
        b"content-encoding",
        b"transfer-encoding",
        b"idempotency-key",
        b"if-match",
    }
)
_HOST = re.compile(rb"[A-Za-z0-9._-]{1,253}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?")
# A slash at the end makes another address, but for `/docs/`: people type that.
_PLAIN_PATH = re.compile(rb"/|/docs/|(?:/[A-Za-z0-9_.:~@!$'()*+,=-]+)+")
_ESCAPED_PATH = re.compile(rb"(?:/(?:[A-Za-z0-9_.:~@!$'()*+,=-]|%[0-9A-Fa-f]{2})+)+")

_log = structlog.stdlib.get_logger("loyalty.web")


Serve = Callable[[dict[str, Any], Receive, Send, Exchange], Awaitable[bool]]
"""Serves a request unless it is none of its own; whether it was."""


class Guard:
    """ASGI: wraps the application."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        allowed_hosts: tuple[str, ...] = (),
        shortcuts: Serve | None = None,
    ) -> None:
        self.application = app
        self.metrics = metrics
        self._shortcuts = shortcuts
        self._hosts = frozenset(host.encode() for host in allowed_hosts)
        self._prefix = f"req_{secrets.token_hex(8)}"
        self._count = count(1)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.application(scope, receive, send)
            return
        name = f"{self._prefix}{next(self._count):x}"
        exchange = Exchange(name, scope["method"], scope.get(WRITE), scope.get(ARRIVED_NS))
        scope[EXCHANGE] = exchange

        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
            await send(message)

        try:
            self._check(scope, exchange)
            if self._shortcuts is None or not await self._shortcuts(scope, receive, send_noted, exchange):
                await self.application(scope, receive, send_noted)
        except LoyaltyError as error:
            await send_answer(send_noted, refusal(error, exchange), exchange, receive)
        except Exception:
            answer = incident(exchange)
            if exchange.status:
                raise  # the answer had begun: only cutting the connection tells the caller
            await send_answer(send_noted, answer, exchange, receive)
        finally:
            self.metrics.note_request(exchange)

    def _check(self, scope: Any, exchange: Exchange) -> None:
        """Raises: MalformedRequest, HostNotServed, RouteNotFound."""
        headers, size = exchange.headers, 0
        for name, value in scope["headers"]:
            size += len(name) + len(value)
            if name in _READ:
                if name in headers:
                    raise MalformedRequest(f"The header {name.decode()} stands twice.")
                headers[name] = value
        if size > HEADER_BYTES_MAX or len(scope["headers"]) > HEADERS_MAX:
            raise MalformedRequest("The headers are too many or too large.")
        if b"transfer-encoding" in headers and b"content-length" in headers:
            raise MalformedRequest("Content-Length and Transfer-Encoding exclude each other.")
        if headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
            raise MalformedRequest("The only Transfer-Encoding that is read here is chunked.")
        host = headers.get(b"host")
        if host is None or not _HOST.fullmatch(host):
            raise MalformedRequest("The Host header is missing or no host name.")
        if self._hosts and host.lower() not in self._hosts and _without_port(host) not in self._hosts:
            raise HostNotServed
        path: bytes = scope["raw_path"]
        if len(path) > PATH_BYTES_MAX or len(scope["query_string"]) > QUERY_BYTES_MAX:
            raise MalformedRequest("The address is too long.")
        if not _PLAIN_PATH.fullmatch(path) and not _readable(path):
            raise RouteNotFound


def _without_port(host: bytes) -> bytes:
    return re.sub(rb":[0-9]+$", b"", host.lower())


def _readable(path: bytes) -> bool:
    """Whether a path with escapes is UTF-8 text that hides no separator and no control character."""
    if not _ESCAPED_PATH.fullmatch(path):
        return False
    try:
        text = unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        return False
    return text.isprintable() and "\\" not in text and text.count("/") == path.count(b"/")


def refusal(error: LoyaltyError, exchange: Exchange) -> Answer:
    """The answer that tells a refusal, with the headers that HTTP wants beside it."""
    status, body = render(error, exchange.request_id)
    headers = {"content-type": MEDIA_TYPE}
    match error:
        case Unauthenticated():
            headers["www-authenticate"] = 'Bearer realm="loyalty"'
        case Busy() | TooMany():
            headers["retry-after"] = str(error.retry_after_s)
        case MediaRefused() if exchange.method != "PUT":
            headers["accept-patch" if exchange.method == "PATCH" else "accept-post"] = "application/json"
        case MethodRefused():
            headers["allow"] = ", ".join(error.facts["allowed"])
        case MalformedRequest() | IncompleteBody() | TooLarge():
            headers["connection"] = "close"  # where the next request begins on this connection is not known
        case _:
            pass
    return Answer(status, body, headers=headers)


def incident(exchange: Exchange) -> Answer:
    """The answer to an exception that nobody expected; it is logged, and nothing of it is told."""
    _log.exception("incident", request_id=exchange.request_id, route=exchange.route)
    return refusal(InternalError(), exchange)


_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", MEDIA_TYPE.encode())
_NO_STORE = (b"cache-control", b"no-store")
_NO_SNIFF = (b"x-content-type-options", b"nosniff")
_REPLAYED = (b"idempotent-replayed", b"true")


_LINES = b"".join(b"%s: %s\r\n" % header for header in (_NO_STORE, _NO_SNIFF))
_JSON_LINES, _PROBLEM_LINES = (_LINES + b"%s: %s\r\n" % header for header in (_JSON, _PROBLEM))


def _sent_at_once(answer: Answer, exchange: Exchange) -> bool:
    """Send an answer by the server's short way, if there is one; whether it was sent.

    Of those with headers of their own only what is to be sent again goes this way: of that there may be a flood.
    """
    if exchange.write is None or not answer.body or answer.status == 413:
        return False
    more = b"idempotent-replayed: true\r\n" if answer.replayed else b""
    if answer.headers:
        own = {name.lower(): value for name, value in answer.headers.items()}
        after = own.pop("retry-after", None)
        if after is None or not own.keys() <= {"content-type"}:
            return False
        more = b"retry-after: %s\r\n" % after.encode()
    lines = b"%sx-request-id: %s\r\ncontent-length: %d\r\n%s" % (
        _PROBLEM_LINES if answer.status >= 400 else _JSON_LINES,
        exchange.request_id.encode(),
        len(answer.body),
        more,
    )
    if not exchange.write(answer.status, lines, answer.body):
        return False
    exchange.status = answer.status
    return True


async def send_answer(send: Send, answer: Answer, exchange: Exchange, receive: Receive) -> None:
    """Send an answer whole. One that refuses a body too large outlives what of the body is still under way."""
    if _sent_at_once(answer, exchange):
        return
    headers = [
        _NO_STORE,
        _NO_SNIFF,
        (b"x-request-id", exchange.request_id.encode()),
        (b"content-length", str(len(answer.body)).encode()),
    ]
    if answer.body and "content-type" not in answer.headers:
        headers.append(_PROBLEM if answer.status >= 400 else _JSON)
    for name, value in answer.headers.items():
        headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))
    if answer.replayed:
        headers.append(_REPLAYED)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    too_large = answer.status == 413
    await send({"type": "http.response.body", "body": answer.body, "more_body": too_large})
    if too_large:
        await _drop(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drop(receive: Receive) -> None:
    """Read what still comes of a body, up to a bound, until the sender rests or is done.

    A connection that is closed while somebody sends is reset, and the answer on it lost.
    """
    size, more = 0, True
    with contextlib.suppress(TimeoutError):
        while more and size < DROPPED_MAX:
            message = await asyncio.wait_for(receive(), REST_S)
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
