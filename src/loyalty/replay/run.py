"""One replay from the first receipt to the figures, in the order and at the speed that were asked for."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from loyalty.replay.clients import Clients
from loyalty.replay.days import post_by_days
from loyalty.replay.progress import shown
from loyalty.replay.reading import Purchases
from loyalty.replay.tally import Figures
from loyalty.replay.types import Redeeming


class Order(Struct, frozen=True):
    """How purchases are to be posted."""

    clients: int = 8
    shuffle: int | None = None  # seed of another order than that of the instants
    duplicates: int = 0  # per cent that is sent twice
    limit: int | None = None
    shift: timedelta = timedelta()
    redeem: Redeeming | None = None


class ProgramClock(Struct, frozen=True):
    """A sandbox program's clock that goes along with the data: how it is moved, and the zone of its days."""

    advance: Callable[[datetime], Awaitable[object]]
    zone: ZoneInfo


async def run(
    purchases: Purchases, order: Order, base_url: str, api_key: str, clock: ProgramClock | None = None
) -> Figures:
    """Post the purchases to the API at `base_url`, showing how it goes, and return what came of it.

    Raises: ReplayError.
    """
    count = await asyncio.to_thread(purchases.count)
    if order.limit is not None:
        count = min(count, order.limit)
    receipts = purchases.receipts(shift=order.shift, shuffle=order.shuffle, limit=order.limit)
    loop = asyncio.get_running_loop()
    with Clients(base_url, api_key, order.clients, redeem=order.redeem) as clients:
        async with shown(clients.tally, count + count * order.duplicates // 100):
            began = loop.time()
            if clock is not None:
                await post_by_days(receipts, purchases.span()[1], clock.zone, clients, clock.advance)
            else:
                await clients.post(receipts, duplicates_seed=order.shuffle or 0, percent=order.duplicates)
        return clients.tally.figures(loop.time() - began)
