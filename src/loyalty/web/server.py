# pyright: standard
# uvicorn's protocols are loosely typed.
"""uvicorn as we run it: refusals of broken requests in our own form, bounds on slow and endless request heads.

A request whose head or body does not arrive in time is cut off by closing its connection, and so is whoever does not
take an answer; others are not disturbed.
"""

import asyncio
import contextlib
import fcntl
import json
import re
import signal
import socket
import sys
import termios
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from functools import partial
from time import perf_counter_ns
from typing import Any, cast

import httptools
import uvicorn
from litestar.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from loyalty.base.problems import MEDIA_TYPE, render
from loyalty.base.settings import Settings
from loyalty.web.guard import ARRIVED_NS, WRITE
from loyalty.web.types import MalformedRequest

HEAD_BYTES_MAX = 64 * 1024
HEAD_SECONDS_MAX = 10.0
BODY_SECONDS_MAX = 30.0
ANSWER_SECONDS_MAX = 30.0  # in which nothing of it is taken
KEEP_ALIVE_S = 30
LAST_S = 0.5  # at our end: for what is on its way over connections that are kept
GRACE_S = 15  # then: for answers
BACKLOG = 2_048  # connections that wait to be accepted

AT_ONCE = 16  # requests that are begun before the loop looks around

_LOOK_S = 0.02

_UPGRADE = re.compile(rb"(?<=\r\n)upgrade(?=:)", re.IGNORECASE)


def _without_upgrade(data: bytes) -> bytes:
    """The same head with an offer to change the protocol made illegible: we stay with HTTP/1.1, as RFC 9110 lets us.

    The parser would otherwise stop behind the head, and the body would be lost. Only of a head that came whole and
    alone is this known for sure; any other that the parser takes for an offer is refused.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"x-upgra", head) + end + body


class Entrance:
    """Requests that have arrived are begun a few at a time, and in between the loop looks at the database.

    Else of a thousand that arrive together each would be looked at before the next answer of the database is, and
    whoever was accepted would get nowhere. Credentials take turns, so that a flood under one keeps no other waiting.
    """

    def __init__(self) -> None:
        self._left = AT_ONCE  # how many more may begin before the loop looks around
        self._waiting: dict[bytes, deque[Callable[[], None]]] = {}  # in the order of the turns

    def arrive(self, headers: Iterable[tuple[bytes, bytes]], begin: Callable[[], None]) -> None:
        """Call `begin` when it is its turn, which mostly is now."""
        if self._left:
            self._begin(begin)
        else:
            credential = next((value for name, value in headers if name == b"authorization"), b"")
            self._waiting.setdefault(credential, deque()).append(begin)

    def _begin(self, begin: Callable[[], None]) -> None:
        if self._left == AT_ONCE:
            asyncio.get_running_loop().call_soon(self._go_on)
        self._left -= 1
        begin()

    def _go_on(self) -> None:
        self._left = AT_ONCE
        while self._left and self._waiting:
            credential = next(iter(self._waiting))
            waiting = self._waiting.pop(credential)
            begin = waiting.popleft()
            if waiting:
                self._waiting[credential] = waiting  # behind the others
            self._begin(begin)


class State(ServerState):
    """What the connections of a server share."""

    def __init__(self) -> None:
        super().__init__()
        self.entrance = Entrance()


class Protocol(HttpToolsProtocol):
    """One connection."""

    server_state: State

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._since: float | None = self.loop.time()  # when the head that we wait for began
        self._head_bytes = 0
        self._in_body = False  # also of a request that was answered before all of it came
        self._refused = False  # what came is no request: nothing more is read
        self._ending = False  # the next answer is the connection's last
        self._serving: RequestResponseCycle | None = None  # `cycle` is the latest that came
        self._untaken = 0  # bytes of answers that had not reached the other end when we last looked
        self._taken_at = 0.0  # when it was another number, or all had room

    def connection_lost(self, exc: Exception | None) -> None:
        # uvicorn tells the latest request alone; the one that is served may stand before it, and wait to write.
        if self._serving is not None and not self._serving.response_complete:
            self._serving.disconnected = True
            self._serving.message_event.set()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._since = self.loop.time()
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)[ARRIVED_NS] = perf_counter_ns()

    def on_headers_complete(self) -> None:
        self._head_bytes = 0
        assert self.parser is not None, "it has called us"
        if self.parser.get_http_version() not in ("1.0", "1.1"):
            raise httptools.HttpParserError  # answered 400 like any request that is none
        if self.parser.should_upgrade():
            raise httptools.HttpParserError  # what follows would be read as another request
        self._in_body = True
        super().on_headers_complete()
        if self._ending:
            self.cycle.keep_alive = False
        cast("dict[str, Any]", self.scope)[WRITE] = partial(_write, self.cycle)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._serving = cycle

        def begin() -> None:
            if not cycle.disconnected:  # who has gone meanwhile is not waited for
                super(Protocol, self)._start_asgi_task(cycle, app)

        self.server_state.entrance.arrive(cast("dict[str, Any]", cycle.scope)["headers"], begin)

    def on_message_complete(self) -> None:
        self._since = None
        self._in_body = False
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        in_head = not self._in_body
        if in_head:
            self._head_bytes += len(data)
            data = _without_upgrade(data)
        super().data_received(data)
        if in_head and self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self.send_400_response("The request's head is too large.")

    def end(self) -> None:
        """Tell whoever is answered from now on that the connection ends with that answer."""
        self._ending = True
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def close_if_slow(self, now: float) -> None:
        """Close the connection when its present request has taken too long to arrive, or nobody takes its answers."""
        untaken = _untaken(self.transport)
        if not untaken or untaken != self._untaken:
            self._untaken, self._taken_at = untaken, now
        elif now - self._taken_at > ANSWER_SECONDS_MAX:
            self.transport.abort()  # also one that is closing: that would wait until all is taken
            return
        if self._since is None or self.transport.is_closing():
            return
        if now - self._since > (BODY_SECONDS_MAX if self._in_body else HEAD_SECONDS_MAX):
            self.transport.close()

    def on_response_complete(self) -> None:
        last = not self.pipeline
        super().on_response_complete()
        if self._refused and last and not self.transport.is_closing():
            self._refuse()

    def send_400_response(self, msg: str) -> None:
        """Tell a request that is no HTTP what it is, once those before it are answered, and close."""
        self._refused = True
        if self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            self._refuse()

    def _refuse(self) -> None:
        _, body = render(MalformedRequest(), "none")
        document = json.loads(body)
        del document["request_id"]  # such a request gets none
        body = json.dumps(document).encode()
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\n"
            b"content-type: " + MEDIA_TYPE.encode() + b"\r\n"
            b"content-length: " + str(len(body)).encode() + b"\r\n"
            b"connection: close\r\n\r\n" + body
        )
        self.transport.close()


def _untaken(transport: asyncio.Transport) -> int:
    """Bytes that have not reached the other end, also those that the system holds; 0 while that has room for all.

    It takes more of us only once megabytes may have left it: to whoever reads slowly nothing would seem to go.
    """
    ours = transport.get_write_buffer_size()
    if not ours:
        return 0
    try:
        held = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:  # a system that does not tell
        return ours
    return ours + int.from_bytes(held, sys.byteorder)


def _write(cycle: RequestResponseCycle, status: int, lines: bytes, body: bytes) -> bool:
    """An answer in one piece; what uvicorn does for two messages costs more than deciding what they say.

    False for what is rare and has its own ways: HEAD, a peer that has gone or reads too slowly.
    """
    if (
        cycle.disconnected
        or cycle.response_started
        or cycle.flow.write_paused
        or cycle.scope["method"] == "HEAD"
    ):
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    end = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
    cycle.transport.write(b"".join((STATUS_LINE[status], lines, end, body)))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True


class Server(uvicorn.Server):
    """One server process; ends with everyone answered, and quietly."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.server_state: State = State()

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:
            for connection in self._connections():
                connection.close_if_slow(connection.loop.time())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new connection; on old ones, answer what comes for a moment more, and say that it is the last.

        A connection that is closed while a request is on its way would leave its sender without an answer.
        """
        for listening in (*self.servers, *(sockets or ())):
            listening.close()
        for connection in self._connections():
            connection.end()
        for _ in range(round(LAST_S / _LOOK_S)):
            if self.server_state.connections:
                await asyncio.sleep(_LOOK_S)
        await super().shutdown(sockets)

    def _connections(self) -> list[Protocol]:
        return [one for one in self.server_state.connections if isinstance(one, Protocol)]

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """SIGTERM and SIGINT ask for a graceful end; a graceful end is a success."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {one: signal.signal(one, self.handle_exit) for one in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)


def make_server(app: ASGIApp, settings: Settings) -> Server:
    """A server for `app`; `serve` it on sockets that listen already, or on the settings' address."""
    return Server(
        uvicorn.Config(
            app,  # type: ignore[arg-type]
            host=settings.host,
            port=settings.port,
            http=Protocol,
            ws="none",
            loop="uvloop",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
        )
    )
