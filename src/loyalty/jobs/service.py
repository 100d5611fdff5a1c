"""What others ask of the jobs: put a run in the queue, look at one. A worker finds it by itself within seconds."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from loyalty.base.database import transaction
from loyalty.base.ids import Ids
from loyalty.jobs import store
from loyalty.jobs.types import Run, RunKind, RunNotFound, RunState, TooManyRuns

WAITING_MAX = 10  # runs of a kind that were asked for over the API, in one program


async def refuse_crowd(connection: AsyncConnection, program_id: UUID, kind: RunKind) -> None:
    """Take no more long work of a kind than a worker comes to in a while; some that ask at once may all find room.

    Raises: TooManyRuns.
    """
    if await store.queued(connection, program_id, kind) >= WAITING_MAX:
        raise TooManyRuns(kind=kind, waiting_max=WAITING_MAX)


async def queue_run(
    connection: AsyncConnection,
    program_id: UUID,
    kind: RunKind,
    *,
    at: datetime,
    ids: Ids,
    given: dict[str, Any] | None = None,
) -> Run:
    """A new run, waiting for a worker."""
    run = Run(program_id, ids(), kind, RunState.QUEUED, 0, at, None, None, given or {}, None, None)
    await store.add(connection, run)
    return run


async def note_done(
    connection: AsyncConnection,
    program_id: UUID,
    kind: RunKind,
    *,
    began_at: datetime,
    ended_at: datetime,
    ids: Ids,
    result: dict[str, Any],
) -> None:
    """A run that is over already: work that was done at the desk, for whoever looks at runs."""
    run = Run(program_id, ids(), kind, RunState.SUCCEEDED, 1, began_at, began_at, ended_at, {}, None, result)
    await store.add(connection, run)


async def queue_move(engine: AsyncEngine, program_id: UUID, run_id: UUID, at: datetime) -> None:
    """The run that moves a sandbox program's clock, under the id that was told; once however often it is asked for."""
    run = Run(program_id, run_id, RunKind.CLOCK, RunState.QUEUED, 0, at, None, None, {}, None, None)
    async with transaction(engine, program_id) as connection:
        await store.add(connection, run)


async def list_runs(
    connection: AsyncConnection,
    program_id: UUID,
    *,
    kinds: Sequence[RunKind],
    state: RunState | None = None,
    before: tuple[datetime, UUID] | None = None,
    limit: int,
) -> list[Run]:
    """A program's runs, newest first, as lists show them; behind `before` (created, id)."""
    return await store.page(connection, program_id, kinds=kinds, state=state, before=before, limit=limit)


async def doing(connection: AsyncConnection, plan: Run) -> UUID | None:
    """The last run that a plan was confirmed with; None before, and for a run that is no plan."""
    return await store.doing(connection, plan)


async def get_runs(connection: AsyncConnection, program_id: UUID, run_ids: Sequence[UUID]) -> dict[UUID, Run]:
    """Those of a program's runs that there are, by id."""
    return {run.id: run for run in await store.some_runs(connection, program_id, run_ids)}


async def get_run(connection: AsyncConnection, program_id: UUID, run_id: UUID) -> Run:
    """Raises: RunNotFound, also for another program's run."""
    found = await get_runs(connection, program_id, [run_id])
    if run_id not in found:
        raise RunNotFound
    return found[run_id]
