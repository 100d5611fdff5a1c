"""The work behind each kind of run. All of it is safe twice: a run may be taken over at any moment."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import asyncpg
import msgspec
import structlog
import uvloop

from loyalty.base.database import DatabaseUnavailable
from loyalty.insight.ahead.forecast import forecast
from loyalty.insight.ahead.plan import plan
from loyalty.jobs.imports.work import import_file
from loyalty.jobs.ladders import place_everybody
from loyalty.jobs.moves import move
from loyalty.jobs.redates import plan_redates, redate_everybody
from loyalty.jobs.runs import Report, Work
from loyalty.jobs.types import Run, RunKind
from loyalty.ledger.verify import Report as Verified
from loyalty.ledger.verify import verify
from loyalty.ledger.verify.frame import Connect, Progress
from loyalty.posting.configuration import Configuration
from loyalty.posting.reviews import reviews
from loyalty.posting.runtime import Runtime
from loyalty.posting.store import may_be_run_again

log = structlog.get_logger()


class _Stopped(Exception):
    pass


async def verification(runtime: Runtime, run: Run, report: Report) -> dict[str, Any]:
    """Verify the books of the run's program."""

    def work(connect: Connect, progress: Progress) -> Awaitable[Verified]:
        return verify(connect, run.program_id, progress=progress, also=(reviews,))

    found = await _apart(runtime, report, work)
    if not found["intact"]:
        log.error("books_broken", program_id=str(run.program_id), broken=found["broken"])
    return found


async def forecasting(runtime: Runtime, run: Run, report: Report) -> dict[str, Any]:
    """Say what happens by itself in the run's program from now on."""
    now = await runtime.now(run.program_id)
    return await _apart(
        runtime, report, lambda connect, progress: forecast(connect, run.program_id, now, progress)
    )


async def planning(runtime: Runtime, run: Run, report: Report) -> dict[str, Any]:
    """Say who would move, were the run's configuration published now."""
    now = await runtime.now(run.program_id)
    configuration = msgspec.convert(run.input["configuration"], Configuration)
    return await _apart(
        runtime, report, lambda connect, progress: plan(connect, run.program_id, configuration, now, progress)
    )


async def _apart(
    runtime: Runtime, report: Report, work: Callable[[Connect, Progress], Awaitable[Any]]
) -> dict[str, Any]:
    """The result of work that computes for long stretches.

    It has a thread, an event loop and connections of its own: the pipe of this process waits for nothing.
    Raises: DatabaseUnavailable when the moment is to blame.
    """
    stop = threading.Event()

    def progress(phase: str, done: int, total: int) -> None:
        if stop.is_set():
            raise _Stopped
        report({"phase": phase, "done": done, "total": total})

    async def done() -> Any:
        # One connection for all snapshots, not one for each; a second for what is read side by side.
        url, utc = runtime.settings.database_url, {"timezone": "UTC"}
        async with asyncpg.create_pool(url, min_size=1, max_size=2, server_settings=utc) as pool:
            return await work(pool.acquire, progress)

    try:
        return msgspec.to_builtins(await asyncio.to_thread(lambda: uvloop.run(done())), str_keys=True)
    except Exception as error:
        if may_be_run_again(error):
            raise DatabaseUnavailable from error
        raise
    finally:
        stop.set()


WORKS: Mapping[RunKind, Work] = {
    RunKind.VERIFICATION: verification,
    RunKind.CLOCK: move,
    RunKind.TIERS: place_everybody,
    RunKind.FORECAST: forecasting,
    RunKind.TIER_PLAN: planning,
    RunKind.REDATE_PLAN: plan_redates,
    RunKind.REDATE: redate_everybody,
    RunKind.IMPORT: import_file,
}
