"""Removes what has had its time: idempotency records after thirty days, runs after ninety, notices of days that have
passed, lines of purchases after the days of their program's policy, and files that were left. Natural keys and books
stay for ever.

In chunks, each its own short transaction, in the order of the key, so that nobody waits for it.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from uuid import UUID

import structlog

from loyalty.base.calendar import local_date
from loyalty.base.database import reading, transaction
from loyalty.base.errors import LoyaltyError
from loyalty.base.ids import NIL
from loyalty.jobs import store
from loyalty.jobs.imports import store as files
from loyalty.jobs.imports.types import PARTS_KEPT
from loyalty.jobs.programs import in_every_program
from loyalty.posting.runtime import Runtime

log = structlog.get_logger()

KEPT = timedelta(days=30)
CHUNK = 5_000
SHARE = 2_000_000  # records of one program, in an hour
# Since their end; above KEPT, so that no answer that is repeated names one that is gone.
RUNS_KEPT = timedelta(days=90)
LINES, RECORDS = "lines", "records"  # the places of the work


async def purge_idempotency(runtime: Runtime, chunk: int = CHUNK, share: int = SHARE) -> int:
    """Delete records older than KEPT by real time, and return how many there were.

    About `share` records of each program are looked at; the next look goes on where this one ends.
    """
    before = runtime.clock.now() - KEPT

    async def purge(program_id: UUID) -> int:
        gone = looked_at = 0
        async with reading(runtime.engine, program_id) as connection:
            _, began = await store.place(connection, program_id, 0, RECORDS) or (None, None)
        after = None if began is None else (began, "")
        while True:
            async with transaction(runtime.engine, program_id) as connection:
                some, after = await store.purge_records(connection, program_id, before, after, chunk)
                scope = None if after is None else after[0]
                await store.put_place(connection, program_id, 0, RECORDS, None, scope)
            gone, looked_at = gone + some, looked_at + chunk
            # A place names a scope and no key: ended in the scope in which it began, a share would never come further.
            if scope is None or (looked_at >= share and scope != began):
                return gone

    return await in_every_program(runtime, "records_not_purged", purge)


async def purge_parts(runtime: Runtime) -> int:
    """Remove the parts of imports that were left for PARTS_KEPT: they hold personal data. Returns how many."""
    before = runtime.clock.now() - PARTS_KEPT

    async def purge(program_id: UUID) -> int:
        async with reading(runtime.engine, program_id) as connection:
            left = await files.left_parts(connection, program_id, before)
        gone = 0
        for import_id, number in left:
            async with transaction(runtime.engine, program_id) as connection:
                if await files.still_left(connection, program_id, import_id, before):
                    await files.remove_part(connection, program_id, import_id, number)
                    gone += 1
        return gone

    return await in_every_program(runtime, "parts_not_purged", purge)


async def purge_runs(runtime: Runtime, chunk: int = CHUNK) -> int:
    """Delete runs that ended longer than RUNS_KEPT ago, and return how many there were."""
    before = runtime.clock.now() - RUNS_KEPT

    async def purge(program_id: UUID) -> int:
        gone = 0
        while True:
            async with transaction(runtime.engine, program_id) as connection:
                some = await store.purge_runs(connection, program_id, before, chunk)
            gone += some
            if some < chunk:
                return gone

    return await in_every_program(runtime, "runs_not_purged", purge)


async def purge_lines(runtime: Runtime, chunk: int = CHUNK) -> int:
    """Remove the lines of purchases and returns that are older than their program keeps them; returns of how many."""

    async def purge(program_id: UUID) -> int:
        in_force = (await runtime.history(program_id)).at(await runtime.now(program_id))
        days = in_force.settings.policies.lines_days
        if days is None:
            return 0
        return sum(
            [await _lane(runtime, program_id, cell, days, chunk) for cell in range(runtime.settings.cells)]
        )

    return await in_every_program(runtime, "lines_not_purged", purge)


async def _lane(runtime: Runtime, program_id: UUID, cell: int, days: int, chunk: int) -> int:
    gone = 0
    async with reading(runtime.engine, program_id) as connection:
        _, after = await store.place(connection, program_id, cell, LINES) or (None, None)
    while True:
        async with transaction(runtime.engine, program_id) as connection:
            some, last = await store.purge_lines(connection, program_id, cell, days, after or NIL, chunk)
            if last is None:
                return gone
            await store.put_place(connection, program_id, cell, LINES, None, last)
        gone, after = gone + some, last


async def purge_notices(runtime: Runtime, chunk: int = CHUNK) -> int:
    """Forget what members were told of days that have passed; returns how many notices there were."""

    async def purge(program_id: UUID) -> int:
        now = await runtime.now(program_id)
        today = local_date(now, (await runtime.history(program_id)).now.zone)
        gone = 0
        after: tuple[int, UUID] | None = None
        while True:
            async with transaction(runtime.engine, program_id) as connection:
                some, after = await store.purge_notices(connection, program_id, today, after, chunk)
            gone += some
            if after is None:
                return gone

    return await in_every_program(runtime, "notices_not_purged", purge)


PURGES: Mapping[str, Callable[[Runtime], Awaitable[int]]] = {
    "idempotency_records": purge_idempotency,
    "notices": purge_notices,
    "lines": purge_lines,
    "import_parts": purge_parts,
    "runs": purge_runs,
}


async def purge_everything(runtime: Runtime) -> dict[str, int]:
    """How many went of each kind; a purge that fails is logged and left, for the next hour's comes to it again."""
    gone: dict[str, int] = {}
    for what, purge in PURGES.items():
        try:
            gone[what] = await purge(runtime)
        except LoyaltyError as error:
            log.warning("not_purged", what=what, code=error.code)
        except Exception:
            log.exception("not_purged", what=what)
    return gone
