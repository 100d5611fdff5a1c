"""What came of a replay: counts by outcome and the times that answers took, in a few hundred numbers."""

import math
from collections import Counter

from msgspec import Struct

_STEP = math.log(1.02)  # a bucket is two per cent wide, and so is the error of a percentile


FIRST = 5  # refused receipts that are told one by one


class Refused(Struct, frozen=True):
    """A receipt that the program refused, and why."""

    source: str
    external_id: str
    code: str
    detail: str


class Figures(Struct, frozen=True):
    """A tally at one moment, as it is printed."""

    posted: int  # requests answered, duplicates included
    recorded: int
    replayed: int
    payments: int  # with points, before purchases
    refused: dict[str, int]  # by code, most frequent first
    retried: int  # tries that had no final answer
    seconds: float
    per_second: float
    p50_ms: float
    p99_ms: float
    first_refused: tuple[Refused, ...]


class Tally:
    """Counts outcomes; one for all clients of a replay."""

    def __init__(self) -> None:
        self.recorded = 0
        self.replayed = 0
        self.payments = 0
        self.refused: Counter[str] = Counter()
        self.retried = 0
        self._first_refused: list[Refused] = []
        self._took: Counter[int] = Counter()

    @property
    def posted(self) -> int:
        """Requests that have their final answer."""
        return self.recorded + self.replayed + self.refused.total()

    def refuse(self, refused: Refused) -> None:
        """Count a receipt that was refused, and keep it if it is one of the first."""
        self.refused[refused.code] += 1
        if len(self._first_refused) < FIRST:
            self._first_refused.append(refused)

    def took(self, seconds: float) -> None:
        """Note how long one final answer took."""
        self._took[int(math.log(max(seconds, 1e-6) * 1e6) / _STEP)] += 1

    def percentile_ms(self, share: float) -> float:
        """The time within which `share` of the answers came; 0 before the first."""
        wanted = self._took.total() * share
        for bucket in sorted(self._took):
            wanted -= self._took[bucket]
            if wanted <= 0:
                return math.exp((bucket + 0.5) * _STEP) / 1_000
        return 0.0

    def figures(self, seconds: float) -> Figures:
        """All of it, `seconds` after the beginning."""
        return Figures(
            posted=self.posted,
            recorded=self.recorded,
            replayed=self.replayed,
            payments=self.payments,
            refused=dict(self.refused.most_common()),
            retried=self.retried,
            seconds=round(seconds, 3),
            per_second=round(self.posted / seconds, 1) if seconds else 0.0,
            p50_ms=round(self.percentile_ms(0.50), 2),
            p99_ms=round(self.percentile_ms(0.99), 2),
            first_refused=tuple(self._first_refused),
        )
