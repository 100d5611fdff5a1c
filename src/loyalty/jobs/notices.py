"""Tells members what is ahead: day by day, member by member, and where it stands is a row of `job_places`.

Who may have something to be told is looked for here; what is told the decision says. Nights that were missed are made
up, the oldest first, from the first of which there is still something to come.
"""

import itertools
from datetime import date, datetime, timedelta
from uuid import UUID

from loyalty.base.calendar import local_date, midnight
from loyalty.base.database import alone, reading, transaction
from loyalty.base.ids import NIL
from loyalty.jobs import store
from loyalty.jobs.programs import in_every_program, standing_clock
from loyalty.jobs.road import stopped, to_each
from loyalty.posting.commands import Notify
from loyalty.posting.configuration import History, Loaded
from loyalty.posting.runtime import Runtime

WORK = "notices"
CHUNK = 1_000  # members looked at at once
_DAY = timedelta(days=1)


async def tell_ahead(runtime: Runtime) -> int:
    """Tell, in every program, what is due to be told up to its present day; returns how many members were told.

    Safe twice and in parallel: the decision knows what was told.
    """
    return await in_every_program(runtime, "notices_not_told", lambda id: _program(runtime, id))


async def next_day(
    runtime: Runtime, program_id: UUID, cell: int, in_force: Loaded, now: datetime
) -> tuple[date, UUID]:
    """The day that is to be told of next in a lane, perhaps one to come, and the last member who was told of it."""
    async with reading(runtime.engine, program_id) as connection:
        place = await store.place(connection, program_id, cell, WORK)
        first_at = await store.first_recorded(connection, program_id)
    day, after = place or (local_date(first_at or now, in_force.zone), NIL)
    assert day is not None
    if after is None:
        day, after = day + _DAY, NIL
    notices = in_force.settings.policies.notices
    # Of earlier days all is past that was to be told.
    oldest = local_date(now, in_force.zone) - timedelta(
        days=max(notices.points_days + notices.tier_days, default=0)
    )
    return (day, after) if day >= oldest else (oldest, NIL)


async def _program(runtime: Runtime, program_id: UUID) -> int:
    async with alone(runtime.engine, f"notices {program_id}") as first:
        if not first:
            return 0
        now = await standing_clock(runtime, program_id)
        if now is None:
            return 0
        return await tell_program(runtime, program_id, await runtime.history(program_id), now)


async def tell_program(runtime: Runtime, program_id: UUID, history: History, now: datetime) -> int:
    """Tell in one program what is due to be told up to its present day; returns how many members were told."""
    cells = range(runtime.settings.cells)
    return sum([await _lane(runtime, program_id, cell, history, now) for cell in cells])


async def _lane(runtime: Runtime, program_id: UUID, cell: int, history: History, now: datetime) -> int:
    told = 0
    in_force = history.at(now)
    after: UUID | None
    day, after = await next_day(runtime, program_id, cell, in_force, now)
    while day <= local_date(now, in_force.zone):
        while after is not None:
            done, after = await tell_some(runtime, program_id, cell, history, now, day, after)
            told += done
            async with transaction(runtime.engine, program_id) as connection:
                await store.put_place(connection, program_id, cell, WORK, day, after)
        day, after = day + _DAY, NIL
    return told


async def tell_some(
    runtime: Runtime, program_id: UUID, cell: int, history: History, now: datetime, on: date, after: UUID
) -> tuple[int, UUID | None]:
    """Tell the next members of a lane what is due to be told on a day: how many were told, the last looked at.

    Raises: Busy or RuntimeError when it was stopped.
    """
    members, last = await _ahead(runtime, program_id, cell, history, now, on, after)
    done, left = await to_each(runtime, program_id, members, lambda id: Notify(id, on))
    if left:
        raise stopped("not told", left)
    return done, last


async def _ahead(
    runtime: Runtime, program_id: UUID, cell: int, history: History, now: datetime, on: date, after: UUID
) -> tuple[list[UUID], UUID | None]:
    """Of the next members of a lane, those who may have something to be told on a day; the last looked at."""
    in_force = history.at(now)
    notices = in_force.settings.policies.notices
    days = [on + timedelta(days=n) for n in notices.points_days]
    ends = [(midnight(day, in_force.zone), midnight(day + _DAY, in_force.zone)) for day in days]
    ladders = standing_on(history, now) if notices.tier_days else {}
    _, until = horizons(in_force, on)
    async with reading(runtime.engine, program_id) as connection:
        return await store.members_to_notify(
            connection, program_id, cell, now, ends, ladders, until, after, CHUNK
        )


def horizons(in_force: Loaded, on: date) -> tuple[datetime, datetime]:
    """The instants until which, of points and of tiers, something may be ahead that is told on a day."""
    notices = in_force.settings.policies.notices
    points, tiers = (
        midnight(on + timedelta(days=max(days, default=0)) + _DAY, in_force.zone)
        for days in (notices.points_days, notices.tier_days)
    )
    return points, tiers


def standing_on(history: History, now: datetime) -> dict[str, list[int]]:
    """The ladders in force, each with the numbers of the configurations since which it has been the same."""
    latest_first = [history.numbered(1), *history.succession(1, now)][::-1]
    found: dict[str, list[int]] = {}
    for id, ladder in history.at(now).ladders.items():
        since = itertools.takewhile(lambda one, id=id, same=ladder: one.ladders.get(id) == same, latest_first)
        found[id] = [one.number for one in since]
    return found
