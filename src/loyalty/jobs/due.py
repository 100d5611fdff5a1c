"""Writes what has fallen due of members whom nobody touches: points activate and expire, holds lapse, tiers fall.

It changes nothing that anybody reads, for every read settles and reviews first; it makes the books say it, and events
tell it.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.base.database import alone, reading
from loyalty.jobs import store
from loyalty.jobs.programs import in_every_program, standing_clock
from loyalty.jobs.road import to_each
from loyalty.posting.commands import Settle
from loyalty.posting.configuration import History
from loyalty.posting.runtime import Runtime

log = structlog.get_logger()

CHUNK = 5_000  # accounts or standings looked for at once

Due = tuple[datetime, UUID, UUID]  # since when, of what (an account, say), whose
Find = Callable[[AsyncConnection, int, tuple[datetime, UUID] | None], Awaitable[list[Due]]]


async def settle_due(runtime: Runtime) -> int:
    """Settle every member of whom something is due, in every program: accounts first, then tiers; returns how many.

    Safe twice and in parallel: a member whom another worker has settled meanwhile has nothing due.
    """
    return await in_every_program(runtime, "not_settled", lambda id: _program(runtime, id))


async def _program(runtime: Runtime, program_id: UUID) -> int:
    async with alone(runtime.engine, f"settle {program_id}") as first:
        if not first:
            return 0
        now = await standing_clock(runtime, program_id)
        if now is None:
            return 0
        history = await runtime.history(program_id)
        settled, left = await settle_program(runtime, program_id, history, now)
        if left:
            log.warning("not_settled", program_id=str(program_id), codes=left)
        return settled


async def settle_program(
    runtime: Runtime, program_id: UUID, history: History, now: datetime
) -> tuple[int, list[str]]:
    """Settle every member of a program of whom something is due: how many, and the codes of what stopped it."""
    ladders = list(history.at(now).ladders)

    async def accounts(
        connection: AsyncConnection, cell: int, after: tuple[datetime, UUID] | None
    ) -> list[Due]:
        return await store.due_accounts(connection, program_id, cell, now, after, CHUNK)

    async def tiers(connection: AsyncConnection, cell: int, after: tuple[datetime, UUID] | None) -> list[Due]:
        found = await store.due_standings(connection, program_id, cell, ladders, now, after, CHUNK)
        return [(at, id, id) for at, id in found]

    settled = 0
    for find in (accounts, tiers) if ladders else (accounts,):
        for cell in range(runtime.settings.cells):
            done, left = await _lane(runtime, program_id, cell, find)
            settled += done
            if left:
                return settled, left
    return settled, []


async def _lane(runtime: Runtime, program_id: UUID, cell: int, find: Find) -> tuple[int, list[str]]:
    settled = 0
    after: tuple[datetime, UUID] | None = None
    while True:
        async with reading(runtime.engine, program_id) as connection:
            due = await find(connection, cell, after)
        members = list(dict.fromkeys(id for _, _, id in due))  # one may have several accounts
        done, left = await to_each(runtime, program_id, members, Settle)
        settled += done
        if left or len(due) < CHUNK:
            return settled, left
        after = due[-1][:2]
