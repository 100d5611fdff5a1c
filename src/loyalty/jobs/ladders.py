"""Places everybody on ladders that came in force: a run of its own, for a program may have a million members.

Whoever is looked at meanwhile is placed then; the run writes it for the others.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from loyalty.base.clock import random62
from loyalty.base.database import reading, transaction
from loyalty.base.ids import NIL, Ids
from loyalty.jobs import store
from loyalty.jobs.due import CHUNK
from loyalty.jobs.programs import in_every_program
from loyalty.jobs.road import stopped, to_each
from loyalty.jobs.runs import Report
from loyalty.jobs.service import queue_run
from loyalty.jobs.types import Run, RunKind
from loyalty.posting.commands import Settle
from loyalty.posting.configuration import History
from loyalty.posting.runtime import Runtime


async def changed_ladders(runtime: Runtime) -> int:
    """Ask for a run in every program where ladders came in force for which there is none; returns how many."""
    return await in_every_program(runtime, "ladders_not_looked_at", lambda id: _program(runtime, id))


async def _program(runtime: Runtime, program_id: UUID) -> int:
    number = changed_by(await runtime.history(program_id), await runtime.now(program_id))
    if number is None:
        return 0
    async with reading(runtime.engine, program_id) as connection:
        if await store.asked_for(connection, program_id, RunKind.TIERS, "number", number):
            return 0
    ids = Ids(runtime.clock.now_ms, random62)
    async with transaction(runtime.engine, program_id) as connection:
        at = runtime.clock.now()
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
    """Settle every member of the run's program."""
    return await place_all(runtime, run.program_id, report)


async def place_all(runtime: Runtime, program_id: UUID, report: Report) -> dict[str, Any]:
    """Settle every member of a program, lane by lane."""
    looked_at = placed = 0
    for cell in range(runtime.settings.cells):
        after: UUID | None = NIL
        while after is not None:
            async with reading(runtime.engine, program_id) as connection:
                members = await store.members_of(connection, program_id, cell, after, CHUNK)
            done, left = await to_each(runtime, program_id, members, Settle)
            if left:
                raise stopped("not settled", left)
            looked_at, placed = looked_at + len(members), placed + done
            report({"members": looked_at, "changed": placed})
            after = members[-1] if len(members) == CHUNK else None
    return {"members": looked_at, "changed": placed}
