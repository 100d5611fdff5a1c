"""Replays a year as it happened: each local day with purchases at the program's own clock at the day's end.

A day's purchases are recorded at its last microsecond, so that what expired in the night before is gone and what
expires in the next one is still there, as if a till had sent its day in the evening.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
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
    last: date,
    zone: ZoneInfo,
    clients: Clients,
    advance: Callable[[datetime], Awaitable[object]],
) -> None:
    """Move the clock by `advance` to the end of every day with receipts, post them there, and on to the `last` day's.

    A move lives through the days in between one by one. Needs: receipts by instant.
    """
    groups = _groups(receipts, zone)
    on: date | None = None
    while (following := await asyncio.to_thread(next, groups, None)) is not None:
        on, of_the_day = following
        await advance(end_of_day(on, zone))
        await clients.post(of_the_day)
    if on is None or on < last:
        await advance(end_of_day(last, zone))


def _groups(receipts: Iterable[Receipt], zone: ZoneInfo) -> Iterator[tuple[date, list[Receipt]]]:
    for on, found in groupby(receipts, lambda receipt: local_date(receipt.occurred_at, zone)):
        yield on, list(found)
