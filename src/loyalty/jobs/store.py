"""The SQL of runs, and of what the sweeps look for.

`runs` is shared by all programs, so that a worker finds work without knowing where; what answers to a caller
names its program in every statement.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, and_, case, cast, func, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.base.ids import NIL
from loyalty.base.rows import columns, struct, values
from loyalty.base.schema import DOCUMENT
from loyalty.jobs.tables import job_places, runs
from loyalty.jobs.types import Run, RunKind, RunState, Verified

# What lists need of a run: an input may be a whole configuration, a result a year's figures.
_IN_LISTS = {
    "input": case(
        (runs.c.kind.in_([RunKind.IMPORT, RunKind.REDATE]), runs.c.input), else_=cast({}, DOCUMENT)
    ),
    "result": case((runs.c.state == RunState.FAILED, runs.c.result)),
}
_LAST_SIGN = func.greatest(cast(runs.c.progress.op("->>")("at"), DateTime(timezone=True)), runs.c.started_at)


async def add(connection: AsyncConnection, run: Run) -> None:
    """Write a new run; one that is there already stays as it is."""
    await connection.execute(upsert(runs).on_conflict_do_nothing(), values(run))


async def queued(connection: AsyncConnection, program_id: UUID, kind: RunKind) -> int:
    """How many runs of a kind wait for a worker."""
    query = select(func.count()).where(
        runs.c.program_id == program_id, runs.c.kind == kind, runs.c.state == RunState.QUEUED
    )
    return (await connection.execute(query)).scalar_one()


async def some_runs(connection: AsyncConnection, program_id: UUID, run_ids: Sequence[UUID]) -> list[Run]:
    query = select(*columns(runs, Run)).where(runs.c.program_id == program_id, runs.c.id.in_(run_ids))
    return [struct(row, Run) for row in await connection.execute(query)]


async def of_plan(connection: AsyncConnection, plan: Run) -> Run | None:
    """The run that does what a plan found, unless it failed; who asks next waits for the end of our transaction."""
    one = (runs.c.program_id == plan.program_id) & (runs.c.id == plan.id)
    await connection.execute(select(runs.c.id).where(one).with_for_update())
    query = select(*columns(runs, Run)).where(_of_plan(plan), runs.c.state != RunState.FAILED)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else struct(row, Run)


async def doing(connection: AsyncConnection, plan: Run) -> UUID | None:
    """The last run that did, or does, what a plan found; None: it was not confirmed."""
    query = select(runs.c.id).where(_of_plan(plan)).order_by(runs.c.created_at.desc(), runs.c.id.desc())
    return (await connection.execute(query.limit(1))).scalar_one_or_none()


async def waiting(connection: AsyncConnection, silent_since: datetime, of_each: int, limit: int) -> list[Run]:
    """Runs that nobody works on: queued, or running without a sign of life since `silent_since`.

    So many of each program at most, by their place in it: the move of its clock, for which all others wait, then the
    oldest. First the first of all programs.
    """
    in_order = (runs.c.kind != RunKind.CLOCK, runs.c.created_at)
    place = func.row_number().over(partition_by=runs.c.program_id, order_by=in_order)
    placed = select(*columns(runs, Run), place.label("place")).where(_abandoned(silent_since)).subquery()
    query = (
        select(*columns(placed, Run))
        .where(placed.c.place <= of_each)
        .order_by(placed.c.place, placed.c.created_at)
        .limit(limit)
    )
    return [struct(row, Run) for row in await connection.execute(query)]


async def claim(
    connection: AsyncConnection, program_id: UUID, run_id: UUID, now: datetime, silent_since: datetime
) -> Run | None:
    """The run, now running and ours; None when somebody else has it or it is over. What it told before stays."""
    statement = (
        update(runs)
        .where(runs.c.program_id == program_id, runs.c.id == run_id, _abandoned(silent_since))
        .values(state=RunState.RUNNING, tries=runs.c.tries + 1, started_at=now)
        .returning(*columns(runs, Run))
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else struct(row, Run)


async def sign(connection: AsyncConnection, run: Run, progress: dict[str, Any]) -> bool:
    """Note a sign of life; false when the run has been given to somebody else meanwhile."""
    statement = update(runs).where(ours(run)).values(progress=progress)
    return (await connection.execute(statement)).rowcount == 1


async def still_ours(connection: AsyncConnection, run: Run) -> bool:
    """Whether the run has not been given to somebody else, which it cannot be until the transaction ends."""
    query = select(runs.c.id).where(ours(run)).with_for_update(read=True)
    return (await connection.execute(query)).one_or_none() is not None


async def came_further(connection: AsyncConnection, run: Run) -> None:
    """Let the tries of a run begin anew: it has done what need not be done again."""
    await connection.execute(update(runs).where(ours(run), runs.c.tries > 1).values(tries=1))


async def requeue(connection: AsyncConnection, run: Run, *, counted: bool) -> None:
    """Give the run back, unless somebody else has it by now; a try that is not `counted` was none."""
    tries = runs.c.tries if counted else runs.c.tries - 1
    await connection.execute(update(runs).where(ours(run)).values(state=RunState.QUEUED, tries=tries))


async def end(
    connection: AsyncConnection,
    run: Run,
    state: RunState,
    now: datetime,
    result: dict[str, Any],
    progress: dict[str, Any] | None = None,
) -> None:
    """Note the outcome, unless the run has been given to somebody else meanwhile; without `progress`, that stays."""
    outcome: dict[str, Any] = {"state": state, "ended_at": now, "result": result}
    if progress is not None:
        outcome["progress"] = progress
    await connection.execute(update(runs).where(ours(run)).values(outcome))


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


async def due_standings(
    connection: AsyncConnection,
    program_id: UUID,
    cell: int,
    tier_sets: Sequence[str],
    now: datetime,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[tuple[datetime, UUID]]:
    """Members of a lane whose tiers are to be reviewed: since when, and who; the longest due first."""
    due_at, id = after or (datetime(1, 1, 1, tzinfo=UTC), NIL)
    query = text(
        "SELECT next_review_at, member_id FROM standings WHERE program_id = :program AND cell = :cell"
        " AND next_review_at <= :now AND (next_review_at, member_id) > (:due_at, :id)"
        " AND tier_set = ANY(CAST(:tier_sets AS text[])) ORDER BY next_review_at, member_id LIMIT :limit"
    )
    given = {
        "program": program_id, "cell": cell, "now": now, "due_at": due_at, "id": id, "limit": limit,
        "tier_sets": list(tier_sets),
    }  # fmt: skip
    return [tuple(row) for row in await connection.execute(query, given)]


async def next_due(
    connection: AsyncConnection, program_id: UUID, cells: int, tier_sets: Sequence[str], after: datetime
) -> tuple[datetime | None, datetime | None]:
    """The first instants after `after` at which something is due on an account, and on a ladder; None: never."""
    query = text(
        "SELECT min(a.at), min(s.at) FROM generate_series(0, :last) c(cell)"
        " LEFT JOIN LATERAL (SELECT next_due_at AS at FROM accounts WHERE program_id = :program AND cell = c.cell"
        "  AND next_due_at > :after ORDER BY next_due_at LIMIT 1) a ON true"
        " LEFT JOIN LATERAL (SELECT next_review_at AS at FROM standings WHERE program_id = :program AND cell = c.cell"
        "  AND next_review_at > :after AND tier_set = ANY(CAST(:tier_sets AS text[]))"
        "  ORDER BY next_review_at LIMIT 1) s ON true"
    )
    given = {"program": program_id, "last": cells - 1, "after": after, "tier_sets": list(tier_sets)}
    row = (await connection.execute(query, given)).one()
    return row[0], row[1]


async def unplaced(
    connection: AsyncConnection, program_id: UUID, cells: int, ladders: Mapping[str, Sequence[int]]
) -> bool:
    """Whether there are members who were not yet found on a ladder in force, known by its numbers."""
    query = text(
        "SELECT EXISTS (SELECT FROM members m, unnest(CAST(:tier_sets AS text[])) u(tier_set)"
        " WHERE m.program_id = :program AND m.cell = ANY(CAST(:cells AS integer[])) AND m.status <> 'erased'"
        " AND NOT EXISTS (SELECT FROM standings s WHERE s.program_id = :program AND s.cell = m.cell"
        "  AND s.member_id = m.id AND s.tier_set = u.tier_set AND (s.tier_set, s.judged_by) IN ("
        "   SELECT * FROM unnest(CAST(:known AS text[]), CAST(:numbers AS integer[])))))"
    )
    tier_sets, numbers = _numbered(ladders)
    given = {
        "program": program_id, "cells": list(range(cells)), "tier_sets": list(ladders),
        "known": tier_sets, "numbers": numbers,
    }  # fmt: skip
    return (await connection.execute(query, given)).scalar_one()


async def members_of(
    connection: AsyncConnection, program_id: UUID, cell: int, after: UUID, limit: int
) -> list[UUID]:
    """Members of a lane who are not erased, in the order of their ids."""
    query = text(
        "SELECT id FROM members WHERE program_id = :program AND cell = :cell AND id > :after AND status <> 'erased'"
        " ORDER BY id LIMIT :limit"
    )
    given = {"program": program_id, "cell": cell, "after": after, "limit": limit}
    return list((await connection.execute(query, given)).scalars())


async def members_to_notify(
    connection: AsyncConnection,
    program_id: UUID,
    cell: int,
    now: datetime,
    ends: Sequence[tuple[datetime, datetime]],
    ladders: Mapping[str, Sequence[int]],
    until: datetime,
    after: UUID,
    chunk: int,
) -> tuple[list[UUID], UUID | None]:
    """Of the next `chunk` members of a lane, those of whom there may be something to tell; the last looked at.

    Points that expire within one of `ends` (their beginnings left out), or anything due on the account, which may
    give points another end; and of each ladder a standing that is to be reviewed before `until`, or that was not yet
    found on the ladder in force, by one of its numbers. The last is None when there are no more members.
    """
    # Nothing ends on an account before something is due on it, so most lots are not looked at. Which of them activity
    # puts off is `Lot.sliding` once more.
    # Accounts and lots are asked for in the order of an index, and sorting is made dear: a database that has not
    # counted its rows yet takes another index and reads the whole lane for each member.
    await connection.execute(text("SET LOCAL enable_sort = off"))
    query = text(
        "WITH looked_at AS MATERIALIZED ("
        " SELECT id FROM members WHERE program_id = :program AND cell = :cell AND id > :after AND status <> 'erased'"
        " ORDER BY id LIMIT :chunk)"
        " SELECT (SELECT count(*) FROM looked_at), (SELECT id FROM looked_at ORDER BY id DESC LIMIT 1), ARRAY("
        "  SELECT id FROM looked_at m WHERE (:points AND EXISTS ("
        "   SELECT FROM (SELECT id, next_due_at, idles_at FROM accounts"
        "    WHERE program_id = :program AND cell = :cell AND owner_id = m.id ORDER BY points_currency OFFSET 0) a"
        "   WHERE a.next_due_at <= :latest AND (a.next_due_at <= :now OR EXISTS ("
        "    SELECT FROM (SELECT"
        "     CASE WHEN slides IS NULL OR expired > 0 OR was_expired"
        "       OR expires_at IS DISTINCT FROM issued_expires_at THEN expires_at"
        "      ELSE greatest(expires_at, a.idles_at) END AS ends"
        "     FROM lots WHERE program_id = :program AND cell = :cell AND account_id = a.id AND is_open"
        "     ORDER BY vintage_at OFFSET 0) l,"
        "    unnest(CAST(:after_at AS timestamptz[]), CAST(:to_at AS timestamptz[])) u(after, upto)"
        "    WHERE l.ends > u.after AND l.ends <= u.upto))))"
        "  OR (SELECT count(*) FROM (SELECT tier_set, judged_by, next_review_at FROM standings"
        "    WHERE program_id = :program AND cell = :cell AND member_id = m.id OFFSET 0) s,"
        "   unnest(CAST(:tier_sets AS text[]), CAST(:numbers AS integer[])) u(tier_set, number)"
        "   WHERE s.tier_set = u.tier_set AND s.judged_by = u.number"
        "   AND (s.next_review_at >= :until) IS NOT FALSE) < :ladders"
        "  ORDER BY id)"
    )
    tier_sets, numbers = _numbered(ladders)
    given = {
        "program": program_id, "cell": cell, "now": now, "until": until, "after": after, "chunk": chunk,
        "latest": max((upto for _, upto in ends), default=now), "points": bool(ends),
        "after_at": [one for one, _ in ends], "to_at": [one for _, one in ends],
        "tier_sets": tier_sets, "numbers": numbers, "ladders": len(ladders),
    }  # fmt: skip
    seen, last, found = (await connection.execute(query, given)).one()
    return found, last if seen == chunk else None


async def place(
    connection: AsyncConnection, program_id: UUID, cell: int, work: str
) -> tuple[date | None, UUID | None] | None:
    """How far nightly work has come in a lane: the day, and the last row that is done of it; None: it never began."""
    c = job_places.c
    query = select(c.day, c.after).where(c.program_id == program_id, c.cell == cell, c.work == work)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else (row.day, row.after)


async def put_place(
    connection: AsyncConnection, program_id: UUID, cell: int, work: str, day: date | None, after: UUID | None
) -> None:
    """Note how far nightly work has come."""
    row = {"program_id": program_id, "cell": cell, "work": work, "day": day, "after": after}
    statement = upsert(job_places).values(row)
    moved = {"day": day, "after": after}
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["program_id", "cell", "work"], set_=moved)
    )


async def asked_for(
    connection: AsyncConnection, program_id: UUID, kind: RunKind, name: str, value: int | str
) -> Run | None:
    """The newest run of this kind that was given this; None: there is none."""
    query = select(*columns(runs, Run)).where(
        runs.c.program_id == program_id,
        runs.c.kind == kind,
        runs.c.input[name].as_string() == str(value),
    )
    query = query.order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(1)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else struct(row, Run)


async def take_up(connection: AsyncConnection, program_id: UUID, run_id: UUID) -> None:
    """Let a run that has failed wait for a worker once more, with all its tries; what it told stays."""
    one = (runs.c.program_id == program_id) & (runs.c.id == run_id) & (runs.c.state == RunState.FAILED)
    anew = {"state": RunState.QUEUED, "tries": 0, "ended_at": None, "result": None}
    await connection.execute(update(runs).where(one).values(anew))


async def unasked_move(connection: AsyncConnection, program_id: UUID) -> tuple[UUID, bool] | None:
    """The run of a clock that is being moved, when none is at work, and whether it has failed; None: one is."""
    query = text(
        "SELECT moved_by, EXISTS (SELECT FROM runs r WHERE r.program_id = c.program_id AND r.id = c.moved_by)"
        " FROM sandbox_clocks c WHERE program_id = :program AND moving_to IS NOT NULL"
        " AND NOT EXISTS (SELECT FROM runs r WHERE r.program_id = c.program_id AND r.kind = 'clock'"
        "  AND r.state IN ('queued', 'running'))"
    )
    row = (await connection.execute(query, {"program": program_id})).one_or_none()
    return None if row is None else (row[0], row[1])


async def page(
    connection: AsyncConnection,
    program_id: UUID,
    *,
    kinds: Sequence[RunKind],
    state: RunState | None,
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Run]:
    """Runs of a program, newest first, as lists show them."""
    shown = [_IN_LISTS.get(column.name, column).label(column.name) for column in columns(runs, Run)]
    query = select(*shown).where(runs.c.program_id == program_id, runs.c.kind.in_(kinds))
    if state is not None:
        query = query.where(runs.c.state == state)
    if before is not None:
        query = query.where(tuple_(runs.c.created_at, runs.c.id) < before)
    query = query.order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(limit)
    return [struct(row, Run) for row in await connection.execute(query)]


async def last_verified(connection: AsyncConnection, program_id: UUID) -> Verified | None:
    """The newest verification that came to its end; None: there is none."""
    told = runs.c.result
    query = select(
        runs.c.started_at,
        runs.c.ended_at,
        told["figures"]["entries"].as_integer().label("entries"),
        told["broken"].as_integer().label("broken"),
    ).where(
        runs.c.program_id == program_id,
        runs.c.kind == RunKind.VERIFICATION,
        runs.c.state == RunState.SUCCEEDED,
    )
    row = (
        await connection.execute(query.order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(1))
    ).one_or_none()
    return None if row is None else struct(row, Verified)


async def due_counts(
    connection: AsyncConnection, program_id: UUID, cells: int, tier_sets: Sequence[str], now: datetime
) -> list[tuple[int, datetime | None]]:
    """Of accounts, then of standings: how many have something due at `now`, and since when."""
    due = "SELECT count(*), min({at}) FROM {table} WHERE program_id = :program AND cell = ANY(:cells) AND {at} <= :now"
    accounts = due.format(table="accounts", at="next_due_at")
    standings = due.format(table="standings", at="next_review_at") + " AND tier_set = ANY(:tier_sets)"
    given = {"program": program_id, "cells": list(range(cells)), "now": now}
    found = [(await connection.execute(text(accounts), given)).one()]
    found.append((await connection.execute(text(standings), given | {"tier_sets": list(tier_sets)})).one())
    return [(count, since) for count, since in found]


async def closed_at(connection: AsyncConnection, program_id: UUID, on: date) -> datetime:
    """When a program day was closed."""
    query = text(
        "SELECT recorded_at FROM blocks WHERE program_id = :program AND cell = 0 AND closes_on = :day"
    )
    return (await connection.execute(query, {"program": program_id, "day": on})).scalar_one()


async def run_counts(connection: AsyncConnection) -> dict[tuple[str, str], int]:
    """How many runs of all programs there are, by kind and state."""
    query = select(runs.c.kind, runs.c.state, func.count()).group_by(runs.c.kind, runs.c.state)
    return {(kind, state): count for kind, state, count in await connection.execute(query)}


async def purge_runs(connection: AsyncConnection, program_id: UUID, before: datetime, chunk: int) -> int:
    """Delete runs that ended before an instant, `chunk` at most, the oldest first; returns how many went.

    Those stay that say what need not be done again: the last of each kind and state, and the last of an import.
    """
    query = text(
        "DELETE FROM runs WHERE program_id = :program AND id IN ("
        " SELECT id FROM runs r WHERE program_id = :program AND created_at < :before AND ended_at < :before"
        " AND EXISTS (SELECT FROM runs n WHERE n.program_id = :program AND n.kind = r.kind AND n.state = r.state"
        "  AND (n.created_at, n.id) > (r.created_at, r.id))"
        " AND NOT EXISTS (SELECT FROM imports i WHERE i.program_id = :program AND i.run_id = r.id)"
        " ORDER BY created_at, id LIMIT :chunk)"
    )
    given = {"program": program_id, "before": before, "chunk": chunk}
    return (await connection.execute(query, given)).rowcount


async def purge_notices(
    connection: AsyncConnection, program_id: UUID, before: date, after: tuple[int, UUID] | None, chunk: int
) -> tuple[int, tuple[int, UUID] | None]:
    """Delete what was told of days before this one, among the next `chunk` notices behind a lane and member.

    And among the others of the last member, who has few. Returns how many went, and the lane and member of the last
    looked at; None at the end.
    """
    cell, member = after or (0, NIL)
    given = {"program": program_id, "cell": cell, "member": member, "chunk": chunk, "before": before}
    query = text(
        "SELECT cell, member_id FROM notices WHERE program_id = :program AND (cell, member_id) > (:cell, :member)"
        " ORDER BY cell, member_id OFFSET :chunk - 1 LIMIT 1"
    )
    row = (await connection.execute(query, given)).one_or_none()
    last = None if row is None else (row.cell, row.member_id)
    delete = "DELETE FROM notices WHERE program_id = :program AND (cell, member_id) > (:cell, :member)"
    if last is not None:
        delete += " AND (cell, member_id) <= (:last_cell, :last_member)"
        given |= {"last_cell": last[0], "last_member": last[1]}
    delete += " AND day < :before"
    return (await connection.execute(text(delete), given)).rowcount, last


async def purge_lines(
    connection: AsyncConnection, program_id: UUID, cell: int, days: int, after: UUID, chunk: int
) -> tuple[int, UUID | None]:
    """Remove the lines of the next `chunk` activities of a lane, of those recorded more than so many days ago.

    By the database's own clock or the sandbox's, as its guard demands; ids are in the order of recording. Returns how
    many went, and the last that was old enough; None when none was.
    """
    query = text(
        "WITH next AS MATERIALIZED ("
        " SELECT id, recorded_at FROM activities WHERE program_id = :program AND cell = :cell AND id > :after"
        " ORDER BY id LIMIT :chunk), old AS MATERIALIZED ("
        " SELECT id FROM next WHERE recorded_at <"
        " coalesce((SELECT now_at FROM sandbox_clocks WHERE program_id = :program), now())"
        " - make_interval(days => :days)),"
        " gone AS (UPDATE activities a SET content = NULL FROM old WHERE a.program_id = :program AND a.cell = :cell"
        " AND a.id = old.id AND a.content IS NOT NULL RETURNING 1)"
        " SELECT (SELECT count(*) FROM gone), (SELECT id FROM old ORDER BY id DESC LIMIT 1)"
    )
    given = {"program": program_id, "cell": cell, "days": days, "after": after, "chunk": chunk}
    gone, last = (await connection.execute(query, given)).one()
    return gone, last


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


def _numbered(ladders: Mapping[str, Sequence[int]]) -> tuple[list[str], list[int]]:
    """Each ladder with each of its numbers, as two columns."""
    known = [(tier_set, number) for tier_set, numbers in ladders.items() for number in numbers]
    return [tier_set for tier_set, _ in known], [number for _, number in known]


def _of_plan(plan: Run) -> Any:
    return and_(
        runs.c.program_id == plan.program_id,
        runs.c.kind == RunKind.REDATE,
        runs.c.input["plan"].as_string() == str(plan.id),
    )


def _abandoned(silent_since: datetime) -> Any:
    return or_(
        runs.c.state == RunState.QUEUED, and_(runs.c.state == RunState.RUNNING, silent_since > _LAST_SIGN)
    )


def ours(run: Run) -> Any:
    """The row while it is still in the try that `run` was claimed with, which its beginning names."""
    return and_(
        runs.c.program_id == run.program_id,
        runs.c.id == run.id,
        runs.c.state == RunState.RUNNING,
        runs.c.started_at == run.started_at,
    )
