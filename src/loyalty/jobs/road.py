"""How a job sends commands down the road."""

import asyncio
from collections.abc import Container, Mapping
from uuid import UUID

import msgspec

from loyalty.access.roles import Role
from loyalty.base.ids import NIL
from loyalty.posting.commands import Actor, Command, Submission
from loyalty.posting.runtime import Runtime

TOGETHER = 64  # commands of a job on their way at once: tills never find its queue before them
_ACTOR = Actor("job", NIL, Role.ADMIN)


async def refused(runtime: Runtime, program_id: UUID, command: Command, request_id: str) -> str | None:
    """Send a command and tell the code with which it was refused; None: it was done."""
    answer = await runtime.pipe.submit(Submission(program_id, command, _ACTOR, request_id))
    if answer.status < 400:
        return None
    code: str = msgspec.json.decode(answer.body)["code"]
    return code


async def send(
    runtime: Runtime, program_id: UUID, commands: Mapping[str, Command], fine: Container[str]
) -> tuple[int, list[str]]:
    """Send commands, by request id, a few at a time; how many were done, and the codes of what stopped it.

    A refusal with a code in `fine` does not stop it.
    """
    done = 0
    waiting = list(commands.items())
    for first in range(0, len(waiting), TOGETHER):
        some = waiting[first : first + TOGETHER]
        codes = await asyncio.gather(*(refused(runtime, program_id, one, id) for id, one in some))
        done += codes.count(None)
        if left := {code for code in codes if code is not None and code not in fine}:
            return done, sorted(left)
    return done, []
