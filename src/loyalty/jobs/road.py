"""How a job sends a command down the road."""

from uuid import UUID

import msgspec

from loyalty.access.roles import Role
from loyalty.base.ids import NIL
from loyalty.posting.commands import Actor, Command, Submission
from loyalty.posting.runtime import Runtime

_ACTOR = Actor("job", NIL, Role.ADMIN)


async def refused(runtime: Runtime, program_id: UUID, command: Command, request_id: str) -> str | None:
    """Send a command and tell the code with which it was refused; None: it was done."""
    answer = await runtime.pipe.submit(Submission(program_id, command, _ACTOR, request_id))
    if answer.status < 400:
        return None
    code: str = msgspec.json.decode(answer.body)["code"]
    return code
