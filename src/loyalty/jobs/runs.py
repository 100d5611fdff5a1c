"""Does one run: claims it in the database, shows signs of life while it works, notes what came of it.

A worker that dies leaves a run without signs of life; another one takes it over. A run is therefore work that is
safe twice. After TRIES_MAX tries it has failed.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from loyalty.base.database import shared
from loyalty.base.errors import Busy, LoyaltyError
from loyalty.base.logs import log_context
from loyalty.jobs import store
from loyalty.jobs.types import Run, RunKind, RunState
from loyalty.posting.runtime import Runtime

log = structlog.get_logger()

SIGN_S = 3.0
SILENCE = timedelta(seconds=15)
TRIES_MAX = 3

# Does the work of a run; tells how far it is through the function it is given, and returns the result.
Report = Callable[[dict[str, Any]], None]
Work = Callable[[Runtime, Run, Report], Awaitable[dict[str, Any]]]


async def waiting_runs(runtime: Runtime, limit: int = 100) -> list[Run]:
    """The runs that nobody works on."""
    async with shared(runtime.engine) as connection:
        return await store.waiting(connection, runtime.clock.now() - SILENCE, limit)


async def execute(runtime: Runtime, program_id: UUID, run_id: UUID, works: Mapping[RunKind, Work]) -> None:
    """Do the run unless somebody else does it or it is over."""
    now = runtime.clock.now()
    async with shared(runtime.engine) as connection:
        run = await store.claim(connection, program_id, run_id, now, now - SILENCE)
    if run is None:
        return
    with log_context(run_id=str(run_id), program_id=str(program_id)):
        if run.tries > TRIES_MAX:
            await _end(runtime, run, RunState.FAILED, {"code": "gave_up", "tries": TRIES_MAX})
            return
        try:
            result = await _alive(runtime, run, works[run.kind])
        except asyncio.CancelledError:
            # The worker stops: the next one need not wait for our silence.
            await asyncio.shield(_again(runtime, run))
            raise
        except Busy as error:
            log.warning("run_interrupted", kind=run.kind, tries=run.tries, code=error.code)
            await _again(runtime, run, counted=False)
        except LoyaltyError as error:
            await _end(runtime, run, RunState.FAILED, {"code": error.code, "detail": error.detail})
        except Exception:
            log.exception("run_failed", kind=run.kind, tries=run.tries)
            await _again(runtime, run)
        else:
            await _end(runtime, run, RunState.SUCCEEDED, result)


async def _alive(runtime: Runtime, run: Run, work: Work) -> dict[str, Any]:
    """The result of the work; a sign of life goes out every SIGN_S."""
    told = dict(run.progress or {})  # an earlier try's, from which the work may go on
    task = asyncio.ensure_future(work(runtime, run, told.update))
    try:
        while not (await asyncio.wait({task}, timeout=SIGN_S))[0]:
            with contextlib.suppress(Busy):  # the next sign may come through, or another worker takes over
                if not await _sign(runtime, run, told):
                    break  # taken over by another worker: ours stops
    finally:
        task.cancel()
        await asyncio.wait({task})
    return task.result()


async def keep(runtime: Runtime, run: Run, told: dict[str, Any]) -> None:
    """Note at once how far a run is. Raises: RuntimeError when it is somebody else's by now."""
    if not await _sign(runtime, run, told):
        raise RuntimeError("the run was taken over")


async def _sign(runtime: Runtime, run: Run, told: dict[str, Any]) -> bool:
    async with shared(runtime.engine) as connection:
        return await store.sign(connection, run, told | {"at": _text(runtime.clock.now())})


async def _again(runtime: Runtime, run: Run, *, counted: bool = True) -> None:
    async with shared(runtime.engine) as connection:
        await store.requeue(connection, run, counted=counted)


async def _end(runtime: Runtime, run: Run, state: RunState, result: dict[str, Any]) -> None:
    async with shared(runtime.engine) as connection:
        await store.end(connection, run, state, runtime.clock.now(), result)


def _text(at: datetime) -> str:
    return at.isoformat()
