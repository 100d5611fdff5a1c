"""Does one run: claims it in the database, shows signs of life while it works, notes what came of it.

A worker that dies leaves a run without signs of life; another one takes it over. A run is therefore work that is
safe twice. After TRIES_MAX tries in which it came no further it has failed.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
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


class TakenOver(Exception):
    """Another worker has the run by now: nothing that we say of it counts."""


async def waiting_runs(runtime: Runtime, *, of_each: int = 100) -> list[Run]:
    """The runs that nobody works on, so many of each program at most; first those that come first in theirs."""
    async with shared(runtime.engine) as connection:
        return await store.waiting(connection, runtime.clock.now() - SILENCE, of_each, limit=100)


async def execute(runtime: Runtime, program_id: UUID, run_id: UUID, works: Mapping[RunKind, Work]) -> bool:
    """Do the run unless somebody else does it or it is over. Returns whether we have brought it to its end."""
    now = runtime.clock.now()
    async with shared(runtime.engine) as connection:
        run = await store.claim(connection, program_id, run_id, now, now - SILENCE)
    if run is None:
        return False
    with log_context(run_id=str(run_id), program_id=str(program_id)):
        if run.tries > TRIES_MAX:
            return await _end(runtime, run, RunState.FAILED, {"code": "gave_up", "tries": TRIES_MAX})
        told = dict(run.progress or {})  # an earlier try's, from which the work may go on
        try:
            result = await _alive(runtime, run, works[run.kind], told)
        except asyncio.CancelledError:
            # The worker stops, which is no try; the next one need not wait for our silence.
            await asyncio.shield(_again(runtime, run, counted=False))
            raise
        except TakenOver:
            log.warning("run_taken_over", kind=run.kind, tries=run.tries)
            return False
        except Busy as error:
            log.warning("run_interrupted", kind=run.kind, tries=run.tries, code=error.code)
            return await _again(runtime, run, counted=False)
        except LoyaltyError as error:
            return await _end(runtime, run, RunState.FAILED, {"code": error.code, "detail": error.detail})
        except Exception:
            log.exception("run_failed", kind=run.kind, tries=run.tries)
            return await _again(runtime, run)
        return await _end(runtime, run, RunState.SUCCEEDED, result, told)


async def _alive(runtime: Runtime, run: Run, work: Work, told: dict[str, Any]) -> dict[str, Any]:
    """The result of the work, which says in `told` how far it is; a sign of life goes out every SIGN_S.

    Raises: TakenOver.
    """
    task = asyncio.ensure_future(work(runtime, run, told.update))
    try:
        while not (await asyncio.wait({task}, timeout=SIGN_S))[0]:
            with contextlib.suppress(Busy):  # the next sign may come through, or another worker takes over
                if not await _sign(runtime, run, told):
                    raise TakenOver
    finally:
        task.cancel()
        await asyncio.wait({task})
    return task.result()


async def keep(runtime: Runtime, run: Run, report: Report, told: dict[str, Any]) -> None:
    """Tell how far a run is and note it at once: whoever takes it over goes on there, with all its tries again.

    Told once more what it said when it was claimed, it has come no further. Raises: TakenOver.
    """
    report(told)
    before = run.progress or {}
    further = any(before.get(what) != value for what, value in told.items())
    if not await _sign(runtime, run, told, further=further):
        raise TakenOver


async def _sign(runtime: Runtime, run: Run, told: dict[str, Any], *, further: bool = False) -> bool:
    async with shared(runtime.engine) as connection:
        if further:
            await store.came_further(connection, run)
        return await store.sign(connection, run, _signed(runtime, told))


async def _again(runtime: Runtime, run: Run, *, counted: bool = True) -> bool:
    async with shared(runtime.engine) as connection:
        await store.requeue(connection, run, counted=counted)
    return False


async def _end(
    runtime: Runtime, run: Run, state: RunState, result: dict[str, Any], told: dict[str, Any] | None = None
) -> bool:
    progress = None if told is None else _signed(runtime, told)
    async with shared(runtime.engine) as connection:
        await store.end(connection, run, state, runtime.clock.now(), result, progress)
    return True


def _signed(runtime: Runtime, told: dict[str, Any]) -> dict[str, Any]:
    return told | {"at": msgspec.to_builtins(runtime.clock.now())}
