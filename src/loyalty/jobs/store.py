"""The SQL of runs, and of what the sweeps look for.

`runs` is shared by all programs, so that a worker finds work without knowing where; what answers to a caller
names its program in every statement.
"""

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, and_, cast, func, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.base.ids import NIL
from loyalty.base.rows import columns, struct, values
from loyalty.jobs.tables import runs
from loyalty.jobs.types import Run, RunState

_LAST_SIGN = func.coalesce(cast(runs.c.progress.op("->>")("at"), DateTime(timezone=True)), runs.c.started_at)


async def add(connection: AsyncConnection, run: Run) -> None:
    await connection.execute(insert(runs), values(run))


async def run(connection: AsyncConnection, program_id: UUID, run_id: UUID) -> Run | None:
    query = select(*columns(runs, Run)).where(runs.c.program_id == program_id, runs.c.id == run_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else struct(row, Run)


async def waiting(connection: AsyncConnection, silent_since: datetime, limit: int) -> list[Run]:
    """Runs that nobody works on, oldest first: queued, or running without a sign of life since `silent_since`."""
    query = (
        select(*columns(runs, Run)).where(_abandoned(silent_since)).order_by(runs.c.created_at).limit(limit)
    )
    return [struct(row, Run) for row in await connection.execute(query)]


async def claim(
    connection: AsyncConnection, program_id: UUID, run_id: UUID, now: datetime, silent_since: datetime
) -> Run | None:
    """The run, now running and ours; None when somebody else has it or it is over."""
    statement = (
        update(runs)
        .where(runs.c.program_id == program_id, runs.c.id == run_id, _abandoned(silent_since))
        .values(
            state=RunState.RUNNING, tries=runs.c.tries + 1, started_at=now, progress={"at": now.isoformat()}
        )
        .returning(*columns(runs, Run))
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else struct(row, Run)


async def sign(connection: AsyncConnection, run: Run, progress: dict[str, Any]) -> bool:
    """Note a sign of life; false when the run has been given to somebody else meanwhile."""
    statement = update(runs).where(_ours(run)).values(progress=progress)
    return (await connection.execute(statement)).rowcount == 1


async def requeue(connection: AsyncConnection, run: Run) -> None:
    """Give the run back, unless somebody else has it by now."""
    await connection.execute(update(runs).where(_ours(run)).values(state=RunState.QUEUED))


async def end(
    connection: AsyncConnection, run: Run, state: RunState, now: datetime, result: dict[str, Any]
) -> None:
    """Note the outcome, unless the run has been given to somebody else meanwhile."""
    await connection.execute(update(runs).where(_ours(run)).values(state=state, ended_at=now, result=result))


async def last_closed(connection: AsyncConnection, program_id: UUID) -> date | None:
    """The last program day that is closed in the program's own lane."""
    query = text(
        "SELECT max(closes_on) FROM blocks WHERE program_id = :program AND cell = 0 AND closes_on IS NOT NULL"
    )
    return (await connection.execute(query, {"program": program_id})).scalar_one()


async def first_recorded(connection: AsyncConnection, program_id: UUID) -> datetime | None:
    """The instant of the program's first block; None before its first configuration."""
    query = text("SELECT recorded_at FROM blocks WHERE program_id = :program AND cell = 0 AND number = 1")
    return (await connection.execute(query, {"program": program_id})).scalar_one_or_none()


async def due_accounts(
    connection: AsyncConnection,
    program_id: UUID,
    cell: int,
    now: datetime,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[tuple[datetime, UUID, UUID]]:
    """Accounts of a lane on which something is due: since when, id and owner; the longest due first."""
    due_at, id = after or (datetime(1, 1, 1, tzinfo=UTC), NIL)
    query = text(
        "SELECT next_due_at, id, owner_id FROM accounts WHERE program_id = :program AND cell = :cell"
        " AND next_due_at <= :now AND (next_due_at, id) > (:due_at, :id) ORDER BY next_due_at, id LIMIT :limit"
    )
    given = {
        "program": program_id, "cell": cell, "now": now, "due_at": due_at, "id": id, "limit": limit
    }  # fmt: skip
    return [tuple(row) for row in await connection.execute(query, given)]


async def purge_records(
    connection: AsyncConnection,
    program_id: UUID,
    before: datetime,
    after: tuple[UUID, str] | None,
    chunk: int,
) -> tuple[int, tuple[UUID, str] | None]:
    """Delete what is older than `before` among the next `chunk` idempotency records after the key `after`.

    Returns how many went, and the last key looked at; None at the end.
    """
    scope, key = after or (NIL, "")
    query = text(
        "WITH looked_at AS MATERIALIZED ("
        " SELECT scope, key, created_at FROM idempotency_records"
        " WHERE program_id = :program AND (scope, key) > (:scope, :key) ORDER BY scope, key LIMIT :chunk),"
        " gone AS (DELETE FROM idempotency_records r USING looked_at l WHERE r.program_id = :program"
        " AND r.scope = l.scope AND r.key = l.key AND r.created_at < :before AND l.created_at < :before RETURNING 1)"
        " SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM looked_at),"
        " (SELECT scope FROM looked_at ORDER BY scope DESC, key DESC LIMIT 1),"
        " (SELECT key FROM looked_at ORDER BY scope DESC, key DESC LIMIT 1)"
    )
    given = {"program": program_id, "scope": scope, "key": key, "chunk": chunk, "before": before}
    gone, seen, last_scope, last_key = (await connection.execute(query, given)).one()
    return gone, (last_scope, last_key) if seen == chunk else None


def _abandoned(silent_since: datetime) -> Any:
    return or_(
        runs.c.state == RunState.QUEUED, and_(runs.c.state == RunState.RUNNING, silent_since > _LAST_SIGN)
    )


def _ours(run: Run) -> Any:
    """The row while it is still in the try that `run` was claimed with."""
    return and_(
        runs.c.program_id == run.program_id,
        runs.c.id == run.id,
        runs.c.state == RunState.RUNNING,
        runs.c.tries == run.tries,
    )
