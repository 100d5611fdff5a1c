"""Writes what has fallen due on accounts that nobody touches: points activate and expire, holds lapse.

It changes no balance that anybody reads, for every read settles first; it makes the books say it, and events tell it.
"""

import asyncio
from datetime import datetime
from uuid import UUID

import structlog

from loyalty.base.database import alone, reading
from loyalty.jobs import store
from loyalty.jobs.programs import in_every_program
from loyalty.jobs.road import refused
from loyalty.posting.commands import Settle
from loyalty.posting.runtime import Runtime

log = structlog.get_logger()

TOGETHER = 64  # commands of the sweep on their way at once: tills never find its queue before them
CHUNK = 1_000  # accounts looked for at once


async def settle_due(runtime: Runtime) -> int:
    """Settle every account on which something is due, in every program; returns for how many members.

    Safe twice and in parallel: a member whose points another worker has settled meanwhile has nothing due.
    """
    return await in_every_program(runtime, "accounts_not_settled", lambda id: _program(runtime, id))


async def _program(runtime: Runtime, program_id: UUID) -> int:
    async with alone(runtime.engine, f"settle {program_id}") as first:
        if not first:
            return 0
        return sum([await _lane(runtime, program_id, cell) for cell in range(runtime.settings.cells)])


async def _lane(runtime: Runtime, program_id: UUID, cell: int) -> int:
    settled = 0
    after: tuple[datetime, UUID] | None = None
    while True:
        now = await runtime.now(program_id)
        async with reading(runtime.engine, program_id) as connection:
            due = await store.due_accounts(connection, program_id, cell, now, after, CHUNK)
        owners = list(dict.fromkeys(owner_id for _, _, owner_id in due))  # one may have several accounts
        for first in range(0, len(owners), TOGETHER):
            commands = (Settle(owner_id) for owner_id in owners[first : first + TOGETHER])
            codes = await asyncio.gather(
                *(refused(runtime, program_id, one, f"settle {one.member_id}") for one in commands)
            )
            settled += codes.count(None)
            # Nothing due: somebody else did it. Busy, for one: the next sweep comes to it.
            if left := {code for code in codes if code not in (None, "nothing_due")}:
                log.warning("not_settled", program_id=str(program_id), cell=cell, codes=sorted(left))
                return settled
        if len(due) < CHUNK:
            return settled
        after = due[-1][:2]
