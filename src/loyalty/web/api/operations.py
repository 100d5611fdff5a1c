"""What auditors, managers and operators ask for: the audit log, verification, forecasts, long work and its progress."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct, structs
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.access.roles import Permission
from loyalty.access.service import list_audit_entries
from loyalty.access.types import AuditEntry
from loyalty.base.canonical import canonical
from loyalty.base.database import reading
from loyalty.base.paging import InvalidCursor
from loyalty.jobs.service import get_run, list_runs, queue_run, refuse_crowd
from loyalty.jobs.types import Run, RunKind, RunNotFound, RunState, TooManyRuns
from loyalty.posting.commands import Answer
from loyalty.web.api import wire
from loyalty.web.edge import Call, get, post, reply
from loyalty.web.once import once

# Whoever may ask for a run of a kind may read it.
ASKED_BY: Mapping[RunKind, Permission] = {
    RunKind.VERIFICATION: Permission.VERIFY_RUN,
    RunKind.CLOCK: Permission.CLOCK_ADVANCE,
    RunKind.IMPORT: Permission.IMPORT,
    RunKind.TIERS: Permission.RUN_READ,  # the worker does
    RunKind.FORECAST: Permission.FORECAST,
    RunKind.TIER_PLAN: Permission.FORECAST,
    RunKind.REDATE_PLAN: Permission.REDATE,
    RunKind.REDATE: Permission.REDATE,
}

# What a run says of how far it is; the rest of what it notes is for whoever takes it over. Source: docs/jobs.md.
_APART = ("phase", "done", "total")
_REDATES = ("accounts", "figures")
PROGRESS: Mapping[RunKind, tuple[str, ...]] = {
    RunKind.VERIFICATION: _APART,
    RunKind.CLOCK: ("now", "settled", "notices", "days"),
    RunKind.IMPORT: ("line", "rows", "done", "unchanged", "rejected"),
    RunKind.TIERS: ("members", "changed"),
    RunKind.FORECAST: _APART,
    RunKind.TIER_PLAN: _APART,
    RunKind.REDATE_PLAN: _REDATES,
    RunKind.REDATE: _REDATES,
}


class AuditPage(Struct, frozen=True):
    data: tuple[AuditEntry, ...]
    next_cursor: str | None


class RunLine(Struct, frozen=True):
    """Long work, and where it stands."""

    id: UUID
    kind: RunKind
    state: RunState
    import_id: UUID | None  # that it brings in
    plan_id: UUID | None  # of redates, that it does
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    progress: dict[str, Any] | None  # how far it is, and `at`, when it last said so


class RunView(RunLine, frozen=True):
    """Long work: where it stands and, once it is over, what came of it."""

    result: dict[str, Any] | None


class RunPage(Struct, frozen=True):
    data: tuple[RunLine, ...]
    next_cursor: str | None


class RunQuery(Struct, frozen=True):
    """Which runs."""

    kind: RunKind | None = None
    state: RunState | None = None
    limit: wire.Limit = 50
    cursor: wire.CursorText | None = None


@get("/v1/audit-log", Permission.AUDIT_READ, answers={200: AuditPage}, refusals=(InvalidCursor,))
async def read_audit_log(call: Call, query: wire.PageQuery) -> Answer:
    """Who did what beside the ledger, newest first: credentials, look-ups, searches."""
    before = call.page_start(query.cursor)
    async with reading(call.runtime.engine, call.program_id) as connection:
        found = await list_audit_entries(
            connection, call.program_id, before=UUID(before[0]) if before else None, limit=query.limit + 1
        )
    return call.page(found, query.limit, lambda entry: [str(entry.id)])


@post(
    "/v1/verification-runs",
    Permission.VERIFY_RUN,
    keyed=True,
    answers={202: RunView},
    refusals=(TooManyRuns,),
)
async def verify_books(call: Call, body: wire.Nothing) -> Answer:
    """Have the whole of the books recomputed: chain, sums, order. Ask the run for the outcome."""
    return await ask_for(call, RunKind.VERIFICATION, body, at="/v1/verification-runs")


@get("/v1/verification-runs/{run}", Permission.VERIFY_RUN, answers={200: RunView}, refusals=(RunNotFound,))
async def read_verification(call: Call, run: UUID) -> Answer:
    """How far a verification is, and what it found: nothing, or the first broken row of each account."""
    async with reading(call.runtime.engine, call.program_id) as connection:
        found = await get_run(connection, call.program_id, run)
    if found.kind is not RunKind.VERIFICATION:
        raise RunNotFound
    return reply(run_view(found))


@post("/v1/forecasts", Permission.FORECAST, keyed=True, answers={202: RunView}, refusals=(TooManyRuns,))
async def forecast_year(call: Call, body: wire.Nothing) -> Answer:
    """Have worked out what happens by itself within a year: points that activate and expire, tiers that move.

    Ask the run for the outcome, week by week.
    """
    return await ask_for(call, RunKind.FORECAST, body)


@get("/v1/runs", Permission.RUN_READ, answers={200: RunPage}, refusals=(InvalidCursor,))
async def list_long_work(call: Call, query: RunQuery) -> Answer:
    """Long work of the kinds that this role may ask for, newest first. What came of each is told one by one."""
    filters = (query.kind, query.state)
    kinds = [
        kind
        for kind, asked_by in ASKED_BY.items()
        if query.kind in (None, kind) and call.principal.may(asked_by)
    ]
    after = call.page_start(query.cursor, *filters)
    before = None if after is None else (datetime.fromisoformat(after[0]), UUID(after[1]))
    async with reading(call.runtime.engine, call.program_id) as connection:
        found = await list_runs(
            connection,
            call.program_id,
            kinds=kinds,
            state=query.state,
            before=before,
            limit=query.limit + 1,
        )
    return call.page([_line(one) for one in found], query.limit, _where, *filters)


@get("/v1/runs/{run}", Permission.RUN_READ, answers={200: RunView}, refusals=(RunNotFound,))
async def read_run(call: Call, run: UUID) -> Answer:
    """How far any long work is, and what came of it; of a kind that this role may not ask for there is none."""
    async with reading(call.runtime.engine, call.program_id) as connection:
        found = await get_run(connection, call.program_id, run)
    if not call.principal.may(ASKED_BY[found.kind]):
        raise RunNotFound
    return reply(run_view(found))


def _where(run: RunLine) -> list[Any]:
    return [run.created_at.isoformat(), str(run.id)]


async def ask_for(
    call: Call, kind: RunKind, body: Struct, given: dict[str, Any] | None = None, *, at: str = "/v1/runs"
) -> Answer:
    """Queue a run, once; `at` is where it is asked after. Raises: TooManyRuns."""

    async def queue(connection: AsyncConnection) -> tuple[Answer, bytes]:
        await refuse_crowd(connection, call.program_id, kind)
        run = await queue_run(
            connection, call.program_id, kind, at=call.runtime.clock.now(), ids=call.door.ids, given=given
        )
        answer = reply(run_view(run), 202, {"location": f"{at}/{run.id}"})
        return answer, answer.body

    return await once(call, canonical(body), queue)


def run_view(run: Run) -> RunView:
    """A run as callers see it."""
    return RunView(**structs.asdict(_line(run)), result=run.result)


def _line(run: Run) -> RunLine:
    shown = ("at", *PROGRESS[run.kind])
    return RunLine(
        id=run.id,
        kind=run.kind,
        state=run.state,
        import_id=_id(run.input.get("import_id")),
        plan_id=_id(run.input.get("plan")),
        created_at=run.created_at,
        started_at=run.started_at,
        ended_at=run.ended_at,
        progress=run.progress and {what: run.progress[what] for what in shown if what in run.progress},
    )


def _id(told: str | None) -> UUID | None:
    return None if told is None else UUID(told)
