"""The worker: arq on Valkey tells when to look, PostgreSQL tells what is to be done.

Valkey holds triggers only. When it is lost the worker goes on looking by itself, more slowly, until it is back;
whatever a killed worker or a lost trigger left undone is found by the next look.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any
from uuid import UUID

import msgspec
import structlog
from arq import create_pool, cron, func
from arq.connections import ArqRedis, RedisSettings
from arq.worker import Worker
from redis.exceptions import RedisError

from loyalty.base.collector import settle_collector
from loyalty.base.errors import LoyaltyError
from loyalty.base.settings import Settings
from loyalty.jobs.days import close_days
from loyalty.jobs.due import settle_due
from loyalty.jobs.ladders import changed_ladders
from loyalty.jobs.laws import check_laws
from loyalty.jobs.moves import moves_left
from loyalty.jobs.notices import tell_ahead
from loyalty.jobs.purge import purge_idempotency, purge_lines, purge_notices, purge_parts
from loyalty.jobs.runs import execute, waiting_runs
from loyalty.jobs.works import WORKS
from loyalty.posting.runtime import Runtime, open_runtime

log = structlog.get_logger()

QUEUE = "loyalty:jobs"
_LOST = (RedisError, OSError, TimeoutError)
_PAUSE_S = (0.5, 15.0)  # first and longest pause before Valkey is tried again
_RUN_TIMEOUT_S = 6 * 3600
_SWEEP_TIMEOUT_S = 600
_HANG_UP_S = 10
_PATIENCE_S = 15

Context = dict[Any, Any]


async def work(settings: Settings, stop: asyncio.Event) -> None:
    """Work until `stop` is set. Needs: addresses and secret in `settings`."""
    assert settings.redis_url is not None
    logging.getLogger("arq").setLevel(logging.WARNING)  # it would log every look, found something or not
    redis = RedisSettings.from_dsn(settings.redis_url)
    redis.conn_retries = 0  # we come back by ourselves
    async with open_runtime(settings) as runtime:
        settle_collector()
        pause_s = _PAUSE_S[0]
        while not stop.is_set():
            try:
                async with _worker(runtime, redis) as worker:
                    pause_s = _PAUSE_S[0]
                    await _until(stop, worker.async_run())
            except _LOST as error:
                log.warning("valkey_lost", error=type(error).__name__, again_in_s=pause_s)
                await look_everywhere(runtime)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), pause_s)
                pause_s = min(pause_s * 2, _PAUSE_S[1])


@contextlib.asynccontextmanager
async def _worker(runtime: Runtime, redis: RedisSettings) -> AsyncGenerator[Worker]:
    """A worker for the length of a block; what it does at the end is cancelled, and found again later."""
    pool = await create_pool(
        redis,
        job_serializer=msgspec.msgpack.encode,
        job_deserializer=msgspec.msgpack.decode,
        default_queue_name=QUEUE,
    )
    worker = make_worker(runtime, pool)
    try:
        yield worker
    finally:
        with contextlib.suppress(*_LOST, asyncio.CancelledError):
            await asyncio.wait_for(worker.close(), _HANG_UP_S)
        with contextlib.suppress(*_LOST):  # also when the worker could not, for want of an answer
            await pool.aclose(close_connection_pool=True)


def make_worker(runtime: Runtime, pool: ArqRedis) -> Worker:
    """An arq worker that looks for runs every few seconds, for ended days and what is due every minute, for old rows
    hourly.
    """
    return Worker(
        functions=[func(run, name="run", timeout=_RUN_TIMEOUT_S, keep_result=0)],  # pyright: ignore[reportArgumentType]
        cron_jobs=[
            _sweep(start_runs, second=set(range(0, 60, 2))),
            _sweep(close_ended_days, second={5}),
            _sweep(settle_and_tell, second={35}),
            _sweep(ask_for_changed_ladders, second={50}),
            _sweep(ask_for_moves, second={20}),
            _sweep(ask_for_law_checks, second={55}),
            _sweep(purge_old_rows, minute={17}, second={30}),
        ],
        queue_name=QUEUE,
        redis_pool=pool,
        ctx={"runtime": runtime},
        handle_signals=False,
        keep_result=0,
        health_check_interval=15,
        poll_delay=0.5,
        job_serializer=msgspec.msgpack.encode,
        job_deserializer=msgspec.msgpack.decode,
        log_results=False,
    )


async def look_everywhere(runtime: Runtime) -> None:
    """One look at everything without Valkey: what is due is done here and now."""
    try:
        for waiting in await waiting_runs(runtime):
            await execute(runtime, waiting.program_id, waiting.id, WORKS)
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


# --- what arq calls ---------------------------------------------------------------------------------------


async def start_runs(context: Context) -> None:
    """Give every waiting run a job of its own, and another one when nobody has begun it after a while.

    A worker that is killed leaves its jobs marked as being worked on for as long as they might take. That stops no run:
    the mark bears the moment, and of two jobs for one run the second finds it taken.
    """
    runtime: Runtime = context["runtime"]
    moment = runtime.clock.now_ms() // (_PATIENCE_S * 1_000)
    for waiting in await waiting_runs(runtime):
        await context["redis"].enqueue_job(
            "run",
            str(waiting.program_id),
            str(waiting.id),
            _job_id=f"run:{waiting.id}:{waiting.tries}:{moment}",
            _queue_name=QUEUE,
            _expires=_PATIENCE_S,
        )


async def run(context: Context, program_id: str, run_id: str) -> None:
    """Do one run."""
    await execute(context["runtime"], UUID(program_id), UUID(run_id), WORKS)


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
    runtime: Runtime = context["runtime"]
    records, notices = await purge_idempotency(runtime), await purge_notices(runtime)
    lines, parts = await purge_lines(runtime), await purge_parts(runtime)
    if records or notices or lines or parts:
        log.info("purged", idempotency_records=records, notices=notices, lines=lines, import_parts=parts)


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
    if task.done():
        await task
