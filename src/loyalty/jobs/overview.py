"""What is due and since when, for whoever looks after an installation; the same figures make the metrics.

All of it is read; a program is looked at by its own clock.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from uuid import UUID

from msgspec import Struct

from loyalty.base.calendar import local_date, midnight
from loyalty.base.database import reading, shared
from loyalty.jobs import store
from loyalty.jobs.days import first_open
from loyalty.jobs.notices import next_day
from loyalty.jobs.types import Run, RunKind, RunState
from loyalty.posting.runtime import Runtime
from loyalty.programs.service import list_programs
from loyalty.programs.types import Program, ProgramKind, ProgramNotFound

_DAY = timedelta(days=1)
_FAILED_SHOWN = 5


class Due(Struct, frozen=True):
    """How much there is to do, and since when it could have been done; None: there is nothing."""

    count: int
    since: datetime | None


class Overview(Struct, frozen=True):
    """One program: what is due, the runs that are not done, and when the nightly work was last done."""

    program_id: UUID
    kind: ProgramKind
    now: datetime
    accounts: Due  # with points that activate or expire, or holds that lapse
    standings: Due  # with a review
    days: Due  # that ended and are not closed
    notices: Due  # days of which members are still to be told
    runs: tuple[Run, ...]  # waiting, running, and the last that failed, as lists show them
    closed_on: date | None
    closed_at: datetime | None
    told_on: date | None
    # The last verification that came to its end, asked for by whomever: when, for how long, of how much.
    verified_at: datetime | None
    verified_seconds: float | None
    verified_entries: int | None
    broken: int | None  # what it found


class Totals(Struct, frozen=True):
    """Of all live programs: since when the oldest of each kind of work is due; runs by kind and state; each program."""

    due_since: dict[str, datetime | None]
    broken: int
    runs: dict[tuple[str, str], int]
    unverified_since: datetime | None = None  # of the program that waits longest; None: there is none
    programs: tuple[Overview, ...] = ()


async def overview(runtime: Runtime, program: Program) -> Overview:
    """What is due of a program. Raises: ProgramNotFound before its first configuration."""
    id, cells = program.id, runtime.settings.cells
    history, now = await runtime.history(id), await runtime.now(id)
    in_force = history.at(now)
    today = local_date(now, in_force.zone)
    open_from = await first_open(runtime, id) or today
    untold = min([(await next_day(runtime, id, cell, in_force, now))[0] for cell in range(cells)])
    async with reading(runtime.engine, id) as connection:
        accounts, standings = await store.due_counts(connection, id, cells, list(in_force.ladders), now)
        first_at = await store.first_recorded(connection, id)
        closed_on = await store.last_closed(connection, id)
        closed_at = None if closed_on is None else await store.closed_at(connection, id, closed_on)
        undone: list[Run] = []
        for state in (RunState.RUNNING, RunState.QUEUED, RunState.FAILED):
            limit = _FAILED_SHOWN if state is RunState.FAILED else 100
            undone += await store.page(
                connection, id, kinds=list(RunKind), state=state, before=None, limit=limit
            )
        last = await store.last_verified(connection, id)

    def days(first: date, until: date, since: datetime) -> Due:
        count = max(0, (until - first).days)
        return Due(count, since if count else None)

    # Of its first day members could be told once there was a program.
    tell_from = max(midnight(untold, in_force.zone), first_at or now)
    return Overview(
        program_id=id,
        kind=program.kind,
        now=now,
        accounts=Due(*accounts),
        standings=Due(*standings),
        days=days(open_from, today, midnight(open_from + _DAY, in_force.zone)),
        notices=days(untold, today + _DAY, tell_from),
        runs=tuple(undone),
        closed_on=closed_on,
        closed_at=closed_at,
        told_on=untold - _DAY,
        verified_at=None if last is None else last.ended_at,
        verified_seconds=None
        if last is None
        else max(0.0, (last.ended_at - last.started_at).total_seconds()),
        verified_entries=None if last is None else last.entries,
        broken=None if last is None else last.broken,
    )


async def overviews(runtime: Runtime, programs: Sequence[Program]) -> list[Overview]:
    """What is due of each of some programs; those without a configuration have nothing."""
    found: list[Overview] = []
    for program in programs:
        try:
            found.append(await overview(runtime, program))
        except ProgramNotFound:
            continue
    return found


async def totals(runtime: Runtime) -> Totals:
    """What is due of all live programs together. Raises: Busy."""
    live = [one for one in await list_programs(runtime.engine) if one.kind is ProgramKind.LIVE]
    seen = await overviews(runtime, live)
    made_at = {one.id: one.created_at for one in live}
    due_since: dict[str, datetime | None] = {}
    for what in ("accounts", "standings", "days", "notices"):
        since: list[datetime] = [at for one in seen if (at := getattr(one, what).since) is not None]
        due_since[what] = min(since, default=None)
    async with shared(runtime.engine, writes=False) as connection:
        runs = await store.run_counts(connection)
    return Totals(
        due_since,
        sum(one.broken or 0 for one in seen),
        runs,
        # One that never was waits since it was made.
        min((one.verified_at or made_at[one.program_id] for one in seen), default=None),
        tuple(seen),
    )
