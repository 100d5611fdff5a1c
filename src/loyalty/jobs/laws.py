"""Has the laws checked at the end of the nightly work: one verification a day of every live program.

It is a run like those that people ask for; what it finds is in the log, in the metrics and in the run.
"""

from datetime import UTC
from uuid import UUID

from loyalty.base.clock import random62
from loyalty.base.database import alone, reading, transaction
from loyalty.base.ids import Ids
from loyalty.jobs import store
from loyalty.jobs.programs import in_every_program
from loyalty.jobs.service import queue_run
from loyalty.jobs.types import RunKind
from loyalty.posting.runtime import Runtime
from loyalty.programs.service import list_programs
from loyalty.programs.types import ProgramKind


async def check_laws(runtime: Runtime) -> int:
    """Ask for a verification of each live program that closed a day since the last; returns how many.

    No more than one for each real day, in UTC, however many program days were closed on it.
    """
    live = {one.id for one in await list_programs(runtime.engine) if one.kind is ProgramKind.LIVE}
    return await in_every_program(
        runtime, "laws_not_checked", lambda id: _program(runtime, id, live=id in live)
    )


async def _program(runtime: Runtime, program_id: UUID, *, live: bool) -> int:
    if not live:
        return 0
    async with alone(runtime.engine, f"laws {program_id}") as first:
        at = runtime.clock.now()
        asked_on = at.astimezone(UTC).date().isoformat()
        async with reading(runtime.engine, program_id) as connection:
            closed = await store.last_closed(connection, program_id)
            if not first or closed is None:
                return 0
            given = {"asked_on": asked_on, "closed": closed.isoformat()}
            for name, value in given.items():
                kind = RunKind.VERIFICATION
                if await store.asked_for(connection, program_id, kind, name, value) is not None:
                    return 0
        async with transaction(runtime.engine, program_id) as connection:
            ids = Ids(runtime.clock.now_ms, random62)
            await queue_run(connection, program_id, RunKind.VERIFICATION, at=at, ids=ids, given=given)
        return 1
