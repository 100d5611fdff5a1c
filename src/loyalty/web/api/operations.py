"""What auditors and operators ask for: the audit log, verification of the books, long work and its progress."""

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.access.roles import Permission
from loyalty.access.service import list_audit_entries
from loyalty.access.types import AuditEntry
from loyalty.base.canonical import canonical
from loyalty.base.database import reading
from loyalty.base.paging import InvalidCursor
from loyalty.jobs.service import get_run, queue_run
from loyalty.jobs.types import Run, RunKind, RunNotFound, RunState
from loyalty.posting.commands import Answer
from loyalty.web.api import wire
from loyalty.web.edge import Call, get, post, reply
from loyalty.web.once import once


class AuditPage(Struct, frozen=True):
    data: tuple[AuditEntry, ...]
    next_cursor: str | None


class RunView(Struct, frozen=True):
    """Long work: where it stands and, once it is over, what came of it."""

    id: UUID
    kind: RunKind
    state: RunState
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    progress: dict[str, Any] | None
    result: dict[str, Any] | None


@get("/v1/audit-log", Permission.AUDIT_READ, answers={200: AuditPage}, refusals=(InvalidCursor,))
async def read_audit_log(call: Call, query: wire.PageQuery) -> Answer:
    """Who did what beside the ledger, newest first: credentials, look-ups, searches."""
    before = call.page_start(query.cursor)
    async with reading(call.runtime.engine, call.program_id) as connection:
        found = await list_audit_entries(
            connection, call.program_id, before=UUID(before[0]) if before else None, limit=query.limit + 1
        )
    return call.page(found, query.limit, lambda entry: [str(entry.id)])


@post("/v1/verification-runs", Permission.VERIFY_RUN, keyed=True, answers={202: RunView})
async def verify_books(call: Call, body: wire.Nothing) -> Answer:
    """Have the whole of the books recomputed: chain, sums, order. Ask the run for the outcome."""

    async def queue(connection: AsyncConnection) -> tuple[Answer, bytes]:
        run = await queue_run(
            connection, call.program_id, RunKind.VERIFICATION, at=call.runtime.clock.now(), ids=call.door.ids
        )
        answer = reply(_view(run), 202, {"location": f"/v1/verification-runs/{run.id}"})
        return answer, answer.body

    return await once(call, canonical(body), queue)


@get("/v1/verification-runs/{run}", Permission.VERIFY_RUN, answers={200: RunView}, refusals=(RunNotFound,))
async def read_verification(call: Call, run: UUID) -> Answer:
    """How far a verification is, and what it found: nothing, or the first broken row of each account."""
    async with reading(call.runtime.engine, call.program_id) as connection:
        found = await get_run(connection, call.program_id, run)
    if found.kind is not RunKind.VERIFICATION:
        raise RunNotFound
    return reply(_view(found))


@get("/v1/runs/{run}", Permission.VERIFY_RUN, answers={200: RunView}, refusals=(RunNotFound,))
async def read_run(call: Call, run: UUID) -> Answer:
    """How far any long work is."""
    async with reading(call.runtime.engine, call.program_id) as connection:
        return reply(_view(await get_run(connection, call.program_id, run)))


def _view(run: Run) -> RunView:
    return RunView(
        run.id,
        run.kind,
        run.state,
        run.created_at,
        run.started_at,
        run.ended_at,
        run.progress,
        run.result,
    )
