"""Closes program days: each one after its end, missed ones one after the other, in every program.

From the closing block on no block can bear an instant of that day, so the block is what an auditor keeps.
"""

from datetime import date, timedelta
from uuid import UUID

import structlog

from loyalty.base.calendar import local_date, midnight
from loyalty.base.database import reading
from loyalty.jobs import store
from loyalty.jobs.programs import in_every_program, standing_clock
from loyalty.jobs.road import refused
from loyalty.posting.commands import CloseDay
from loyalty.posting.runtime import Runtime

log = structlog.get_logger()

DAYS_AT_ONCE = 400  # of one program in one look


async def close_days(runtime: Runtime, most: int = DAYS_AT_ONCE) -> int:
    """Close days that have ended, up to `most` of each program, and return how many there were.

    A program that has many, a sandbox set forward by a century for one, keeps the others waiting for no more.
    """

    async def close(program_id: UUID) -> int:
        if await standing_clock(runtime, program_id) is None:
            return 0
        return await close_days_of(runtime, program_id, most)

    return await in_every_program(runtime, "days_not_closed", close)


async def first_open(runtime: Runtime, program_id: UUID) -> date | None:
    """The first day of a program that is not closed, perhaps not over; None before its first configuration."""
    async with reading(runtime.engine, program_id) as connection:
        last = await store.last_closed(connection, program_id)
        first_at = await store.first_recorded(connection, program_id)
    if first_at is None:
        return None
    if last is not None:
        return last + timedelta(days=1)
    return local_date(first_at, (await runtime.history(program_id)).now.zone)


async def close_days_of(runtime: Runtime, program_id: UUID, most: int = DAYS_AT_ONCE) -> int:
    """Close days of one program that have ended, up to `most`, and return how many there were."""
    day = await first_open(runtime, program_id)
    if day is None:  # its first configuration is still to come
        return 0
    zone = (await runtime.history(program_id)).now.zone
    closed = 0
    while closed < most and await runtime.now(program_id) >= midnight(day + timedelta(days=1), zone):
        code = await refused(runtime, program_id, CloseDay(day), f"close {day}")
        if code not in (None, "day_closed"):  # busy, for one: the next sweep comes to it
            log.warning("day_not_closed", program_id=str(program_id), day=str(day), code=code)
            break
        closed += code is None
        day += timedelta(days=1)
    return closed
