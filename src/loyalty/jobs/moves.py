"""Moves a sandbox program's clock: from one due instant to the next, each settled before the one behind it.

Whoever lives through the same time night by night finds the same books. Where the clock stands and where it is moved
to is in PostgreSQL, so whoever takes a run over goes on where it was left.
"""

from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from loyalty.base.calendar import local_date, midnight
from loyalty.base.database import reading, transaction
from loyalty.base.ids import NIL
from loyalty.jobs import store
from loyalty.jobs.days import close_days_of, first_open
from loyalty.jobs.due import settle_program
from loyalty.jobs.ladders import Place, place_all
from loyalty.jobs.notices import WORK as NOTICES
from loyalty.jobs.notices import horizons, standing_on, tell_program, tell_some
from loyalty.jobs.programs import in_every_program
from loyalty.jobs.road import refused, stopped
from loyalty.jobs.runs import Report, keep
from loyalty.jobs.service import queue_move
from loyalty.jobs.types import Run
from loyalty.posting.commands import AdvanceClock, CloseDay
from loyalty.posting.configuration import History
from loyalty.posting.runtime import Runtime
from loyalty.programs.store import sandbox_clock

_DAY = timedelta(days=1)


async def moves_left(runtime: Runtime) -> int:
    """Ask for a run wherever a clock is being moved and nobody has asked, or it was given up; returns how many."""
    return await in_every_program(runtime, "move_not_asked_for", lambda id: _ask(runtime, id))


async def _ask(runtime: Runtime, program_id: UUID) -> int:
    async with reading(runtime.engine, program_id) as connection:
        unasked = await store.unasked_move(connection, program_id)
    if unasked is None:
        return 0
    run_id, failed = unasked
    if failed:  # whoever asked for the move looks at this run to its end
        async with transaction(runtime.engine, program_id) as connection:
            await store.take_up(connection, program_id, run_id)
    else:
        await queue_move(runtime.engine, program_id, run_id, runtime.clock.now())
    return 1


async def move(runtime: Runtime, run: Run, report: Report) -> dict[str, Any]:
    """Bring the clock of the run's program to where it is being moved."""
    program_id, before = run.program_id, run.progress or {}
    told = {what: int(before.get(what, 0)) for what in ("settled", "notices")}  # of the tries before, too
    async with reading(runtime.engine, program_id) as connection:
        clock = await sandbox_clock(connection, program_id)
    assert clock is not None
    # Nobody publishes or records anything meanwhile, so what is due next follows from what was settled.
    history, now = await runtime.history(program_id), clock.now
    zone = history.now.zone
    on = local_date(now, zone)
    first = date.fromisoformat(before["from"]) if "from" in before else await first_open(runtime, program_id)
    assert first is not None

    def figures() -> dict[str, Any]:
        return {**told, "days": (on - first).days, "now": msgspec.to_builtins(now)}

    def place() -> dict[str, Any]:
        return {**figures(), "from": first.isoformat()}

    await keep(runtime, run, report, place())
    told["settled"] += await _settled(runtime, program_id, history, now)
    await _place(runtime, program_id, history, now)
    told["notices"] += await tell_program(runtime, program_id, history, now)
    await close_days_of(runtime, program_id)
    here, due = history.at(now), await _next_due(runtime, program_id, history, now)
    while clock.moving_to is not None and now < clock.moving_to:
        instants = [clock.moving_to, midnight(on + _DAY, zone)]
        instants += [one.effective_at for one in history.scheduled(now)[:1]]
        to = min(at for at in (*instants, *due) if at is not None)
        await step(runtime, program_id, AdvanceClock(to))
        now, last, here = to, here, history.at(to)
        if here.ladders != last.ladders:
            await _place(runtime, program_id, history, now)
        if now in due:
            told["settled"] += await _settled(runtime, program_id, history, now)
        if now in due or here is not last:
            due = await _next_due(runtime, program_id, history, now)
        if (today := local_date(now, zone)) != on and any(
            at is not None and at <= until for at, until in zip(due, horizons(here, today), strict=True)
        ):
            told["notices"] += await _told(runtime, program_id, history, now, today)
        # Now, or who takes over would not count what was done here.
        await keep(runtime, run, report, place())
        if today != on:
            await _note(runtime, program_id, today)
            await step(runtime, program_id, CloseDay(on))
            on = today
    report(place())
    if clock.moving_to is not None and now == clock.now:
        await step(runtime, program_id, AdvanceClock(now))  # it stood there already
    return figures()


async def _note(runtime: Runtime, program_id: UUID, on: date) -> None:
    """Note that all is told of a day: whoever goes on later knows of points what is so then, not what was so."""
    async with transaction(runtime.engine, program_id) as connection:
        for cell in range(runtime.settings.cells):
            await store.put_place(connection, program_id, cell, NOTICES, on, None)


async def _place(runtime: Runtime, program_id: UUID, history: History, now: datetime) -> None:
    """Have everybody found on the ladders in force, so that what is due of them is known."""
    async with reading(runtime.engine, program_id) as connection:
        unplaced = await store.unplaced(
            connection, program_id, runtime.settings.cells, standing_on(history, now)
        )
    if unplaced:
        await place_all(runtime, program_id, Place())


async def _next_due(
    runtime: Runtime, program_id: UUID, history: History, now: datetime
) -> tuple[datetime | None, datetime | None]:
    async with reading(runtime.engine, program_id) as connection:
        ladders = list(history.at(now).ladders)
        return await store.next_due(connection, program_id, runtime.settings.cells, ladders, now)


async def _settled(runtime: Runtime, program_id: UUID, history: History, now: datetime) -> int:
    done, left = await settle_program(runtime, program_id, history, now)
    if left:
        raise stopped("not settled", left)
    return done


async def _told(runtime: Runtime, program_id: UUID, history: History, now: datetime, on: date) -> int:
    told = 0
    for cell in range(runtime.settings.cells):
        after: UUID | None = NIL
        while after is not None:
            done, after = await tell_some(runtime, program_id, cell, history, now, on, after)
            told += done
    return told


async def step(runtime: Runtime, program_id: UUID, command: AdvanceClock | CloseDay) -> None:
    code = await refused(runtime, program_id, command, f"move: {command}")
    if code not in (None, "day_closed"):  # a worker's closing of days may have come to it first
        raise stopped(f"{command} is refused", [code])
