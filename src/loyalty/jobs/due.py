"""Writes what has fallen due on accounts that nobody touches: points activate and expire, holds lapse.

It changes no balance that anybody reads, for every read settles first; it makes the books say it, and events tell it.
"""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import msgspec
import structlog

from loyalty.access.roles import Role
from loyalty.base.database import alone, reading
from loyalty.base.ids import NIL
from loyalty.jobs import store
from loyalty.jobs.programs import in_every_program
from loyalty.posting.commands import Actor, Answer, Settle, Submission
from loyalty.posting.runtime import Runtime

log = structlog.get_logger()

TOGETHER = 64  # commands of the sweep on their way at once: tills never find its queue before them
CHUNK = 1_000  # accounts looked for at once
_ACTOR = Actor("job", NIL, Role.ADMIN)


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
            answers = await _settle(runtime, program_id, owners[first : first + TOGETHER])
            settled += sum(answer.status == 200 for answer in answers)
            refused = {code for answer in answers if (code := _refusal(answer)) is not None}
            if refused:  # busy, for one: the next sweep comes to it
                log.warning("not_settled", program_id=str(program_id), cell=cell, codes=sorted(refused))
                return settled
        if len(due) < CHUNK:
            return settled
        after = due[-1][:2]


async def _settle(runtime: Runtime, program_id: UUID, owners: Iterable[UUID]) -> list[Answer]:
    return await asyncio.gather(
        *(
            runtime.pipe.submit(
                Submission(program_id, Settle(owner_id), _ACTOR, request_id=f"settle {owner_id}")
            )
            for owner_id in owners
        )
    )


def _refusal(answer: Answer) -> str | None:
    """Why an account was not settled; None when it was, or when somebody else did."""
    if answer.status < 400:
        return None
    code: str = msgspec.json.decode(answer.body)["code"]
    return None if code == "nothing_due" else code
