"""UUIDv7 ids made by the application: 48 bits of milliseconds, 12 of sequence, 62 of chance.

`Ids` never goes back and never repeats, so ids made under one lane's head are in the lane's order.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

from asyncpg.pgproto.pgproto import UUID as FastUUID

NIL = UUID(int=0)


class Ids:
    """A source of rising UUIDv7s, above `after`. `now_ms` reads the real clock, `random` gives 62 random bits."""

    __slots__ = ("_last", "_now_ms", "_random")

    def __init__(
        self, now_ms: Callable[[], int], random: Callable[[], int], after: UUID | None = None
    ) -> None:
        self._now_ms = now_ms
        self._random = random
        self._last = after.int >> 64 if after is not None else 0

    def __call__(self) -> UUID:
        high = self._now_ms() << 16 | 0x7000
        if high <= self._last:
            high = self._last + 1
            if high & 0xFFFF > 0x7FFF:  # 4,096 ids in one millisecond: borrow the next one
                high = ((high >> 16) + 1) << 16 | 0x7000
        self._last = high
        low = 0x8000000000000000 | self._random()
        return FastUUID((high << 64 | low).to_bytes(16))


def made_at(id: UUID) -> datetime:
    """The instant (to the millisecond) in an id."""
    return datetime.fromtimestamp((id.int >> 80) / 1000, UTC)
