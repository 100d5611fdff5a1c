"""Serve the API from one or several processes on one port, until told to stop.

Each process listens on its own socket (SO_REUSEPORT), so that the kernel spreads connections; one that dies is
started again. SIGTERM or SIGINT ends them all gracefully: what was accepted is answered first.
"""

import asyncio
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from contextlib import AsyncExitStack, nullcontext
from ctypes import c_bool
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import RawValue
from types import FrameType

import structlog
import uvloop
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector

from loyalty.base.collector import settle_collector
from loyalty.base.errors import Busy
from loyalty.base.logs import configure_logs
from loyalty.base.settings import Settings
from loyalty.embedded.system import refuse_taken
from loyalty.posting.runtime import Runtime, open_runtime
from loyalty.posting.store import OF_THE_MOMENT
from loyalty.web.app import make_app
from loyalty.web.metrics import SHARED
from loyalty.web.patience import once_reachable, reason
from loyalty.web.server import BACKLOG, GRACE_S, make_server

log = structlog.stdlib.get_logger("loyalty.serve")

AWAY = 69  # exit code of a process whose database did not come in time

_LOOK_S = 0.05  # whether we are told to end, while the database is waited for
_SHORT_LIFE_S = 5.0  # a process that ends sooner has not started properly
_FAILURES_MAX = 3  # of processes that never served: something is set wrong
_PAUSE_MAX_S = 15.0


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; the exit code of the process.

    Needs: a migrated database; its address and the secret in `settings`.
    """
    configure_logs(settings.log_format)
    if settings.processes == 1:
        return min(1, _work(settings))  # AWAY speaks to a supervisor
    return _supervise(settings)


def listen(settings: Settings) -> socket.socket:
    """A socket bound to the settings' address, which other processes may share."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # Named TCP, or asyncio leaves Nagle's algorithm on and every answer waits for an acknowledgement (40 ms).
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if settings.processes > 1:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((settings.host, settings.port))
    if settings.processes == 1:
        # Now: of two that were bound at the same moment uvloop would not tell the second that it serves nobody.
        bound.listen(BACKLOG)
    bound.set_inheritable(True)
    return bound


def _work(settings: Settings, started: c_bool | None = None) -> int:
    """One server process, start to end; its exit code, AWAY when the database did not come.

    One of several tells by `started` that it has begun.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings, started))


async def _serve(settings: Settings, started: c_bool | None) -> int:
    # Opened before the server starts: a database that has gone since it was looked for is waited for once more.
    opened: asyncio.Future[Runtime] = asyncio.get_running_loop().create_future()
    app = make_app(settings, runtime=lambda _settings: nullcontext(opened.result()))
    server = make_server(app, settings)
    bound = listen(settings)
    if started is None and settings.metrics_port is not None:
        start_http_server(settings.metrics_port, settings.host, app.metrics.registry)
    with server.capture_signals():
        async with AsyncExitStack() as stack:
            opening = asyncio.create_task(_open(settings, stack))
            while not opening.done():
                await asyncio.wait({opening}, timeout=_LOOK_S)
                if server.should_exit:
                    opening.cancel()
            try:
                opened.set_result(await opening)
            except asyncio.CancelledError:
                return 0  # told to end before there was anything to serve from
            except (Busy, *OF_THE_MOMENT) as error:
                log.error("database_away", reason=reason(error))
                return AWAY
            log.info("serving", host=settings.host, port=settings.port, pid=os.getpid())
            settle_collector()
            if started is not None:
                started.value = True
            await server.serve(sockets=[bound])
    return 0 if server.started else 1


async def _open(settings: Settings, stack: AsyncExitStack) -> Runtime:
    assert settings.database_url is not None
    return await once_reachable(
        lambda: stack.enter_async_context(open_runtime(settings)),
        settings.database_url,
        settings.database_wait_s,
    )


def _child(settings: Settings, started: c_bool) -> None:
    configure_logs(settings.log_format)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)  # nobody is left to tell us when to stop

    threading.Thread(target=follow, daemon=True).start()
    raise SystemExit(_work(settings, started))


def _supervise(settings: Settings) -> int:
    refuse_taken(settings.host, settings.port)  # processes may share a port, installations may not
    with tempfile.TemporaryDirectory(prefix="loyalty-metrics-") as shared:
        os.environ[SHARED] = shared
        if settings.metrics_port is not None:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)
            start_http_server(settings.metrics_port, settings.host, registry)
        with listen(settings):  # never listens: it only keeps the port ours while processes come and go
            return _Supervisor(settings).run()


class _Supervisor:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._context = multiprocessing.get_context("spawn")
        self._stopping = False
        self._failures = 0  # short lives, one after the other
        self._started = RawValue(c_bool, False)  # some process has begun to serve; no lock that dies with one
        self._served = False  # and one has lived longer
        self._away = False  # the last that ended had waited for its database long enough

    def run(self) -> int:
        before = {one: signal.signal(one, self._stop) for one in (signal.SIGTERM, signal.SIGINT)}
        children = {self._start(): time.monotonic() for _ in range(self._settings.processes)}
        starts: list[float] = []  # when to start others in the place of those that ended
        try:
            while not self._stopping and not self._in_vain():
                wait([child.sentinel for child in children], timeout=0.5)
                now = time.monotonic()
                lasting = any(now - born >= _SHORT_LIFE_S for born in children.values())
                self._served = self._served or (lasting and self._started.value)
                for child in [child for child in children if not child.is_alive()]:
                    short = now - children.pop(child) < _SHORT_LIFE_S
                    self._failures = self._failures + 1 if short else 0
                    self._away = child.exitcode == AWAY
                    # Without its database no process starts: the others go on, and this one is tried again.
                    starts.append(now + min(2.0**self._failures - 1, _PAUSE_MAX_S))
                    log.error("process_ended", pid=child.pid, exit_code=child.exitcode)
                while not self._stopping and starts and min(starts) <= now:
                    starts.remove(min(starts))
                    children[self._start()] = now
        finally:
            self._end(list(children))
            for one, handler in before.items():
                signal.signal(one, handler)
        return 0 if self._stopping else 1

    def _start(self) -> BaseProcess:
        child = self._context.Process(target=_child, args=(self._settings, self._started))
        child.start()
        return child

    def _in_vain(self) -> bool:
        """Whether nothing will come of trying again."""
        return not self._served and (self._away or self._failures >= _FAILURES_MAX)

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _end(self, children: list[BaseProcess]) -> None:
        for child in children:
            child.terminate()
        until = time.monotonic() + GRACE_S + 12  # and for the commands that wait, and to hang up
        for child in children:
            child.join(max(0.0, until - time.monotonic()))
            if child.is_alive():
                child.kill()
                child.join()
