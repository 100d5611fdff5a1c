"""How a job sends commands down the road."""

import asyncio
from collections import deque
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from uuid import UUID

import msgspec

from loyalty.access.roles import Role
from loyalty.base.database import DatabaseUnavailable, OutcomeUnknown, ServerBusy
from loyalty.base.ids import NIL
from loyalty.posting.commands import Actor, Command, Submission
from loyalty.posting.runtime import Runtime
from loyalty.posting.types import ShuttingDown
from loyalty.programs.types import ClockMoving

TOGETHER = 128  # commands of a job on their way at once: two batches, one decided behind the other
# While another process writes to the program too, a till most likely: so few, with a pause behind them in which the
# head is free. A batch of them is over in some milliseconds.
FEW = 32
PAUSE_S = 0.04
# Nothing due: somebody else did it. Erased: gone meanwhile. A bug: its incident is in the log, the others go on.
_FINE = frozenset({"nothing_due", "member_erased", "internal_error"})
_OF_THE_MOMENT = frozenset(
    one.code for one in (ServerBusy, DatabaseUnavailable, OutcomeUnknown, ShuttingDown, ClockMoving)
)
_ACTOR = Actor("job", NIL, Role.ADMIN)


def stopped(what: str, codes: Iterable[str]) -> Exception:
    """What ends the try of a run whose commands were refused: the moment's fault, or one of its own."""
    return ServerBusy() if _OF_THE_MOMENT.issuperset(codes) else RuntimeError(f"{what}: {sorted(codes)}")


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
    """Send commands, by request id; how many were done, and the codes of what stopped it.

    Full speed while the lane is ours alone; out of the way when somebody else is seen to write to it. A refusal with
    a code in `fine` does not stop it.
    """
    waiting = deque(commands.items())
    done = 0
    left: set[str] = set()

    async def one() -> None:
        nonlocal done
        id, command = waiting.popleft()
        code = await refused(runtime, program_id, command, id)
        if code is None:
            done += 1
        elif code not in fine:
            left.add(code)

    async def one_after_the_other() -> None:
        while waiting and not left and not runtime.pipe.met(program_id):
            await one()

    while waiting and not left:
        if runtime.pipe.met(program_id):
            await asyncio.gather(*(one() for _ in range(min(FEW, len(waiting)))))
            await asyncio.sleep(PAUSE_S)
        else:
            await asyncio.gather(*(one_after_the_other() for _ in range(min(TOGETHER, len(waiting)))))
    return done, sorted(left)


async def to_each(
    runtime: Runtime, program_id: UUID, members: Sequence[UUID], command: Callable[[UUID], Command]
) -> tuple[int, list[str]]:
    """Send a command for each of some members; how many were done, and the codes of what stopped it."""
    return await send(runtime, program_id, {f"job {id}": command(id) for id in members}, _FINE)
