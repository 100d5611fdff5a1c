"""What others ask of the jobs: put a run in the queue, look at one. A worker finds it by itself within seconds."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.base.ids import Ids
from loyalty.jobs import store
from loyalty.jobs.types import Run, RunKind, RunNotFound, RunState


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


async def get_run(connection: AsyncConnection, program_id: UUID, run_id: UUID) -> Run:
    """Raises: RunNotFound, also for another program's run."""
    run = await store.run(connection, program_id, run_id)
    if run is None:
        raise RunNotFound
    return run
