"""One look of a job at every program, so that the trouble of one is not the others'."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

import structlog

from loyalty.base.database import DatabaseUnavailable, reading
from loyalty.base.errors import LoyaltyError
from loyalty.posting.runtime import Runtime
from loyalty.programs.service import list_programs
from loyalty.programs.store import sandbox_clock
from loyalty.programs.types import ProgramNotFound

log = structlog.get_logger()


async def standing_clock(runtime: Runtime, program_id: UUID) -> datetime | None:
    """The program's instant; None while its clock is being moved, for then the move does all that is due."""
    async with reading(runtime.engine, program_id) as connection:
        clock = await sandbox_clock(connection, program_id)
    if clock is None:
        return runtime.clock.now()
    return clock.now if clock.moving_to is None else None


async def in_every_program(runtime: Runtime, what: str, work: Callable[[UUID], Awaitable[int]]) -> int:
    """The sum of what `work` did, program by program; what is refused or breaks in one is logged as `what` and left.

    The next look comes to it again. Raises: DatabaseUnavailable, for then it can for none; Busy when not even the
    programs can be read.
    """
    done = 0
    for program in await list_programs(runtime.engine):
        try:
            done += await work(program.id)
        except DatabaseUnavailable:
            raise
        except ProgramNotFound:  # made, and its first configuration is still to come
            continue
        except LoyaltyError as error:  # a lane that is busy, most likely
            log.warning(what, program_id=str(program.id), code=error.code)
        except Exception:
            log.exception(what, program_id=str(program.id))
    return done
