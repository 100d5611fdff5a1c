"""Places everybody on ladders that came in force: a run of its own, for a program may have a million members.

Whoever is looked at meanwhile is placed then; the run writes it for the others. It notes how far it is: a worker that
takes it over goes on there.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from loyalty.base.clock import random62
from loyalty.base.database import reading, transaction
from loyalty.base.ids import NIL, Ids
from loyalty.jobs import store
from loyalty.jobs.due import CHUNK
from loyalty.jobs.programs import in_every_program
from loyalty.jobs.road import stopped, to_each
from loyalty.jobs.runs import Report, keep
from loyalty.jobs.service import queue_run
from loyalty.jobs.types import Run, RunKind, RunState
from loyalty.posting.commands import Settle
from loyalty.posting.configuration import History
from loyalty.posting.runtime import Runtime


class Place(Struct):
    """How far a run is, and what it did so far; callers are shown `members` and `changed` of it."""

    cell: int = 0
    after: UUID = NIL  # member
    members: int = 0
    changed: int = 0


async def changed_ladders(runtime: Runtime) -> int:
    """Ask for a run wherever ladders came in force and nobody has asked, or it was given up; returns how many."""
    return await in_every_program(runtime, "ladders_not_looked_at", lambda id: _program(runtime, id))


async def _program(runtime: Runtime, program_id: UUID) -> int:
    number = changed_by(await runtime.history(program_id), await runtime.now(program_id))
    if number is None:
        return 0
    async with reading(runtime.engine, program_id) as connection:
        run = await store.asked_for(connection, program_id, RunKind.TIERS, "number", number)
    if run is not None and run.state is not RunState.FAILED:
        return 0
    async with transaction(runtime.engine, program_id) as connection:
        if run is not None:  # nobody else places the rest, and it knows where they begin
            await store.take_up(connection, program_id, run.id)
        else:
            at, ids = runtime.clock.now(), Ids(runtime.clock.now_ms, random62)
            await queue_run(connection, program_id, RunKind.TIERS, at=at, ids=ids, given={"number": number})
    return 1


def changed_by(history: History, now: datetime) -> int | None:
    """The configuration that brought the ladders in force, when members may stand otherwise; None: nobody does."""
    in_force = history.at(now)
    if not in_force.ladders:
        return None
    first, *later = [history.numbered(1), *history.succession(1, now)]
    number = first.number if first.ladders else None
    before = first
    for one in later:
        if one.ladders != before.ladders:
            number = one.number
        before = one
    return number


async def place_everybody(runtime: Runtime, run: Run, report: Report) -> dict[str, Any]:
    """Settle every member of the run's program, behind those whom its earlier tries settled."""
    told = run.progress or {}
    place = msgspec.convert(told, Place) if "after" in told else Place()

    async def note() -> None:
        await keep(runtime, run, report, msgspec.to_builtins(place))

    await place_all(runtime, run.program_id, place, note)
    return {"members": place.members, "changed": place.changed}


async def place_all(
    runtime: Runtime, program_id: UUID, place: Place, note: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Settle every member of a program, lane by lane, from `place` on; it is moved on and noted behind each chunk."""
    while place.cell < runtime.settings.cells:
        async with reading(runtime.engine, program_id) as connection:
            members = await store.members_of(connection, program_id, place.cell, place.after, CHUNK)
        done, left = await to_each(runtime, program_id, members, Settle)
        place.changed += done
        if not left:
            place.members += len(members)
            if len(members) == CHUNK:
                place.after = members[-1]
            else:
                place.cell, place.after = place.cell + 1, NIL
        if note is not None:  # also when it stops: whoever goes on would not count those who were done
            await note()
        if left:
            raise stopped("not settled", left)
