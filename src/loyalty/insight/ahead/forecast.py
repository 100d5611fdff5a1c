"""What happens by itself within a year: points that activate and expire, tiers that move.

Everything is settled and reviewed ahead of its time by the code that will do it, on copies that nobody keeps.
Source: docs/forecast.md.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import aclosing
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from loyalty.base.calendar import CapPeriod, day_after, local_date, midnight
from loyalty.base.ids import NIL
from loyalty.insight.ahead.store import Held, chunks
from loyalty.insight.ahead.types import Forecast, Week, WeekMoves, WeekPoints
from loyalty.ledger.postings import apply
from loyalty.ledger.settle import settle
from loyalty.ledger.types import Bucket, Entry, EntryKind
from loyalty.ledger.verify.frame import Connect, Progress
from loyalty.posting.configuration import History
from loyalty.posting.ways import last_in_force
from loyalty.tiers.types import Move

WEEKS = 53
_WEEK = timedelta(days=7)
_INSTANT = timedelta(microseconds=1)


async def forecast(
    connect: Connect, program_id: UUID, now: datetime, progress: Progress | None = None
) -> Forecast:
    """What happens behind `now`, the program's own instant. Raises: ProgramNotFound."""
    year: _Year | None = None
    history, members = History([]), 0
    async with aclosing(chunks(connect, program_id, now, progress)) as found:
        async for chunk in found:
            history = chunk.history
            year = year or _Year(now, history.now.zone)
            for held in await chunk.due(year.last):
                year.add_account(held)
            ends = last_in_force(history, now, year.last)
            for walked in await chunk.walk({tier_set: (history, end) for tier_set, end in ends.items()}):
                year.add_moves(walked.tier_set, walked.moves)
            members += len(chunk.people)
    assert year is not None, "there is a chunk, if an empty one"
    newest = history.now
    return Forecast(now, year.until, newest.number, newest.settings.money, members, year.weeks(history))


def ahead(held: Held, now: datetime, until: datetime) -> Iterator[Entry]:
    """What settling writes behind `now` up to `until`; what it finds due at `now` is none of it."""
    account, lots, holds = held
    for instant in (now, until):
        for draft in settle(account, lots, holds, instant):
            entry = apply(account, lots, draft, id=NIL, decision_id=NIL)
            if entry.occurred_at > now:
                yield entry


class _Year:
    """The weeks that come, and what is counted in each so far."""

    def __init__(self, now: datetime, zone: ZoneInfo) -> None:
        self.now = now
        this = day_after(local_date(now, zone), CapPeriod.WEEK)
        assert this is not None
        self._begin = [this + (n - 1) * _WEEK for n in range(WEEKS + 1)]
        self._begin_at = [midnight(on, zone) for on in self._begin]
        self.until = self._begin_at.pop()
        self.last = self.until - _INSTANT
        # (week, points currency) → points and members that activate, points and members that expire
        self._points: dict[tuple[int, str], list[int]] = {}
        # (week, tier set, before, after) → members
        self._moves = Counter[tuple[int, str, str | None, str | None]]()

    def add_account(self, held: Held) -> None:
        sums = dict[int, list[int]]()
        for entry in ahead(held, self.now, self.last):
            activates = expires = 0
            for posting in entry.postings:
                if posting.target is Bucket.EXPIRED:
                    expires += posting.points
                elif entry.kind is EntryKind.MATURE:
                    activates += posting.points
            if activates or expires:
                figures = sums.setdefault(self._week(entry.occurred_at), [0, 0])
                figures[0] += activates
                figures[1] += expires
        for week, (activates, expires) in sums.items():
            figures = self._points.setdefault((week, held.account.points_currency), [0, 0, 0, 0])
            figures[0] += activates
            figures[1] += activates > 0
            figures[2] += expires
            figures[3] += expires > 0

    def add_moves(self, tier_set: str, moves: Iterable[Move]) -> None:
        """The steps of one member on one ladder; one that it makes twice in a week counts once."""
        self._moves.update(
            {(self._week(one.at), tier_set, one.before, one.after) for one in moves if one.at > self.now}
        )

    def weeks(self, history: History) -> tuple[Week, ...]:
        """Those in which something happens; what points pay is said by the configuration in force as one begins."""
        points: dict[int, list[WeekPoints]] = {}
        for (week, code), (activates, activates_members, expires, expires_members) in sorted(
            self._points.items()
        ):
            minor = _worth(history, max(self.now, self._begin_at[week]), code, expires)
            row = WeekPoints(code, activates, activates_members, expires, expires_members, minor)
            points.setdefault(week, []).append(row)
        moves: dict[int, list[WeekMoves]] = {}
        for (week, tier_set, before, after), members in self._moves.items():
            moves.setdefault(week, []).append(WeekMoves(tier_set, before, after, members))
        return tuple(
            Week(self._begin[n], tuple(points.get(n, ())), tuple(sorted(moves.get(n, ()), key=_step)))
            for n in sorted({*points, *moves})
        )

    def _week(self, at: datetime) -> int:
        return bisect_right(self._begin_at, at) - 1


def _worth(history: History, at: datetime, code: str, points: int) -> int | None:
    currency = history.at(at).currencies.get(code)
    pay = None if currency is None else currency.pay
    return None if pay is None else points * pay.each_minor // pay.points


def _step(step: WeekMoves) -> tuple[str, str, str]:
    """The order in which steps are told."""
    return (step.tier_set, step.before or "", step.after or "")
