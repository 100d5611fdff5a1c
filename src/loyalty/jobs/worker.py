"""The worker: arq on Valkey tells when to look, PostgreSQL tells what is to be done.

Valkey holds triggers only. When it is lost the worker goes on looking by itself, more slowly, until it is back;
whatever a killed worker or a lost trigger left undone is found by the next look.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, NoReturn

import msgspec
import redis.exceptions
import structlog
from arq import cron
from arq.connections import ArqRedis
from arq.constants import abort_jobs_ss
from arq.worker import Worker
from redis.asyncio import ConnectionPool

from loyalty.base.collector import settle_collector
from loyalty.base.errors import LoyaltyError
from loyalty.base.settings import Settings
from loyalty.jobs.crew import Crew, cancelled
from loyalty.jobs.days import close_days
from loyalty.jobs.due import settle_due
from loyalty.jobs.ladders import changed_ladders
from loyalty.jobs.laws import check_laws
from loyalty.jobs.moves import moves_left
from loyalty.jobs.notices import tell_ahead
from loyalty.jobs.purge import purge_everything
from loyalty.jobs.works import WORKS
from loyalty.posting.runtime import Runtime, open_runtime

log = structlog.get_logger()

QUEUE = "loyalty:jobs"
_LOST = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError, TimeoutError)
_PAUSE_S = (0.5, 15.0)  # first and longest pause before Valkey is tried again
_SWEEP_TIMEOUT_S = 600
_PURGE_EVERY_S = 3_600  # without Valkey; with it arq knows the hour
_HANG_UP_S = 10
_CONNECT_S = 1.0
# Also of results that are an exception: arq would tell of each that it cannot be packed.
_PACK = msgspec.msgpack.Encoder(enc_hook=str).encode

Context = dict[Any, Any]


async def work(settings: Settings, stop: asyncio.Event) -> None:
    """Work until `stop` is set. Needs: addresses and secret in `settings`."""
    assert settings.redis_url is not None
    logging.getLogger("arq").setLevel(logging.WARNING)  # it would log every look, found something or not
    async with open_runtime(settings) as runtime:
        settle_collector()
        crew = Crew(runtime, WORKS)
        try:
            await _until(stop, _look_on(runtime, crew, settings.redis_url))
        finally:
            await crew.stop()


async def _look_on(runtime: Runtime, crew: Crew, valkey: str) -> NoReturn:
    """Look when Valkey says so, and every now and then while it cannot be reached or understood."""
    pause_s = _PAUSE_S[0]
    while True:
        try:
            async with _worker(runtime, crew, valkey) as worker:
                pause_s = _PAUSE_S[0]
                await worker.async_run()
        except _LOST as error:
            log.warning("valkey_lost", error=type(error).__name__, again_in_s=pause_s)
        except Exception as error:
            log.warning("valkey_not_understood", error=type(error).__name__, again_in_s=pause_s)
        await crew.look()
        crew.sweep(look_everywhere)
        crew.sweep(purge_and_tell, every_s=_PURGE_EVERY_S)
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, _PAUSE_S[1])


@contextlib.asynccontextmanager
async def _worker(runtime: Runtime, crew: Crew, valkey: str) -> AsyncGenerator[Worker]:
    """A worker for the length of a block; what it does at the end is cancelled, and found again later.

    What breaks it in Valkey would break the next one too: the queue is dropped.
    """
    # Not by arq's own function, which leaves the connection open when the first word over it fails.
    pool = ArqRedis(
        ConnectionPool.from_url(valkey, socket_connect_timeout=_CONNECT_S),  # pyright: ignore[reportUnknownMemberType]
        job_serializer=_PACK,
        job_deserializer=msgspec.msgpack.decode,
        default_queue_name=QUEUE,
    )
    try:
        await pool.ping()  # pyright: ignore[reportUnknownMemberType]
        async with _working(make_worker(runtime, crew, pool)) as worker:
            yield worker
    except _LOST:
        raise
    except Exception:
        await pool.delete(QUEUE, abort_jobs_ss)
        raise
    finally:
        with contextlib.suppress(*_LOST):
            await pool.aclose(close_connection_pool=True)


@contextlib.asynccontextmanager
async def _working(worker: Worker) -> AsyncGenerator[Worker]:
    try:
        yield worker
    finally:
        await cancelled(
            worker.tasks.values()
        )  # all of them: arq waits no longer than for the first that breaks
        with contextlib.suppress(Exception, asyncio.CancelledError):
            await asyncio.wait_for(worker.close(), _HANG_UP_S)


def make_worker(runtime: Runtime, crew: Crew, pool: ArqRedis) -> Worker:
    """An arq worker that looks for runs every few seconds, for ended days and what is due every minute, for old rows
    hourly.
    """
    return Worker(
        cron_jobs=[
            _sweep(begin_runs, second=set(range(0, 60, 2))),
            _sweep(close_ended_days, second={5}),
            _sweep(settle_and_tell, second={35}),
            _sweep(ask_for_changed_ladders, second={50}),
            _sweep(ask_for_moves, second={20}),
            _sweep(ask_for_law_checks, second={55}),
            _sweep(purge_old_rows, minute={17}, second={30}),
        ],
        queue_name=QUEUE,
        redis_pool=pool,
        ctx={"runtime": runtime, "crew": crew},
        handle_signals=False,
        keep_result=0,
        health_check_interval=15,
        poll_delay=0.5,
        job_serializer=_PACK,
        job_deserializer=msgspec.msgpack.decode,
        log_results=False,
    )


async def look_everywhere(runtime: Runtime) -> None:
    """One look at everything but runs and old rows, without Valkey: what is due is done here and now."""
    try:
        await settle_due(runtime)
        await tell_ahead(runtime)
        await changed_ladders(runtime)
        await moves_left(runtime)
        await close_days(runtime)
        await check_laws(runtime)
    except LoyaltyError as error:  # the database is away too: the next look may find it
        log.warning("look_failed", code=error.code)
    except Exception:  # whatever it is, the worker lives on
        log.exception("look_failed")


async def purge_and_tell(runtime: Runtime) -> None:
    """Remove what has had its time."""
    gone = await purge_everything(runtime)
    if any(gone.values()):
        log.info("purged", **gone)


# --- what arq calls ---------------------------------------------------------------------------------------


async def begin_runs(context: Context) -> None:
    """Begin runs that wait; the crew does them, so that none of them keeps a sweep waiting."""
    await context["crew"].look()


async def close_ended_days(context: Context) -> None:
    """Close the program days that have ended."""
    closed = await close_days(context["runtime"])
    if closed:
        log.info("days_closed", days=closed)


async def settle_and_tell(context: Context) -> None:
    """Write what has fallen due of members, then tell them what is ahead."""
    settled = await settle_due(context["runtime"])
    if settled:
        log.info("settled", members=settled)
    told = await tell_ahead(context["runtime"])
    if told:
        log.info("told_ahead", members=told)


async def ask_for_changed_ladders(context: Context) -> None:
    """Have everybody placed where ladders came in force."""
    asked = await changed_ladders(context["runtime"])
    if asked:
        log.info("ladders_changed", programs=asked)


async def ask_for_moves(context: Context) -> None:
    """Have clocks moved on whose run was lost."""
    asked = await moves_left(context["runtime"])
    if asked:
        log.info("moves_asked_for", programs=asked)


async def ask_for_law_checks(context: Context) -> None:
    """Have the books verified of programs that closed a day."""
    asked = await check_laws(context["runtime"])
    if asked:
        log.info("laws_to_check", programs=asked)


async def purge_old_rows(context: Context) -> None:
    """Remove what has had its time."""
    await purge_and_tell(context["runtime"])


def _sweep(sweep: Callable[[Context], Awaitable[None]], **at: set[int]) -> Any:
    return cron(
        sweep,  # pyright: ignore[reportArgumentType]
        name=sweep.__name__,
        run_at_startup=True,
        unique=True,
        timeout=_SWEEP_TIMEOUT_S,
        keep_result=0,
        max_tries=1,
        **at,  # pyright: ignore[reportArgumentType]
    )


async def _until(stop: asyncio.Event, work: Awaitable[None]) -> None:
    """Wait for `work`, but no longer than until `stop` is set. Raises what the work raises."""
    task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.result()
