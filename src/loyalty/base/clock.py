"""Where real time and chance come from. Only the edge makes these; everything below is given values."""

import secrets
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the present instant; tests and sandbox programs bring their own."""

    def now(self) -> datetime:
        """The instant, aware UTC, in microseconds."""
        ...

    def now_ms(self) -> int:
        """The same in whole milliseconds since 1970."""
        ...


class RealClock:
    """The clock of the machine."""

    __slots__ = ()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


def random62() -> int:
    """62 unpredictable bits, as ids want them."""
    return secrets.randbits(62)
