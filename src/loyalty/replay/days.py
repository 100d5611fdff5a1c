"""Replays a year as it happened: day after local day, each with the program's own clock at the day's end.

A day's purchases are recorded at its last microsecond, so that what expired in the night before is gone and what
expires in the next one is still there, as if a till had sent its day in the evening.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from datetime import date, datetime, timedelta
from itertools import groupby
from zoneinfo import ZoneInfo

from loyalty.base.calendar import local_date, midnight
from loyalty.replay.clients import Clients
from loyalty.replay.types import Receipt


def end_of_day(on: date, zone: ZoneInfo) -> datetime:
    """The last microsecond of a local day."""
    return midnight(on + timedelta(days=1), zone) - timedelta(microseconds=1)


async def post_by_days(
    receipts: Iterable[Receipt],
    span: tuple[date, date],
    zone: ZoneInfo,
    clients: Clients,
    advance: Callable[[datetime], Awaitable[object]],
) -> None:
    """Move the clock by `advance` to the end of every day of `span`, and post the day's receipts there.

    Needs: receipts by instant.
    """
    async for on, of_the_day in _days(receipts, span, zone):
        await advance(end_of_day(on, zone))
        if of_the_day:
            await clients.post(of_the_day)


async def _days(
    receipts: Iterable[Receipt], span: tuple[date, date], zone: ZoneInfo
) -> AsyncIterator[tuple[date, list[Receipt]]]:
    """Every day of `span`, and those around it that have receipts, each with its receipts."""
    groups = _groups(receipts, zone)
    following = await asyncio.to_thread(next, groups, None)
    on = span[0] if following is None else min(span[0], following[0])
    while following is not None or on <= span[1]:
        if following is not None and following[0] == on:
            yield following
            following = await asyncio.to_thread(next, groups, None)
        else:
            yield on, []
        on += timedelta(days=1)


def _groups(receipts: Iterable[Receipt], zone: ZoneInfo) -> Iterator[tuple[date, list[Receipt]]]:
    for on, found in groupby(receipts, lambda receipt: local_date(receipt.occurred_at, zone)):
        yield on, list(found)
