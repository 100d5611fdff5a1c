"""How a job sends commands down the road."""

import asyncio
from collections.abc import Callable, Sequence
from uuid import UUID

import msgspec

from loyalty.access.roles import Role
from loyalty.base.ids import NIL
from loyalty.posting.commands import Actor, Command, Submission
from loyalty.posting.runtime import Runtime

TOGETHER = 64  # commands of a job on their way at once: tills never find its queue before them
# Nothing due: somebody else did it. Erased: gone meanwhile. A bug: its incident is in the log, the others go on.
_FINE = frozenset({"nothing_due", "member_erased", "internal_error"})
_ACTOR = Actor("job", NIL, Role.ADMIN)


async def refused(runtime: Runtime, program_id: UUID, command: Command, request_id: str) -> str | None:
    """Send a command and tell the code with which it was refused; None: it was done."""
    answer = await runtime.pipe.submit(Submission(program_id, command, _ACTOR, request_id))
    if answer.status < 400:
        return None
    code: str = msgspec.json.decode(answer.body)["code"]
    return code


async def to_each(
    runtime: Runtime, program_id: UUID, members: Sequence[UUID], command: Callable[[UUID], Command]
) -> tuple[int, list[str]]:
    """Send a command for each of some members, a few at a time.

    Returns how many were done, and the codes of what stopped it.
    """
    done = 0
    for first in range(0, len(members), TOGETHER):
        some = members[first : first + TOGETHER]
        codes = await asyncio.gather(*(refused(runtime, program_id, command(id), f"job {id}") for id in some))
        done += codes.count(None)
        if left := {code for code in codes if code is not None} - _FINE:
            return done, sorted(left)  # busy, for one: the next sweep comes to it
    return done, []
